"""A packet while one host handles it: the kernel's `struct sk_buff`, as far as netlab needs it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from netlab.ip_options import Options
from netlab.names import CtState
from netlab.packet import Packet
from netlab.route_output import OutputDecision
from netlab.routing import Decision

if TYPE_CHECKING:
    from netlab.conntrack.entry import Entry
    from netlab.conntrack.tuples import Direction


class Skb:
    """What the host knows of a packet beside the packet itself.

    Attributes:
        number: its number in the trace.
        dev_in: the interface it came in by; None if it was made here.
        dev_out: the interface it is to leave by, once that is known.
        decision: the route it was given.
        looped: it came over `lo`, and brought its route along.
        unicast: it is for one host; no errors are sent about broadcasts.
        to_all: its frame was addressed to everybody on the link.
        options: what was found in its IP options; None if it has none, or was made here.
        redirect: its sender would have a shorter way.
        pieces: the sizes in bytes of the fragments it was put together from, the IP header included; just the largest
            where the bounds between them are no longer known.
        summed: its transport checksum has been reckoned before a socket is looked for.
        ct: its flow, and `direction` which way of it; None without one.
        ctstate: what conntrack says of it; None where conntrack has not looked.
        helper: the conntrack helper that a rule chose for the flow that this packet begins; "" if it chose none.
        about_untracked: it tells about a packet that is not tracked, or about what tells about one.
        about_received: what it tells about came in here, and so is done with before this one comes back over `lo`.
        unsummed: its TCP or UDP checksum is left to the device to reckon (CHECKSUM_PARTIAL), which `lo` never does.
        traced: a rule asked to be told what others make of it (`-j TRACE`).
        sender: hears the errno if a local process waits for its system call to return.
    """

    # What most packets share stands here once, in the class: making one is on everybody's way.
    dev_out: str | None = None
    decision: Decision | OutputDecision | None = None
    looped = False
    unicast = True
    to_all = False
    options: Options | None = None
    redirect = False
    pieces: tuple[int, ...] = ()
    summed = False
    ct: "Entry | None" = None
    direction: "Direction | None" = None
    ctstate: CtState | None = None
    helper: str | None = None
    about_untracked = False
    about_received = False
    unsummed = False
    traced = False
    sender: Callable[[str, str], None] | None = None

    def __init__(self, packet: Packet, number: int, dev_in: str | None = None) -> None:
        self.packet = packet
        self.number = number
        self.dev_in = dev_in

    def attach(self, about: "Skb") -> None:
        """Make it part of the flow of the packet that it tells about, as rules see it (nf_ct_attach).

        An answer to what is not tracked belongs to no flow; but no rule can say of it, too, that it is not tracked.
        """
        self.about_received = about.dev_in is not None
        if about.ct is not None and about.direction is not None:
            self.ct, self.direction, self.ctstate = about.ct, about.direction.other, CtState.RELATED
        elif about.ctstate is CtState.UNTRACKED or about.about_untracked:
            self.ctstate, self.about_untracked = CtState.INVALID, True

    def refuse(self, errno: str, why: str) -> None:
        """Tell the local process that sent it, if one still waits."""
        if self.sender:
            self.sender(errno, why)
