"""Into a host, and through it (ip_input.c, ip_forward.c).

arrive -> PRE_ROUTING -> route lookup -+-> reassembly -> LOCAL_IN -> sockets
+-> TTL, MTU, redirect -> FORWARD -> out
"""

from collections.abc import Callable
from typing import Final

from netlab import icmp
from netlab.fragments import Mixed, Oversized, Reassembled, Reassembly
from netlab.fragments import Refused as FragmentRefused
from netlab.hooks import Hooks, HookState
from netlab.ip_options import locate
from netlab.ip_output import IpOutput
from netlab.machine import Machine
from netlab.martians import InputDecision, InputKind, route_input
from netlab.names import CtState, DropReason, Hook, Proto, Verdict
from netlab.packet import DF, MF, OFFSET, Packet
from netlab.skb import Skb
from netlab.stamping import forward, one_hop_less, receive
from netlab.trace import Logged, Received, Routed

TCP_HEADER: Final = 20  # bytes, without options
MAX_REMEMBERED: Final = 65536  # decisions kept between two changes of routes or settings


# To look up a member of an enum takes ten times as long as a name of this module, and every packet comes this way.
_PRE_ROUTING, _FORWARD_HOOK, _FORWARD = Hook.PRE_ROUTING, Hook.FORWARD, InputKind.FORWARD
_ACCEPT, _FRAGMENT = Verdict.ACCEPT, MF | OFFSET
_UNICAST: Final = (_FORWARD, InputKind.LOCAL, InputKind.UNREACHABLE)


def _gather_tcp_header(skb: Skb) -> None:
    """Looking for a socket early, the kernel wants TCP's header in one piece: that spoils the fragments' old bounds.

    So they are not cut out again as they came (tcp_v4_early_demux, net.ipv4.tcp_early_demux).
    """
    first = skb.pieces[0] - 20 - len(skb.packet.options)
    if first < TCP_HEADER <= len(skb.packet.payload):
        skb.pieces = (max(skb.pieces),)


class IpInput:
    """The receiving side of one host. `sockets` takes what is for the host itself."""

    def __init__(self, host: Machine, hooks: Hooks, output: IpOutput, sockets: Callable[[Skb], None]) -> None:
        self.host = host
        self._fib, self._sysctls = host.fib, host.sysctls
        self._hooks = hooks
        self._output = output
        self._sockets = sockets
        self._reassembly = Reassembly()
        self._remembered: dict[tuple[int, int, str | None, int, int, int], InputDecision] = {}
        self._routes_then = self._settings_then = 0

    def arrive(self, dev: str, packet: Packet, number: int, looped: Skb | None = None, to_all: bool = False) -> None:
        """A frame out of the wire, or out of `lo` with the route of its sending side (ip_rcv)."""
        if record := self.host.wires.record:
            record(Received(number, self.host.name, dev, packet))
        skb = Skb(packet, number, dev)
        if looped is not None:
            skb.looped, skb.unsummed = True, looped.unsummed
            skb.about_untracked, skb.about_received = looped.about_untracked, looped.about_received
            if looped.ctstate is not CtState.INVALID or looped.about_untracked:  # else it only says: there is no flow
                skb.ct, skb.direction, skb.ctstate = looped.ct, looped.direction, looped.ctstate
        skb.to_all = to_all
        if packet.checksum is not None:
            self.host.drop(skb, DropReason.IP_CSUM, "the header checksum is wrong")
            return
        self._hooks.run(_PRE_ROUTING, skb, dev, None, self.route)

    def route(self, skb: Skb) -> None:
        """After PRE_ROUTING: what kind of packet is it (ip_rcv_finish)?"""
        if skb.looped:
            skb.unicast = skb.dev_in == "lo"  # else it is a broadcast of this host's own
            kind = InputKind.LOCAL if skb.unicast else InputKind.BROADCAST
            if not skb.packet.options or self._options(skb, InputDecision(kind)):
                self._deliver(skb)
            return
        if skb.pieces and skb.packet.proto == Proto.TCP:
            _gather_tcp_header(skb)
        found = self.decide(skb)
        skb.decision = found.decision
        skb.unicast = found.kind in _UNICAST
        if record := self.host.wires.record:
            record(Routed(skb.number, self.host.name, skb.packet, found))
            for line in found.log:
                record(Logged(skb.number, self.host.name, line))
        if skb.packet.options and found.kind is not InputKind.DROP:
            led_on = self._options(skb, found)
            if led_on is None:
                return
            found = led_on
        if found.kind is _FORWARD:
            skb.redirect = found.do_redirect
            self._forward(skb)
        elif found.reason is None:
            self._deliver(skb)
        else:
            if found.icmp and self.host.peer(skb.packet.saddr).allows_unreachable(self.host.now()):
                self._output.report(icmp.Error(*found.icmp), skb)
            self.host.drop(skb, found.reason, found.lock)

    def _options(self, skb: Skb, found: InputDecision) -> InputDecision | None:
        return receive(self.host, skb, found, self.decide, self._output.report)

    def decide(self, skb: Skb) -> InputDecision:
        """The input decision, remembered until routes or settings change."""
        fib, sysctls = self._fib, self._sysctls
        if self._routes_then != fib.version or self._settings_then != sysctls.version:
            self._remembered.clear()
            self._routes_then, self._settings_then = fib.version, sysctls.version
        src, dst, protocol, _, _, tos, _, _, _, _, mark = skb.packet
        question = src, dst, skb.dev_in, tos, mark, protocol
        found = self._remembered.get(question)
        if found is None:
            assert skb.dev_in is not None
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            found = self._remembered[question] = route_input(
                fib, sysctls, src=src, dst=dst, iif=skb.dev_in, tos=tos, mark=mark, protocol=protocol
            )
        return found

    def _deliver(self, skb: Skb) -> None:
        """For this host: whole packets only (ip_local_deliver)."""
        assert skb.dev_in is not None
        if not skb.packet.frag & (MF | OFFSET) or self._reassemble(skb, skb.dev_in):
            self._hooks.run(Hook.LOCAL_IN, skb, skb.dev_in, None, self._sockets)

    def _reassemble(self, skb: Skb, dev: str) -> bool:
        """Whether the packet is whole now; if not, it is kept for the others, or dropped (ip_defrag)."""
        patience = self.host.sysctls.get("net.ipv4.ipfrag_time")
        found = self._reassembly.add(skb.packet, dev, self.host.wires.clock.now, patience)
        if isinstance(found, Reassembled):
            skb.packet, skb.pieces = found
            skb.options = locate(skb.packet.options) if skb.packet.options else None
            self.host.note(skb, f"reassembled from {len(found.pieces)} fragments: {found.packet}")
            return True
        if isinstance(found, FragmentRefused):
            self.host.drop(skb, found.reason, found.why)
        elif isinstance(found, Oversized):
            self.host.note(skb, f"all fragments are there, and gone: together they have {found.length} bytes")
            line = f"IPv4: Oversized IP packet from {skb.packet.src}"
            self.host.write(Logged(skb.number, self.host.name, line))
        elif isinstance(found, Mixed):
            self.host.note(skb, "all fragments are there, and gone: only some come from a sender that understands ECN")
        else:
            self.host.note(skb, "kept until the other fragments come")
        return False

    def gather(self, packet: Packet, state: HookState) -> Verdict | tuple[Verdict, Packet]:
        """The hook function of conntrack's defragmentation: steals fragments, hands on the whole packet."""
        if not packet.frag & _FRAGMENT:
            return _ACCEPT
        if not self._reassemble(state.skb, state.dev_in or "lo"):
            return Verdict.STOLEN
        return _ACCEPT, state.skb.packet

    def give_up_fragments(self) -> None:
        """Forget packets that did not become whole in time (ip_expire)."""
        for expired in self._reassembly.expire(self.host.wires.clock.now):
            if expired.first is None:
                continue
            skb = Skb(expired.first, self.host.wires.new_number(), expired.dev)
            skb.options = locate(skb.packet.options) if skb.packet.options else None
            self._output.report(icmp.Error(icmp.TIME_EXCEEDED, 1), skb)
            self.host.drop(skb, DropReason.FRAG_REASM_TIMEOUT, "the other fragments never came")

    def _forward(self, skb: Skb) -> None:
        """For somebody else (ip_forward): the checks, one hop less to live, and out by FORWARD."""
        packet, decision = skb.packet, skb.decision
        assert decision is not None and decision.route is not None and decision.route.dev is not None
        if skb.to_all:
            self.host.drop(skb, DropReason.NOT_SPECIFIED, "its frame was for everybody: not to be passed on")
            return
        if packet.ttl <= 1:
            self._output.report(icmp.Error(icmp.TIME_EXCEEDED, 0), skb)
            self.host.drop(skb, DropReason.IP_INHDR, f"its ttl of {packet.ttl} does not last for another hop")
            return
        options = skb.options
        if options and options.strict and decision.route.gateway is not None:
            self._output.report(icmp.Error(icmp.UNREACHABLE, icmp.SOURCE_ROUTE_FAILED), skb)
            self.host.drop(skb, DropReason.NOT_SPECIFIED, "a strict source route, and the next hop is a gateway")
            return
        mtu = self.host.mtu_of(decision.route.dev, decision.route)
        if packet.frag & DF and packet.length > mtu and (not skb.pieces or max(skb.pieces) > mtu):
            self._output.report(icmp.Error(icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, mtu), skb)
            self.host.drop(
                skb,
                DropReason.PKT_TOO_BIG,
                f"{packet.length} bytes do not fit {mtu}, and DF forbids fragments",
            )
            return
        skb.packet = one_hop_less(packet) if options else packet.one_hop_less()
        skb.dev_out = decision.route.dev
        if skb.redirect and self.host.peer(packet.saddr).allows_redirect(self.host.now()):
            assert decision.next_hop is not None
            self._output.report(icmp.Error(icmp.REDIRECT, 1, decision.next_hop), skb)
        after = self._forward_with_options if options else self._output.output
        self._hooks.run(_FORWARD_HOOK, skb, skb.dev_in, skb.dev_out, after)

    def _forward_with_options(self, skb: Skb) -> None:
        forward(self.host, skb)
        self._output.output(skb)
