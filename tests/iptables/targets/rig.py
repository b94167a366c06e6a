"""A router between two networks, rules on it, and short ways to ask what came out."""

from typing import TypeVar

from netlab.host import Host
from netlab.iptables.set_command import restore
from netlab.packet import Packet
from netlab.trace import Event, Logged, Ruled, Sent, Trace

E = TypeVar("E", bound=Event)

CLIENT, SERVER = "10.0.1.2", "10.0.2.2"
OUTSIDE, INSIDE = "10.0.1.1", "10.0.2.1"


def router(*rules: str, table: str = "filter", sets: str = "", **options: object) -> Host:
    """A host with eth0 at 10.0.1.1/24 and eth1 at 10.0.2.1/24 that forwards, with these rules in one table."""
    host = Host(
        "router",
        {"eth0": f"{OUTSIDE}/24", "eth1": f"{INSIDE}/24"},
        sysctls={"net.ipv4.ip_forward": 1},
        **options,  # type: ignore[arg-type]
    )
    if sets:
        restore(host.sets, sets)
    if rules:
        host.firewall.restore("\n".join([f"*{table}", *rules, "COMMIT", ""]))
    return host


def load(host: Host, text: str) -> None:
    """More rules, several tables of them."""
    host.firewall.restore(text, noflush=True)


def all_of(trace: Trace, kind: type[E]) -> list[E]:
    """The events of a kind."""
    return [event for event in trace.events if isinstance(event, kind)]


def sent(trace: Trace) -> list[Packet]:
    """The packets that left."""
    return [event.packet for event in all_of(trace, Sent)]


def log(trace: Trace) -> list[str]:
    """The lines of the kernel's log."""
    return [event.line for event in all_of(trace, Logged)]


def decided(trace: Trace) -> list[str]:
    """What rules and policies decided, `filter:FORWARD:rule:1 DROP`."""
    return [str(event).partition("  ")[0] for event in all_of(trace, Ruled)]
