"""The headers behind and in an IPv4 packet: how they lie in bytes, and which values their fields take."""

from struct import Struct
from typing import Any, NamedTuple

from netlab.addresses import parse_address
from netlab.names import PROTOCOL_NAMES, DropReason, NetlabError, Proto

DF = 0x4000
MF = 0x2000
OFFSET = 0x1FFF  # the fragment offset, counted in units of 8 bytes
FLAG_LETTERS = "FSRPAUEC"  # TCP's flags from the lowest bit up: FIN SYN RST PSH ACK URG ECE CWR

IP_HEADER = Struct(">BBHHHBBHII")
TCP_HEADER = Struct(">HHIIBBHHH")
UDP_HEADER = Struct(">HHHH")
ICMP_HEADER = Struct(">BBHHH")

# ICMP types that report an error and quote the packet that caused it (RFC 792).
ICMP_ERRORS = frozenset({3, 4, 5, 11, 12})
ICMP_QUERIES = frozenset({0, 8, 13, 14, 15, 16, 17, 18})
ICMP_NAMES = {
    0: "echo-reply", 3: "destination-unreachable", 4: "source-quench", 5: "redirect", 8: "echo-request",
    11: "time-exceeded", 12: "parameter-problem", 13: "timestamp-request", 14: "timestamp-reply",
    17: "address-mask-request", 18: "address-mask-reply",
}  # fmt: skip

HEADER_BITS = {"ttl": 8, "tos": 8, "ip_id": 16, "mark": 32}
_TCP_UDP, _ONLY_TCP, _ONLY_ICMP = (Proto.TCP, Proto.UDP), (Proto.TCP,), (Proto.ICMP,)
# Where each transport field stands in the payload: (protocols that have it, offset, size), in bytes.
TRANSPORT_FIELDS: dict[str, tuple[tuple[Proto, ...], int, int]] = {
    "sport": (_TCP_UDP, 0, 2), "dport": (_TCP_UDP, 2, 2),
    "seq": (_ONLY_TCP, 4, 4), "ack": (_ONLY_TCP, 8, 4), "flags": (_ONLY_TCP, 13, 1), "window": (_ONLY_TCP, 14, 2),
    "type": (_ONLY_ICMP, 0, 1), "code": (_ONLY_ICMP, 1, 1), "id": (_ONLY_ICMP, 4, 2), "icmp_seq": (_ONLY_ICMP, 6, 2),
}  # fmt: skip


class MalformedPacket(NetlabError):
    """Bytes that are no IPv4 packet. `field` names the wrong header field, `reason` is the kernel's drop reason."""

    def __init__(self, field: str, problem: str, reason: DropReason = DropReason.IP_INHDR) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.reason = reason


class Tcp(NamedTuple):
    """A TCP segment (RFC 9293). `flags` is a number of bits; `options` and `payload` are bytes."""

    sport: int
    dport: int
    seq: int
    ack: int
    offset: int
    flags: int
    window: int
    checksum: int
    urgent: int
    options: bytes
    payload: bytes


class Udp(NamedTuple):
    """A UDP datagram (RFC 768). `length` is what the header claims, in bytes."""

    sport: int
    dport: int
    length: int
    checksum: int
    payload: bytes


class Icmp(NamedTuple):
    """An ICMP message (RFC 792). `id` and `seq` are the second word's halves, whatever the type makes of them."""

    type: int
    code: int
    checksum: int
    id: int
    seq: int
    payload: bytes

    @property
    def is_error(self) -> bool:
        """True when it reports an error, so that `payload` quotes the packet that caused it."""
        return self.type in ICMP_ERRORS

    @property
    def mtu(self) -> int:
        """The next hop's MTU in bytes, as "fragmentation needed" (3/4) carries it (RFC 1191)."""
        return self.seq

    @property
    def gateway(self) -> int:
        """The better gateway's address, as a redirect (5) carries it."""
        return self.id << 16 | self.seq


def protocol_number(proto: int | str) -> int:
    """6 for `tcp`, `6` or 6.

    Raises:
        NetlabError: no such protocol.
    """
    if isinstance(proto, str):
        if proto in PROTOCOL_NAMES:
            return PROTOCOL_NAMES[proto]
        if not (proto.isascii() and proto.isdigit() and len(proto) < 4):
            raise NetlabError(f"unknown protocol {proto!r}: a number, or one of {', '.join(PROTOCOL_NAMES)}")
        proto = int(proto)
    return within("proto", proto, 8)


def parse_flags(letters: str) -> int:
    """TCP's flag bits from letters of FSRPAUEC: `SA` is a SYN-ACK.

    Raises:
        NetlabError: a letter that is no flag.
    """
    if not isinstance(letters, str):
        raise NetlabError(f"flags: {letters!r} is not letters of {FLAG_LETTERS}")
    bits = 0
    for letter in letters:
        if letter not in FLAG_LETTERS:
            raise NetlabError(f"flags: {letter!r} in {letters!r} is none of {FLAG_LETTERS}")
        bits |= 1 << FLAG_LETTERS.index(letter)
    return bits


def format_flags(bits: int) -> str:
    """TCP's flag bits as letters, `SA` for a SYN-ACK."""
    return "".join(letter for place, letter in enumerate(FLAG_LETTERS) if bits >> place & 1)


def within(field: str, value: Any, bits: int) -> int:
    """A number of that many bits.

    Raises:
        NetlabError: none; `field` is what the message calls it.
    """
    if not isinstance(value, int) or not 0 <= value < 1 << bits:
        raise NetlabError(f"{field}: {value!r} is not a number from 0 to {(1 << bits) - 1}")
    return int(value)


def address(field: str, value: Any) -> int:
    """An address from its dotted text, or as the integer it already is."""
    if isinstance(value, str):
        return parse_address(value)
    if not isinstance(value, int):
        raise NetlabError(f"{field}: {value!r} is not an IPv4 address")
    return within(field, value, 32)


def padded(field: str, options: Any) -> bytes:
    """Options as they stand in a header: filled up to whole words, of which ten fit."""
    data = as_bytes(field, options)
    if len(data) > 40:
        raise NetlabError(f"{field}: {len(data)} bytes, at most 40 fit")
    return data + bytes(-len(data) % 4)


def as_bytes(field: str, value: Any) -> bytes:
    """Bytes as they are, text as UTF-8; `field` is what an error message calls it.

    Raises:
        NetlabError: neither bytes nor text.
    """
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, bytes | bytearray | memoryview):
        raise NetlabError(f"{field}: {value!r} is neither bytes nor text")
    return bytes(value)
