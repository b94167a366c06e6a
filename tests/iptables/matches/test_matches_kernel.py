"""Random options of every match and random packets: what each rule has counted is what the real kernel counts.

The same rules compiled count the same as those walked rule by rule, which needs no kernel.
"""

import os
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from netlab.addresses import InterfaceAddress
from netlab.iptables.extension import MATCHES, Variant
from netlab.kernel.fuzz.campaign import try_scenario
from netlab.kernel.fuzz.machines import HOST
from netlab.kernel.worker import Worker
from netlab.packet import Packet
from netlab.scenario import AdvanceStep, HostSpec, PacketStep, Scenario
from netlab.simulate import build, run, take
from tests.iptables.matches.scenarios import PATTERNS, scenario_about

VARIANTS: tuple[Variant, ...] = ("nft", "legacy")
PACKETS, SEEDS = 100, 8
PARTS = {"connlimit": 5}
"""Into how many scenarios a match's packets are divided. Those of connlimit pause before each packet, and a slow
machine shall not need two seconds for one: from then on a flow of UDP may be a stream, in the one world that is late.
"""
TOLERATED, ATTEMPTS = 0.3, 3
"""Seconds by which buckets may be fuller than the scenario says; a machine that was busier than that is asked again."""
ELSEWHERE = {"set", "hashlimit", "physdev"}
"""Matches that other tests are about, and Base, which every rule has."""

_POLICY = re.compile(r":(\S+) \S+ \[(\d+):")


def seeds(seed: int, whole: bool) -> list[object]:
    return [*(range(SEEDS) if whole else ()), f"fresh-{seed}"]


def scenarios(match: str, seed: object) -> Iterator[Scenario]:
    parts = PARTS.get(match, 1)
    for part in range(parts):
        yield scenario_about(match, f"{seed}/{part}" if part else seed, PACKETS // parts)


def test_every_match_is_asked() -> None:
    assert set(PATTERNS) | ELSEWHERE >= set(MATCHES)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("match", PATTERNS)
@pytest.mark.kernel
@pytest.mark.needs("iptables")
@pytest.mark.timeout(240)
def test_the_kernel_agrees(worker: Worker, match: str, variant: Variant, seed: int, whole: bool) -> None:
    answers = 0
    asked = seeds(seed, whole)
    for scenario in (scenario for one in asked for scenario in scenarios(match, one)):
        trial = worker.call(try_scenario, scenario, variant, privileged=os.geteuid() == 0)
        assert not trial.disagreement, f"{scenario.name} with {variant}: {trial.disagreement}"
        answers += answered(run(scenario, variant).to_json())
    assert answers > 500 * len(asked), "hardly a rule was asked"


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.kernel
@pytest.mark.needs("iptables")
def test_time_passes_for_buckets_and_for_memories(worker: Worker, variant: Variant) -> None:
    """The pauses are such that a machine may need TOLERATED seconds more for them."""
    rules = [
        "limit --limit 1/second --limit-burst 3", "limit --limit 150/minute --limit-burst 1",
        "recent --rcheck --seconds 2 --hitcount 2", "recent --update --seconds 2 --name b", "recent --set --name a",
        "recent --set", "recent ! --rcheck --name b", "recent --set --name b",
    ]  # fmt: skip
    text = "\n".join(["*mangle", *(f"-A PREROUTING -m {rule}" for rule in rules), "COMMIT", ""])
    spec = HostSpec(HOST, {"eth0": (InterfaceAddress.parse("10.0.1.1/24"),)}, iptables=text)
    packet = PacketStep(HOST, "eth0", Packet.udp("10.0.1.2", "10.0.1.1", 1, 2).to_bytes())
    pauses = (1.2, 2.1, 0.1, 0)
    steps = (step for pause in pauses for step in (*[packet] * 4, AdvanceStep(pause)))
    scenario = Scenario({HOST: spec}, (), tuple(steps))
    mine = run(scenario, variant).counters[HOST]
    for _ in range(ATTEMPTS):
        began = time.monotonic()
        theirs = worker.run(scenario, legacy=variant == "legacy").counters[HOST]
        if time.monotonic() - began < sum(pauses) + TOLERATED:
            break
    assert mine == theirs
    assert [int(line[1]) for line in mine if "limit" in line] == [6, 3]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("match", PATTERNS)
def test_compiled_rules_count_the_same(match: str, variant: Variant, seed: int) -> None:
    scenario = scenario_about(match, seed, PACKETS)
    told = [line for lines in run(scenario, variant).to_json()["counters"].values() for line in lines]
    assert compiled(scenario, variant) == told


def compiled(scenario: Scenario, variant: Variant) -> list[str]:
    """What the rules have counted at the end, when nobody reads along."""
    net = build(scenario, variant)
    net.wires.recording = False
    for step in scenario.steps:
        take(net, step)
    return [line for host in net.hosts.values() for line in host.firewall.save(counters=True).splitlines()]


def answered(trace: dict[str, Any]) -> int:
    """How many times a rule was asked about a packet: those that got through a chain have met each of its rules."""
    total = 0
    for lines in trace["counters"].values():
        policies = {found[1]: int(found[2]) for line in lines if (found := _POLICY.match(line))}
        total += sum(count * sum(f" -A {chain} " in line for line in lines) for chain, count in policies.items())
    return total
