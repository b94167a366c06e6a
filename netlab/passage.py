"""The ordinary packet's passage through a router, in one piece.

Most packets that a router gets are whole, carry no options, are for somebody else, and fit the next link. Their way
through `ip_input` and `ip_output` is always the same; here it is written out once more, for the sake of speed alone,
for the time when nobody reads journeys. Every packet meets every function on its three hooks, and has its route looked
up. Where it turns out not to be ordinary, it goes on in those modules: read them to understand what happens.
tests/test_passage.py holds the two against each other.
"""

from typing import Final

from netlab.headers import IP_HEADER
from netlab.hooks import Hooks
from netlab.ip_input import IpInput
from netlab.ip_output import IpOutput
from netlab.machine import Machine
from netlab.martians import InputKind
from netlab.names import Hook
from netlab.packet import MF, OFFSET, Packet
from netlab.skb import Skb

HEADER: Final = 20  # bytes, without options
PLAIN: Final = 0x45  # version 4, and a header of five words
FRAGMENT: Final = MF | OFFSET

_PRE_ROUTING, _FORWARD, _POST_ROUTING = Hook.PRE_ROUTING, Hook.FORWARD, Hook.POST_ROUTING
_TO_OTHERS = InputKind.FORWARD
_unpack = IP_HEADER.unpack_from
_new_packet = tuple.__new__  # a NamedTuple's own constructor costs twice as much


class Passage:
    """Takes ordinary packets through one host."""

    def __init__(self, host: Machine, hooks: Hooks, input: IpInput, output: IpOutput) -> None:
        self._mtu = host.mtu
        self._wires = host.wires
        self._accept = hooks.accept
        self._input = input
        self._output = output

    def take(self, dev: str, data: Packet | bytes) -> bool:
        """Let a frame come in by that interface, as `Host.receive` does; False: nothing was done with it."""
        wires = self._wires
        if data.__class__ is not bytes or len(data) < HEADER or wires.current is not None or dev not in self._mtu:
            return False
        version_ihl, tos, length, ip_id, frag, ttl, proto, _, saddr, daddr = _unpack(data)
        if version_ihl != PLAIN or length != len(data) or frag & FRAGMENT:
            return False
        if int.from_bytes(data[:HEADER], "big") % 0xFFFF:
            return False
        packet = _new_packet(Packet, (saddr, daddr, proto, data[HEADER:], ttl, tos, ip_id, frag, b"", None, 0))
        with wires.unrecorded:
            self._pass(Skb(packet, wires.new_number(), dev), dev)
        return True

    def _pass(self, skb: Skb, dev: str) -> None:
        """From PRE_ROUTING to the link."""
        accept, output = self._accept, self._output
        if not accept(_PRE_ROUTING, skb, dev, None, self._input.route):
            return
        found, packet = self._input.decide(skb), skb.packet
        decision = found.decision
        route = decision.route if decision else None
        if found.kind is not _TO_OTHERS or found.do_redirect or packet.options or skb.pieces or packet.ttl < 2:
            self._input.route(skb)
            return
        assert route is not None and route.dev is not None
        room = (route.mtu or self._mtu[route.dev]) - HEADER
        if len(packet.payload) > room:
            self._input.route(skb)
            return
        skb.decision, skb.dev_out = decision, route.dev
        skb.packet = packet.one_hop_less()
        if accept(_FORWARD, skb, dev, route.dev, output.output) and accept(
            _POST_ROUTING, skb, dev, route.dev, output.finish
        ):
            packet = skb.packet
            if self._wires.peers or packet.options or len(packet.payload) > room or skb.pieces:
                output.finish(skb)
