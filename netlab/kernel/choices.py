"""What chance decides in the kernel, told to the simulator: the ports that NAT has chosen.

Two traces in which NAT has chosen other ports are compared by pairing those (`netlab.kernel.ports`). Where nobody can
say which belong together, as when both ends of a flow have such a port, the simulator goes the same way once more, with
the packets that the kernel was sent, and begins its search for a port where the kernel's has ended. If that port is
free and allowed here, it is taken here, too; then nothing is left to chance.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from netlab.addresses import format_address
from netlab.conntrack.tuples import FlowTuple
from netlab.iptables.extension import Variant
from netlab.kernel.compare import Comparison, compare
from netlab.kernel.ports import Flow, Ports, Row, flow_of, rules_of
from netlab.names import Proto
from netlab.nat.nat import PLACES
from netlab.nat.ranges import Manip
from netlab.scenario import PacketStep, Scenario, Step
from netlab.simulate import build, follow

Json = Mapping[str, Any]

_PLACES: Final = {
    manip: frozenset(hook.name for hook, place in PLACES.items() if place.manip is manip) for manip in Manip
}


def compare_told(
    scenario: Scenario, simulated: Json, kernel: Json, variant: Variant = "nft", *, late: float = 0
) -> Comparison:
    """As `compare`, of a scenario's traces; no pairing of ports that has gone wrong counts as a difference."""
    found = compare(simulated, kernel, late=late)
    if found or (told := _told(scenario, simulated, kernel, variant)) is None:
        return found
    return compare(told, kernel, late=late)


def _told(scenario: Scenario, simulated: Json, kernel: Json, variant: Variant) -> Json | None:
    """The trace of a simulator that chooses as the kernel did; None where no port has differed."""
    ports = Ports(rules_of(scenario))
    steps: list[Step] = []
    for step, mine, theirs in zip(scenario.steps, simulated["steps"], kernel["steps"], strict=True):
        into = step if isinstance(step, PacketStep) and step.dev is not None else None
        steps.append(into._replace(data=ports.real_frame(into.data)) if into else step)
        ports.learn(mine["path"], theirs["path"])
    if not ports:
        return None
    net = build(scenario, variant)
    chosen = {name: _Chosen(name) for name in net.hosts}
    for name, host in net.hosts.items():
        if host.conntrack is not None:
            host.nat().told = chosen[name]

    def told() -> Iterator[Step]:
        for step, theirs in zip(steps, kernel["steps"], strict=True):
            for one in chosen.values():
                one.learn(theirs["path"])
            yield step

    return follow(net, told()).to_json()


class _Chosen:
    """The ports that one host's NAT has chosen in one step: how its packets came to its hooks, and what they became."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._flows: list[tuple[str, Flow | None, Flow]] = []

    def learn(self, path: Sequence[Row]) -> None:
        """Take note of a step's path in the kernel."""
        self._flows.clear()
        before: dict[int, Flow] = {}
        for row in path:
            flow = flow_of(row)
            if row["host"] == self._host and flow is not None:
                self._flows.append((row["hook"], before.get(row["packet"]), flow))
                before[row["packet"]] = flow

    def __call__(self, wanted: FlowTuple, manip: Manip) -> int | None:
        """The port that a flow got there, which has its address already; None if no packet shows it."""
        icmp = wanted.proto == Proto.ICMP
        flow = Flow(
            wanted.proto, format_address(wanted.saddr), wanted.sport,
            format_address(wanted.daddr), wanted.sport if icmp else wanted.dport,
        )  # fmt: skip
        for place, (hook, was, became) in enumerate(self._flows):
            if hook in _PLACES[manip] and _but_for_port(flow, manip) == _but_for_port(became, manip):
                if manip is Manip.SOURCE and (was is None or was.sport != flow.sport):
                    continue  # another source, which has got this address as well
                del self._flows[place]
                return became.sport if manip is Manip.SOURCE or icmp else became.dport
        return None


def _but_for_port(flow: Flow, manip: Manip) -> Flow:
    """The flow without the port that changes where that end is translated; echoes have but one."""
    if flow.proto == Proto.ICMP:
        return flow._replace(sport=0, dport=0)
    return flow._replace(sport=0) if manip is Manip.SOURCE else flow._replace(dport=0)
