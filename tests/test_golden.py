"""The simulator against what the kernel said, recorded in datasets/golden: everywhere, without a kernel to ask."""

import os
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from netlab.kernel.compare import compare
from netlab.kernel.golden import ask, recorded, scenarios, simulated
from netlab.kernel.worker import Worker
from tests.conftest import CI, SEED

SCENARIOS = dict(scenarios())
TRACES = recorded()
SAMPLE = 60  # of the recorded scenarios are asked again on a live kernel


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_simulator_says_what_the_kernel_said(name: str) -> None:
    found = compare(simulated(name, SCENARIOS[name]), TRACES[name])
    assert found, f"{name}\n{found}"


def test_there_is_enough_of_them() -> None:
    assert len(SCENARIOS) >= 300
    assert SCENARIOS.keys() == TRACES.keys()
    assert {trace["world"] for trace in TRACES.values()} == {"kernel"}
    assert len({trace["kernel"] for trace in TRACES.values()}) == 1, "recorded on one kernel"
    assert all(step["dropped"] != "unknown" for trace in TRACES.values() for step in trace["steps"]), "recorded as root"


def test_they_cover_the_ground() -> None:
    rows = [row for trace in TRACES.values() for step in trace["steps"] for row in step["path"]]
    assert {row["hook"] for row in rows} == {"PRE_ROUTING", "LOCAL_IN", "FORWARD", "LOCAL_OUT", "POST_ROUTING"}
    drops = {drop["reason"] for trace in TRACES.values() for step in trace["steps"] for drop in step["dropped"]}
    assert drops >= {
        "NOT_SPECIFIED", "NO_SOCKET", "PKT_TOO_SMALL", "TCP_CSUM", "UDP_CSUM", "ICMP_CSUM", "IP_CSUM", "IP_INHDR",
        "IP_RPFILTER", "IP_LOCAL_SOURCE", "IP_INVALID_SOURCE", "IP_LOCALNET", "IP_INVALID_DEST", "IP_INADDRERRORS",
        "IP_INNOROUTES", "IP_NOPROTO", "PKT_TOO_BIG", "FRAG_REASM_TIMEOUT", "DUP_FRAG", "INVALID_PROTO", "NEIGH_FAILED",
    }  # fmt: skip
    made = {(row["type"], row["code"]) for row in rows if row["hook"] == "LOCAL_OUT" and "type" in row}
    assert made >= {(0, 0), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (3, 13), (5, 1), (11, 0), (11, 1), (12, 0), (14, 0)}
    errnos = {step["errno"] for trace in TRACES.values() for step in trace["steps"]}
    assert errnos >= {"ENETUNREACH", "EINVAL", "EHOSTUNREACH", "EACCES", "EMSGSIZE"}


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees all that was recorded")
def test_the_live_kernel_says_it_still() -> None:
    ask_again(Random(SEED).sample(sorted(SCENARIOS), SAMPLE), privileged=True)


@pytest.mark.kernel
@pytest.mark.needs("nft")
def test_what_is_seen_without_root_is_the_same() -> None:
    ask_again(Random(SEED).sample(sorted(SCENARIOS), SAMPLE), privileged=False)


def ask_again(names: list[str], *, privileged: bool) -> None:
    with Worker(privileged=privileged) as worker:
        for name in names:
            found = compare(TRACES[name], live(worker, name))
            assert found, f"{name}\n{found}"


def live(worker: Worker, name: str) -> Mapping[str, Any]:
    """The scenario on this kernel; where it cannot be asked, a skip, in CI a failure."""
    from netlab.kernel.namespaces import KernelUnavailable

    try:
        return ask(worker, name, SCENARIOS[name])
    except KernelUnavailable as error:
        (pytest.fail if CI else pytest.skip)(str(error))
