"""TCP's and UDP's headers (xt_tcpudp.c)."""

from dataclasses import dataclass
from typing import Final

from netlab.hooks import HookState
from netlab.iptables.extension import HotDrop, Match, Rules, Test, match
from netlab.iptables.option import PORTS, Is, Option, Span
from netlab.names import Proto
from netlab.packet import OFFSET, Packet

UDP_HEADER: Final = 8  # bytes


@match
@dataclass(frozen=True)
class UdpMatch(Match):
    """`-m udp --sport --dport`."""

    name = "udp"
    protocols = frozenset({Proto.UDP})
    options = (
        Option(("--sport", "--source-port"), "sport", (PORTS,), negatable=True),
        Option(("--dport", "--destination-port"), "dport", (PORTS,), negatable=True),
    )

    sport: Is[Span] | None = None
    dport: Is[Span] | None = None

    def bind(self, rules: Rules) -> Test:
        """Fragments have no ports: only the first one can match."""
        sport, dport = self.sport or Is(Span(0, 0xFFFF)), self.dport or Is(Span(0, 0xFFFF))

        def test(packet: Packet, state: HookState) -> bool:
            if packet.frag & OFFSET:
                return False
            header = packet.payload
            if len(header) < UDP_HEADER:
                raise HotDrop
            source, destination = header[0] << 8 | header[1], header[2] << 8 | header[3]
            return (source in sport.value) is not sport.negated and (destination in dport.value) is not dport.negated

        return test
