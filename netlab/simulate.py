"""A scenario in the simulated world."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from netlab.conntrack.text import line_of
from netlab.conntrack.track import Conntrack
from netlab.hooks import Answer, HookState
from netlab.host import Host
from netlab.iptables.words import RuleError
from netlab.names import NetlabError
from netlab.packet import Packet
from netlab.queue import Program
from netlab.scenario import AdvanceStep, HostSpec, QueueAnswer, RunStep, Scenario, ScenarioError, Step, load
from netlab.shell import run_command
from netlab.topology import Network
from netlab.trace import Ran, Trace

if TYPE_CHECKING:
    from netlab.iptables.extension import Variant


def build(scenario: Scenario, variant: "Variant" = "nft") -> Network:
    """The scenario's hosts and links, before its first step; `variant` is the iptables that loads their rules.

    Raises:
        ScenarioError: something that the kernel would refuse, like a route whose gateway cannot be reached; of rules
            and sets it names the line and the column.
    """
    net = Network()
    for spec in scenario.hosts.values():
        try:
            host = net.host(
                spec.name,
                {dev: [str(one) for one in addresses] for dev, addresses in spec.interfaces.items()},
                routes=spec.routes,
                rules=spec.rules,
                sysctls=spec.sysctls,
                listen=[f"{proto}/{port}" for proto, port in spec.listen],
                mtu=spec.mtu,
                conntrack=spec.conntrack,
                variant=variant,
            )
            for number, answer in spec.queues.items():
                host.queue(number).bind(_answering(answer))
        except NetlabError as problem:
            raise ScenarioError(f"{scenario.name}: host {spec.name}: {problem}") from None
        _load(scenario, spec, host)
    for (host_name, dev), (peer, peer_dev) in scenario.links:
        net.link(f"{host_name}:{dev}", f"{peer}:{peer_dev}")
    return net


def _load(scenario: Scenario, spec: HostSpec, host: Host) -> None:
    """Its sets first, which its rules may ask."""
    if not (spec.ipsets or spec.iptables):
        return
    from netlab.iptables.set_command import restore as restore_sets

    for what, restore in (("ipsets", partial(restore_sets, host.sets)), ("iptables", host.firewall.restore)):
        try:
            if text := getattr(spec, what):
                restore(text)
        except RuleError as error:
            begins = spec.places.get(what)
            if error.place is None or begins is None:
                raise ScenarioError(f"{scenario.name}: host {spec.name}: {what}: {error}") from None
            line, column = (one + other - 1 for one, other in zip(begins, error.place, strict=True))
            raise ScenarioError(f"{scenario.name}:{line}:{column}: host {spec.name}: {error.problem}") from None


def _answering(answer: QueueAnswer) -> Program:
    """A program that gives every packet of its queue the same answer."""

    def program(packet: Packet, state: HookState) -> Answer:
        return answer.verdict, packet if answer.mark is None else packet.with_(mark=answer.mark)

    return program


def run(scenario: Scenario | Path | str, variant: "Variant" = "nft") -> Trace:
    """Take every step of the scenario, or of the one in that file, and return the journey.

    Raises:
        ScenarioError: as for `build` and `load`.
    """
    if not isinstance(scenario, Scenario):
        scenario = load(scenario)
    return follow(build(scenario, variant), scenario.steps)


def follow(net: Network, steps: Iterable[Step]) -> Trace:
    """Take every step of a scenario on the network that `build` made of it."""
    trace = Trace()
    for step in steps:
        trace.steps += take(net, step).steps
    for name, host in net.hosts.items():
        trace.iptables = host.variant
        if host.conntrack:
            trace.conntrack[name] = _entries(host.conntrack)
        if host.has_firewall and (rules := host.firewall.save(counters=True)):
            trace.counters[name] = rules.splitlines()
    return trace


def _entries(tracker: Conntrack) -> list[str]:
    """Its living entries, as `conntrack -L` prints them."""
    now = tracker.host.wires.clock.now
    return [str(line_of(entry, now)) for entry in tracker.table if entry.expires > now]


def take(net: Network, step: Step) -> Trace:
    """One step of a scenario on the network that `build` made.

    Raises:
        NetlabError: a command that hosts do not have.
    """
    if isinstance(step, AdvanceStep):
        return net.advance(step.seconds)
    host = net.hosts[step.host]
    if isinstance(step, RunStep):
        with net.wires.step(step.title) as trace:
            output = run_command(host, step.command)
            if record := net.wires.record:
                record(Ran(0, host.name, output.status, str(output)))
        return trace
    return host.receive(step.dev, step.data) if step.dev else host.send(step.data)
