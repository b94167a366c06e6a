"""How many connections a host or a network has open (xt_connlimit.c, nf_conncount.c)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from netlab.addresses import mask_of
from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.track import Conntrack
from netlab.conntrack.tuples import FlowTuple, tuple_of
from netlab.hooks import HookState
from netlab.iptables.extension import HotDrop, Rules, Test, match
from netlab.iptables.matches.conntrack import TrackingMatch, flow_of
from netlab.iptables.option import Is, Kind, Option, address_and_mask, number, prefix_length
from netlab.machine import TICK
from netlab.names import NetlabError, TcpState
from netlab.packet import Packet

MOST_GIVEN_UP: Final = 64  # connections at one go (CONNCOUNT_GC_MAX_COLLECT)
CLOSED: Final = frozenset({TcpState.TIME_WAIT, TcpState.CLOSE})


class Limit(NamedTuple):
    """A number of connections, and whether more than that are meant, or so many at most."""

    connections: int
    above: bool


_COUNT: Final = number(32)


def _length(text: str) -> int:
    return prefix_length(address_and_mask(f"0.0.0.0/{text}")[1])


@match
@dataclass(frozen=True)
class ConnlimitMatch(TrackingMatch):
    """`-m connlimit --connlimit-above 3`: the source, or its network of `--connlimit-mask` bits, has more than three.

    The connections are those that came to this very rule, and are in conntrack's table still and not closed. One that
    was ASSURED before the rule saw it is not counted, unless it is the first of its network.
    """

    name = "connlimit"
    options = (
        Option(("--connlimit-upto",), "limit", (Kind(lambda text: Limit(_COUNT.parse(text), False)),), negatable=True),
        Option(("--connlimit-above",), "limit", (Kind(lambda text: Limit(_COUNT.parse(text), True)),), negatable=True),
        Option(("--connlimit-mask",), "length", (Kind(_length),)),
        Option(("--connlimit-saddr",), "side", value="saddr"),
        Option(("--connlimit-daddr",), "side", value="daddr"),
    )

    limit: Is[Limit] | None = None
    length: int = 32
    side: str = "saddr"

    def __post_init__(self) -> None:
        """Not above is up to, and the other way round."""
        if self.limit and self.limit.negated:
            connections, above = self.limit.value
            object.__setattr__(self, "limit", Is(Limit(connections, not above)))

    def completed(self) -> None:
        """The limit must be given.

        Raises:
            NetlabError: it is not.
        """
        if self.limit is None:
            raise NetlabError('You must specify "--connlimit-above" or "--connlimit-upto"')

    def words(self) -> Iterator[str]:
        """Its options as iptables-save prints them."""
        assert self.limit is not None
        connections, above = self.limit.value
        yield from ("--connlimit-above" if above else "--connlimit-upto", str(connections))
        yield from ("--connlimit-mask", str(self.length), f"--connlimit-{self.side}")

    def bind(self, rules: Rules) -> Test:
        """Counts."""
        assert self.limit is not None
        connections, above = self.limit.value
        mask, source = mask_of(self.length), self.side == "saddr"
        host, tracker = rules.host, rules.tracker()
        counted: dict[int, Connections] = {}

        def test(packet: Packet, state: HookState) -> bool:
            key = (packet.saddr if source else packet.daddr) & mask
            entry, flow = _flow_of(packet, state, tracker)
            now = int(host.now()) // TICK
            if key in counted:
                counted[key].meet(flow, entry, tracker, now)
            else:
                counted[key] = Connections([flow], now)
            found = len(counted[key].flows)
            if not found:
                raise HotDrop  # the kernel takes 0 for a want of memory
            return (found > connections) is above

        return test

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        assert self.limit is not None
        connections, above = self.limit.value
        return f"#conn {'src' if self.side == 'saddr' else 'dst'}/{self.length} {'>' if above else '<='} {connections}"


@dataclass(slots=True)
class Connections:
    """What one host or network has open, and in which tick of the clock that was looked through (nf_conncount_list)."""

    flows: list[FlowTuple]
    looked_through: int
    left: int = 1

    def meet(self, flow: FlowTuple, entry: Entry | None, tracker: Conntrack, now: int) -> None:
        """A packet of that flow has come: count it, if it is not yet (__nf_conncount_add).

        What is over is taken out, once in a tick: the first packets of many flows in one tick are just added.
        """
        status = entry.status if entry else 0
        again = now == self.looked_through
        if status & Status.ASSURED:
            if not again:
                self._look_through(None, tracker, now)
            return
        hasty = again and not status & Status.CONFIRMED and len(self.flows) - self.left < MOST_GIVEN_UP
        if hasty or not self._look_through(flow, tracker, now):
            self.flows.append(flow)

    def _look_through(self, flow: FlowTuple | None, tracker: Conntrack, now: int) -> bool:
        """Take out what is over, until that flow is met or many had to go; whether it was met."""
        kept: list[FlowTuple] = []
        for at, one in enumerate(self.flows):
            entry = tracker.table.find(one, tracker.now)
            if entry is not None and one == flow:
                self.flows[:at] = kept
                return True
            if at - len(kept) > MOST_GIVEN_UP:
                kept += self.flows[at:]
                break
            if entry is not None and entry.state not in CLOSED:
                kept.append(one)
        self.flows, self.looked_through, self.left = kept, now, len(kept)
        return False


def _flow_of(packet: Packet, state: HookState, tracker: Conntrack) -> tuple[Entry | None, FlowTuple]:
    """The flow that a packet counts for; what is INVALID counts by its own two ends."""
    entry = flow_of(state.skb)
    if entry is not None:
        return entry, entry.original
    own = tuple_of(packet)
    if own is None:
        raise HotDrop
    return tracker.table.find(own, tracker.now), own
