"""How a flow is known: the tuple of a packet, and of the packet that would answer it (nf_conntrack_tuple.h).

Zones are left out: every tuple here is in zone 0.
"""

from enum import IntEnum
from typing import Final, NamedTuple

from netlab.addresses import format_address
from netlab.names import Proto, protocol_name
from netlab.packet import OFFSET, Packet


class Direction(IntEnum):
    """Which way a packet of a flow goes (enum ip_conntrack_dir)."""

    ORIGINAL = 0
    REPLY = 1

    @property
    def other(self) -> "Direction":
        return _OTHER[self]


_OTHER: Final = (Direction.REPLY, Direction.ORIGINAL)
_new = tuple.__new__  # a NamedTuple's own constructor costs twice as much


MOST_SHARED: Final = 2**18
_SHARED: dict[int, int] = {}


def shared(number: int) -> int:
    """The same object for equal numbers: hosts, ports and windows come up again and again, at 32 bytes an int."""
    if number <= 256:
        return number  # Python itself shares these
    if len(_SHARED) >= MOST_SHARED:
        _SHARED.clear()
    return _SHARED.setdefault(number, number)


class FlowTuple(NamedTuple):
    """Source and destination address, protocol, and what tells flows between the same two hosts apart.

    For TCP, UDP and UDP-Lite that is the two ports. For ICMP `sport` holds the id and `dport` type and code
    (type << 8 | code), for GRE `dport` the call of a PPTP tunnel. Other protocols have nothing: 0 and 0.
    """

    saddr: int
    daddr: int
    proto: int
    sport: int
    dport: int

    @property
    def icmp(self) -> tuple[int, int, int]:
        """ICMP's (type, code, id)."""
        return self.dport >> 8, self.dport & 0xFF, self.sport

    def kept(self) -> "FlowTuple":
        """The same tuple, of shared numbers: what stands in the table, stands there for long."""
        saddr, daddr, proto, sport, dport = self
        return _new(FlowTuple, (shared(saddr), shared(daddr), int(proto), shared(sport), shared(dport)))

    def words(self) -> str:
        """As `conntrack -L` prints it: `src=10.0.1.2 dst=10.0.2.2 sport=4000 dport=80`."""
        addresses = f"src={format_address(self.saddr)} dst={format_address(self.daddr)}"
        if self.proto in WITH_PORTS:
            return f"{addresses} sport={self.sport} dport={self.dport}"
        if self.proto == Proto.ICMP:
            kind, code, id = self.icmp
            return f"{addresses} type={kind} code={code} id={id}"
        return addresses

    def __str__(self) -> str:
        return f"{protocol_name(self.proto)} {self.words()}"


GRE, UDPLITE = 47, 136
_ICMP: Final = Proto.ICMP
WITH_PORTS: Final = frozenset({Proto.TCP, Proto.UDP, UDPLITE})
PPP: Final = 0x880B  # what a PPTP tunnel carries, as GRE names it (RFC 2637)

# The ICMP messages that ask for an answer, and those answers: only these make flows (RFC 792).
ANSWER: Final = {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17}
QUESTIONS: Final = frozenset({8, 13, 15, 17})


def tuple_of(packet: Packet) -> FlowTuple | None:
    """The packet's own tuple; None if its transport header is cut off, strange, or behind another fragment."""
    proto, payload = packet.proto, packet.payload
    if packet.frag & OFFSET:
        return None
    if proto in WITH_PORTS:
        if len(payload) < 4:
            return None
        sport, dport = payload[0] << 8 | payload[1], payload[2] << 8 | payload[3]
    elif proto == _ICMP:
        if len(payload) < 8:
            return None
        sport, dport = payload[4] << 8 | payload[5], payload[0] << 8 | payload[1]
    elif proto == GRE and len(payload) >= 8 and payload[1] & 7 == 1:
        if payload[2] << 8 | payload[3] != PPP:
            return None
        sport, dport = 0, payload[6] << 8 | payload[7]
    else:
        sport = dport = 0
    return _new(FlowTuple, (packet.saddr, packet.daddr, proto, sport, dport))


def invert(flow: FlowTuple) -> FlowTuple | None:
    """The tuple of an answer; None for an ICMP message that has none."""
    saddr, daddr, proto, sport, dport = flow
    if proto != _ICMP:
        return _new(FlowTuple, (daddr, saddr, proto, dport, sport))
    answer = ANSWER.get(dport >> 8)
    return None if answer is None else FlowTuple(daddr, saddr, proto, sport, answer << 8 | dport & 0xFF)
