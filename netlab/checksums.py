"""The internet checksum (RFC 1071): of bytes, over a pseudo header, and moved on where bytes change (RFC 1624)."""

from struct import Struct

from netlab.names import Proto

_PSEUDO = Struct(">IIHH")

CHECKSUM_AT: dict[int, int] = {Proto.TCP: 16, Proto.UDP: 6, Proto.ICMP: 2}
"""Where in its header each protocol has its checksum."""


def checksum(data: bytes) -> int:
    """The internet checksum of these bytes (RFC 1071); 0 for bytes that already contain their right checksum.

    A sum of 16-bit words with the carries added back in is a remainder by 65535, which Python takes in one step.
    """
    if len(data) & 1:
        data += b"\0"
    number = int.from_bytes(data, "big")
    total = number % 0xFFFF
    return 0xFFFF - (total or (0xFFFF if number else 0))


def pseudo_header(saddr: int, daddr: int, proto: int, length: int) -> bytes:
    """What the checksums of TCP and UDP cover beside their own bytes (RFC 9293, 3.1)."""
    return _PSEUDO.pack(saddr, daddr, proto, length)


def sealed(saddr: int, daddr: int, proto: int, segment: bytes, at: int) -> bytes:
    """The segment with its checksum written in at that offset."""
    check = checksum(pseudo_header(saddr, daddr, proto, len(segment)) + segment)
    if proto == Proto.UDP and not check:
        check = 0xFFFF  # 0 on the wire would mean "none" (RFC 768)
    return segment[:at] + check.to_bytes(2, "big") + segment[at + 2 :]


def adjusted(payload: bytes, proto: int, old: bytes, new: bytes) -> bytes:
    """The payload with its checksum moved on from covering `old` to covering `new` (RFC 1624, equation 3)."""
    at = CHECKSUM_AT[proto]
    if len(payload) < at + 2:
        return payload
    check = payload[at] << 8 | payload[at + 1]
    if proto == Proto.UDP and not check:
        return payload
    check = moved_checksum(check, int.from_bytes(old, "big"), int.from_bytes(new, "big"))
    if proto == Proto.UDP and not check:
        check = 0xFFFF
    return payload[:at] + check.to_bytes(2, "big") + payload[at + 2 :]


def moved_checksum(check: int, old: int, new: int) -> int:
    """A checksum moved on from covering the number `old` to covering `new` (RFC 1624, equation 3).

    A number of several 16-bit words, or the sum of several numbers, counts by its remainder by 65535.
    """
    total = (0xFFFF - check) + (0xFFFF - old % 0xFFFF) + new % 0xFFFF
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total
