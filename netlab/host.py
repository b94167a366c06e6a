"""One machine: the way of a packet through it, in the kernel's order.

    arrive -> PRE_ROUTING -> route lookup -+-> reassembly -> LOCAL_IN -> sockets
                                           |
                                           +-> TTL, MTU, redirect -> FORWARD -+
                                                                              +-> POST_ROUTING -> fragment -> out
    sockets -> route lookup -> LOCAL_OUT -------------------------------------+

What each part does stands in its own module; here they are wired together, and nothing else. The methods follow
ip_rcv, ip_rcv_finish, ip_local_deliver, ip_forward, ip_output and icmp_send of net/ipv4.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, Final

from netlab.addresses import InterfaceAddress
from netlab.conntrack.ftp import choose
from netlab.conntrack.track import Conntrack
from netlab.hooks import HookFunction, Hooks, Registered, Walk, queue_number
from netlab.html import html_table
from netlab.icmp import Error
from netlab.ip_input import IpInput
from netlab.ip_output import IpOutput
from netlab.machine import LOOPBACK_MTU, Machine
from netlab.names import DropReason, Hook, NetlabError, Priority
from netlab.nat.nat import Nat
from netlab.packet import MalformedPacket, Packet
from netlab.passage import Passage
from netlab.queue import NfQueue
from netlab.route import MAIN
from netlab.route_output import OutputDecision
from netlab.route_text import parse_route, parse_rule
from netlab.skb import Skb
from netlab.sockets import Sockets
from netlab.trace import Dropped, Trace
from netlab.wires import Wires

if TYPE_CHECKING:
    from netlab.iptables.extension import Variant
    from netlab.iptables.firewall import Firewall
    from netlab.iptables.sets import Sets

MIN_MTU: Final = 68  # bytes: every IPv4 link must carry that much (RFC 791)
CURRENT: Final = (6, 18)
LAST_OLD: Final = (4, 9)  # the last kernel in which a hook function itself could answer REPEAT
FIRST_WITHOUT_GLOBAL_HOOKS: Final = (4, 13)


class Host(Machine):
    """A machine with interfaces, routes, settings, hook functions and sockets.

        router = Host("router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, sysctls={"net.ipv4.ip_forward": 1})
        print(router.receive("eth0", Packet.udp("10.0.1.2", "10.0.2.2", 5000, 53)))

    Args:
        interfaces: addresses with prefix length by interface, one or a list; `lo` is always there.
        routes, rules: in the words of `ip route add` and `ip rule add`.
        listen: sockets that wait for somebody, like `tcp/80`.
        mtu: in bytes, for interfaces other than Ethernet's 1500.
        conntrack: `on` tracks connections from the start; `auto` when a rule needs it, as the kernel does.
        iptables: rules, as iptables-save prints them.
        variant: which iptables loads them, `nft` or `legacy`.
        kernel: the Linux that the host claims to be; up to 4.9 a hook function could answer REPEAT and STOP.

    Raises:
        NetlabError: anything among them that the kernel would refuse.
    """

    def __init__(
        self,
        name: str,
        interfaces: Mapping[str, str | Iterable[str]] | None = None,
        *,
        routes: Iterable[str] = (),
        rules: Iterable[str] = (),
        sysctls: Mapping[str, int] | None = None,
        listen: Iterable[str] = (),
        mtu: Mapping[str, int] | None = None,
        conntrack: str = "auto",
        iptables: str = "",
        variant: "Variant" = "nft",
        kernel: tuple[int, int] = CURRENT,
        wires: Wires | None = None,
    ) -> None:
        given = {
            _device(dev): _several(f"the addresses of {dev}", addresses)
            for dev, addresses in _mapping("interfaces", interfaces).items()
        }
        super().__init__(_host_name(name), given, _mtus(mtu, given), wires or Wires())
        self.kernel = _version(kernel)
        for sysctl, value in _mapping("sysctls", sysctls).items():
            self.sysctls.set(sysctl, value)
        for dev, addresses in given.items():
            for address in addresses:
                self.fib.add_address(dev, InterfaceAddress.parse(address))
        for route in _several("routes", routes):
            self.fib.add(parse_route(route))
        for rule in _several("rules", rules):
            self.fib.add_rule(parse_rule(rule))
        self._queues: dict[int, NfQueue] = {}
        self._defrag: list[Registered] = []
        self._tracking: list[Registered] = []
        self.conntrack: Conntrack | None = None
        self._nat: Nat | None = None
        self.hooks = Hooks(name, self.wires, changed=self._changed, enqueue=self._enqueue, old=kernel <= LAST_OLD)
        self._output = IpOutput(self, self.hooks)
        self.sockets = Sockets(self, self._output)
        self._input = IpInput(self, self.hooks, self._output, self.sockets.deliver)
        self._passage = Passage(self, self.hooks, self._input, self._output)
        if conntrack not in ("auto", "on"):
            raise NetlabError(f"conntrack: {conntrack!r} is neither 'auto' nor 'on'")
        self._always_tracks = conntrack == "on"
        if self._always_tracks:
            self.track()
        self.variant = variant
        if iptables:
            self.firewall.restore(iptables)
        for socket in _several("listen", listen):
            self.sockets.listen(socket)

    # ---------------------------------------------------------------- what a user does with it

    def receive(self, dev: str, packet: Packet | bytes) -> Trace:
        """Let a frame come in by that interface, and return all that follows.

        Raises:
            NetlabError: there is no such interface.
        """
        if not self.wires.recording and self._passage.take(dev, packet):
            return self.wires.unrecorded.trace
        self._known(dev)
        try:
            found = packet if isinstance(packet, Packet) else Packet.from_bytes(packet)
        except MalformedPacket as problem:
            return self._receive_broken(dev, bytes(packet), problem)
        with self.wires.step("{} into {}:{}", found, self.name, dev) as trace:
            self._input.arrive(dev, found, self.wires.new_number())
        return trace

    def _receive_broken(self, dev: str, data: bytes, problem: MalformedPacket) -> Trace:
        with self.wires.step(f"{len(data)} bytes into {self.name}:{dev}") as trace:
            if record := self.wires.record:
                record(Dropped(self.wires.new_number(), self.name, problem.reason, None, str(problem)))
        return trace

    def send(self, packet: Packet | bytes) -> Trace:
        """Let a local process send this very packet, and return all that follows.

        The process uses a raw socket with IP_HDRINCL (raw(7)), so the kernel fills in a source of 0.0.0.0, an id of 0,
        total length and checksum, and looks the route up by destination and mark alone. `trace.errno` says when the
        system call failed.

        Raises:
            MalformedPacket: bytes too broken for the kernel to take.
        """
        if not isinstance(packet, Packet):
            packet = Packet.from_bytes(_with_total_length(packet))
        with self.wires.step("{} from {}", packet, self.name) as trace:
            self._output.send_raw(packet._replace(checksum=None))
        return trace

    def register(
        self, hook: Hook | str, function: HookFunction, priority: int = 0, name: str | None = None
    ) -> Registered:
        """Have `function(packet, state)` called for every packet on that hook: see `Hooks.register`."""
        return self.hooks.register(hook, function, priority, name)

    def unregister(self, entry: Registered) -> None:
        """Have it called no more."""
        self.hooks.unregister(entry)

    nf_register_net_hook = register
    nf_unregister_net_hook = unregister

    def nf_register_hook(
        self, hook: Hook | str, function: HookFunction, priority: int = 0, name: str | None = None
    ) -> Registered:
        """The same in kernels before 4.13, where a function was registered for every network namespace at once.

        Raises:
            NetlabError: this host's kernel no longer has it.
        """
        if self.kernel >= FIRST_WITHOUT_GLOBAL_HOOKS:
            version = ".".join(map(str, self.kernel))
            raise NetlabError(f"Linux {version} has no nf_register_hook (gone since 4.13): use nf_register_net_hook")
        return self.register(hook, function, priority, name)

    def queue(self, number: int = 0) -> NfQueue:
        """The queue with that number, for a program to bind to.

        Raises:
            NetlabError: not a number from 0 to 65535.
        """
        if queue_number(number) not in self._queues:
            self._queues[number] = NfQueue(number, self.name, self.wires, self.hooks.resume)
        return self._queues[number]

    def defragment(self, on: bool = True) -> None:
        """Put fragments together in front of PRE_ROUTING and LOCAL_OUT, as conntrack needs it while it is active."""
        if on and not self._defrag:
            self._defrag = [
                self.register(hook, self._input.gather, Priority.CONNTRACK_DEFRAG, "ipv4_conntrack_defrag")
                for hook in (Hook.PRE_ROUTING, Hook.LOCAL_OUT)
            ]
        elif not on:
            while self._defrag:
                self.unregister(self._defrag.pop())

    def track(self) -> Conntrack:
        """Switch connection tracking on, as the first rule that needs it does (nf_ct_netns_get)."""
        if self.conntrack is None:
            self.conntrack = Conntrack(self)
        if not self._tracking:
            self.defragment()
            self.conntrack.resume()
            places: list[tuple[Hook, HookFunction, int, str]] = [
                (Hook.PRE_ROUTING, self.conntrack.track, Priority.CONNTRACK, "nf_conntrack_in"),
                (Hook.LOCAL_OUT, self.conntrack.track, Priority.CONNTRACK, "nf_conntrack_in"),
                (Hook.LOCAL_IN, self.conntrack.confirm, Priority.CONNTRACK_CONFIRM, "nf_confirm"),
                (Hook.POST_ROUTING, self.conntrack.confirm, Priority.CONNTRACK_CONFIRM, "nf_confirm"),
            ]
            self._tracking = [self.register(*place) for place in places]
        return self.conntrack

    def untrack(self) -> None:
        """Switch it off, as the last rule that needed it does when it goes (nf_ct_netns_put). The entries stay."""
        if self._tracking:
            self.defragment(False)
        while self._tracking:
            self.unregister(self._tracking.pop())

    def _track_for_rules(self, needed: bool) -> Conntrack | None:
        """Track connections if rules need it; the tracker, if anything does."""
        if needed or self._always_tracks:
            return self.track()
        self.untrack()
        return None

    def nat(self) -> Nat:
        """Address translation, for which connections are tracked. It translates while a nat table is attached to it."""
        tracker = self.track()
        if self._nat is None:
            self._nat = Nat(self, tracker)
        return self._nat

    @cached_property
    def firewall(self) -> "Firewall":
        """The rules of this host, and what they share. Its modules are many, and imported when it is first used."""
        from netlab.iptables.firewall import Firewall

        return Firewall(self, self.hooks, track=self._track_for_rules, nat=self.nat, variant=self.variant)

    @property
    def has_firewall(self) -> bool:
        """Whether anybody has asked for its rules yet; before that there are none."""
        return "firewall" in self.__dict__

    @property
    def sets(self) -> "Sets":
        """The sets of `ipset`, which rules can ask."""
        return self.firewall.sets

    def assign_helper(self, helper: str, dport: int = 21) -> list[Registered]:
        """Have a conntrack helper read the TCP flows to that port, as a rule in the table raw does.

            iptables -t raw -A PREROUTING -p tcp --dport 21 -j CT --helper ftp

        No helper reads a flow unasked (since Linux 6.0). Returns what `unregister` takes, one for each hook.

        Raises:
            NetlabError: there is no such helper.
        """
        function = choose(helper, dport)
        self.track()
        return [
            self.register(hook, function, Priority.RAW, f"CT --helper {helper}")
            for hook in (Hook.PRE_ROUTING, Hook.LOCAL_OUT)
        ]

    def tick(self) -> None:
        """Do what has fallen due now that the clock has moved: forget fragments and flows that are late."""
        self._input.give_up_fragments()
        if self.conntrack is not None:
            self.conntrack.collect()

    def arrive(self, dev: str, packet: Packet, number: int, looped: Skb | None = None, to_all: bool = False) -> None:
        """A frame out of a link or out of `lo`, within a step: what `receive` and the wires call."""
        self._input.arrive(dev, packet, number, looped, to_all)

    def report(self, error: Error, skb: Skb) -> None:
        """Tell the sender of a packet what went wrong with it: see `IpOutput.report`."""
        self._output.report(error, skb)

    def local_out(self, skb: Skb, decision: OutputDecision, by: str) -> None:
        """Send a packet made here: see `IpOutput.local_out`."""
        self._output.local_out(skb, decision, by)

    def _changed(self, hook: Hook, skb: Skb, before: Packet, reason: DropReason) -> bool:
        return self._output.changed(hook, skb, before, reason)

    def _enqueue(self, walk: Walk, number: int) -> str | None:
        return self._queues[number].take(walk) if number in self._queues else None

    def _known(self, dev: str) -> None:
        if dev not in self.mtu:
            raise NetlabError(f"unknown interface {dev!r} of host {self.name} (it has {', '.join(self.mtu)})")

    # ---------------------------------------------------------------- showing it

    def _addresses(self, dev: str) -> str:
        return ", ".join(str(InterfaceAddress(a.address, a.length)) for a in self.fib.addresses(dev)) or "no address"

    def __repr__(self) -> str:
        addresses = ", ".join(f"{dev} {self._addresses(dev)}" for dev in self.mtu if dev != "lo")
        return f"<Host {self.name}: {addresses}>"

    def _repr_html_(self) -> str:
        rows = ((dev, self._addresses(dev), mtu) for dev, mtu in self.mtu.items())
        routes = escape(str(self.fib.table(MAIN)))
        return (
            html_table(rows, ("interface", "addresses", "MTU"), self.name, named=True)
            + f"<p>Routes (table main)</p><pre>{routes or 'none'}</pre><p>Hook functions</p>{self.hooks._repr_html_()}"
        )


# ---------------------------------------------------------------- what a host is made of, checked

_HOST = re.compile(r"[^\s:]+")
_DEVICE = re.compile(r"(?!\.\.?$)[^\s/:]{1,15}")


def _mapping(what: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping | None):
        raise NetlabError(f"{what}: a dict is expected, not {value!r}")
    return value or {}


def _several(what: str, value: Any) -> list[str]:
    """One text, or several."""
    found: list[Any] = [value] if isinstance(value, str) else list(value) if isinstance(value, Iterable) else [None]
    if not all(isinstance(one, str) for one in found):
        raise NetlabError(f"{what}: text or a list of texts is expected, not {value!r}")
    return found


def _host_name(name: Any) -> str:
    if not isinstance(name, str) or not _HOST.fullmatch(name):
        raise NetlabError(f"{name!r} is no name for a host: text without spaces and colons is")
    return name


def _device(dev: Any) -> str:
    """As the kernel has it (dev_valid_name)."""
    if not isinstance(dev, str) or not _DEVICE.fullmatch(dev):
        raise NetlabError(f"{dev!r} is no name for an interface: at most 15 letters without spaces, / and : are")
    return dev


def _mtus(mtu: Any, devices: Iterable[str]) -> dict[str, int]:
    known = ("lo", *devices)
    for dev, size in _mapping("mtu", mtu).items():
        if dev not in known:
            raise NetlabError(f"mtu: unknown interface {dev!r} (there are {', '.join(known)})")
        if not isinstance(size, int) or not MIN_MTU <= size <= LOOPBACK_MTU:
            raise NetlabError(f"mtu of {dev}: {size!r} is not a number from {MIN_MTU} to {LOOPBACK_MTU}")
    return dict(mtu or {})


def _version(kernel: Any) -> tuple[int, int]:
    if not isinstance(kernel, tuple) or [type(part) for part in kernel] != [int, int]:
        raise NetlabError(f"kernel: {kernel!r} is not a version like (6, 18)")
    return kernel


def _with_total_length(data: bytes) -> bytes:
    """A raw socket writes the total length itself (raw_send_hdrinc)."""
    if not isinstance(data, bytes) or not 4 <= len(data) <= 0xFFFF:
        return data
    return data[:2] + len(data).to_bytes(2, "big") + data[4:]
