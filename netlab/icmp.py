"""ICMP errors and answers: which are sent and what they quote (net/ipv4/icmp.c, RFC 792, RFC 1812)."""

from typing import Final, NamedTuple

from netlab.names import Proto
from netlab.packet import Icmp, Packet, checksum

ECHO_REPLY, UNREACHABLE, REDIRECT, ECHO, TIME_EXCEEDED, PARAMETER_PROBLEM = 0, 3, 5, 8, 11, 12
TIMESTAMP, TIMESTAMP_REPLY = 13, 14

# Codes of "destination unreachable" (RFC 792, RFC 1812).
NET, HOST, PROTOCOL, PORT, FRAGMENTATION_NEEDED, SOURCE_ROUTE_FAILED = 0, 1, 2, 3, 4, 5
NET_PROHIBITED, HOST_PROHIBITED, FILTERED = 9, 10, 13

ERROR_SIZE: Final = 576  # bytes: no error is longer, so that it passes every link whole (RFC 1812, 4.3.2.3)
LEAST_QUOTATION: Final = 20  # bytes: no error is sent that has no more room than for the header of what it quotes
PRECEDENCE_INTERNETCONTROL: Final = 0xC0  # errors travel with this precedence (RFC 1812, 4.3.2.5)
DUMMY_SOURCE: Final = 0xC0000008  # 192.0.0.8: where a host has no address to send an error from (RFC 7600)
TOS_MASK: Final = 0x1E
REPORTABLE: Final = frozenset({0, 8, *range(13, 19)})
"""The ICMP messages about which errors are sent: questions and answers."""


CHECKSUM_AT: Final[dict[int, int]] = {Proto.TCP: 16, Proto.UDP: 6}  # bytes into the header


class Error(NamedTuple):
    """An ICMP error: `info` is its second word (the MTU of 3/4, the gateway of 5/1, the pointer of 12/0 << 24)."""

    type: int
    code: int
    info: int = 0


def may_be_reported(packet: Packet) -> bool:
    """Whether an error about this packet may be sent at all.

    Never about a later fragment, nor about another ICMP error: errors about errors would never end. Nor about the
    types that are none of the question and answer kind.
    """
    if packet.frag_offset:
        return False
    if packet.proto == Proto.ICMP:
        # A message cut before its type cannot be told from an error: the kernel sends none then either.
        return bool(packet.payload) and packet.payload[0] in REPORTABLE
    return True


def room_for_quotation(path_mtu: int, options: bytes) -> int:
    """How many bytes of a packet an error quotes at most (`icmp_send`)."""
    return min(path_mtu, ERROR_SIZE) - 20 - len(options) - 8


def error_packet(error: Error, about: Packet, saddr: int, ttl: int, room: int) -> Packet:
    """The error, on its way to the source of what it quotes: `room` bytes of it (`icmp_send`)."""
    quoted = about.to_bytes()[:room]
    body = Packet.icmp(
        "0.0.0.0",
        "0.0.0.0",
        error.type,
        error.code,
        id=error.info >> 16,
        seq=error.info & 0xFFFF,
        payload=quoted,
    ).payload
    tos = about.tos & TOS_MASK | PRECEDENCE_INTERNETCONTROL
    return Packet(saddr, about.saddr, Proto.ICMP, body, ttl, tos)


def unsummed(packet: Packet) -> Packet:
    """A packet of this host's own as it looks before it leaves (CHECKSUM_PARTIAL).

    What TCP and UDP have made waits for its checksum, and the sum of its pseudo header stands there.
    """
    at = CHECKSUM_AT.get(packet.proto)
    payload = packet.payload
    if at is None or len(payload) < at + 2:
        return packet
    pseudo = packet.to_bytes()[12:20] + bytes((0, packet.proto)) + len(payload).to_bytes(2, "big")
    partial = 0xFFFF - checksum(pseudo)
    return packet._replace(payload=payload[:at] + partial.to_bytes(2, "big") + payload[at + 2 :])


def echo_reply(request: Packet, saddr: int, ttl: int) -> Packet:
    """The answer to an echo request: the same id, number and data (RFC 1122, 3.2.2.6)."""
    message = request.l4
    assert isinstance(message, Icmp)
    answer = Packet.icmp(
        "0.0.0.0", "0.0.0.0", ECHO_REPLY, message.code, id=message.id, seq=message.seq, payload=message.payload
    ).payload
    if not any(answer[4:]) and not message.code:
        # Nothing but zeros: the kernel's sum comes out as 0 here, where RFC 1071 has 0xffff, and nobody accepts it.
        answer = bytes(len(answer))
    return Packet(saddr, request.saddr, Proto.ICMP, answer, ttl, request.tos)


def timestamp_reply(request: Packet, saddr: int, ttl: int, now: int) -> Packet:
    """The answer to a timestamp request: received and sent at `now`, in milliseconds since midnight UT (RFC 792)."""
    message = request.l4
    assert isinstance(message, Icmp)
    payload = message.payload[:4] + now.to_bytes(4, "big") * 2
    body = Packet.icmp(
        "0.0.0.0", "0.0.0.0", TIMESTAMP_REPLY, 0, id=message.id, seq=message.seq, payload=payload
    ).payload
    return Packet(saddr, request.saddr, Proto.ICMP, body, ttl, request.tos)
