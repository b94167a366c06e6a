"""`ip route get`: one lookup, printed as iproute2 prints it."""

from typing import Final

from netlab.addresses import format_address
from netlab.martians import ALL_HOSTS, InputDecision, InputKind, route_input
from netlab.names import NetlabError
from netlab.route import MAIN, Route, RouteType, table_name
from netlab.route_output import OutputDecision, route_output
from netlab.routing import Fib
from netlab.sysctls import Sysctls

ERRNO_TEXT: Final = {
    "EACCES": "Permission denied",
    "EHOSTUNREACH": "No route to host",
    "EINVAL": "Invalid argument",
    "ENETUNREACH": "Network is unreachable",
}
FLAGS: Final = {
    RouteType.LOCAL: ("local",),
    RouteType.BROADCAST: ("local", "brd"),
    RouteType.MULTICAST: ("mc",),
    RouteType.UNICAST: (),
}


def format_route_get(
    fib: Fib,
    sysctls: Sysctls,
    dst: int,
    *,
    src: int = 0,
    iif: str | None = None,
    oif: str | None = None,
    mark: int = 0,
    tos: int = 0,
) -> str:
    """What root sees from `ip route get DST [from SRC] [iif IIF] [oif OIF] [mark MARK] [tos TOS]`, byte for byte.

    With `iif` the packet is one that came in there, and passes the martian checks; without, it is made here.

    Raises:
        NetlabError: the lookup fails; the message is the command's.
    """
    if iif is None:
        output = route_output(fib, sysctls, dst=dst, src=src, oif=oif, mark=mark, tos=tos)
        if output.errno:
            raise NetlabError(f"RTNETLINK answers: {ERRNO_TEXT[output.errno]}")
        return print_output(output, given_source=src, mark=mark)
    received = route_input(fib, sysctls, src=src, dst=dst, iif=iif, tos=tos, mark=mark)
    if received.reason:
        raise NetlabError(f"RTNETLINK answers: {ERRNO_TEXT[input_errno(received)]}")
    return print_input(received, src=src, dst=dst, iif=iif, mark=mark)


def input_errno(received: InputDecision) -> str:
    """The error that a dropped packet is to `ip route get`."""
    if received.kind is InputKind.DROP or received.decision is None:
        return "EINVAL"
    # Without forwarding whatever is not for this host is "no route to host", whether or not there is a route.
    return (received.icmp is not None and received.decision.errno) or "EHOSTUNREACH"


def print_output(output: OutputDecision, *, given_source: int, mark: int) -> str:
    """The two lines for a packet made here."""
    route = output.decision.route if output.decision else None
    flags = FLAGS[output.type]
    if output.dev == "lo" and "local" not in flags:
        flags = ("local", *flags)
    if output.type is RouteType.MULTICAST and output.dst == ALL_HOSTS:
        flags = ("local", "mc")
    first = [*kind_and_destination(output.type, output.dst), *source_words("from", given_source)]
    if output.next_hop is not None and output.next_hop != output.dst:
        first += ["via", format_address(output.next_hop)]
    first += [f"dev {output.dev}", *table_words(route)]
    first += source_words("src", 0 if given_source else output.source)
    first += [*quirk(output.type), *mark_words(mark), "uid 0"]
    return two_lines(first, flags, mtu_words(route))


def print_input(received: InputDecision, *, src: int, dst: int, iif: str, mark: int) -> str:
    """The two lines for a packet that came in by `iif`."""
    route = received.decision.route if received.decision else None
    here = received.kind is not InputKind.FORWARD
    kind = RouteType(received.kind) if here else RouteType.UNICAST
    flags = ("local", "mc") if kind is RouteType.MULTICAST else FLAGS[kind]
    first = [*kind_and_destination(kind, dst), *source_words("from", src)]
    if route and route.gateway is not None and not here:
        first += ["via", format_address(route.gateway)]
    first += [f"dev {'lo' if here or route is None else route.dev}", *table_words(route)]
    first += [*quirk(kind), *mark_words(mark)]
    if received.do_redirect:
        flags = ("redirect",)
    return two_lines(first, flags, [*mtu_words(route), f"iif {iif}"])


def two_lines(first: list[str], flags: tuple[str, ...], rest: list[str]) -> str:
    """The route, and below it what the kernel would cache of it; both with iproute2's trailing space."""
    cache = ["    cache", *([f"<{','.join(flags)}>"] if flags else []), *rest]
    return f"{' '.join(first)} \n{' '.join(cache)} \n"


def kind_and_destination(kind: RouteType, dst: int) -> list[str]:
    """`local 10.0.1.1`; unicast goes without saying."""
    return [*([] if kind is RouteType.UNICAST else [str(kind)]), format_address(dst)]


def table_words(route: Route | None) -> list[str]:
    """`table local`; main goes without saying."""
    return [f"table {table_name(route.table)}"] if route and route.table != MAIN else []


def source_words(keyword: str, address: int) -> list[str]:
    """`from 10.0.1.2`, `src 10.0.1.1`; nothing for no address."""
    return [keyword, format_address(address)] if address else []


def mark_words(mark: int) -> list[str]:
    """`mark 1`, as the kernel tells it back."""
    return [f"mark {mark}"] if mark else []


def mtu_words(route: Route | None) -> list[str]:
    """`mtu 1400`, where the route sets one."""
    return [f"mtu {route.mtu}"] if route and route.mtu is not None else []


def quirk(kind: RouteType) -> list[str]:
    """The kernel's flag for multicast is the bit that iproute2 6.1 takes for a failed hardware offload."""
    return ["rt_offload_failed"] if kind is RouteType.MULTICAST else []
