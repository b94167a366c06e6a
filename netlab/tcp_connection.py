"""One end of a TCP connection: the state machine of RFC 9293, as far as a conversation in a lab needs it."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

from netlab.addresses import format_address
from netlab.names import DropReason, NetlabError
from netlab.packet import DF, Packet, Tcp, as_bytes, format_flags
from netlab.trace import Trace
from netlab.wires import Wires

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
WINDOW: Final = 65535
MSS: Final = 1460  # bytes of data in one segment
HEADERS: Final = 40  # bytes of IP's and TCP's headers without options
MSS_OPTION: Final = bytes((2, 4))  # in front of two bytes
LEAST_MSS: Final = 256  # that is announced (net.ipv4.route.min_adv_mss)
GREATEST_MSS: Final = 65535 - HEADERS
WRAP: Final = 0xFFFFFFFF
HALF: Final = 0x7FFFFFFF  # sequence numbers further ahead than this lie behind
CHALLENGE_PAUSE: Final = 0.5  # seconds (net.ipv4.tcp_invalid_ratelimit)

Answer = Callable[[bytes], bytes | None]


class FourTuple(NamedTuple):
    """A connection as this end sees it: its own address and port, then the peer's."""

    saddr: int
    sport: int
    daddr: int
    dport: int

    def __str__(self) -> str:
        return f"{format_address(self.saddr)}:{self.sport} - {format_address(self.daddr)}:{self.dport}"


class State(StrEnum):
    """The states of RFC 9293, figure 5 (LISTEN is a `Listener`)."""

    CLOSED = "CLOSED"
    SYN_SENT = "SYN_SENT"
    SYN_RECEIVED = "SYN_RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT_1 = "FIN_WAIT_1"
    FIN_WAIT_2 = "FIN_WAIT_2"
    CLOSING = "CLOSING"
    CLOSE_WAIT = "CLOSE_WAIT"
    LAST_ACK = "LAST_ACK"
    TIME_WAIT = "TIME_WAIT"


# Where the acknowledgement of our FIN leads, and where the peer's FIN leads.
FIN_ACKNOWLEDGED: Final = {
    State.FIN_WAIT_1: State.FIN_WAIT_2, State.CLOSING: State.TIME_WAIT, State.LAST_ACK: State.CLOSED,
}  # fmt: skip
FIN_RECEIVED: Final = {
    State.SYN_RECEIVED: State.CLOSE_WAIT, State.ESTABLISHED: State.CLOSE_WAIT, State.FIN_WAIT_1: State.CLOSING,
    State.FIN_WAIT_2: State.TIME_WAIT,
}  # fmt: skip
CLOSED_BY_US: Final = {State.ESTABLISHED: State.FIN_WAIT_1, State.CLOSE_WAIT: State.LAST_ACK}
HAS_SEEN_FIN: Final = (State.CLOSE_WAIT, State.LAST_ACK, State.CLOSING)
RECEIVES_DATA: Final = (State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2)


class Verdict(NamedTuple):
    """What becomes of a segment: dropped for a reason, or None; `resets` if its sender is told."""

    reason: DropReason | None = None
    why: str = ""
    resets: bool = False


class Listener:
    """A listening TCP socket. `connections` are those it has accepted, `answer` what talks back on them."""

    def __init__(self, port: int, answer: Answer | None = None) -> None:
        self.port = port
        self.answer = answer
        self.connections: list[Connection] = []

    def refuses(self, segment: Tcp) -> tuple[DropReason, str, bool] | None:
        """Why this segment opens no connection, and whether it gets a reset; None for a SYN that does."""
        flags = segment.flags
        if flags & ACK:
            return DropReason.TCP_FLAGS, "an acknowledgement, and there is no connection", not flags & RST
        if flags & RST:
            return DropReason.TCP_RESET, "a reset, and there is no connection", False
        if not flags & SYN or flags & FIN:
            return DropReason.TCP_FLAGS, f"flags {format_flags(flags) or 'none'} open no connection", False
        return None

    def __repr__(self) -> str:
        return f"<tcp/{self.port}: listening, {len(self.connections)} accepted>"


class Connection:
    """One end of a connection. `state` is its state, `received` the bytes that came, `error` an errno's name or None.

    `mtu` is that of its route, which its SYN tells the peer (the option MSS); all other options it leaves out.
    Sequence numbers as in RFC 9293: `snd_una` oldest unacknowledged, `snd_nxt` next to send, `rcv_nxt` next expected.
    """

    def __init__(
        self,
        tuple_: FourTuple,
        isn: int,
        transmit: Callable[[Packet, str], None],
        wires: Wires,
        listener: Listener | None = None,
        mtu: int = MSS + HEADERS,
    ) -> None:
        self.tuple = tuple_
        self.state = State.CLOSED
        self.received = b""
        self.error: str | None = None
        self.snd_una = self.snd_nxt = isn
        self.rcv_nxt = 0
        self._transmit = transmit
        self._wires = wires
        self._listener = listener
        self._announced = min(max(mtu - HEADERS, LEAST_MSS), GREATEST_MSS)  # ipv4_default_advmss
        self._challenged: float | None = None  # when a challenge was sent last
        self._gap = False  # whether data has come before its turn

    # ---------------------------------------------------------------- what the program does

    def open(self) -> None:
        """Send the SYN."""
        self.state = State.SYN_SENT
        self._send(SYN)

    def accept(self, segment: Tcp) -> None:
        """Answer the peer's SYN."""
        self.rcv_nxt = segment.seq + 1 & WRAP
        self.state = State.SYN_RECEIVED
        self._send(SYN | ACK)

    def finish(self, segment: Tcp) -> Verdict:
        """A segment for a connection that is only begun (tcp_check_req): may it go on to `receive`?

        The kernel keeps what is only begun in a table of its own, so other rules hold.
        """
        flags, end = segment.flags, segment.seq + _length(segment) & WRAP
        if flags & (SYN | ACK | RST) == SYN and segment.seq == self.rcv_nxt - 1 & WRAP:
            if not self._just_challenged():
                self.snd_nxt = self.snd_una
                self._send(SYN | ACK)
            return Verdict(DropReason.NOT_SPECIFIED, "the SYN again: so is the answer")
        inside = segment.seq == self.rcv_nxt or (
            0 < end - self.rcv_nxt & WRAP <= HALF and segment.seq - self.rcv_nxt + HALF & WRAP < WINDOW + HALF
        )
        if flags & RST and inside:
            if segment.seq == self.rcv_nxt:
                self._abort("ECONNRESET")
            else:
                self._challenge()
            return Verdict(DropReason.NOT_SPECIFIED, "a reset before the handshake was done")
        if flags & ACK and segment.ack != self.snd_nxt and not flags & RST:
            return Verdict(DropReason.TCP_FLAGS, "it acknowledges what was never sent", resets=True)
        if not inside:
            if not flags & RST:
                self._tell(segment, end)
            return Verdict(DropReason.TCP_OVERWINDOW, "outside of the window")
        if flags & SYN:
            self._abort("ECONNRESET")
            return Verdict(DropReason.NOT_SPECIFIED, "another SYN before the handshake was done", resets=True)
        if not flags & ACK:
            return Verdict(DropReason.NOT_SPECIFIED, "it acknowledges nothing")
        self._challenged = None  # the socket that there is now has told nothing yet
        return Verdict()

    def send(self, data: bytes | str) -> Trace:
        """Send data, and return all that follows.

        Raises:
            NetlabError: the connection is not open for it, or it is no data.
        """
        if self.state not in (State.ESTABLISHED, State.CLOSE_WAIT):
            raise NetlabError(f"{self.tuple}: cannot send in state {self.state}")
        octets = as_bytes("data", data)
        with self._wires.step("{} sends {} bytes", self.tuple, len(octets)) as trace:
            for at in range(0, len(octets), MSS):
                self._send(PSH | ACK, octets[at : at + MSS])
        return trace

    def close(self) -> Trace:
        """Send the FIN, and return all that follows.

        Raises:
            NetlabError: there is nothing to close.
        """
        if self.state not in CLOSED_BY_US:
            raise NetlabError(f"{self.tuple}: cannot close in state {self.state}")
        with self._wires.step("{} is closed", self.tuple) as trace:
            self.state = CLOSED_BY_US[self.state]
            self._send(FIN | ACK)
        return trace

    @property
    def gone(self) -> bool:
        """Whether the kernel has forgotten it."""
        return self.state is State.CLOSED

    @property
    def half_open(self) -> bool:
        """Whether it is only begun, and by the peer: the kernel keeps it as a request then, not yet as a socket."""
        return self.state is State.SYN_RECEIVED and self._listener is not None

    # ---------------------------------------------------------------- what arrives

    def receive(self, segment: Tcp) -> DropReason | None:
        """A segment of this connection (RFC 9293, 3.10.7); the reason if it is thrown away (tcp_rcv_established)."""
        if self.state is State.SYN_SENT:
            self._receive_in_syn_sent(segment)
            return None
        if not segment.flags & (ACK | RST | SYN):
            return DropReason.TCP_FLAGS
        end = segment.seq + _length(segment) & WRAP
        reset = segment.flags & RST
        late = self.state in HAS_SEEN_FIN and segment.seq == self.rcv_nxt - 1 & WRAP  # its sender knows not of the FIN
        if reset and (segment.seq == self.rcv_nxt or late):
            self._abort("ECONNRESET")
            return None
        if (reason := self._outside(segment.seq, end)) is not None and not segment.flags & SYN:
            if not reset:
                self._tell(segment, end)
            return reason
        if reset:
            self._challenge()
            return DropReason.TCP_RESET
        if segment.flags & SYN:
            self._challenge()
            return DropReason.TCP_INVALID_SYN
        if not segment.flags & ACK:
            return DropReason.TCP_FLAGS
        # Header prediction (tcp_rcv_established) looks less closely, while nothing is missing.
        expected = self.state is State.ESTABLISHED and segment.seq == end == self.rcv_nxt and not self._gap
        reason = self._acknowledged(segment.ack)
        if reason is DropReason.TCP_TOO_OLD_ACK and expected:
            return None
        if reason is not None or self.gone:
            return reason
        if self.state in HAS_SEEN_FIN and segment.seq - self.rcv_nxt & WRAP <= HALF:
            return DropReason.NOT_SPECIFIED  # nothing was to come any more
        return self._take(segment, end)

    def _outside(self, seq: int, end: int) -> DropReason | None:
        """Whether it lies wholly before or behind the window."""
        if end - self.rcv_nxt & WRAP > HALF:
            return DropReason.TCP_OLD_SEQUENCE
        behind = seq - self.rcv_nxt & WRAP
        return DropReason.TCP_INVALID_SEQUENCE if WINDOW <= behind <= HALF else None

    def _tell(self, segment: Tcp, end: int) -> None:
        """Acknowledge what lies outside of the window; if empty, twice a second at most (tcp_oow_rate_limited)."""
        if segment.seq == end or segment.flags & SYN:
            self._challenge()
        else:
            self._send(ACK)

    def _challenge(self) -> None:
        """Acknowledge, so that an honest peer learns where we are, and an attacker nothing (RFC 5961)."""
        if not self._just_challenged():
            self._send(ACK)

    def _just_challenged(self) -> bool:
        """Whether such an answer was given half a second ago; if not, it is given now."""
        now = self._wires.clock.now
        if self._challenged is not None and now - self._challenged < CHALLENGE_PAUSE:
            return True
        self._challenged = now
        return False

    def _receive_in_syn_sent(self, segment: Tcp) -> None:
        if segment.flags & ACK and segment.ack != self.snd_nxt:
            if not segment.flags & RST:
                self._transmit(self._segment(RST, segment.ack), str(self))
            return
        if segment.flags & RST:
            if segment.flags & ACK:
                self._abort("ECONNREFUSED")
            return
        if segment.flags & SYN:
            self.rcv_nxt = segment.seq + 1 & WRAP
            if segment.flags & ACK:
                self.snd_una = segment.ack
                self.state = State.ESTABLISHED
                self._send(ACK)
            else:  # both opened at once
                self.state = State.SYN_RECEIVED
                self.snd_nxt = self.snd_una
                self._send(SYN | ACK)

    def _acknowledged(self, ack: int) -> DropReason | None:
        if 0 < ack - self.snd_nxt & WRAP <= HALF:
            self._challenge()
            return DropReason.TCP_ACK_UNSENT_DATA
        if 0 < self.snd_una - ack & WRAP <= HALF:
            self._challenge()
            return DropReason.TCP_TOO_OLD_ACK  # this end never sends so much that it could be a late one
        self.snd_una = ack
        if self.state is State.SYN_RECEIVED:
            self.state = State.ESTABLISHED
            if self._listener:
                self._listener.connections.append(self)
        if ack == self.snd_nxt:
            self.state = FIN_ACKNOWLEDGED.get(self.state, self.state)
        return None

    def _take(self, segment: Tcp, end: int) -> DropReason | None:
        """What it carries: new bytes, and the news that no more will come."""
        if end == segment.seq:
            return None
        if end == self.rcv_nxt:
            self._send(ACK)
            return DropReason.TCP_OLD_DATA
        known = self.rcv_nxt - segment.seq & WRAP
        if known > HALF:  # something is missing before it
            self._gap = True
            self._send(ACK)
            return None
        data, fin = segment.payload[known:], segment.flags & FIN and self.state in FIN_RECEIVED
        reply = None
        if data and self.state in RECEIVES_DATA:
            self.received += data
            reply = self._listener.answer(data) if self._listener and self._listener.answer else None
        self.rcv_nxt = end
        if fin:
            self.state = FIN_RECEIVED[self.state]
        closes = bool(fin and self._listener and self.state is State.CLOSE_WAIT)
        if data or not closes:  # a FIN alone is acknowledged by ours
            self._send(ACK)
        if reply and self.state in CLOSED_BY_US:
            self.send(reply)
        if closes:
            self.close()
        return None

    def _abort(self, errno: str) -> None:
        self.state = State.CLOSED
        self.error = errno

    # ---------------------------------------------------------------- what leaves

    def _send(self, flags: int, data: bytes = b"") -> None:
        packet = self._segment(flags, self.snd_nxt, data)
        self.snd_nxt = self.snd_nxt + len(data) + bool(flags & SYN) + bool(flags & FIN) & WRAP
        self._transmit(packet, str(self))

    def _segment(self, flags: int, seq: int, data: bytes = b"") -> Packet:
        ack = self.rcv_nxt if flags & ACK else 0
        saddr, sport, daddr, dport = self.tuple
        packet = Packet.tcp(
            format_address(saddr), format_address(daddr), sport, dport, format_flags(flags), seq=seq, ack=ack,
            window=WINDOW, payload=data, tcp_options=MSS_OPTION + self._announced.to_bytes(2) if flags & SYN else b"",
        )  # fmt: skip
        return packet._replace(frag=DF)

    def __str__(self) -> str:
        return f"tcp/{self.tuple.sport}"

    def __repr__(self) -> str:
        failed = f", {self.error}" if self.error else ""
        return f"<tcp {self.tuple} {self.state}{failed}, {len(self.received)} bytes received>"


def _length(segment: Tcp) -> int:
    """How many sequence numbers a segment takes: SYN and FIN count, each."""
    return len(segment.payload) + bool(segment.flags & SYN) + bool(segment.flags & FIN)


def reset_for(packet: Packet, segment: Tcp) -> Packet:
    """The reset that a segment for no connection gets (RFC 9293, 3.10.7.1; tcp_v4_send_reset)."""
    if segment.flags & ACK:
        flags, seq, ack = "R", segment.ack, 0
    else:
        flags, seq, ack = "RA", 0, segment.seq + _length(segment) & WRAP
    answer = Packet.tcp(packet.dst, packet.src, segment.dport, segment.sport, flags, seq=seq, ack=ack, window=0)
    return answer._replace(frag=DF, tos=packet.tos & ~3)  # the ECN bits are not answered
