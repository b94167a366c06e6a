"""Traces written by hand, for whatever shows traces."""

from dataclasses import dataclass

from netlab.names import Hook
from netlab.packet import Packet
from netlab.trace import Called, Delivered, Dropped, Emitted, Event, Noted, Passed, Received, Routed, Sent, Step, Trace

UDP = Packet.udp("10.0.1.2", "10.0.2.2", 5000, 53)


@dataclass(frozen=True)
class Decided:
    """A routing decision with its reasons."""

    text: str
    why: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text


def passed(
    hook: Hook, packet: Packet, verdict: str = "ACCEPT", ways: tuple[str | None, str | None] = (None, None)
) -> Passed:
    return Passed(0, "router", hook, ways[0], ways[1], packet, verdict)


def trace(title: str, events: list[Event]) -> Trace:
    step = Step(title)
    step.events += events
    return Trace([step])


def forwarded() -> Trace:
    """From eth0 to eth1."""
    after = UDP.with_(ttl=63)
    route = Decided(
        "10.0.2.2: 10.0.2.0/24 dev eth1", ("table local: no route matches", "table main: /24 is the longest")
    )
    return trace("10.0.1.2 > 10.0.2.2", [
        Received(0, "router", "eth0", UDP),
        passed(Hook.PRE_ROUTING, UDP, ways=("eth0", None)),
        Routed(0, "router", UDP, route),
        passed(Hook.FORWARD, after, ways=("eth0", "eth1")),
        passed(Hook.POST_ROUTING, after, ways=(None, "eth1")),
        Sent(0, "router", "eth1", after, "10.0.2.2"),
    ])  # fmt: skip


def looped() -> Trace:
    """From this machine to itself: a second lap over lo."""
    own = Packet.udp("10.0.1.1", "10.0.1.1", 5000, 53)
    return trace("10.0.1.1 > 10.0.1.1", [
        Emitted(0, "router", own, "a local process"),
        Routed(0, "router", own, Decided("10.0.1.1: local 10.0.1.1 dev eth0", ("table local has 10.0.1.1/32",))),
        passed(Hook.LOCAL_OUT, own, ways=(None, "lo")),
        passed(Hook.POST_ROUTING, own, ways=(None, "lo")),
        Sent(0, "router", "lo", own),
        Received(0, "router", "lo", own),
        passed(Hook.PRE_ROUTING, own, ways=("lo", None)),
        passed(Hook.LOCAL_IN, own, ways=("lo", None)),
        Delivered(0, "router", "udp/53", own),
    ])  # fmt: skip


def martian() -> Trace:
    """Dropped right behind PRE_ROUTING."""
    packet = Packet.udp("127.0.0.1", "10.0.1.1", 5000, 53)
    return trace("127.0.0.1 > 10.0.1.1", [
        Received(0, "router", "eth0", packet),
        passed(Hook.PRE_ROUTING, packet, ways=("eth0", None)),
        Dropped(0, "router", "IP_INVALID_SOURCE", packet, "127.0.0.0/8 never comes in by a wire"),
    ])  # fmt: skip


def queued() -> Trace:
    """Three functions on PRE_ROUTING; the second is queued and repeated once."""
    changed = UDP.with_(ttl=10)

    def called(priority: int, function: str, verdict: str, before: Packet = UDP, after: Packet = UDP) -> Called:
        return Called(0, "router", Hook.PRE_ROUTING, priority, function, verdict, before, after)

    return trace("10.0.1.2 > 10.0.2.2", [
        Received(0, "router", "eth0", UDP),
        passed(Hook.PRE_ROUTING, changed, "DROP", ways=("eth0", None)),
        called(-300, "first", "ACCEPT"),
        called(-150, "second", "QUEUE"),
        Noted(0, "router", "waits in queue 0 as packet 1"),
        Noted(0, "router", "queue 0: the program answers REPEAT"),
        called(-150, "second", "ACCEPT", UDP, changed),
        called(0, "<third>", "DROP", changed, changed),
        Dropped(0, "router", "NETFILTER_DROP", changed, "<third> on PRE_ROUTING returned DROP"),
    ])  # fmt: skip
