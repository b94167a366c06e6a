"""Targets on the real kernel: random rules and packets, and every path, frame, mark, counter and entry compared."""

from typing import Any

import pytest

from netlab import simulate
from netlab.iptables.extension import Variant
from netlab.kernel.compare import Comparison, compare
from netlab.kernel.fuzz.campaign import try_scenario
from netlab.kernel.namespaces import KernelUnavailable
from netlab.kernel.run import run as run_on_kernel
from netlab.kernel.worker import Worker
from netlab.packet import Packet
from netlab.scenario import Scenario, from_dict
from tests.conftest import CI
from tests.iptables.targets.rig import CLIENT, SERVER
from tests.iptables.targets.scenarios import scenario

pytestmark = [pytest.mark.kernel, pytest.mark.needs("ip", "nft", "conntrack", "iptables", "ipset")]

PACKETS = 30  # a scenario
VARIANTS: tuple[Variant, ...] = ("nft", "legacy")


def both(spec: Scenario, variant: Variant) -> Comparison:
    """One scenario in both worlds."""
    try:
        real = run_on_kernel(spec, max_wait=0, privileged=True, variant=variant)
    except KernelUnavailable as error:
        (pytest.fail if CI else pytest.skip)(str(error))
    return compare(simulate.run(spec, variant=variant).to_json(), real.to_json())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("variant", VARIANTS)
def test_random_targets_do_what_they_do_in_the_kernel(worker: Worker, variant: Variant, seed: int, whole: bool) -> None:
    for case in range(seed, seed + (200 if whole else 8)):
        spec = from_dict(scenario(case, variant, PACKETS))
        trial = worker.call(try_scenario, spec, variant, privileged=True)
        assert not trial.disagreement, f"scenario {case} ({variant}):\n{trial.disagreement}\n{spec.hosts['r'].iptables}"
        assert trial.packets == len(spec.steps)


def syn(tcp_options: bytes = b"", **header: Any) -> Packet:
    return Packet.tcp(CLIENT, SERVER, 4000, 80, "S", tcp_options=tcp_options, **header)


RECORD_ROUTE = b"\7\7\4" + bytes(5)
RECORDING = (
    syn(options=RECORD_ROUTE), Packet.udp(CLIENT, SERVER, 1, 2, "x", options=RECORD_ROUTE),
    Packet.icmp(CLIENT, SERVER, options=RECORD_ROUTE), Packet.ip(CLIENT, SERVER, 47, "abcd", options=RECORD_ROUTE),
)  # fmt: skip
CLIENTS = tuple(Packet.udp(f"10.0.1.{number}", SERVER, 4000, 53, "a") for number in range(2, 12))
REJECTING = "-A FORWARD -p tcp -j REJECT --reject-with tcp-reset\n-A FORWARD -j REJECT"
LISTENERS = dict.fromkeys(range(2, 6), "ACCEPT")
RARE: dict[str, tuple[str, str, tuple[Packet, ...], dict[str, Any]]] = {
    "MSS on an odd place": (
        "mangle", "-A FORWARD -p tcp --syn -j TCPMSS --set-mss 1000",
        (syn(b"\1\2\4\5\xb4\1\1\1"), syn(b"\3\3\7\2\4\5\xb4\0"), syn(b"\1\2\4\1\xb4\1\1\1")), {},
    ),
    "record route": ("filter", REJECTING, RECORDING, {}),
    "record route, tracked": ("filter", REJECTING, RECORDING, {"conntrack": "on"}),
    "balance": ("filter", "-A FORWARD -j NFQUEUE --queue-balance 2:5", CLIENTS, {"queues": LISTENERS}),
    "fanout": (
        "filter", "-A FORWARD -j NFQUEUE --queue-balance 2:5 --queue-cpu-fanout", CLIENTS, {"queues": LISTENERS},
    ),
    "nobody listens": ("filter", "-A FORWARD -j NFQUEUE --queue-balance 12:15", CLIENTS, {}),
    "bypass": ("filter", "-A FORWARD -j NFQUEUE --queue-balance 12:15 --queue-bypass\n-A FORWARD -j DROP", CLIENTS, {}),
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", RARE)
def test_what_comes_seldom(name: str, variant: Variant) -> None:
    table, rules, packets, more = RARE[name]
    host = {
        "interfaces": {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, "sysctls": {"net.ipv4.ip_forward": 1},
        "iptables": f"*{table}\n:FORWARD ACCEPT [0:0]\n{rules}\nCOMMIT\n", **more,
    }  # fmt: skip
    steps = [{"packet": {"into": "r:eth0", "hex": packet.to_bytes().hex()}} for packet in packets]
    comparison = both(from_dict({"hosts": {"r": host}, "steps": steps}), variant)
    assert comparison, str(comparison)
