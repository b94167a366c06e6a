"""Martians against the real kernel: packets are put in, and the hook they reach or the drop reason is compared."""

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from random import Random

import pytest

from netlab.kernel.namespaces import KernelUnavailable, Namespace
from netlab.kernel.outside import Outside
from netlab.kernel.probes import BpfProbes, Event, Kind
from netlab.martians import InputDecision, InputKind, route_input
from netlab.names import Hook
from netlab.packet import Packet
from tests.conftest import CI
from tests.kernel.random_routing import DEVICES, Generator, Twins, run_ip

pytestmark = [pytest.mark.kernel, pytest.mark.needs("ip")]

Namespaces = Callable[[], AbstractContextManager[Namespace]]
MACHINES, MACHINES_WHOLE, PACKETS = 12, 60, 60


@dataclass
class Seen:
    """What the kernel did with one packet."""

    end: str
    """`LOCAL_IN`, `FORWARD rtb`, or a drop reason."""
    errors: list[tuple[int, int]]
    """Type and code of the ICMP messages that it sent on account of the packet."""
    log: list[str]


class Watched:
    """Machines whose interfaces all lead outside, with probes in every hook."""

    def __init__(self, namespaces: list[Namespace]) -> None:
        self.outside = Outside([(str(number), dev) for number in range(len(namespaces)) for dev in DEVICES])
        lines = []
        for port in self.outside.ports:
            lines.append(
                f"link add {port.device} address {port.far_mac} type veth peer name {port.dev} "
                f"address {port.near_mac} netns {namespaces[int(port.host)].path}"
            )
            lines.append(f"link set {port.device} arp off up")
        run_ip(self.outside.namespace, lines)
        for namespace in namespaces:
            # Without ARP the kernel takes every next hop for resolved.
            run_ip(namespace, ["link set lo up", *(f"link set {dev} arp off up" for dev in DEVICES)])
        self.twins = [Twins(namespace) for namespace in namespaces]
        self.probes = BpfProbes(namespaces)
        self._last_id = 0

    def put(self, machine: int, dev: str, packet: Packet) -> Seen:
        """Put a packet into an interface of a machine."""
        self._last_id += 1
        packet = packet.with_(ip_id=self._last_id)
        self.outside.frames()
        for _ in self.probes.read():
            pass
        self.outside.send(str(machine), dev, packet.to_bytes())
        with self.twins[machine].namespace.entered():
            names = dict(socket.if_nameindex())
        events = list(self.probes.read())
        return Seen(end_of(events, packet, names), list(errors_of(events, packet)), log_of(events))

    def close(self) -> None:
        self.probes.close()
        self.outside.close()


def end_of(events: Iterable[Event], packet: Packet, names: dict[int, str]) -> str:
    """Where the kernel's route decision sent the packet."""
    for event in events:
        if event.data[4:6] != packet.ip_id.to_bytes(2, "big") or event.data[12:20] != packet.to_bytes()[12:20]:
            continue
        if event.kind is Kind.DROPPED:
            return event.text
        if event.kind is Kind.ENTERED and event.hook is Hook.LOCAL_IN:
            return "LOCAL_IN"
        if event.kind is Kind.ENTERED and event.hook is Hook.FORWARD:
            return f"FORWARD {names[event.out_index]}"
    return "nothing"


def errors_of(events: Iterable[Event], packet: Packet) -> Iterator[tuple[int, int]]:
    """ICMP messages of this machine's own that quote the packet."""
    for event in events:
        if event.kind is Kind.ENTERED and event.hook is Hook.LOCAL_OUT and event.data[9] == 1:
            message = event.data[20:]
            if message[8 + 4 : 8 + 6] == packet.ip_id.to_bytes(2, "big"):
                yield message[0], message[1]


def log_of(events: Iterable[Event]) -> list[str]:
    return [event.text for event in events if event.kind is Kind.LOGGED]


def expected_end(decision: InputDecision) -> str:
    if decision.reason:
        return str(decision.reason)
    if decision.kind is InputKind.FORWARD:
        assert decision.decision
        assert decision.decision.route
        return f"FORWARD {decision.decision.route.dev}"
    return "LOCAL_IN"


@pytest.fixture
def watched(kernel_namespaces: Namespaces) -> Iterator[Callable[[int], AbstractContextManager[Watched]]]:
    """Makes that many watched machines; skips where packets cannot be watched, which in CI is a failure."""

    @contextmanager
    def make(machines: int) -> Iterator[Watched]:
        with ExitStack() as stack:
            namespaces = [stack.enter_context(kernel_namespaces()) for _ in range(machines)]
            try:
                made = Watched(namespaces)
            except KernelUnavailable as error:
                (pytest.fail if CI else pytest.skip)(str(error))
            stack.callback(made.close)
            yield made

    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})  # one processor: what a packet causes is over when send() returns
    yield make
    os.sched_setaffinity(0, before)


def decide(twins: Twins, dev: str, packet: Packet) -> InputDecision:
    return route_input(
        twins.fib, twins.sysctls, src=packet.saddr, dst=packet.daddr, iif=dev, tos=packet.tos, protocol=packet.proto
    )


def test_random_packets(watched: Callable[[int], AbstractContextManager[Watched]], seed: int, whole: bool) -> None:
    """Random addresses into random machines with random settings: the same end, the same reason."""
    machines = MACHINES_WHOLE if whole else MACHINES
    ends: Counter[str] = Counter()
    with watched(machines) as world:
        for machine, twins in enumerate(world.twins):
            generator = Generator(Random(seed + machine))
            commands = generator.commands(rules=generator.chance(0.4))
            for command, kernel, netlab in twins.both(commands):
                assert bool(kernel) == bool(netlab), f"seed {seed + machine}: ip {command}\n{kernel}\n{netlab}"
            for name, value in generator.settings():
                twins.set(name, value)
            for _ in range(PACKETS):
                dev, src, dst = generator.dev(), generator.any_address(), generator.any_address()
                tos = 0x10 if generator.chance(0.1) else 0
                packet = Packet.ip(src, dst, 253, b"x", tos=tos)
                seen, mine = world.put(machine, dev, packet), decide(twins, dev, packet)
                story = f"seed {seed + machine}: {src} > {dst} tos {tos} into {dev}: {mine}\n{twins.log}"
                assert seen.end == expected_end(mine), story
                if mine.kind is InputKind.UNREACHABLE:
                    assert set(seen.errors) <= {mine.icmp}, story
                elif mine.kind is InputKind.FORWARD and (5, 1) in seen.errors:
                    assert mine.do_redirect, story
                ends[seen.end.partition(" ")[0]] += 1
    print(f"seeds from {seed}: {dict(ends)}")
    assert {"LOCAL_IN", "FORWARD", "IP_INADDRERRORS", "IP_LOCALNET", "IP_INVALID_SOURCE"} <= ends.keys()


PLAIN = [
    "address add 10.0.1.1/24 dev rta",
    "address add 10.0.2.1/24 dev rtb",
    "route add 10.9.0.0/16 via 10.0.2.2",
    "route add unreachable 10.8.0.0/16",
    "route add prohibit 10.7.0.0/16",
    "route add blackhole 10.6.0.0/16",
]
"""A router between two networks; rtc has no address."""


@pytest.mark.parametrize("forward", [0, 1])
def test_errors_sent(watched: Callable[[int], AbstractContextManager[Watched]], forward: int) -> None:
    """Each way of having no route tells the sender something else; a host that does not forward tells nothing."""
    with watched(1) as world:
        twins = world.twins[0]
        assert not any(kernel or netlab for _, kernel, netlab in twins.both(PLAIN))
        twins.set("net.ipv4.ip_forward", forward)
        for host, dst in enumerate(("10.9.0.1", "10.8.0.1", "10.7.0.1", "10.6.0.1", "9.9.9.9", "10.0.1.77"), 10):
            # A sender each: the kernel limits such errors by receiver.
            packet = Packet.ip(f"10.0.1.{host}", dst, 253, b"x")
            seen, mine = world.put(0, "rta", packet), decide(twins, "rta", packet)
            redirect = [(5, 1)] if mine.do_redirect else []
            assert (seen.end, seen.errors) == (expected_end(mine), [mine.icmp] if mine.icmp else redirect), dst


LOCKS = ("rp_filter", "accept_local", "route_localnet", "src_valid_mark")
SOURCES = (
    "127.0.0.1",
    "10.0.1.1",
    "10.0.2.1",
    "10.0.2.7",
    "10.0.1.7",
    "1.2.3.4",
    "0.0.0.0",
    "224.0.0.5",
    "10.0.2.255",
    "250.1.1.1",
)
TARGETS = ("10.0.1.1", "10.0.2.1", "10.0.2.9", "127.0.0.1", "10.0.1.255", "255.255.255.255", "224.0.0.1", "0.0.0.0")


def test_every_lock_with_every_key(watched: Callable[[int], AbstractContextManager[Watched]], seed: int) -> None:
    """All settings of the locks, and all pairs of telling addresses, into the network and into the odd interface."""
    settings = [(filter_, local, net) for filter_ in (0, 1, 2) for local in (0, 1) for net in (0, 1)]
    with watched(1) as world:
        twins = world.twins[0]
        assert not any(kernel or netlab for _, kernel, netlab in twins.both(PLAIN))
        twins.set("net.ipv4.ip_forward", 1)
        for values in settings:
            for key, value in zip(LOCKS, values, strict=False):
                twins.set(f"net.ipv4.conf.{Random(seed).choice(('all', 'rta'))}.{key}", value)
            for src in SOURCES:
                for dst in TARGETS:
                    for dev in ("rta", "rtc"):
                        packet = Packet.ip(src, dst, 253, b"x")
                        seen, mine = world.put(0, dev, packet), decide(twins, dev, packet)
                        assert seen.end == expected_end(mine), f"{src} > {dst} into {dev}: {mine}\n{twins.log}"


RATE_LIMIT_INTERVAL = 5.5
"""Seconds after which the kernel, having printed ten lines on martians, prints again."""


def test_log_lines(watched: Callable[[int], AbstractContextManager[Watched]]) -> None:
    with watched(1) as world:
        twins = world.twins[0]
        assert not any(kernel or netlab for _, kernel, netlab in twins.both(PLAIN))
        twins.set("net.ipv4.conf.rta.log_martians", 1)
        twins.set("net.ipv4.conf.rta.rp_filter", 1)
        for src, dst in (("127.0.0.1", "10.0.1.1"), ("10.0.2.2", "10.0.1.1"), ("10.0.1.2", "127.0.0.1")):
            packet = Packet.ip(src, dst, 253, b"x")
            mine = decide(twins, "rta", packet)
            seen = world.put(0, "rta", packet)
            if not seen.log:
                time.sleep(RATE_LIMIT_INTERVAL)
                seen = world.put(0, "rta", packet)
            assert [line for line in seen.log if line.startswith("IPv4: martian")] == list(mine.log)
