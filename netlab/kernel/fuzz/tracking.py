"""Random machines that track connections: half of all, and most of those plain routers, where packets get through."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random

from netlab.addresses import InterfaceAddress
from netlab.kernel.fuzz.machines import HOST, RATEMASK, Features, Interfaces
from netlab.scenario import HostSpec

TCP_STATES = ("syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close")


def some_tracking(random: Random, features: Features, hosts: Mapping[str, HostSpec]) -> dict[str, HostSpec]:
    """These machines, or other ones in their place, some of which track connections."""
    if not features.conntrack or random.random() < 0.5:
        return dict(hosts)
    if len(hosts) == 1 and random.random() < 0.7:
        hosts = {HOST: plain_router(features)}
    return {
        name: tracking(random, spec) if len(hosts) == 1 or random.random() < 0.7 else spec
        for name, spec in hosts.items()
    }


def tracking(random: Random, spec: HostSpec) -> HostSpec:
    """The same machine, tracking connections by settings of its own."""
    return replace(spec, conntrack="on", sysctls=spec.sysctls | dict(_sysctls(random)))


def plain_router(features: Features) -> HostSpec:
    """A machine with two networks that lets everything through."""
    interfaces: Interfaces = {f"eth{n}": (InterfaceAddress.parse(f"10.0.{n + 1}.1/24"),) for n in range(2)}
    listen = (("udp", 53), ("udp", 7777)) if features.listen else ()
    return HostSpec(HOST, interfaces, sysctls={"net.ipv4.ip_forward": 1, RATEMASK: 0}, listen=listen)


def _sysctls(random: Random) -> Iterator[tuple[str, int]]:
    """Timeouts stay away from one another, and from zero, by more than a run takes."""
    for name, values, chance in (
        ("acct", (1,), 0.3),
        ("checksum", (0,), 0.2),
        ("tcp_loose", (0,), 0.3),
        ("tcp_be_liberal", (1,), 0.2),
        ("tcp_ignore_invalid_rst", (1,), 0.2),
        ("tcp_max_retrans", (0, 1, 2, 5), 0.3),
        *((f"tcp_timeout_{state}", (0, 40, 200, 1000), 0.05) for state in TCP_STATES),
        ("tcp_timeout_max_retrans", (150, 400), 0.1),
        ("tcp_timeout_unacknowledged", (150, 400), 0.1),
        *((f"{kind}_timeout", (0, 20, 90), 0.1) for kind in ("udp", "icmp", "gre", "generic")),
    ):
        if random.random() < chance:
            yield f"net.netfilter.nf_conntrack_{name}", random.choice(values)
