"""Sequence numbers of a TCP conversation in which a helper has changed the length of what was said.

Who hears a longer line than was spoken acknowledges more bytes than were sent. So from there on the tracker moves the
numbers: those of the speaker forward, the acknowledgements back.
Source: net/netfilter/nf_conntrack_seqadj.c.
"""

from netlab.conntrack.tcp_track import END_OF_OPTIONS, NO_OPERATION, SACK, WRAP
from netlab.conntrack.tcp_window import is_before
from netlab.conntrack.tuples import Direction
from netlab.packet import Packet, moved_checksum


class Shift:
    """By how many bytes one side's numbers are off: `before` up to the latest change, `after` behind it.

    Only the latest change is remembered: what was said before an earlier one is no longer repeated, one hopes.
    """

    __slots__ = ("after", "before", "position")

    def __init__(self) -> None:
        self.position = self.before = self.after = 0

    def grow(self, seq: int, octets: int) -> None:
        """The segment that begins there got so many bytes longer; a repetition of it changes nothing."""
        if self.before == self.after or is_before(self.position, seq):
            self.position = seq
            self.before = self.after
            self.after += octets

    def at(self, seq: int) -> int:
        """How far that number is off, as the speaker counts."""
        return self.after if is_before(self.position, seq) else self.before

    def undo(self, number: int) -> int:
        """A number as the listener counts, in the speaker's count."""
        return number - self.at(number - self.before & WRAP) & WRAP


class SequenceAdjustment:
    """The shifts of both sides (`struct nf_conn_seqadj`)."""

    __slots__ = ("_shifts",)

    def __init__(self) -> None:
        self._shifts = Shift(), Shift()

    def __getitem__(self, direction: Direction) -> Shift:
        """What happened to the numbers of who speaks in that direction."""
        return self._shifts[direction]

    def adjust(self, packet: Packet, direction: Direction) -> Packet | None:
        """The packet as the other side has to see it; None for broken TCP options: it is dropped (nf_ct_seq_adjust).

        The kernel looks at no protocol here: an ICMP error of the one who began the connection is read as TCP, and
        bytes of it change that are no sequence numbers.
        """
        data = bytearray(packet.payload)
        acknowledged = _acknowledged(packet.payload)
        if acknowledged is None:
            return None
        own, other = self[direction], self[direction.other]
        check = _read(data, CHECKSUM, 2)
        for at in (SEQ, *acknowledged):
            number = _read(data, at)
            moved = number + own.at(number) & WRAP if at == SEQ else other.undo(number)
            # As if it stood at an even place, as the kernel reckons: at an odd one the checksum is wrong then.
            check = moved_checksum(check, number, moved)
            data[at : at + 4] = moved.to_bytes(4, "big")
        data[CHECKSUM : CHECKSUM + 2] = check.to_bytes(2, "big")
        return packet._replace(payload=bytes(data))


SEQ, ACK, OFFSET, FLAGS, CHECKSUM, OPTIONS = 4, 8, 12, 13, 16, 20  # where these stand in a TCP header
ACK_FLAG = 0x10
BLOCK = 8  # bytes of one block that is selectively acknowledged


def _read(data: bytearray, at: int, size: int = 4) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _acknowledged(segment: bytes) -> list[int] | None:
    """Where in a segment it says what it acknowledges; None: it is cut short, or an option is broken."""
    if len(segment) < OPTIONS:
        return None
    if not segment[FLAGS] & ACK_FLAG:
        return []
    end = (segment[OFFSET] >> 4) * 4
    if end > len(segment):
        return None
    found = [ACK]
    at = OPTIONS
    while at < end and segment[at] != END_OF_OPTIONS:
        if segment[at] == NO_OPERATION:
            at += 1
            continue
        length = segment[at + 1] if at + 1 < end else 0
        if length < 2 or at + length > end:
            return None
        if segment[at] == SACK and length > BLOCK and (length - 2) % BLOCK == 0:
            found += range(at + 2, at + length, 4)
        at += length
    return found
