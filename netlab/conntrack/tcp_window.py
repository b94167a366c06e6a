"""TCP's windows as conntrack sees them: which segments the two ends can have sent.

A segment's numbers must fit the windows that both sides announced (Guido van Rooij, "Real Stateful TCP Packet Filtering
in IP Filter", SANE 2000):

    the data must not go beyond what the receiver said it takes        seq <= sender.max_end
    nor lie wholly before what the receiver has acknowledged            end >= sender.end - receiver.max_window
    the acknowledgement must not be for what nobody sent                ack <= receiver.end
    nor be far behind                                                   ack >= receiver.end - 66000 or the window

Facts: tcp_in_window in net/netfilter/nf_conntrack_proto_tcp.c of Linux 6.18, each asked of the running kernel.
RFC 9293, 7323, 2018.
"""

from enum import Enum
from typing import Final

from netlab.conntrack.tcp_table import RST, SYN, Kind
from netlab.conntrack.tcp_track import SACK, WRAP, Mark, Segment, Settings, Side, TcpTrack, options_of, read_options
from netlab.conntrack.tuples import Direction
from netlab.names import TcpState

OLDEST_ACK: Final = 66000  # bytes: an acknowledgement may be that late even where windows are smaller
_REPLY_WAY, _AN_ACK = Direction.REPLY, Kind.ACK
_SYN_SENT, _SYN_RECV = TcpState.SYN_SENT, TcpState.SYN_RECV


class Fit(Enum):
    """How a segment's numbers fit the windows."""

    INSIDE = "inside"
    OLD = "old"
    """It lies before what is known: it passes, and nothing is learnt from it."""
    BEYOND = "beyond"
    """A little more than the receiver said it takes: it passes too."""
    OUTSIDE = "outside"


_INSIDE, _OLD, _BEYOND, _OUTSIDE = Fit.INSIDE, Fit.OLD, Fit.BEYOND, Fit.OUTSIDE


def is_before(one: int, other: int) -> bool:
    """Whether one sequence number comes before another, on the circle of 2**32 (RFC 9293, 3.4)."""
    return (one - other) & WRAP > 0x7FFFFFFF


def in_window(track: TcpTrack, segment: Segment, direction: Direction, settings: Settings, shift: int = 0) -> Fit:
    """Compare a segment with both windows; where it fits, learn from it.

    `shift`: so many bytes more than the receiver said are acknowledged, since a helper made longer what it said.
    """
    sender, receiver = track.side(direction), track.side(direction.other)
    seq, ack, end = segment.seq, segment.ack, segment.end
    sack = highest_sack(segment.options, ack) if receiver.marks & Mark.SACKS else ack
    if shift:
        ack, sack = ack - shift & WRAP, sack - shift & WRAP
    syn = segment.flags & SYN
    if not sender.max_window:
        if syn:
            _open(sender, receiver, segment, direction)
            if not segment.acks:
                return _INSIDE  # a simultaneous open
        else:
            _pick_up(sender, receiver, segment, sack)
    elif syn and is_before(sender.end, end) and track.state in (_SYN_SENT, _SYN_RECV):
        _open(sender, receiver, segment, direction)  # begun anew, with other numbers
        if direction is _REPLY_WAY and not segment.acks:
            return _INSIDE
    if not segment.acks or (segment.flags & RST and ack == 0):
        ack = sack = receiver.end  # it says nothing about the other side: take it as agreeing
    if segment.flags & RST and seq == 0 and track.state is _SYN_SENT:
        seq = end = sender.end  # a reset that answers a SYN has no number of its own
    fit = _compare(sender, receiver, seq, end, sack)
    if fit is _INSIDE:
        _learn(track, segment, direction, seq, ack, sack, end)
        return fit
    if fit is _BEYOND:
        sender.end = end  # the receiver may well acknowledge it
        sender.marks |= Mark.UNACKNOWLEDGED
    return _INSIDE if settings.liberal or sender.marks & Mark.LIBERAL else fit


def _compare(sender: Side, receiver: Side, seq: int, end: int, sack: int) -> Fit:
    """The four conditions at the top of this module."""
    oldest_ack = receiver.end - max(sender.max_window, OLDEST_ACK) - 1
    ack_is_recent = is_before(oldest_ack, sack)
    ack_is_sent = is_before(sack, receiver.end + 1)
    touches_window = is_before(sender.end - receiver.max_window - 1, end)
    if not is_before(seq, sender.max_end + 1):
        excess = end - sender.max_end + 1 & WRAP
        fits_else = receiver.max_window and touches_window and ack_is_recent and ack_is_sent
        return _BEYOND if fits_else and excess <= receiver.max_window else _OUTSIDE
    if not ack_is_sent:
        return _OUTSIDE
    if receiver.max_window and not touches_window:
        return _OLD
    return _INSIDE if ack_is_recent else _OLD


def _open(sender: Side, receiver: Side, segment: Segment, direction: Direction) -> None:
    """The first SYN or SYN-ACK of a side. Windows are scaled only if both sides say so (RFC 7323)."""
    sender.end = sender.max_end = segment.end
    sender.max_window = segment.window or 1
    read_options(segment.options, sender)
    if direction is _REPLY_WAY and not sender.marks & receiver.marks & Mark.SCALES:
        sender.scale = receiver.scale = 0


def _pick_up(sender: Side, receiver: Side, segment: Segment, sack: int) -> None:
    """A side seen for the first time in mid-conversation: believe what this segment says."""
    sender.end = segment.end
    sender.max_window = segment.window << sender.scale or 1
    sender.max_end = segment.end + sender.max_window & WRAP
    if not receiver.max_window:
        receiver.end = receiver.max_end = sack
    elif sack == receiver.end + 1 & WRAP:
        receiver.end = sack  # most likely the answer to a keepalive


def _learn(track: TcpTrack, segment: Segment, direction: Direction, seq: int, ack: int, sack: int, end: int) -> None:
    """Move both windows on by a segment that fits, and count exact repetitions."""
    sender, receiver = track.side(direction), track.side(direction.other)
    window = segment.window if segment.flags & SYN else segment.window << sender.scale
    sender.max_window = max(sender.max_window, window + sack - ack & WRAP)
    if is_before(sender.end, end):
        sender.end = end
        sender.marks |= Mark.UNACKNOWLEDGED
    if ack == receiver.end:
        ack = receiver.end  # equal, and now the same object too: it is kept in several places
        receiver.marks &= ~Mark.UNACKNOWLEDGED
    if segment.acks and (not sender.marks & Mark.ACKED or is_before(sender.max_ack, ack)):
        sender.max_ack = ack
        sender.marks |= Mark.ACKED
    if receiver.max_window and is_before(sender.max_end, end):
        receiver.max_window = receiver.max_window + end - sender.max_end & WRAP
    limit = sack + window & WRAP
    if is_before(receiver.max_end - 1, limit):
        receiver.max_end = limit if window else limit + 1 & WRAP
    if segment.kind is _AN_ACK:
        this = direction, seq, ack, end, segment.window
        last = track.last_direction, track.last_seq, track.last_ack, track.last_end, track.last_window
        track.repeats = track.repeats + 1 if this == last else 0
        track.last_direction, track.last_seq, track.last_ack, track.last_end, track.last_window = this


def highest_sack(options: bytes, ack: int) -> int:
    """The right edge of the highest block selectively acknowledged; `ack` itself without any (RFC 2018)."""
    for kind, data in options_of(options):
        if kind == SACK and data and len(data) % 8 == 0:
            for at in range(4, len(data), 8):
                edge = int.from_bytes(data[at : at + 4], "big")
                if is_before(ack, edge):
                    ack = edge
            return ack
    return ack
