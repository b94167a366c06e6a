"""Targets on the real kernel: random rules and packets, and every path, frame, mark, counter and entry compared."""

import pytest

from netlab import simulate
from netlab.iptables.extension import Variant
from netlab.kernel.compare import compare
from netlab.kernel.namespaces import KernelUnavailable
from netlab.kernel.run import run as run_on_kernel
from netlab.scenario import from_dict
from tests.conftest import CI
from tests.iptables.targets.scenarios import scenario

pytestmark = [pytest.mark.kernel, pytest.mark.needs("ip", "nft", "conntrack", "iptables", "ipset")]

PACKETS = 30  # a scenario
VARIANTS: tuple[Variant, ...] = ("nft", "legacy")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("variant", VARIANTS)
def test_random_targets_do_what_they_do_in_the_kernel(variant: Variant, seed: int, whole: bool) -> None:
    for number in range(200 if whole else 8):
        case = seed + number
        spec = from_dict(scenario(case, variant, PACKETS))
        try:
            real = run_on_kernel(spec, max_wait=0, privileged=True, variant=variant)
        except KernelUnavailable as error:
            (pytest.fail if CI else pytest.skip)(str(error))
        comparison = compare(simulate.run(spec, variant=variant).to_json(), real.to_json())
        assert comparison, f"scenario {case} ({variant}):\n{comparison}\n{spec.hosts['r'].iptables}"
