"""What every test can ask for: programs of the machine, the seed of this run, and whether to run whole."""

import os
import random
import shutil

import hypothesis
import pytest

CI = os.environ.get("CI") == "true"
FULL = os.environ.get("NETLAB_FULL") == "1"
SEED = int(os.environ.get("NETLAB_SEED") or random.SystemRandom().randrange(2**32))

os.environ["NETLAB_SEED"] = str(SEED)
"""Workers of pytest-xdist take the seed from here, so that one run has one seed."""


# The same examples every time in `make test`, fresh ones in `make full`; a slow machine is no failure.
hypothesis.settings.register_profile("netlab", deadline=None, derandomize=not FULL, print_blob=True)
hypothesis.settings.load_profile("netlab")

IMPLIED = {"browser": ("chromium",), "kernel": ("ip",)}
"""The programs that a marker needs without saying so."""


def pytest_report_header() -> str:
    size = "whole" if FULL else "a sample"
    return f"netlab: NETLAB_SEED={SEED}, long tests run {size}, CI={CI}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine lacks, with the reason; in CI nothing may be lacking."""
    if item.get_closest_marker("slow") and not (CI or FULL):
        pytest.skip("slow: runs in CI and in `make full`")
    tools = [tool for marker in item.iter_markers() for tool in IMPLIED.get(marker.name, ())]
    tools += [tool for marker in item.iter_markers("needs") for tool in marker.args]
    # Debian keeps ip, nft and their like where a plain user's PATH does not look.
    missing = [tool for tool in tools if not (shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin"))]
    if missing:
        complain = pytest.fail if CI else pytest.skip
        complain(f"not installed here: {', '.join(missing)}")


@pytest.fixture(scope="session")
def seed() -> int:
    """The seed of this run, printed in its first lines: `NETLAB_SEED=N make test` repeats it."""
    return SEED


@pytest.fixture(scope="session")
def whole() -> bool:
    """Whether long tests run whole (`make full`) or a sample drawn with `seed`."""
    return FULL
