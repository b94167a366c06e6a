"""Capture files of every kind, whole and broken."""

from pathlib import Path
from struct import pack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netlab.packet import Packet
from netlab.replay import Capture, CaptureError, Frame
from tests.replay.files import ETHERNET_IPV4, Record, block, ethernet, packets, pcap, pcapng

FORMATS = {
    "pcap, little endian": pcap(ethernet(3)),
    "pcap, big endian": pcap(ethernet(3), order=">"),
    "pcap, nanoseconds": pcap(ethernet(3), nanoseconds=True),
    "pcap, big endian, nanoseconds": pcap(ethernet(3), order=">", nanoseconds=True),
    "pcapng, little endian": pcapng(ethernet(3)),
    "pcapng, big endian": pcapng(ethernet(3), order=">"),
    "pcapng, nanoseconds": pcapng(ethernet(3), resolution=9),
    "pcapng, two sections": pcapng(ethernet(3)[:1], order=">") + pcapng(ethernet(3)[1:]),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.pcap"


def read(file: Path, content: bytes) -> tuple[list[Frame], Capture, str]:
    """The packets of a file, the capture afterwards, and how it broke ("" if it did not)."""
    file.write_bytes(content)
    capture, frames, problem = Capture(file), [], ""
    try:
        frames += capture  # extends item by item: what came before a break stays
    except CaptureError as error:
        problem = str(error)
    return frames, capture, problem


@pytest.mark.parametrize("content", FORMATS.values(), ids=FORMATS)
def test_every_format_gives_the_same_packets(file: Path, content: bytes) -> None:
    frames, capture, problem = read(file, content)
    assert [frame.data for frame in frames] == [packet.to_bytes() for packet in packets(3)]
    assert [frame.time for frame in frames] == pytest.approx([1000, 1000.1, 1000.2], abs=1e-6)
    assert [frame.number for frame in frames] == [1, 2, 3]
    assert (capture.frames, capture.cut, capture.position) == (3, 0, len(content))
    assert not capture.skipped
    assert not problem


def test_a_capture_can_be_read_twice(file: Path) -> None:
    file.write_bytes(pcap([*ethernet(2), (1, bytes(12) + b"\x08\x06")]))
    capture = Capture(file)
    assert list(capture) == list(capture)
    assert capture.frames == 3
    assert capture.skipped == {"ARP": 1}


@pytest.mark.parametrize(
    ("link_type", "in_front"),
    [
        (0, pack("<I", 2)),
        (0, pack(">I", 2)),
        (108, pack(">I", 2)),
        (12, b""),
        (101, b""),
        (228, b""),
        (113, bytes(14) + b"\x08\x00"),
        (276, b"\x08\x00" + bytes(18)),
    ],
)
def test_link_types(file: Path, link_type: int, in_front: bytes) -> None:
    (packet,) = packets(1)
    for format in (pcap, pcapng):
        frames, _, problem = read(file, format([(0, in_front + packet.to_bytes())], link_type))
        assert [frame.data for frame in frames] == [packet.to_bytes()]
        assert not problem


@pytest.mark.parametrize(
    ("link_type", "frame", "name"),
    [
        (1, bytes(12) + b"\x86\xdd" + bytes(40), "IPv6"),
        (1, bytes(12) + b"\x08\x06" + bytes(28), "ARP"),
        (1, bytes(12) + b"\x81\x00\x00\x01\x08\x00" + bytes(20), "VLAN-tagged"),
        (1, bytes(12) + b"\x00\x26" + bytes(38), "802.2 LLC"),
        (1, bytes(12) + b"\x12\x34", "protocol 0x1234"),
        (1, bytes(13), "frame without a whole header"),
        (0, pack("<I", 30) + bytes(40), "IPv6"),
        (101, b"\x60" + bytes(39), "IPv6"),
        (101, b"", "frame without a whole header"),
        (113, bytes(14) + b"\x86\xdd", "IPv6"),
        (276, b"\x08\x06" + bytes(18), "ARP"),
    ],
)
def test_what_is_no_ipv4_is_counted(file: Path, link_type: int, frame: bytes, name: str) -> None:
    frames, capture, problem = read(file, pcap([(0, frame)], link_type))
    assert (frames, problem) == ([], "")
    assert capture.skipped == {name: 1}


def test_an_interface_of_unknown_kind_is_left_out(file: Path) -> None:
    frames, capture, problem = read(file, pcapng(ethernet(2), link_type=195))
    assert (frames, problem) == ([], "")
    assert capture.skipped == {"link type 195": 2}


def test_packets_cut_by_the_snaplen_are_filled_up(file: Path) -> None:
    (packet,) = packets(1)
    whole = ETHERNET_IPV4 + packet.to_bytes()
    records: list[Record] = [(0, whole[:40], len(whole) + 4), (0, whole[:30], len(whole)), (0, whole)]
    frames, capture, problem = read(file, pcap(records))
    filled, intact = (frame.data for frame in frames)
    assert filled == packet.to_bytes()[:26] + bytes(packet.length - 26)
    assert Packet.from_bytes(filled).dport == 53
    assert intact == packet.to_bytes()
    assert capture.cut == 1
    assert capture.skipped == {"packet cut within its header": 1}
    assert not problem


def test_a_packet_that_was_short_on_the_wire_stays_short(file: Path) -> None:
    (packet,) = packets(1)
    frames, capture, _ = read(file, pcap([(0, ETHERNET_IPV4 + packet.to_bytes()[:-2])]))
    assert frames[0].data == packet.to_bytes()[:-2]
    assert capture.cut == 0


def test_a_simple_packet_block_has_neither_time_nor_interface(file: Path) -> None:
    (packet,) = packets(1)
    data = ETHERNET_IPV4 + packet.to_bytes()
    frames, _, problem = read(file, pcapng([]) + block(3, pack("<I", len(data)) + data, "<"))
    assert [frame.data for frame in frames] == [packet.to_bytes()]
    assert not problem


@pytest.mark.parametrize(
    ("content", "before", "problem"),
    [
        (b"", 0, "neither pcap nor pcapng: it is empty"),
        (b"\x1f\x8b\x08\x00 gzip", 0, "neither pcap nor pcapng: it starts with the bytes 1f 8b 08 00"),
        (pcap([])[:20], 0, "broken at byte 20: the file ends within its header"),
        (pcap([], link_type=105), 0, "link type 105 is not supported (netlab reads loopback, Ethernet, raw IP, "),
        (pcap(ethernet(2))[:-1], 1, "broken at byte 87: the file ends within a frame: 47 bytes, 46 are there"),
        (pcap(ethernet(2)) + b"\0\0\0", 2, "broken at byte 150: the file ends within a frame's header"),
        (pcap(ethernet(2)) + b"\xff" * 16, 2, "broken at byte 150: a frame of 4294967295 bytes"),
        (pcapng(ethernet(2))[:-1], 1, "the file ends within a block: 80 bytes, 79 are there"),
        (pcapng(ethernet(2)) + b"\1", 2, "the file ends within a block's header"),
        (pcapng(ethernet(2)) + b"\1\0\0\0\7\0\0\0", 2, "a block of 7 bytes"),
        (pcapng(ethernet(2)) + block(6, b"", "<"), 2, "a block of 12 bytes is too short for what it holds"),
        (pcapng(ethernet(2)) + block(6, pack("<IIIII", 1, 0, 0, 0, 0), "<"), 2, "an interface that the file does not"),
        (pcapng(ethernet(2)) + block(6, pack("<IIIII", 0, 0, 0, 9, 9), "<"), 2, "9 bytes of a frame in a block of 32"),
        (b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x1a\x2b\x3c\x4e" + bytes(16), 0, "broken at byte 8: no byte order mark"),
    ],
)
def test_a_broken_file_says_where_in_one_line(file: Path, content: bytes, before: int, problem: str) -> None:
    frames, _, said = read(file, content)
    assert len(frames) == before
    assert said.startswith(f"{file}: ")
    assert problem in said
    assert "\n" not in said


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"nothing\.pcap: No such file or directory$"):
        list(Capture(tmp_path / "nothing.pcap"))
    with pytest.raises(CaptureError, match=r"Is a directory$"):
        list(Capture(tmp_path))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), format=st.sampled_from(sorted(FORMATS)))
def test_cut_anywhere_the_packets_before_the_cut_are_given(file: Path, data: st.DataObject, format: str) -> None:
    content = FORMATS[format]
    length = data.draw(st.integers(0, len(content)))
    frames, capture, problem = read(file, content[:length])
    assert [frame.data for frame in frames] == [packet.to_bytes() for packet in packets(3)][: len(frames)]
    assert capture.position <= length
    if problem and "starts with" not in problem and "empty" not in problem:
        assert "broken at byte " in problem
        assert int(problem.split("broken at byte ")[1].split(":")[0]) <= length
    if length == len(content):
        assert len(frames) == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=200), format=st.sampled_from(sorted(FORMATS)), at=st.integers(0, 400))
def test_noise_never_raises_anything_else(file: Path, noise: bytes, format: str, at: int) -> None:
    content = FORMATS[format]
    read(file, content[:at] + noise + content[at:])
