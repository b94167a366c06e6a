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
from netlab.conntrack.tcp_track import WRAP, Mark
from netlab.conntrack.tcp_window import OLDEST_ACK
from netlab.conntrack.tuples import Direction, shared
from netlab.hooks import Answer, HookFunction, HookState
from netlab.names import CtState, Hook, Proto, TcpState, Verdict
from netlab.packet import MF, OFFSET, Packet
from netlab.sysctls import Sysctls

HEADER: Final = 20  # bytes, without options
HALF: Final = 0x7FFFFFFF
"""A sequence number comes before another if their difference modulo 2**32 is more than this (RFC 9293, 3.4)."""
TCP: Final = int(Proto.TCP)
MEANT: Final = 0x37
"""The flags that matter: all but PSH, ECE and CWR."""

FRAGMENT: Final = MF | OFFSET

_unpack = Struct(">HHIIBBH").unpack_from
from_bytes: Final = int.from_bytes
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
_ACCEPT, _PRE_ROUTING = Verdict.ACCEPT, Hook.PRE_ROUTING
_SYN_RECV, _ESTABLISHED, _FIN_WAIT = TcpState.SYN_RECV, TcpState.ESTABLISHED, TcpState.FIN_WAIT


class Ordinary:
    """Takes the ordinary segments of known flows.

    Args:
        table: where the flows are.
        protocols: whose rules these are, with the host's settings.
        sysctls: the host's.
        clock: the host's.
        untold: where flows go of which listeners are to hear.
        otherwise: the hook function for all other packets.
    """

    def __init__(
        self,
        table: ConntrackTable,
        protocols: Protocols,
        sysctls: Sysctls,
        clock: Clock,
        untold: set[Entry],
        otherwise: HookFunction,
    ) -> None:
        self._peek = table.peek
        self._protocols = protocols
        self._sysctls = sysctls
        self._clock = clock
        self._untold = untold
        self._otherwise = otherwise
        self._settings = protocols.tcp_settings()
        self._version = sysctls.version

    def track(self, packet: Packet, state: HookState) -> Answer:  # noqa: PLR0915  # each call would cost a tenth of it
        """The hook function: the packet meets its flow (nf_conntrack_in)."""
        saddr, daddr, proto, payload, _, _, _, frag, _, _, _ = packet
        skb, size = state.skb, len(payload)
        if proto != TCP or frag & FRAGMENT or size < HEADER or skb.ctstate is not None or skb.about_untracked:
            return self._otherwise(packet, state)
        sport, dport, seq, ack, offset, flags, window = _unpack(payload)
        now, flow = self._clock.now, (saddr, daddr, TCP, sport, dport)
        entry = self._peek(flow)
        if entry is None or entry.expires <= now:
            return self._otherwise(packet, state)
        track, status = entry.protocol, entry.status
        if status & _KNOWN != _ANSWERED or track.memory or entry.sequence is not None:
            return self._otherwise(packet, state)
        if flow == entry.reply:
            direction, sender, receiver = _REPLY, track.reply, track.original
        else:
            direction, sender, receiver = _ORIGINAL, track.original, track.reply
        came_from = track.state
        flags &= MEANT
        target = _NEXT[direction].get((flags, came_from))
        if target is None:
            return self._otherwise(packet, state)
        sends, takes = sender.marks, receiver.marks
        header = offset >> 4 << 2
        if header != HEADER and (
            not HEADER < header <= size
            or (takes & _SACKS and (header != _WITH_TIMESTAMPS or payload[HEADER:24] != _TIMESTAMPS))
        ):
            return self._otherwise(packet, state)
        # Do its numbers fit the windows (tcp_window)?
        ends = flags != ACK
        end = seq + size - header + ends & WRAP
        sent, taken = receiver.end, receiver.max_window
        said, allowed, own_window = sender.end, sender.max_end, sender.max_window
        if (
            not own_window
            or not taken
            or not seq - allowed - 1 & WRAP > HALF
            or not said - taken - 1 - end & WRAP > HALF
            or not (
                (ack == sent and own_window <= HALF)  # as most are, which makes the rest certain
                or (ack - sent - 1 & WRAP > HALF and sent - max(own_window, OLDEST_ACK) - 1 - ack & WRAP > HALF)
            )
        ):
            return self._otherwise(packet, state)
        if self._version != self._sysctls.version:
            self._settings, self._version = self._protocols.tcp_settings(), self._sysctls.version
        settings = self._settings
        summed = settings.checksum and state.hook is _PRE_ROUTING
        if summed:
            total = from_bytes(payload, "big") % 0xFFFF
            if size & 1:
                total <<= 8  # summed as if one more byte of zeros were there
            if (total + saddr + daddr + TCP + size) % 0xFFFF:
                return self._otherwise(packet, state)
        # It is ordinary. Both windows move on.
        skb.summed, skb.ct, skb.direction, skb.ctstate = summed, entry, direction, _ESTABLISHED_FLOW
        offered = window << sender.scale
        if offered > own_window:
            sender.max_window = offered
        if said - end & WRAP > HALF:
            sender.end = end
            sends |= _UNACKNOWLEDGED
        if ack == sent:
            ack = sent  # the same object: it is kept in several places
            receiver.marks = takes = takes & ~_UNACKNOWLEDGED
        if not sends & _ACKED or sender.max_ack - ack & WRAP > HALF:
            sender.max_ack = ack
            sends |= _ACKED
        if allowed - end & WRAP > HALF:
            receiver.max_window = taken + end - allowed & WRAP
        limit = ack + offered & WRAP
        if receiver.max_end - 1 - limit & WRAP > HALF:
            receiver.max_end = limit if offered else limit + 1 & WRAP
        if ends:
            track.last_kind = _A_FIN
            if target is _FIN_WAIT and came_from is not _FIN_WAIT:
                sends |= _CLOSED_FIRST
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
        sender.marks = sends
        # How long does the entry live from now on?
        timeouts, timeout = settings.timeouts, settings.lifetimes[target]
        if track.repeats >= settings.max_retrans and timeout > timeouts["MAX_RETRANS"]:
            timeout = timeouts["MAX_RETRANS"]
        elif (sends | takes) & _UNACKNOWLEDGED and timeout > timeouts["UNACKNOWLEDGED"]:
            timeout = timeouts["UNACKNOWLEDGED"]
        elif not track.last_window and timeout > timeouts["MAX_RETRANS"]:
            timeout = timeouts["MAX_RETRANS"]
        entry.expires = now + timeout
        if entry.counters:
            entry.count(direction, packet.length)
        # Do listeners hear of it?
        if target is not came_from:
            track.state = target
            self._untold.add(entry)
        if target is _ESTABLISHED and not status & _ASSURED and (came_from is _ESTABLISHED or came_from is _SYN_RECV):
            entry.status = status | _ASSURED
            self._untold.add(entry)
        return _ACCEPT
