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
WRAP: Final = 0xFFFFFFFF

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
RECEIVES_DATA: Final = (State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2)


class Listener:
    """A listening TCP socket. `connections` are those it has accepted, `answer` what talks back on them."""

    def __init__(self, port: int, answer: Answer | None = None) -> None:
        self.port = port
        self.answer = answer
        self.connections: list[Connection] = []

    def refuses(self, segment: Tcp) -> tuple[DropReason, str, bool] | None:
        """Why this segment opens no connection, and whether it gets a reset; None for a SYN that does."""
        flags = segment.flags
        if flags & RST:
            return DropReason.TCP_RESET, "a reset, and there is no connection", False
        if flags & ACK:
            return DropReason.TCP_FLAGS, "an acknowledgement, and there is no connection", True
        if not flags & SYN or flags & FIN:
            return DropReason.TCP_FLAGS, f"flags {format_flags(flags) or 'none'} open no connection", False
        return None

    def __repr__(self) -> str:
        return f"<tcp/{self.port}: listening, {len(self.connections)} accepted>"


class Connection:
    """One end of a connection. `state` is its state, `received` the bytes that came, `error` an errno's name or None.

    Sequence numbers as in RFC 9293: `snd_una` oldest unacknowledged, `snd_nxt` next to send, `rcv_nxt` next expected.
    """

    def __init__(
        self,
        tuple_: FourTuple,
        isn: int,
        transmit: Callable[[Packet, str], None],
        wires: Wires,
        listener: Listener | None = None,
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

    # ---------------------------------------------------------------- what arrives

    def receive(self, segment: Tcp) -> None:
        """A segment of this connection (RFC 9293, 3.10.7)."""
        if self.state is State.SYN_SENT:
            return self._receive_in_syn_sent(segment)
        if segment.flags & RST:
            if segment.seq == self.rcv_nxt:
                self._abort("ECONNRESET")
            elif self._in_window(segment.seq):
                self._send(ACK)  # a challenge: an attacker does not see it (RFC 5961)
            return
        length = len(segment.payload) + (segment.flags & FIN)
        if not (self._in_window(segment.seq) or self._in_window(segment.seq + length - 1)) or segment.flags & SYN:
            return self._send(ACK)
        if not segment.flags & ACK:
            return
        self._acknowledged(segment.ack)
        if self.gone or segment.seq != self.rcv_nxt:
            return self._send(ACK) if length and not self.gone else None
        if segment.payload and self.state in RECEIVES_DATA:
            self._take(segment.payload, fin=bool(segment.flags & FIN))
        if segment.flags & FIN and self.state in FIN_RECEIVED:
            self.rcv_nxt = self.rcv_nxt + 1 & WRAP
            self.state = FIN_RECEIVED[self.state]
            self._send(ACK)
            if self._listener and self.state is State.CLOSE_WAIT:
                self.close()

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

    def _acknowledged(self, ack: int) -> None:
        if self.snd_nxt - ack & WRAP > self.snd_nxt - self.snd_una & WRAP:
            return  # older than what we know, or never sent
        self.snd_una = ack
        if self.state is State.SYN_RECEIVED:
            self.state = State.ESTABLISHED
            if self._listener:
                self._listener.connections.append(self)
        if ack == self.snd_nxt:
            self.state = FIN_ACKNOWLEDGED.get(self.state, self.state)

    def _take(self, data: bytes, *, fin: bool) -> None:
        self.received += data
        self.rcv_nxt = self.rcv_nxt + len(data) & WRAP
        reply = self._listener.answer(data) if self._listener and self._listener.answer else None
        if not fin:
            self._send(ACK)
        if reply and self.state is State.ESTABLISHED:
            self.send(reply)

    def _abort(self, errno: str) -> None:
        self.state = State.CLOSED
        self.error = errno

    def _in_window(self, seq: int) -> bool:
        return seq - self.rcv_nxt & WRAP < WINDOW

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
            window=WINDOW, payload=data,
        )  # fmt: skip
        return packet._replace(frag=DF)

    def __str__(self) -> str:
        return f"tcp/{self.tuple.sport}"

    def __repr__(self) -> str:
        failed = f", {self.error}" if self.error else ""
        return f"<tcp {self.tuple} {self.state}{failed}, {len(self.received)} bytes received>"


def reset_for(packet: Packet, segment: Tcp) -> Packet:
    """The reset that a segment for no connection gets (RFC 9293, 3.10.7.1; tcp_v4_send_reset)."""
    if segment.flags & ACK:
        flags, seq, ack = "R", segment.ack, 0
    else:
        length = len(segment.payload) + bool(segment.flags & SYN) + bool(segment.flags & FIN)
        flags, seq, ack = "RA", 0, segment.seq + length & WRAP
    answer = Packet.tcp(packet.dst, packet.src, segment.dport, segment.sport, flags, seq=seq, ack=ack, window=0)
    return answer._replace(frag=DF, tos=packet.tos & ~3)  # the ECN bits are not answered
