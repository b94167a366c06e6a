"""Network namespaces for tests on the real kernel."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from netlab.kernel.namespaces import KernelUnavailable, Namespace


@pytest.fixture
def kernel_namespaces() -> Callable[[], AbstractContextManager[Namespace]]:
    """`with kernel_namespaces() as namespace:` gone at its end. Where none can be made: a skip, in CI a failure."""

    @contextmanager
    def make() -> Iterator[Namespace]:
        try:
            namespace = Namespace()
        except KernelUnavailable as error:
            complain = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            complain(str(error))
        try:
            yield namespace
        finally:
            namespace.close()

    return make
