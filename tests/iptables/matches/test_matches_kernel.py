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
from netlab.kernel.compare import compare
from netlab.kernel.fuzz.machines import HOST
from netlab.kernel.namespaces import KernelUnavailable
from netlab.kernel.worker import Worker
from netlab.packet import Packet
from netlab.scenario import AdvanceStep, HostSpec, PacketStep, Scenario
from netlab.simulate import build, run, take
from tests.conftest import CI
from tests.iptables.matches.scenarios import PATTERNS, scenario_about

VARIANTS: tuple[Variant, ...] = ("nft", "legacy")
PACKETS, SEEDS = 100, 8
PARTS = {"connlimit": 5}
"""Into how many scenarios a match's packets are divided. Those of connlimit pause before each packet, and a slow
machine shall not need two seconds for one: from then on a flow of UDP may be a stream, in the one world that is late.
"""
ELSEWHERE = {"set", "hashlimit", "physdev"}
"""Matches that other tests are about, and Base, which every rule has."""

_POLICY = re.compile(r":(\S+) \S+ \[(\d+):")
_COUNTERS = re.compile(r"\[\d+:\d+\]")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker(cpu=min(os.sched_getaffinity(0))) as one:
        yield one


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
        mine = run(scenario, variant).to_json()
        began = time.monotonic()
        try:
            theirs = worker.run(scenario, legacy=variant == "legacy", like=mine).to_json()
        except KernelUnavailable as error:
            (pytest.fail if CI else pytest.skip)(str(error))
        late = time.monotonic() - began
        found = compare(_numbers(mine, variant), _numbers(theirs, variant), late=late)
        assert found, f"{scenario.name} with {variant}: {found}"
        answers += answered(mine)
    assert answers > 500 * len(asked), "hardly a rule was asked"


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.kernel
@pytest.mark.needs("iptables")
def test_time_passes_for_buckets_and_for_memories(worker: Worker, variant: Variant) -> None:
    """The pauses are such that a slow machine may take a little longer for them."""
    rules = [
        "limit --limit 1/second --limit-burst 3", "limit --limit 150/minute --limit-burst 1",
        "recent --rcheck --seconds 2 --hitcount 2", "recent --update --seconds 2 --name b", "recent --set --name a",
        "recent --set", "recent ! --rcheck --name b", "recent --set --name b",
    ]  # fmt: skip
    text = "\n".join(["*mangle", *(f"-A PREROUTING -m {rule}" for rule in rules), "COMMIT", ""])
    spec = HostSpec(HOST, {"eth0": (InterfaceAddress.parse("10.0.1.1/24"),)}, iptables=text)
    packet = PacketStep(HOST, "eth0", Packet.udp("10.0.1.2", "10.0.1.1", 1, 2).to_bytes())
    pauses = [AdvanceStep(seconds) for seconds in (1.2, 2.1, 0.1, 0)]
    scenario = Scenario({HOST: spec}, (), tuple(step for pause in pauses for step in (*[packet] * 4, pause)))
    mine = run(scenario, variant).to_json()
    try:
        theirs = worker.run(scenario, legacy=variant == "legacy", like=mine).to_json()
    except KernelUnavailable as error:
        (pytest.fail if CI else pytest.skip)(str(error))
    assert mine["counters"][HOST] == theirs["counters"][HOST]
    assert [int(line[1]) for line in mine["counters"][HOST] if "limit" in line] == [6, 3]


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


def _numbers(trace: dict[str, Any], variant: Variant) -> dict[str, Any]:
    """iptables-legacy prints some rules otherwise than iptables-nft and netlab do: there only the numbers count."""
    if variant == "nft":
        return trace
    numbers = {
        host: [" ".join(_COUNTERS.findall(line)) or line for line in lines] for host, lines in trace["counters"].items()
    }
    return trace | {"counters": numbers}
