"""Packets: exact bytes in and out, checksums that follow changes, agreement with scapy, errors that name the field."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, in4_chksum
from scapy.packet import Raw
from scapy.utils import checksum as scapy_checksum

from netlab.names import DropReason, NetlabError, Proto
from netlab.packet import DF, MF, Icmp, MalformedPacket, Packet, Tcp, Udp, checksum, format_flags, parse_flags

U8, U16, U32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1)
DATA = st.binary(max_size=40)
OPTIONS = st.integers(0, 10).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words))
FLAGS = st.integers(0, 255).map(format_flags)
ADDRESS = st.integers(0, 2**32 - 1).map(lambda n: ".".join(str(byte) for byte in n.to_bytes(4, "big")))

ANY = st.builds(Packet, U32, U32, U8, DATA, U8, U8, U16, U16, OPTIONS, st.none(), st.just(0))
"""Any valid header, the reserved flag bit and fragments included; the payload may be anything."""

HEADER = st.fixed_dictionaries(
    {}, optional={"ttl": U8, "tos": U8, "ip_id": U16, "df": st.booleans(), "options": OPTIONS}
)


def make_udp(src: str, dst: str, sport: int, dport: int, payload: bytes, header: dict[str, Any]) -> Packet:
    return Packet.udp(src, dst, sport, dport, payload, **header)


def make_tcp(src: str, dst: str, ports: tuple[int, int], flags: str, own: dict[str, Any], header: Any) -> Packet:
    return Packet.tcp(src, dst, *ports, flags, **own, **header)


def make_icmp(src: str, dst: str, type: int, code: int, own: dict[str, Any], header: Any) -> Packet:
    return Packet.icmp(src, dst, type, code, **own, **header)


TCP_FIELDS = st.fixed_dictionaries({"seq": U32, "ack": U32, "window": U16, "tcp_options": OPTIONS, "payload": DATA})
ICMP_FIELDS = st.fixed_dictionaries({"id": U16, "seq": U16, "payload": DATA})
UDP_PACKETS = st.builds(make_udp, ADDRESS, ADDRESS, U16, U16, DATA, HEADER)
TCP_PACKETS = st.builds(make_tcp, ADDRESS, ADDRESS, st.tuples(U16, U16), FLAGS, TCP_FIELDS, HEADER)
ICMP_PACKETS = st.builds(make_icmp, ADDRESS, ADDRESS, U8, U8, ICMP_FIELDS, HEADER)
WHOLE = UDP_PACKETS | TCP_PACKETS | ICMP_PACKETS

UDP_ONE = Packet.udp("10.0.0.1", "10.0.0.2", 5000, 53, b"hello")
TCP_ONE = Packet.tcp("10.0.0.1", "10.0.0.2", 4000, 80, "SA", seq=100, ack=200, payload=b"data")
ICMP_ONE = Packet.icmp("10.0.0.1", "10.0.0.2", 8, 0, id=42, seq=7, payload=b"ping")


def checksum_at(packet: Packet) -> int:
    return {Proto.TCP: 16, Proto.UDP: 6, Proto.ICMP: 2}[Proto(packet.proto)]


def found_checksum(packet: Packet) -> int:
    at = checksum_at(packet)
    return int.from_bytes(packet.payload[at : at + 2], "big")


def right_checksum(packet: Packet) -> int:
    """The transport checksum as scapy computes it."""
    at = checksum_at(packet)
    segment = packet.payload[:at] + b"\0\0" + packet.payload[at + 2 :]
    if packet.proto == Proto.ICMP:
        return int(scapy_checksum(segment))
    check = int(in4_chksum(packet.proto, IP(src=packet.src, dst=packet.dst), segment))
    return check or (0xFFFF if packet.proto == Proto.UDP else 0)


# ---------------------------------------------------------------- bytes


@given(ANY)
def test_bytes_read_back_as_the_same_packet(packet: Packet) -> None:
    data = packet.to_bytes()
    assert Packet.from_bytes(data) == packet
    assert bytes(Packet.from_bytes(data)) == data
    assert len(data) == packet.length
    assert checksum(data[: 20 + len(packet.options)]) == 0


@given(ANY, st.binary(min_size=1, max_size=30))
def test_padding_behind_the_total_length_is_cut_off(packet: Packet, padding: bytes) -> None:
    assert Packet.from_bytes(packet.to_bytes() + padding) == packet


@given(ANY, st.integers(1, 0xFFFE))
def test_a_wrong_header_checksum_is_kept_as_it_came(packet: Packet, error: int) -> None:
    data = bytearray(packet.to_bytes())
    right = data[10] << 8 | data[11]
    wrong = (right + error) % 0xFFFF  # never the right one, nor the other way to write zero
    data[10:12] = wrong.to_bytes(2, "big")
    read = Packet.from_bytes(bytes(data))
    assert read.checksum == wrong
    assert read == packet._replace(checksum=wrong)
    assert read.to_bytes() == bytes(data)


@given(st.binary(max_size=80))
def test_random_bytes_are_a_packet_or_malformed(data: bytes) -> None:
    try:
        packet = Packet.from_bytes(data)
    except MalformedPacket:
        return
    assert packet.to_bytes() == data[: packet.length]


@given(st.binary(max_size=80).map(lambda tail: b"\x45\x00\x00" + bytes([max(20, 10 + len(tail))]) + tail))
def test_bytes_that_begin_like_a_packet_can_be_looked_at(data: bytes) -> None:
    try:
        packet = Packet.from_bytes(data)
    except MalformedPacket:
        return
    shown = (str(packet), repr(packet), packet._repr_html_(), packet.l4, packet.quoted, packet.sport, packet.flags)
    assert all(isinstance(text, str) for text in shown[:3])
    assert packet.diff(packet) == []
    assert packet.checksum_ok() in (True, False)


GOOD = UDP_ONE.to_bytes()


def sealed(data: bytes) -> bytes:
    """The bytes with a right header checksum."""
    header = data[:10] + b"\0\0" + data[12:20]
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + data[20:]


@pytest.mark.parametrize(
    ("data", "field", "reason"),
    [
        (b"", "header", DropReason.IP_INHDR),
        (GOOD[:19], "header", DropReason.IP_INHDR),
        (b"\x65" + GOOD[1:], "version", DropReason.IP_INHDR),
        (b"\x44" + GOOD[1:], "header length", DropReason.IP_INHDR),
        (b"\x4f" + GOOD[1:], "header length", DropReason.IP_INHDR),
        (sealed(GOOD[:2] + b"\x00\x13" + GOOD[4:]), "total length", DropReason.IP_INHDR),
        (sealed(GOOD[:2] + b"\x01\x00" + GOOD[4:]), "total length", DropReason.PKT_TOO_SMALL),
        (GOOD[:2] + b"\x01\x00" + GOOD[4:], "checksum", DropReason.IP_CSUM),
        (GOOD[:-1], "total length", DropReason.PKT_TOO_SMALL),
    ],
    ids=[
        "empty",
        "19 bytes",
        "version 6",
        "ihl 4",
        "ihl beyond",
        "length < header",
        "length > frame",
        "both wrong",
        "cut",
    ],
)
def test_malformed_bytes_name_the_field_and_the_kernels_reason(data: bytes, field: str, reason: DropReason) -> None:
    with pytest.raises(MalformedPacket) as refused:
        Packet.from_bytes(data)
    assert (refused.value.field, refused.value.reason) == (field, reason)
    assert str(refused.value).startswith(f"{field}: ")


def test_the_version_is_looked_at_before_the_header_length() -> None:
    with pytest.raises(MalformedPacket, match=r"^version: 6, not 4"):
        Packet.from_bytes(b"\x60" + bytes(39))


# ---------------------------------------------------------------- scapy


@given(WHOLE)
def test_scapy_computes_the_same_checksums(packet: Packet) -> None:
    assert found_checksum(packet) == right_checksum(packet)
    assert packet.checksum_ok()
    data = packet.to_bytes()
    assert scapy_checksum(data[: 20 + len(packet.options)]) == 0


@given(ANY.map(lambda packet: packet._replace(proto=99)))
def test_scapy_reads_the_same_header(packet: Packet) -> None:
    theirs = packet.to_scapy()
    flags = packet.frag >> 13
    assert (theirs.src, theirs.dst, theirs.ttl, theirs.tos, theirs.id, theirs.frag * 8, int(theirs.flags)) == (
        packet.src, packet.dst, packet.ttl, packet.tos, packet.ip_id, packet.frag_offset, flags,
    )  # fmt: skip
    assert Packet.from_scapy(theirs) == packet


@pytest.mark.parametrize(
    "theirs",
    [
        IP(src="1.2.3.4", dst="5.6.7.8", ttl=7, tos=16, id=9, flags="DF") / UDP(sport=1, dport=2) / Raw(b"odd"),
        IP(src="1.2.3.4", dst="5.6.7.8") / TCP(sport=1, dport=2, flags="FPU", options=[("MSS", 1460)]) / Raw(b"x"),
        IP(src="1.2.3.4", dst="5.6.7.8", flags="MF", frag=3) / ICMP(type=8, id=5, seq=6) / Raw(b"abc"),
        IP(src="1.2.3.4", dst="5.6.7.8", proto=132) / Raw(b"something else"),
    ],
    ids=["udp", "tcp", "fragment", "sctp"],
)
def test_a_packet_built_by_scapy_comes_and_goes_unchanged(theirs: IP) -> None:
    packet = Packet.from_scapy(theirs)
    assert packet.checksum is None
    assert packet.to_bytes() == bytes(theirs)
    assert bytes(packet.to_scapy()) == bytes(theirs)
    assert (packet.src, packet.dst) == ("1.2.3.4", "5.6.7.8")


def test_scapy_agrees_field_by_field() -> None:
    theirs = TCP_ONE.with_(ttl=9, tos=4, ip_id=77, df=True).to_scapy()
    assert (theirs.src, theirs.dst, theirs.ttl, theirs.tos, theirs.id, str(theirs.flags)) == (
        "10.0.0.1", "10.0.0.2", 9, 4, 77, "DF",
    )  # fmt: skip
    segment = theirs[TCP]
    assert (segment.sport, segment.dport, segment.seq, segment.ack, str(segment.flags)) == (4000, 80, 100, 200, "SA")
    assert bytes(segment.payload) == b"data"


# ---------------------------------------------------------------- changing


@pytest.mark.parametrize(
    ("packet", "changes"),
    [
        (UDP_ONE, {"src": "192.168.7.9"}),
        (UDP_ONE, {"dst": "1.1.1.1", "dport": 5353}),
        (UDP_ONE, {"sport": 0, "dport": 65535, "ttl": 3}),
        (TCP_ONE, {"src": "8.8.8.8", "dst": "9.9.9.9", "sport": 1, "dport": 2}),
        (TCP_ONE, {"seq": 2**32 - 1, "ack": 0, "window": 5}),
        (TCP_ONE, {"flags": "FPU"}),
        (TCP_ONE, {"flags": "SAEC", "tos": 3}),
        (ICMP_ONE, {"type": 0, "code": 3}),
        (ICMP_ONE, {"id": 1, "icmp_seq": 65535, "src": "8.8.8.8"}),
    ],
    ids=str,
)
def test_with_changes_those_fields_and_keeps_the_checksum_right(packet: Packet, changes: dict[str, Any]) -> None:
    changed = packet.with_(**changes)
    message = changed.l4
    assert message is not None
    for field, value in changes.items():
        if hasattr(changed, field):
            assert getattr(changed, field) == value
        else:
            assert getattr(message, field.removeprefix("icmp_")) == value
    assert found_checksum(changed) == right_checksum(changed)
    unchanged = {"src", "dst", "sport", "dport", "ttl", "tos", "flags", "ip_id"} - set(changes)
    assert [getattr(changed, field) for field in unchanged] == [getattr(packet, field) for field in unchanged]


@given(UDP_PACKETS | TCP_PACKETS, ADDRESS, ADDRESS, U16, U16)
def test_rewriting_addresses_and_ports_as_nat_does_keeps_right_checksums_right(
    packet: Packet, src: str, dst: str, sport: int, dport: int
) -> None:
    changed = packet.with_(src=src, dst=dst, sport=sport, dport=dport)
    assert changed.checksum_ok()
    assert found_checksum(changed) == right_checksum(changed)
    back = changed.with_(src=packet.src, dst=packet.dst, sport=packet.sport, dport=packet.dport)
    assert back == packet


@given(TCP_PACKETS, FLAGS, U32, U32, U16)
def test_rewriting_tcp_fields_keeps_the_checksum_right(
    packet: Packet, flags: str, seq: int, ack: int, window: int
) -> None:
    changed = packet.with_(flags=flags, seq=seq, ack=ack, window=window)
    assert found_checksum(changed) == right_checksum(changed)
    segment = changed.l4
    assert isinstance(segment, Tcp)
    assert (changed.flags, segment.seq, segment.ack, segment.window) == (flags, seq, ack, window)


@given(ICMP_PACKETS, U8, U8, U16, U16)
def test_rewriting_icmp_fields_keeps_the_checksum_right(
    packet: Packet, type: int, code: int, id: int, seq: int
) -> None:
    changed = packet.with_(type=type, code=code, id=id, icmp_seq=seq)
    assume(any(changed.payload[:2] + changed.payload[4:]))  # RFC 1624 cannot tell two zeros apart, nor can the kernel
    assert changed.l4 == Icmp(type, code, right_checksum(changed), id, seq, packet.payload[8:])
    assert changed.checksum_ok()


@given(UDP_PACKETS | TCP_PACKETS, st.integers(1, 0xFFFE), ADDRESS, U16)
def test_a_wrong_checksum_stays_wrong_by_as_much(packet: Packet, error: int, dst: str, dport: int) -> None:
    at = checksum_at(packet)
    wrong = (found_checksum(packet) + error) % 0xFFFF or 0xFFFF
    broken = packet._replace(payload=packet.payload[:at] + wrong.to_bytes(2, "big") + packet.payload[at + 2 :])
    assert not broken.checksum_ok()
    assert not broken.with_(dst=dst, dport=dport).checksum_ok()


def test_a_wrong_header_checksum_is_not_repaired_by_a_change() -> None:
    wrong = UDP_ONE.with_(checksum=0x1234)
    assert wrong.with_(ttl=3).to_bytes()[10:12] == b"\x12\x34"
    assert wrong.with_(checksum=None) == UDP_ONE


def test_a_udp_checksum_that_was_left_out_stays_out() -> None:
    none = UDP_ONE._replace(payload=UDP_ONE.payload[:6] + b"\0\0" + UDP_ONE.payload[8:])
    assert none.checksum_ok()
    changed = none.with_(dst="9.9.9.9", dport=1)
    assert changed.payload[6:8] == b"\0\0"
    assert changed.dport == 1


def test_a_udp_checksum_that_comes_out_as_zero_is_sent_as_ffff() -> None:
    # The port that makes the sum come out as zero is what is missing to 0xFFFF.
    packet = Packet.udp("10.0.0.1", "10.0.0.2", 0, 53)
    port = int.from_bytes(packet.payload[6:8], "big")
    for zero in (Packet.udp("10.0.0.1", "10.0.0.2", port, 53), packet.with_(sport=port)):
        assert zero.payload[6:8] == b"\xff\xff"
        assert zero.checksum_ok()


@pytest.mark.parametrize(
    ("packet", "ok"),
    [
        (UDP_ONE, True),
        (UDP_ONE._replace(payload=UDP_ONE.payload[:-1] + b"!"), False),
        (TCP_ONE._replace(payload=TCP_ONE.payload[:-1] + b"!"), False),
        (ICMP_ONE._replace(payload=ICMP_ONE.payload[:-1] + b"!"), False),
        (TCP_ONE._replace(saddr=1), False),
        (ICMP_ONE._replace(saddr=1), True),  # ICMP has no pseudo header
        (TCP_ONE._replace(payload=b"short"), False),
        (UDP_ONE._replace(payload=UDP_ONE.payload + b"behind the datagram's length"), True),
        (UDP_ONE._replace(payload=b"a piece", frag=MF), True),
        (UDP_ONE._replace(payload=b"a piece", frag=5), True),
        (Packet.ip("1.1.1.1", "2.2.2.2", "gre", b"whatever"), True),
    ],
)
def test_checksum_ok(packet: Packet, ok: bool) -> None:
    assert packet.checksum_ok() is ok


def test_flags_and_offset_are_set_apart() -> None:
    packet = UDP_ONE._replace(frag=0x8000)  # the reserved bit
    packet = packet.with_(df=True, mf=True, frag_offset=1480)
    assert packet.frag == 0x8000 | DF | MF | 185
    assert (packet.df, packet.mf, packet.frag_offset, packet.is_fragment) == (True, True, 1480, True)
    cleared = packet.with_(df=False, mf=False, frag_offset=0)
    assert cleared.frag == 0x8000
    assert not cleared.is_fragment


def test_the_mark_is_not_on_the_wire() -> None:
    marked = UDP_ONE.with_(mark=7)
    assert marked.to_bytes() == UDP_ONE.to_bytes()
    assert marked != UDP_ONE
    assert "mark=0x7" in str(marked)


def test_nothing_is_changed_in_place() -> None:
    before = UDP_ONE.to_bytes()
    UDP_ONE.with_(ttl=1, dst="9.9.9.9", dport=9)
    assert UDP_ONE.to_bytes() == before


@given(ANY, ANY)
def test_diff_tells_what_differs_and_nothing_else(one: Packet, other: Packet) -> None:
    facts = {"src", "dst", "ttl", "tos", "ip_id"}
    found = {field: (here, there) for field, here, there in one.diff(other) if field in facts}
    assert set(found) == {field for field in facts if getattr(one, field) != getattr(other, field)}
    assert {field: (there, here) for field, (here, there) in found.items()} == {
        field: (here, there) for field, here, there in other.diff(one) if field in facts
    }


def test_diff_of_a_forwarded_packet_is_its_ttl() -> None:
    assert UDP_ONE.diff(UDP_ONE.with_(ttl=63)) == [("ttl", "64", "63")]


def test_diff_between_protocols_shows_what_the_other_lacks() -> None:
    assert ("l4_seq", "100", "-") in TCP_ONE.diff(UDP_ONE)


# ---------------------------------------------------------------- reading


def test_the_transport_header_read() -> None:
    assert TCP_ONE.l4 == Tcp(4000, 80, 100, 200, 20, 0x12, 65535, right_checksum(TCP_ONE), 0, b"", b"data")
    assert UDP_ONE.l4 == Udp(5000, 53, 13, right_checksum(UDP_ONE), b"hello")
    assert ICMP_ONE.l4 == Icmp(8, 0, right_checksum(ICMP_ONE), 42, 7, b"ping")


@pytest.mark.parametrize(
    "packet",
    [
        TCP_ONE._replace(payload=TCP_ONE.payload[:19]),
        TCP_ONE._replace(payload=TCP_ONE.payload[:12] + b"\x40" + TCP_ONE.payload[13:]),  # doff 4
        TCP_ONE._replace(payload=TCP_ONE.payload[:12] + b"\xf0" + TCP_ONE.payload[13:]),  # doff beyond the end
        UDP_ONE._replace(payload=UDP_ONE.payload[:7]),
        ICMP_ONE._replace(payload=ICMP_ONE.payload[:7]),
        UDP_ONE.with_(frag_offset=8),
        Packet.ip("1.1.1.1", "2.2.2.2", 99, b"x" * 40),
    ],
)
def test_no_transport_header_where_there_is_no_whole_one(packet: Packet) -> None:
    assert packet.l4 is None
    assert packet.flags is None


def test_ports_can_be_read_of_a_header_cut_short_but_not_of_a_later_fragment() -> None:
    cut = TCP_ONE._replace(payload=TCP_ONE.payload[:4])
    assert (cut.sport, cut.dport) == (4000, 80)
    assert cut.with_(frag_offset=8).sport is None
    assert cut._replace(payload=cut.payload[:3]).dport is None
    assert ICMP_ONE.sport is ICMP_ONE.dport is None


def test_tcp_options_are_padded_to_whole_words() -> None:
    packet = Packet.tcp("1.1.1.1", "2.2.2.2", 1, 2, tcp_options=b"\x01\x03\x03\x07\x01", payload=b"x")
    segment = packet.l4
    assert isinstance(segment, Tcp)
    assert (segment.offset, segment.options, segment.payload) == (28, b"\x01\x03\x03\x07\x01\0\0\0", b"x")
    assert packet.checksum_ok()


def test_text_is_sent_as_utf_8() -> None:
    assert Packet.udp("1.1.1.1", "2.2.2.2", 1, 2, "é").payload[8:] == "é".encode()
    assert UDP_ONE.with_(payload="é").payload == "é".encode()


@given(WHOLE, st.integers(20, 120))
def test_an_error_quotes_what_was_quoted_however_short(packet: Packet, length: int) -> None:
    packet = packet.with_(options=b"")
    data = packet.to_bytes()[:length]
    error = Packet.icmp("9.9.9.9", packet.src, 11, 0, payload=data)
    quoted = error.quoted
    assert quoted is not None
    assert (quoted.src, quoted.dst, quoted.proto, quoted.ttl) == (packet.src, packet.dst, packet.proto, packet.ttl)
    assert quoted.payload == data[20:]


def test_a_quoted_packet_with_options_keeps_them_apart_from_its_payload() -> None:
    packet = UDP_ONE.with_(options=b"\x94\x04\0\0")
    quoted = Packet.icmp("9.9.9.9", "10.0.0.1", 3, 3, payload=packet.to_bytes()).quoted
    assert quoted is not None
    assert (quoted.options, quoted.sport, quoted.dport) == (b"\x94\x04\0\0", 5000, 53)


@pytest.mark.parametrize(
    "packet",
    [
        ICMP_ONE,
        UDP_ONE,
        Packet.icmp("9.9.9.9", "10.0.0.1", 3, 3, payload=GOOD[:19]),
        Packet.icmp("9.9.9.9", "10.0.0.1", 3, 3, payload=b"\x44" + GOOD[1:]),
        Packet.icmp("9.9.9.9", "10.0.0.1", 3, 3, payload=b"\x4f" + GOOD[1:]),
        Packet.icmp("9.9.9.9", "10.0.0.1", 8, 0, payload=GOOD),
    ],
    ids=["echo", "udp", "short", "ihl 4", "ihl beyond", "echo that holds a packet"],
)
def test_what_quotes_nothing(packet: Packet) -> None:
    assert packet.quoted is None


def test_a_quotation_is_read_whatever_version_it_claims() -> None:
    error = Packet.icmp("9.9.9.9", "10.0.0.1", 3, 3, payload=b"\x65" + GOOD[1:])
    assert error.quoted == Packet.from_bytes(GOOD)


def test_the_second_word_of_icmp_errors() -> None:
    too_big = Packet.icmp("9.9.9.9", "10.0.0.1", 3, 4, seq=1400).l4
    redirect = Packet.icmp("9.9.9.9", "10.0.0.1", 5, 1, id=0x0A00, seq=0x0102).l4
    assert isinstance(too_big, Icmp)
    assert isinstance(redirect, Icmp)
    assert (too_big.mtu, redirect.gateway) == (1400, 0x0A000102)
    assert too_big.is_error
    assert redirect.is_error


# ---------------------------------------------------------------- showing


@pytest.mark.parametrize(
    ("packet", "line"),
    [
        (UDP_ONE, "10.0.0.1:5000 > 10.0.0.2:53 udp ttl=64"),
        (TCP_ONE, "10.0.0.1:4000 > 10.0.0.2:80 tcp SA ttl=64"),
        (TCP_ONE.with_(flags=""), "10.0.0.1:4000 > 10.0.0.2:80 tcp no flags ttl=64"),
        (ICMP_ONE, "10.0.0.1 > 10.0.0.2 icmp echo-request 8/0 id=42 ttl=64"),
        (Packet.icmp("1.1.1.1", "2.2.2.2", 3, 1, id=9), "1.1.1.1 > 2.2.2.2 icmp destination-unreachable 3/1 ttl=64"),
        (Packet.icmp("1.1.1.1", "2.2.2.2", 99), "1.1.1.1 > 2.2.2.2 icmp type 99/0 ttl=64"),
        (Packet.ip("1.1.1.1", "2.2.2.2", 253), "1.1.1.1 > 2.2.2.2 253 ttl=64"),
        (UDP_ONE.with_(mf=True), "10.0.0.1:5000 > 10.0.0.2:53 udp fragment 0+13+ ttl=64"),
        (UDP_ONE.with_(frag_offset=16), "10.0.0.1 > 10.0.0.2 udp fragment 16+13 ttl=64"),
    ],
)
def test_one_line_says_what_it_is(packet: Packet, line: str) -> None:
    assert str(packet) == line
    assert repr(packet) == f"<Packet {line}>"


def test_in_a_notebook_it_is_a_table_of_its_fields() -> None:
    html = TCP_ONE._repr_html_()
    assert "10.0.0.1:4000 &gt; 10.0.0.2:80 tcp SA" in html
    for field, value in (("flags", "SA"), ("l4_seq", "100"), ("payload", b"data".hex())):
        assert re.search(f"{field}</th><td [^>]*><code>{re.escape(value)}</code>", html)


# ---------------------------------------------------------------- checksums, flags, mistakes


@given(st.binary(max_size=100))
def test_the_checksum_is_the_ones_complement_sum_of_rfc_1071(data: bytes) -> None:
    padded = data + bytes(len(data) % 2)
    total = sum(padded[at] << 8 | padded[at + 1] for at in range(0, len(padded), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert checksum(data) == 0xFFFF - total


@given(st.integers(0, 255))
def test_flags_read_back(bits: int) -> None:
    assert parse_flags(format_flags(bits)) == bits


@pytest.mark.parametrize(
    ("bits", "letters"), [(1, "F"), (2, "S"), (4, "R"), (8, "P"), (16, "A"), (32, "U"), (64, "E"), (128, "C")]
)
def test_flags_stand_where_rfc_9293_puts_them(bits: int, letters: str) -> None:
    assert format_flags(bits) == letters


A, B = "10.0.0.1", "10.0.0.2"


MISTAKES: list[tuple[Callable[[], Packet], str]] = [
    (lambda: Packet.udp(A, B, "80", 53), "sport: '80' is not a number from 0 to 65535"),
    (lambda: Packet.udp(A, B, 80, 65536), "dport: 65536 is not a number from 0 to 65535"),
    (lambda: Packet.udp(A, B, -1, 53), "sport: -1 is not"),
    (lambda: Packet.udp(A, B, None, 53), "sport: None is not"),
    (lambda: Packet.udp(A, B, 1.5, 53), "sport: 1.5 is not"),
    (lambda: Packet.udp("10.0.0", B, 1, 2), "'10.0.0' is not an IPv4 address"),
    (lambda: Packet.udp("localhost", B, 1, 2), "'localhost' is not an IPv4 address"),
    (lambda: Packet.udp(A, None, 1, 2), "dst: None is not an IPv4 address"),
    (lambda: Packet.udp(A, B, 1, 2, 5), "payload: 5 is neither bytes nor text"),
    (lambda: Packet.udp(A, B, 1, 2, [1, 2]), "payload: [1, 2] is neither bytes nor text"),
    (lambda: Packet.udp(A, B, 1, 2, bytes(65508)), "payload: the packet would have 65536 bytes"),
    (lambda: Packet.udp(A, B, 1, 2, bytes(70000)), "payload: the packet would have 70028 bytes"),
    (lambda: Packet.udp(A, B, 1, 2, bytes(65507), options=b"\1"), "payload: the packet would have 65539 bytes"),
    (lambda: Packet.tcp(A, B, 1, 2, payload=bytes(65500)), "payload: the packet would have 65540 bytes"),
    (lambda: Packet.icmp(A, B, payload=bytes(65508)), "payload: the packet would have 65536 bytes"),
    (lambda: Packet.ip(A, B, 99, bytes(65516)), "payload: the packet would have 65536 bytes"),
    (lambda: Packet.ip(A, B, 99, None), "payload: None is neither bytes nor text"),
    (lambda: Packet.udp(A, B, 1, 2, ttl=256), "ttl: 256 is not a number from 0 to 255"),
    (lambda: Packet.udp(A, B, 1, 2, ttl="64"), "ttl: '64' is not"),
    (lambda: Packet.udp(A, B, 1, 2, tos=-1), "tos: -1 is not"),
    (lambda: Packet.udp(A, B, 1, 2, mark=2**32), "mark: 4294967296 is not"),
    (lambda: Packet.udp(A, B, 1, 2, df="no"), "df: 'no' is not"),
    (lambda: Packet.udp(A, B, 1, 2, frag_offset=7), "frag_offset: 7 is not a multiple of 8"),
    (lambda: Packet.udp(A, B, 1, 2, frag_offset=65536), "frag_offset: 65536 is not"),
    (lambda: Packet.udp(A, B, 1, 2, frag_offset="8"), "frag_offset: '8' is not"),
    (lambda: Packet.udp(A, B, 1, 2, options=bytes(41)), "options: 41 bytes, at most 40 fit"),
    (lambda: Packet.udp(A, B, 1, 2, options=[1]), "options: [1] is neither bytes nor text"),
    (lambda: Packet.udp(A, B, 1, 2, checksum="bad"), "checksum: 'bad' is not"),
    (lambda: Packet.udp(A, B, 1, 2, colour="red"), "a packet has no field 'colour'"),
    (lambda: Packet.udp(A, B, 1, 2, flags="S"), "a packet of protocol udp has no field 'flags'"),
    (lambda: Packet.tcp(A, B, 1, 2, "X"), "flags: 'X' in 'X' is none of FSRPAUEC"),
    (lambda: Packet.tcp(A, B, 1, 2, "syn"), "flags: 's' in 'syn' is none of FSRPAUEC"),
    (lambda: Packet.tcp(A, B, 1, 2, 2), "flags: 2 is not letters of FSRPAUEC"),
    (lambda: Packet.tcp(A, B, 1, 2, seq=2**32), "seq: 4294967296 is not"),
    (lambda: Packet.tcp(A, B, 1, 2, ack=-1), "ack: -1 is not"),
    (lambda: Packet.tcp(A, B, 1, 2, window=65536), "window: 65536 is not"),
    (lambda: Packet.tcp(A, B, 1, 2, urgent=65536), "urgent: 65536 is not"),
    (lambda: Packet.tcp(A, B, 1, 2, tcp_options=bytes(41)), "tcp_options: 41 bytes, at most 40 fit"),
    (lambda: Packet.tcp(A, B, 1, 2, tcp_options=4), "tcp_options: 4 is neither bytes nor text"),
    (lambda: Packet.icmp(A, B, 256), "type: 256 is not"),
    (lambda: Packet.icmp(A, B, "echo"), "type: 'echo' is not"),
    (lambda: Packet.icmp(A, B, 8, id=65536), "id: 65536 is not"),
    (lambda: Packet.ip(A, B, "tpc"), "unknown protocol 'tpc'"),
    (lambda: Packet.ip(A, B, "²"), "unknown protocol '²'"),
    (lambda: Packet.ip(A, B, "9" * 5000), "unknown protocol '999"),
    (lambda: Packet.ip(A, B, 256), "proto: 256 is not a number from 0 to 255"),
    (lambda: Packet.ip(A, B, "256"), "proto: 256 is not a number from 0 to 255"),
    (lambda: Packet.ip(A, B, None), "proto: None is not"),
    (lambda: UDP_ONE.with_(src=None), "src: None is not an IPv4 address"),
    (lambda: UDP_ONE.with_(dst="300.1.1.1"), "'300.1.1.1' is not an IPv4 address"),
    (lambda: UDP_ONE.with_(payload=7), "payload: 7 is neither bytes nor text"),
    (lambda: UDP_ONE.with_(sport="80"), "sport: '80' is not"),
    (lambda: UDP_ONE.with_(type=8), "a packet of protocol udp has no field 'type'"),
    (lambda: ICMP_ONE.with_(sport=8), "a packet of protocol icmp has no field 'sport'"),
    (lambda: UDP_ONE.with_(frag_offset=8).with_(sport=1), "sport: this packet carries no whole udp header"),
    (lambda: UDP_ONE.with_(payload=b"a").with_(sport=1), "sport: this packet carries no whole udp header"),
    (lambda: Packet.from_bytes("450000"), "'450000' is no packet: bytes are expected"),
    (lambda: Packet.from_bytes(None), "None is no packet: bytes are expected"),
]


@pytest.mark.parametrize(("make", "problem"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_one_line_that_names_the_field(make: Callable[[], Packet], problem: str) -> None:
    with pytest.raises(NetlabError) as refused:
        make()
    assert str(refused.value).startswith(problem)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("make", [Packet.udp, Packet.tcp])
def test_the_largest_packet_there_can_be(make: Any) -> None:
    room = 65535 - 20 - (8 if make == Packet.udp else 20)
    packet = make(A, B, 1, 2, payload=bytes(room))
    assert packet.length == 65535
    assert Packet.from_bytes(packet.to_bytes()) == packet
    assert packet.checksum_ok()


@pytest.mark.parametrize("field", ["ttl", "dport", "src", "nonsense"])
def test_a_packet_never_changes_and_says_how_a_changed_one_is_made(field: str) -> None:
    with pytest.raises(AttributeError, match=rf"packet\.with_\({field}=\.\.\.\) makes a changed copy"):
        setattr(UDP_ONE, field, 80)
    assert UDP_ONE.dport == 53
