"""Which cells of TCP's transition table a campaign reaches, and why it cannot reach the rest."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from netlab.conntrack.tcp_table import TABLE, Kind, kind_of, well_formed
from netlab.conntrack.timeouts import PREFIX
from netlab.conntrack.track import Conntrack
from netlab.conntrack.tuples import Direction, tuple_of
from netlab.hooks import HookState
from netlab.host import Host
from netlab.kernel.fuzz.coverage import Coverage
from netlab.names import Hook, Priority, Proto, TcpState, Verdict
from netlab.packet import Packet, Tcp
from netlab.topology import Network

CELLS: Final = "cells of TCP's table"
Cell = tuple[Direction, Kind, TcpState]

ALL: Final[tuple[Cell, ...]] = tuple(
    (direction, kind, state) for direction in Direction for kind, state in TABLE[direction]
)
UNREACHABLE: Final[dict[Cell, str]] = {
    (direction, kind, state): (
        "a segment without SYN, FIN, ACK and RST is not well formed, and INVALID before the table is asked (tcp_error)"
        if kind is Kind.NONE
        else "only an entry has a reply direction, and it has left NONE with the segment that made it (tcp_new)"
    )
    for direction, kind, state in ALL
    if kind is Kind.NONE or (direction is Direction.REPLY and state is TcpState.NONE)
}


def name_of(cell: Cell) -> str:
    """`reply SYN_ACK in SYN_SENT`."""
    direction, kind, state = cell
    return f"{direction.name.lower()} {kind.name} in {state.name}"


def watch(net: Network) -> Coverage:
    """Counts, from now on, which cells the hosts' trackers look up, by a hook function just in front of each."""
    reached: Coverage = Counter()
    for host in net.hosts.values():
        if host.conntrack is not None:
            look = _Lookout(host, host.conntrack, reached).look
            for hook in (Hook.PRE_ROUTING, Hook.LOCAL_OUT):
                host.register(hook, look, Priority.CONNTRACK - 1, "watch")
    return reached


class _Lookout:
    def __init__(self, host: Host, tracker: Conntrack, reached: Coverage) -> None:
        self.host = host
        self.tracker = tracker
        self.reached = reached

    def look(self, packet: Packet, state: HookState) -> Verdict:
        if packet.proto == Proto.TCP and state.skb.ct is None:
            segment, flow = packet.l4, tuple_of(packet)
            if isinstance(segment, Tcp) and flow and well_formed(segment) and self._believed(packet, state.hook):
                entry = self.tracker.table.find(flow, self.host.wires.clock.now)
                replies = entry is not None and flow == entry.reply
                now = entry.protocol.state if entry else TcpState.NONE
                cell = Direction(replies), kind_of(segment.flags), now
                self.reached[CELLS, name_of(cell)] += 1
        return Verdict.ACCEPT

    def _believed(self, packet: Packet, hook: Hook) -> bool:
        unchecked = hook is not Hook.PRE_ROUTING or not self.host.sysctls.get(f"{PREFIX}checksum")
        return unchecked or packet.checksum_ok()


def summary(coverage: Mapping[tuple[str, str], int]) -> str:
    """How much of the table has been reached, what has not, and what cannot be."""
    missed = [name_of(cell) for cell in ALL if cell not in UNREACHABLE and not coverage.get((CELLS, name_of(cell)))]
    reachable = len(ALL) - len(UNREACHABLE)
    but = f", not {', '.join(missed)}" if missed else ""
    lines = [f"{CELLS}: {reachable - len(missed)} of {reachable} reached{but}"]
    for why, count in Counter(UNREACHABLE.values()).items():
        lines.append(f"  {count} more cannot be: {why}")
    return "\n".join(lines)
