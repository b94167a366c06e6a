"""What becomes of a packet between PRE_ROUTING and the next hook: source validation and the route decision.

A martian is a packet whose addresses cannot be right where it arrived. The checks keep the kernel's order.
Sources: net/ipv4/route.c (ip_route_input_slow, ip_mkroute_input, ip_mc_validate_source, ip_error),
net/ipv4/fib_frontend.c (fib_validate_source), RFC 1812 5.3.7, RFC 3704 (reverse path filtering).
"""

from enum import StrEnum
from html import escape
from typing import Final, NamedTuple

from netlab.addresses import format_address
from netlab.names import DropReason
from netlab.route import RouteType, Scope
from netlab.routing import Decision, Fib
from netlab.sysctls import Conf, Sysctls

LIMITED_BROADCAST: Final = 0xFFFFFFFF
ALL_HOSTS: Final = 0xE0000001
"""224.0.0.1, the one multicast group that every interface joins by itself."""
LOCAL_MULTICAST: Final = 0xE00000
"""The first 24 bits of 224.0.0.0/24, groups that never leave the link."""
IGMP: Final = 2
STRICT: Final = 1
"""The rp_filter that wants the way back to leave by the same interface; 2 is content with any way back."""
DESTINATION_UNREACHABLE: Final = 3
ICMP_CODE_OF_ERRNO: Final[dict[str, int]] = {"ENETUNREACH": 0, "EHOSTUNREACH": 1, "EACCES": 13}
"""What the sender is told by ICMP type 3; a blackhole tells nothing."""


class InputKind(StrEnum):
    """Where a received packet goes on."""

    LOCAL = "local"
    FORWARD = "forward"
    BROADCAST = "broadcast"
    """Delivered locally, as LOCAL is."""
    MULTICAST = "multicast"
    """Delivered locally, as LOCAL is."""
    UNREACHABLE = "unreachable"
    """Dropped for want of a route; the sender may be told by an ICMP error."""
    DROP = "drop"
    """A martian: dropped in silence."""


class InputDecision(NamedTuple):
    """The outcome of the route lookup for a received packet."""

    kind: InputKind
    decision: Decision | None = None
    """The lookup of the destination; None when the packet was stopped or recognised before any lookup."""
    reason: DropReason | None = None
    """Why it was dropped; None when it goes on."""
    log: tuple[str, ...] = ()
    """What the kernel prints of it (log_martians)."""
    do_redirect: bool = False
    """It leaves by the interface it came in by, from a sender on that link: an ICMP redirect is due."""
    icmp: tuple[int, int] | None = None
    """Type and code of the ICMP error that the sender gets."""
    lock: str = ""
    """The check that stopped it, in words; empty when it goes on."""

    @property
    def passes(self) -> bool:
        """It is not dropped."""
        return self.reason is None

    @property
    def why(self) -> tuple[str, ...]:
        """The reasons in plain words: those of the route lookup, then the check that stopped it, if one did."""
        return (*(self.decision.why if self.decision else ()), *([self.lock] if self.lock else []))

    def __str__(self) -> str:
        if self.reason:
            return f"{self.kind}: {self.reason}, {self.lock}"
        return f"{self.kind}, {self.decision}" if self.decision else str(self.kind)

    def __repr__(self) -> str:
        return f"<InputDecision {self}>"

    def _repr_html_(self) -> str:
        why = "".join(f"<li>{escape(line)}</li>" for line in self.why)
        return f"<p><b>{escape(str(self))}</b></p><ul>{why}</ul>"


class SourceCheck(NamedTuple):
    """What source validation found: a reason to drop, or whether the sender is on this very link."""

    reason: DropReason | None = None
    lock: str = ""
    on_link: bool = False


PASSES: Final = SourceCheck()

_new = tuple.__new__  # a NamedTuple's own constructor costs twice as much
# To look up a member of an enum takes six times as long as a name of this module.
_BROADCAST, _LOCAL, _UNICAST, _FORWARD = RouteType.BROADCAST, RouteType.LOCAL, RouteType.UNICAST, InputKind.FORWARD


def route_input(
    fib: Fib,
    sysctls: Sysctls,
    *,
    src: int,
    dst: int,
    iif: str,
    tos: int = 0,
    mark: int = 0,
    protocol: int = 0,
    groups: frozenset[int] = frozenset({ALL_HOSTS}),
) -> InputDecision:
    """Decide about a packet that came in by `iif`, after PRE_ROUTING.

    Packets that arrive on `lo` bring the route of their sending side along and are not looked up again.

    Args:
        fib: the receiving host's routing.
        sysctls: the receiving host's settings.
        src: the source address as an integer, as PRE_ROUTING left it.
        dst: the destination address, likewise.
        iif: the interface.
        tos: the type-of-service byte.
        mark: the packet's mark.
        protocol: the IP protocol number; IGMP may come from 0.0.0.0.
        groups: multicast groups that the interface listens to.

    Raises:
        NetlabError: there is no such interface.
    """
    return _new(Arrival, (fib, sysctls.conf(iif), src, dst, iif, tos, mark)).decide(protocol, groups)


class Arrival(NamedTuple):
    """A packet in front of the locks of one interface."""

    fib: Fib
    conf: Conf
    src: int
    dst: int
    iif: str
    tos: int
    mark: int

    def decide(self, protocol: int, groups: frozenset[int]) -> InputDecision:
        """The checks that need no routing table, in the kernel's order; then the lookup."""
        src, dst = self.src, self.dst
        if _UNSUSPECTED[src >> 24] and _UNSUSPECTED[dst >> 24]:
            return self._routed()
        if is_multicast(dst):
            return self._multicast(protocol, groups)
        if is_multicast(src) or src == LIMITED_BROADCAST:
            return self._martian_source(DropReason.IP_INVALID_SOURCE, "the source is a multicast or broadcast address")
        if dst == LIMITED_BROADCAST or src == dst == 0:
            return self._broadcast(None)
        if src == 0:
            return self._martian_source(DropReason.IP_INVALID_SOURCE, "source 0.0.0.0, and no limited broadcast")
        if dst == 0:
            return self._martian_destination(DropReason.IP_INVALID_DEST, "destination 0.0.0.0")
        if is_loopback(dst) and not self.conf.route_localnet:
            return self._martian_destination(DropReason.IP_LOCALNET, "destination 127/8 with route_localnet=0")
        if is_loopback(src) and not self.conf.route_localnet:
            return self._martian_source(DropReason.IP_LOCALNET, "source 127/8 with route_localnet=0")
        return self._routed()

    def _routed(self) -> InputDecision:
        decision = self.fib.lookup(self.dst, src=self.src, iif=self.iif, mark=self.mark, tos=self.tos)
        route = decision.route
        if route is None:
            return self._no_route(decision)
        if route.type is _BROADCAST:
            return self._broadcast(decision)
        if route.type is _LOCAL:
            check = self._validate_source(self.dst, None)
            if check.reason:
                return self._martian_source(check.reason, check.lock, decision)
            return InputDecision(InputKind.LOCAL, decision)
        if not self.conf.forwarding:
            return self._no_route(decision)
        if route.type is not _UNICAST:
            lock = f"a route of type {route.type} forwards nothing"
            return self._martian_destination(DropReason.IP_INVALID_DEST, lock, decision)
        check = self._validate_source(self.dst, route.dev)
        if check.reason:
            return self._martian_source(check.reason, check.lock, decision)
        redirect = (
            check.on_link and route.dev == self.iif and self.conf.send_redirects and self._shared_link(route.gateway)
        )
        return _new(InputDecision, (_FORWARD, decision, None, (), redirect, None, ""))

    def _no_route(self, decision: Decision) -> InputDecision:
        """For someone else, and no way on (ip_error). A host that does not forward says nothing."""
        if not self.conf.forwarding:
            lock = f"not for this host, and forwarding is off on {self.iif}"
            return InputDecision(InputKind.UNREACHABLE, decision, DropReason.IP_INADDRERRORS, lock=lock)
        errno = decision.errno or ""
        reason = DropReason.IP_INNOROUTES if errno == "ENETUNREACH" else DropReason.NOT_SPECIFIED
        code = ICMP_CODE_OF_ERRNO.get(errno)
        icmp = None if code is None else (DESTINATION_UNREACHABLE, code)
        lock = f"no way on to {format_address(self.dst)}: {decision.refused_by or errno}"
        return InputDecision(InputKind.UNREACHABLE, decision, reason, icmp=icmp, lock=lock)

    def _broadcast(self, decision: Decision | None) -> InputDecision:
        """To 255.255.255.255 or a subnet's broadcast address. DHCP clients may send from 0.0.0.0."""
        if self.src:
            check = self._validate_source(0, None)
            if check.reason:
                return self._martian_source(check.reason, check.lock, decision)
        return InputDecision(InputKind.BROADCAST, decision)

    def _multicast(self, protocol: int, groups: frozenset[int]) -> InputDecision:
        """To a group (ip_route_input_mc); these drops are never logged."""

        def drop(reason: DropReason, lock: str) -> InputDecision:
            return InputDecision(InputKind.DROP, None, reason, lock=lock)

        if self.dst not in groups:
            return drop(DropReason.NOT_SPECIFIED, f"{self.iif} listens to no group {format_address(self.dst)}")
        if is_multicast(self.src) or self.src == LIMITED_BROADCAST:
            return drop(DropReason.IP_INVALID_SOURCE, "the source is a multicast or broadcast address")
        if is_loopback(self.src) and not self.conf.route_localnet:
            return drop(DropReason.IP_LOCALNET, "source 127/8 with route_localnet=0")
        if not self.src:
            if self.dst >> 8 != LOCAL_MULTICAST and protocol != IGMP:
                return drop(DropReason.IP_INVALID_SOURCE, "source 0.0.0.0")
        else:
            check = self._validate_source(0, None)
            if check.reason:
                return drop(check.reason, check.lock)
        return InputDecision(InputKind.MULTICAST)

    def _validate_source(self, dst: int, out_dev: str | None) -> SourceCheck:
        """Whether this source may come in here (fib_validate_source).

        Args:
            dst: the destination, 0 for broadcast and multicast.
            out_dev: the interface it would be forwarded to; None when it stays here.
        """
        conf, fib = self.conf, self.fib
        if not conf.rp_filter and not (out_dev == self.iif and conf.send_redirects):
            # Nobody needs the way back: the kernel only looks whether the address is one of its own.
            if conf.accept_local:
                return PASSES
            if not fib.custom_local_routes and not fib.custom_rules:
                owner = fib.owner(self.src)
                return self._own_address(owner) if owner else PASSES
        return self._reverse_path(dst, out_dev)

    def _reverse_path(self, dst: int, out_dev: str | None) -> SourceCheck:
        """Look up the way back to the source (__fib_validate_source)."""
        conf, fib, iif = self.conf, self.fib, self.iif
        mark = self.mark if conf.src_valid_mark else 0
        back = fib.lookup(self.src, src=dst, iif=out_dev, mark=mark, tos=self.tos)
        route = back.route
        last_resort = self._reverse_filter(f"no route back to {format_address(self.src)}") if conf.rp_filter else PASSES
        if route is None:
            return last_resort
        if route.type is RouteType.LOCAL:
            if not conf.accept_local:
                return self._own_address(route.dev)
        elif route.type is not RouteType.UNICAST:
            lock = f"the source is a {route.type} address"
            return SourceCheck(DropReason.IP_INVALID_SOURCE, lock)
        if route.dev == iif or (route.type is RouteType.LOCAL and iif == "lo"):
            return SourceCheck(on_link=route.next_hop_scope >= Scope.HOST)
        if not fib.addresses(iif):
            return last_resort
        if conf.rp_filter == STRICT:
            return self._reverse_filter(f"the way back to {format_address(self.src)} is by {route.dev}, not {iif}")
        again = fib.lookup(self.src, src=dst, iif=out_dev, oif=iif, mark=mark, tos=self.tos).route
        on_link = again is not None and again.type is RouteType.UNICAST and again.next_hop_scope >= Scope.HOST
        return SourceCheck(on_link=on_link)

    def _reverse_filter(self, why: str) -> SourceCheck:
        return SourceCheck(DropReason.IP_RPFILTER, f"rp_filter={self.conf.rp_filter}: {why}")

    def _own_address(self, owner: str | None) -> SourceCheck:
        lock = f"the source is our own address on {owner}, and accept_local=0"
        return SourceCheck(DropReason.IP_LOCAL_SOURCE, lock)

    def _shared_link(self, gateway: int | None) -> bool:
        """Whether the sender could reach the next hop itself: shared_media says so, or one subnet holds both."""
        if self.conf.shared_media:
            return True
        return any(
            self.src in own.network and (not gateway or gateway in own.network) for own in self.fib.addresses(self.iif)
        )

    def _martian_source(self, reason: DropReason, lock: str, decision: Decision | None = None) -> InputDecision:
        return self._martian(f"source {self._addresses()}, on dev {self.iif}", reason, lock, decision)

    def _martian_destination(self, reason: DropReason, lock: str, decision: Decision | None = None) -> InputDecision:
        return self._martian(f"destination {self._addresses()}, dev {self.iif}", reason, lock, decision)

    def _martian(self, what: str, reason: DropReason, lock: str, decision: Decision | None) -> InputDecision:
        log = (f"IPv4: martian {what}",) if self.conf.log_martians else ()
        return InputDecision(InputKind.DROP, decision, reason, log, lock=lock)

    def _addresses(self) -> str:
        return f"{format_address(self.dst)} from {format_address(self.src)}"


_UNSUSPECTED: Final = [0 < first < 224 and first != 127 for first in range(256)]
"""By an address's first byte: none of the checks in front of the lookup is about it."""


def is_multicast(address: int) -> bool:
    """In 224.0.0.0/4."""
    return address >> 28 == 0xE


def is_loopback(address: int) -> bool:
    """In 127.0.0.0/8."""
    return address >> 24 == 127
