"""What conntrack remembers of a TCP connection: its state, what each side has sent, and the last segment.

Sources: include/linux/netfilter/nf_conntrack_tcp.h of Linux 6.18; RFC 7323 and 2018 for the options.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from netlab.conntrack.tcp_table import ACK, FIN, SYN, Kind, kind_of
from netlab.conntrack.tuples import Direction, shared
from netlab.names import TcpState
from netlab.packet import Tcp

WRAP: Final = 0xFFFFFFFF
"""Sequence numbers are counted modulo 2**32."""
MAX_SCALE: Final = 14  # RFC 7323
_NO_STATE, _NO_KIND, _ORIGINAL = TcpState.NONE, Kind.NONE, Direction.ORIGINAL


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
        self.state = _NO_STATE
        self.original, self.reply = Side(), Side()
        self.last_direction = _ORIGINAL
        self.last_kind = _NO_KIND
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
    """The sysctls net.netfilter.nf_conntrack_tcp_*, and the timeouts in seconds by state's name.

    `checksum`: checksums of what comes in are looked at (nf_conntrack_checksum).
    """

    __slots__ = ("checksum", "ignore_invalid_rst", "liberal", "lifetimes", "loose", "max_retrans", "timeouts")

    def __init__(
        self, timeouts: Mapping[str, int], *, loose: int = 1, liberal: int = 0, max_retrans: int = 3,
        ignore_invalid_rst: int = 0, checksum: int = 1,
    ) -> None:  # fmt: skip
        self.checksum = bool(checksum)
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


# ---------------------------------------------------------------- options

_LIBERAL, _SACKS, _SCALES = Mark.LIBERAL, Mark.SACKS, Mark.SCALES
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
    scale, marks = 0, side.marks & _LIBERAL
    at, size = 0, len(options)
    while at < size and options[at]:  # as `options_of` goes, which takes four times as long: every SYN comes this way
        kind = options[at]
        if kind == NO_OPERATION:
            at += 1
            continue
        length = options[at + 1] if at + 1 < size else 0
        if length < 2 or at + length > size:
            break
        if kind == SACK_PERMITTED and length == 2:
            marks |= _SACKS
        elif kind == WINDOW_SCALE and length == 3:
            scale = min(options[at + 2], MAX_SCALE)
            marks |= _SCALES
        at += length
    side.scale, side.marks = scale, marks
