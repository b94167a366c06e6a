"""A route and a rule of policy routing as values, in the words of ip-route(8) and ip-rule(8)."""

from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from html import escape
from typing import Final

from netlab.addresses import Prefix, format_address, mask_of


class RouteType(StrEnum):
    """What a route does with the packets that it wins (enum in include/uapi/linux/rtnetlink.h)."""

    UNICAST = "unicast"
    LOCAL = "local"
    BROADCAST = "broadcast"
    MULTICAST = "multicast"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"
    THROW = "throw"


ERRNO_OF_TYPE: Final[dict[RouteType, str]] = {
    RouteType.BLACKHOLE: "EINVAL",
    RouteType.UNREACHABLE: "EHOSTUNREACH",
    RouteType.PROHIBIT: "EACCES",
    RouteType.THROW: "EAGAIN",
}
"""What a lookup gives instead of a next hop (fib_props in net/ipv4/fib_semantics.c). EAGAIN: try the next rule."""


class Scope(IntEnum):
    """How far away a destination is: the higher, the nearer (enum rt_scope_t)."""

    GLOBAL = 0
    SITE = 200
    LINK = 253
    HOST = 254
    NOWHERE = 255

    def __str__(self) -> str:
        return self.name.lower()


DEFAULT, MAIN, LOCAL = 253, 254, 255
TABLE_NAMES: Final[dict[int, str]] = {DEFAULT: "default", MAIN: "main", LOCAL: "local"}

PROTOCOL_NAMES: Final[dict[int, str]] = {
    1: "redirect", 2: "kernel", 3: "boot", 4: "static", 8: "gated", 9: "ra", 10: "mrt", 11: "zebra", 12: "bird",
    13: "dnrouted", 14: "xorp", 15: "ntk", 16: "dhcp", 18: "keepalived", 42: "babel", 99: "openr", 186: "bgp",
    187: "isis", 188: "ospf", 189: "rip", 192: "eigrp",
}  # fmt: skip
"""Who installed a route, by the names of iproute2's rt_protos."""
KERNEL, BOOT = 2, 3


def table_name(number: int) -> str:
    """`main` for 254; the bare number where there is no name."""
    return TABLE_NAMES.get(number, str(number))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Route:
    """One entry of a routing table.

    `ip route add 10.9.0.0/16 via 10.0.2.2 metric 100` is
    `Route(prefix=Prefix.parse("10.9.0.0/16"), gateway=parse_address("10.0.2.2"), metric=100)`.
    """

    prefix: Prefix
    type: RouteType = RouteType.UNICAST
    gateway: int | None = None
    """The next hop's address; None: the destination itself is on the link."""
    dev: str | None = None
    """The interface; None until the route is added, and for ever on routes that only refuse."""
    metric: int = 0
    """Among equal prefixes the lowest wins."""
    tos: int = 0
    """Only for packets with this type of service; 0: for all."""
    table: int = MAIN
    scope: Scope = Scope.GLOBAL
    protocol: int = BOOT
    source: int | None = None
    """The address that local packets take as their own (`src`, RTA_PREFSRC)."""
    onlink: bool = False
    """Take the gateway for reachable on `dev` though no route says so."""
    mtu: int | None = None
    next_hop_scope: Scope = field(default=Scope.NOWHERE, compare=False)
    """How near the next hop is (nhc_scope), set by Fib.add: LINK for a gateway, HOST for whatever is on the link."""

    @property
    def hop(self) -> int | None:
        """The gateway, where frames really go to it; a gateway that is an address of our own changes nothing."""
        return self.gateway if self.next_hop_scope is Scope.LINK else None

    @property
    def refuses(self) -> bool:
        """It leads nowhere: blackhole, unreachable, prohibit or throw."""
        return self.type in ERRNO_OF_TYPE

    def __str__(self) -> str:
        """The line of `ip route show table all`, without its trailing space."""
        return self.words()

    def __repr__(self) -> str:
        return f"<Route {self}>"

    def _repr_html_(self) -> str:
        return f"<code>{escape(str(self))}</code>"

    def words(self, *, show_table: bool = True, linkdown: bool = False) -> str:
        """The words of `ip route show`.

        Args:
            show_table: name the table unless it is main; off when one table was asked for.
            linkdown: its interface has no carrier.
        """
        tos, mtu = self.tos, self.mtu
        parts = (
            self.type if self.type is not RouteType.UNICAST else "",
            str(self.prefix),
            f"tos 0x{tos:02x}" if tos else "",
            f"via {format_address(self.gateway)}" if self.gateway is not None else "",
            f"dev {self.dev}" if self.dev is not None else "",
            f"table {table_name(self.table)}" if show_table and self.table != MAIN else "",
            f"proto {PROTOCOL_NAMES.get(self.protocol, self.protocol)}" if self.protocol != BOOT else "",
            f"scope {self.scope}" if self.scope is not Scope.GLOBAL else "",
            f"src {format_address(self.source)}" if self.source is not None else "",
            f"metric {self.metric}" if self.metric else "",
            "onlink" if self.onlink else "",
            "linkdown" if linkdown else "",
            f"mtu {mtu}" if mtu is not None else "",
        )
        return " ".join(filter(None, parts))


class RuleAction(StrEnum):
    """What a rule does with the packets that it matches."""

    LOOKUP = "lookup"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"


ERRNO_OF_ACTION: Final[dict[RuleAction, str]] = {
    RuleAction.BLACKHOLE: "EINVAL",
    # Not EHOSTUNREACH, as an unreachable route has it: fib4_rule_action() in net/ipv4/fib_rules.c.
    RuleAction.UNREACHABLE: "ENETUNREACH",
    RuleAction.PROHIBIT: "EACCES",
}

EVERYWHERE: Final = Prefix(0, 0)
LEGACY_TOS: Final = 0x1C
"""The bits of the type-of-service byte that routes and rules compare (INET_DSCP_LEGACY_TOS_MASK)."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Rule:
    """One line of `ip rule`: which packets are looked up in which table.

    `ip rule add fwmark 0x1 table 100` is `Rule(mark=1, mask=0xFFFFFFFF, table=100)`.
    """

    priority: int | None = None
    """Lowest first; None: the kernel chooses one when the rule is added."""
    source: Prefix = EVERYWHERE
    destination: Prefix = EVERYWHERE
    iif: str | None = None
    """The interface the packet came in by; `lo` for packets made here."""
    oif: str | None = None
    """The interface that a local sender is bound to."""
    mark: int = 0
    mask: int = 0
    """Which bits of the packet's mark are compared; 0: none."""
    tos: int = 0
    invert: bool = False
    """The word `not`: the rule applies to all other packets."""
    action: RuleAction = RuleAction.LOOKUP
    table: int = MAIN
    """Where to look; of no meaning unless the action is lookup."""
    protocol: int = BOOT
    """Who added it; the three that a host starts with are the kernel's."""

    @property
    def matches_all(self) -> bool:
        """It has no condition, as the three rules that every host starts with."""
        return self == Rule(priority=self.priority, action=self.action, table=self.table, protocol=self.protocol)

    def matches(self, dst: int, src: int, iif: str, oif: str | None, mark: int, tos: int) -> bool:
        """Whether the rule applies (fib_rule_match in net/core/fib_rules.c)."""
        hit = (
            not (src ^ self.source.address) & mask_of(self.source.length)
            and not (dst ^ self.destination.address) & mask_of(self.destination.length)
            and (self.iif is None or self.iif == iif)
            and (self.oif is None or self.oif == oif)
            and not (mark ^ self.mark) & self.mask
            and (not self.tos or self.tos == tos & LEGACY_TOS)
        )
        return hit is not self.invert

    def misfit(self, dst: int, src: int, iif: str, oif: str | None, mark: int, tos: int) -> str:
        """Why the rule does not apply to a packet, in words."""
        if self.invert:
            return "the packet is one of those that `not` leaves out"
        if src not in self.source:
            return f"the source is {format_address(src)}"
        if dst not in self.destination:
            return f"the destination is {format_address(dst)}"
        if self.iif not in (None, iif):
            return f"the packet came in by {iif}" if iif != "lo" else "the packet was made here (iif lo)"
        if self.oif not in (None, oif):
            return f"the sender is bound to {oif}" if oif else "the sender is bound to no interface"
        if (mark ^ self.mark) & self.mask:
            return f"the packet's mark is {hexadecimal(mark)}"
        return f"the packet's tos is 0x{tos:02x}"

    def repeats(self, other: "Rule") -> bool:
        """Whether the kernel refuses this rule because `other` is there (rule_exists, fib4_rule_compare).

        It compares neither the word `not` nor the prefixes and the tos that this rule leaves open.
        """
        return other == replace(
            self,
            invert=other.invert,
            source=self.source if self.source.length else other.source,
            destination=self.destination if self.destination.length else other.destination,
            tos=self.tos or other.tos,
        )

    def __str__(self) -> str:
        """The line of `ip rule`, without its line end."""
        return f"{self.priority}:\t{self.words()}"

    def __repr__(self) -> str:
        return f"<Rule {self.priority}: {self.words()}>"

    def _repr_html_(self) -> str:
        return f"<code>{escape(str(self))}</code>"

    def words(self) -> str:
        """`from all fwmark 0x1 lookup 100`."""
        mask = "" if self.mask == 0xFFFFFFFF else f"/{hexadecimal(self.mask)}"
        boot = self.protocol in (BOOT, KERNEL)
        parts = (
            "not" if self.invert else "",
            f"from {self.source if self.source.length else 'all'}",
            f"to {self.destination}" if self.destination.length else "",
            f"tos 0x{self.tos:02x}" if self.tos else "",
            f"fwmark {hexadecimal(self.mark)}{mask}" if self.mark or self.mask else "",
            f"iif {self.iif}" if self.iif is not None else "",
            f"oif {self.oif}" if self.oif is not None else "",
            f"lookup {table_name(self.table)}" if self.action is RuleAction.LOOKUP else str(self.action),
            "" if boot else f"proto {PROTOCOL_NAMES.get(self.protocol, self.protocol)}",
        )
        return " ".join(filter(None, parts))


DEFAULT_RULES: Final = (
    Rule(priority=0, table=LOCAL, protocol=KERNEL),
    Rule(priority=32766, table=MAIN, protocol=KERNEL),
    Rule(priority=32767, table=DEFAULT, protocol=KERNEL),
)
"""What every host starts with."""


def hexadecimal(number: int) -> str:
    """As C's `%#x` prints it: `0x1f`, but a bare `0`."""
    return hex(number) if number else "0"
