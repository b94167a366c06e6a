"""A scenario's hosts as network namespaces: devices, links, addresses, routes, rules and sysctls.

iproute2 does the configuring, since a scenario's routes and rules are the words of `ip route add` and `ip rule add`.
Devices have the scenario's names, so everything the kernel prints reads as the learner wrote it.
"""

import ctypes
import fcntl
import json
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, TypeVar

from netlab.addresses import format_address, mac_address
from netlab.iptables.extension import Variant
from netlab.kernel.conntrack import switch_on, to_be_written
from netlab.kernel.markers import Markers, Plug
from netlab.kernel.namespaces import KernelUnavailable, Namespace, require
from netlab.kernel.neighbours import ASK_US, TRUSTING, Neighbours
from netlab.kernel.netlink import number_namespace
from netlab.kernel.outside import Frame, Outside, Tap
from netlab.kernel.rules import Rules
from netlab.kernel.sender import Sender
from netlab.names import NetlabError
from netlab.scenario import DEFAULT_MTU, MAX_MTU, HostSpec, Scenario
from netlab.shell import settings
from netlab.sysctls import SHARED, Sysctls
from netlab.trace import Ran

# What the harness itself needs, beside the sysctls that netlab models: no IPv6 chatter.
_NO_IPV6 = {"net.ipv6.conf.all.disable_ipv6": 1, "net.ipv6.conf.default.disable_ipv6": 1}
# Nobody retransmits while a scenario is under way: a minute's patience (since Linux 6.11).
_RTO_MIN, _MINUTE = "net.ipv4.tcp_rto_min_us", 60_000_000

SIOCETHTOOL = 0x8946
_OFFLOADS = (0x17, 0x1F, 0x24, 0x2C)  # ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO (linux/ethtool.h)


class Machine:
    """One host of the scenario: its namespace, and its devices by number."""

    def __init__(self, spec: HostSpec, variant: Variant, scenario: str) -> None:
        self.spec = spec
        self.namespace = Namespace()
        self.sender = Sender(self.namespace)
        self.rules = Rules(spec, self.namespace, variant, scenario)
        self.devices: dict[int, str] = {}
        if Path("/proc/sys/net/ipv6").exists():
            for name, value in _NO_IPV6.items():
                self.write_sysctl(name, value)
        if Path("/proc/sys", *_RTO_MIN.split(".")).exists():
            self.write_sysctl(_RTO_MIN, _MINUTE)

    def write_sysctl(self, name: str, value: int) -> None:
        """Sets a sysctl inside the namespace.

        Raises:
            KernelUnavailable: the kernel has no such sysctl here, or it may not be written.
        """
        path = Path("/proc/sys/") / name.translate(
            str.maketrans("./", "/.")
        )  # a slash stands for a dot in a device's name
        with self.namespace.entered():
            try:
                path.write_text(str(value))
            except OSError as error:
                raise KernelUnavailable(f"sysctl {name} cannot be set to {value}: {error.strerror}") from None

    def sysctl(self, words: list[str]) -> Ran:
        """Does what `sysctl -w` does, with the settings of the namespace alone.

        Raises:
            NetlabError: a setting that netlab does not model, or that the machine has only once.
        """
        known = Sysctls(self.spec.interfaces)
        for name, value in settings(words):
            known.get(name)
            if name in SHARED:
                raise NetlabError(f"host {self.spec.name}: {name} is the whole machine's: a scenario cannot write it")
            try:
                self.write_sysctl(name, value)
            except KernelUnavailable as error:
                return Ran(0, self.spec.name, 1, str(error))
        return Ran(0, self.spec.name, 0, "\n".join(f"{name} = {value}" for name, value in settings(words)))

    def close(self) -> None:
        """Lets go of the namespace."""
        self.sender.close()
        self.namespace.close()

    def number_devices(self) -> None:
        """Looks up which number each device got, and has it send finished frames: checksums in, nothing merged."""
        with self.namespace.entered(), socket.socket() as control:
            self.devices = dict(socket.if_nameindex())
            for device in self.spec.interfaces:
                for setting in _OFFLOADS:
                    value = ctypes.create_string_buffer(struct.pack("=II", setting, 0))
                    request = struct.pack("16sP", device.encode(), ctypes.addressof(value))
                    fcntl.ioctl(control, SIOCETHTOOL, request)


class Closable(Protocol):
    """What holds something of the kernel's."""

    def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


class Network:
    """All machines of a scenario and the outside world of its open interfaces. Nothing of it outlives this process."""

    def __init__(self, scenario: Scenario, variant: Variant = "nft") -> None:
        """Builds it; the hosts' rules are loaded by that iptables.

        Raises:
            NetlabError: the kernel refuses an address, a route, a rule or a set; the message quotes it.
            KernelUnavailable: a tool or a permission is missing.
        """
        self._ip = require("ip", "iproute2")
        self._held = ExitStack()
        self.scenario = scenario
        self._variant = variant
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        scenario = self.scenario
        self.machines = {
            name: self._hold(Machine(spec, self._variant, scenario.name)) for name, spec in scenario.hosts.items()
        }
        self.outside = self._hold(Outside(list(scenario.open_interfaces())))
        for number, machine in enumerate(self.machines.values()):
            number_namespace(self.outside.namespace, machine.namespace, number)
        self._connect()
        for machine in self.machines.values():
            self._configure(machine)
            machine.number_devices()
        self.taps = [
            self._hold(Tap(host, dev, self.machines[host].namespace)) for link in scenario.links for host, dev in link
        ]
        self.neighbours = self._hold(
            Neighbours(self.outside.namespace, [machine.namespace for machine in self.machines.values()])
        )
        self.markers = self._hold(Markers(self._plugs()))

    def _hold(self, thing: T) -> T:
        """Something to be closed at the end."""
        self._held.callback(thing.close)
        return thing

    def _plugs(self) -> Iterator[tuple[Plug, Plug]]:
        """The two ends of every veth."""
        for port in self.outside.ports:
            near = Plug(self.machines[port.host].namespace, port.dev, port.near_mac)
            yield near, Plug(self.outside.namespace, port.device, port.far_mac)
        for ends in self.scenario.links:
            one, other = (Plug(self.machines[host].namespace, dev, mac_address(host, dev)) for host, dev in ends)
            yield one, other

    def _connect(self) -> None:
        """Creates every veth with its two ends in the right namespaces."""
        lines: dict[Namespace, list[str]] = {}
        for port in self.outside.ports:
            lines.setdefault(self.outside.namespace, []).append(
                f"link add {port.device} address {port.far_mac} type veth peer name {port.dev} address {port.near_mac} "
                f"netns {self.machines[port.host].namespace.path}"
            )
        for (host, dev), (peer, peer_dev) in self.scenario.links:
            lines.setdefault(self.machines[host].namespace, []).append(
                f"link add {dev} address {mac_address(host, dev)} type veth peer name {peer_dev} "
                f"address {mac_address(peer, peer_dev)} netns {self.machines[peer].namespace.path}"
            )
        lines.setdefault(self.outside.namespace, []).extend(
            f"link set {port.device} arp off mtu {MAX_MTU} up" for port in self.outside.ports
        )
        for namespace, commands in lines.items():
            self._batch(namespace, commands)

    def _configure(self, machine: Machine) -> None:
        spec = machine.spec
        values = Sysctls(spec.interfaces)
        for name, value in spec.sysctls.items():
            values.set(name, value)
        if spec.conntrack == "on":
            switch_on(machine.namespace)
        written = to_be_written(iter(values), spec, ruled=spec.name in self.scenario.with_rules())
        # ip_forward first: it writes the others.
        for name in sorted(written, key=lambda name: name.count(".")):
            machine.write_sysctl(name, values.get(name))
        commands = ["link set lo up"]
        open_devices = {port.dev for port in self.outside.ports if port.host == spec.name}
        for dev, addresses in spec.interfaces.items():
            commands += [f"addr add {address} dev {dev}" for address in addresses]
            # Without ARP the kernel takes every next hop of an open interface for resolved.
            arp = "off" if dev in open_devices else "on"
            for name, value in (TRUSTING if arp == "off" else TRUSTING | ASK_US).items():
                machine.write_sysctl(f"net.ipv4.neigh.{dev.replace('.', '/')}.{name}", value)
            commands.append(f"link set {dev} arp {arp} mtu {spec.mtu.get(dev, DEFAULT_MTU)} up")
        commands += [
            f"neigh add {address} lladdr {mac} dev {dev} nud reachable" for dev, address, mac in self._neighbours(spec)
        ]
        commands += [f"route add {route}" for route in spec.routes]
        commands += [f"rule add {rule}" for rule in spec.rules]
        self._batch(machine.namespace, commands)
        if any({"tos", "dsfield"} & set(route.split()) for route in spec.routes):
            self._batch(machine.namespace, list(self._gateways(machine.namespace, open_devices)))
        machine.rules.load()

    def _gateways(self, namespace: Namespace, open_devices: set[str]) -> Iterator[str]:
        """Commands by which the gateways of default routes have just been heard of.

        Of several that differ in TOS the kernel takes the first then; of silent ones it would take the other each time,
        and without ARP all are silent (fib_select_default).
        """
        show = [self._ip, "-json", "route", "show", "default", "table", "all"]
        with namespace.entered():
            done = subprocess.run(show, capture_output=True, text=True, check=False)
        for route in json.loads(done.stdout or "[]"):
            gateway, dev = route.get("gateway"), route.get("dev")
            if gateway and dev in open_devices:
                yield f"neigh replace {gateway} lladdr {mac_address(gateway, dev)} dev {dev} nud reachable"

    def _neighbours(self, spec: HostSpec) -> Iterator[tuple[str, str, str]]:
        """(device, address, MAC) of everything that a host's links lead to."""
        for one, other in self.scenario.links:
            for (host, dev), far in ((one, other), (other, one)):
                if host == spec.name:
                    for addresses in self.scenario.hosts[far[0]].interfaces.values():
                        yield from ((dev, format_address(a.address), mac_address(*far)) for a in addresses)

    def _batch(self, namespace: Namespace, commands: list[str]) -> None:
        with namespace.entered():
            lines = "\n".join(commands)
            done = subprocess.run([self._ip, "-batch", "-"], input=lines, capture_output=True, text=True, check=False)
        if done.returncode:
            complaint, _, place = done.stderr.strip().partition("\n")
            line = place.rpartition(":")[2]
            wrong = commands[int(line) - 1] if line.isdigit() else commands[0]
            raise NetlabError(f"the kernel refuses `ip {wrong}`: {complaint.removeprefix('RTNETLINK answers: ')}")

    def frames(self) -> list[Frame]:
        """The packets that left hosts by an interface since the last call, in order interface by interface."""
        return [*self.outside.frames(), *(frame for tap in self.taps for frame in tap.frames())]

    def close(self) -> None:
        """Lets go of all namespaces."""
        self._held.close()
