"""What all parts of one host share: its name, settings and routes, and the pen that writes the journey down."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from netlab.icmp import Error
from netlab.names import DropReason, Hook
from netlab.packet import Packet
from netlab.peers import Peer, Peers
from netlab.route import Route, RouteType
from netlab.route_output import OutputDecision, route_output
from netlab.routing import Fib
from netlab.skb import Skb
from netlab.sysctls import Sysctls
from netlab.trace import Dropped, Event, Noted, Routed
from netlab.trace import Refused as SendRefused
from netlab.wires import Wires

if TYPE_CHECKING:
    from netlab.hooks import HookFunction, Registered

DEFAULT_MTU: Final = 1500  # bytes, of Ethernet
LOOPBACK_MTU: Final = 65536
DAY: Final = 86_400_000  # milliseconds
TICK: Final = 4  # milliseconds: one at HZ=250, as most distributions build the kernel


class Machine:
    """The state of one host that has no module of its own, and short ways to say what happened to a packet."""

    def __init__(self, name: str, interfaces: Iterable[str], mtu: Mapping[str, int], wires: Wires) -> None:
        devices = list(interfaces)
        self.name = name
        self.wires = wires
        self.sysctls = Sysctls(devices)
        self.fib = Fib(devices)
        self.mtu = {"lo": LOOPBACK_MTU, **dict.fromkeys(devices, DEFAULT_MTU), **mtu}
        self._peers = Peers()
        self._last_ip_id = 0

    def arrive(self, dev: str, packet: Packet, number: int, looped: Skb | None = None, to_all: bool = False) -> None:
        """A frame comes in; `looped` is this host's own, with its route, `to_all`: it is not for this host alone."""
        raise NotImplementedError

    def register(
        self, hook: Hook | str, function: "HookFunction", priority: int = 0, name: str | None = None
    ) -> "Registered":
        """Have a function called for every packet on that hook."""
        raise NotImplementedError

    def report(self, error: Error, skb: Skb) -> None:
        """Tell the sender of a packet what went wrong with it, where that is allowed (icmp_send)."""
        raise NotImplementedError

    def local_out(self, skb: Skb, decision: OutputDecision, by: str) -> None:
        """Send a packet made here by the route that was found for it (ip_local_out)."""
        raise NotImplementedError

    def owns(self, address: int) -> bool:
        """Whether it answers ARP for this address."""
        return self.fib.owner(address) is not None

    def default_ttl(self) -> int:
        """The ttl of packets made here."""
        return self.sysctls.get("net.ipv4.ip_default_ttl")

    def next_ip_id(self) -> int:
        """An IP id for a packet made here, so that the fragments of two do not mix; the kernel's start at random."""
        self._last_ip_id = self._last_ip_id % 0xFFFF + 1
        return self._last_ip_id

    def now(self) -> float:
        """The time in milliseconds. A step takes no time on the clock; yet the kernel's ticks between two go by."""
        return self.wires.clock.now * 1000 + self.wires.steps * TICK

    def time_of_day(self) -> int:
        """Milliseconds since midnight UT, the time in ICMP messages and IP options."""
        return int(self.now()) % DAY

    def is_other(self, address: int) -> bool:
        """Whether it is a unicast address, and none of this host's own."""
        return self.fib.address_type(address) is RouteType.UNICAST

    def peer(self, address: int) -> Peer:
        """The account of errors sent to that address."""
        return self._peers.of(address, self.now())

    def mtu_of(self, dev: str, route: Route | None) -> int:
        """The largest packet in bytes that leaves whole; a route's own MTU counts, be it the larger one."""
        return route.mtu if route is not None and route.mtu else self.mtu[dev]

    def source_for(self, destination: int) -> int:
        """The address that a local socket takes towards that destination; 0 where there is no route."""
        return route_output(self.fib, self.sysctls, dst=destination).source

    # ---------------------------------------------------------------- the pen

    def write(self, event: Event) -> None:
        """Write an event down, if anybody wants to read it."""
        if record := self.wires.record:
            record(event)

    def drop(self, skb: Skb, reason: DropReason, why: str) -> None:
        """The end of a packet (kfree_skb_reason)."""
        self.write(Dropped(skb.number, self.name, reason, skb.packet, why))

    def note(self, skb: Skb, text: str) -> None:
        """Something worth telling."""
        self.write(Noted(skb.number, self.name, text))

    def refuse(self, skb: Skb, errno: str, why: str) -> None:
        """The local sender's system call fails."""
        self.write(SendRefused(skb.number, self.name, errno, why))

    def routed(self, skb: Skb, decision: OutputDecision) -> None:
        """A route was looked up."""
        self.write(Routed(skb.number, self.name, skb.packet, decision))
