"""The blocks of a pcapng file (draft-ietf-opsawg-pcapng): sections, interfaces, packets; all others are passed over."""

from collections.abc import Iterator
from struct import Struct, error
from typing import BinaryIO, Final, NamedTuple

SECTION_HEADER: Final = b"\x0a\x0d\x0d\x0a"  # reads the same in both byte orders
INTERFACE, SIMPLE_PACKET, ENHANCED_PACKET = 1, 3, 6
ORDER_MARKS: Final = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
END_OF_OPTIONS, TIME_RESOLUTION, TIME_OFFSET = 0, 9, 14


class Broken(Exception):
    """The file breaks at that byte."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(f"broken at byte {position}: {problem}")


class Record(NamedTuple):
    """A captured frame: the `length` bytes it had on the wire may be more than `data`. `end` is a place in the file."""

    link_type: int
    time: float
    data: bytes
    length: int
    end: int


class Interface(NamedTuple):
    """Where frames were captured. Timestamps count `unit` seconds from `offset` (seconds since 1970)."""

    link_type: int
    snaplen: int
    unit: float
    offset: int


def records(file: BinaryIO, largest: int) -> Iterator[Record]:
    """The frames of a file whose first four bytes, SECTION_HEADER, have been read.

    Raises:
        Broken: the file ends within a block, or a block cannot be right (longer than `largest` bytes, say).
    """
    order, interfaces, time = "<", list[Interface](), 0.0
    start, kind = 0, SECTION_HEADER
    while kind:
        head = kind + file.read(8 if kind == SECTION_HEADER else 4)
        if kind == SECTION_HEADER:
            if len(head) == 12 and head[8:] not in ORDER_MARKS:
                raise Broken(start + 8, f"no byte order mark: {head[8:].hex(' ')}")
            order, interfaces = ORDER_MARKS.get(head[8:], order), []
        if len(head) < 8:
            raise Broken(start, "the file ends within a block's header")
        size = int.from_bytes(head[4:8], "big" if order == ">" else "little")
        if size < 12 or size % 4 or size > largest:
            raise Broken(start, f"a block of {size} bytes")
        body = head[8:] + file.read(size - len(head))
        if len(body) < size - 8:
            raise Broken(start, f"the file ends within a block: {size} bytes, {8 + len(body)} are there")
        try:
            number = int.from_bytes(kind, "big" if order == ">" else "little")
            if number == INTERFACE:
                interfaces.append(_interface(order, body[:-4]))
            elif number == ENHANCED_PACKET:
                at, high, low, captured, length = Struct(order + "IIIII").unpack_from(body)
                time = interfaces[at].offset + (high << 32 | low) * interfaces[at].unit
                if 20 + captured > len(body) - 4:
                    raise Broken(start, f"{captured} bytes of a frame in a block of {size}")
                yield Record(interfaces[at].link_type, time, body[20 : 20 + captured], length, start + size)
            elif number == SIMPLE_PACKET:
                (length,) = Struct(order + "I").unpack_from(body)
                captured = min(length, interfaces[0].snaplen or length, len(body) - 8)
                yield Record(interfaces[0].link_type, time, body[4 : 4 + captured], length, start + size)
        except IndexError:
            raise Broken(start, "a packet of an interface that the file does not describe") from None
        except error:
            raise Broken(start, f"a block of {size} bytes is too short for what it holds") from None
        start += size
        kind = file.read(4)


def _interface(order: str, body: bytes) -> Interface:
    link_type, snaplen = Struct(order + "HxxI").unpack_from(body)
    unit, offset, at = 1e-6, 0, 8
    option = Struct(order + "HH")
    while at + 4 <= len(body):
        code, size = option.unpack_from(body, at)
        value = body[at + 4 : at + 4 + size]
        if code == END_OF_OPTIONS:
            break
        if code == TIME_RESOLUTION and size == 1:
            unit = 2.0 ** -(value[0] & 0x7F) if value[0] & 0x80 else 10.0 ** -value[0]
        elif code == TIME_OFFSET and size == 8:
            (offset,) = Struct(order + "q").unpack(value)
        at += 4 + size + -size % 4
    return Interface(link_type, snaplen, unit, offset)
