"""A router that translates, with rules as functions: what tables of iptables do is tested elsewhere."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from netlab.addresses import parse_address
from netlab.conntrack.entry import Entry
from netlab.conntrack.text import Line
from netlab.hooks import HookState, Registered
from netlab.host import Host
from netlab.names import Hook, Verdict
from netlab.nat.nat import Nat
from netlab.nat.ranges import Manip, NatRange
from netlab.packet import Packet
from netlab.trace import Sent, Trace

C, C2, S = "10.0.1.2", "10.0.1.3", "10.0.2.2"
INSIDE, OUTSIDE = "10.0.1.1", "10.0.2.1"
"""The router's own addresses."""

Action = Callable[[Nat, HookState], Verdict]


@dataclass
class Rule:
    """What to do on a hook with packets of that kind; every field that is not given fits every packet."""

    hook: Hook
    action: Action
    dst: str = ""
    dev: str = ""
    proto: int | None = None

    def fits(self, packet: Packet, state: HookState) -> bool:
        return (
            (not self.dst or packet.dst == self.dst)
            and (not self.dev or self.dev in (state.dev_in, state.dev_out))
            and self.proto in (None, packet.proto)
        )


def span(first: str, last: str = "") -> tuple[int, int]:
    """A range of addresses from text."""
    return parse_address(first), parse_address(last or first)


def snat(first: str, last: str = "", **more: Any) -> Action:
    """`-j SNAT --to-source first-last`."""
    return lambda nat, state: nat.setup(state.skb, NatRange(span(first, last), **more), Manip.SOURCE)


def dnat(first: str, last: str = "", **more: Any) -> Action:
    """`-j DNAT --to-destination first-last`."""
    return lambda nat, state: nat.setup(state.skb, NatRange(span(first, last), **more), Manip.DESTINATION)


def masquerade(**more: Any) -> Action:
    """`-j MASQUERADE`."""
    return lambda nat, state: nat.masquerade(state.skb, NatRange(**more), state.dev_out or "")


def redirect(**more: Any) -> Action:
    """`-j REDIRECT`."""
    return lambda nat, state: nat.redirect(state.skb, NatRange(**more), state.hook, state.dev_in)


class Gateway:
    """The router, its rules, and how often each was asked to act."""

    def __init__(self, *rules: Rule, helper: str = "", attached: bool = True, **host: Any) -> None:
        sysctls = {"net.ipv4.ip_forward": 1} | host.pop("sysctls", {})
        given = {"routes": ["default via 10.0.2.2"]} | host
        self.host = Host("r", {"r0": "10.0.1.1/24", "r1": ["10.0.2.1/24", "10.0.2.9/24"]}, sysctls=sysctls, **given)
        if helper:
            self.host.assign_helper(helper)
        self.nat = self.host.nat()
        self.acted = [0] * len(rules)
        self.rules = list(rules)
        self.registered: list[Registered] = []
        if attached:
            self.attach()

    def attach(self) -> None:
        self.registered = self.nat.attach(dict.fromkeys(Hook, self._chain))

    def detach(self) -> None:
        """As `nft delete table ip nat`."""
        for entry in self.registered:
            self.host.unregister(entry)

    def _chain(self, packet: Packet, state: HookState) -> Verdict:
        for number, rule in enumerate(self.rules):
            if rule.hook is state.hook and rule.fits(packet, state):
                self.acted[number] += 1
                return rule.action(self.nat, state)
        return Verdict.ACCEPT

    def inside(self, packet: Packet) -> Trace:
        """From the clients' side."""
        return _sound(self.host.receive("r0", packet))

    def outside(self, packet: Packet) -> Trace:
        """From the servers' side."""
        return _sound(self.host.receive("r1", packet))

    @property
    def entries(self) -> list[Entry]:
        assert self.host.conntrack
        return list(self.host.conntrack.table)

    @property
    def lines(self) -> list[Line]:
        assert self.host.conntrack
        return self.host.conntrack.lines()


def _sound(trace: Trace) -> Trace:
    """No packet was dropped because a function stumbled."""
    assert not [drop for drop in trace.dropped if " raised " in drop.why]
    return trace


def sent(trace: Trace) -> Packet:
    """The one frame that left."""
    frames = list(frames_of(trace))
    assert len(frames) == 1, trace
    return frames[0]


def frames_of(trace: Trace) -> Iterator[Packet]:
    """All frames that left."""
    for step in trace.steps:
        yield from (event.packet for event in step.events if isinstance(event, Sent))


def is_whole(packet: Packet) -> bool:
    """Whether every checksum is right, also of what an error quotes as far as it is quoted."""
    return packet.checksum is None and packet.checksum_ok()
