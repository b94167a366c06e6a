"""What the commands of iptables do to a table: append, insert, delete, replace, flush, zero, chains and policies."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from netlab.iptables.call import Call
from netlab.iptables.catalogue import UNSUPPORTED_TARGETS
from netlab.iptables.extension import TARGETS, Variant
from netlab.iptables.model import LONGEST_CHAIN, Chain, Counters, Jump, Rule, Table
from netlab.iptables.words import Place, RuleError
from netlab.names import Verdict

NO_CHAIN: Final = "No chain/target/match by that name."
NO_RULE: Final = "Bad rule (does a matching rule exist in that chain?)."
POLICIES: Final = {"ACCEPT": Verdict.ACCEPT, "DROP": Verdict.DROP}
NOT_IN_NAT: Final = 'The "nat" table is not intended for filtering, the use of DROP is therefore inhibited.'


def edit(table: Table, call: Call, variant: Variant = "nft") -> None:
    """Do what a command line says to a table, which is changed in place; a table half changed is to be thrown away.

    Args:
        table: the table that is meant, whatever `call.table` says.
        call: a command that changes something, or `check`.
        variant: which iptables does it; with iptables-legacy base chains are always there.

    Raises:
        RuleError: it cannot be done; in the words of iptables-nft, with its exit status.
    """
    chain = table.chains.get(call.chain or "")
    if variant == "legacy" and call.command == "delete-chain" and chain is not None and chain.hook is not None:
        raise RuleError(f"{call.chain} is a built-in chain and stays", call.chain_place, status=1)
    _EDITS[call.command](table, call)


def declare(
    table: Table,
    name: str,
    policy: str,
    counters: Counters,
    place: Place,
    *,
    noflush: bool = False,
    variant: Variant = "nft",
) -> None:
    """A line `:NAME POLICY [counters]` of iptables-restore: a base chain gets its policy, a user's chain is made anew.

    Raises:
        RuleError: no name for a chain, or no policy.
    """
    chain = table.chains.get(name)
    if chain is None or chain.hook is None:
        check_name(name, place)
        if variant == "legacy" and chain is not None and not noflush:
            raise RuleError(f"error creating chain '{name}':File exists", place)
        if variant == "legacy" and policy != "-":
            raise RuleError(f"Can't set policy `{policy}' on `{name}': Bad built-in chain name", place, status=1)
        table.chains[name] = Chain(name)
        return
    if policy not in (*POLICIES, "-"):
        raise RuleError("Bad policy name.", place, status=1)
    chain.hooked = chain.counted = True
    if policy != "-":
        chain.policy, chain.counters = POLICIES[policy], counters
    if not noflush:
        chain.rules.clear()


def check_name(name: str, place: Place | None) -> None:
    """Refuse what may not be the name of a user's chain.

    Raises:
        RuleError: why not.
    """
    if name[:1] in ("-", "!"):
        raise RuleError(f"chain name not allowed to start with `{name[0]}'", place)
    if len(name) > LONGEST_CHAIN:
        raise RuleError(f"chain name `{name}' too long (must be under {LONGEST_CHAIN + 1} chars)", place)
    if name in TARGETS or name in UNSUPPORTED_TARGETS or name in ("", "QUEUE"):
        raise RuleError("chain name may not clash with target name", place)
    if any(letter.isspace() for letter in name):
        raise RuleError(f"Invalid chain name `{name}'", place)


def _chain(table: Table, call: Call) -> Chain:
    chain = table.chains.get(call.chain or "")
    if chain is None:
        raise RuleError(NO_CHAIN, call.chain_place, status=1)
    return chain


def _chains(table: Table, call: Call) -> list[Chain]:
    return list(table.chains.values()) if call.chain is None else [_chain(table, call)]


def _used(table: Table, call: Call) -> Chain:
    """The chain that rules are put into: it hangs on its hook from now on. Where the rules jump to must be there."""
    chain = _chain(table, call)
    for rule in call.rules:
        if isinstance(rule.target, Jump) and rule.target.chain not in table.chains:
            raise RuleError(f"Chain '{rule.target.chain}' does not exist", rule.target_place)
    chain.hooked = chain.hook is not None
    return chain


# ---------------------------------------------------------------- rules


def _append(table: Table, call: Call) -> None:
    _used(table, call).rules += call.rules


def _insert(table: Table, call: Call) -> None:
    chain = _used(table, call)
    at = (call.number or 1) - 1
    if at > len(chain.rules):
        raise RuleError("Index of insertion too big.", call.place, status=1)
    for rule in call.rules:  # each in front of the one before
        chain.rules.insert(at, rule)


def _replace(table: Table, call: Call) -> None:
    chain = _used(table, call)
    at = (call.number or 1) - 1
    if at >= len(chain.rules):
        raise RuleError("Index of replacement too big.", call.place, status=1)
    chain.rules[at] = call.rules[0]


def _delete(table: Table, call: Call) -> None:
    chain = _holding(table, call)
    if call.number is not None:
        if call.number > len(chain.rules):
            raise RuleError("Index of deletion too big.", call.place, status=1)
        del chain.rules[call.number - 1]
    for rule in call.rules:
        del chain.rules[_position(chain, rule)]


def _check(table: Table, call: Call) -> None:
    chain = _holding(table, call)
    for rule in call.rules:
        _position(chain, rule)


def _holding(table: Table, call: Call) -> Chain:
    """The chain that should hold the rules."""
    if call.rules and call.chain not in table.chains:
        raise RuleError(NO_RULE, call.chain_place, status=1)
    return _used(table, call)


def _position(chain: Chain, wanted: Rule) -> int:
    base, text = wanted.base, str(wanted)
    for position, rule in enumerate(chain.rules):
        if rule.base == base and str(rule) == text:
            return position
    raise RuleError(NO_RULE, wanted.place, status=1)


# ---------------------------------------------------------------- chains


def _flush(table: Table, call: Call) -> None:
    for chain in _chains(table, call):
        chain.rules.clear()
        chain.hooked = chain.hooked or (chain.hook is not None and call.chain is not None)


def _zero(table: Table, call: Call) -> None:
    """A rule whose counters are set to 0 is a new one to nf_tables: what it remembers of packets is gone, too."""
    for chain in _chains(table, call):
        for position, rule in enumerate(chain.rules, 1):
            if call.number in (None, position) and (rule.counters.packets or rule.counters.bytes):
                chain.rules[position - 1] = replace(rule, counters=Counters())
        if call.number is None:
            chain.counters, chain.counted = Counters(), chain.hooked


def _new_chain(table: Table, call: Call) -> None:
    name = call.chain or ""
    check_name(name, call.chain_place)
    if name in table.chains:
        raise RuleError("Chain already exists.", call.chain_place, status=1)
    table.chains[name] = Chain(name)


def _delete_chain(table: Table, call: Call) -> None:
    """Without a name all users' chains, and iptables-nft takes empty base chains off their hooks."""
    references = table.references()
    for chain in _chains(table, call):
        if chain.hook is None or call.chain is not None:
            if chain.hook is not None and not chain.hooked:
                raise RuleError(NO_CHAIN, call.chain_place, status=1)
            if chain.policy is Verdict.DROP:
                raise RuleError("Directory not empty.", call.chain_place, status=1)
            if chain.rules or references[chain.name]:
                raise RuleError(
                    f" CHAIN_DEL failed (Device or resource busy): chain {chain.name}", call.chain_place, status=4
                )
        elif chain.rules or chain.policy is not Verdict.ACCEPT:
            continue
        if chain.hook is None:
            del table.chains[chain.name]
        else:
            table.chains[chain.name] = Chain(chain.name, chain.hook, Verdict.ACCEPT)


def _rename_chain(table: Table, call: Call) -> None:
    chain, new = _chain(table, call), call.name or ""
    if chain.hook is not None:
        raise RuleError(NO_CHAIN, call.chain_place, status=1)
    if new in table.chains:
        raise RuleError("File exists.", call.chain_place, status=1)
    check_name(new, call.chain_place)
    for other in table.chains.values():
        for position, rule in enumerate(other.rules):
            if isinstance(rule.target, Jump) and rule.target.chain == chain.name:
                other.rules[position] = replace(rule, target=replace(rule.target, chain=new))
    del table.chains[chain.name]
    chain.name = new
    table.chains[new] = chain


def _policy(table: Table, call: Call) -> None:
    chain = table.chains.get(call.chain or "")
    if chain is None or chain.hook is None:
        raise RuleError("Bad built-in chain name.", call.chain_place, status=1)
    if call.name not in POLICIES:
        raise RuleError("Bad policy name. Run `dmesg' for more information.", call.chain_place, status=1)
    if table.name == "nat" and call.name == "DROP":
        raise RuleError(NOT_IN_NAT, call.chain_place)
    chain.policy, chain.counters = POLICIES[call.name], Counters()
    chain.hooked = chain.counted = True


_EDITS: Final[Mapping[str, Callable[[Table, Call], None]]] = {
    "append": _append, "insert": _insert, "replace": _replace, "delete": _delete, "check": _check,
    "flush": _flush, "zero": _zero, "new-chain": _new_chain, "delete-chain": _delete_chain,
    "rename-chain": _rename_chain, "policy": _policy,
}  # fmt: skip

EDITING: Final = frozenset(_EDITS)
"""The commands that `edit` does."""
