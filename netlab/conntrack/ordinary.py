"""The ordinary TCP segment: what `protocols`, `tcp` and `tcp_window` make of most of what two ends send, in one step.

Most segments carry data, or acknowledge some, or end a connection in order, and fit the windows. All of them go the
same way through those modules; here it is written out once more in one piece, without the turns that such a segment
never takes, for the sake of speed alone. Whatever is not ordinary is left, untouched, to those modules: read them to
understand what happens. tests/test_conntrack_ordinary.py holds the two against each other.
"""

from struct import Struct
from typing import Final

from netlab.clock import Clock
from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.protocols import Protocols
from netlab.conntrack.table import ConntrackTable
from netlab.conntrack.tcp_table import ACK, FIN, TABLE, VALID_FLAGS, Kind, kind_of
from netlab.conntrack.tcp_track import WRAP, Mark, Settings
from netlab.conntrack.tcp_window import OLDEST_ACK
from netlab.conntrack.tuples import Direction, shared
from netlab.names import CtState, Proto, TcpState
from netlab.packet import MF, OFFSET, Packet
from netlab.skb import Skb

HEADER: Final = 20  # bytes, without options
HALF: Final = 0x7FFFFFFF
"""A sequence number comes before another if their difference modulo 2**32 is more than this (RFC 9293, 3.4)."""
TCP: Final = int(Proto.TCP)
MEANT: Final = 0x37
"""The flags that matter: all but PSH, ECE and CWR."""

_FIELDS = Struct(">4xIIBBH").unpack_from
_TIMESTAMPS: Final = b"\1\1\x08\n"  # how the options begin that Linux sends in every segment, 12 bytes in all
_WITH_TIMESTAMPS: Final = HEADER + 12

_NEXT: Final = tuple(
    {
        (flags, state): target
        for flags in VALID_FLAGS & {ACK, ACK | FIN}
        for state in TcpState
        if isinstance(target := TABLE[direction][kind_of(flags), state], TcpState)
    }
    for direction in Direction
)
"""By direction, flags and state: the state that follows."""

_KNOWN, _ANSWERED = Status.CONFIRMED | Status.SEEN_REPLY | Status.FIXED_TIMEOUT, Status.CONFIRMED | Status.SEEN_REPLY
_ASSURED = Status.ASSURED
_ORIGINAL, _REPLY, _ESTABLISHED_FLOW = Direction.ORIGINAL, Direction.REPLY, CtState.ESTABLISHED
_SACKS, _CLOSED_FIRST, _UNACKNOWLEDGED, _ACKED = Mark.SACKS, Mark.CLOSED_FIRST, Mark.UNACKNOWLEDGED, Mark.ACKED
_AN_ACK, _A_FIN = Kind.ACK, Kind.FIN
_SYN_RECV, _ESTABLISHED, _FIN_WAIT = TcpState.SYN_RECV, TcpState.ESTABLISHED, TcpState.FIN_WAIT


class Ordinary:
    """Takes the ordinary segments of known flows.

    Args:
        table: where the flows are.
        protocols: whose rules these are, with the host's settings.
        clock: the host's.
        untold: where flows go of which listeners are to hear.
    """

    def __init__(self, table: ConntrackTable, protocols: Protocols, clock: Clock, untold: set[Entry]) -> None:
        self._table = table
        self._protocols = protocols
        self._clock = clock
        self._untold = untold

    def take(self, packet: Packet, skb: Skb) -> bool:
        """Whether it was one, and all has been done with it that a tracker does with a packet that meets its flow."""
        saddr, daddr, proto, payload, _, _, _, frag, _, _, _ = packet
        if proto != TCP or frag & (MF | OFFSET) or len(payload) < HEADER:
            return False
        now = self._clock.now
        flow = saddr, daddr, proto, payload[0] << 8 | payload[1], payload[2] << 8 | payload[3]
        entry = self._table.find(flow, now)
        if entry is None:
            return False
        direction = _REPLY if flow == entry.reply else _ORIGINAL
        follows = judge(entry, packet, direction, self._protocols.tcp_settings(), now, skb.summed)
        if follows is None:
            return False
        skb.ct, skb.direction, skb.ctstate = entry, direction, _ESTABLISHED_FLOW
        if entry.counters:
            entry.count(direction, packet.length)
        if follows:
            self._untold.add(entry)
        return True


def judge(  # noqa: PLR0915  # in one piece: each call would cost a tenth of all this
    entry: Entry, packet: Packet, direction: Direction, settings: Settings, now: float, summed: bool
) -> bool | None:
    """Do with an ordinary segment of a flow all that its protocol's rules would.

    Args:
        entry: the flow, which is TCP's.
        packet: the segment, no fragment, with a whole header.
        direction: which way of the flow it goes.
        settings: the host's.
        now: seconds of the host's clock.
        summed: its checksum is to be looked at.

    Returns:
        Whether the flow's status or state has changed; None: the segment is not ordinary, nothing was done.
    """
    track, payload, status = entry.protocol, packet.payload, entry.status
    size = len(payload)
    if status & _KNOWN != _ANSWERED or track.memory or entry.sequence is not None:
        return None
    seq, ack, offset, flags, window = _FIELDS(payload)
    came_from = track.state
    flags &= MEANT
    target = _NEXT[direction].get((flags, came_from))
    if target is None:
        return None
    sender, receiver = (track.reply, track.original) if direction else (track.original, track.reply)
    header = offset >> 4 << 2
    if header != HEADER and (
        not HEADER < header <= size
        or (receiver.marks & _SACKS and (header != _WITH_TIMESTAMPS or payload[HEADER:24] != _TIMESTAMPS))
    ):
        return None
    # Do its numbers fit the windows (tcp_window)?
    ends = flags != ACK
    end = seq + size - header + ends & WRAP
    sent, taken = receiver.end, receiver.max_window
    own_window = sender.max_window
    if (
        not own_window
        or not taken
        or not seq - sender.max_end - 1 & WRAP > HALF
        or not ack - sent - 1 & WRAP > HALF
        or not sender.end - taken - 1 - end & WRAP > HALF
        or not sent - max(own_window, OLDEST_ACK) - 1 - ack & WRAP > HALF
    ):
        return None
    if summed:
        total = int.from_bytes(payload, "big") % 0xFFFF
        if size & 1:
            total <<= 8  # summed as if one more byte of zeros were there
        if (total + packet.saddr + packet.daddr + TCP + size) % 0xFFFF:
            return None
    # It does: both windows move on.
    offered = window << sender.scale
    if offered > own_window:
        sender.max_window = offered
    if sender.end - end & WRAP > HALF:
        sender.end = end
        sender.marks |= _UNACKNOWLEDGED
    if ack == sent:
        ack = sent  # the same object: it is kept in several places
        receiver.marks &= ~_UNACKNOWLEDGED
    if not sender.marks & _ACKED or sender.max_ack - ack & WRAP > HALF:
        sender.max_ack = ack
        sender.marks |= _ACKED
    if sender.max_end - end & WRAP > HALF:
        receiver.max_window = taken + end - sender.max_end & WRAP
    limit = ack + offered & WRAP
    if receiver.max_end - 1 - limit & WRAP > HALF:
        receiver.max_end = limit if offered else limit + 1 & WRAP
    if ends:
        track.last_kind = _A_FIN
        if target is _FIN_WAIT and came_from is not _FIN_WAIT:
            sender.marks |= _CLOSED_FIRST
    else:
        same = (
            track.last_seq == seq
            and track.last_ack == ack
            and track.last_end == end
            and track.last_window == window
            and track.last_direction is direction
        )
        track.repeats = track.repeats + 1 if same else 0
        track.last_kind = _AN_ACK
        track.last_seq, track.last_ack, track.last_end = seq, ack, end
        if track.last_window != window:
            track.last_window = shared(window)
    track.last_direction = direction
    track.state = target
    # How long does the entry live from now on?
    timeouts = settings.timeouts
    timeout = settings.lifetimes[target]
    if track.repeats >= settings.max_retrans and timeout > timeouts["MAX_RETRANS"]:
        timeout = timeouts["MAX_RETRANS"]
    elif (sender.marks | receiver.marks) & _UNACKNOWLEDGED and timeout > timeouts["UNACKNOWLEDGED"]:
        timeout = timeouts["UNACKNOWLEDGED"]
    elif not track.last_window and timeout > timeouts["MAX_RETRANS"]:
        timeout = timeouts["MAX_RETRANS"]
    entry.expires = now + timeout
    if target is _ESTABLISHED and not status & _ASSURED and (came_from is _ESTABLISHED or came_from is _SYN_RECV):
        entry.status = status | _ASSURED
        return True
    return target is not came_from
