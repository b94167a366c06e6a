"""A scenario in the simulated world."""

from netlab.conntrack.text import line_of
from netlab.conntrack.track import Conntrack
from netlab.names import NetlabError
from netlab.scenario import AdvanceStep, PacketStep, Scenario, ScenarioError
from netlab.topology import Network
from netlab.trace import Trace


def build(scenario: Scenario) -> Network:
    """The scenario's hosts and links, before its first step.

    Raises:
        ScenarioError: something that the kernel would refuse, like a route whose gateway cannot be reached.
    """
    net = Network()
    for spec in scenario.hosts.values():
        try:
            net.host(
                spec.name,
                {dev: [str(one) for one in addresses] for dev, addresses in spec.interfaces.items()},
                routes=spec.routes,
                rules=spec.rules,
                sysctls=spec.sysctls,
                listen=[f"{proto}/{port}" for proto, port in spec.listen],
                mtu=spec.mtu,
                conntrack=spec.conntrack,
            )
        except NetlabError as problem:
            raise ScenarioError(f"{scenario.name}: host {spec.name}: {problem}") from None
    for (host, dev), (peer, peer_dev) in scenario.links:
        net.link(f"{host}:{dev}", f"{peer}:{peer_dev}")
    return net


def run(scenario: Scenario) -> Trace:
    """Take every step of the scenario, and return the journey.

    Raises:
        ScenarioError: as for `build`.
    """
    return follow(build(scenario), scenario)


def follow(net: Network, scenario: Scenario) -> Trace:
    """Take every step of the scenario on the network that `build` made of it."""
    trace = Trace()
    for step in scenario.steps:
        trace.steps += take(net, step).steps
    trace.conntrack = {name: _entries(host.conntrack) for name, host in net.hosts.items() if host.conntrack}
    return trace


def _entries(tracker: Conntrack) -> list[str]:
    """Its living entries, as `conntrack -L` prints them."""
    now = tracker.host.wires.clock.now
    return [str(line_of(entry, now)) for entry in tracker.table if entry.expires > now]


def take(net: Network, step: PacketStep | AdvanceStep) -> Trace:
    """One step of a scenario on the network that `build` made."""
    if isinstance(step, AdvanceStep):
        return net.advance(step.seconds)
    host = net.hosts[step.host]
    return host.receive(step.dev, step.data) if step.dev else host.send(step.data)
