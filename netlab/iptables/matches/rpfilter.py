"""Whether a reply would leave by the interface that a packet came in by (ipt_rpfilter.c)."""

from dataclasses import dataclass
from typing import Final

from netlab.hooks import HookState
from netlab.iptables.extension import Match, Rules, Test, match
from netlab.iptables.option import Option
from netlab.martians import is_multicast
from netlab.names import Hook
from netlab.packet import Packet
from netlab.route import RouteType

LIMITED_BROADCAST: Final = 0xFFFFFFFF
LINK_LOCAL_GROUPS: Final = 0xE00000  # the first 24 bits of 224.0.0.0/24


@match
@dataclass(frozen=True)
class RpfilterMatch(Match):
    """`-m rpfilter`: what the sysctl rp_filter does, as a rule, and before the packet changes.

    Attributes:
        loose: a reply may leave by any interface.
        validmark: the way back is looked up with the packet's mark.
        accept_local: sources that are addresses of this host are fine as well.
        invert: what fails matches.
    """

    name = "rpfilter"
    tables = frozenset({"raw", "mangle"})
    hooks = frozenset({Hook.PRE_ROUTING})
    options = (
        Option(("--loose",), "loose"),
        Option(("--validmark",), "validmark"),
        Option(("--accept-local",), "accept_local"),
        Option(("--invert",), "invert"),
    )

    loose: bool | None = None
    validmark: bool | None = None
    accept_local: bool | None = None
    invert: bool | None = None

    def bind(self, rules: Rules) -> Test:
        """Looks up the way back to the source."""
        fib = rules.host.fib
        loose, with_mark, invert = bool(self.loose), bool(self.validmark), bool(self.invert)
        types = {RouteType.UNICAST, RouteType.LOCAL} if self.accept_local else {RouteType.UNICAST}

        def passes(packet: Packet, state: HookState) -> bool:
            source, destination = packet.saddr, packet.daddr
            if state.dev_in == "lo" or state.skb.looped:
                return True
            if not source and (destination == LIMITED_BROADCAST or destination >> 8 == LINK_LOCAL_GROUPS):
                return True  # somebody who has no address yet
            if is_multicast(destination) or destination == LIMITED_BROADCAST:
                destination = 0
            mark = packet.mark if with_mark else 0
            route = fib.lookup(source, src=destination, mark=mark, tos=packet.tos).route
            return route is not None and route.type in types and (loose or route.dev == state.dev_in)

        return lambda packet, state: passes(packet, state) is not invert

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        return " ".join([self.name, *self.words()]).replace("--", "")
