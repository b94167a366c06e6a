"""Packets rewritten: back and forth, and with right checksums."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.conntrack.tuples import GRE, UDPLITE, FlowTuple, tuple_of
from netlab.names import Proto
from netlab.nat.ranges import Manip
from netlab.nat.translation import translate, translate_error
from netlab.packet import Packet, checksum

ADDRESSES = st.integers(0, 2**32 - 1)
PORTS = st.integers(0, 65535)
MANIPS = st.sampled_from(list(Manip))
DATA = st.binary(max_size=40)
TARGETS = st.tuples(ADDRESSES, ADDRESSES, PORTS, PORTS)


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    """Packets of all protocols that have something to translate, with right checksums."""
    src, dst = "10.0.1.2", "10.0.2.2"
    kind = draw(st.sampled_from(["tcp", "udp", "udp without", "icmp", "gre", "other"]))
    ports = draw(PORTS), draw(PORTS)
    if kind == "tcp":
        made = Packet.tcp(src, dst, *ports, "A", seq=draw(ADDRESSES), payload=draw(DATA))
    elif kind.startswith("udp"):
        made = Packet.udp(src, dst, *ports, draw(DATA))
        if kind == "udp without":
            made = made._replace(payload=made.payload[:6] + b"\0\0" + made.payload[8:])
    elif kind == "icmp":
        made = Packet.icmp(src, dst, draw(st.sampled_from([0, 8, 13, 18])), id=ports[0], payload=draw(DATA))
    elif kind == "gre":
        made = Packet.ip(src, dst, GRE, bytes.fromhex("2001880b00001234") + draw(DATA))
    else:
        made = Packet.ip(src, dst, 99, draw(DATA))
    return made._replace(saddr=draw(ADDRESSES), daddr=draw(ADDRESSES)).sealed() if kind != "udp without" else made


def target_of(packet: Packet, saddr: int, daddr: int, sport: int, dport: int) -> FlowTuple:
    return FlowTuple(saddr, daddr, packet.proto, sport, dport)


@given(packets(), MANIPS, TARGETS)
def test_there_and_back_again(packet: Packet, manip: Manip, to: tuple[int, int, int, int]) -> None:
    before = tuple_of(packet)
    assert before is not None
    there = translate(packet, target_of(packet, *to), manip)
    assert there is not None
    assert there.checksum_ok() is packet.checksum_ok()
    back = translate(there, before, manip)
    assert back == packet


@given(packets(), MANIPS, TARGETS)
def test_one_end_changes_and_the_other_stays(packet: Packet, manip: Manip, to: tuple[int, int, int, int]) -> None:
    target = target_of(packet, *to)
    there = translate(packet, target, manip)
    assert there is not None
    if manip is Manip.SOURCE:
        assert (there.saddr, there.daddr) == (target.saddr, packet.daddr)
        assert packet.dport == there.dport
    else:
        assert (there.saddr, there.daddr) == (packet.saddr, target.daddr)
        assert packet.sport == there.sport


@given(packets(), MANIPS, st.integers(1, 65534))
def test_a_wrong_checksum_stays_wrong(packet: Packet, manip: Manip, off: int) -> None:
    at = {Proto.TCP: 16, Proto.UDP: 6, Proto.ICMP: 2}.get(Proto(packet.proto)) if packet.proto in list(Proto) else None
    if at is None or packet.payload[at : at + 2] == b"\0\0":
        return
    wrong = (int.from_bytes(packet.payload[at : at + 2], "big") + off) % 0xFFFF or 0xFFFF
    broken = packet._replace(payload=packet.payload[:at] + wrong.to_bytes(2, "big") + packet.payload[at + 2 :])
    there = translate(broken, target_of(packet, 1, 2, 3, 4), manip)
    assert there is not None and not there.checksum_ok() and not broken.checksum_ok()


def test_a_udp_checksum_that_comes_out_as_0_is_sent_as_ffff() -> None:
    packet = Packet.udp("10.0.1.2", "10.0.2.2", 1, 2)
    seen = set()
    for port in range(65536):
        there = translate(packet, FlowTuple(packet.saddr, packet.daddr, 17, port, 2), Manip.SOURCE)
        assert there is not None and there.payload[6:8] != b"\0\0"
        seen.add(there.payload[6:8])
    assert b"\xff\xff" in seen


def test_udplite_is_summed_with_its_number_in_the_kernels_way() -> None:
    header = bytes.fromhex("0fa00035000070a2") + b"hi"  # measured: 10.0.1.2 becomes 10.0.2.1
    packet = Packet.ip("10.0.1.2", "10.0.2.2", UDPLITE, header)
    there = translate(packet, FlowTuple(0x0A000201, packet.daddr, UDPLITE, 4000, 53), Manip.SOURCE)
    assert there is not None and there.payload.hex() == "0fa0003500006fa36869"


SHORT: list[tuple[int, bytes, Manip, bool]] = [
    (Proto.TCP, bytes(7), Manip.SOURCE, False), (Proto.TCP, bytes(8), Manip.SOURCE, True),
    (Proto.UDP, bytes(7), Manip.SOURCE, False), (Proto.ICMP, bytes(7), Manip.SOURCE, False),
    (GRE, bytes(7), Manip.SOURCE, False), (GRE, b"\0\3" + bytes(6), Manip.DESTINATION, False),
    (GRE, b"\0\3" + bytes(6), Manip.SOURCE, True), (GRE, bytes(8), Manip.DESTINATION, True),
    (99, b"", Manip.SOURCE, True),
]  # fmt: skip


@pytest.mark.parametrize(("proto", "payload", "manip", "works"), SHORT)
def test_what_is_too_short_or_strange_is_not_translated(proto: int, payload: bytes, manip: Manip, works: bool) -> None:
    packet = Packet.ip("10.0.1.2", "10.0.2.2", proto, payload)
    assert (translate(packet, FlowTuple(1, 2, proto, 3, 4), manip) is not None) is works


# ---------------------------------------------------------------- errors


@given(packets(), MANIPS, ADDRESSES, ADDRESSES, PORTS, PORTS, st.integers(28, 80), st.sampled_from([3, 11, 12]))
def test_an_error_quotes_the_packet_as_its_sender_knows_it(
    packet: Packet, manip: Manip, saddr: int, daddr: int, sport: int, dport: int, cut: int, kind: int
) -> None:
    """Translate a packet, quote it, translate the error back: the packet as it was is quoted, as far as it was."""
    before = tuple_of(packet)
    there = translate(packet, target_of(packet, saddr, daddr, sport, dport), manip)
    assert before is not None and there is not None
    quoted = there.to_bytes()[:cut]
    if len(quoted) < 28:
        return
    error = Packet.icmp("10.9.9.9", "10.0.2.1", kind, payload=quoted)
    answer = Manip.DESTINATION if manip is Manip.SOURCE else Manip.SOURCE
    back = translate_error(error, before, FlowTuple(7, 8, Proto.ICMP, 0, 0), answer)
    assert back is not None and back.checksum_ok()
    whole = packet.to_bytes()
    assert (back.daddr if answer is Manip.DESTINATION else back.saddr) == (8 if answer is Manip.DESTINATION else 7)
    assert checksum(back.payload[8:28]) == 0, "the quoted IP header's checksum is right"
    if packet.proto == Proto.TCP and cut < 40:
        assert back.payload[8:36] == whole[:28]
    else:
        assert back.payload[8:] == whole[: len(quoted)]


def test_an_error_with_a_quotation_too_short_for_ports_is_not_translated() -> None:
    packet = Packet.udp("10.0.1.2", "10.0.2.2", 1, 2)
    error = Packet.icmp("10.0.2.2", "10.0.2.1", 3, 3, payload=packet.to_bytes()[:26])
    flow: Any = tuple_of(packet)
    assert translate_error(error, flow, flow, Manip.DESTINATION) is None
