"""Out of a host: what it makes itself, what it passes on, and the errors it tells the senders of (ip_output.c, icmp.c).

emit, send_raw -> route lookup -> LOCAL_OUT -+-> POST_ROUTING -> cut to size -> next hop -> link
forwarded packets ---------------------------+
"""

from functools import partial
from typing import Final

from netlab import icmp
from netlab.addresses import format_address
from netlab.fragments import fragment
from netlab.hooks import Hooks
from netlab.ip_options import NOTHING, locate, reply_to
from netlab.machine import Machine
from netlab.martians import ALL_HOSTS, is_multicast
from netlab.names import DropReason, Hook, Proto
from netlab.packet import DF, Packet
from netlab.route import RouteType
from netlab.route_output import OutputDecision, route_output
from netlab.skb import Skb
from netlab.stamping import check_again
from netlab.trace import Emitted, Logged, Sent

_SHARED_BY_PIECES: Final = ("decision", "dev_out", "options", "unicast", "ct", "direction", "ctstate")
"""What a fragment has of the packet that it was cut from (ip_copy_metadata)."""
_POST_ROUTING = Hook.POST_ROUTING  # to look it up in the enum for every packet takes ten times as long


class IpOutput:
    """The sending side of one host."""

    def __init__(self, host: Machine, hooks: Hooks) -> None:
        self.host = host
        self._hooks = hooks
        self._icmp_sends = False  # the kernel's one socket for ICMP is busy with an answer or an error (icmp_xmit_lock)
        self._waiting: dict[tuple[str, int], list[Skb]] = {}  # for next hops, by interface and address

    # ---------------------------------------------------------------- made here

    def emit(self, packet: Packet, by: str, source: int = 0, *, awaited: bool = False, unsummed: bool = False) -> None:
        """Send a packet that the kernel or a socket of this host made (ip_queue_xmit, ip_push_pending_frames).

        `source` is the address the socket is bound to, which rules may ask for; a source of 0 is filled in. `awaited`:
        a program waits for its system call to return, and hears the errno if it fails. `unsummed`: its checksum is
        left to the device.
        """
        skb = Skb(packet, self.host.wires.new_number())
        skb.unsummed = unsummed
        if packet.options:
            skb.options = locate(packet.options)
        if awaited:
            skb.sender = lambda errno, why: self.host.refuse(skb, errno, why)
        decision = self._route(packet.daddr, source, packet)
        if not packet.daddr:  # 0.0.0.0 is this host; only who writes his own headers can leave it in there
            skb.packet = packet.with_(dst=decision.dst)
        self.local_out(skb, decision, by)

    def send_raw(self, packet: Packet) -> None:
        """Send a packet as a raw socket with IP_HDRINCL does (raw_send_hdrinc): see `Host.send`."""
        skb = Skb(packet, self.host.wires.new_number())
        skb.sender = lambda errno, why: self.host.refuse(skb, errno, why)
        decision = route_output(self.host.fib, self.host.sysctls, dst=packet.daddr, mark=packet.mark)
        if decision.dev is not None and packet.length > (mtu := self.host.mtu[decision.dev]):
            self.host.refuse(skb, "EMSGSIZE", f"{packet.length} bytes do not fit the interface's {mtu}")
        else:
            self.local_out(skb, decision, "a local process")

    def _route(self, destination: int, source: int, packet: Packet, *, any_source: bool = False) -> OutputDecision:
        return route_output(
            self.host.fib,
            self.host.sysctls,
            dst=destination,
            src=source,
            mark=packet.mark,
            tos=packet.tos,
            any_source=any_source,
        )

    def local_out(self, skb: Skb, decision: OutputDecision, by: str) -> None:
        """The way from the route lookup to LOCAL_OUT (__ip_local_out)."""
        if decision.dev is None:
            self.host.routed(skb, decision)
            skb.refuse(decision.errno or "ENETUNREACH", str(decision))
            return
        if not skb.packet.saddr:
            skb.packet = skb.packet.with_(src=decision.source)
        if not skb.packet.ip_id and not skb.packet.frag & DF:
            skb.packet = skb.packet._replace(ip_id=self.host.next_ip_id())
        self.host.write(Emitted(skb.number, self.host.name, skb.packet, by))
        self.host.routed(skb, decision)
        _take(skb, decision)
        before, self._icmp_sends = self._icmp_sends, skb.packet.proto == Proto.ICMP and skb.sender is None
        self._hooks.run(Hook.LOCAL_OUT, skb, None, skb.dev_out, self.output)
        self._icmp_sends = before

    def changed(self, hook: Hook, skb: Skb, before: Packet, reason: DropReason) -> bool:
        """A hook function handed on another packet: does it need another route?

        In LOCAL_OUT what iptables' mangle and nat tables change is routed again at once (ip_route_me_harder); in
        PRE_ROUTING the lookup is still to come, unless the packet brought its route along over `lo`. In the other hooks
        the decision has been made, and stays. False where the packet ended here, dropped with that reason.
        """
        packet = skb.packet
        if hook is Hook.PRE_ROUTING:
            skb.looped = skb.looped and packet.daddr == before.daddr
        moved = (packet.saddr, packet.daddr, packet.tos, packet.mark) != (
            before.saddr, before.daddr, before.tos, before.mark,
        )  # fmt: skip
        if hook is not Hook.LOCAL_OUT or not moved:
            return True
        decision = self._route(packet.daddr, packet.saddr, packet, any_source=True)
        self.host.routed(skb, decision)
        if decision.dev is None:
            self.host.drop(skb, reason, f"changed, and no route for it any more: {decision}")
            skb.refuse(decision.errno or "ENETUNREACH", str(decision))
            return False
        _take(skb, decision)
        return True

    # ---------------------------------------------------------------- on its way out

    def output(self, skb: Skb) -> None:
        """Out of the host by POST_ROUTING (ip_output); this host hears its own broadcasts too (ip_mc_output)."""
        if skb.dev_in is None and skb.dev_out != "lo" and _is_heard_here(skb):
            copy = Skb(skb.packet, skb.number)
            copy.decision, copy.dev_out = skb.decision, skb.dev_out
            copy.ct, copy.direction, copy.ctstate = skb.ct, skb.direction, skb.ctstate
            self._hooks.run(Hook.POST_ROUTING, copy, None, copy.dev_out, self._loop_back)
            if skb.sender:  # a process sent it, and the kernel has nothing else at hand: the copy comes in at once
                self.host.wires.settle()
            if is_multicast(skb.packet.daddr) and not skb.packet.ttl:
                self.host.drop(skb, DropReason.NOT_SPECIFIED, "multicast with a ttl of 0 stays on its host")
                return
        self._hooks.run(_POST_ROUTING, skb, skb.dev_in, skb.dev_out, self.finish)

    def _loop_back(self, skb: Skb) -> None:
        assert skb.dev_out is not None
        self.host.wires.carry(self.host, skb.dev_out, skb.packet, skb.number, looped=skb, to_all=True)

    def finish(self, skb: Skb) -> None:
        """Cut it to the interface's size if need be, and let it go (ip_finish_output)."""
        assert skb.decision is not None and skb.dev_out is not None
        packet, mtu = skb.packet, self.host.mtu_of(skb.dev_out, skb.decision.route)
        if packet.length <= mtu and not skb.pieces:
            self._transmit(skb, packet, skb.number)
            return
        if packet.frag & DF and not skb.pieces:
            why = f"{packet.length} bytes do not fit {mtu}, and DF forbids fragments"
            self.report(icmp.Error(icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, mtu), skb)
            self.host.drop(skb, DropReason.NOT_SPECIFIED, why)
            skb.refuse("EMSGSIZE", why)
            return
        for piece in fragment(packet, mtu, skb.pieces, as_written=skb.sender is not None):
            self._transmit(skb, piece, self.host.wires.new_number())
            if skb.sender:  # a process waits, so each piece goes its whole way before the next is sent
                self.host.wires.settle()

    def _transmit(self, skb: Skb, packet: Packet, number: int) -> None:
        """Hand a frame to the link: on an open one every next hop answers, else only the peer's addresses."""
        dev = skb.dev_out
        assert dev is not None and skb.decision is not None
        if dev == "lo":
            self.host.wires.carry(self.host, "lo", packet, number, looped=skb)
            return
        peer, record = self.host.wires.peers.get((self.host.name, dev)), self.host.wires.record
        if not peer and not record:
            return
        next_hop = skb.decision.next_hop
        if peer and next_hop is not None and not peer.host.owns(next_hop):
            self._wait(skb, packet, number, next_hop)
            return
        if record:
            to = None if next_hop is None else format_address(next_hop)
            record(Sent(number, self.host.name, dev, packet, to, f"{peer.host.name}:{peer.dev}" if peer else None))
        if peer:
            self.host.wires.carry(peer.host, peer.dev, packet, number, to_all=skb.dev_in is None and not skb.unicast)

    def _wait(self, skb: Skb, packet: Packet, number: int, next_hop: int) -> None:
        """Keep a packet until somebody answers ARP for its next hop. Nobody will, as shows when all else is done."""
        if packet is not skb.packet:  # a fragment
            whole, skb = skb, Skb(packet, number, skb.dev_in)
            for name in _SHARED_BY_PIECES:
                setattr(skb, name, getattr(whole, name))
        assert skb.dev_out is not None
        place = skb.dev_out, next_hop
        if place not in self._waiting:
            self._waiting[place] = []
            # A real machine asks for three seconds first; here that takes no time.
            self.host.wires.at_last(partial(self._give_up, *place))
        self._waiting[place].append(skb)

    def _give_up(self, dev: str, next_hop: int) -> None:
        """Tell the senders of what waits (neigh_invalidate), until an error would have to go this very way."""
        why = f"nobody on {dev} answers ARP for {format_address(next_hop)}"
        waiting = self._waiting[dev, next_hop]
        joined = False
        while waiting and not joined:
            skb = waiting.pop(0)
            left = len(waiting)
            if check_again(self.host, skb):
                self.report(icmp.Error(icmp.UNREACHABLE, icmp.HOST), skb)
            self.host.drop(skb, DropReason.NEIGH_FAILED, why)
            joined = len(waiting) > left
        del self._waiting[dev, next_hop]
        for skb in waiting:
            self.host.drop(skb, DropReason.QUEUE_PURGE, why)

    # ---------------------------------------------------------------- errors

    def report(self, error: icmp.Error, skb: Skb) -> None:
        """Tell the sender of a packet what went wrong with it, where that is allowed (icmp_send)."""
        packet = skb.packet
        if self._icmp_sends or not skb.unicast or skb.to_all or not icmp.may_be_reported(packet):
            return
        passing = skb.options is not None and skb.options.next_hop is not None
        local = skb.looped or self.host.fib.address_type(packet.daddr) is RouteType.LOCAL
        ours = local and not passing
        saddr = packet.daddr if ours else self._address_for_errors(skb)
        reply = reply_to(packet, skb.options, self.host.is_other) if packet.options else NOTHING
        if reply is None:
            return
        to = reply.towards(packet.saddr, saddr)
        decision = route_output(self.host.fib, self.host.sysctls, dst=to, src=saddr, tos=packet.tos & icmp.TOS_MASK)
        if decision.dev is None:
            return
        self._look_for_way_back(skb, to)
        if self._too_often(error, decision):
            self.host.note(skb, "no error is sent: icmp_ratelimit")
            return
        room = icmp.room_for_quotation(self.host.mtu_of(decision.dev, decision.route), reply.data)
        if room <= icmp.LEAST_QUOTATION:
            return
        if skb.unsummed:
            packet = icmp.unsummed(packet)
        answer = icmp.error_packet(error, packet, decision.source or icmp.DUMMY_SOURCE, self.host.default_ttl(), room)
        if not answer.daddr:  # about a packet that had no source: an error to this host itself
            answer = answer._replace(daddr=decision.dst)
        answer = reply.on(answer, self.host.time_of_day())
        made = Skb(answer, self.host.wires.new_number())
        made.attach(skb)
        self.local_out(made, decision, "the kernel")

    def _look_for_way_back(self, skb: Skb, to: int) -> None:
        """IPsec could have something to say about the packet's way back. Where that ends here, the kernel wonders.

        It does so for packets of this host's own whose source route leads the error elsewhere (icmp_route_lookup).
        """
        fib, packet = self.host.fib, skb.packet
        types = [fib.address_type(address) is RouteType.LOCAL for address in (to, packet.saddr, packet.daddr)]
        if types == [False, True, False] and route_output(fib, self.host.sysctls, dst=packet.daddr).dev is not None:
            line = f"icmp: detected local route for {packet.src} during ICMP sending, src {packet.dst}"
            self.host.write(Logged(skb.number, self.host.name, line))

    def _address_for_errors(self, skb: Skb) -> int:
        if skb.dev_in and self.host.sysctls.get("net.ipv4.icmp_errors_use_inbound_ifaddr"):
            return self.host.fib.select_address(skb.dev_in, skb.packet.saddr)
        return 0

    def _too_often(self, error: icmp.Error, decision: OutputDecision) -> bool:
        """Whether icmp_ratelimit holds this error back; "fragmentation needed" and errors over `lo` never wait."""
        get = self.host.sysctls.get
        if not get("net.ipv4.icmp_ratemask") >> error.type & 1 or decision.dev == "lo":
            return False
        if (error.type, error.code) == (icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED):
            return False
        interval = get("net.ipv4.icmp_ratelimit")
        return not self.host.peer(decision.dst).allows_icmp(self.host.now(), interval)


def _take(skb: Skb, decision: OutputDecision) -> None:
    """The packet goes that way; of errors about what goes to everybody nobody is told."""
    skb.decision, skb.dev_out = decision, decision.dev
    skb.unicast = decision.type not in (RouteType.BROADCAST, RouteType.MULTICAST)


def _is_heard_here(skb: Skb) -> bool:
    """Whether the host that sends it gets a copy: of a broadcast, and of what goes to the group of all hosts."""
    decision = skb.decision
    return (isinstance(decision, OutputDecision) and decision.comes_back) or skb.packet.daddr == ALL_HOSTS
