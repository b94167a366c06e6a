"""`ip route get`: one lookup, printed as iproute2 prints it."""

from typing import Final

from netlab.addresses import format_address
from netlab.martians import ALL_HOSTS, InputDecision, InputKind, route_input
from netlab.names import DropReason, NetlabError
from netlab.route import Route, RouteType
from netlab.route_output import OutputDecision, route_output
from netlab.routing import Decision, Fib
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
        return print_output(output, dst=dst, given_source=src, mark=mark)
    received = route_input(fib, sysctls, src=src, dst=dst, iif=iif, tos=tos, mark=mark)
    if received.reason:
        raise NetlabError(f"RTNETLINK answers: {ERRNO_TEXT[input_errno(received)]}")
    return print_input(received, src=src, dst=dst, iif=iif, mark=mark)


def input_errno(received: InputDecision) -> str:
    """The error that a dropped packet is to `ip route get`: without forwarding all strangers are unreachable."""
    if received.reason is DropReason.IP_INADDRERRORS:
        return "EHOSTUNREACH"
    return (received.decision and received.decision.errno) or "EINVAL"


def print_output(output: OutputDecision, *, dst: int, given_source: int, mark: int) -> str:
    """The two lines for a packet made here."""
    flags = FLAGS[output.type]
    if output.dev == "lo" and not flags:
        flags = ("local",)
    if output.type is RouteType.MULTICAST and output.dst == ALL_HOSTS:
        flags = ("local", "mc")
    first = [*kind_and_destination(output.type, dst), *source_words("from", given_source)]
    first += tos_words(output.decision)
    if output.gateway is not None:
        first += ["via", format_address(output.gateway)]
    first += [f"dev {output.dev}", *table_words(output.decision)]
    first += source_words("src", 0 if given_source else output.source)
    first += [*quirk(output.type), *mark_words(mark), "uid 0"]
    return two_lines(first, flags, mtu_words(output.route))


def print_input(received: InputDecision, *, src: int, dst: int, iif: str, mark: int) -> str:
    """The two lines for a packet that came in by `iif`."""
    route = received.decision.route if received.kind is InputKind.FORWARD and received.decision else None
    kind = RouteType.UNICAST if route else RouteType(received.kind)
    flags = ("local", "mc") if kind is RouteType.MULTICAST else FLAGS[kind]
    first = [*kind_and_destination(kind, dst), *source_words("from", src), *tos_words(received.decision)]
    if route and route.hop is not None:
        first += ["via", format_address(route.hop)]
    first += [f"dev {route.dev if route else 'lo'}", *table_words(received.decision)]
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


def tos_words(decision: Decision | None) -> list[str]:
    """`tos 0x10`, where the winning route is for that tos only."""
    tos = decision.route.tos if decision and decision.route else 0
    return [f"tos 0x{tos:02x}"] if tos else []


def table_words(decision: Decision | None) -> list[str]:
    """`table local`; main goes without saying."""
    table = decision.kernel_table if decision else "main"
    return [f"table {table}"] if table != "main" else []


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
