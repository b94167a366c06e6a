"""The recorded rule sets: both iptables and netlab load them and print them as they are, and treat packets alike."""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from netlab import simulate
from netlab.iptables.extension import Variant
from netlab.kernel.fuzz.campaign import try_scenario
from netlab.kernel.fuzz.recorded import FILES, RULESETS, SOFTWARE, gateway, recorded
from netlab.kernel.namespaces import KernelUnavailable
from netlab.kernel.worker import Worker
from netlab.scenario import Scenario
from tests.conftest import FULL
from tests.iptables import record

VARIANTS: tuple[Variant, ...] = ("nft", "legacy")
PACKETS = 250  # in a scenario
SCENARIOS = 40 if FULL else 1  # for each rule set and each iptables

on_the_kernel = [pytest.mark.kernel, pytest.mark.needs("iptables", "iptables-nft", "iptables-legacy", "ipset")]


def kernel(test: object) -> object:
    """A test that asks the real programs."""
    for mark in on_the_kernel:
        test = mark(test)
    return test


def tables(text: str) -> dict[str, list[str]]:
    """The lines of every table that says anything, without comments."""
    found: dict[str, list[str]] = {}
    for part in text.split("*")[1:]:
        name, *lines = [line for line in part.splitlines() if not line.startswith("#")]
        if any(line.startswith("-A") for line in lines):
            found[name] = lines
    return found


def files(variant: Variant) -> list[Path]:
    return [RULESETS / FILES[variant].format(name) for name in SOFTWARE]


def test_all_of_them_are_known_here() -> None:
    assert {path.name.partition(".")[0] for path in RULESETS.glob("*.rules")} == set(SOFTWARE)


@kernel
@pytest.mark.parametrize("variant", VARIANTS)
def test_rulesets_come_back_the_same(variant: Variant) -> None:
    for path in files(variant):
        text, sets = path.read_text(encoding="utf-8"), RULESETS / f"{path.name.partition('.')[0]}.sets"
        try:
            with record.fresh_namespace():
                if sets.exists():
                    assert record.run(variant, ["ipset", "restore"], sets.read_text(encoding="utf-8")).status == 0
                loaded = record.run(variant, ["iptables-restore"], text)
                assert (loaded.status, loaded.stderr) == (0, ""), path.name
                printed = record.run(variant, ["iptables-save"]).stdout
        except KernelUnavailable as error:
            pytest.skip(str(error))
        assert len(tables(text)) > 0
        assert tables(printed) == tables(text), path.name


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", SOFTWARE)
def test_netlab_loads_them_and_prints_them_as_they_are(name: str, variant: Variant) -> None:
    spec = gateway(name, variant)
    host = simulate.build(Scenario({spec.name: spec}), variant).hosts[spec.name]
    assert tables(host.firewall.save()) == tables(spec.iptables)


# ---------------------------------------------------------------- packets

REACHED = {"fail2ban": 0.6, "firewalld": 0.6, "libvirt": 0.6, "shorewall": 0.5, "ufw": 0.6}
"""The share of a rule set that some hundred packets meet at least; what cannot be met on this gateway is never met."""


@pytest.mark.parametrize("name", SOFTWARE)
def test_packets_meet_the_rules(name: str) -> None:
    counted: dict[str, bool] = {}
    for number in range(3):
        trace = simulate.run(recorded(Random(f"met {number}"), name, "nft", PACKETS))
        (lines,) = trace.counters.values()
        for rule, met in rules(lines):
            counted[rule] = met or counted.get(rule, False)
    assert sum(counted.values()) >= REACHED[name] * len(counted)


def rules(lines: list[str]) -> Iterator[tuple[str, bool]]:
    """Every rule with its table, and whether it has counted anything."""
    table = ""
    for line in lines:
        table = line if line.startswith("*") else table
        if line.startswith("["):
            counters, rule = line.split(" ", 1)
            yield f"{table} {rule}", counters != "[0:0]"


@kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees drops")
@pytest.mark.timeout(600 if FULL else 60)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", SOFTWARE)
def test_both_worlds_treat_packets_alike(worker: Worker, seed: int, name: str, variant: Variant) -> None:
    compared = 0
    for number in range(SCENARIOS):
        scenario = recorded(Random(f"{seed}/{name}/{variant}/{number}"), name, variant, PACKETS)
        trial = worker.call(try_scenario, scenario, variant, privileged=True)
        assert not trial.disagreement, f"{scenario.name}, scenario {number}: {trial.disagreement}"
        compared += trial.packets
    assert compared == SCENARIOS * PACKETS
