"""IP options against the real kernel: the same packets into both worlds, every frame and every hook's options compared.

Stricter than `netlab compare`: the options at each hook, and the header that an ICMP error quotes with its checksum.
"""

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from netlab import simulate
from netlab.kernel.namespaces import KernelUnavailable
from netlab.kernel.worker import Worker
from netlab.scenario import Scenario, from_dict
from tests.conftest import CI
from tests.kernel.option_journeys import Generator, journey
from tests.kernel.option_situations import BEYOND, RECORD, ROUTER, SENDER, SITUATIONS, THROUGH, one, udp

pytestmark = [pytest.mark.kernel, pytest.mark.needs("ip")]

MACHINES, MACHINES_WHOLE, PACKETS = 6, 120, 60


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as one:
        yield one


def differences(worker: Worker, scenario: Scenario) -> list[str]:
    """Where the worlds disagree, as text; empty when they agree in every step."""
    try:
        kernel = worker.run(scenario)
    except KernelUnavailable as error:
        (pytest.fail if CI else pytest.skip)(str(error))
    found = []
    for here, there in zip(simulate.run(scenario).steps, kernel.steps, strict=True):
        mine, theirs = journey(here), journey(there)
        if mine != theirs:
            lines = [f"  simulator {line}" for line in mine if line not in theirs]
            lines += [f"  kernel    {line}" for line in theirs if line not in mine]
            found.append("\n".join([here.title, *lines]))
    return found


def test_random_options(worker: Worker, seed: int, whole: bool) -> None:
    """Valid and broken option strings to, through and past a router, with answers and errors."""
    ends: Counter[str] = Counter()
    found: list[str] = []
    for machine in range(MACHINES_WHOLE if whole else MACHINES):
        scenario = Generator(Random(f"options {seed} {machine}")).scenario(PACKETS)
        found += [f"machine {machine}: {text}" for text in differences(worker, scenario)]
        for step in simulate.run(scenario).steps:
            ends.update(line.rpartition(" ")[2] for line in journey(step) if "dropped" in line)
            ends.update(path.hook.name for path in step.events if hasattr(path, "hook"))
    assert not found, "\n".join([f"{len(found)} differences, seed {seed}", *found[:5]])
    # Agreement over nothing would prove nothing.
    assert {"IP_INHDR", "NOT_SPECIFIED", "NO_SOCKET", "FORWARD", "LOCAL_IN", "LOCAL_OUT"} <= set(ends)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_situations(situation: str, worker: Worker) -> None:
    found = differences(worker, from_dict(SITUATIONS[situation]))
    assert not found, "\n".join(found)


def test_log_lines(worker: Worker) -> None:
    """Only a source route that is refused is logged, and only with log_martians."""
    logged = {"net.ipv4.conf.all.log_martians": 1, "net.ipv4.conf.eth0.accept_source_route": 0}
    packets = [udp(ROUTER, THROUGH), udp(BEYOND, THROUGH), udp(BEYOND, RECORD)]
    scenario = from_dict(one(packets, logged))
    assert worker.run(scenario).log == simulate.run(scenario).log
    assert simulate.run(scenario).log == {
        "r": [f"IPv4: source route option {SENDER} -> {dst}" for dst in (ROUTER, BEYOND)]
    }
