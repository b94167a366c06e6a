"""One machine: the way of a packet through it, in the kernel's order.

    arrive -> PRE_ROUTING -> route lookup -+-> reassembly -> LOCAL_IN -> sockets
                                           |
                                           +-> TTL, MTU, redirect -> FORWARD -+
                                                                              +-> POST_ROUTING -> fragment -> out
    sockets -> route lookup -> LOCAL_OUT -------------------------------------+

What each part does stands in its own module; here they are wired together, and nothing else. The methods follow
ip_rcv, ip_rcv_finish, ip_local_deliver, ip_forward, ip_output and icmp_send of net/ipv4.
"""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Final

from netlab import icmp
from netlab.addresses import InterfaceAddress, format_address
from netlab.fragments import Reassembled, Reassembly, fragment
from netlab.fragments import Refused as FragmentRefused
from netlab.hooks import HookFunction, Hooks, HookState, Registered, Walk
from netlab.martians import ALL_HOSTS, InputDecision, InputKind, route_input
from netlab.names import DropReason, Hook, NetlabError, Priority, Verdict
from netlab.packet import DF, MF, OFFSET, MalformedPacket, Packet
from netlab.peers import Peer, Peers
from netlab.queue import NfQueue
from netlab.route import MAIN, RouteType
from netlab.route_text import parse_route, parse_rule
from netlab.routing import Decision, Fib
from netlab.skb import Skb
from netlab.sockets import Sockets
from netlab.sysctls import Sysctls
from netlab.trace import Dropped, Emitted, Logged, Noted, Received, Refused, Routed, Sent, Trace
from netlab.wires import Wires

DEFAULT_MTU: Final = 1500  # bytes, of Ethernet
LOOPBACK_MTU: Final = 65536
CURRENT: Final = (6, 18)
LAST_OLD: Final = (4, 9)  # the last kernel in which a hook function itself could answer REPEAT
FIRST_WITHOUT_GLOBAL_HOOKS: Final = (4, 13)
MAX_REMEMBERED: Final = 65536  # input decisions kept between two changes of the routes


class Host:
    """A machine with interfaces, routes, settings, hook functions and sockets.

        router = Host("router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, sysctls={"net.ipv4.ip_forward": 1})
        print(router.receive("eth0", Packet.udp("10.0.1.2", "10.0.2.2", 5000, 53)))

    Args:
        interfaces: addresses with prefix length by interface, one or a list; `lo` is always there.
        routes, rules: in the words of `ip route add` and `ip rule add`.
        listen: sockets that wait for somebody, like `tcp/80`.
        mtu: in bytes, for interfaces other than Ethernet's 1500.
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
        kernel: tuple[int, int] = CURRENT,
        wires: Wires | None = None,
    ) -> None:
        self.name = name
        self.wires = wires or Wires()
        given = {
            dev: [addresses] if isinstance(addresses, str) else list(addresses)
            for dev, addresses in (interfaces or {}).items()
        }
        self.sysctls = Sysctls(given)
        for sysctl, value in (sysctls or {}).items():
            self.sysctls.set(sysctl, value)
        self.fib = Fib(given)
        for dev, addresses in given.items():
            for address in addresses:
                self.fib.add_address(dev, InterfaceAddress.parse(address))
        for route in routes:
            self.fib.add(parse_route(route))
        for rule in rules:
            self.fib.add_rule(parse_rule(rule))
        self.mtu = {"lo": LOOPBACK_MTU, **dict.fromkeys(given, DEFAULT_MTU), **(mtu or {})}
        self.hooks = Hooks(name, self.wires, changed=self._changed, enqueue=self._enqueue, old=kernel <= LAST_OLD)
        self.kernel = kernel
        self.sockets = Sockets(self)
        for socket in listen:
            self.sockets.listen(socket)
        self._peers = Peers()
        self._queues: dict[int, NfQueue] = {}
        self._reassembly = Reassembly()
        self._defrag: list[Registered] = []
        self._remembered: dict[tuple[int, int, str, int, int, int], InputDecision] = {}
        self._remembered_for: tuple[object, int] | None = None

    # ---------------------------------------------------------------- what a user does with it

    def receive(self, dev: str, packet: Packet | bytes) -> Trace:
        """Let a frame come in by that interface, and return all that follows.

        Raises:
            NetlabError: there is no such interface.
        """
        self._known(dev)
        try:
            found = packet if isinstance(packet, Packet) else Packet.from_bytes(packet)
        except MalformedPacket as problem:
            return self._receive_broken(dev, bytes(packet), problem)
        with self.wires.step(f"{found} into {self.name}:{dev}") as trace:
            self.arrive(dev, found, self.wires.new_number())
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
            packet = Packet.from_bytes(packet)
        with self.wires.step(f"{packet} from {self.name}") as trace:
            self._send_raw(packet._replace(checksum=None))
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
        """The queue with that number, for a program to bind to."""
        if number not in self._queues:
            self._queues[number] = NfQueue(number, self.name, self.wires, self.hooks.resume)
        return self._queues[number]

    def defragment(self, on: bool = True) -> None:
        """Put fragments together in front of PRE_ROUTING and LOCAL_OUT, as conntrack needs it while it is active."""
        if on and not self._defrag:
            self._defrag = [
                self.register(hook, self._gather, Priority.CONNTRACK_DEFRAG, "ipv4_conntrack_defrag")
                for hook in (Hook.PRE_ROUTING, Hook.LOCAL_OUT)
            ]
        elif not on:
            while self._defrag:
                self.unregister(self._defrag.pop())

    def tick(self) -> None:
        """Do what has fallen due now that the clock has moved: give up on fragments that never became whole."""
        for expired in self._reassembly.expire(self.wires.clock.now):
            if expired.first is None:
                continue
            skb = Skb(expired.first, self.wires.new_number(), expired.dev)
            self.report(icmp.Error(icmp.TIME_EXCEEDED, 1), skb)
            self.drop(skb, DropReason.FRAG_REASM_TIMEOUT, "the other fragments never came")

    def source_for(self, destination: int) -> int:
        """The address that a local socket takes towards that destination; 0 where there is no route."""
        route = self.fib.lookup(destination).route
        return self.fib.source_of(route) if route else 0

    def owns(self, address: int) -> bool:
        """Whether it answers ARP for this address."""
        return self.fib.owner(address) is not None

    # ---------------------------------------------------------------- coming in

    def arrive(self, dev: str, packet: Packet, number: int, looped: bool = False) -> None:
        """A frame out of the wire, or out of `lo` with the route of its sending side (ip_rcv)."""
        if record := self.wires.record:
            record(Received(number, self.name, dev, packet))
        skb = Skb(packet, number, dev)
        skb.looped = looped
        if packet.checksum is not None:
            self.drop(skb, DropReason.IP_CSUM, "the header checksum is wrong")
            return
        self.hooks.run(Hook.PRE_ROUTING, skb, dev, None, self._route)

    def _route(self, skb: Skb) -> None:
        """After PRE_ROUTING: what kind of packet is it (ip_rcv_finish)?"""
        if skb.looped:
            self._deliver(skb)
            return
        found = self._decide(skb)
        skb.decision = found.decision
        skb.unicast = found.kind in (InputKind.LOCAL, InputKind.FORWARD, InputKind.UNREACHABLE)
        if record := self.wires.record:
            record(Routed(skb.number, self.name, skb.packet, found))
            for line in found.log:
                record(Logged(skb.number, self.name, line))
        if found.kind is InputKind.FORWARD:
            skb.redirect = found.do_redirect
            self._forward(skb)
        elif found.reason is None:
            self._deliver(skb)
        else:
            if found.icmp and self._peer(skb.packet.saddr).allows_unreachable(self._now()):
                self.report(icmp.Error(*found.icmp), skb)
            self.drop(skb, found.reason, found.lock)

    def _decide(self, skb: Skb) -> InputDecision:
        """The input decision, remembered until routes or settings change."""
        packet = skb.packet
        assert skb.dev_in is not None
        state = self.fib.plan, self.sysctls.version
        if self._remembered_for != state or len(self._remembered) > MAX_REMEMBERED:
            self._remembered.clear()
            self._remembered_for = state
        question = packet.saddr, packet.daddr, skb.dev_in, packet.tos, packet.mark, packet.proto
        found = self._remembered.get(question)
        if found is None:
            found = self._remembered[question] = route_input(
                self.fib,
                self.sysctls,
                src=packet.saddr,
                dst=packet.daddr,
                iif=skb.dev_in,
                tos=packet.tos,
                mark=packet.mark,
                protocol=packet.proto,
            )
        return found

    def _deliver(self, skb: Skb) -> None:
        """For this host: whole packets only (ip_local_deliver)."""
        if not skb.packet.frag & (MF | OFFSET) or self._reassemble(skb):
            self.hooks.run(Hook.LOCAL_IN, skb, skb.dev_in, None, self.sockets.deliver)

    def _reassemble(self, skb: Skb) -> bool:
        """Whether the packet is whole now; if not, it is kept for the others, or dropped."""
        assert skb.dev_in is not None
        patience = self.sysctls.get("net.ipv4.ipfrag_time")
        found = self._reassembly.add(skb.packet, skb.dev_in, self.wires.clock.now, patience)
        if isinstance(found, Reassembled):
            skb.packet, skb.pieces = found
            self._note(skb, f"reassembled from {len(found.pieces)} fragments: {found.packet}")
            return True
        if isinstance(found, FragmentRefused):
            self.drop(skb, found.reason, found.why)
        else:
            self._note(skb, "kept until the other fragments come")
        return False

    def _gather(self, packet: Packet, state: HookState) -> Verdict | tuple[Verdict, Packet]:
        """The hook function of conntrack's defragmentation: steals fragments, hands on the whole packet."""
        if not packet.is_fragment:
            return Verdict.ACCEPT
        patience = self.sysctls.get("net.ipv4.ipfrag_time")
        found = self._reassembly.add(packet, state.dev_in or "lo", self.wires.clock.now, patience)
        if not isinstance(found, Reassembled):
            return Verdict.STOLEN
        state.skb.pieces = found.pieces
        return Verdict.ACCEPT, found.packet

    # ---------------------------------------------------------------- passing through

    def _forward(self, skb: Skb) -> None:
        """For somebody else (ip_forward): the checks, one hop less to live, and out by FORWARD."""
        packet, decision = skb.packet, skb.decision
        assert decision is not None and decision.route is not None and decision.route.dev is not None
        if packet.ttl <= 1:
            self.report(icmp.Error(icmp.TIME_EXCEEDED, 0), skb)
            self.drop(skb, DropReason.IP_INHDR, f"its ttl of {packet.ttl} does not last for another hop")
            return
        mtu = self._mtu(decision)
        if packet.frag & DF and packet.length > mtu and (not skb.pieces or max(skb.pieces) > mtu):
            self.report(icmp.Error(icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, mtu), skb)
            self.drop(
                skb,
                DropReason.PKT_TOO_BIG,
                f"{packet.length} bytes do not fit {mtu}, and DF forbids fragments",
            )
            return
        skb.packet = packet._replace(ttl=packet.ttl - 1)
        skb.dev_out = decision.route.dev
        if skb.redirect and self._peer(packet.saddr).allows_redirect(self._now()):
            assert decision.next_hop is not None
            self.report(icmp.Error(icmp.REDIRECT, 1, decision.next_hop), skb)
        self.hooks.run(Hook.FORWARD, skb, skb.dev_in, skb.dev_out, self._output)

    # ---------------------------------------------------------------- going out

    def emit(self, packet: Packet, by: str, source: int = 0) -> None:
        """Send a packet that the kernel or a socket of this host made (ip_queue_xmit, ip_push_pending_frames).

        `source` is the address the socket is bound to, which rules may ask for; a source of 0 is filled in.
        """
        skb = Skb(packet, self.wires.new_number())
        self._local_out(skb, self.fib.lookup(packet.daddr, src=source, mark=packet.mark, tos=packet.tos), by)

    def _send_raw(self, packet: Packet) -> None:
        skb = Skb(packet, self.wires.new_number())
        skb.sender = lambda errno, why: self._refuse(skb, errno, why)
        decision = self.fib.lookup(packet.daddr, mark=packet.mark)
        if decision.route is not None and packet.length > self._mtu(decision):
            self._refuse(skb, "EMSGSIZE", f"{packet.length} bytes do not fit the interface's {self._mtu(decision)}")
        else:
            self._local_out(skb, decision, "a local process")

    def _local_out(self, skb: Skb, decision: Decision, by: str) -> None:
        """The way from the route lookup to LOCAL_OUT (__ip_local_out)."""
        record = self.wires.record
        if decision.route is None:
            if record:
                record(Routed(skb.number, self.name, skb.packet, decision))
            skb.refuse(decision.errno or "ENETUNREACH", str(decision))
            return
        if not skb.packet.saddr:
            skb.packet = skb.packet.with_(src=self.fib.source_of(decision.route))
        if record:
            record(Emitted(skb.number, self.name, skb.packet, by))
            record(Routed(skb.number, self.name, skb.packet, decision))
        self._take_route(skb, decision)
        self.hooks.run(Hook.LOCAL_OUT, skb, None, skb.dev_out, self._output)

    def _take_route(self, skb: Skb, decision: Decision) -> None:
        """Out by the route's interface; an own address lies behind `lo`, whatever interface holds it."""
        assert decision.route is not None
        skb.decision = decision
        skb.dev_out = "lo" if decision.route.type is RouteType.LOCAL else decision.route.dev

    def _changed(self, walk: Walk, before: Packet) -> bool:
        """A hook function handed on another packet: does it need another route?

        In LOCAL_OUT what iptables' mangle and nat tables change is routed again at once (ip_route_me_harder); in
        PRE_ROUTING the lookup is still to come, unless the packet brought its route along over `lo`. In the other hooks
        the decision has been made, and stays. False where the packet ended here.
        """
        skb, packet = walk.skb, walk.skb.packet
        if walk.hook is Hook.PRE_ROUTING:
            skb.looped = skb.looped and packet.daddr == before.daddr
        moved = (packet.saddr, packet.daddr, packet.tos, packet.mark) != (
            before.saddr, before.daddr, before.tos, before.mark,
        )  # fmt: skip
        if walk.hook is not Hook.LOCAL_OUT or not moved:
            return True
        decision = self.fib.lookup(packet.daddr, src=packet.saddr, mark=packet.mark, tos=packet.tos)
        if record := self.wires.record:
            record(Routed(skb.number, self.name, packet, decision))
        if decision.route is None:
            self.drop(skb, DropReason.NETFILTER_DROP, f"changed, and no route for it any more: {decision}")
            skb.refuse(decision.errno or "ENETUNREACH", str(decision))
            return False
        self._take_route(skb, decision)
        return True

    def _output(self, skb: Skb) -> None:
        """Out of the host by POST_ROUTING (ip_output); this host hears its own broadcasts too (ip_mc_output)."""
        daddr = skb.packet.daddr
        if skb.dev_in is None and skb.dev_out != "lo" and self._heard_here(skb, daddr):
            copy = Skb(skb.packet, skb.number)
            copy.decision, copy.dev_out = skb.decision, skb.dev_out
            self.hooks.run(Hook.POST_ROUTING, copy, None, copy.dev_out, self._loop_back)
        self.hooks.run(Hook.POST_ROUTING, skb, skb.dev_in, skb.dev_out, self._finish_output)

    def _heard_here(self, skb: Skb, daddr: int) -> bool:
        assert skb.decision is not None and skb.decision.route is not None
        return skb.decision.route.type is RouteType.BROADCAST or daddr in (ALL_HOSTS, 0xFFFFFFFF)

    def _loop_back(self, skb: Skb) -> None:
        assert skb.dev_out is not None
        self.wires.carry(self, skb.dev_out, skb.packet, skb.number, looped=True)

    def _finish_output(self, skb: Skb) -> None:
        """Cut it to the interface's size if need be, and let it go (ip_finish_output)."""
        assert skb.decision is not None
        packet, mtu = skb.packet, self._mtu(skb.decision)
        if packet.length <= mtu and not skb.pieces:
            self._transmit(skb, packet, skb.number)
            return
        if packet.frag & DF and not skb.pieces:
            self.report(icmp.Error(icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, mtu), skb)
            self.drop(
                skb,
                DropReason.PKT_TOO_BIG,
                f"{packet.length} bytes do not fit {mtu}, and DF forbids fragments",
            )
            return
        for piece in fragment(packet, mtu, skb.pieces):
            self._transmit(skb, piece, self.wires.new_number())

    def _transmit(self, skb: Skb, packet: Packet, number: int) -> None:
        """Hand a frame to the link: on an open one every next hop answers, else only the peer's addresses."""
        dev = skb.dev_out
        assert dev is not None and skb.decision is not None
        if dev == "lo":
            self.wires.carry(self, "lo", packet, number, looped=True)
            return
        next_hop = skb.decision.next_hop
        peer = self.wires.peers.get((self.name, dev))
        if peer and next_hop is not None and not self._resolves(skb, peer.host.owns(next_hop)):
            # A real machine asks three times, a second apart, before it gives up; here that takes no time.
            self.report(icmp.Error(icmp.UNREACHABLE, icmp.HOST), skb)
            self.drop(skb, DropReason.NEIGH_FAILED, f"nobody on {dev} answers ARP for {format_address(next_hop)}")
            return
        if record := self.wires.record:
            record(Sent(number, self.name, dev, packet, None if next_hop is None else format_address(next_hop)))
        if peer:
            self.wires.carry(peer.host, peer.dev, packet, number)

    def _resolves(self, skb: Skb, owned: bool) -> bool:
        """Whether ARP finds the next hop; broadcast and multicast need none."""
        daddr = skb.packet.daddr
        return owned or daddr >> 28 == 0xE or self._heard_here(skb, daddr)

    # ---------------------------------------------------------------- errors, drops, settings

    def report(self, error: icmp.Error, skb: Skb) -> None:
        """Tell the sender of a packet what went wrong with it, where that is allowed (icmp_send)."""
        packet = skb.packet
        if not skb.unicast or not icmp.may_be_reported(packet):
            return
        ours = self.fib.address_type(packet.daddr) is RouteType.LOCAL
        saddr = packet.daddr if ours else self._address_for_errors(skb)
        decision = self.fib.lookup(packet.saddr, src=saddr, tos=packet.tos & icmp.TOS_MASK)
        if decision.route is None:
            return
        limited = icmp.LIMITED_TYPES >> error.type & 1 and (error.type, error.code) != (3, 4)
        interval = self.sysctls.get("net.ipv4.icmp_ratelimit")
        if limited and decision.route.dev != "lo" and not self._peer(packet.saddr).allows_icmp(self._now(), interval):
            self._note(skb, "no error is sent: icmp_ratelimit")
            return
        saddr = saddr or self.fib.source_of(decision.route)
        answer = icmp.error_packet(error, packet, saddr, self.default_ttl(), self._mtu(decision))
        self._local_out(Skb(answer, self.wires.new_number()), decision, "the kernel")

    def _address_for_errors(self, skb: Skb) -> int:
        if skb.dev_in and self.sysctls.get("net.ipv4.icmp_errors_use_inbound_ifaddr"):
            return self.fib.select_address(skb.dev_in, skb.packet.saddr)
        return 0

    def drop(self, skb: Skb, reason: DropReason, why: str) -> None:
        """The end of a packet (kfree_skb_reason)."""
        if record := self.wires.record:
            record(Dropped(skb.number, self.name, reason, skb.packet, why))

    def _refuse(self, skb: Skb, errno: str, why: str) -> None:
        if record := self.wires.record:
            record(Refused(skb.number, self.name, errno, why))

    def _note(self, skb: Skb, text: str) -> None:
        if record := self.wires.record:
            record(Noted(skb.number, self.name, text))

    def _enqueue(self, walk: Walk, number: int) -> bool:
        return number in self._queues and self._queues[number].take(walk)

    def _mtu(self, decision: Decision) -> int:
        route = decision.route
        assert route is not None and route.dev is not None
        device = self.mtu["lo" if route.type is RouteType.LOCAL else route.dev]
        return min(route.mtu, device) if route.mtu else device

    def default_ttl(self) -> int:
        """The ttl of packets made here."""
        return self.sysctls.get("net.ipv4.ip_default_ttl")

    def _now(self) -> float:
        return self.wires.clock.now * 1000

    def _peer(self, address: int) -> Peer:
        return self._peers.of(address, self._now())

    def _known(self, dev: str) -> None:
        if dev not in self.mtu:
            raise NetlabError(f"unknown interface {dev!r} of host {self.name} (it has {', '.join(self.mtu)})")

    # ---------------------------------------------------------------- showing it

    def __repr__(self) -> str:
        addresses = ", ".join(
            f"{dev} {'/'.join(str(a) for a in self.fib.addresses(dev)) or 'no address'}"
            for dev in self.mtu
            if dev != "lo"
        )
        return f"<Host {self.name}: {addresses}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th scope=row>{escape(dev)}</th>"
            f"<td>{', '.join(str(a) for a in self.fib.addresses(dev)) or 'no address'}</td><td>{self.mtu[dev]}</td></tr>"
            for dev in self.mtu
        )
        routes = escape(str(self.fib.table(MAIN)))
        functions = escape(str(self.hooks))
        return (
            f"<table><caption>{escape(self.name)}</caption><thead><tr><th scope=col>interface</th>"
            f"<th scope=col>addresses</th><th scope=col>MTU</th></tr></thead><tbody>{rows}</tbody></table>"
            f"<p>Routes (table main)</p><pre>{routes or 'none'}</pre>"
            f"<p>Hook functions</p><pre>{functions or 'none'}</pre>"
        )
