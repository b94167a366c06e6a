"""TCP as conntrack sees it from the middle: what a segment does to a connection's entry.

A segment is looked up in the transition table (`tcp_table`), then its numbers must fit the windows (`tcp_window`). What
neither of them can tell is here: resets, challenges, SYNs that are ignored and turn out right, and how long the entry
lives from then on.

Facts: net/netfilter/nf_conntrack_proto_tcp.c of Linux 6.18, each asked of the running kernel. RFC 9293, 5961.
"""

from enum import Enum
from typing import Final

from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.tcp_table import IGNORE, INVALID, TABLE, Kind
from netlab.conntrack.tcp_track import WRAP, Mark, Memory, Segment, Settings, Side, TcpTrack, read_options
from netlab.conntrack.tcp_window import Fit, in_window, is_before
from netlab.conntrack.tuples import Direction
from netlab.names import TcpState

CLOSING_SOON: Final = 120  # seconds: such a timeout is not worth lowering

CLOSING: Final = frozenset({
    TcpState.FIN_WAIT, TcpState.CLOSE_WAIT, TcpState.LAST_ACK, TcpState.TIME_WAIT, TcpState.CLOSE,
})  # fmt: skip
"""States in which an entry may be dropped early, and in which a reset is believed without a look at its numbers."""

# The table alone cannot tell the last step of a simultaneous open from an ACK that answers a repeated SYN.
_LAST_OF_BOTH_OPENING: Final = (TcpState.SYN_RECV, Direction.REPLY, Kind.ACK)


class Judgement(Enum):
    """What becomes of a segment."""

    ACCEPT = "accept"
    PASS = "pass"
    """Let it pass without believing it: it neither counts nor keeps the entry alive."""
    INVALID = "invalid"
    CLOSE = "close"
    """Let it pass, and forget the entry: the only answer a connection ever got was a reset."""
    REOPEN = "reopen"
    """The entry is of the past: delete it and look the packet up again."""


# To look up a member of an enum takes six times as long as a name of this module, and every segment comes this way.
_ORIGINAL_WAY, _REPLY_WAY = Direction.ORIGINAL, Direction.REPLY
_NO_STATE: Final = TcpState.NONE
_SYN_SENT, _SYN_RECV, _ESTABLISHED = TcpState.SYN_SENT, TcpState.SYN_RECV, TcpState.ESTABLISHED
_FIN_WAIT, _TIME_WAIT, _CLOSE, _SYN_SENT2 = TcpState.FIN_WAIT, TcpState.TIME_WAIT, TcpState.CLOSE, TcpState.SYN_SENT2
_A_SYN, _A_SYN_ACK, _A_FIN, _AN_ACK, _A_RST = Kind.SYN, Kind.SYN_ACK, Kind.FIN, Kind.ACK, Kind.RST
_ACCEPT, _PASS = Judgement.ACCEPT, Judgement.PASS
_SEEN_REPLY, _ASSURED = int(Status.SEEN_REPLY), int(Status.ASSURED)


def begin(segment: Segment, settings: Settings) -> TcpTrack | None:
    """The track of a new connection; None where this segment begins none."""
    first = TABLE[_ORIGINAL_WAY][segment.kind, _NO_STATE]
    if not isinstance(first, TcpState) or (first is not _SYN_SENT and not settings.loose):
        return None
    track = TcpTrack()
    side = track.original
    side.end = segment.end
    side.max_window = segment.window or 1
    if first is _SYN_SENT:
        side.max_end = side.end
        read_options(segment.options, side)
    else:
        side.max_end = side.end + side.max_window & WRAP
        for either in (track.original, track.reply):
            either.marks = Mark.SACKS | Mark.LIBERAL
    return track


def judge(entry: Entry, segment: Segment, direction: Direction, settings: Settings, now: float) -> Judgement:
    """Take one segment of a tracked connection: move its state and windows on, set its timeout."""
    track = entry.protocol
    assert isinstance(track, TcpTrack)
    came_from = track.state
    target = TABLE[direction][segment.kind, came_from]
    if target == INVALID:
        return Judgement.INVALID
    if target is _SYN_SENT and came_from in (_TIME_WAIT, _CLOSE):
        if _may_reopen(track, direction):
            return Judgement.REOPEN
        target = IGNORE
    if target == IGNORE:
        if not _syncs(track, segment, direction):
            _remember(track, segment, direction)
            return _PASS
        came_from, target = _SYN_SENT, _SYN_RECV
    assert isinstance(target, TcpState)
    if target is _TIME_WAIT and _is_challenge(track, segment, direction):
        track.memory &= ~Memory.CHALLENGED
        return _PASS
    if target is _SYN_SENT2:
        track.memory |= Memory.BOTH_OPENED
    elif (target, direction, segment.kind) == _LAST_OF_BOTH_OPENING and track.memory & Memory.BOTH_OPENED:
        target = _ESTABLISHED
    believed = False
    if segment.kind is _A_RST:
        reset = _judge_reset(entry, track, segment, direction, settings)
        if reset is None:
            return Judgement.INVALID
        target, believed = reset
    if not believed:
        shift = entry.sequence[direction.other].at(segment.ack - 1 & WRAP) if entry.sequence else 0
        fit = in_window(track, segment, direction, settings, shift)
        if fit is Fit.OUTSIDE:
            _note_rejected(entry, track, segment, direction, settings, now)
            return Judgement.INVALID
        if fit is not Fit.INSIDE:
            return _PASS
    track.last_kind, track.last_direction = segment.kind, direction
    track.state = target
    if target is _FIN_WAIT and came_from is not target:
        track.side(direction).marks |= Mark.CLOSED_FIRST
    return _settle(entry, track, segment, came_from, settings, now)


# ---------------------------------------------------------------- special cases around the table


def _may_reopen(track: TcpTrack, direction: Direction) -> bool:
    """A SYN in TIME_WAIT or CLOSE: a new connection, if the old one was closed in order or reset from this side."""
    closed = track.marks & Mark.CLOSED_FIRST
    return bool(closed) or (track.last_direction is direction and track.last_kind is _A_RST)


def _syncs(track: TcpTrack, segment: Segment, direction: Direction) -> bool:
    """A SYN-ACK for a SYN that was ignored: the two ends are in step after all, so the tracker joins them."""
    if segment.kind is not _A_SYN_ACK or track.last_kind is not _A_SYN:
        return False
    if track.last_direction is direction or segment.ack != track.last_end:
        return False
    side = track.side(track.last_direction)
    side.end = side.max_end = track.last_end
    side.max_window = track.last_window or 1
    side.scale = track.memory_scale
    side.marks = (Mark.SCALES if track.memory & Memory.SCALES else 0) | (
        Mark.SACKS if track.memory & Memory.SACKS else 0
    )
    track.memory &= ~Memory.CHALLENGED
    track.side(direction).forget()
    return True


def _remember(track: TcpTrack, segment: Segment, direction: Direction) -> None:
    """Keep what an ignored segment said, in case an answer proves it right."""
    before_it = track.state
    track.last_kind, track.last_direction = segment.kind, direction
    track.last_seq, track.last_end, track.last_window = segment.seq, segment.end, segment.window
    if segment.kind is _A_SYN and direction is _ORIGINAL_WAY:
        seen = Side()
        read_options(segment.options, seen)
        track.memory = (Memory.SCALES if seen.marks & Mark.SCALES else 0) | (
            Memory.SACKS if seen.marks & Mark.SACKS else 0
        )
        track.memory_scale = seen.scale
        if before_it is TcpState.LAST_ACK:
            track.memory |= Memory.CHALLENGED
    if before_it is _SYN_SENT and segment.kind is _AN_ACK and direction is _REPLY_WAY:
        track.last_ack = segment.ack


def _is_challenge(track: TcpTrack, segment: Segment, direction: Direction) -> bool:
    """An ACK in LAST_ACK that answers a spurious SYN, not the last FIN (RFC 5961)."""
    return (
        track.state is TcpState.LAST_ACK
        and segment.kind is _AN_ACK
        and track.last_direction is not direction
        and track.last_kind is _A_SYN
        and bool(track.memory & Memory.CHALLENGED)
    )


def _judge_reset(
    entry: Entry, track: TcpTrack, segment: Segment, direction: Direction, settings: Settings
) -> tuple[TcpState, bool] | None:
    """What a reset does: the state it leads to, and whether it is believed unseen by the windows; None: INVALID.

    A reset that does not stand exactly where the other side's acknowledgements have come to ends nothing: an attacker
    guesses one, and the other side answers it with a challenge (RFC 5961).
    """
    if track.state in CLOSING:
        return _CLOSE, True
    target = _CLOSE
    other = track.side(direction.other)
    established = track.state is _ESTABLISHED and bool(entry.status & _ASSURED)
    if other.marks & Mark.ACKED and track.last_kind is not _A_SYN:
        if segment.seq == 0 and not established:
            return target, False
        if is_before(segment.seq, other.max_ack) and not settings.ignore_invalid_rst:
            return None
        if not established or segment.seq == other.max_ack:
            return target, False
        if track.last_kind is _AN_ACK and track.last_direction is direction and segment.seq == track.last_end:
            return target, False
        target = track.state
    turned = track.last_direction is not direction
    answers_ignored = (
        (turned and entry.status & _SEEN_REPLY)
        if track.last_kind is _A_SYN
        else track.last_kind is _AN_ACK and not entry.status & _ASSURED
    )
    if answers_ignored and segment.ack == track.last_end:
        return target, True
    answers_challenge = (
        track.state is _SYN_SENT
        and track.last_kind is _AN_ACK
        and track.last_direction is _REPLY_WAY
        and segment.seq == track.last_ack
    )
    return target, answers_challenge


def _note_rejected(
    entry: Entry, track: TcpTrack, segment: Segment, direction: Direction, settings: Settings, now: float
) -> None:
    """FIN or RST out of window from both sides: the connection is gone, whatever the windows say. Keep it less long."""
    if not entry.status & _ASSURED or segment.kind not in (_A_FIN, _A_RST):
        return
    if track.last_direction is not direction and track.last_kind in (_A_FIN, _A_RST):
        left = entry.expires - now
        if left >= CLOSING_SOON and left > settings.timeouts["UNACKNOWLEDGED"]:
            entry.refresh(settings.timeouts["UNACKNOWLEDGED"], now)
    else:
        track.last_kind, track.last_direction = segment.kind, direction


def _settle(
    entry: Entry, track: TcpTrack, segment: Segment, came_from: TcpState, settings: Settings, now: float
) -> Judgement:
    """After a segment that fits: how long the entry lives from now on, and whether it is ASSURED."""
    state, timeouts = track.state, settings.timeouts
    usual = settings.lifetimes[state]
    timeout = usual
    if track.repeats >= settings.max_retrans and usual > timeouts["MAX_RETRANS"]:
        timeout = timeouts["MAX_RETRANS"]
    elif segment.kind is _A_RST:
        timeout = timeouts["CLOSE"]
    elif track.marks & Mark.UNACKNOWLEDGED and usual > timeouts["UNACKNOWLEDGED"]:
        timeout = timeouts["UNACKNOWLEDGED"]
    elif track.last_window == 0 and usual > timeouts["MAX_RETRANS"]:
        timeout = timeouts["MAX_RETRANS"]
    if not entry.status & _SEEN_REPLY:
        if segment.kind is _A_RST:
            return Judgement.CLOSE
        if segment.kind is _A_SYN and came_from is _SYN_SENT:
            return _PASS  # a repeated SYN keeps nothing alive
        if state is _ESTABLISHED:
            timeout = min(timeout, timeouts["UNACKNOWLEDGED"])
    elif state is _ESTABLISHED and came_from in (_SYN_RECV, _ESTABLISHED):
        entry.status |= _ASSURED
    entry.refresh(timeout, now)
    return _ACCEPT
