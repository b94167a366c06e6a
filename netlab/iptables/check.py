"""What the kernel, and iptables before it, refuse about rules as a whole.

Where a rule may stand depends on the hooks that lead to its chain, through jumps. The two iptables have different
judges: nf_tables (nft_compat.c) asks an extension about the rule's own chain alone, and lets 15 jumps follow each
other; ip_tables (mark_source_chains, xt_check_match) asks about every hook that leads there, however deep.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from netlab.iptables.base import Base
from netlab.iptables.extension import Extension, Match, Use, Variant
from netlab.iptables.model import TABLES, Chain, Jump, Rule, Ruleset, Table
from netlab.iptables.option import protocol_of
from netlab.iptables.targets.standard import Accept, Drop, Return
from netlab.iptables.words import Place, RuleError
from netlab.names import Hook, NetlabError, Verdict

DEEPEST: Final = 15  # jumps in a row that nf_tables allows (NFT_JUMP_STACK_SIZE, less one)
REFUSED: Final = 4  # the exit status of iptables-nft when the kernel refuses


def check(ruleset: Ruleset, variant: Variant = "nft") -> None:
    """Refuse rules that the kernel would not take.

    Args:
        ruleset: all rules of a host.
        variant: which iptables loads them.

    Raises:
        RuleError: what is wrong, and where the rule stands.
    """
    for table in ruleset.tables.values():
        check_table(table, variant)


def check_table(table: Table, variant: Variant = "nft") -> None:
    """Refuse one table's rules if the kernel would.

    Raises:
        RuleError: what is wrong, and where the rule stands.
    """
    if table.name not in TABLES:
        raise RuleError(f"table '{table.name}' does not exist", status=3)
    for chain in table.chains.values():
        if chain.hook is None and chain.policy is not None:
            raise RuleError(f"chain {chain.name} hangs on no hook and can have no policy")
        if chain.policy not in (None, Verdict.ACCEPT, Verdict.DROP):
            raise RuleError(f"{chain.policy} is no policy: there are ACCEPT and DROP")
        for rule in chain.rules:
            _check_jump(table, rule)
    leading = hooks_leading_to(table, variant)
    for chain in table.chains.values():
        followed = _followed(chain, variant)
        for number, rule in enumerate(chain.rules):
            hooks = leading[chain.name] if number < followed else frozenset[Hook]()
            _check_rule(table, chain, rule, hooks, variant)


def _check_jump(table: Table, rule: Rule) -> None:
    jump = rule.target
    if not isinstance(jump, Jump):
        return
    chain = table.chains.get(jump.chain)
    if chain is None:
        raise RuleError(f"Chain '{jump.chain}' does not exist", rule.target_place)
    if chain.hook is not None:
        raise RuleError(f"{chain.name} hangs on a hook: no rule may lead to it", rule.target_place, REFUSED)


# ---------------------------------------------------------------- jumps


def hooks_leading_to(table: Table, variant: Variant = "nft") -> Mapping[str, frozenset[Hook]]:
    """For every chain the hooks from which packets may come to it, directly or through jumps.

    Raises:
        RuleError: jumps that go in a circle, or too deep.
    """
    jumps = {name: list(_jumps(chain, variant)) for name, chain in table.chains.items()}
    hooks: dict[str, set[Hook]] = {name: set() for name in table.chains}
    for chain in table.chains.values():
        if chain.hook is None or (variant == "nft" and not chain.hooked):
            continue
        for name in _walk(table, chain.name, jumps, variant):
            hooks[name].add(chain.hook)
    return {name: frozenset(found) for name, found in hooks.items()}


def _followed(chain: Chain, variant: Variant) -> int:
    """How many rules of a chain are looked at: ip_tables sees that none behind `-j ACCEPT` or the like is reached."""
    if variant == "legacy":
        for number, rule in enumerate(chain.rules, 1):
            if isinstance(rule.target, Accept | Drop | Return) and rule.matches == (Base(),):
                return number
    return len(chain.rules)


def _jumps(chain: Chain, variant: Variant) -> Iterator[tuple[str, Place | None]]:
    for rule in chain.rules[: _followed(chain, variant)]:
        if isinstance(rule.target, Jump):
            yield rule.target.chain, rule.target_place


def _walk(
    table: Table, start: str, jumps: Mapping[str, list[tuple[str, Place | None]]], variant: Variant
) -> Mapping[str, int]:
    """The chains that packets from a hook's chain may come to, each with how many jumps in a row lead down from it."""
    depth: dict[str, int] = {}
    path: dict[str, None] = {start: None}
    stack = [(start, iter(jumps[start]))]
    while stack:
        name, rest = stack[-1]
        for to, place in rest:
            if to in path:
                circle = [*list(path)[list(path).index(to) :], to]
                raise RuleError(f"a loop of jumps: {' -> '.join(circle)}", place, REFUSED)
            if variant == "nft" and len(stack) + depth.get(to, 0) > DEEPEST:
                raise RuleError(f"more than {DEEPEST} jumps in a row", place, REFUSED)
            if to not in depth:
                path[to] = None
                stack.append((to, iter(jumps[to])))
                break
        else:
            depth[name] = max((depth[to] + 1 for to, _ in jumps[name]), default=0)
            path.pop(name)
            stack.pop()
    return depth


# ---------------------------------------------------------------- one rule


def _check_rule(table: Table, chain: Chain, rule: Rule, leading: frozenset[Hook], variant: Variant) -> None:
    base = rule.base
    if table.name == "nat" and isinstance(rule.target, Drop):
        raise RuleError(
            'The "nat" table is not intended for filtering, the use of DROP is therefore inhibited.', rule.target_place
        )
    if variant == "nft" and any(one and one.negated and not one.value.mask for one in (base.source, base.destination)):
        raise RuleError("no packet has an address outside 0.0.0.0/0", rule.place, REFUSED)
    own = frozenset({chain.hook}) if chain.hook is not None else frozenset[Hook]()
    use = Use(table.name, own if variant == "nft" else leading, base.protocol, variant, rule.matches)
    for extension, place in extensions(rule):
        if isinstance(extension, Base):
            continue
        try:
            _check_place(extension, table.name, leading | own if variant == "nft" else leading)
            if isinstance(extension, Match):
                _check_protocol(extension, base, variant)
            extension.check(use)
        except RuleError as refused:
            raise RuleError(refused.problem, place, refused.status) from None
        except NetlabError as problem:
            raise RuleError(str(problem), place, REFUSED) from None


def extensions(rule: Rule) -> Iterator[tuple[Extension, Place | None]]:
    """A rule's matches and its target, each with the place of its name in the text."""
    places = rule.places or (rule.place,) * len(rule.matches)
    yield from zip(rule.matches, places, strict=False)
    if isinstance(rule.target, Extension):
        yield rule.target, rule.target_place


def _check_place(extension: Extension, table: str, hooks: frozenset[Hook]) -> None:
    if extension.tables is not None and table not in extension.tables:
        raise NetlabError(f"{extension.name} may stand in {_either(extension.tables)} only, not in table {table}")
    if extension.hooks is not None and (wrong := hooks - extension.hooks):
        allowed = _either(hook.chain for hook in Hook if hook in extension.hooks)
        came = _either(hook.chain for hook in wrong)
        raise NetlabError(f"{extension.name} may stand behind {allowed} only, not behind {came}")


def _check_protocol(match: Match, base: Base, variant: Variant) -> None:
    if match.protocols is None or base.protocol in match.protocols:
        return
    negated = base.proto is not None and base.proto.negated and base.proto.value in match.protocols
    if variant == "nft" and negated and not match.needs_module:
        return  # nf_tables looks at bytes and does not ask whose they are
    names = _either(f"'-p {protocol_of(number)}'" for number in sorted(match.protocols))
    problem = f"{match.name.upper()} match requires {names}"
    if variant == "nft" and not match.needs_module:
        raise RuleError(problem)  # iptables itself has to know, to say it in nftables' words
    raise NetlabError(problem)


def _either(names: Iterable[str]) -> str:
    *most, last = sorted(names)
    return f"{', '.join(most)} or {last}" if most else last
