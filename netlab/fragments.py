"""Cutting a packet into fragments, and putting fragments together (net/ipv4/ip_output.c, ip_fragment.c, RFC 791)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from netlab.ip_options import END, NOOP
from netlab.names import DropReason
from netlab.packet import DF, MF, OFFSET, Packet

CE = 3  # ECN's codepoint "congestion experienced", both bits of the TOS (RFC 3168)
NOT_ECT = 1  # a bit of `_Pending.ecn`: a fragment has come whose sender does not understand ECN
COPIED = 0x80  # an option with this bit goes into every fragment, any other only into the first


def fragment(packet: Packet, mtu: int, pieces: Sequence[int] = (), *, as_written: bool = False) -> list[Packet]:
    """The packet in pieces of at most `mtu` bytes; just the packet where it fits (`ip_do_fragment`).

    `pieces` are the sizes of the fragments it was reassembled from: where those fit the link they are cut out again. If
    they do not add up to the packet, they only say how large a fragment may be.
    `as_written`: a process wrote the header, and the kernel has not read its options: it leaves them all as they are.
    """
    header = 20 + len(packet.options)
    if not pieces and packet.length <= mtu:
        return [packet]
    df = packet.frag & DF
    if pieces and max(pieces) <= mtu and sum(pieces) - len(pieces) * header == len(packet.payload):
        df = 0  # those get headers of their own, where nobody thinks of it
        sizes = [piece - header for piece in pieces]
    else:
        sizes = _sizes(len(packet.payload), (min(mtu, max(pieces)) if pieces else mtu) - header)
    start = packet.frag & OFFSET
    # A later fragment that is cut once more keeps what it has: the kernel takes its options for done.
    later_options = packet.options if start or as_written else _options_of_later(packet.options)
    fragments = []
    at = 0
    for size in sizes:
        more = MF if packet.frag & MF or at + size < len(packet.payload) else 0
        fragments.append(
            packet._replace(
                payload=packet.payload[at : at + size],
                frag=df | more | start + at // 8,
                options=later_options if at else packet.options,
            )
        )
        at += size
    return fragments


def _sizes(length: int, room: int) -> list[int]:
    """How `length` bytes are cut: each piece but the last a multiple of eight, none longer than `room`."""
    sizes = []
    while length:
        size = length if length <= room else room & ~7
        sizes.append(size)
        length -= size
    return sizes


def _options_of_later(options: bytes) -> bytes:
    """What later fragments carry: options that are not to be copied become no-operations, the length stays."""
    out = bytearray(options)
    at = 0
    while at < len(out) and out[at] != END:
        if out[at] == NOOP:
            at += 1
            continue
        length = out[at + 1] if at + 1 < len(out) else 0
        if length < 2 or at + length > len(out):
            break
        if not out[at] & COPIED:
            out[at : at + length] = bytes([NOOP]) * length
        at += length
    return bytes(out)


class Reassembled(NamedTuple):
    """A whole packet again, and the sizes in bytes of its fragments (header included) in the order of their offsets."""

    packet: Packet
    pieces: tuple[int, ...]


class Refused(NamedTuple):
    """A fragment that was not kept; `others` are the ones kept before, thrown away with it."""

    reason: DropReason
    why: str
    others: int = 0


class Oversized(NamedTuple):
    """All fragments were there, but of a packet longer than 65535 bytes, which no header can tell: they are gone."""

    length: int


class Mixed(NamedTuple):
    """All fragments were there, but only some from a sender that understands ECN (RFC 3168, 5.3): they are gone."""


@dataclass(slots=True)
class _Pending:
    """The fragments of one packet so far: `pieces` maps offset to payload; `total` is known from the last one.

    `runs` are stretches of bytes, as (start, end). A fragment right behind the highest one makes its run longer; any
    other is a run of its own, even if it closes a gap (`inet_frag_queue_insert`). `ecn` has a bit for each of the four
    codepoints of ECN that came.
    """

    expires: float
    first: Packet | None = None
    dev: str = ""
    pieces: dict[int, bytes] = field(default_factory=dict)
    runs: list[tuple[int, int]] = field(default_factory=list)
    total: int | None = None
    largest: int = 0
    largest_df: int = 0
    ecn: int = 0


Whole = Reassembled | Oversized | Mixed
"""What comes of a packet's last missing fragment."""


class Expired(NamedTuple):
    """A packet that never became whole. `first` is its first fragment (None if that never came), `dev` where from."""

    first: Packet | None
    dev: str
    fragments: int


class Reassembly:
    """Fragments waiting for the rest, by source, destination, protocol and IP id."""

    def __init__(self) -> None:
        self._pending: dict[tuple[int, int, int, int], _Pending] = {}

    def add(self, packet: Packet, dev: str, now: float, patience: float) -> Whole | Refused | None:
        """Keep a fragment (None) or give the whole packet back, when this was the last one missing.

        A fragment that lies within what is there already is dropped; one that overlaps it in part condemns the whole
        packet, since no honest sender does that (RFC 5722 for IPv6, done for IPv4 too; `inet_frag_queue_insert`).
        `patience` is net.ipv4.ipfrag_time in seconds, counted from the first fragment to arrive.
        """
        key = packet.saddr, packet.daddr, packet.ip_id, packet.proto
        pending = self._pending.get(key)
        if pending is None:
            pending = self._pending[key] = _Pending(now + patience)
        start, payload = packet.frag_offset, packet.payload
        if packet.mf:
            payload = payload[: len(payload) & ~7]
        end = start + len(payload)
        known_end = max((at + len(piece) for at, piece in pending.pieces.items()), default=0)
        if not packet.mf:
            if end < known_end or pending.total not in (None, end):
                return self._condemn(key, "another last fragment than before")
            pending.total = end  # so the length is known, even if the fragment itself is refused below
        elif pending.total is not None and end > pending.total:
            return self._condemn(key, "it lies behind the last fragment")
        if not payload:
            return self._condemn(key, "it is empty")
        if any(first <= start and end <= behind for first, behind in pending.runs):
            return Refused(DropReason.DUP_FRAG, "these bytes are there already")
        if any(start < behind and first < end for first, behind in pending.runs):
            return self._condemn(key, "it overlaps another fragment")
        highest = max(pending.runs, key=itemgetter(1), default=(0, 0))
        if pending.runs and start == highest[1]:
            pending.runs.remove(highest)
            start_of_run = highest[0]
        else:
            start_of_run = start
        pending.runs.append((start_of_run, end))
        pending.pieces[start] = payload
        pending.dev = dev
        if not start:
            pending.first = packet
        pending.largest = max(pending.largest, packet.length)
        pending.ecn |= 1 << (packet.tos & CE)
        if packet.df:
            pending.largest_df = max(pending.largest_df, packet.length)
        if pending.first is None or sum(map(len, pending.pieces.values())) != pending.total:
            return None
        del self._pending[key]
        if pending.ecn & NOT_ECT and pending.ecn != NOT_ECT:
            return Mixed()
        whole = b"".join(pending.pieces[at] for at in sorted(pending.pieces))
        df = DF if pending.largest_df == pending.largest else 0
        header = 20 + len(pending.first.options)
        if header + len(whole) > 65535:
            return Oversized(header + len(whole))
        sizes = tuple(header + len(pending.pieces[at]) for at in sorted(pending.pieces))
        tos = pending.first.tos | (CE if pending.ecn >> CE else 0)
        return Reassembled(pending.first._replace(payload=whole, frag=df, tos=tos, checksum=None), sizes)

    def expire(self, now: float) -> list[Expired]:
        """Give up on what has waited too long (`ip_expire`)."""
        late = [key for key, pending in self._pending.items() if pending.expires <= now]
        gone = [self._pending.pop(key) for key in late]
        return [Expired(pending.first, pending.dev, len(pending.pieces)) for pending in gone]

    def __len__(self) -> int:
        return len(self._pending)

    def _condemn(self, key: tuple[int, int, int, int], why: str) -> Refused:
        others = len(self._pending.pop(key).pieces)
        return Refused(DropReason.NOT_SPECIFIED, f"{why}: the whole packet is given up", others)
