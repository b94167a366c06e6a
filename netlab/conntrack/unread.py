"""Helpers that netlab has by name only: they are given to flows as a rule says, and what is said there is not read.

The real ones foresee further connections in it, and drop some of what they cannot make sense of (nf_conntrack_tftp.c,
nf_conntrack_sip.c and their like). What two of them do whatever is said, is done here: they keep a flow alive longer.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.table import ConntrackTable
from netlab.conntrack.tuples import GRE, Direction, FlowTuple
from netlab.machine import Machine
from netlab.names import CtState, Proto
from netlab.packet import Packet, Tcp
from netlab.skb import Skb
from netlab.trace import Logged

UDP_HEADER: Final = 8  # bytes, as many as an ICMP error's: errors about a flow come to its helper, too

Act = Callable[[Packet, Skb, Entry, Machine], None]


def _amanda(packet: Packet, skb: Skb, entry: Entry, host: Machine) -> None:
    """The servers of this backup program take their time to answer (amanda_help)."""
    if skb.direction is Direction.REPLY:
        entry.refresh(300, host.wires.clock.now)
        if len(packet.payload) <= UDP_HEADER:
            host.write(Logged(skb.number, host.name, f"amanda_help: skblen = {packet.length}"))


def _sip(packet: Packet, skb: Skb, entry: Entry, host: Machine) -> None:
    """Whatever is said keeps a telephone registered for an hour (sip_help_udp, sip_help_tcp)."""
    segment = packet.l4
    if entry.original.proto == Proto.UDP:
        said = len(packet.payload) > UDP_HEADER
    else:
        said = isinstance(segment, Tcp) and bool(segment.payload) and skb.ctstate is CtState.ESTABLISHED
    if said:
        entry.refresh(3600, host.wires.clock.now)


def _nothing(packet: Packet, skb: Skb, entry: Entry, host: Machine) -> None:
    """All that the others do, they do with what they read."""


def _calls(entry: Entry) -> tuple[FlowTuple, ...]:
    """The tunnel that the control connection was about, in GRE: its keys are 0, since they are not read."""
    ends = (entry.original, entry.reply)
    return tuple(flow._replace(proto=GRE, sport=0, dport=0) for flow in ends)


def _none(entry: Entry) -> tuple[FlowTuple, ...]:
    """The others leave alone what they have foreseen."""
    return ()


class Unread(NamedTuple):
    """One of them.

    Attributes:
        name: by which rules call it.
        protocols: those of the flows that it reads.
        act: what it does with any packet.
        siblings: the flows that end with its own (pptp_destroy_siblings).
    """

    name: str
    protocols: tuple[Proto, ...]
    act: Act = _nothing
    siblings: Callable[[Entry], tuple[FlowTuple, ...]] = _none

    def listen(self, packet: Packet, skb: Skb, entry: Entry, host: Machine) -> None:
        """A packet of its flow comes by; with the first it is told that nobody reads."""
        if not entry.status & Status.CONFIRMED:
            host.note(skb, f"{self.name} helper: netlab does not read what is said, and foresees nothing")
        self.act(packet, skb, entry, host)

    def end(self, entry: Entry, table: ConntrackTable, now: float) -> None:
        """Its flow has left the table."""
        for flow in self.siblings(entry):
            if sibling := table.find(flow, now):
                table.remove(sibling)


UNREAD: Final = {
    one.name: one
    for one in (
        Unread("amanda", (Proto.UDP,), _amanda),
        Unread("irc", (Proto.TCP,)),
        Unread("netbios-ns", (Proto.UDP,)),
        Unread("pptp", (Proto.TCP,), siblings=_calls),
        Unread("Q.931", (Proto.TCP,)),
        Unread("RAS", (Proto.UDP,)),
        Unread("sane", (Proto.TCP,)),
        Unread("sip", (Proto.TCP, Proto.UDP), _sip),
        Unread("snmp", (Proto.UDP,)),
        Unread("tftp", (Proto.UDP,)),
    )
}
"""By the names that rules use."""
