"""One end of a TCP connection, driven segment by segment (RFC 9293, 3.10)."""

from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.names import DropReason, NetlabError
from netlab.packet import Packet, Tcp
from netlab.tcp_connection import MSS, WINDOW, Connection, FourTuple, Listener, State, reset_for
from netlab.wires import Wires

HERE = FourTuple(0x0A000001, 4000, 0x0A000002, 80)
THERE = FourTuple(0x0A000002, 80, 0x0A000001, 4000)
ISN, PEER_ISN = 1000, 5000


def segment_of(packet: Packet) -> Tcp:
    segment = packet.l4
    assert isinstance(segment, Tcp)
    return segment


def segment(flags: str, seq: int = 0, ack: int = 0, payload: bytes = b"") -> Tcp:
    return segment_of(Packet.tcp("10.0.0.2", "10.0.0.1", 80, 4000, flags, seq=seq, ack=ack, payload=payload))


class End:
    """A connection and what it sent: (flags, seq, ack, payload)."""

    def __init__(self, isn: int = ISN, listener: Listener | None = None) -> None:
        self.packets: list[Packet] = []
        self.connection = Connection(HERE, isn, lambda packet, by: self.packets.append(packet), Wires(), listener)

    @property
    def sent(self) -> list[tuple[str | None, int, int, bytes]]:
        """What it sent since somebody last looked."""
        packets, self.packets = self.packets, []
        return [(one.flags, segment_of(one).seq, segment_of(one).ack, segment_of(one).payload) for one in packets]

    def hears(self, flags: str, seq: int, ack: int = 0, payload: bytes = b"") -> list[Any]:
        self.connection.receive(segment(flags, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, payload))
        return self.sent


def established(isn: int = ISN, peer_isn: int = PEER_ISN) -> End:
    end = End(isn)
    end.connection.open()
    end.hears("SA", peer_isn, isn + 1)
    assert end.connection.state is State.ESTABLISHED
    return end


# ---------------------------------------------------------------- opening


def test_the_handshake_of_the_one_who_opens() -> None:
    end = End()
    end.connection.open()
    assert end.connection.state is State.SYN_SENT
    assert end.sent == [("S", ISN, 0, b"")]
    assert end.hears("SA", PEER_ISN, ISN + 1) == [("A", ISN + 1, PEER_ISN + 1, b"")]
    assert end.connection.state is State.ESTABLISHED


def test_the_handshake_of_the_one_who_listens() -> None:
    listener = Listener(4000)
    end = End(listener=listener)
    end.connection.accept(segment("S", PEER_ISN))
    assert end.connection.state is State.SYN_RECEIVED
    assert end.sent == [("SA", ISN, PEER_ISN + 1, b"")]
    assert listener.connections == []
    assert end.hears("A", PEER_ISN + 1, ISN + 1) == []
    assert end.connection.state is State.ESTABLISHED
    assert listener.connections == [end.connection]


def test_segments_leave_with_df_and_right_checksums() -> None:
    end = End()
    end.connection.open()
    (packet,) = end.packets
    assert (packet.src, packet.dst, packet.sport, packet.dport) == ("10.0.0.1", "10.0.0.2", 4000, 80)
    assert packet.df
    assert packet.checksum_ok()


@pytest.mark.parametrize(
    ("flags", "ack", "answer", "state", "error"),
    [
        ("RA", ISN + 1, [], State.CLOSED, "ECONNREFUSED"),
        ("RA", ISN, [], State.SYN_SENT, None),  # a reset that does not know our SYN
        ("R", 0, [], State.SYN_SENT, None),
        ("SA", ISN, [("R", ISN, 0, b"")], State.SYN_SENT, None),
        ("SA", ISN + 2, [("R", ISN + 2, 0, b"")], State.SYN_SENT, None),
        ("A", ISN + 1, [], State.SYN_SENT, None),
        ("F", 0, [], State.SYN_SENT, None),
    ],
    ids=["refused", "blind reset", "reset without ack", "old ack", "future ack", "bare ack", "fin"],
)
def test_what_may_answer_a_syn(flags: str, ack: int, answer: list[Any], state: State, error: str | None) -> None:
    end = End()
    end.connection.open()
    assert end.sent
    assert end.hears(flags, PEER_ISN, ack) == answer
    assert (end.connection.state, end.connection.error) == (state, error)


def test_both_open_at_once() -> None:
    one, other = End(ISN), End(PEER_ISN)
    one.connection.open()
    other.connection.open()
    assert one.sent == [("S", ISN, 0, b"")]
    assert other.sent == [("S", PEER_ISN, 0, b"")]
    assert one.hears("S", PEER_ISN) == [("SA", ISN, PEER_ISN + 1, b"")]
    assert other.hears("S", ISN) == [("SA", PEER_ISN, ISN + 1, b"")]
    assert one.connection.state is other.connection.state is State.SYN_RECEIVED
    deliver(one, other, [("SA", ISN, PEER_ISN + 1, b"")], [("SA", PEER_ISN, ISN + 1, b"")])
    assert one.connection.state is other.connection.state is State.ESTABLISHED
    one.connection.send("hello")
    deliver(one, other, one.sent, [])
    assert other.connection.received == b"hello"


def deliver(one: End, other: End, from_one: list[Any], from_other: list[Any]) -> None:
    """Carry segments to and fro until nobody has anything to say."""
    pending = deque([*((other, item) for item in from_one), *((one, item) for item in from_other)])
    for _ in range(100):
        if not pending:
            return
        receiver, item = pending.popleft()
        sender = one if receiver is other else other
        pending += [(sender, answer) for answer in receiver.hears(*item)]
    raise AssertionError("they never stop")


# ---------------------------------------------------------------- data


def test_data_is_kept_and_acknowledged() -> None:
    end = established()
    assert end.sent == []
    assert end.hears("PA", PEER_ISN + 1, ISN + 1, b"hello") == [("A", ISN + 1, PEER_ISN + 6, b"")]
    assert end.hears("PA", PEER_ISN + 6, ISN + 1, b" world") == [("A", ISN + 1, PEER_ISN + 12, b"")]
    assert end.connection.received == b"hello world"


def test_data_is_sent_in_segments_and_counted() -> None:
    end = established()
    end.connection.send(b"x" * (MSS + 1))
    assert end.sent == [
        ("PA", ISN + 1, PEER_ISN + 1, b"x" * MSS),
        ("PA", ISN + 1 + MSS, PEER_ISN + 1, b"x"),
    ]
    assert end.hears("A", PEER_ISN + 1, ISN + 2 + MSS) == []
    assert end.connection.snd_una == end.connection.snd_nxt == ISN + 2 + MSS


def test_an_acknowledgement_of_what_was_never_sent_is_ignored() -> None:
    end = established()
    end.hears("A", PEER_ISN + 1, ISN + 100)
    assert end.connection.snd_una == ISN + 1
    end.connection.send("hello")
    end.hears("A", PEER_ISN + 1, ISN + 6)
    end.hears("A", PEER_ISN + 1, ISN + 3)  # older than what it knows
    assert end.connection.snd_una == ISN + 6


@pytest.mark.parametrize(
    ("flags", "seq", "payload"),
    [
        ("PA", PEER_ISN - 4, b"old"),  # again what came before
        ("PA", PEER_ISN + 11, b"too early"),  # a gap: nothing is kept out of order
        ("PA", PEER_ISN + 1 + WINDOW, b"far beyond the window"),
        ("PA", PEER_ISN - 100_000, b"far below"),
        ("A", PEER_ISN, b""),  # a keep-alive
        ("SA", PEER_ISN, b""),
        ("S", PEER_ISN + 1, b""),  # a SYN within the window: a challenge (RFC 5961)
    ],
    ids=["old", "gap", "beyond", "below", "keep-alive", "SYN-ACK again", "SYN in the window"],
)
def test_what_is_not_next_is_answered_by_what_is_expected(flags: str, seq: int, payload: bytes) -> None:
    end = established()
    assert end.hears(flags, seq, ISN + 1, payload) == [("A", ISN + 1, PEER_ISN + 1, b"")]
    assert (end.connection.received, end.connection.state) == (b"", State.ESTABLISHED)


def test_a_segment_without_ack_is_ignored() -> None:
    end = established()
    assert end.hears("P", PEER_ISN + 1, 0, b"data") == []
    assert end.connection.received == b""


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(min_size=1, max_size=5000))
def test_sequence_numbers_wrap_around(isn: int, peer_isn: int, data: bytes) -> None:
    end = established(isn, peer_isn)
    end.connection.send(data)
    assert sum(len(payload) for _, _, _, payload in end.sent) == len(data)
    assert end.connection.snd_nxt == (isn + 1 + len(data)) % 2**32
    seq = peer_isn + 1
    for at in range(0, len(data), MSS):
        (answer,) = end.hears("A", seq + at, isn + 1 + len(data), data[at : at + MSS])
        assert answer[2] == (seq + at + len(data[at : at + MSS])) % 2**32
    assert end.connection.received == data
    assert end.connection.snd_una == end.connection.snd_nxt


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.sampled_from([-1, 0, WINDOW - 1, WINDOW]))
def test_the_window_wraps_around_too(isn: int, peer_isn: int, place: int) -> None:
    end = established(isn, peer_isn)
    answer = end.hears("R", peer_isn + 1 + place)
    if place == 0:
        assert end.connection.error == "ECONNRESET"
    else:
        challenged = [("A", (isn + 1) % 2**32, (peer_isn + 1) % 2**32, b"")]
        assert answer == (challenged if 0 < place < WINDOW else [])
        assert end.connection.state is State.ESTABLISHED


# ---------------------------------------------------------------- resets


def test_a_reset_with_the_exact_number_ends_the_connection() -> None:
    end = established()
    assert end.hears("R", PEER_ISN + 1) == []
    assert end.connection.gone
    assert end.connection.error == "ECONNRESET"
    with pytest.raises(NetlabError, match="cannot send in state CLOSED"):
        end.connection.send("x")


# ---------------------------------------------------------------- closing


def test_closed_from_here() -> None:
    end = established()
    end.connection.close()
    assert end.sent == [("FA", ISN + 1, PEER_ISN + 1, b"")]
    assert end.connection.state is State.FIN_WAIT_1
    assert end.hears("A", PEER_ISN + 1, ISN + 2) == []
    assert end.connection.state is State.FIN_WAIT_2
    assert end.hears("PA", PEER_ISN + 1, ISN + 2, b"late") == [("A", ISN + 2, PEER_ISN + 5, b"")]
    assert end.hears("FA", PEER_ISN + 5, ISN + 2) == [("A", ISN + 2, PEER_ISN + 6, b"")]
    assert (end.connection.state, end.connection.received) == (State.TIME_WAIT, b"late")


def test_closed_from_there() -> None:
    end = established()
    assert end.hears("FA", PEER_ISN + 1, ISN + 1) == [("A", ISN + 1, PEER_ISN + 2, b"")]
    assert end.connection.state is State.CLOSE_WAIT
    end.connection.send("last words")
    end.connection.close()
    assert [flags for flags, *_ in end.sent] == ["PA", "FA"]
    assert end.connection.state is State.LAST_ACK
    assert end.hears("A", PEER_ISN + 2, ISN + 12) == []
    assert end.connection.gone
    assert end.connection.error is None


def test_closed_from_both_sides_at_once() -> None:
    end = established()
    end.connection.close()
    assert end.hears("FA", PEER_ISN + 1, ISN + 1)[0] == ("FA", ISN + 1, PEER_ISN + 1, b"")
    assert end.connection.state is State.CLOSING
    end.hears("A", PEER_ISN + 2, ISN + 2)
    assert end.connection.state is State.TIME_WAIT


def test_the_fin_may_come_with_the_acknowledgement_of_ours() -> None:
    end = established()
    end.connection.close()
    end.hears("FA", PEER_ISN + 1, ISN + 2)
    assert end.connection.state is State.TIME_WAIT


def test_the_fin_may_come_with_data() -> None:
    end = established()
    assert end.hears("FPA", PEER_ISN + 1, ISN + 1, b"bye") == [("A", ISN + 1, PEER_ISN + 5, b"")]
    assert (end.connection.state, end.connection.received) == (State.CLOSE_WAIT, b"bye")


@pytest.mark.parametrize("state", [State.CLOSED, State.SYN_SENT, State.FIN_WAIT_1, State.TIME_WAIT], ids=str)
def test_what_is_not_open_is_neither_closed_nor_sent_on(state: State) -> None:
    end = established()
    end.connection.state = state
    with pytest.raises(NetlabError, match=f"10.0.0.1:4000 - 10.0.0.2:80: cannot close in state {state}"):
        end.connection.close()
    with pytest.raises(NetlabError, match=f"cannot send in state {state}"):
        end.connection.send("x")


def test_only_data_is_sent() -> None:
    with pytest.raises(NetlabError, match="data: 5 is neither bytes nor text"):
        established().connection.send(5)  # type: ignore[arg-type]


# ---------------------------------------------------------------- listeners


@pytest.mark.parametrize(
    ("flags", "reason", "answered"),
    [
        ("S", None, False),
        ("SPU", None, False),
        ("R", DropReason.TCP_RESET, False),
        ("RA", DropReason.TCP_FLAGS, False),
        ("A", DropReason.TCP_FLAGS, True),
        ("SA", DropReason.TCP_FLAGS, True),
        ("FA", DropReason.TCP_FLAGS, True),
        ("", DropReason.TCP_FLAGS, False),
        ("F", DropReason.TCP_FLAGS, False),
        ("SF", DropReason.TCP_FLAGS, False),
    ],
)
def test_what_opens_a_connection(flags: str, reason: DropReason | None, answered: bool) -> None:
    refused = Listener(80).refuses(segment(flags))
    assert (refused and refused[0]) == reason
    assert bool(refused and refused[2]) == answered


def test_a_listener_answers_data_and_closes_after_its_peer() -> None:
    listener = Listener(80, lambda data: data.upper())
    end = End(listener=listener)
    end.connection.accept(segment("S", PEER_ISN))
    end.hears("A", PEER_ISN + 1, ISN + 1)
    assert end.hears("PA", PEER_ISN + 1, ISN + 1, b"hi") == [
        ("A", ISN + 1, PEER_ISN + 3, b""),
        ("PA", ISN + 1, PEER_ISN + 3, b"HI"),
    ]
    assert end.hears("FA", PEER_ISN + 3, ISN + 3) == [("FA", ISN + 3, PEER_ISN + 4, b"")]
    end.hears("A", PEER_ISN + 4, ISN + 4)
    assert end.connection.gone
    assert repr(listener) == "<tcp/80: listening, 1 accepted>"


# ---------------------------------------------------------------- segments for no connection


@pytest.mark.parametrize(
    ("flags", "payload", "seq", "ack", "expected"),
    [
        ("S", b"", 100, 0, ("RA", 0, 101)),
        ("", b"ab", 100, 0, ("RA", 0, 102)),
        ("F", b"", 100, 0, ("RA", 0, 101)),
        ("SF", b"ab", 100, 0, ("RA", 0, 104)),
        ("S", b"", 2**32 - 1, 0, ("RA", 0, 0)),
        ("A", b"", 100, 777, ("R", 777, 0)),
        ("SA", b"", 100, 777, ("R", 777, 0)),
        ("PA", b"abc", 100, 777, ("R", 777, 0)),
    ],
)
def test_the_reset_for_a_segment(
    flags: str, payload: bytes, seq: int, ack: int, expected: tuple[str, int, int]
) -> None:
    packet = Packet.tcp("1.1.1.1", "2.2.2.2", 5, 80, flags, seq=seq, ack=ack, payload=payload, tos=0x10)
    reset = reset_for(packet, segment_of(packet))
    found = segment_of(reset)
    assert (reset.flags, found.seq, found.ack) == expected
    assert (reset.src, reset.dst, reset.sport, reset.dport) == ("2.2.2.2", "1.1.1.1", 80, 5)
    assert (found.window, reset.df, reset.tos, reset.ip_id) == (0, True, 0x10, 0)
    assert reset.checksum_ok()


@given(st.lists(st.tuples(st.sampled_from(["S", "A", "SA", "R", "RA", "F", "FA", "PA", "", "FPU"]),
                          st.integers(-2, 3), st.integers(-2, 3), st.binary(max_size=3)), max_size=12))  # fmt: skip
def test_whatever_comes_what_was_received_is_what_was_acknowledged(heard: list[tuple[str, int, int, bytes]]) -> None:
    end = established()
    connection, answers = end.connection, []
    for flags, seq, ack, payload in heard:
        answers += end.hears(flags, connection.rcv_nxt + seq, connection.snd_nxt + ack, payload)
        if connection.gone:
            break
    fin = connection.state is State.CLOSE_WAIT
    assert connection.rcv_nxt == PEER_ISN + 1 + len(connection.received) + fin or connection.gone
    assert connection.snd_una == connection.snd_nxt == ISN + 1
    assert {(flags, seq, payload) for flags, seq, _, payload in answers} <= {("A", ISN + 1, b"")}
