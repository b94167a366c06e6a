"""Routing, route text and martians against the real kernel: random machines, every disagreement a failure."""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random

import pytest

from netlab.addresses import parse_address
from netlab.kernel.namespaces import Namespace
from netlab.names import NetlabError
from netlab.net_tools import format_route, parse_route_n
from netlab.route_get import format_route_get
from netlab.route_text import format_routes, format_rules, parse_routes, parse_rules
from netlab.routing import MAIN
from tests.kernel.random_routing import DEVICES, Generator, Twins, run_ip

pytestmark = [pytest.mark.kernel, pytest.mark.needs("ip", "route")]

Namespaces = Callable[[], AbstractContextManager[Namespace]]
MACHINES, MACHINES_WHOLE, LOOKUPS = 60, 1000, 40


def make_twins(namespace: Namespace) -> Twins:
    """A machine whose interfaces have their far ends in the same namespace, without addresses."""
    lines = ["link set lo up"]
    for dev in DEVICES:
        lines += [f"link add {dev} type veth peer name {dev}x", f"link set {dev} up", f"link set {dev}x up"]
    run_ip(namespace, lines)
    return Twins(namespace)


def netlab_route_get(twins: Twins, words: dict[str, str]) -> str:
    def address(word: str) -> int:
        return parse_address(words[word]) if word in words else 0

    try:
        return format_route_get(
            twins.fib,
            twins.sysctls,
            address("to"),
            src=address("from"),
            iif=words.get("iif"),
            oif=words.get("oif"),
            mark=int(words.get("mark", 0)),
            tos=int(words.get("tos", "0"), 16),
        )
    except NetlabError as error:
        return str(error)


def same_complaint(kernel: str, netlab: str) -> bool:
    """The kernel's words stand in netlab's message, which says more."""
    return bool(kernel) == bool(netlab) and kernel in netlab


def test_random_machines(kernel_namespaces: Namespaces, seed: int, whole: bool) -> None:
    """Commands succeed and fail alike, listings are equal byte for byte, and so is every `ip route get`."""
    seen: Counter[str] = Counter()
    for number in range(seed, seed + (MACHINES_WHOLE if whole else MACHINES)):
        with kernel_namespaces() as namespace:
            compare_machine(make_twins(namespace), number, seen)
    print(f"seeds from {seed}: {dict(seen)}")
    assert min(seen.values()) > LOOKUPS


def compare_machine(twins: Twins, number: int, seen: Counter[str]) -> None:
    generator = Generator(Random(number))
    for command, kernel, netlab in twins.both(generator.commands(rules=generator.chance(0.5))):
        assert same_complaint(kernel, netlab), f"seed {number}: ip {command}\n{kernel}\n{netlab}\n{twins.log}"
        seen["commands refused" if kernel else "commands done"] += 1
    compare_listings(twins, f"seed {number}: {twins.log}")
    for name, value in generator.settings():
        twins.set(name, value)
    lookups = [generator.lookup() for _ in range(LOOKUPS)]
    texts = ["route get " + " ".join(f"{w} {value}" for w, value in lookup.items()) for lookup in lookups]
    for lookup, text, kernel in zip(lookups, texts, twins.batch(texts), strict=True):
        assert netlab_route_get(twins, lookup) == kernel, f"seed {number}: ip {text}\n{twins.log}"
        seen["lookups refused" if kernel.startswith("RTNETLINK") else "lookups answered"] += 1


def compare_listings(twins: Twins, story: str) -> None:
    """Printed byte for byte as the real commands print, and read back."""
    everything, rules, table = (
        twins.shown(*command.split()) for command in ("ip -4 route show table all", "ip rule", "route -n")
    )
    assert format_routes(twins.fib, None) == everything, story
    assert format_routes(twins.fib) == twins.shown("ip", "-4", "route"), story
    assert format_rules(twins.fib) == rules, story
    assert format_route(twins.fib, numeric=True) == table, story
    assert parse_routes(everything) == [route for table in twins.fib.tables for route in table], story
    assert list(map(str, parse_rules(rules))) == list(map(str, twins.fib.rules)), story
    listed = [route for route in twins.fib.table(MAIN) if route.type not in ("broadcast", "multicast")]
    assert [(line.prefix, line.gateway) for line in parse_route_n(table)] == [
        (route.prefix, route.gateway) for route in listed
    ], story


def test_route_without_n(kernel_namespaces: Namespaces) -> None:
    """Names of networks. No route may lead to a name server: `route` would wait for it."""
    commands = [
        "address add 10.0.0.1/24 dev rta",
        "route add prohibit default metric 9",
        "route add unreachable 10.8.0.0/16",
        "route add blackhole 10.7.0.1",
        "route add prohibit 10.7.0.2",
        "route add 0.0.0.0/8 dev rta",
        "route add 127.0.0.0/8 dev rta",
        "route add 169.254.0.0/16 dev rta metric 1000",
        "route add 10.6.0.0/16 via 10.0.0.2 metric 4278198272",
    ]
    with kernel_namespaces() as namespace:
        twins = make_twins(namespace)
        assert twins.both(commands) == [(command, "", "") for command in commands]
        assert format_route(twins.fib, numeric=False) == twins.shown("route")


def test_a_cable_pulled_out(kernel_namespaces: Namespaces) -> None:
    """The routes are marked, and chosen as before."""
    commands = [
        "address add 10.0.0.1/24 dev rta",
        "address add 10.1.0.1/24 dev rtb",
        "route add 10.6.0.0/16 via 10.0.0.2 metric 1",
        "route add 10.6.0.0/16 via 10.1.0.2 metric 2",
        "route add 10.7.0.0/16 via 10.0.0.2 metric 5 mtu 1400 onlink dev rta",
        "route add local 10.8.0.0/16 dev rta",
    ]
    with kernel_namespaces() as namespace:
        twins = make_twins(namespace)
        twins.both(commands)
        run_ip(namespace, ["link set rtax down"])
        twins.fib.set_carrier("rta", False)
        after = ["route add 10.9.0.0/16 via 10.0.0.2", "route add 10.10.0.0/16 dev rta"]
        assert twins.both(after) == [(command, "", "") for command in after]
        compare_listings(twins, "rta without carrier")
        assert [netlab_route_get(twins, {"to": "10.6.0.1"})] == twins.batch(["route get 10.6.0.1"])
        assert "linkdown" in format_routes(twins.fib)
