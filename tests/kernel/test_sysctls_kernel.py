"""Sysctls against the real kernel: which exist, their defaults, what they refuse, what changes along."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random

import pytest

from netlab.kernel.namespaces import Namespace
from netlab.names import NetlabError
from netlab.sysctls import NET, SHARED, Sysctls, conf_name
from tests.kernel.random_routing import DEVICES, Twins
from tests.kernel.test_routing_kernel import make_twins

pytestmark = [pytest.mark.kernel, pytest.mark.needs("ip")]

Namespaces = Callable[[], AbstractContextManager[Namespace]]
WRITES = 400


def kernel_values(twins: Twins, names: list[str]) -> dict[str, int]:
    with twins.namespace.entered():
        return {name: int(twins.path(name).read_text()) for name in names}


def test_random_writes(kernel_namespaces: Namespaces, seed: int) -> None:
    """After every write all modelled settings are the same, and what the kernel refuses netlab refuses."""
    random = Random(seed)
    refused = 0
    with kernel_namespaces() as namespace:
        twins = make_twins(namespace)
        for dev in (*DEVICES, "lo"):
            twins.both([f"address add 192.168.{len(twins.log)}.1/24 dev {dev}"])
        # icmp_ratelimit is kept in ticks of the kernel's clock, so it is not what was written.
        names = [name for name in twins.sysctls if not name.endswith("icmp_ratelimit") and name not in SHARED]
        forwarding = ["net.ipv4.ip_forward", *(conf_name(place, "forwarding") for place in ("all", "default", "rta"))]
        for _ in range(WRITES):
            name = random.choice(forwarding if random.random() < 0.4 else names)
            value = random.choice((0, 0, 1, 1, 2, 3, 4, 64, 255, 256, -1))
            before = str(twins.sysctls)
            try:
                with namespace.entered():
                    twins.path(name).write_text(str(value))
            except OSError:
                with pytest.raises(NetlabError, match=name):
                    twins.sysctls.set(name, value)
                refused += 1
            else:
                twins.sysctls.set(name, value)
            story = f"seed {seed}: {name}={value}\n{before}"
            assert {name: twins.sysctls.get(name) for name in names} == kernel_values(twins, names), story
    assert refused


def test_defaults(kernel_namespaces: Namespaces) -> None:
    """The kernel's own defaults, but for the one that netlab sets aside; a host's init namespace may be configured."""
    with kernel_namespaces() as namespace:
        sysctls = Sysctls()
        with namespace.entered():
            for name in NET.keys() - SHARED.keys():
                value = int(Twins.path(name).read_text())
                assert value == (1000 if name.endswith("icmp_ratelimit") else sysctls.get(name)), name
