"""The route of a packet made by this host: which interface, which next hop, which source address.

Sources: net/ipv4/route.c (ip_route_output_key_hash_rcu, __mkroute_output), net/ipv4/fib_semantics.c (fib_select_path).
"""

from dataclasses import dataclass
from html import escape
from typing import Final

from netlab.addresses import format_address
from netlab.martians import LIMITED_BROADCAST, LOCAL_MULTICAST, is_loopback, is_multicast
from netlab.route import Route, RouteType, Scope
from netlab.routing import Decision, Fib
from netlab.sysctls import Sysctls

LOOPBACK: Final = 0x7F000001


@dataclass(frozen=True, slots=True, repr=False)
class OutputDecision:
    """Where a local packet goes, or the error that its sender gets."""

    dst: int
    """The destination; 127.0.0.1 or the bound source where the sender asked for 0.0.0.0."""
    source: int = 0
    """The source address: the sender's own choice, or what the route suggests."""
    dev: str | None = None
    type: RouteType = RouteType.UNICAST
    errno: str | None = None
    """What sendto() fails with; None on success."""
    decision: Decision | None = None
    """The lookup; None when the kind of address settled it."""
    settled: str = ""
    """What settled it when that was not the lookup, in words."""

    @property
    def why(self) -> tuple[str, ...]:
        """The reasons in plain words: those of the lookup, or what settled it without one."""
        return (*(self.decision.why if self.decision else ()), *([self.settled] if self.settled else []))

    @property
    def next_hop(self) -> int | None:
        """The address whose MAC address the frame gets; None for broadcast and multicast, which need none."""
        if self.gateway is None and self.type in (RouteType.BROADCAST, RouteType.MULTICAST):
            return None
        return self.dst if self.gateway is None else self.gateway

    @property
    def route(self) -> Route | None:
        """The route whose gateway and MTU count: not for 255.255.255.255, nor a default route for a group."""
        found = self.decision.route if self.decision else None
        if found is None or self.dst == LIMITED_BROADCAST:
            return None
        return None if self.type is RouteType.MULTICAST and found.prefix.length < 4 else found

    @property
    def gateway(self) -> int | None:
        """The next hop, where it is not the destination itself."""
        return self.route.hop if self.route else None

    @property
    def comes_back(self) -> bool:
        """A copy is delivered to this host as well: a broadcast on a real link."""
        return self.type is RouteType.BROADCAST and self.dev != "lo"

    def __str__(self) -> str:
        if self.errno:
            return f"{format_address(self.dst)}: {self.errno}"
        via = "" if self.gateway is None else f" via {format_address(self.gateway)}"
        kind = "" if self.type is RouteType.UNICAST else f"{self.type} "
        return f"{kind}{format_address(self.dst)}{via} dev {self.dev} src {format_address(self.source)}"

    def __repr__(self) -> str:
        return f"<OutputDecision {self}>"

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{escape(line)}</li>" for line in self.why)
        return f"<p><code>{escape(str(self))}</code></p><ul>{lines}</ul>"


def route_output(
    fib: Fib,
    sysctls: Sysctls,
    *,
    dst: int,
    src: int = 0,
    oif: str | None = None,
    mark: int = 0,
    tos: int = 0,
    any_source: bool = False,
) -> OutputDecision:
    """Route a packet that a local process sends, as `ip route get DST from SRC oif DEV mark MARK` shows it.

    Args:
        fib: the host's routing.
        sysctls: the host's settings.
        dst: the destination as an integer.
        src: the source that the sender bound; 0: the kernel chooses. A raw socket that writes its own IP header
            has bound none: look up with 0, and keep what the header says.
        oif: the interface that the sender is bound to (SO_BINDTODEVICE).
        mark: the packet's mark.
        tos: the type-of-service byte.
        any_source: the source need not be this host's own: the packet exists, and is routed again.

    Raises:
        NetlabError: there is no interface `oif`.
    """

    def localnet(dev: str) -> bool:
        return sysctls.conf(dev).route_localnet

    def fail(errno: str, why: str, decision: Decision | None = None) -> OutputDecision:
        return OutputDecision(dst, src, errno=errno, decision=decision, settled=why)

    def out(dev: str, source: int, why: str = "", decision: Decision | None = None) -> OutputDecision:
        """The last checks, and what kind of destination it is (__mkroute_output)."""
        if is_loopback(source) and dev != "lo" and not localnet(dev):
            return fail("EINVAL", f"source 127/8 would leave by {dev}, and route_localnet=0", decision)
        route = decision.route if decision else None
        kind = route.type if route else RouteType.LOCAL if dev == "lo" else RouteType.UNICAST
        if dst == LIMITED_BROADCAST:
            kind = RouteType.BROADCAST
        elif is_multicast(dst):
            kind = RouteType.MULTICAST
        return OutputDecision(dst, source, dev, kind, decision=decision, settled=why)

    if src and not any_source:
        if is_multicast(src) or src == LIMITED_BROADCAST:
            return fail("EINVAL", "the source is a multicast or broadcast address")
        owner = fib.device_of(src)
        if owner is None:
            return fail("ENETUNREACH", "the source is no address of this host")
        if oif is None and (is_multicast(dst) or dst == LIMITED_BROADCAST):
            return out(owner, src, f"to all on a link: by the interface of the source, {owner}")
    if oif is not None:
        if dst == LIMITED_BROADCAST or dst >> 8 == LOCAL_MULTICAST:
            source = src or fib.select_address(oif, scope=Scope.LINK, localnet=localnet(oif))
            return out(oif, source, f"never leaves the link: by the interface asked for, {oif}")
        if not src and is_multicast(dst):
            src = fib.select_address(oif, localnet=localnet(oif))
        elif not src and not dst:
            src = fib.select_address(oif, scope=Scope.HOST, localnet=localnet(oif))
    if not dst:
        dst = src = src or LOOPBACK
        return out("lo", src, "0.0.0.0 as a destination means this host")

    decision = fib.lookup(dst, src=src, oif=oif, mark=mark, tos=tos)
    route = decision.route
    if route is None:
        if oif is None:
            return fail(decision.errno or "ENETUNREACH", "", decision)
        source = src or fib.select_address(oif, scope=Scope.LINK, localnet=localnet(oif))
        return out(oif, source, f"no route, but the sender asked for {oif}: taken to be on its link", decision)
    if route.type is RouteType.LOCAL:
        return out("lo", src or route.source or dst, decision=decision)
    dev = route.dev or "lo"
    return out(dev, src or fib.source_of(route, localnet=localnet(dev)), decision=decision)
