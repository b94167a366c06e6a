"""The kernel's log is one for all: what it prints in time is limited, and others print, too."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from netlab.kernel.namespaces import KernelUnavailable
from netlab.kernel.worker import Worker
from netlab.scenario import Scenario, from_dict
from netlab.trace import UNKNOWN
from tests.conftest import CI

LINES = 6  # of a scenario; two of them at once want more than the kernel prints in five seconds

MARTIAN = {"packet": {"into": "r:eth0", "src": "10.0.1.1", "dst": "10.0.1.1", "proto": "udp", "dport": 53}}


@pytest.fixture
def workers() -> Iterator[tuple[Worker, Worker]]:
    with ExitStack() as held:
        made = held.enter_context(Worker()), held.enter_context(Worker())
        try:
            made[0].run(Scenario({}))
        except KernelUnavailable as error:
            (pytest.fail if CI else pytest.skip)(str(error))
        yield made


@pytest.mark.kernel
@pytest.mark.needs("ip")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees log lines")
@pytest.mark.skipif(not os.access("/dev/kmsg", os.R_OK), reason="the kernel's log cannot be read here")
def test_no_line_is_lost_when_two_log_at_once(workers: tuple[Worker, Worker]) -> None:
    scenario = from_dict(
        {
            "hosts": {
                "r": {"interfaces": {"eth0": "10.0.1.1/24"}, "sysctls": {"net.ipv4.conf.all.log_martians": 1}},
            },
            "steps": [MARTIAN] * LINES,
        }
    )
    with ThreadPoolExecutor(len(workers)) as pool:
        traces = [one.result().to_json() for one in [pool.submit(worker.run, scenario) for worker in workers]]
    if any(trace["log"] == UNKNOWN for trace in traces):
        pytest.skip("this kernel's packets and log cannot be watched")
    assert [len(trace["log"]["r"]) for trace in traces] == [LINES, LINES]
