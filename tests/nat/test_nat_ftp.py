"""FTP through NAT: announcements written anew, numbers set right. All of it was seen on Linux 6.18."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.conntrack.command import conntrack
from netlab.conntrack.entry import Status
from netlab.conntrack.seqadj import SequenceAdjustment
from netlab.conntrack.tuples import Direction
from netlab.names import CtState, Hook
from netlab.packet import Icmp, Packet, Tcp
from netlab.trace import Trace
from tests.nat.gateway import INSIDE, OUTSIDE, C, Gateway, Rule, S, dnat, frames_of, is_whole, masquerade, sent

POST, PRE = Hook.POST_ROUTING, Hook.PRE_ROUTING
WRAP = 2**32


def segment(packet: Packet) -> Tcp:
    assert isinstance(packet.l4, Tcp)
    return packet.l4


class Conversation:
    """A control connection as its ends see it: each speaks to the address it knows, and counts what it reads."""

    def __init__(self, gateway: Gateway, server: str = S, port: int = 6000) -> None:
        self.gateway = gateway
        self.ends = [(C, port, server, 21), ("", 0, "", 0)]
        self.seq, self.read = [100, 500], [0, 0]
        for side, flags in ((0, "S"), (1, "SA"), (0, "A")):
            self.send(side, flags)
        self.say(0, b"USER x\r\n")
        self.say(1, b"331 who?\r\n")

    def packet(self, side: int, flags: str, data: bytes = b"", options: bytes = b"") -> Packet:
        src, sport, dst, dport = self.ends[side]
        ack = self.read[side] if "A" in flags else 0
        seq = self.seq[side]
        return Packet.tcp(src, dst, sport, dport, flags, seq=seq, ack=ack, payload=data, tcp_options=options)

    def pass_on(self, side: int, packet: Packet) -> Trace:
        """Send it, and let the other side read what comes out."""
        trace = self.gateway.inside(packet) if side == 0 else self.gateway.outside(packet)
        for out in frames_of(trace):
            found = segment(out)
            assert is_whole(out)
            self.ends[1 - side] = out.dst, found.dport, out.src, found.sport
            self.read[1 - side] = (found.seq + len(found.payload) + bool(found.flags & 3)) % WRAP
        return trace

    def send(self, side: int, flags: str, data: bytes = b"") -> Trace:
        packet = self.packet(side, flags, data)
        self.seq[side] = (self.seq[side] + len(data) + ("S" in flags)) % WRAP
        return self.pass_on(side, packet)

    def say(self, side: int, data: bytes) -> bytes:
        """What the other side reads of it; nothing if it was dropped."""
        frames = list(frames_of(self.send(side, "PA", data)))
        return segment(frames[0]).payload if frames else b""


def masquerading() -> Gateway:
    return Gateway(Rule(POST, masquerade(), dev="r1"), helper="ftp")


def published() -> Gateway:
    """A server inside, known by the router's address."""
    return Gateway(Rule(PRE, dnat(S), dst=INSIDE, proto=6), helper="ftp")


REWRITTEN = [
    (0, b"PORT 10,0,1,2,20,1\r\n", b"PORT 10,0,2,1,20,1\r\n"),
    (0, b"EPRT |1|10.0.1.2|5121|\r\n", b"EPRT |1|10.0.2.1|5121|\r\n"),
    (0, b"eprt !1!10.0.1.2!5121!\r\n", b"eprt |1|10.0.2.1|5121|\r\n"),
    (0, b"EPRT |1|10.0.1.2|5000000000|\r\n", b"EPRT |1|10.0.2.1|61952|\r\n"),
    (0, b"PORT 9,9,9,9,20,1\r\n", b"PORT 9,9,9,9,20,1\r\n"),
    (0, b"LIST\r\n", b"LIST\r\n"),
    (1, b"227 Passive (10,0,2,2,30,1)\r\n", b"227 Passive (10,0,2,2,30,1)\r\n"),
    (1, b"229 Passive (!!!7681!)\r\n", b"229 Passive (|||7681|)\r\n"),
]


@pytest.mark.parametrize(("side", "said", "read"), REWRITTEN)
def test_an_announcement_names_what_the_other_side_can_reach(side: int, said: bytes, read: bytes) -> None:
    assert Conversation(masquerading()).say(side, said) == read


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (b"227 Passive (10,0,2,2,30,1)\r\n", b"227 Passive (10,0,1,1,30,1)\r\n"),
        (b"229 Passive (|||7681|)\r\n", b"229 Passive (|||7681|)\r\n"),
    ],
)
def test_a_published_server_names_the_address_that_it_is_known_by(said: bytes, read: bytes) -> None:
    assert Conversation(published(), INSIDE).say(1, said) == read


@pytest.mark.parametrize("line", [b"PORT 1,2\r\n", b"PORT 10,0,1,2,0,0\r\n"])
def test_what_cannot_be_foreseen_is_dropped(line: bytes) -> None:
    assert Conversation(masquerading()).say(0, line) == b""


def test_the_server_connects_to_what_it_read_and_reaches_the_client() -> None:
    gateway = masquerading()
    Conversation(gateway).say(0, b"PORT 10,0,1,2,20,1\r\n")
    trace = gateway.outside(Packet.tcp(S, OUTSIDE, 20, 5121, "S"))
    assert trace.path[0].state is CtState.RELATED
    assert (sent(trace).dst, sent(trace).dport) == (C, 5121)
    entry = gateway.entries[-1]
    assert entry.is_dnat and not entry.is_snat and entry.status & Status.EXPECTED
    back = sent(gateway.inside(Packet.tcp(C, S, 5121, 20, "SA", ack=1)))
    assert (back.src, back.sport) == (OUTSIDE, 5121)
    assert gateway.acted == [1], "no rule is asked about a flow that follows another"


def test_the_client_connects_to_what_it_read_and_reaches_the_published_server() -> None:
    gateway = published()
    Conversation(gateway, INSIDE).say(1, b"227 Passive (10,0,2,2,30,1)\r\n")
    out = sent(gateway.inside(Packet.tcp(C, INSIDE, 4000, 7681, "S")))
    assert (out.dst, out.dport) == (S, 7681)


def test_a_masqueraded_client_is_masqueraded_in_its_data_connection_too() -> None:
    gateway = masquerading()
    Conversation(gateway).say(1, b"227 Passive (10,0,2,2,30,1)\r\n")
    out = sent(gateway.inside(Packet.tcp(C, S, 4000, 7681, "S")))
    assert (out.src, out.dst) == (OUTSIDE, S)
    assert gateway.entries[-1].status & Status.EXPECTED


def test_a_port_that_another_flow_expects_becomes_a_higher_one() -> None:
    gateway = masquerading()
    Conversation(gateway).say(0, b"PORT 10,0,1,2,20,1\r\n")
    read = Conversation(gateway, port=6001).say(0, b"PORT 10,0,1,2,20,1\r\n")
    high, low = read.split(b",")[-2:]
    port = int(high) * 256 + int(low)
    assert port > 5121
    out = sent(gateway.outside(Packet.tcp(S, OUTSIDE, 20, port, "S")))
    assert (out.dst, out.dport) == (C, 5121), "the client listens where it said"


def test_when_every_higher_port_is_expected_the_announcement_is_dropped() -> None:
    gateway = masquerading()
    Conversation(gateway).say(0, b"PORT 10,0,1,2,255,255\r\n")
    assert Conversation(gateway, port=6001).say(0, b"PORT 10,0,1,2,255,255\r\n") == b""


def test_expectations_print_what_is_waited_for() -> None:
    gateway = masquerading()
    Conversation(gateway).say(0, b"PORT 10,0,1,2,20,1\r\n")
    line = conntrack(gateway.host, "-L expect").out
    assert "proto=6 src=10.0.2.2 dst=10.0.2.1 sport=0 dport=5121" in line
    assert "master-src=10.0.1.2 master-dst=10.0.2.2 sport=6000 dport=21" in line


# ---------------------------------------------------------------- sequence numbers


def test_numbers_behind_a_line_that_grew_are_set_right_in_both_directions() -> None:
    gateway = Gateway(Rule(POST, masquerade(), dev="r1"), helper="ftp")
    talk = Conversation(gateway)
    said, before = b"EPRT |1|10.0.1.2|5000000000|\r\n", talk.seq[0]
    read = talk.say(0, said)
    longer = len(read) - len(said)
    assert longer == -5
    assert gateway.entries[0].status & Status.SEQ_ADJUST
    assert talk.read[1] == before + len(read)
    answer = sent(talk.send(1, "PA", b"200 ok\r\n"))
    assert segment(answer).ack == talk.seq[0], "the client is told that all it sent was read"
    after = sent(talk.send(0, "PA", b"LIST\r\n"))
    assert segment(after).seq == before + len(read)
    assert all(outcome is not CtState.INVALID for outcome in (row.state for row in talk.send(1, "A").path))


def test_a_repeated_line_is_rewritten_again_and_moves_nothing_more() -> None:
    talk = Conversation(masquerading())
    packet = talk.packet(0, "PA", b"EPRT |1|10.0.1.2|5000000000|\r\n")
    first, second = (sent(talk.pass_on(0, packet)) for _ in range(2))
    assert first == second


def test_blocks_selectively_acknowledged_are_set_right() -> None:
    talk = Conversation(masquerading())
    talk.say(0, b"EPRT |1|10.0.1.2|5000000000|\r\n")
    edge = talk.read[1] + 10
    options = b"\1\1\5\n" + edge.to_bytes(4, "big") + (edge + 5).to_bytes(4, "big")
    out = segment(sent(talk.pass_on(1, talk.packet(1, "A", options=options))))
    assert out.options[4:8] == (edge + 5).to_bytes(4, "big")
    assert out.options[8:12] == (edge + 10).to_bytes(4, "big")


def test_a_broken_option_loses_the_segment() -> None:
    talk = Conversation(masquerading())
    talk.say(0, b"EPRT |1|10.0.1.2|5000000000|\r\n")
    assert list(frames_of(talk.pass_on(1, talk.packet(1, "A", options=b"\5\1\0\0")))) == []


@pytest.mark.parametrize(("mtu", "became"), [(1400, 1395), (100, 100)])
def test_an_error_of_the_client_is_read_as_if_it_were_tcp(mtu: int, became: int) -> None:
    """A mistake of the kernel: the MTU stands where TCP has its sequence number."""
    talk = Conversation(masquerading())
    talk.say(0, b"EPRT |1|10.0.1.2|5000000000|\r\n")
    quoted = sent(talk.send(1, "PA", b"200 ok\r\n"))
    error = Packet.icmp(C, S, 3, 4, seq=mtu, payload=quoted._replace(ip_id=1).to_bytes()[:28])
    out = sent(talk.gateway.inside(error)).l4
    assert isinstance(out, Icmp) and out.mtu == became


@pytest.mark.parametrize(("flags", "ack"), [("A", 5000), ("R", 5010)])
def test_only_a_segment_with_the_ack_flag_acknowledges(flags: str, ack: int) -> None:
    adjustment = SequenceAdjustment()
    adjustment[Direction.ORIGINAL].grow(100, 10)
    adjusted = adjustment.adjust(Packet.tcp(S, C, 21, 6000, flags, seq=7, ack=5010), Direction.REPLY)
    assert adjusted is not None and is_whole(adjusted)
    assert (segment(adjusted).seq, segment(adjusted).ack) == (7, ack)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(-20, 20)), max_size=4), st.integers(0, WRAP - 1))
def test_what_one_side_acknowledges_is_what_the_other_said(changes: list[tuple[int, int]], start: int) -> None:
    """Changes far enough apart, as commands are: what lies behind the latest is moved there and back."""
    adjustment = SequenceAdjustment()
    shift = adjustment[Direction.ORIGINAL]
    seq = start
    for gap, longer in changes:
        seq = (seq + gap + 100) % WRAP
        shift.grow(seq, longer)
    said = (seq + 50) % WRAP
    heard = (said + shift.at(said)) % WRAP
    assert shift.undo(heard) == said
