"""What conntrack says of a packet and knows of its flow (xt_conntrack.c, xt_connmark.c)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from netlab.addresses import format_address, mask_of
from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.tuples import Direction, FlowTuple
from netlab.hooks import HookState
from netlab.iptables.extension import Match, Rules, Test, given, match
from netlab.iptables.option import (
    MARK,
    PORTS,
    PROTOCOL,
    Is,
    Kind,
    Mark,
    Option,
    Span,
    address_and_mask,
    choice,
    prefix_length,
    some_of,
    span,
)
from netlab.names import CtState, NetlabError
from netlab.packet import Packet
from netlab.skb import Skb

STATES: Final = ("INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED")
STATUSES: Final = ("EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED")

EntryTest = Callable[[Entry, Skb], bool]
"""Something to ask of a packet's flow."""


TEMPLATE: Final = Entry(FlowTuple(0, 0, 0, 0, 0), FlowTuple(0, 0, 0, 0, 0), 0)
"""What stands for the flow of a packet between a rule's CT and conntrack: all noughts, yet NEW and CONFIRMED."""
TEMPLATE.status = Status.CONFIRMED


def flow_of(skb: Skb) -> Entry | None:
    """The packet's flow as rules see it."""
    entry = skb.ct
    return TEMPLATE if entry is None and skb.ctstate is None and skb.helper is not None else entry


class TrackingMatch(Match):
    """Has connections tracked."""

    @property
    def needs_conntrack(self) -> bool:
        """Always."""
        return True


def state_test(states: Is[tuple[str, ...]]) -> Callable[[Skb], bool]:
    """Whether a packet has one of these states; SNAT and DNAT are those of its flow, beside its own."""
    plain = frozenset(CtState(name) for name in states.value if name in STATES)
    translated = (Status.SRC_NAT if "SNAT" in states.value else 0) | (Status.DST_NAT if "DNAT" in states.value else 0)
    negated = states.negated

    def test(skb: Skb) -> bool:
        entry = flow_of(skb)
        state = CtState.UNTRACKED if skb.ctstate is CtState.UNTRACKED else CtState.INVALID
        if entry is not None:
            state = skb.ctstate or CtState.NEW
            if entry.status & translated:
                return not negated
        return (state in plain) is not negated

    return test


@match
@dataclass(frozen=True)
class StateMatch(TrackingMatch):
    """`-m state --state`, the old name for a part of `-m conntrack`."""

    name = "state"
    options = (Option(("--state",), "state", (some_of(*STATES),), negatable=True),)

    state: Is[tuple[str, ...]] | None = None

    def completed(self) -> None:
        """It must say which.

        Raises:
            NetlabError: it does not.
        """
        if self.state is None:
            raise NetlabError('state: option "--state" must be specified')

    def bind(self, rules: Rules) -> Test:
        """A packet that conntrack has not seen is INVALID."""
        assert self.state is not None
        test = state_test(self.state)
        return lambda packet, state: test(state.skb)

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        return " ".join(self.words()).replace("--", "")


class Network(NamedTuple):
    """An address and how many of its first bits count; iptables-save prints all of it."""

    address: int
    length: int

    def __str__(self) -> str:
        return format_address(self.address) + (f"/{self.length}" if self.length < 32 else "")


def _network(text: str) -> Network:
    address, mask = address_and_mask(text)
    return Network(address, prefix_length(mask))


NETWORK: Final = Kind(_network)
DIRECTION: Final = Kind(
    lambda text: choice({direction.name: direction for direction in Direction}).parse(text.upper()),
    lambda direction: Direction(direction).name,
)


@match
@dataclass(frozen=True)
class ConntrackMatch(TrackingMatch):
    """`-m conntrack`: the packet's state, then whatever is known of its flow."""

    name = "conntrack"
    options = (
        Option(("--ctstate",), "state", (some_of(*STATES, "SNAT", "DNAT"),), negatable=True),
        Option(("--ctproto",), "proto", (Kind(PROTOCOL.parse),), negatable=True),
        Option(("--ctorigsrc",), "origsrc", (NETWORK,), negatable=True),
        Option(("--ctorigdst",), "origdst", (NETWORK,), negatable=True),
        Option(("--ctreplsrc",), "replsrc", (NETWORK,), negatable=True),
        Option(("--ctrepldst",), "repldst", (NETWORK,), negatable=True),
        Option(("--ctorigsrcport",), "origsrcport", (PORTS,), negatable=True),
        Option(("--ctorigdstport",), "origdstport", (PORTS,), negatable=True),
        Option(("--ctreplsrcport",), "replsrcport", (PORTS,), negatable=True),
        Option(("--ctrepldstport",), "repldstport", (PORTS,), negatable=True),
        Option(("--ctstatus",), "status", (some_of(*STATUSES, none="NONE"),), negatable=True),
        Option(("--ctexpire",), "expire", (span(32),), negatable=True),
        Option(("--ctdir",), "direction", (DIRECTION,)),
    )

    state: Is[tuple[str, ...]] | None = None
    proto: Is[int] | None = None
    origsrc: Is[Network] | None = None
    origdst: Is[Network] | None = None
    replsrc: Is[Network] | None = None
    repldst: Is[Network] | None = None
    origsrcport: Is[Span] | None = None
    origdstport: Is[Span] | None = None
    replsrcport: Is[Span] | None = None
    repldstport: Is[Span] | None = None
    status: Is[tuple[str, ...]] | None = None
    expire: Is[Span] | None = None
    direction: Direction | None = None

    def completed(self) -> None:
        """It must ask for something.

        Raises:
            NetlabError: it does not.
        """
        if not given(self):
            raise NetlabError("conntrack: At least one option is required")

    def bind(self, rules: Rules) -> Test:
        """For a packet without a flow only its state is looked at: if that is not asked for, it does not match."""
        in_state = state_test(self.state) if self.state else None
        tests = list(self._entry_tests(rules))

        def test(packet: Packet, state: HookState) -> bool:
            skb = state.skb
            if in_state and not in_state(skb):
                return False
            entry = flow_of(skb)
            if entry is None:
                return in_state is not None
            return all(one(entry, skb) for one in tests)

        return test

    def _entry_tests(self, rules: Rules) -> Iterator[EntryTest]:
        if self.direction is not None:
            wanted = self.direction
            yield lambda _, skb: (skb.direction or Direction.ORIGINAL) is wanted
        for field, direction in (("orig", Direction.ORIGINAL), ("repl", Direction.REPLY)):
            for side, end in (("src", "saddr"), ("dst", "daddr")):
                if network := getattr(self, field + side):
                    yield _address_test(network, direction, end)
        if self.proto:
            proto, other = self.proto
            yield lambda entry, _: (entry.original.proto == proto) is not other
        for field, direction in (("orig", Direction.ORIGINAL), ("repl", Direction.REPLY)):
            for side, end in (("src", "sport"), ("dst", "dport")):
                if ports := getattr(self, f"{field}{side}port"):
                    yield _port_test(ports, direction, end)
        if self.status:
            names, without = self.status
            bits = sum(getattr(Status, name) for name in names)
            yield lambda entry, _: bool(entry.status & bits) is not without
        if self.expire:
            (low, high), outside = self.expire
            clock = rules.host.wires.clock
            yield lambda entry, _: (low <= seconds_left(entry, clock.now) <= high) is not outside

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        text = " ".join(self.words()).replace("--", "")
        return text if numeric else text.replace(" 0.0.0.0/0", " anywhere")


def seconds_left(entry: Entry, now: float) -> int:
    """Whole seconds until a flow is forgotten; 0 where it is not yet in the table (nf_ct_expires)."""
    return max(int(entry.expires - now), 0) if entry.status & Status.CONFIRMED else 0


def _address_test(network: Is[Network], direction: Direction, end: str) -> EntryTest:
    (address, length), negated = network
    mask = mask_of(length)
    wanted = address & mask
    return lambda entry, _: (getattr(entry.tuple(direction), end) & mask == wanted) is not negated


def _port_test(ports: Is[Span], direction: Direction, end: str) -> EntryTest:
    (low, high), negated = ports
    return lambda entry, _: (low <= getattr(entry.tuple(direction), end) <= high) is not negated


@match
@dataclass(frozen=True)
class ConnmarkMatch(TrackingMatch):
    """`-m connmark --mark`: the mark of the packet's flow."""

    name = "connmark"
    options = (Option(("--mark",), "mark", (MARK,), negatable=True),)

    mark: Is[Mark] | None = None

    def completed(self) -> None:
        """The mark must be given.

        Raises:
            NetlabError: it is not.
        """
        if self.mark is None:
            raise NetlabError('connmark: option "--mark" must be specified')

    def bind(self, rules: Rules) -> Test:
        """Without a flow there is no mark, not even another one."""
        assert self.mark is not None
        (value, mask), negated = self.mark

        def test(packet: Packet, state: HookState) -> bool:
            entry = flow_of(state.skb)
            return entry is not None and (entry.mark & mask == value) is not negated

        return test

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        assert self.mark is not None
        return f"connmark match {'!' if self.mark.negated else ''} {self.mark.value}"
