"""Rules as iptables-save and `iptables -S` print them."""

from collections.abc import Iterator
from typing import Final

from netlab.iptables.model import TABLES, Chain, Counters, Rule, Ruleset, Table
from netlab.iptables.words import RuleError

SAVED: Final = ("mangle", "security", "raw", "filter", "nat")
"""The order in which iptables-nft-save goes through the tables."""


def save(ruleset: Ruleset, *, counters: bool = False, table: str | None = None) -> str:
    """The rules as `iptables-save` prints them, without its comments, which tell the time.

    Args:
        ruleset: what to print.
        counters: the rules' counters, too (`-c`).
        table: of this one alone (`-t`), even if nothing is in it.

    Raises:
        RuleError: there is no such table.
    """
    if table is not None and table not in TABLES:
        raise RuleError(f"Table `{table}' does not exist", status=1)
    names = [name for name in SAVED if name in ruleset.tables] if table is None else [table]
    lines = [line for name in names for line in saved(ruleset.tables.get(name) or Table.empty(name), counters=counters)]
    return "".join(f"{line}\n" for line in lines)


def saved(table: Table, *, counters: bool = False) -> Iterator[str]:
    """One table, line by line."""
    yield f"*{table.name}"
    for chain in in_order(table):
        counted = chain.counters if chain.hook is not None else Counters()
        yield f":{chain.name} {'-' if chain.policy is None else chain.policy} {counted}"
    for chain in in_order(table):
        for rule in chain.rules:
            yield f"{rule.counters} {append(chain, rule)}" if counters else append(chain, rule)
    yield "COMMIT"


def list_rules(table: Table, chain: str | None = None, number: int | None = None, *, counters: bool = False) -> str:
    """The commands that would make a table's rules, as `iptables -S` prints them.

    Args:
        table: whose rules.
        chain: of this chain alone.
        number: this rule alone, from 1.
        counters: with the counters (`-v`).
    """
    chains = [one for one in in_order(table) if chain in (None, one.name)]
    lines = []
    if number is None:
        for one in chains:
            behind = " -c {} {}".format(*one.counters.shown) if counters else ""
            lines.append(f"-N {one.name}" if one.hook is None else f"-P {one.name} {one.policy}{behind}")
    for one in chains:
        for place, rule in enumerate(one.rules, 1):
            if number in (None, place):
                lines.append(_with_counters(one, rule) if counters else append(one, rule))
    return "\n".join(lines)


def append(chain: Chain, rule: Rule) -> str:
    """The command that appends a rule to a chain."""
    return f"-A {chain.name} {rule}".rstrip()


def _with_counters(chain: Chain, rule: Rule) -> str:
    """The same with `-c`, which stands before the target."""
    counted = "-c {} {}".format(*rule.counters.shown)
    parts = [f"-A {chain.name}", *map(str, rule.matches), counted, str(rule.target or "")]
    return " ".join(part for part in parts if part)


def in_order(table: Table) -> list[Chain]:
    """The chains on hooks, then the users' by name."""
    based = [chain for chain in table.chains.values() if chain.hook is not None]
    users = [chain for chain in table.chains.values() if chain.hook is None]
    return based + sorted(users, key=lambda chain: chain.name.encode())
