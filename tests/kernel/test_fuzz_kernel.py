"""Both worlds on random machines and packets: fixed seeds and a fresh one, which is printed."""

import os

import pytest

from netlab.kernel.fuzz.campaign import Campaign, run_campaign
from netlab.kernel.fuzz.coverage import table
from netlab.kernel.fuzz.kinds import random_scenario
from netlab.kernel.fuzz.machines import Features
from netlab.kernel.namespaces import KernelUnavailable
from tests.conftest import CI, FULL, SEED

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.needs("ip", "nft"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root sees drop reasons"),
    pytest.mark.timeout(1200 if FULL else 240),
]

PACKETS = 100_000 if FULL else 10_000  # for each of the two seeds


@pytest.mark.parametrize("seed", ["fixed", f"fresh-{SEED}"], ids=["fixed seed", "fresh seed"])
def test_no_disagreement(seed: str) -> None:
    try:
        campaign = run_campaign(seed, PACKETS, Features(iptables=False), lambda packets: None)
    except KernelUnavailable as error:
        (pytest.fail if CI else pytest.skip)(str(error))
    assert not campaign.disagreements, report(seed, campaign)
    assert campaign.packets >= PACKETS
    assert campaign.unknown == 0
    covered = {kind: {name for k, name in campaign.coverage if k == kind} for kind, _ in campaign.coverage}
    assert len(covered["hook sequences"]) >= 10, table(campaign.coverage)
    assert len(covered["drop reasons"]) >= 18, table(campaign.coverage)
    assert covered["ICMP made by hosts"] >= {"0/0", "3/0", "3/1", "3/2", "3/3", "3/4", "3/13", "5/1", "11/0", "12/0"}


def report(seed: str, campaign: Campaign) -> str:
    """The seed, and the smallest scenarios on which the worlds differ, ready to be kept."""
    from netlab.kernel.fuzz.shrink import to_yaml

    return "\n".join(
        [
            f"seed {seed}",
            *(f"{what}\n# {scenario.name}\n{to_yaml(scenario)}" for what, scenario in campaign.disagreements),
        ]
    )


def test_a_seed_is_a_scenario() -> None:
    one, same, other = (random_scenario(seed, 50, Features()) for seed in ("a", "a", "b"))
    assert one == same != other


def test_features_are_left_out() -> None:
    plain = Features(
        rules=False, sysctls=False, mtu=False, options=False, fragments=False, malformed=False, local=False,
        links=False, aging=False, tcp=False, logs=False, iptables=False,
    )  # fmt: skip
    for n in range(20):
        scenario = random_scenario(f"plain/{n}", 50, plain)
        (spec,) = scenario.hosts.values()
        assert not spec.rules
        assert not spec.mtu
        assert all(step.dev and step.data[0] == 0x45 and not step.data[6] & 0x3F for step in scenario.steps)
