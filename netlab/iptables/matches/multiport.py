"""Lists of ports (xt_multiport.c)."""

from dataclasses import dataclass
from typing import Final

from netlab.hooks import HookState
from netlab.iptables.extension import HotDrop, Match, Rules, Test, Use, given, match
from netlab.iptables.matches.transport import port_name
from netlab.iptables.option import Is, Kind, Option, Span, format_span, port, protocol_of
from netlab.names import NetlabError
from netlab.packet import OFFSET, Packet

MOST: Final = 15  # places in the list; a range takes two (XT_MULTI_PORTS)
WITH_PORTS: Final = frozenset({6, 17, 33, 132, 136})  # TCP, UDP, DCCP, SCTP, UDP-Lite
PORTS_LENGTH: Final = 4  # bytes that both ports take

Ports = tuple[Span, ...]


def _several_ports(text: str) -> Ports:
    spans = []
    for word in text.split(","):
        first, colon, last = word.partition(":")
        one = Span(port(first), port(last if colon else first))
        if colon and one.low >= one.high:
            raise NetlabError(f"invalid portrange {word!r} specified: its end must be higher than its beginning")
        spans.append(one)
    if sum(1 + (one.low != one.high) for one in spans) > MOST:
        raise NetlabError(f"too many ports specified: {MOST} fit, and a range counts for two")
    return tuple(spans)


SEVERAL_PORTS: Final = Kind(_several_ports, lambda spans: ",".join(map(format_span, spans)))


@match
@dataclass(frozen=True)
class MultiportMatch(Match):
    """`-m multiport`: a port is in the list: the source port (`--sports`), the destination port (`--dports`), any."""

    name = "multiport"
    options = (
        Option(("--sports", "--source-ports", "--sport"), "sports", (SEVERAL_PORTS,), negatable=True),
        Option(("--dports", "--destination-ports", "--dport"), "dports", (SEVERAL_PORTS,), negatable=True),
        Option(("--ports", "--port"), "ports", (SEVERAL_PORTS,), negatable=True),
    )

    sports: Is[Ports] | None = None
    dports: Is[Ports] | None = None
    ports: Is[Ports] | None = None

    def completed(self) -> None:
        """One of the three lists must be given.

        Raises:
            NetlabError: none or several are.
        """
        if len(given(self)) != 1:
            raise NetlabError("multiport: exactly one of --sports, --dports and --ports must be specified")

    def check(self, use: Use) -> None:
        """Only protocols that have ports.

        Raises:
            NetlabError: the rule may meet another one.
        """
        if not use.protocol:
            raise NetlabError("multiport needs `-p tcp', `-p udp', `-p udplite', `-p sctp' or `-p dccp'")
        if use.protocol not in WITH_PORTS:
            raise NetlabError(
                f"multiport only works with TCP, UDP, UDPLITE, SCTP and DCCP, not with {protocol_of(use.protocol)}"
            )

    def bind(self, rules: Rules) -> Test:
        """Fragments behind the first have no ports, and a packet that is cut off in them is dropped."""
        places = (0,) * (self.sports is not None or self.ports is not None)
        places += (2,) * (self.dports is not None or self.ports is not None)
        listed = self.sports or self.dports or self.ports
        assert listed is not None
        spans, negated = listed

        def test(packet: Packet, state: HookState) -> bool:
            if packet.frag & OFFSET:
                return False
            header = packet.payload
            if len(header) < PORTS_LENGTH:
                raise HotDrop
            ports = [header[at] << 8 | header[at + 1] for at in places]
            return any(low <= one <= high for low, high in spans for one in ports) is not negated

        return test

    def listed(self, numeric: bool = True, protocol: int = 0) -> str:
        """As `iptables -L` prints it."""
        ((field, (spans, negated)),) = given(self).items()
        name = protocol_of(protocol)
        texts = (":".join(dict.fromkeys(port_name(one, name, numeric) for one in ports)) for ports in spans)
        return f"multiport {field} {' !' if negated else ''}{','.join(texts)}"
