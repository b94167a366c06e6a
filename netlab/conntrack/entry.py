"""One flow in the table."""

from enum import IntFlag
from typing import TYPE_CHECKING, Any

from netlab.conntrack.tuples import Direction, FlowTuple
from netlab.names import TcpState

if TYPE_CHECKING:
    from netlab.conntrack.ftp import Ftp as Helper


class Status(IntFlag):
    """An entry's status bits (enum ip_conntrack_status)."""

    EXPECTED = 1
    SEEN_REPLY = 2
    ASSURED = 4
    CONFIRMED = 8
    SRC_NAT = 16
    DST_NAT = 32
    SEQ_ADJUST = 64
    SRC_NAT_DONE = 128
    DST_NAT_DONE = 256
    DYING = 512
    FIXED_TIMEOUT = 1024
    HELPER = 8192


class Entry:
    """A flow (`struct nf_conn`).

    Attributes:
        original: the tuple of its first packet.
        reply: the tuple of the packets that answer; the mirror image, unless NAT changes it.
        status: bits of `Status`.
        expires: when it may be forgotten, in seconds; before it is confirmed, how long it will live from then.
        protocol: what its protocol remembers: a `TcpTrack`, the time from which UDP is a stream, GRE's two timeouts.
        helper: what reads along, to foresee further connections.
        master: the flow in which this one was foreseen.
        counters: packets and bytes of the original direction, then of the reply's; None if nf_conntrack_acct was off
            when the flow began.
    """

    __slots__ = (
        "counters", "expires", "helper", "id", "mark", "master", "original", "protocol", "reply", "status",
    )  # fmt: skip

    def __init__(self, original: FlowTuple, reply: FlowTuple, id: int) -> None:
        self.original = original
        self.reply = reply
        self.id = id
        self.status = 0
        self.expires = 0.0
        self.mark = 0
        self.protocol: Any = None
        self.helper: Helper | None = None
        self.master: Entry | None = None
        self.counters: list[int] | None = None

    def tuple(self, direction: Direction) -> FlowTuple:
        """The tuple of its packets in that direction."""
        return self.reply if direction else self.original

    @property
    def state(self) -> TcpState | None:
        """TCP's state; None for other protocols."""
        return getattr(self.protocol, "state", None)

    def count(self, direction: Direction, octets: int) -> None:
        """One more packet of so many bytes, the IP header included (nf_ct_acct_update)."""
        if self.counters:
            self.counters[2 * direction] += 1
            self.counters[2 * direction + 1] += octets

    def refresh(self, seconds: float, now: float) -> None:
        """Let it live that long from now (nf_ct_refresh_acct)."""
        if not self.status & Status.CONFIRMED:
            self.expires = seconds
        elif not self.status & Status.FIXED_TIMEOUT:
            self.expires = now + seconds
