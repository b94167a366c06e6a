"""NAT in both worlds: random rules of the table nat, and conversations that follow what becomes of their packets."""

import os
from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest

from netlab.addresses import InterfaceAddress
from netlab.conntrack.entry import Status
from netlab.kernel.fuzz.answers import Talk
from netlab.kernel.fuzz.campaign import try_scenario
from netlab.kernel.fuzz.machines import HOST, RATEMASK
from netlab.kernel.fuzz.rulesets import Ground
from netlab.kernel.fuzz.shrink import to_yaml
from netlab.kernel.namespaces import KernelUnavailable
from netlab.kernel.worker import Worker
from netlab.scenario import HostSpec, Scenario, loads
from netlab.simulate import build, take
from tests.conftest import CI, FULL, SEED

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.needs("ip", "nft", "iptables-nft-restore"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root sees drop reasons"),
    pytest.mark.timeout(900 if FULL else 240),
]

SCENARIOS = 400 if FULL else 40
PACKETS = 50  # in each

# No source gets a port out of a range: which one is random, and compare could not tell it from those of --random.
SOURCES = (
    "-A POSTROUTING -o eth1 -j MASQUERADE",
    "-A POSTROUTING -o eth0 -j MASQUERADE",
    "-A POSTROUTING -j MASQUERADE",
    "-A POSTROUTING -o eth1 -j MASQUERADE --random",
    "-A POSTROUTING -o eth1 -j SNAT --to-source 10.0.2.100-10.0.2.109",
    "-A POSTROUTING -o eth1 -j SNAT --to-source 10.0.2.100-10.0.2.103 --persistent",
    "-A POSTROUTING -o eth1 -p udp -j SNAT --to-source 10.0.2.1:5000",
    "-A POSTROUTING -s 10.0.1.0/24 -o eth1 -j NETMAP --to 172.16.5.0/24",
    "-A INPUT -p icmp -j SNAT --to-source 10.0.2.55",
    "-A INPUT -p udp -j SNAT --to-source 10.0.1.77",
)
DESTINATIONS = (
    "-A PREROUTING -d 10.0.1.1/32 -j DNAT --to-destination 10.0.2.2",
    "-A PREROUTING -d 10.0.2.1/32 -i eth0 -p tcp -j DNAT --to-destination 10.0.1.3:8080",
    "-A PREROUTING -p tcp -j DNAT --to-destination 10.0.2.2:8000-8003",
    "-A PREROUTING -d 10.0.1.1/32 -p udp -j DNAT --to-destination 10.0.2.2:8080-8090/80",
    "-A PREROUTING -i eth0 -j DNAT --to-destination 10.0.2.2-10.0.2.5",
    "-A PREROUTING -i eth0 -p udp -j REDIRECT --to-ports 7777",
    "-A PREROUTING -p icmp -j REDIRECT",
    "-A PREROUTING -d 10.0.2.0/24 -j NETMAP --to 10.0.1.0/24",
    "-A OUTPUT -p udp -j DNAT --to-destination 10.0.1.2",
    "-A OUTPUT -p tcp -j REDIRECT --to-ports 9",
    "-A PREROUTING -p udp -j ACCEPT",
)
HELPER = "*raw\n-A PREROUTING -p tcp -m tcp --dport 21 -j CT --helper ftp\nCOMMIT\n"


def rules(random: Random) -> str:
    """A table nat, and now and then the FTP helper."""
    chosen = random.sample(SOURCES, random.randint(0, 2)) + random.sample(DESTINATIONS, random.randint(0, 2))
    table = "".join(f"{rule}\n" for rule in chosen or SOURCES[:1])
    return f"{HELPER if random.random() < 0.5 else ''}*nat\n{table}COMMIT\n"


def scenario_of(seed: str) -> Scenario:
    """A router with such rules, and packets of which most answer what it sent."""
    random = Random(seed)
    interfaces = {f"eth{n}": (InterfaceAddress.parse(f"10.0.{n + 1}.1/24"),) for n in range(2)}
    off = {f"net.ipv4.conf.{place}.send_redirects": 0 for place in ("all", *interfaces)}
    checksum = {"net.netfilter.nf_conntrack_checksum": int(random.random() < 0.8)}
    sysctls = {"net.ipv4.ip_forward": 1, RATEMASK: 0} | off | checksum
    routes, listen = ("default via 10.0.2.2",), (("udp", 53), ("udp", 7777))
    spec = HostSpec(HOST, interfaces, routes, (), sysctls, listen, iptables=rules(random))
    scenario = Scenario({HOST: spec}, name=seed)
    grounds = {HOST: Ground.of(random, spec.interfaces)}
    return replace(scenario, steps=tuple(Talk(random, scenario, grounds).steps(PACKETS)))


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """The real kernel; where it cannot be asked, a skip, in CI a failure."""
    with Worker() as made:
        try:
            made.run(loads("hosts: {h: {interfaces: {eth0: 10.0.1.1/24}}}\nsteps: []\n"))
        except KernelUnavailable as error:
            (pytest.fail if CI else pytest.skip)(str(error))
        yield made


@pytest.mark.parametrize("seed", ["fixed", f"fresh-{SEED}"], ids=["fixed seed", "fresh seed"])
def test_no_disagreement_about_translated_flows(worker: Worker, seed: str) -> None:
    for number in range(SCENARIOS):
        scenario = scenario_of(f"{seed}/{number}")
        trial = worker.call(try_scenario, scenario, privileged=True)
        assert not trial.disagreement, f"{trial.disagreement}\n# {scenario.name}\n{to_yaml(trial.smallest or scenario)}"
        assert trial.packets == PACKETS


def test_the_conversations_are_worth_it() -> None:
    """What stands in the tables after a few: flows translated at one end, at the other, at both, and answered."""
    seen = []
    for number in range(60):
        scenario = scenario_of(f"fixed/{number}")
        world = build(scenario)
        for step in scenario.steps:
            take(world, step)
        tracker = world.hosts[HOST].conntrack
        assert tracker is not None
        seen += [int(entry.status) for entry in tracker.table]
    ends = Status.SRC_NAT | Status.DST_NAT
    for wanted, mask in (
        (Status.SRC_NAT, ends), (Status.DST_NAT, ends), (ends, ends), (0, ends),
        (Status.SRC_NAT | Status.SEEN_REPLY, Status.SRC_NAT | Status.SEEN_REPLY),
        (Status.DST_NAT | Status.SEEN_REPLY, Status.DST_NAT | Status.SEEN_REPLY),
    ):  # fmt: skip
        assert sum(status & mask == wanted for status in seen) >= 20, (wanted, mask)
