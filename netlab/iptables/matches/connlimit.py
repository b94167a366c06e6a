"""How many connections a host or a network has open (xt_connlimit.c, nf_conncount.c)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from netlab.addresses import mask_of
from netlab.conntrack.entry import Status
from netlab.conntrack.track import Conntrack
from netlab.conntrack.tuples import FlowTuple, tuple_of
from netlab.hooks import HookState
from netlab.iptables.extension import HotDrop, Rules, Test, match
from netlab.iptables.matches.conntrack import TrackingMatch
from netlab.iptables.option import Is, Kind, Option, address_and_mask, number, prefix_length
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
        """Counts; a packet that belongs to no flow counts by its own addresses and ports, if it has some."""
        assert self.limit is not None
        connections, above = self.limit.value
        mask, source = mask_of(self.length), self.side == "saddr"
        tracker = rules.tracker()
        counted: dict[int, list[FlowTuple]] = {}

        def test(packet: Packet, state: HookState) -> bool:
            entry = state.skb.ct
            flow = entry.original if entry else tuple_of(packet)
            if flow is None:
                raise HotDrop
            key = (packet.saddr if source else packet.daddr) & mask
            if key in counted:
                assured = entry is not None and entry.status & Status.ASSURED
                if not _clean_up_to(None if assured else flow, counted[key], tracker) and not assured:
                    counted[key].append(flow)
                if not counted[key]:
                    raise HotDrop  # the kernel takes 0 for a want of memory
            else:
                counted[key] = [flow]
            return (len(counted[key]) > connections) is above

        return test

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        assert self.limit is not None
        connections, above = self.limit.value
        return f"#conn {'src' if self.side == 'saddr' else 'dst'}/{self.length} {'>' if above else '<='} {connections}"


def _clean_up_to(flow: FlowTuple | None, flows: list[FlowTuple], tracker: Conntrack) -> bool:
    """Take out the flows that are over, until that one is met or many had to go; whether it was met.

    The kernel does so only once in each tick of its clock (__nf_conncount_add); here every packet has its own tick.
    """
    kept: list[FlowTuple] = []
    met = False
    for at, one in enumerate(flows):
        entry = tracker.table.find(one, tracker.now)
        met = entry is not None and one == flow
        if met or at - len(kept) > MOST_GIVEN_UP:
            kept += flows[at:]
            break
        if entry is not None and entry.state not in CLOSED:
            kept.append(one)
    flows[:] = kept
    return met
