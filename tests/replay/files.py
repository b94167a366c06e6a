"""Capture files made by hand, byte by byte."""

from collections.abc import Iterable
from struct import pack

from netlab.packet import Packet

ETHERNET_IPV4 = bytes(12) + b"\x08\x00"

Record = tuple[float, bytes] | tuple[float, bytes, int]
"""Time in seconds, the bytes captured and, where it is more, the length on the wire."""


def packets(count: int) -> list[Packet]:
    """UDP packets that differ in their ports."""
    return [Packet.udp("10.0.1.2", "10.0.2.2", 5000 + number, 53, b"hello") for number in range(count)]


def ethernet(count: int) -> list[Record]:
    """As many Ethernet frames, a tenth of a second apart."""
    return [(1000 + number / 10, ETHERNET_IPV4 + packet.to_bytes()) for number, packet in enumerate(packets(count))]


def pcap(records: Iterable[Record], link_type: int = 1, order: str = "<", nanoseconds: bool = False) -> bytes:
    """A classic capture file."""
    magic, unit = (0xA1B23C4D, 1e9) if nanoseconds else (0xA1B2C3D4, 1e6)
    file = [pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link_type)]
    for time, data, *length in records:
        fraction = round(time % 1 * unit)
        file += pack(order + "IIII", int(time), fraction, len(data), *(length or [len(data)])), data
    return b"".join(file)


def block(kind: int, body: bytes, order: str) -> bytes:
    """A block of a pcapng file."""
    body += bytes(-len(body) % 4)
    size = pack(order + "I", 12 + len(body))
    return pack(order + "I", kind) + size + body + size


def pcapng(records: Iterable[Record], link_type: int = 1, order: str = "<", resolution: int = 6) -> bytes:
    """A pcapng file with one section and one interface, whose timestamps count 10 to the minus `resolution` seconds."""
    file = block(0x0A0D0D0A, pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    options = pack(order + "HHB3xHH", 9, 1, resolution, 0, 0)
    file += block(1, pack(order + "HxxI", link_type, 0) + options, order)
    file += block(0x0BAD, b"custom, passed over", order)
    for time, data, *length in records:
        ticks = round(time * 10**resolution)
        head = pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), *(length or [len(data)]))
        file += block(6, head + data, order)
    return file
