"""A table's chains as Python functions: the same verdicts and counters as the walk of `engine`, without its telling.

Every chain becomes one function, and a jump becomes a call of it. What most rules ask for is written out as an
expression; any other match and target is called. Rules that follow one another and ask for one value of the same field,
like a thousand rules with a destination port each, are not asked one by one: an index leads from the packet's value to
the few rules that ask for it, whose function is called.

What comes seldom is left to the walk: fragments, packets too short for their headers, and chains from which jumps lead
so deep that their calls could be too many for Python.
"""

import itertools
import linecache
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Any, Final, NamedTuple

from netlab.hooks import HookState
from netlab.iptables.base import Base
from netlab.iptables.engine import BoundChain, BoundRule, walk
from netlab.iptables.extension import HotDrop, Match, given
from netlab.iptables.matches.conntrack import ConntrackMatch, StateMatch, flow_of
from netlab.iptables.matches.mark import CommentMatch, MarkMatch
from netlab.iptables.matches.transport import TcpMatch, UdpMatch
from netlab.iptables.model import Counters
from netlab.iptables.option import Span
from netlab.iptables.targets.standard import Accept, Drop
from netlab.names import Proto, Verdict
from netlab.packet import OFFSET, Packet

Compiled = Callable[[Packet, HookState], Verdict | int]
"""Takes a packet over a chain that hangs on a hook. A changed packet it leaves in `state.skb`."""

SHORTEST_RUN: Final = 4  # rules; fewer are asked one by one in less time than the index takes
DEEPEST_CALLS: Final = 100  # jumps in a row; only iptables-legacy allows more than 15
PORTION: Final = 10_000  # lines compiled at once: Python needs a hundred times the memory of the text for that
PARAMETERS: Final = "packet, state, length, proto, saddr, daddr, sport, dport"
SHORTEST_HEADER: Final[dict[int, int]] = {Proto.TCP: 20, Proto.UDP: 8, Proto.ICMP: 8}  # bytes
ENDED: Final = object()
"""What the function of an indexed rule answers where the chain ends without a verdict."""
_WITH_PORTS: Final = frozenset({int(Proto.TCP), int(Proto.UDP)})
_ANY_PORT: Final = Span(0, 0xFFFF)
_OF_FLOWS: Final = frozenset({"NEW", "ESTABLISHED", "RELATED"})
"""The states that only packets of a flow have."""


# ---------------------------------------------------------------- what matches ask for, as expressions


def _base(match: Base) -> Iterator[str]:
    for name, address in (("saddr", match.source), ("daddr", match.destination)):
        if address:
            (wanted, mask), negated = address
            masked = name if mask == 0xFFFFFFFF else f"{name} & {mask:#x}"
            yield f"{masked} {'!=' if negated else '=='} {wanted:#x}" if mask else str(not negated)
    for name, pattern in (("dev_in", match.dev_in), ("dev_out", match.dev_out)):
        if pattern:
            text, negated = pattern
            device = f"state.{name}"
            if text.endswith("+"):
                yield f"{'not ' * negated}({device} or '').startswith({text[:-1]!r})"
            else:
                yield f"{device} {'!=' if negated else '=='} {text!r}"
    if match.proto and match.proto.value:
        yield f"proto {'!=' if match.proto.negated else '=='} {match.proto.value:d}"
    if match.fragment:
        yield str(match.fragment.negated)  # fragments never come here


def _header(match: TcpMatch | UdpMatch) -> Iterator[str] | None:
    if match != match.trimmed() or match.at_one_go or (isinstance(match, TcpMatch) and match.option):
        return None  # what nftables keeps otherwise than it is written, only the test knows
    return itertools.chain(_ports(match), _flags(match))


def _flags(match: TcpMatch | UdpMatch) -> Iterator[str]:
    if isinstance(match, TcpMatch) and match.flags:
        (looked_at, are_set), negated = match.flags
        yield f"packet.payload[13] & {looked_at:#x} {'!=' if negated else '=='} {are_set:#x}"


def _ports(match: TcpMatch | UdpMatch) -> Iterator[str]:
    for name, ports in (("sport", match.sport), ("dport", match.dport)):
        if ports and (ports.value != _ANY_PORT or ports.negated):
            (low, high), negated = ports
            if low == high:
                yield f"{name} {'!=' if negated else '=='} {low}"
            else:
                yield f"{'not ' * negated}{low} <= {name} <= {high}"


def _state(match: ConntrackMatch | StateMatch) -> Iterator[str] | None:
    if match.state is None or match.state.negated or given(match).keys() != {"state"}:
        return None
    states = match.state.value
    if not _OF_FLOWS.issuperset(states):
        return None
    one_of = f"state.skb.ctstate in {{{', '.join(map(repr, states))}}}"
    if "NEW" in states:  # between CT and conntrack, too
        return iter((f"({one_of} if state.skb.ct is not None else flow_of(state.skb) is not None)",))
    return iter(("state.skb.ct is not None", one_of))


def _nothing(match: Match) -> None:
    """There is no expression for it."""


EXPRESSIONS: Final[dict[type[Match], Callable[[Any], Iterator[str] | None]]] = {
    Base: _base, TcpMatch: _header, UdpMatch: _header, ConntrackMatch: _state, StateMatch: _state,
}  # fmt: skip
"""For a match the expressions that must all be true; what is not in here is called, and where the answer is None."""
_ONLY_LOOK: Final = (*EXPRESSIONS, CommentMatch, MarkMatch)
"""The matches that remember nothing: it is all the same whether they are asked of a packet that others do not mean."""


# ---------------------------------------------------------------- the index


class Key(NamedTuple):
    """What a rule wants of one field under a mask: one value."""

    field: str
    mask: int
    value: int

    @property
    def place(self) -> tuple[str, int]:
        """Rules with the same place can share an index."""
        return self.field, self.mask


def _has_ports(rule: BoundRule) -> bool:
    """Whether the rule's packets do; with `! -p tcp` nf_tables looks for ports in whatever comes."""
    return rule.rule.base.protocol in _WITH_PORTS


def keys(rule: BoundRule) -> Iterator[Key]:
    """The fields of which the rule asks for one value before it asks anything that remembers being asked."""
    for match in takewhile(lambda match: isinstance(match, _ONLY_LOOK), rule.rule.matches):
        if isinstance(match, TcpMatch | UdpMatch) and _has_ports(rule):
            for field, ports in (("dport", match.dport), ("sport", match.sport)):
                if ports and not ports.negated and ports.value.low == ports.value.high:
                    yield Key(field, 0xFFFF, ports.value.low)
        elif isinstance(match, Base):
            for field, wanted in (("daddr", match.destination), ("saddr", match.source)):
                if wanted and not wanted.negated and wanted.value.mask:
                    yield Key(field, wanted.value.mask, wanted.value.address)


class Run(NamedTuple):
    """Rules that follow one another; with a `place` all of them ask for one value there."""

    rules: list[BoundRule]
    place: tuple[str, int] | None


def runs(rules: Sequence[BoundRule]) -> Iterator[Run]:
    """The chain cut into the longest runs that an index can serve, and what is between them."""
    at, alone = 0, list[BoundRule]()
    asked = [{key.place for key in keys(rule)} for rule in rules]
    while at < len(rules):
        place, end = None, at
        for candidate in asked[at]:
            far = next((n for n in range(at, len(rules)) if candidate not in asked[n]), len(rules))
            if far > end:
                place, end = candidate, far
        if place is None or end - at < SHORTEST_RUN:
            alone.append(rules[at])
            at += 1
            continue
        if alone:
            yield Run(alone, None)
            alone = []
        yield Run(list(rules[at:end]), place)
        at = end
    if alone:
        yield Run(alone, None)


# ---------------------------------------------------------------- writing the functions


@dataclass
class Program:
    """The functions of one table's chains: their source, and what it is run with."""

    table: str
    source: str
    namespace: dict[str, Any]

    def entry(self, chain: BoundChain) -> Compiled:
        """What takes packets over a chain that hangs on a hook."""
        if _leads_deep(chain):
            return lambda packet, state: walk(chain, packet, state).number
        function: Callable[..., Verdict | int | None] = self.namespace[_name(chain)]
        policy, counters = chain.chain.policy, chain.chain.counters if chain.chain.counted else Counters()
        assert policy is not None

        def run(packet: Packet, state: HookState) -> Verdict | int:
            saddr, daddr, proto, header, _, _, _, frag, options, _, _ = packet
            size = len(header)
            if frag & OFFSET or size < SHORTEST_HEADER.get(proto, 0):
                return walk(chain, packet, state).number
            sport = dport = -1
            if proto in _WITH_PORTS:
                sport, dport = header[0] << 8 | header[1], header[2] << 8 | header[3]
            try:
                verdict = function(packet, state, 20 + len(options) + size, proto, saddr, daddr, sport, dport)
            except HotDrop:
                return Verdict.DROP
            if verdict is not None:
                return verdict
            counters.packets += 1
            counters.bytes += state.skb.packet.length
            return policy

        return run


class _Writer:
    """Writes a program, line by line."""

    def __init__(self) -> None:
        self.portions: list[list[str]] = [[]]
        self.namespace: dict[str, Any] = {"Packet": Packet, "ENDED": ENDED, "flow_of": flow_of}
        self._numbers = count(1)

    def named(self, what: str, value: object) -> str:
        """A name for a value that the source needs."""
        name = f"{what}_{next(self._numbers)}"
        self.namespace[name] = value
        return name

    def chain(self, chain: BoundChain) -> None:
        """The function of a chain; it returns None where the chain ends without a verdict."""
        body: list[str] = []
        for run in runs(chain.rules):
            body += self._rules(run.rules) if run.place is None else self._indexed(chain, run.rules, run.place)
        self.function(_name(chain), body or ["return None"], f"{chain}, {len(chain.rules)} rules")

    def function(self, name: str, body: Sequence[str], says: str) -> None:
        """A function with that body."""
        shown = repr(says)[1:-1].replace('"', '\\"')  # a chain's name may hold anything, and must not become code
        if len(self.portions[-1]) > PORTION:
            self.portions.append([])
        self.portions[-1] += [
            f"def {name}({PARAMETERS}):",
            f'    """{shown}"""',
            *(f"    {line}" for line in body),
            "",
            "",
        ]

    def _indexed(self, chain: BoundChain, rules: Sequence[BoundRule], place: tuple[str, int]) -> Iterator[str]:
        field, mask = place
        by_value: dict[int, list[BoundRule]] = {}
        for rule in rules:
            value = next(key.value for key in keys(rule) if key.place == place)
            by_value.setdefault(value, []).append(rule)
        first, last = rules[0].number, rules[-1].number
        index = self.named("index", {})
        for value, few in by_value.items():
            numbers = ", ".join(str(rule.number) for rule in few)
            name = f"{_name(chain)}_{few[0].number}"
            self.function(name, list(self._rules(few, "ENDED")), f"{chain}, rule {numbers}")
            self.namespace[index][value] = name
        whole = mask in (0xFFFF, 0xFFFFFFFF)
        yield f"few = {index}.get({field if whole else f'{field} & {mask:#x}'})  # rules {first} to {last}"
        yield "if few is not None:"
        yield f"    verdict = few({PARAMETERS})"
        yield "    if verdict is not None:"
        yield "        return None if verdict is ENDED else verdict"
        if not all(map(_leaves_it, rules)):
            yield "    packet = state.skb.packet"
            yield "    length = packet.length"

    def _rules(self, rules: Sequence[BoundRule], ended: str = "None") -> Iterator[str]:
        """Rule after rule; `ended` is what to answer where the chain ends without a verdict."""
        for rule in rules:
            conditions = list(self._conditions(rule))
            yield f"if {' and '.join(conditions)}:  # {rule.number}" if conditions else f"if True:  # {rule.number}"
            counters = self.named("counters", rule.rule.counters)
            yield f"    {counters}.packets += 1"
            yield f"    {counters}.bytes += length"
            yield from (f"    {line}" for line in self._effect(rule, ended))

    def _conditions(self, rule: BoundRule) -> Iterator[str]:
        tests = iter(rule.tests)
        for match in rule.rule.matches:
            if not match.asks:
                continue
            test, written = next(tests), None
            if _has_ports(rule) or not isinstance(match, TcpMatch | UdpMatch):
                written = EXPRESSIONS.get(type(match), _nothing)(match)
            if written is None:
                yield f"{self.named('test', test)}(packet, state)"
            else:
                yield from written

    def _effect(self, rule: BoundRule, ended: str) -> Iterator[str]:
        if rule.returns:
            yield f"return {ended}"
        elif rule.leads_to is not None and rule.goto:
            yield f"verdict = {_name(rule.leads_to)}({PARAMETERS})"
            yield f"return {ended} if verdict is None else verdict"
        elif rule.leads_to is not None:
            yield f"verdict = {_name(rule.leads_to)}({PARAMETERS})"
            yield "if verdict is not None:"
            yield "    return verdict"
            yield "packet = state.skb.packet"
            yield "length = packet.length"
        elif isinstance(rule.rule.target, Accept | Drop):
            yield f"return {self.named(rule.rule.target.name, Verdict[rule.rule.target.name])}"
        elif rule.act is not None:
            yield f"answer = {self.named('act', rule.act)}(packet, state)"
            yield "if answer is not None:"
            yield "    if answer.__class__ is not Packet:"
            yield "        return answer"
            yield "    packet = state.skb.packet = answer"
            yield "    length = packet.length"


def _leaves_it(rule: BoundRule) -> bool:
    """Whether the rule cannot change the packet and go on."""
    return rule.returns or (rule.leads_to is None and (rule.act is None or isinstance(rule.rule.target, Accept | Drop)))


def _leads_deep(chain: BoundChain) -> bool:
    """Whether more than DEEPEST_CALLS jumps can follow one another from there."""
    reached = {chain}
    for _ in range(DEEPEST_CALLS + 1):
        reached = {rule.leads_to for one in reached for rule in one.rules if rule.leads_to is not None}
    return bool(reached)


def _name(chain: BoundChain) -> str:
    """A chain's name may hold anything but blanks; a function's may not."""
    letters = (one if one.isalnum() and one.isascii() else f"_{ord(one):x}_" for one in chain.chain.name)
    return f"chain_{''.join(letters)}"


def compile_table(chains: dict[str, BoundChain]) -> Program:
    """The functions of a table's chains."""
    writer = _Writer()
    for chain in chains.values():
        writer.chain(chain)
    source = "\n".join(line for portion in writer.portions for line in portion)
    table = next((chain.table for chain in chains.values()), "")
    file = f"<iptables {table}>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    namespace = writer.namespace
    before = 0
    for portion in writer.portions:
        exec(compile("\n" * before + "\n".join(portion), file, "exec"), namespace)
        before += len(portion)
    for name, value in namespace.items():
        if name.startswith("index_"):
            namespace[name] = {key: namespace[function] for key, function in value.items()}
    return Program(table, source, namespace)
