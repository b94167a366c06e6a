"""TCP as conntrack sees it from the middle: the transition table, window tracking, and nothing else.

The tracker watches both directions of a connection and keeps one state for it. A segment is first looked up in TABLE:
by its direction, its kind and the present state. Then its sequence numbers must fit the windows both sides announced
(Guido van Rooij, "Real Stateful TCP Packet Filtering in IP Filter", SANE 2000):

    the data must not go beyond what the receiver said it takes        seq <= sender.max_end
    nor lie wholly before what the receiver has acknowledged            end >= sender.end - receiver.max_window
    the acknowledgement must not be for what nobody sent                ack <= receiver.end
    nor be far behind                                                   ack >= receiver.end - 66000 or the window

Facts: net/netfilter/nf_conntrack_proto_tcp.c of Linux 6.18, each asked of the running kernel.
RFC 9293, 5961, 7323, 2018.
"""

from collections.abc import Iterator, Mapping
from enum import Enum, IntEnum
from typing import Final

from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.tuples import Direction, shared
from netlab.names import TcpState
from netlab.packet import Tcp

WRAP: Final = 0xFFFFFFFF
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
OLDEST_ACK: Final = 66000  # bytes: an acknowledgement may be that late even where windows are smaller
MAX_SCALE: Final = 14  # RFC 7323
CLOSING_SOON: Final = 120  # seconds: such a timeout is not worth lowering


class Kind(IntEnum):
    """What a segment is to the table: by the first of these flags that it carries."""

    SYN = 0
    SYN_ACK = 1
    FIN = 2
    ACK = 3
    RST = 4
    NONE = 5


IGNORE, INVALID = "ignore", "invalid"

_ABBREVIATIONS: dict[str, TcpState | str] = {
    "..": IGNORE, "--": INVALID, "SS": TcpState.SYN_SENT, "SR": TcpState.SYN_RECV, "ES": TcpState.ESTABLISHED,
    "FW": TcpState.FIN_WAIT, "CW": TcpState.CLOSE_WAIT, "LA": TcpState.LAST_ACK, "TW": TcpState.TIME_WAIT,
    "CL": TcpState.CLOSE, "S2": TcpState.SYN_SENT2,
}  # fmt: skip

# One row for each kind of segment, one column for each present state; `..` lets the segment pass without believing
# it (the two ends may be in step while the tracker is not), `--` makes it INVALID.
_ORIGINAL = """
           NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2
  SYN       SS     SS       ..        ..         ..        ..        ..       SS       SS      S2
  SYN_ACK   --     --       SR        --         --        --        --       --       --      SR
  FIN       --     --       FW        FW         LA        LA        LA       TW       CL      --
  ACK       ES     --       ES        ES         CW        CW        TW       TW       CL      --
  RST       --     CL       CL        CL         CL        CL        CL       CL       CL      CL
  NONE      --     --       --        --         --        --        --       --       --      --
"""
_REPLY = """
           NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2
  SYN       --     S2       --        --         --        --        --       SS       --      S2
  SYN_ACK   --     SR       ..        ..         ..        ..        ..       ..       ..      SR
  FIN       --     --       FW        FW         LA        LA        LA       TW       CL      --
  ACK       --     ..       SR        ES         CW        CW        TW       TW       CL      ..
  RST       --     CL       CL        CL         CL        CL        CL       CL       CL      CL
  NONE      --     --       --        --         --        --        --       --       --      --
"""

Target = TcpState | str


def _read(text: str) -> dict[tuple[Kind, TcpState], Target]:
    header, *rows = text.strip().splitlines()
    states = [TcpState[name] for name in header.split()]
    table: dict[tuple[Kind, TcpState], Target] = {}
    for row in rows:
        kind, *cells = row.split()
        for state, cell in zip(states, cells, strict=True):
            table[Kind[kind], state] = _ABBREVIATIONS[cell]
    return table


TABLE: Final[dict[Direction, dict[tuple[Kind, TcpState], Target]]] = {
    Direction.ORIGINAL: _read(_ORIGINAL),
    Direction.REPLY: _read(_REPLY),
}

# With any of these (PSH, ECE and CWR left aside) a segment is well formed; all other combinations are INVALID.
VALID_FLAGS: Final = frozenset({
    SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG,
})  # fmt: skip

CLOSING: Final = frozenset({
    TcpState.FIN_WAIT, TcpState.CLOSE_WAIT, TcpState.LAST_ACK, TcpState.TIME_WAIT, TcpState.CLOSE,
})  # fmt: skip
"""States in which an entry may be dropped early, and in which a reset is believed without a look at its numbers."""

# The table alone cannot tell the last step of a simultaneous open from an ACK that answers a repeated SYN.
_LAST_OF_BOTH_OPENING: Final = (TcpState.SYN_RECV, Direction.REPLY, Kind.ACK)


class Mark:
    """What the tracker remembers of one side."""

    SCALES: Final = 1
    """It sent a window scale."""
    SACKS: Final = 2
    """It permits selective acknowledgements."""
    CLOSED_FIRST: Final = 4
    """Its FIN was the first."""
    LIBERAL: Final = 8
    """Picked up in mid-conversation: its windows are not known well enough to judge."""
    UNACKNOWLEDGED: Final = 16
    """It sent data that nobody has acknowledged yet."""
    ACKED: Final = 32
    """It has acknowledged something: `max_ack` holds what."""


class Memory:
    """What the tracker remembers of a SYN that it let pass without believing it, and of the opening."""

    SCALES: Final = 1
    SACKS: Final = 2
    CHALLENGED: Final = 4
    """The next ACK may be a challenge (RFC 5961), not the acknowledgement of the last FIN."""
    BOTH_OPENED: Final = 8
    """Both sides sent a SYN: a simultaneous open."""


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
_SYN_SENT, _SYN_RECV, _ESTABLISHED = TcpState.SYN_SENT, TcpState.SYN_RECV, TcpState.ESTABLISHED
_FIN_WAIT, _TIME_WAIT, _CLOSE, _SYN_SENT2 = TcpState.FIN_WAIT, TcpState.TIME_WAIT, TcpState.CLOSE, TcpState.SYN_SENT2
_A_SYN, _A_SYN_ACK, _A_FIN, _AN_ACK, _A_RST = Kind.SYN, Kind.SYN_ACK, Kind.FIN, Kind.ACK, Kind.RST
_ACCEPT, _PASS = Judgement.ACCEPT, Judgement.PASS
_SEEN_REPLY, _ASSURED = int(Status.SEEN_REPLY), int(Status.ASSURED)


class Side:
    """What one side has sent, all as sequence numbers modulo 2**32 (`struct ip_ct_tcp_state`)."""

    __slots__ = ("end", "marks", "max_ack", "max_end", "max_window", "scale")

    def __init__(self) -> None:
        self.end = 0  # the highest sequence number sent, plus one
        self.max_end = 0  # the highest it may send: what the other side's window allows
        self.max_window = 0  # the largest window it ever announced; 0 until it sent something
        self.max_ack = 0  # the highest acknowledgement it sent
        self.scale = 0
        self.marks = 0

    def forget(self) -> None:
        """Start over, as if it had never sent anything."""
        self.end = self.max_end = self.max_window = self.max_ack = self.scale = 0
        self.marks &= Mark.LIBERAL


class TcpTrack:
    """The protocol part of a TCP entry: the state, both sides, and the last segment (`struct ip_ct_tcp`)."""

    __slots__ = (
        "last_ack", "last_direction", "last_end", "last_kind", "last_seq", "last_window", "memory", "memory_scale",
        "original", "repeats", "reply", "state",
    )  # fmt: skip

    def __init__(self) -> None:
        self.state = TcpState.NONE
        self.original, self.reply = Side(), Side()
        self.last_direction = _ORIGINAL_WAY
        self.last_kind = Kind.NONE
        self.last_seq = self.last_ack = self.last_end = self.last_window = 0
        self.repeats = 0
        self.memory = 0
        self.memory_scale = 0

    def side(self, direction: Direction) -> Side:
        """What the sender of that direction has sent."""
        return self.reply if direction else self.original

    @property
    def marks(self) -> int:
        """What is remembered of either side."""
        return self.original.marks | self.reply.marks


class Settings:
    """The sysctls net.netfilter.nf_conntrack_tcp_*, and the timeouts in seconds by state's name."""

    __slots__ = ("ignore_invalid_rst", "liberal", "lifetimes", "loose", "max_retrans", "timeouts")

    def __init__(
        self, timeouts: Mapping[str, int], *, loose: int = 1, liberal: int = 0, max_retrans: int = 3,
        ignore_invalid_rst: int = 0,
    ) -> None:  # fmt: skip
        self.timeouts = timeouts
        self.lifetimes = [timeouts.get(state.name, 0) for state in TcpState]
        self.loose = loose
        self.liberal = liberal
        self.max_retrans = max_retrans
        self.ignore_invalid_rst = ignore_invalid_rst


class Segment:
    """A segment with what the tracker asks of it."""

    __slots__ = ("ack", "acks", "end", "flags", "kind", "options", "seq", "window")

    def __init__(self, tcp: Tcp) -> None:
        flags = tcp.flags
        self.flags = flags
        self.seq = tcp.seq
        self.ack = tcp.ack
        length = len(tcp.payload) + bool(flags & SYN) + bool(flags & FIN)
        self.end = tcp.seq + length & WRAP if length else tcp.seq
        self.window = shared(tcp.window)
        self.options = tcp.options
        self.acks = bool(flags & ACK)
        self.kind = kind_of(flags)


def kind_of(flags: int) -> Kind:
    """The table's row for these flags."""
    if flags & RST:
        return _A_RST
    if flags & SYN:
        return _A_SYN_ACK if flags & ACK else _A_SYN
    if flags & FIN:
        return _A_FIN
    return _AN_ACK if flags & ACK else Kind.NONE


def well_formed(tcp: Tcp) -> bool:
    """Whether any TCP sends such a combination of flags."""
    return tcp.flags & (FIN | SYN | RST | ACK | URG) in VALID_FLAGS


def begin(tcp: Tcp, settings: Settings) -> TcpTrack | None:
    """The track of a new connection; None where this segment begins none."""
    segment = Segment(tcp)
    first = TABLE[_ORIGINAL_WAY][segment.kind, TcpState.NONE]
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


def judge(entry: Entry, tcp: Tcp, direction: Direction, settings: Settings, now: float) -> Judgement:
    """Take one segment of a tracked connection: move its state and windows on, set its timeout."""
    track = entry.protocol
    assert isinstance(track, TcpTrack)
    segment = Segment(tcp)
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


# ---------------------------------------------------------------- window tracking


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


# ---------------------------------------------------------------- options

END_OF_OPTIONS, NO_OPERATION, WINDOW_SCALE, SACK_PERMITTED, SACK = 0, 1, 3, 4, 5


def options_of(options: bytes) -> Iterator[tuple[int, bytes]]:
    """Each option as (kind, data), as far as they can be read."""
    at = 0
    while at < len(options) and options[at] != END_OF_OPTIONS:
        if options[at] == NO_OPERATION:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            return
        yield options[at], options[at + 2 : at + length]
        at += length


def read_options(options: bytes, side: Side) -> None:
    """Take window scale and permission of selective acknowledgements from a SYN."""
    if not options:
        return
    side.scale = 0
    side.marks &= Mark.LIBERAL
    for kind, data in options_of(options):
        if kind == SACK_PERMITTED and not data:
            side.marks |= Mark.SACKS
        elif kind == WINDOW_SCALE and len(data) == 1:
            side.scale = min(data[0], MAX_SCALE)
            side.marks |= Mark.SCALES


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
