"""`route` and `route -n` of net-tools: table main as old machines, and many books, show it."""

from typing import Final, NamedTuple

from netlab.addresses import Prefix, format_address, parse_address, parse_length
from netlab.names import NetlabError
from netlab.route import MAIN, Route, RouteType
from netlab.routing import Fib

TITLE: Final = "Kernel IP routing table"
HEADER: Final = "Destination     Gateway         Genmask         Flags Metric Ref    Use Iface"
NAMES: Final = {"0.0.0.0": "default", "127.0.0.0": "loopback", "169.254.0.0": "link-local"}
"""What Debian's /etc/networks calls networks; `route` without -n prints these."""


def format_route(fib: Fib, *, numeric: bool) -> str:
    """What `route -n` (numeric) or `route` prints, byte for byte, on a Debian machine without DNS."""
    lines = [table_line(route, numeric=numeric) for route in fib.table(MAIN) if route.type not in UNSEEN]
    return "\n".join([TITLE, HEADER, *lines]) + "\n"


UNSEEN: Final = (RouteType.BROADCAST, RouteType.MULTICAST)
"""What /proc/net/route, where net-tools read, leaves out."""


def table_line(route: Route, *, numeric: bool) -> str:
    """One line. Rejecting routes have no gateway and no interface; blackhole and throw look like usable ones."""
    destination = format_address(route.prefix.address)
    if not numeric and (destination != "0.0.0.0" or not route.prefix.length):
        destination = NAMES.get(destination, destination)
    rejects = route.type in (RouteType.UNREACHABLE, RouteType.PROHIBIT)
    gateway = "-" if rejects else format_address(route.gateway or 0)
    flags = "!" if rejects else "U"
    flags += "G" * (route.gateway is not None) + "H" * (route.prefix.length == 32)
    metric = route.metric - 2**32 if route.metric >= 2**31 else route.metric
    ref, use, iface = ("-", "-", "-") if rejects else ("0", "0", route.dev or "*")
    if rejects:
        use = "0"
    genmask = format_address(route.prefix.mask)
    return f"{destination:<15} {gateway:<15} {genmask:<15} {flags:<5} {metric:<6} {ref:<2} {use:>7} {iface}"


class Line(NamedTuple):
    """What one line of `route -n` tells; less than the route it comes from."""

    prefix: Prefix
    gateway: int | None
    """None: on the link, or the route rejects."""
    flags: str
    metric: int
    dev: str | None
    """None: `-` or `*`, no interface."""

    @property
    def rejects(self) -> bool:
        """Flag `!`: packets are refused with an error."""
        return "!" in self.flags


def parse_route_n(text: str) -> list[Line]:
    """What `route -n` printed, or `route` where it found no names.

    Raises:
        NetlabError: a line that is not of that form, with its number.
    """
    lines = text.splitlines()
    try:
        start = next(number for number, line in enumerate(lines) if line.startswith("Destination"))
    except StopIteration:
        raise NetlabError("no line starts with 'Destination': this is not what `route -n` prints") from None
    return [parse_line(number, line) for number, line in enumerate(lines[start + 1 :], start + 2) if line.strip()]


def parse_line(number: int, line: str) -> Line:
    """One line behind the header."""
    try:
        destination, gateway, genmask, flags, metric, _, _, iface = line.split()
        length = parse_length(genmask, line)
        address = 0 if destination == "default" else parse_address(destination)
        hop = None if gateway in ("-", "*", "0.0.0.0") else parse_address(gateway)
        return Line(Prefix(address, length), hop, flags, int(metric), None if iface in ("-", "*") else iface)
    except ValueError:
        raise NetlabError(f"line {number}: {line!r} has not the eight columns of `route -n`") from None
    except NetlabError as error:
        raise NetlabError(f"line {number}: {error}") from None
