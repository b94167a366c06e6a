"""What a flow is translated to: a tuple within what the rule allows, which nobody else has (nf_nat_core.c).

1. A source keeps what it has, if that is allowed and free; else it gets what it has towards others already.
2. Else the address is chosen by a hash of both ends: the same client is seen as the same address, again and again.
3. The port is kept if it is allowed and free. Else one is sought: from a random place on for a source, from the first
   on for a destination. After 128 ports the search begins anew elsewhere, and takes half as many; in the end the last
   one tried is taken, free or not: if it is not, the packet is lost when its flow is confirmed.
"""

from collections.abc import Callable
from typing import Final

from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.table import ConntrackTable, direction_of
from netlab.conntrack.tcp_track import TcpTrack
from netlab.conntrack.tcp_window import is_before
from netlab.conntrack.tuples import GRE, WITH_PORTS, Direction, FlowTuple, invert
from netlab.names import Proto, TcpState
from netlab.nat.ranges import Manip, NatRange

MOST_ATTEMPTS: Final = 128
FEWEST_ATTEMPTS: Final = 16
DESTRUCTIVE: Final = 32  # so many attempts are left when flows in TIME_WAIT begin to be given up
WRAP: Final = 0xFFFFFFFF

# A port of a class becomes another one of its class: who used to be trusted for a low port remains so.
PORT_CLASSES: Final = ((0, 511, (1, 511)), (512, 1023, (600, 1023)), (1024, 0xFFFF, (1024, 0xFFFF)))


class Choice:
    """Chooses for one host: `table` says what is taken, `now` which entries live.

    `somewhere` says how far behind the first port the search begins, for a flow, one of its ends, and that port.
    """

    def __init__(
        self, table: ConntrackTable, now: Callable[[], float], somewhere: Callable[[FlowTuple, Manip, int], int]
    ) -> None:
        self._table = table
        self._now = now
        self._somewhere = somewhere

    def choose(self, flow: FlowTuple, wanted: NatRange, entry: Entry, manip: Manip) -> FlowTuple:
        """The tuple that a flow's packets get, which now have the tuple `flow` (get_unique_tuple)."""
        if manip is Manip.SOURCE and not wanted.shuffles:
            if _allows(wanted, flow):
                if not self._is_taken(flow, entry):
                    return flow
            elif (mapped := self._mapped(flow, wanted)) and not self._is_taken(mapped, entry):
                return mapped
        found = _with_address(flow, wanted, manip)
        if not wanted.shuffles:
            if wanted.ports is None:
                if not self._is_taken(found, entry):
                    return found
            elif wanted.base is None and _port_fits(found, wanted.ports, manip):
                only_one = wanted.ports[0] == wanted.ports[1]
                if only_one or not self._is_taken(found, entry):
                    return found
        return self._with_port(found, wanted, entry, manip)

    def _is_taken(self, flow: FlowTuple, entry: Entry) -> bool:
        """Whether answers would be taken for another flow's; itself once more is no other (nf_nat_used_tuple)."""
        answer = invert(flow)
        assert answer is not None
        found = self._table.find(answer, self._now())
        return found is not None and found.original != entry.original

    def _mapped(self, flow: FlowTuple, wanted: NatRange) -> FlowTuple | None:
        """What this source is translated to in other flows, if that is allowed (find_appropriate_src)."""
        for other in reversed(self._table.begun_by(flow)):
            seen = invert(other.reply)
            if seen is not None and other.status & Status.SRC_NAT_DONE:
                found = flow._replace(saddr=seen.saddr, sport=seen.sport)
                if _allows(wanted, found):
                    return found
        return None

    def _with_port(self, flow: FlowTuple, wanted: NatRange, entry: Entry, manip: Manip) -> FlowTuple:
        """The tuple with a port or id that makes it unique, if one is found (nf_nat_l4proto_unique_tuple)."""
        ports = _ports_for(flow, wanted, manip)
        if ports is None:
            return flow
        field = "dport" if _changes_dport(flow.proto, manip) else "sport"
        first, size = ports[0], ports[1] - ports[0] + 1
        if wanted.base is not None:
            offset = getattr(flow, field) - wanted.base
        else:
            offset = self._somewhere(flow, manip, first) if wanted.shuffles or manip is Manip.SOURCE else 0
        attempts = min(size, MOST_ATTEMPTS)
        while True:
            for left in reversed(range(1, attempts + 1)):
                flow = flow._replace(**{field: first + (offset & 0xFFFF) % size})
                if not self._is_taken_for_good(flow, entry, left):
                    return flow
                offset += 1
            if attempts >= size or attempts < FEWEST_ATTEMPTS:
                return flow
            attempts //= 2
            offset = self._somewhere(flow, manip, first)

    def _is_taken_for_good(self, flow: FlowTuple, entry: Entry, attempts_left: int) -> bool:
        """As `_is_taken`; but in the last attempts a translated TCP flow that has ended makes way for a new one."""
        track = entry.protocol
        if attempts_left > DESTRUCTIVE or not isinstance(track, TcpTrack) or track.state is not TcpState.SYN_SENT:
            return self._is_taken(flow, entry)
        answer = invert(flow)
        assert answer is not None
        found = self._table.find(answer, self._now())
        if found is None:
            return False
        if direction_of(found, answer) is Direction.ORIGINAL or not _may_go(found, track):
            return True
        self._table.remove(found)
        return False


def _may_go(old: Entry, new: TcpTrack) -> bool:
    """Whether a flow is over, and its numbers are behind the new one's, so that nobody can take one for the other."""
    track = old.protocol
    return (
        isinstance(track, TcpTrack)
        and track.state in (TcpState.TIME_WAIT, TcpState.CLOSE, TcpState.SYN_SENT2)
        and old.is_snat
        and not old.status & (Status.FIXED_TIMEOUT | Status.DYING)
        and is_before(track.original.end, new.original.end)
    )


def _allows(wanted: NatRange, flow: FlowTuple) -> bool:
    """Whether this source is within the range."""
    if wanted.addresses and not wanted.addresses[0] <= flow.saddr <= wanted.addresses[1]:
        return False
    return wanted.ports is None or _port_fits(flow, wanted.ports, Manip.SOURCE)


def _port_fits(flow: FlowTuple, ports: tuple[int, int], manip: Manip) -> bool:
    if flow.proto not in (Proto.ICMP, GRE) and flow.proto not in WITH_PORTS:
        return True
    return ports[0] <= (flow.dport if _changes_dport(flow.proto, manip) else flow.sport) <= ports[1]


def _changes_dport(proto: int, manip: Manip) -> bool:
    """Whether the tuple's `dport` is what may change: ICMP's id stands in `sport`, whichever end is translated."""
    return manip is Manip.DESTINATION and proto != Proto.ICMP


def _ports_for(flow: FlowTuple, wanted: NatRange, manip: Manip) -> tuple[int, int] | None:
    """The first and last port to choose from; None where a protocol has none, or its port must stay."""
    if flow.proto == Proto.ICMP:
        return wanted.ports or (0, 0xFFFF)
    if flow.proto not in WITH_PORTS:
        return None
    if wanted.ports:
        return min(wanted.ports), max(wanted.ports)
    if manip is Manip.DESTINATION:
        return None
    return next(others for first, last, others in PORT_CLASSES if first <= flow.sport <= last)


# ---------------------------------------------------------------- the address


def _with_address(flow: FlowTuple, wanted: NatRange, manip: Manip) -> FlowTuple:
    """The tuple with an address out of the range, the same one every time (find_best_ips_proto)."""
    if wanted.addresses is None:
        return flow
    first, last = wanted.addresses
    address = first
    if first != last:
        seed = 0 if wanted.persistent else _as_read(flow.daddr)
        address += hash_of((_as_read(flow.saddr), 0, 0, 0), seed) * (last - first + 1) >> 32
    return flow._replace(saddr=address) if manip is Manip.SOURCE else flow._replace(daddr=address)


def _as_read(address: int) -> int:
    """The address as a little-endian machine reads it from the packet: so x86 and ARM choose, and netlab with them."""
    return int.from_bytes(address.to_bytes(4, "big"), "little")


def hash_of(words: tuple[int, int, int, int], seed: int) -> int:
    """Bob Jenkins' hash lookup3 of four 32-bit words (https://burtleburtle.net/bob/c/lookup3.c, public domain)."""
    a = b = c = 0xDEADBEEF + (len(words) << 2) + seed & WRAP
    a, b, c = a + words[0] & WRAP, b + words[1] & WRAP, c + words[2] & WRAP
    for turn in (4, 6, 8, 16, 19, 4):
        a = (a - c & WRAP) ^ _rotated(c, turn)
        a, b, c = b, c + b & WRAP, a
    a = a + words[3] & WRAP
    for turn in (14, 11, 25, 16, 4, 14, 24):
        c = (c ^ b) - _rotated(b, turn) & WRAP
        a, b, c = b, c, a
    return b


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> 32 - bits) & WRAP
