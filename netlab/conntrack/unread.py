"""Helpers that netlab has by name only: they are given to flows as a rule says, and what is said there is not read.

The real ones foresee further connections in it, and drop some of what they cannot make sense of (nf_conntrack_tftp.c,
nf_conntrack_sip.c and their like). What two of them do whatever is said, is done here: they keep a flow alive longer.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from netlab.conntrack.tuples import Direction
from netlab.names import CtState, Proto
from netlab.packet import Packet, Tcp
from netlab.skb import Skb

UDP_HEADER: Final = 8  # bytes, as many as an ICMP error's: errors about a flow come to its helper, too

Keeps = Callable[[Packet, Skb], bool]


def _in_reply(packet: Packet, skb: Skb) -> bool:
    return skb.direction is Direction.REPLY


def _with_data(packet: Packet, skb: Skb) -> bool:
    assert skb.ct is not None
    if skb.ct.original.proto == Proto.UDP:
        return len(packet.payload) > UDP_HEADER
    segment = packet.l4
    return isinstance(segment, Tcp) and bool(segment.payload) and skb.ctstate is CtState.ESTABLISHED


def _never(packet: Packet, skb: Skb) -> bool:
    return False


class Unread(NamedTuple):
    """One of them.

    Attributes:
        name: by which rules call it.
        protocols: those of the flows that it reads.
        keeps: whether this packet keeps its flow alive.
        lifetime: for so many seconds.
    """

    name: str
    protocols: tuple[Proto, ...]
    keeps: Keeps = _never
    lifetime: int = 0

    def listen(self, packet: Packet, skb: Skb, now: float) -> None:
        """What it does with a packet of its flow, without reading it."""
        if skb.ct and self.keeps(packet, skb):
            skb.ct.refresh(self.lifetime, now)

    def __str__(self) -> str:
        return f"{self.name} helper: netlab does not read what is said, and foresees nothing"


UNREAD: Final = {
    one.name: one
    for one in (
        Unread("amanda", (Proto.UDP,), _in_reply, 300),
        Unread("irc", (Proto.TCP,)),
        Unread("netbios-ns", (Proto.UDP,)),
        Unread("pptp", (Proto.TCP,)),
        Unread("Q.931", (Proto.TCP,)),
        Unread("RAS", (Proto.UDP,)),
        Unread("sane", (Proto.TCP,)),
        Unread("sip", (Proto.TCP, Proto.UDP), _with_data, 3600),
        Unread("snmp", (Proto.UDP,)),
        Unread("tftp", (Proto.UDP,)),
    )
}
"""By the names that rules use."""
