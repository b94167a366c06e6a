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
from_bytes: Final = int.from_bytes
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
        if from_bytes(data[:HEADER], "big") % 0xFFFF:
            return False
        with wires.unrecorded:
            packet = _new_packet(Packet, (saddr, daddr, proto, data[HEADER:], ttl, tos, ip_id, frag, b"", None, 0))
            skb = Skb(packet, wires.new_number(), dev)
            if self._accept(_PRE_ROUTING, skb, dev, None, self._input.route):
                self._forward(skb, dev)
        return True

    def _forward(self, skb: Skb, dev: str) -> None:
        """From behind PRE_ROUTING to the link."""
        accept, input, output = self._accept, self._input, self._output
        found = input.decide(skb)
        saddr, daddr, proto, payload, ttl, tos, ip_id, frag, options, checksum, mark = skb.packet
        decision = found.decision
        if found.kind is not _TO_OTHERS or found.do_redirect or options or skb.pieces or ttl < 2:
            input.route(skb)
            return
        assert decision is not None
        route = decision.route
        assert route is not None
        out = route.dev
        assert out is not None
        room = (route.mtu or self._mtu[out]) - HEADER
        if len(payload) > room:
            input.route(skb)
            return
        skb.decision, skb.dev_out = decision, out
        skb.packet = _new_packet(
            Packet, (saddr, daddr, proto, payload, ttl - 1, tos, ip_id, frag, options, checksum, mark)
        )
        if accept(_FORWARD, skb, dev, out, output.output) and accept(_POST_ROUTING, skb, dev, out, output.finish):
            packet = skb.packet
            if self._wires.peers or packet.options or len(packet.payload) > room or skb.pieces:
                output.finish(skb)
