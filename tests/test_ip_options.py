"""IP options: what the simulator does with them against what Linux 6.18 was seen to do.

`ip_options_measured.txt` holds the kernel's side, hook by hook and byte by byte; `tests/kernel/record_options.py` wrote
it. Options given here as hexadecimal digits come from the same measurements.
"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab import ip_options, simulate
from netlab.host import Host
from netlab.ip_options import Here, Options, check, locate, reply_to
from netlab.names import Verdict
from netlab.packet import Packet, Tcp
from netlab.scenario import from_dict
from tests.kernel.option_journeys import Generator, journey
from tests.kernel.option_situations import SITUATIONS

MEASURED = Path(__file__).parent / "ip_options_measured.txt"
OURS, NOW = 0x0A000101, 0x01BC95EF
OPTION_STRINGS = st.binary(max_size=40) | st.randoms(use_true_random=False).map(lambda r: Generator(r).options())
HERE = Here(lambda: OURS, NOW, lambda address: address != OURS)


def measured() -> dict[str, list[str]]:
    """The kernel's lines by situation."""
    found: dict[str, list[str]] = {}
    for line in MEASURED.read_text(encoding="utf-8").splitlines()[1:]:
        if line.startswith("## "):
            lines = found[line[3:]] = []
        else:
            lines.append(line)
    return found


def test_every_situation_was_measured() -> None:
    assert set(measured()) == set(SITUATIONS)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_as_measured(situation: str) -> None:
    steps = simulate.run(from_dict(SITUATIONS[situation])).steps
    assert [f"{number} {line}" for number, step in enumerate(steps) for line in journey(step)] == measured()[situation]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("0707040000000000", "0707080a00010100"),
        ("070708aabbccdd00", "070708aabbccdd00"),  # full
        ("07070c0000000000", "07070c0000000000"),  # the pointer far behind the end
        ("4408050000000000", "4408090001bc95ef"),
        ("440c05010000000000000000", "440c0d010a00010101bc95ef"),
        ("440c05030a00010100000000", "440c0d030a00010101bc95ef"),
        ("440c05030a00010900000000", "440c05030a00010900000000"),  # asks another host
        ("4408090000000000", "4408091000000000"),  # no room: one host more that could not write
        ("4404050000000000", "4404051000000000"),
        ("4408050200000000", "4408050200000000"),  # a flag that nobody knows
        ("00ffffff", "00000000"),
        ("0a04ffff", "0a04ffff"),
    ],
)
def test_stamps(before: str, after: str) -> None:
    found, wrong = check(bytes.fromhex(before), HERE)
    assert wrong is None
    assert found.data.hex() == after
    assert found.changed == (before != after)


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ("0707050000000000", 0x16),
        ("0707030000000000", 0x16),
        ("0702040000000000", 0x15),
        ("07070400000000070704000000000000", 0x1B),
        ("440c0df10000000000000000", 0x17),
        ("94030000", 0x15),
        ("8606000000010000", 0x15),
        ("8608000000010000", 0x16),
        ("0a00ffff", 0x14),
        ("0a01ffff", 0x14),
        ("0a40ffff", 0x14),
        ("8307030a00020200", 0x16),
        ("8302040a", 0x15),
        ("8307040a0002028307040a0002020000", 0x1B),
        ("01010107", 0x17),
    ],
)
def test_wrong_byte(options: str, pointer: int) -> None:
    """The pointer of the parameter problem counts from the first byte of the IP header."""
    assert check(bytes.fromhex(options), HERE)[1] == pointer - 20


@pytest.mark.parametrize(
    ("request_options", "answer", "to"),
    [
        ("070b080a0001010000000000", "070b0c0a0001010a00010100", "10.0.1.2"),
        ("0707080a00010100", "0707080a00010100", "10.0.1.2"),
        ("830b0c0a0001050a00010600", "830b040a0001050a00010200", "10.0.1.6"),
        ("830b0c0a0001020a00010600", "8307040a00010200", "10.0.1.6"),  # the sender had put itself there
        ("830704050505050000000000", "", "10.0.1.2"),  # nothing recorded yet
        ("94040000", "", "10.0.1.2"),
    ],
)
def test_answers(request_options: str, answer: str, to: str) -> None:
    request = Packet.udp("10.0.1.2", "10.0.1.1", 1, 2, options=bytes.fromhex(request_options))
    reply = reply_to(request, locate(request.options), HERE.is_other)
    assert reply is not None
    packet = reply.on(Packet.udp("10.0.1.1", "10.0.1.2", 2, 1), NOW)
    assert packet.options.hex() == answer
    assert packet.dst == to


def test_no_answer_where_an_entry_is_cut_short() -> None:
    """Nine bytes of record route: after one address two bytes are left, and the kernel sends nothing back."""
    host = Host("r", {"eth0": "10.0.1.1/24"})
    request = Packet.icmp("10.0.1.2", "10.0.1.1", options=bytes.fromhex("070904000000000000000000"))
    assert host.receive("eth0", request).out == []
    assert host.receive("eth0", request.with_(options=b"")).out


def test_a_parameter_problem_quotes_the_checksum_that_came() -> None:
    """The record route in front of the wrong byte is stamped, the header checksum quoted with it is the sender's."""
    options = bytes.fromhex("07070400000000" + "0a40" + "000000")
    request = Packet.udp("10.0.1.2", "10.0.1.1", 1, 2, options=options)
    error = Host("r", {"eth0": "10.0.1.1/24"}).receive("eth0", request).out[0].packet
    assert error.payload[:2] == bytes([12, 0])
    assert error.payload[4] == 20 + 7
    assert error.payload[8 + 10 : 8 + 12] == request.to_bytes()[10:12]
    assert error.payload[8 + 20 : 8 + 29].hex() == "0707080a0001010a40"


@pytest.mark.parametrize(
    ("options", "answered", "to"),
    [
        ("070f04" + "00" * 12, "070f0c0a0001010a0001010000000000", "10.0.1.2"),
        ("830b0c0a0001050a00010600", "830b040a0001050a00010200", "10.0.1.6"),
    ],
)
def test_a_connection_keeps_the_options_of_its_syn(options: str, answered: str, to: str) -> None:
    """Every segment carries them, as the kernel's SYN-ACK, ACK and data were seen to do."""
    host = Host("r", {"eth0": "10.0.1.1/24"}, listen=["tcp/80"], sysctls={"net.ipv4.conf.all.accept_source_route": 1})
    syn = Packet.tcp("10.0.1.2", "10.0.1.1", 2000, 80, "S", seq=100, options=bytes.fromhex(options))
    (synack,) = (frame.packet for frame in host.receive("eth0", syn).out)
    assert isinstance(synack.l4, Tcp)
    ack = Packet.tcp("10.0.1.2", "10.0.1.1", 2000, 80, "PA", seq=101, ack=synack.l4.seq + 1, payload="hello")
    later = [frame.packet for frame in host.receive("eth0", ack).out]
    assert later
    for packet in (synack, *later):
        assert packet.options.hex() == answered
        assert packet.dst == to
        assert packet._replace(daddr=syn.saddr).checksum_ok()  # which covers the last hop, wherever it goes first


def test_a_hook_function_may_take_the_options_away() -> None:
    """Then nothing is written any more, on the way out or in an answer."""
    host = Host("r", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, sysctls={"net.ipv4.ip_forward": 1})
    options = bytes.fromhex("0707040000000000")
    for hook in ("FORWARD", "LOCAL_IN"):
        host.register(hook, lambda packet, state: (Verdict.ACCEPT, packet.with_(options=b"", checksum=None)))
    for dst in ("10.0.2.2", "10.0.1.1"):
        (frame,) = host.receive("eth0", Packet.icmp("10.0.1.2", dst, options=options)).out
        assert frame.packet.options == b""


def test_the_journey_tells_what_was_written() -> None:
    host = Host("r", {"eth0": "10.0.1.1/24"})
    trace = host.receive("eth0", Packet.icmp("10.0.1.2", "10.0.1.1", options=bytes.fromhex("0707040000000000")))
    assert "IP options written: 0707040000000000 became 0707080a00010100" in trace.text()


@given(OPTION_STRINGS)
def test_any_bytes(options: bytes) -> None:
    """Whatever comes in is checked to the end or to a byte within, and keeps its length; an answer fits a header."""
    found, wrong = check(options, HERE)
    assert len(found.data) == len(options)
    assert wrong is None or 0 <= wrong < len(options)
    if not found.changed:
        assert found.data == options
    packet = Packet(1, 2, 17, options=found.data)
    reply = reply_to(packet, found, HERE.is_other)
    if reply:
        answer = reply.on(Packet(2, 1, 17), NOW)
        assert len(answer.options) == len(reply.data) <= 40
        assert not len(reply.data) % 4
    assert isinstance(locate(options), Options)


@given(OPTION_STRINGS)
def test_located_as_checked(options: bytes) -> None:
    """An answer to reassembled fragments, which only locates, is the one to a packet that was checked whole."""
    found, wrong = check(options, HERE)
    if wrong is None:
        packet = Packet(1, 2, 17, options=found.data)
        assert reply_to(packet, locate(found.data), HERE.is_other) == reply_to(packet, found, HERE.is_other)


def test_not_looked_at() -> None:
    """Options of a packet that was made here concern nobody."""
    packet = Packet(1, 2, 17, options=bytes.fromhex("0707040000000000"))
    assert reply_to(packet, None, HERE.is_other) is ip_options.NOTHING
