"""ICMP errors and answers: about what they may be sent, and what is in them."""

import pytest

from netlab.icmp import (
    ECHO,
    ECHO_REPLY,
    REDIRECT,
    TIME_EXCEEDED,
    TIMESTAMP,
    TIMESTAMP_REPLY,
    UNREACHABLE,
    Error,
    echo_reply,
    error_packet,
    may_be_reported,
    room_for_quotation,
    timestamp_reply,
)
from netlab.packet import Icmp, Packet

UDP = Packet.udp("10.0.1.2", "10.0.2.2", 5000, 53, b"hello", ip_id=7)
ROUTER = 0x0A000101


def icmp(type: int) -> Packet:
    return Packet.icmp("10.0.1.2", "10.0.2.2", type, payload=UDP.to_bytes())


@pytest.mark.parametrize(
    ("packet", "may"),
    [
        (UDP, True),
        (Packet.tcp("1.1.1.1", "2.2.2.2", 1, 2), True),
        (Packet.ip("1.1.1.1", "2.2.2.2", 99), True),
        *[(icmp(type), True) for type in (0, 8, 13, 14, 17, 18)],
        *[(icmp(type), False) for type in (3, 4, 5, 11, 12, 19, 42, 44, 255)],
        (Packet.ip("1.1.1.1", "2.2.2.2", 1, b""), False),
        (UDP.with_(mf=True), True),
        (UDP.with_(frag_offset=8), False),
        (UDP.with_(frag_offset=8, mf=True), False),
    ],
)
def test_about_what_an_error_may_be_sent(packet: Packet, may: bool) -> None:
    assert may_be_reported(packet) is may


def test_an_error_goes_to_the_source_and_quotes_the_packet() -> None:
    error = error_packet(Error(TIME_EXCEEDED, 0), UDP, ROUTER, 64, 548)
    assert (error.src, error.dst, error.ttl, error.df) == ("10.0.1.1", "10.0.1.2", 64, False)
    message = error.l4
    assert isinstance(message, Icmp)
    assert (message.type, message.code, message.id, message.seq) == (11, 0, 0, 0)
    assert message.payload == UDP.to_bytes()
    assert error.checksum_ok()
    assert error.quoted == UDP


@pytest.mark.parametrize(
    ("error", "word"),
    [(Error(UNREACHABLE, 4, 600), (0, 600)), (Error(REDIRECT, 1, 0x0A000102), (0x0A00, 0x0102)),
     (Error(12, 0, 20 << 24), (0x1400, 0))],
)  # fmt: skip
def test_the_second_word_of_an_error(error: Error, word: tuple[int, int]) -> None:
    message = error_packet(error, UDP, ROUTER, 64, 548).l4
    assert isinstance(message, Icmp)
    assert (message.type, message.code, message.id, message.seq) == (error.type, error.code, *word)


@pytest.mark.parametrize(
    ("mtu", "options", "room"), [(1500, b"", 548), (576, b"", 548), (300, b"", 272), (1500, bytes(40), 508)]
)
def test_an_error_is_no_longer_than_576_bytes_nor_than_the_way_back_carries(
    mtu: int, options: bytes, room: int
) -> None:
    assert room_for_quotation(mtu, options) == room


@pytest.mark.parametrize("length", [547, 548, 549, 1000])
def test_an_error_quotes_what_there_is_room_for(length: int) -> None:
    packet = Packet.udp("1.1.1.1", "2.2.2.2", 1, 2, bytes(length - 28))
    error = error_packet(Error(UNREACHABLE, 3), packet, ROUTER, 64, 548)
    assert error.payload[8:] == packet.to_bytes()[:548]
    assert error.checksum_ok()


@pytest.mark.parametrize(("tos", "answered"), [(0, 0xC0), (0x10, 0xD0), (0xFF, 0xDE), (0x03, 0xC2)])
def test_an_error_travels_with_the_precedence_of_internetwork_control(tos: int, answered: int) -> None:
    assert error_packet(Error(UNREACHABLE, 1), UDP.with_(tos=tos), ROUTER, 64, 548).tos == answered


def test_an_echo_reply_has_the_requests_id_number_code_data_and_tos() -> None:
    request = Packet.icmp("10.0.1.2", "10.0.1.1", ECHO, 5, id=42, seq=9, payload=b"data", tos=0x1C, ttl=3, df=True)
    reply = echo_reply(request, ROUTER, 64)
    assert (reply.src, reply.dst, reply.ttl, reply.tos, reply.df) == ("10.0.1.1", "10.0.1.2", 64, 0x1C, False)
    message = reply.l4
    assert isinstance(message, Icmp)
    assert message._replace(checksum=0) == Icmp(ECHO_REPLY, 5, 0, 42, 9, b"data")
    assert reply.checksum_ok()


def test_a_timestamp_reply_keeps_the_senders_time_and_adds_its_own() -> None:
    times = (1000).to_bytes(4, "big") + bytes(8)
    request = Packet.icmp("10.0.1.2", "10.0.1.1", TIMESTAMP, id=42, seq=9, payload=times)
    reply = timestamp_reply(request, ROUTER, 64, 2000)
    message = reply.l4
    assert isinstance(message, Icmp)
    assert (message.type, message.id, message.seq) == (TIMESTAMP_REPLY, 42, 9)
    assert message.payload == (1000).to_bytes(4, "big") + (2000).to_bytes(4, "big") * 2
    assert reply.checksum_ok()
