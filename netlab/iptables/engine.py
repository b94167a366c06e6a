"""The walk of a packet over a table's rules (ipt_do_table in net/ipv4/netfilter/ip_tables.c, nft_do_chain).

Rules are asked in their order. The first that means the packet decides, if its target gives a verdict; a jump pushes
the place behind it onto a stack, to which RETURN and the end of a chain come back; goto pushes nothing. At the end of
the chain that the walk began in, its policy decides.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from netlab.hooks import HookState, Reply
from netlab.iptables.extension import Action, HotDrop, Rules, Test
from netlab.iptables.model import Chain, Jump, Rule, Table
from netlab.iptables.targets.standard import Return
from netlab.names import Verdict
from netlab.packet import Packet
from netlab.trace import Event, Ruled


@dataclass(eq=False, slots=True)
class BoundRule:
    """A rule ready to be asked: `leads_to` is the chain it jumps or goes to, `act` what its target does."""

    rule: Rule
    number: int
    tests: tuple[Test, ...]
    act: Action | None = None
    leads_to: "BoundChain | None" = None
    goto: bool = False
    returns: bool = False

    def means(self, packet: Packet, state: HookState) -> bool:
        """Whether all its matches mean the packet; a match behind one that does not is not asked."""
        return all(test(packet, state) for test in self.tests)


@dataclass(eq=False, slots=True)
class BoundChain:
    """A chain ready to be walked."""

    table: str
    chain: Chain
    rules: list[BoundRule] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.table}:{self.chain.name}"


Functions = dict[Rule, tuple[tuple[Test, ...], Action | None]]
"""What was made of rules for a host: a rule that stays when others change goes on with what it remembers."""


def bind(table: Table, rules: Rules, kept: Functions) -> dict[str, BoundChain]:
    """The table's chains made ready for a host. `kept` has the functions of rules already in use, and gets the new."""
    chains = {name: BoundChain(table.name, chain) for name, chain in table.chains.items()}
    for chain in chains.values():
        for number, rule in enumerate(chain.chain.rules, 1):
            if rule not in kept:
                kept[rule] = _functions(rule, rules)
            bound = BoundRule(rule, number, *kept[rule], returns=isinstance(rule.target, Return))
            if isinstance(rule.target, Jump):
                bound.leads_to, bound.goto = chains[rule.target.chain], rule.target.goto
            chain.rules.append(bound)
    return chains


def _functions(rule: Rule, rules: Rules) -> tuple[tuple[Test, ...], Action | None]:
    tests = tuple(match.bind(rules) for match in rule.matches if match.asks)
    target = rule.target
    return tests, None if target is None or isinstance(target, Jump | Return) else target.bind(rules)


def walk(base: BoundChain, packet: Packet, state: HookState, write: Callable[[Event], None] | None = None) -> Reply:
    """Take the packet over the rules from a chain that hangs on a hook; `write` is told what every rule decides.

    What a rule changes in the packet stands in `state.skb` at once, as what other rules call looks for it there.
    """
    journey = _Journey(state, write)
    stack: list[Iterator[BoundRule]] = []
    where: list[BoundChain] = []
    chain, rules = base, iter(base.rules)
    length = packet.length
    while True:
        bound = next(rules, None)
        if bound is None:
            if not stack:
                break
            journey.tell(chain, None, "RETURN", packet, packet)
            chain, rules = where.pop(), stack.pop()
            continue
        try:
            if not bound.means(packet, state):
                continue
        except HotDrop:
            return journey.end(chain, bound, Verdict.DROP, packet, packet, "a header is cut off")
        bound.rule.counters.count(length)
        if bound.leads_to is not None:
            journey.tell(
                chain, bound, f"{'GOTO' if bound.goto else 'JUMP'} {bound.leads_to.chain.name}", packet, packet
            )
            if not bound.goto:
                stack.append(rules)
                where.append(chain)
            chain, rules = bound.leads_to, iter(bound.leads_to.rules)
        elif bound.returns:
            journey.tell(chain, bound, "RETURN", packet, packet)
            if not stack:
                break
            chain, rules = where.pop(), stack.pop()
        else:
            answer = bound.act(packet, state) if bound.act else None
            if isinstance(answer, int):
                return journey.end(chain, bound, answer, packet, packet)
            after = answer or packet
            journey.tell(chain, bound, "CONTINUE", packet, after)
            packet = state.skb.packet = after
            length = after.length
    assert base.chain.policy is not None
    if base.chain.counted:
        base.chain.counters.count(length)
    return journey.end(base, None, base.chain.policy, packet, packet)


class _Journey:
    """Tells of one packet on one table, in the words of `iptables -j TRACE`."""

    def __init__(self, state: HookState, write: Callable[[Event], None] | None) -> None:
        self._state = state
        self._write = write

    def tell(self, chain: BoundChain, bound: BoundRule | None, verdict: str, before: Packet, after: Packet) -> None:
        if self._write is None:
            return
        number, rule = (bound.number, str(bound.rule)) if bound else (None, "")
        who = self._state.skb.number, self._state.host
        self._write(Ruled(*who, chain.table, chain.chain.name, number, verdict, before, after, rule))

    def end(
        self, chain: BoundChain, bound: BoundRule | None, verdict: int, before: Packet, after: Packet, why: str = ""
    ) -> Reply:
        meaning = Verdict(verdict & 0xFF)
        self.tell(chain, bound, meaning.name, before, after)
        place = f"{chain}:rule:{bound.number}" if bound else f"{chain}:policy"
        note = f"{place} {meaning.name}" + (f", {why}" if why else "")
        return Reply(meaning, verdict, after, note)
