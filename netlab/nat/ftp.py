"""FTP through NAT: an announcement names the address and port by which its speaker can be reached (nf_nat_ftp.c).

So the line is written anew, with what the other side has to connect to; if that makes it longer or shorter, the
connection's sequence numbers are off from there on, and are set right (`netlab.conntrack.seqadj`).
"""

from itertools import chain
from random import Random
from typing import Final

from netlab.addresses import format_address
from netlab.conntrack.entry import Status
from netlab.conntrack.expectations import Expectation
from netlab.conntrack.ftp import Announcement
from netlab.conntrack.track import Conntrack
from netlab.packet import Packet, Tcp

MOST_ATTEMPTS: Final = 128
LAST_PORT: Final = 0xFFFF
MAX_LENGTH: Final = 0xFFFF  # bytes of a packet


def rewrite(
    packet: Packet, found: Announcement, wanted: Expectation, tracker: Conntrack, random: Random
) -> Packet | None:
    """The packet with the announcement that the other side is to read; None: it cannot be, and the packet is dropped.

    `wanted` foresees the port that was announced in the packet; that which is foreseen in the end may be another.
    """
    port = _foresee(wanted, tracker, random)
    if not port:
        return None
    segment, master = packet.l4, wanted.master
    assert isinstance(segment, Tcp)
    direction = wanted.direction.other
    text = _words(found.command, wanted.key.daddr, port)
    start, end = segment.offset + found.start, segment.offset + found.end
    longer = len(text) - (end - start)
    if packet.length + max(longer, 0) > MAX_LENGTH:
        tracker.expectations.forget(master)
        return None
    if longer and master.sequence is not None:
        master.status |= Status.SEQ_ADJUST
        master.sequence[direction].grow(segment.seq, longer)
    return packet._replace(payload=packet.payload[:start] + text + packet.payload[end:]).sealed()


def _foresee(wanted: Expectation, tracker: Conntrack, random: Random) -> int:
    """Wait for the flow at the announced port, or where another waits there already at a random higher one; 0: nowhere.

    Port 0, which somebody may announce, is waited for and then taken for a failure, as in nf_nat_exp_find_port.
    """
    first = wanted.port
    others = (random.randrange(first, LAST_PORT) for _ in range(min(LAST_PORT - first, MOST_ATTEMPTS)))
    for port in chain([first], others):
        candidate = wanted._replace(key=wanted.key._replace(dport=port))
        if not tracker.expectations.clashes(candidate):
            return port if tracker.expect(candidate) else 0
    return 0


def _words(command: str, address: int, port: int) -> bytes:
    """The numbers of an announcement, from where the first of them or its delimiter stands."""
    dotted = format_address(address)
    if command == "EPRT":
        return f"|1|{dotted}|{port}|".encode()
    if command == "229":
        return f"|||{port}|".encode()
    return f"{dotted.replace('.', ',')},{port >> 8},{port & 0xFF}".encode()
