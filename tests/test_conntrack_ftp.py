"""The FTP helper: every expectation here is what Linux 6.18 did with the very same bytes (`-j CT --helper ftp`)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.conntrack.ftp import Announcement, Ftp, Partial, read
from netlab.conntrack.text import line_of
from netlab.conntrack.tuples import Direction
from netlab.host import Host
from netlab.names import CtState, Hook, NetlabError
from netlab.packet import Packet
from netlab.trace import Trace

C, S = "10.0.1.2", "10.0.2.2"


class Conversation:
    """A control connection through a router; `say` sends data and keeps count of sequence numbers."""

    def __init__(self, router: Host, port: int = 6000, *, handshake: bool = True) -> None:
        self.router, self.port = router, port
        self.seq = [100, 500]
        if handshake:
            for side, flags in ((0, "S"), (1, "SA"), (0, "A")):
                self.send(side, flags)

    def send(self, side: int, flags: str, data: bytes = b"", shift: int = 0) -> Trace:
        ends = (C, S, self.port, 21) if side == 0 else (S, C, 21, self.port)
        ack = self.seq[1 - side] if "A" in flags else 0
        packet = Packet.tcp(*ends, flags, seq=self.seq[side] + shift, ack=ack, payload=data)
        if not shift:
            self.seq[side] += len(data) + ("S" in flags)
        return self.router.receive("r0" if side == 0 else "r1", packet)

    def say(self, side: int, data: bytes, shift: int = 0) -> bool:
        """Whether the segment got through."""
        return bool(self.send(side, "PA", data, shift).out)


@pytest.fixture
def router() -> Host:
    made = Host("r", {"r0": "10.0.1.1/24", "r1": "10.0.2.1/24"}, sysctls={"net.ipv4.ip_forward": 1})
    made.assign_helper("ftp")
    return made


def foreseen(router: Host) -> list[tuple[int, int, int]]:
    assert router.conntrack
    waiting = router.conntrack.expectations.living(router.conntrack.now)
    return [(one.key.saddr & 0xFFFF, one.key.daddr & 0xFFFF, one.key.dport) for one in waiting]


def data_syn(router: Host, source: str, destination: str, dport: int, sport: int = 20) -> CtState | None:
    dev = "r0" if source.startswith("10.0.1") else "r1"
    return router.receive(dev, Packet.tcp(source, destination, sport, dport, "S")).path[0].state


CLIENT, SERVER = 0x0102, 0x0202  # the lower halves of the addresses
THROUGH, LOST = True, False

MEASURED = [
    (0, b"PORT 10,0,1,2,20,3\r\n", THROUGH, 5123),
    (0, b"port 10,0,1,2,20,4\r\n", THROUGH, 5124),
    (0, b"PORT rubbish\r\n", LOST, None),
    (0, b"PORT 10,0,1,2,20\r\n", LOST, None),
    (0, b"PORT 10,0,1,2,20,5\n", LOST, None),
    (0, b"PORT 10,0,1,2,20,5", LOST, None),
    (0, b"PORT 10,0,1,2,300,5\r\n", THROUGH, 11269),
    (0, b"PORT 10,0,1,2,0,0\r\n", THROUGH, 0),
    (0, b"PORT 9,9,9,9,20,6\r\n", THROUGH, None),
    (0, b"POR", LOST, None),
    (0, b"PO\r\n", THROUGH, None),
    (0, b"PORT", LOST, None),
    (0, b"PORT\r\n", LOST, None),
    (0, b"PORT  10,0,1,2,20,7\r\n", LOST, None),
    (0, b"PORT10,0,1,2,20,7\r\n", LOST, None),
    (0, b" PORT 10,0,1,2,20,7\r\n", THROUGH, None),
    (0, b"XX\r\nPORT 10,0,1,2,20,7\r\n", THROUGH, None),
    (0, b"PORT 10,0,1,2,20,8 \r\n", LOST, None),
    (0, b"PORT 10,0,1,,20,8\r\n", THROUGH, None),
    (0, b"PORT 10,0,1,2,20,8\r\nFOO\r\n", THROUGH, 5128),
    (0, b"PORT 266,0,1,2,20,9\r\n", THROUGH, 5129),
    (0, b"PORT 4294967306,0,1,2,20,9\r\n", THROUGH, 5129),
    (0, b"EPRT |1|10.0.1.2|5200|\r\n", THROUGH, 5200),
    (0, b"eprt |1|10.0.1.2|5201|\r\n", THROUGH, 5201),
    (0, b"EPRT |2|::1|5200|\r\n", LOST, None),
    (0, b"EPRT |1|10.0.1.2|0|\r\n", LOST, None),
    (0, b"EPRT |1|10.0.1.2|70000|\r\n", THROUGH, 4464),
    (0, b"EPRT |1|10.0.1.2|5200\r\n", LOST, None),
    (0, b"EPRT 1110.0.1.2152001\r\n", LOST, None),
    (0, b"EPRT !1!10.0.1.2!5203!\r\n", THROUGH, 5203),
    (0, b"EPRT |1|10.0.1|5203|\r\n", LOST, None),
    (0, b"EPRT |1|9.9.9.9|5203|\r\n", THROUGH, None),
    (0, b"EPRT |1|10.0.1.2|52x3|\r\n", LOST, None),
    (0, b"EPRT\r\n", LOST, None),
    (1, b"227 Entering Passive Mode (10,0,2,2,30,1)\r\n", THROUGH, 7681),
    (1, b"227 10,0,2,2,30,2\r\n", THROUGH, 7682),
    (1, b"227 Entering Passive Mode 10,0,2,2,30,3.\r\n", THROUGH, 7683),
    (1, b"227 nothing\r\n", LOST, None),
    (1, b"227 Entering (9,9,9,9,30,1)\r\n", THROUGH, None),
    (1, b"227 4 you (10,0,2,2,30,1)\r\n", LOST, None),
    (1, b"227\r\n", THROUGH, None),
    (1, b"227 ", LOST, None),
    (1, b"22", LOST, None),
    (1, b"227-x (10,0,2,2,30,1)\r\n", THROUGH, None),
    (1, b"227 =10,0,2,2,30,4", LOST, None),
    (1, b"227 (10,0,2,2,30,5)\r\n220 x\r\n", THROUGH, 7685),
    (1, b"227 (0000000010,0,2,2,30,5)\r\n", THROUGH, 7685),
    (1, b"229 Extended (|||6446|)\r\n", THROUGH, 6446),
    (1, b"229 Extended (|||6446)\r\n", LOST, None),
    (1, b"229 Extended (!!!6447!)\r\n", THROUGH, 6447),
    (1, b"229 Extended |||6446|\r\n", LOST, None),
    (1, b"229 (||1|6446|)\r\n", LOST, None),
    (1, b"229 (|||0|)\r\n", LOST, None),
    (1, b"229 (|||x|)\r\n", LOST, None),
    (1, b"229 (", LOST, None),
    (1, b"229 (|||71982|)\r\n", THROUGH, 6446),
    (0, b"227 (10,0,1,2,30,5)\r\n", THROUGH, None),
    (1, b"PORT 10,0,2,2,30,5\r\n", THROUGH, None),
    (0, b"\n", THROUGH, None),
    (0, b"", THROUGH, None),
]


@pytest.mark.parametrize(("side", "said", "passes", "port"), MEASURED, ids=[repr(row[1])[2:-1] for row in MEASURED])
def test_a_command_is_read_as_the_kernel_reads_it(
    router: Host, side: int, said: bytes, passes: bool, port: int | None
) -> None:
    control = Conversation(router)
    for speaker, line in ((1, b"220 hi\r\n"), (0, b"USER x\r\n"), (1, b"331 a\r\n")):
        assert control.say(speaker, line)
    assert control.say(side, said) is passes
    ends = (SERVER, CLIENT) if side == 0 else (CLIENT, SERVER)
    assert foreseen(router) == ([] if port is None else [(*ends, port)])


PORTS = b"PORT 10,0,1,2,40,%d\r\n"

SEQUENCES = {
    "after a line without its end": ([(0, b"USER x", 0), (0, PORTS % 1, 0)], [THROUGH, THROUGH], None),
    "split": (
        [(0, b"USER x\r\n", 0), (0, b"PORT 10,0,", 0), (0, b"1,2,40,1\r\n", 0), (0, PORTS % 2, 0)],
        [THROUGH, LOST, THROUGH, THROUGH],
        2,
    ),
    "the first of its side": ([(1, b"220 x\r\n", 0), (0, PORTS % 3, 0)], [THROUGH, THROUGH], None),
    "each side for itself": ([(1, b"220 x\r\n", 0), (0, PORTS % 3, 0), (0, PORTS % 4, 0)], [THROUGH] * 3, 4),
    "after a gap": ([(0, b"USER x\r\n", 0), (0, PORTS % 4, 1)], [THROUGH, THROUGH], None),
    "two in a row": ([(0, b"USER x\r\n", 0), (0, PORTS % 1, 0), (0, PORTS % 2, 0)], [THROUGH] * 3, 2),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_only_a_segment_after_the_end_of_a_line_is_read(router: Host, name: str) -> None:
    steps, passes, port = SEQUENCES[name]
    control = Conversation(router)
    assert [control.say(*step) for step in steps] == passes
    assert [dport for _, _, dport in foreseen(router)] == ([] if port is None else [40 * 256 + port])


def test_a_repeated_command_is_read_again(router: Host) -> None:
    control = Conversation(router)
    command = PORTS % 2
    assert control.say(0, b"USER x\r\n") and control.say(0, command)
    assert data_syn(router, S, C, 40 * 256 + 2) is CtState.RELATED
    assert foreseen(router) == []
    control.say(0, command, -len(command))
    assert len(foreseen(router)) == 1


def test_the_foreseen_flow_is_related_once_and_inherits_the_mark(router: Host) -> None:
    control = Conversation(router)
    assert router.conntrack
    master = next(iter(router.conntrack.table))
    router.conntrack.set_mark(master, 9)
    assert control.say(0, b"USER x\r\n") and control.say(0, b"PORT 10,0,1,2,20,2\r\n")
    assert data_syn(router, S, C, 5122) is CtState.RELATED
    assert data_syn(router, S, C, 5122, sport=21) is CtState.NEW
    flows = {entry.original.sport: entry for entry in router.conntrack.table}
    assert flows[20].master is master and flows[20].mark == 9 and flows[21].master is None
    shown = [str(line) for line in router.conntrack.lines()]
    assert shown[0].endswith("[ASSURED] mark=9 helper=ftp use=2")
    assert str(router.conntrack.expectations.statistics) == "cpu=0   \texpect_new=1 expect_create=1 expect_delete=1 "


def test_a_flow_picked_up_in_the_middle_is_not_read_at_once(router: Host) -> None:
    control = Conversation(router, handshake=False)
    assert control.say(0, b"USER x\r\n") and control.say(1, b"220\r\n") and control.say(0, PORTS % 1)
    assert foreseen(router) == []


def test_what_is_foreseen_waits_for_300_seconds_and_dies_with_its_master(router: Host) -> None:
    assert router.conntrack
    for wait, gone in ((299, False), (301, True)):
        control = Conversation(router, 6000 + wait)
        control.say(0, b"USER x\r\n")
        control.say(0, b"PORT 10,0,1,2,50,1\r\n")
        router.wires.clock.advance(wait)
        assert (data_syn(router, S, C, 50 * 256 + 1, sport=wait) is CtState.NEW) is gone
    control = Conversation(router, 7000)
    control.say(0, b"USER x\r\n")
    control.say(0, b"PORT 10,0,1,2,50,2\r\n")
    router.conntrack.delete(next(one for one in router.conntrack.table if one.original.sport == 7000))
    assert foreseen(router) == []


def test_expectations_are_limited(router: Host) -> None:
    router.sysctls.set("net.netfilter.nf_conntrack_expect_max", 1)
    for port, passes in ((6001, THROUGH), (6002, LOST)):
        control = Conversation(router, port)
        assert control.say(0, b"USER x\r\n")
        assert control.say(0, b"PORT 10,0,1,2,%d,1\r\n" % (port - 6000)) is passes


def test_without_the_rule_nothing_reads_along() -> None:
    router = Host("r", {"r0": "10.0.1.1/24", "r1": "10.0.2.1/24"}, sysctls={"net.ipv4.ip_forward": 1}, conntrack="on")
    control = Conversation(router)
    assert control.say(0, b"USER x\r\n") and control.say(0, b"PORT rubbish\r\n")
    assert router.conntrack and "helper" not in str(line_of(next(iter(router.conntrack.table)), 0))


def test_an_unknown_helper_is_refused_by_name(router: Host) -> None:
    with pytest.raises(NetlabError, match="unknown helper 'tftp' \\(there is ftp\\)"):
        router.assign_helper("tftp")


def test_a_rule_may_choose_the_helper_itself(router: Host) -> None:
    for entry in [entry for entry in router.hooks.on(Hook.PRE_ROUTING) if entry.name.startswith("CT ")]:
        router.unregister(entry)
    assert Conversation(router, 6001).router.conntrack
    assert router.conntrack and next(iter(router.conntrack.table)).helper is None


@given(st.binary(max_size=200), st.sampled_from(Direction))
def test_no_bytes_make_it_stumble(data: bytes, direction: Direction) -> None:
    found = read(data, direction)
    assert found is None or isinstance(found, Announcement | Partial)
    assert str(found)


@given(st.integers(0, 10**40), st.integers(0, 3000), st.integers(0, 255))
def test_numbers_of_any_length_are_reckoned_modulo_what_fits(number: int, zeros: int, low: int) -> None:
    digits = b"1" + b"0" * (zeros + 41) + b"%041d" % number  # a power of ten that large is 0 modulo 2**32
    found = read(b"PORT 10,0,1,2," + digits + b",%d\r\n" % low, Direction.ORIGINAL)
    assert isinstance(found, Announcement) and found.port == ((number << 8) | low) & 0xFFFF


def test_an_announcement_says_where_its_numbers_stand() -> None:
    said = b"227 Entering Passive Mode (10,0,2,2,30,1)\r\n"
    found = read(said, Direction.REPLY)
    assert isinstance(found, Announcement) and said[found.start : found.end] == b"10,0,2,2,30,1"


def test_the_memory_of_line_ends_goes_round_the_circle_of_sequence_numbers() -> None:
    helper = Ftp()
    packet = Packet.tcp(C, S, 1, 21, "PA", seq=0xFFFFFFFE, payload=b"USER x\r\n").l4
    again = Packet.tcp(C, S, 1, 21, "PA", seq=6, payload=PORTS % 1).l4
    assert helper.listen(packet, Direction.ORIGINAL) is None  # type: ignore[arg-type]
    assert isinstance(helper.listen(again, Direction.ORIGINAL), Announcement)  # type: ignore[arg-type]
