"""Random machines: interfaces, addresses, routes, rules and settings, biased towards what makes hosts differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from netlab.addresses import InterfaceAddress, Prefix, format_address, mask_of, parse_address
from netlab.scenario import HostSpec

HOST = "router"
LENGTHS = (8, 16, 20, 24, 24, 24, 24, 25, 28, 30, 31, 32)
MTUS = (68, 100, 296, 576, 577, 600, 1000, 1280, 1499, 1500, 1500, 9000)
OUTSIDE = tuple(parse_address(text) for text in ("10.9.0.1", "10.9.7.7", "192.168.7.1", "8.8.8.8", "203.0.113.9"))


@dataclass(frozen=True, slots=True)
class Features:
    """What a campaign may use; all of it by default."""

    rules: bool = True
    sysctls: bool = True
    mtu: bool = True
    options: bool = True
    fragments: bool = True
    malformed: bool = True
    local: bool = True
    listen: bool = True
    links: bool = True
    conntrack: bool = True
    aging: bool = True
    tcp: bool = True
    logs: bool = True
    iptables: bool = True


Interfaces = dict[str, tuple[InterfaceAddress, ...]]
Link = tuple[tuple[str, str], tuple[str, str]]


def random_network(random: Random, features: Features) -> tuple[dict[str, HostSpec], tuple[Link, ...]]:
    """One machine under test, or now and then some of them in a row, each with open interfaces of its own."""
    if not features.links or random.random() < 0.9:
        return {HOST: random_machine(random, features)}, ()
    names = [f"host{n}" for n in range(random.choice((2, 2, 3, 4)))]
    joints: list[Interfaces] = [{} for _ in names]
    ways: list[list[str]] = [[] for _ in names]
    for n in range(len(names) - 1):
        length = random.choice((24, 24, 25, 30, 31))
        ends = (2, 3) if length == 31 else (1, 2)
        left, right = (InterfaceAddress(parse_address(f"10.{100 + n}.0.{last}"), length) for last in ends)
        joints[n]["right"], joints[n + 1]["left"] = (left,), (right,)
        for here, gateway, beyond in ((n, right, range(n + 1, len(names))), (n + 1, left, range(n + 1))):
            if random.random() < 0.3:
                ways[here].append(f"default via {format_address(gateway.address)} metric 50")
            ways[here] += [
                f"10.{1 + k}.0.0/16 via {format_address(gateway.address)}" for k in beyond if random.random() < 0.8
            ]
    hosts = {
        name: random_machine(random, features, name=name, octet=1 + n, joints=joints[n], ways=ways[n])
        for n, name in enumerate(names)
    }
    links = tuple(((one, "right"), (other, "left")) for one, other in pairwise(names))
    return hosts, links


def random_machine(
    random: Random,
    features: Features,
    *,
    name: str = HOST,
    octet: int = 0,
    joints: Interfaces | None = None,
    ways: Sequence[str] = (),
) -> HostSpec:
    """One host with open interfaces in 10.OCTET.0.0/16; `joints` are its links to others, `ways` its routes there."""
    interfaces = _interfaces(random, octet) | (joints or {})
    subnets = {dev: [one.network for one in addresses] for dev, addresses in interfaces.items()}
    return HostSpec(
        name,
        interfaces,
        (*ways, *_routes(random, interfaces, subnets)),
        tuple(_rules(random, interfaces) if features.rules and random.random() < 0.4 else ()),
        _sysctls(random, list(interfaces)) if features.sysctls else {"net.ipv4.ip_forward": 1, RATEMASK: 0},
        (("udp", 53), ("udp", 7777)) if features.listen and random.random() < 0.6 else (),
        _mtus(random, interfaces, joints or {}) if features.mtu else {},
    )


def _mtus(random: Random, interfaces: Interfaces, joints: Interfaces) -> dict[str, int]:
    """Both ends of a link keep Ethernet's MTU: what one of them could not take would be lost on the way."""
    return {dev: random.choice(MTUS) for dev in interfaces if dev not in joints and random.random() < 0.4}


def _interfaces(random: Random, octet: int) -> Interfaces:
    taken: set[int] = set()
    interfaces = {}
    for number in range(random.choice((1, 2, 2, 2, 3, 3, 4))):
        addresses = []
        for nth in range(random.choice((0, 1, 1, 1, 1, 1, 2, 2, 3))):
            length = random.choice(LENGTHS)
            last = random.choice((1, 1, 1, 2, 254, random.randrange(1, 255)))
            third = number + 1 if nth == 0 or random.random() < 0.5 else 20 + nth
            address = parse_address(f"10.{octet}.{third}.{last}")
            if not octet and random.random() < 0.05:
                address = parse_address(random.choice(("192.168.7.2", "172.16.0.1", "100.64.0.1", "1.2.3.4")))
            if address in taken:
                continue
            taken.add(address)
            addresses.append(InterfaceAddress(address, length))
        interfaces[f"eth{number}"] = tuple(addresses)
    return interfaces


def _routes(random: Random, interfaces: Interfaces, subnets: dict[str, list[Prefix]]) -> list[str]:
    routes: list[str] = []
    devs = list(interfaces)
    for _ in range(random.choice((0, 1, 1, 2, 3, 4, 6))):
        prefix = random_prefix(random)
        kind = random.random()
        if kind < 0.25:
            text = f"{random.choice(('blackhole', 'unreachable', 'prohibit', 'throw'))} {prefix}"
        else:
            dev = random.choice(devs)
            wide = [subnet for subnet in subnets[dev] if subnet.length <= 30]
            if wide and kind < 0.8:
                subnet = random.choice(wide)
                gateway = random.randrange(subnet.address + 1, subnet.last)
                if any(gateway == one.address for addresses in interfaces.values() for one in addresses):
                    continue
                text = f"{prefix} via {format_address(gateway)}"
                if random.random() < 0.3:
                    text += f" dev {dev}"
            else:
                text = f"{prefix} dev {dev}"
                if interfaces[dev] and random.random() < 0.2:
                    text += f" src {format_address(random.choice(interfaces[dev]).address)}"
            if random.random() < 0.1:
                text += f" mtu {random.choice(MTUS[2:])}"
            if random.random() < 0.05:
                text += " tos 10"
        if random.random() < 0.3:
            text += f" metric {random.choice((0, 5, 100, 200))}"
        if random.random() < 0.25:
            text += f" table {random.choice(('100', '100', '200', 'default'))}"
        routes.append(text)
    return routes


def random_prefix(random: Random) -> str:
    """A destination of a route: often nested within another."""
    if random.random() < 0.2:
        return "default"
    base = random.choice((*OUTSIDE, parse_address("10.0.1.0"), parse_address("10.0.2.9"), parse_address("10.200.3.4")))
    length = random.choice((8, 12, 16, 24, 24, 30, 32))
    return str(Prefix(base & mask_of(length), length))


def _rules(random: Random, interfaces: Interfaces) -> list[str]:
    rules = []
    for _ in range(random.choice((1, 1, 2, 3))):
        words = []
        if random.random() < 0.4:
            words.append(f"from {random_prefix(random).replace('default', '10.0.0.0/8')}")
        if random.random() < 0.3:
            words.append(f"to {random_prefix(random).replace('default', '10.0.0.0/8')}")
        if random.random() < 0.3:
            words.append(f"iif {random.choice((*interfaces, 'lo'))}")
        if random.random() < 0.1:
            words.append("fwmark 0x1")
        if random.random() < 0.1:
            words.append("tos 10")
        action = random.random()
        if action < 0.8:
            words.append(f"table {random.choice(('100', '100', '200', 'main', 'default'))}")
        else:
            words.append(random.choice(("blackhole", "unreachable", "prohibit")))
        if random.random() < 0.5:
            words.append(f"priority {random.randrange(1, 32765)}")
        rules.append(" ".join(words))
    return rules


RATEMASK = "net.ipv4.icmp_ratemask"


def _sysctls(random: Random, devs: list[str]) -> dict[str, int]:
    """Errors are never rate limited here: limits count milliseconds of real time."""
    sysctls = {"net.ipv4.ip_forward": int(random.random() < 0.9), RATEMASK: 0}
    for name, values, chance in (
        ("icmp_echo_ignore_all", (1,), 0.05),
        ("icmp_echo_ignore_broadcasts", (0,), 0.3),
        ("icmp_errors_use_inbound_ifaddr", (1,), 0.2),
        ("ip_default_ttl", (1, 32, 128, 255), 0.1),
        ("ip_no_pmtu_disc", (1, 2, 3), 0.1),
    ):
        if random.random() < chance:
            sysctls[f"net.ipv4.{name}"] = random.choice(values)
    for place in ("all", *devs, "lo"):
        for name, conf_values, chance in (
            ("rp_filter", (1, 2), 0.2),
            ("accept_local", (1,), 0.15),
            ("route_localnet", (1,), 0.15),
            ("send_redirects", (0,), 0.3),
            ("shared_media", (0,), 0.2),
            ("src_valid_mark", (1,), 0.05),
            ("forwarding", (0, 1), 0.05),
        ):
            if random.random() < chance:
                sysctls[f"net.ipv4.conf.{place}.{name}"] = random.choice(conf_values)
    return sysctls
