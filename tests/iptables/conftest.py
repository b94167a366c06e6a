"""The real kernel, for all tests of rules."""

import os
from collections.abc import Iterator

import pytest

from netlab.kernel.namespaces import KernelUnavailable
from netlab.kernel.worker import Worker
from netlab.scenario import Scenario
from tests.conftest import CI


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """Runs scenarios on the real kernel; where it cannot be asked, a skip, in CI a failure."""
    with Worker(cpu=min(os.sched_getaffinity(0))) as made:
        try:
            made.run(Scenario({}))
        except KernelUnavailable as error:
            (pytest.fail if CI else pytest.skip)(str(error))
        yield made
