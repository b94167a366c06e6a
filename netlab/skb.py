"""A packet while one host handles it: the kernel's `struct sk_buff`, as far as netlab needs it."""

from collections.abc import Callable

from netlab.packet import Packet
from netlab.routing import Decision


class Skb:
    """What the host knows of a packet beside the packet itself.

    `number` is its number in the trace, `decision` the route it was given, `sender` hears of an error where a local
    process waits for its system call to return. `local` is true for a packet that is or was made by this host.
    """

    __slots__ = ("decision", "dev_in", "dev_out", "local", "number", "packet", "redirect", "sender", "to_host")

    def __init__(self, packet: Packet, number: int, dev_in: str | None = None) -> None:
        self.packet = packet
        self.number = number
        self.dev_in = dev_in
        self.dev_out: str | None = None
        self.decision: Decision | None = None
        self.local = False
        self.redirect = False
        self.to_host = True  # addressed to one host: neither broadcast nor multicast
        self.sender: Callable[[str, str], None] | None = None

    def refuse(self, errno: str, why: str) -> None:
        """Tell the local process that sent it, if one still waits."""
        if self.sender:
            self.sender(errno, why)
