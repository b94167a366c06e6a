"""Random scenarios of one machine with rules."""

from dataclasses import replace
from random import Random
from typing import Final

from netlab.addresses import InterfaceAddress
from netlab.kernel.fuzz.answers import Talk
from netlab.kernel.fuzz.machines import HOST, RATEMASK, Features, Interfaces, random_machine
from netlab.kernel.fuzz.rulesets import Ground, random_ruleset, random_sets
from netlab.names import NetlabError, Verdict
from netlab.scenario import HostSpec, QueueAnswer, Scenario
from netlab.simulate import build

IN_TIME: Final = 40
"""Packets, where each waits for ticks of the kernel's clock: a second later a host may be sent one more error."""

QUEUES: Final = {0: QueueAnswer(Verdict.ACCEPT), 5: QueueAnswer(Verdict.DROP)}


def ruled(random: Random, features: Features, packets: int) -> Scenario:
    """A machine with random rules, and packets that answer what it sends."""
    spec = random_machine(random, features)
    if random.random() < 0.8 or _is_refused(spec):
        spec = _plain_router(random)
    # The second redirect to somebody depends on real time, and rules count it.
    sysctls = spec.sysctls | {f"net.ipv4.conf.{place}.send_redirects": 0 for place in ("all", *spec.interfaces)}
    ground = Ground.of(random, spec.interfaces)
    ruleset = random_ruleset(ground)
    spec = replace(
        spec,
        sysctls=sysctls,
        conntrack="on" if random.random() < 0.2 else "auto",
        iptables=ruleset,
        ipsets=random_sets(ground) if "-set " in ruleset else "",
        queues=QUEUES if "NFQUEUE" in ruleset else {},
    )
    if "connlimit" in ruleset:
        packets = min(packets, IN_TIME)
    scenario = Scenario({HOST: spec})
    return replace(scenario, steps=tuple(Talk(random, scenario, {HOST: ground}).steps(packets)))


def _is_refused(spec: HostSpec) -> bool:
    try:
        build(Scenario({spec.name: spec}))
    except NetlabError:
        return True
    return False


def _plain_router(random: Random) -> HostSpec:
    count = random.choice((2, 2, 3))
    interfaces: Interfaces = {f"eth{n}": (InterfaceAddress.parse(f"10.0.{n + 1}.1/24"),) for n in range(count)}
    sysctls = {"net.ipv4.ip_forward": 1, RATEMASK: 0}
    for place, values, chance in (
        ("conf.all.rp_filter", (1, 2), 0.2),
        ("conf.eth0.route_localnet", (1,), 0.1),
        ("conf.all.src_valid_mark", (1,), 0.1),
    ):
        if random.random() < chance:
            sysctls[f"net.ipv4.{place}"] = random.choice(values)
    routes = ("default via 10.0.2.2",) if random.random() < 0.8 else ()
    rules = ("fwmark 0x1 table 100",) if random.random() < 0.15 else ()
    if rules:
        routes = (*routes, random.choice(("default via 10.0.1.3 table 100", "blackhole default table 100")))
    listen = (("udp", 53), ("udp", 7777))
    return HostSpec(HOST, interfaces, routes, rules, sysctls, listen)
