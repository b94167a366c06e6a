"""A scenario on the real kernel, step by step. Runs in the worker process: see `netlab.kernel.worker`."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from errno import errorcode

from netlab.iptables.extension import Variant
from netlab.kernel import aging
from netlab.kernel.conntrack import Entries
from netlab.kernel.isn import InitialNumbers
from netlab.kernel.listeners import Listeners
from netlab.kernel.log_room import wait_for_room
from netlab.kernel.namespaces import KernelUnavailable
from netlab.kernel.netlink import LostEvents
from netlab.kernel.network import Network
from netlab.kernel.ports import Ports, Row, rules_of
from netlab.kernel.probes import BpfProbes, Probes, cookie_of
from netlab.kernel.queues import QueueListeners
from netlab.kernel.record import Recorder
from netlab.kernel.rules import logs_are_seen
from netlab.kernel.traces import TraceProbes
from netlab.names import NetlabError, Verdict, World
from netlab.packet import MalformedPacket, Packet
from netlab.scenario import AdvanceStep, PacketStep, RunStep, Scenario
from netlab.shell import parse_command
from netlab.trace import UNKNOWN, Passed, Ran, Received, Refused, Sent, Step, Trace

_ATTEMPTS = 3
_QUIET = 0.001  # seconds
_TICKS = 6  # CLOCK_MONOTONIC_COARSE: the time of the last timer tick (clock_gettime(2))
_TICK = time.clock_getres(_TICKS)  # seconds
_PATIENCE = 5  # ticks that may begin unseen on a busy machine

Paths = Sequence[Sequence[Row]]  # by step, as in the JSON form of a trace


class WaitRefused(NetlabError):
    """The scenario would have to wait longer than the caller allows."""


def run(
    scenario: Scenario,
    *,
    max_wait: float,
    privileged: bool,
    age: bool = False,
    variant: Variant = "nft",
    paths: Paths = (),
) -> Trace:
    """The trace of that scenario on this machine's kernel.

    `max_wait` bounds the seconds spent in `advance` steps; with `age` connections are made older in the long ones, and
    nobody waits. Only with `privileged` is everything known. `variant` is the iptables that loads the rules.
    `paths` are those that the packets take in the simulator: where NAT has chosen another port there, packets to it are
    sent to the kernel's. A run that lost an event counts for nothing, and is made again.

    Raises:
        NetlabError: the kernel refuses something the scenario asks for, or cannot be asked.
        WaitRefused: its `advance` steps take longer in all.
        CannotAge: with `age`, something in it has a clock that cannot be moved.
        LostEvents: events were lost again and again.
    """
    advances = [step for step in scenario.steps if isinstance(step, AdvanceStep)]
    waits = sum(aging.STREAM if age and aging.is_aged(step) else step.seconds for step in advances)
    if waits > max_wait:
        raise WaitRefused(
            f"{scenario.name}: the steps advance {waits:g} s in all, and the kernel really waits: "
            f"at most {max_wait:g} s (--max-wait)" + ("" if age else "; --age makes connections older instead")
        )
    if age:
        aging.check(scenario)
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(LostEvents):
            return _attempt(scenario, variant, paths, privileged=privileged, age=age)
    return _attempt(scenario, variant, paths, privileged=privileged, age=age)


def _attempt(scenario: Scenario, variant: Variant, paths: Paths, *, privileged: bool, age: bool) -> Trace:
    with ExitStack() as held:
        network = held.enter_context(closing(Network(scenario, variant)))
        probes = held.enter_context(closing(_watch(network, privileged=privileged)))
        running = held.enter_context(closing(_Run(network, probes, paths)))
        steps = list(running.steps(age=age))
        probes.check()
        conntrack = running.entries()
        counters = running.counters()
    unknown = () if probes.sees_drops else _unknown(scenario)
    trace = Trace(steps, World.KERNEL, os.uname().release, unknown, conntrack, counters, iptables=variant)
    if not logs_are_seen():
        trace.silent = tuple(host for host, lines in counters.items() if any(" -j LOG" in line for line in lines))
    return trace


def _watch(network: Network, *, privileged: bool) -> Probes:
    """The best probes that can be had; where BPF is refused, those of everybody, and a word about it."""
    namespaces = [machine.namespace for machine in network.machines.values()]
    if privileged:
        try:
            with_rules = [network.machines[name].namespace for name in network.scenario.with_rules()]
            return BpfProbes(namespaces, with_rules)
        except KernelUnavailable as error:
            print(f"netlab: {error}: drop reasons and log lines are unknown", file=sys.stderr)
    return TraceProbes(namespaces, network.outside.namespace)


def _unknown(scenario: Scenario) -> tuple[str, ...]:
    """What the probes of those who are not root do not see: without drops nobody can tell what a TCP socket took."""
    tcp = any(proto == "tcp" for spec in scenario.hosts.values() for proto, _ in spec.listen)
    return ("dropped", "log", "delivered") if tcp else ("dropped", "log")


class _Run:
    def __init__(self, network: Network, probes: Probes, paths: Paths) -> None:
        self.network = network
        self.probes = probes
        # A packet that entered a hook, did not leave it and was not dropped: somebody keeps it.
        self.undecided = Verdict.STOLEN.name if probes.sees_drops else UNKNOWN
        machines = network.machines
        self.hosts = {cookie_of(machine.namespace): name for name, machine in machines.items()}
        self.devices = {name: machine.devices for name, machine in machines.items()}
        self.listening = {
            name: frozenset(f"{proto}/{port}" for proto, port in machine.spec.listen)
            for name, machine in machines.items()
        }
        specs = network.scenario.hosts.values()
        self.tracked = frozenset(spec.name for spec in specs if spec.conntrack == "on")
        self.ruled = network.scenario.with_rules()
        # Rates are counted in ticks, and connlimit believes for two of them that a lost flow may still be confirmed.
        counted = "connlimit" in rules_of(network.scenario)
        self.ticks = 3 if counted else int(any(spec.sysctls.get("net.ipv4.icmp_ratemask", 1) for spec in specs))
        self.logs = any(name.endswith(".log_martians") for spec in specs for name in spec.sysctls)
        self.numbers = InitialNumbers()
        self.paths = paths
        self.ports = Ports(rules_of(network.scenario))
        self.listeners = [Listeners(name, machine.namespace, machine.spec.listen) for name, machine in machines.items()]
        self.queues = [
            QueueListeners(name, machine.namespace, machine.spec.queues) for name, machine in machines.items()
        ]
        self.peers = {ends[side]: ":".join(ends[1 - side]) for ends in network.scenario.links for side in (0, 1)}
        # TCP has timers; all else the kernel has done when a marker has crossed.
        tcp = any(proto == "tcp" for spec in specs for proto, _ in spec.listen)
        self.quiet = _QUIET if tcp else 0.0

    def steps(self, *, age: bool) -> Iterator[Step]:
        list(self.probes.read())
        redirected: set[str] = set()
        acted = 0.0
        for number, step in enumerate(self.network.scenario.steps):
            if self.ticks and not isinstance(step, AdvanceStep):
                _wait_for_ticks(self.ticks, since=acted)
            if self.logs:
                wait_for_room()
            recorder = Recorder(
                self.hosts, self.devices, self.listening, self.peers, self.tracked, self.ruled, self.undecided
            )
            recorder.sees_states = self.probes.sees_states
            done = Step(step.title)
            if isinstance(step, AdvanceStep) and age and aging.is_aged(step):
                spaces = {name: machine.namespace for name, machine in self.network.machines.items()}
                done.events += aging.advance(spaces, int(step.seconds), redirected)
            elif isinstance(step, AdvanceStep):
                time.sleep(step.seconds)
            elif isinstance(step, RunStep):
                done.events.append(self._command(step))
            else:
                done.events += self._send(step)
            self._settle(recorder)
            if not isinstance(step, AdvanceStep):
                acted = time.clock_gettime(_TICKS)
            done.events += recorder.close()
            redirected.update(aging.redirectors(done.events) if age else ())
            # The number of a packet whose own sequence number the scenario has written down.
            written = 0 if isinstance(step, PacketStep) and step.dev is None else None
            for event in done.events:
                if isinstance(event, Sent) and self._is_own(event) and event.number != written:
                    self.numbers.learn(event.host, event.packet)
            if self.ruled and number < len(self.paths):
                self.ports.learn(
                    self.paths[number], [event.row() for event in done.events if isinstance(event, Passed)]
                )
            yield done

    def _is_own(self, sent: Sent) -> bool:
        """Whether it comes from a listener of the host itself, which may also pass on what others say."""
        packet, machine = sent.packet, self.network.machines[sent.host]
        addresses = (one.address for ones in machine.spec.interfaces.values() for one in ones)
        return ("tcp", packet.sport) in machine.spec.listen and packet.saddr in addresses

    def entries(self) -> dict[str, list[str]]:
        """The connections of each host that tracks them, or has done so, as `conntrack -L` prints them."""
        found = {}
        for name in sorted(self.tracked | self.ruled):
            with closing(Entries(self.network.machines[name].namespace)) as table:
                lines = [str(line) for line in table.lines()]
            if lines or name in self.tracked:
                found[name] = lines
        return found

    def counters(self) -> dict[str, list[str]]:
        """The rules of each host that has some, with what they have counted."""
        found = {name: self.network.machines[name].rules.counters() for name in sorted(self.ruled)}
        return {name: lines for name, lines in found.items() if lines}

    def close(self) -> None:
        """Closes the listeners."""
        for listeners in self.listeners:
            listeners.close()
        for queues in self.queues:
            queues.close()

    def _command(self, step: RunStep) -> Ran:
        machine, words = self.network.machines[step.host], parse_command(step.command)
        return machine.sysctl(words) if words[0] == "sysctl" else machine.rules.run(words)

    def _send(self, step: PacketStep) -> Iterator[Received | Refused]:
        if step.dev is not None:
            data = self.numbers.translate(step.host, self.ports.real_frame(step.data))
            self.network.outside.send(step.host, step.dev, data)
            with contextlib.suppress(MalformedPacket):
                yield Received(0, step.host, step.dev, Packet.from_bytes(step.data))
            return
        sender = self.network.machines[step.host].sender
        data = sender.with_source(step.data)
        list(self.probes.read())  # where there is no route, asking for it drops a packet of its own
        try:
            sender.send(data)
        except OSError as error:
            yield Refused(0, step.host, errorcode[error.errno or 0])

    def _settle(self, recorder: Recorder) -> None:
        """Reads until a marker has crossed every link and nothing more came, then once more after a quiet period.

        When nothing moves any more, what waits for a next hop is given up, one next hop at a time.
        """
        quiet = self.quiet
        while True:
            self.network.markers.cross()
            frames = self.network.frames()  # before the events, so that those of every frame are among them
            events = list(self.probes.read())
            received = [one for listeners in self.listeners for one in listeners.serve()]
            recorder.add(events)
            recorder.add_frames(frames)
            recorder.received += received
            recorder.queues_are_answered()
            answered = [answer for queues in self.queues for answer in queues.serve()]
            if events or frames or received or answered or (self.peers and self.network.neighbours.give_up()):
                quiet = self.quiet
            elif self.probes.sees_drops and recorder.awaits(self.peers):
                raise LostEvents("a packet on its way to a link was neither seen to leave nor dropped")
            elif quiet:
                time.sleep(quiet)
                quiet = 0.0
            else:
                return


def _wait_for_ticks(count: int, *, since: float) -> None:
    """Waits until the timer has ticked that often, and is seen to tick: the kernel counts in ticks what it limits.

    All that comes of one packet falls into one tick then, unless the machine is busy.
    """
    awaited = max(time.clock_gettime(_TICKS) + _TICK, since + count * _TICK) - _TICK / 2  # ticks are a little uneven
    ticked = looked = 0.0
    while True:
        last, before = ticked, looked
        ticked, looked = time.clock_gettime(_TICKS), time.monotonic()
        just_now = ticked != last and looked - before < _TICK / 4
        if ticked >= awaited and (just_now or ticked > awaited + _PATIENCE * _TICK):
            return
        time.sleep(_TICK / 16)
