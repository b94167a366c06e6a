"""Capture files, as tcpdump and Wireshark write them: classic pcap and pcapng, read with the standard library.

Sources: draft-ietf-opsawg-pcap (classic pcap, both byte orders, micro- and nanoseconds), draft-ietf-opsawg-pcapng.
"""

from collections import Counter
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import Struct
from typing import BinaryIO, Final, NamedTuple

from netlab.names import NetlabError
from netlab.replay.links import KNOWN, LINKS, Link
from netlab.replay.pcapng import SECTION_HEADER, Broken, records

MAX_RECORD: Final = 1 << 24  # bytes; no frame is that long, a file that says so is broken
MAGICS: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6), b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9), b"\xa1\xb2\x3c\x4d": (">", 1e-9),
}  # fmt: skip
"""How a classic pcap file starts: its byte order, and what its timestamps' second number counts, in seconds."""

_new_frame = tuple.__new__  # a NamedTuple's own constructor costs twice as much


class CaptureError(NetlabError):
    """A file that is no capture, or breaks off; the message says at which byte."""


class Frame(NamedTuple):
    """One IPv4 packet of a capture.

    `number` counts all frames of the file from 1, as Wireshark does; `time` is in seconds since 1970; `data` starts
    with the IP header.
    """

    number: int
    time: float
    data: bytes


class Capture:
    """A capture file: iterating over it reads it from its start and gives the IPv4 packets.

        capture = Capture("web.pcap")
        for frame in capture:
            router.receive("eth0", frame.data)
        print(capture.skipped)

    What is no IPv4 (ARP, IPv6, VLAN-tagged frames ...) is left out and counted in `skipped`. Where the capture holds
    only the beginning of a packet (tcpdump's snaplen), the rest is filled up with zeros and the packet counted in
    `cut`: its headers are right, its transport checksum is not.

    Attributes:
        path: the file.
        frames: how many frames have been read so far, of all protocols.
        position: how many bytes of the file have been read so far.
        skipped: how many frames were left out so far, by protocol.
        cut: how many packets were filled up so far.

    Raises:
        CaptureError: while iterating, after everything before the break has been given.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.frames = self.position = self.cut = 0
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Frame]:
        self.frames = self.position = self.cut = 0
        self.skipped.clear()
        try:
            with self.path.open("rb") as file:
                yield from self._read(file)
        except OSError as problem:
            raise CaptureError(f"{self.path}: {problem.strerror}") from None
        except Broken as problem:
            raise CaptureError(f"{self.path}: {problem}") from None

    def _read(self, file: BinaryIO) -> Iterator[Frame]:
        magic = file.read(4)
        if magic in MAGICS:
            return self._classic(_content(file, magic), *MAGICS[magic])
        if magic == SECTION_HEADER:
            return self._pcapng(file)
        start = f"it starts with the bytes {magic.hex(' ')}" if magic else "it is empty"
        raise CaptureError(f"{self.path}: neither pcap nor pcapng: {start}")

    def _classic(self, content: bytes | mmap, order: str, unit: float) -> Iterator[Frame]:
        size, frame_header = len(content), Struct(order + "IIII").unpack_from
        if size < 24:
            raise Broken(size, "the file ends within its header")
        number = Struct(order + "20xI").unpack_from(content)[0] & 0xFFFF
        link = LINKS.get(number)
        if link is None:
            raise CaptureError(f"{self.path}: link type {number} is not supported (netlab reads {KNOWN})")
        _, skip, at, ipv4, _ = link
        end = 24
        while end < size:
            start = end + 16
            if start > size:
                raise Broken(end, "the file ends within a frame's header")
            seconds, fraction, captured, length = frame_header(content, end)
            if captured > MAX_RECORD:
                raise Broken(end, f"a frame of {captured} bytes")
            if start + captured > size:
                raise Broken(end, f"the file ends within a frame: {captured} bytes, {size - start} are there")
            end = self.position = start + captured
            data = content[start:end]
            self.frames += 1
            packet = data[skip:] if captured >= length and data[at] in ipv4 else self._packet(link, data, length)
            if packet is not None:
                yield _new_frame(Frame, (self.frames, seconds + fraction * unit, packet))

    def _pcapng(self, file: BinaryIO) -> Iterator[Frame]:
        for record in records(file, MAX_RECORD):
            self.position = record.end
            self.frames += 1
            link = LINKS.get(record.link_type)
            if link is None:
                self.skipped[f"link type {record.link_type}"] += 1
                continue
            packet = self._packet(link, record.data, record.length)
            if packet is not None:
                yield Frame(self.frames, record.time, packet)

    def _packet(self, link: Link, data: bytes, length: int) -> bytes | None:
        """The IPv4 packet in a frame that had `length` bytes on the wire; None, and counted, if there is none."""
        protocol = data[link.at]
        if protocol not in link.ipv4:
            self.skipped[link.name_of(protocol)] += 1
            return None
        packet = data[link.header :]
        if length > len(data):
            if len(packet) < 20:
                self.skipped["packet cut within its header"] += 1
                return None
            self.cut += 1
            whole = min(length - link.header, packet[2] << 8 | packet[3])
            packet = packet.ljust(whole, b"\0")
        return packet

    def __repr__(self) -> str:
        return f"<Capture {self.path}: {self.frames} frames read>"


def _content(file: BinaryIO, start: bytes) -> bytes | mmap:
    """All that is in a file of which `start` has been read; where the system allows it, without copying it."""
    try:
        return mmap(file.fileno(), 0, access=ACCESS_READ)
    except (OSError, ValueError):  # it is a pipe
        return start + file.read()
