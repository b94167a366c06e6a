"""One flow in the table."""

from typing import TYPE_CHECKING, Any, Final

from netlab.conntrack.tuples import Direction, FlowTuple
from netlab.names import TcpState

if TYPE_CHECKING:
    from netlab.conntrack.ftp import Ftp
    from netlab.conntrack.seqadj import SequenceAdjustment
    from netlab.conntrack.unread import Unread


class Status:
    """An entry's status bits (enum ip_conntrack_status): plain numbers, as every packet asks for some of them."""

    EXPECTED: Final = 1
    SEEN_REPLY: Final = 2
    ASSURED: Final = 4
    CONFIRMED: Final = 8
    SRC_NAT: Final = 16
    DST_NAT: Final = 32
    SEQ_ADJUST: Final = 64
    SRC_NAT_DONE: Final = 128
    DST_NAT_DONE: Final = 256
    DYING: Final = 512
    FIXED_TIMEOUT: Final = 1024
    NAT_CLASH: Final = 4096
    HELPER: Final = 8192


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
        sequence: how far sequence numbers are off, where a helper has changed the length of what was said.
        masqueraded_by: the interface whose address MASQUERADE gave to its packets.
        counters: packets and bytes of the original direction, then of the reply's; None if nf_conntrack_acct was off
            when the flow began.
    """

    __slots__ = (
        "counters", "expires", "helper", "id", "mark", "masqueraded_by", "master", "original", "protocol", "reply",
        "sequence", "status",
    )  # fmt: skip

    def __init__(self, original: FlowTuple, reply: FlowTuple, id: int) -> None:
        self.original = original
        self.reply = reply
        self.id = id
        self.status = 0
        self.expires = 0.0
        self.mark = 0
        self.protocol: Any = None
        self.helper: Ftp | Unread | None = None
        self.master: Entry | None = None
        self.sequence: SequenceAdjustment | None = None
        self.masqueraded_by: str | None = None
        self.counters: list[int] | None = None

    def __repr__(self) -> str:
        state = f", {self.state.name}" if self.state is not None else ""
        return f"<Entry {self.original}{state}>"

    def tuple(self, direction: Direction) -> FlowTuple:
        """The tuple of its packets in that direction."""
        return self.reply if direction else self.original

    @property
    def is_snat(self) -> bool:
        """Whether rules see it in the virtual state SNAT: its packets get another source."""
        return bool(self.status & Status.SRC_NAT)

    @property
    def is_dnat(self) -> bool:
        """Whether rules see it in the virtual state DNAT: its packets get another destination."""
        return bool(self.status & Status.DST_NAT)

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
