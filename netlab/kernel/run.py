"""A scenario on the real kernel, step by step. Runs in the worker process: see `netlab.kernel.worker`."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from errno import errorcode

from netlab.kernel.conntrack import Entries
from netlab.kernel.isn import InitialNumbers
from netlab.kernel.listeners import Listeners
from netlab.kernel.namespaces import KernelUnavailable
from netlab.kernel.netlink import LostEvents
from netlab.kernel.network import Network
from netlab.kernel.probes import BpfProbes, Probes, cookie_of
from netlab.kernel.record import Recorder
from netlab.kernel.traces import TraceProbes
from netlab.names import NetlabError, Verdict, World
from netlab.packet import MalformedPacket, Packet
from netlab.scenario import AdvanceStep, PacketStep, Scenario
from netlab.trace import UNKNOWN, Logged, Received, Refused, Sent, Step, Trace

_ATTEMPTS = 3
_QUIET = 0.005  # seconds
_TICKS = 6  # CLOCK_MONOTONIC_COARSE: the time of the last timer tick (clock_gettime(2))


_LOG_BURST, _LOG_SECONDS = 8, 6.0
_logged: list[float] = []  # when this process has seen the kernel log something


class WaitRefused(NetlabError):
    """The scenario would have to wait longer than the caller allows."""


def run(scenario: Scenario, *, max_wait: float, privileged: bool) -> Trace:
    """The trace of that scenario on this machine's kernel.

    `max_wait` bounds the seconds spent in `advance` steps; only with `privileged` is everything known. A run that lost
    an event counts for nothing, and is made again.

    Raises:
        NetlabError: the kernel refuses something the scenario asks for, or cannot be asked.
        WaitRefused: its `advance` steps take longer in all.
        LostEvents: events were lost again and again.
    """
    waits = sum(step.seconds for step in scenario.steps if isinstance(step, AdvanceStep))
    if waits > max_wait:
        raise WaitRefused(
            f"{scenario.name}: the steps advance {waits:g} s in all, and the kernel really waits: "
            f"at most {max_wait:g} s (--max-wait)"
        )
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(LostEvents):
            return _attempt(scenario, privileged=privileged)
    return _attempt(scenario, privileged=privileged)


def _attempt(scenario: Scenario, *, privileged: bool) -> Trace:
    with ExitStack() as held:
        network = held.enter_context(closing(Network(scenario)))
        probes = held.enter_context(closing(_watch(network, privileged=privileged)))
        running = held.enter_context(closing(_Run(network, probes)))
        steps = list(running.steps())
        probes.check()
        conntrack = running.entries()
    unknown = () if probes.sees_drops else _unknown(scenario)
    return Trace(steps, World.KERNEL, os.uname().release, unknown, conntrack)


def _watch(network: Network, *, privileged: bool) -> Probes:
    """The best probes that can be had; where BPF is refused, those of everybody, and a word about it."""
    namespaces = [machine.namespace for machine in network.machines.values()]
    if privileged:
        try:
            return BpfProbes(namespaces)
        except KernelUnavailable as error:
            print(f"netlab: {error}: drop reasons and log lines are unknown", file=sys.stderr)
    return TraceProbes(namespaces, network.outside.namespace)


def _unknown(scenario: Scenario) -> tuple[str, ...]:
    """What the probes of those who are not root do not see: without drops nobody can tell what a TCP socket took."""
    tcp = any(proto == "tcp" for spec in scenario.hosts.values() for proto, _ in spec.listen)
    return ("dropped", "log", "delivered") if tcp else ("dropped", "log")


class _Run:
    def __init__(self, network: Network, probes: Probes) -> None:
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
        self.paced = any(spec.sysctls.get("net.ipv4.icmp_ratemask", 1) for spec in specs)
        self.logs = any(name.endswith(".log_martians") for spec in specs for name in spec.sysctls)
        self.numbers = InitialNumbers()
        self.listeners = [Listeners(name, machine.namespace, machine.spec.listen) for name, machine in machines.items()]
        self.peers = {ends[side]: ":".join(ends[1 - side]) for ends in network.scenario.links for side in (0, 1)}
        # TCP has timers; all else the kernel has done when a marker has crossed.
        tcp = any(proto == "tcp" for spec in specs for proto, _ in spec.listen)
        self.quiet = _QUIET if tcp else 0.0

    def steps(self) -> Iterator[Step]:
        list(self.probes.read())
        for step in self.network.scenario.steps:
            if self.paced:
                _next_tick()
            if self.logs:
                self._make_room_in_log()
            recorder = Recorder(self.hosts, self.devices, self.listening, self.peers, self.tracked, self.undecided)
            recorder.sees_states = self.probes.sees_states
            done = Step(step.title)
            if isinstance(step, AdvanceStep):
                time.sleep(step.seconds)
            else:
                done.events += self._send(step)
            self._settle(recorder)
            done.events += recorder.close()
            # The number of a packet whose own sequence number the scenario has written down.
            written = 0 if isinstance(step, PacketStep) and step.dev is None else None
            for event in done.events:
                if isinstance(event, Sent) and self._is_own(event) and event.number != written:
                    self.numbers.learn(event.host, event.packet)
            _logged.extend(time.monotonic() for event in done.events if isinstance(event, Logged))
            yield done

    def _is_own(self, sent: Sent) -> bool:
        """Whether it comes from a listener of the host itself, which may also pass on what others say."""
        packet, machine = sent.packet, self.network.machines[sent.host]
        addresses = (one.address for ones in machine.spec.interfaces.values() for one in ones)
        return ("tcp", packet.sport) in machine.spec.listen and packet.saddr in addresses

    def entries(self) -> dict[str, list[str]]:
        """The connections of each host that tracks them, as `conntrack -L` prints them."""
        found = {}
        for name in sorted(self.tracked):
            with closing(Entries(self.network.machines[name].namespace)) as table:
                found[name] = [str(line) for line in table.lines()]
        return found

    def close(self) -> None:
        """Closes the listeners."""
        for listeners in self.listeners:
            listeners.close()

    def _make_room_in_log(self) -> None:
        """The kernel prints at most ten such lines in five seconds (net.core.message_burst, message_cost)."""
        window = _logged[-_LOG_BURST:]
        if len(window) == _LOG_BURST:
            time.sleep(max(0.0, window[0] + _LOG_SECONDS - time.monotonic()))

    def _send(self, step: PacketStep) -> Iterator[Received | Refused]:
        if step.dev is not None:
            self.network.outside.send(step.host, step.dev, self.numbers.translate(step.host, step.data))
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
            if events or frames or received or (self.peers and self.network.neighbours.give_up()):
                quiet = self.quiet
            elif self.probes.sees_drops and recorder.awaits(self.peers):
                raise LostEvents("a packet on its way to a link was neither seen to leave nor dropped")
            elif quiet:
                time.sleep(quiet)
                quiet = 0.0
            else:
                return


def _next_tick() -> None:
    """Waits for the kernel's next timer tick: what it limits by time it counts in ticks."""
    before = time.clock_gettime(_TICKS)
    while time.clock_gettime(_TICKS) == before:
        time.sleep(0.0005)
