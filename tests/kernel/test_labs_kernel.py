"""What the labs teach is what the kernel does: reference answers, asked of the real one."""

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from errno import errorcode
from socket import AF_INET, SOCK_DGRAM, socket

import pytest

from netlab.grading import bank
from netlab.grading.judge import draw_probes
from netlab.kernel.namespaces import Namespace
from netlab.kernel.worker import Worker
from netlab.names import Hook
from netlab.scenario import from_dict
from netlab.trace import Trace

pytestmark = pytest.mark.kernel

FOUR, INTERFACES, ANY = bank.exercises_of("01", "")[:3]
SENDER = next(exercise for exercise in bank.exercises_of("02", "") if exercise.id == "02.7")
FIELDS = {"proto": "udp", "sport": 5000, "dport": 53}
PING = {"proto": "icmp", "type": 8, "id": 1}


@pytest.fixture
def asked(kernel_namespaces: Callable[[], AbstractContextManager[Namespace]]) -> Callable[..., Trace]:
    """Sends packets through the labs' router on the kernel; each is (made here?, fields)."""
    with kernel_namespaces():
        pass

    def ask(packets: list[tuple[bool, dict[str, object]]], ip_forward: int = 1) -> Trace:
        places = [{"from": "router"} if here else {"into": "router:eth0", "src": "10.0.1.2"} for here, _ in packets]
        router = {
            "interfaces": {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"},
            "sysctls": {"net.ipv4.ip_forward": ip_forward},
            "listen": ["udp/53"],
        }
        steps = [{"packet": place | fields} for place, (_, fields) in zip(places, packets, strict=True)]
        with Worker() as worker:
            return worker.run(from_dict({"hosts": {"router": router}, "steps": steps}))

    return ask


def hooks_of_steps(trace: Trace) -> list[list[str]]:
    """The hooks that each step's own packet entered."""
    return [[row["hook"] for row in step["path"] if row["packet"] == 0] for step in trace.to_json()["steps"]]


def test_01_1_hook_orders(asked):
    kinds = {"local to local": (True, "10.0.1.1"), "local to external": (True, "10.0.2.2")}
    kinds |= {"external to local": (False, "10.0.1.1"), "external to external": (False, "10.0.2.2")}
    trace = asked([(here, FIELDS | {"dst": dst}) for here, dst in kinds.values()])
    assert dict(zip(kinds, hooks_of_steps(trace), strict=True)) == FOUR.reference


def test_01_2_interfaces(asked):
    pings = [line.split(" pings ") for line in INTERFACES.reference]
    trace = asked([(source == "the machine", PING | {"dst": dst}) for source, dst in pings])
    seen = [
        next(row["in"] for row in step["path"] if row["packet"] == 0 and row["hook"] == "LOCAL_IN")
        for step in trace.to_json()["steps"]
    ]
    assert seen == list(INTERFACES.reference.values())


@pytest.mark.parametrize("ip_forward", [0, 1])
def test_01_3_any_packet(asked, ip_forward):
    cases = [probe.inputs for probe in draw_probes(ANY, "kernel") if probe.inputs[3] == ip_forward]
    trace = asked([(here, FIELDS | {"dst": dst, "ttl": ttl}) for here, dst, _, _, ttl in cases], ip_forward)
    assert hooks_of_steps(trace) == [ANY.reference(*case) for case in cases]


LOCAL = [case for case in SENDER.reference if "program" in case and "STOLEN" not in case]  # iptables steals nothing


@pytest.mark.needs("ip", "iptables")
@pytest.mark.parametrize("case", LOCAL)
def test_02_7_what_a_local_sender_notices(case, kernel_namespaces):
    verdict, hook = case.split(", ")[1].split(" on ")
    rule = ["-A", Hook[hook].chain, "-p", "udp", "-j", {"DROP": "DROP", "QUEUE": "NFQUEUE"}[verdict]]
    with kernel_namespaces() as namespace, namespace.entered():
        links = ["link set lo up", "link add r0 type veth peer name r1", "link set r0 up", "link set r1 up"]
        for words in (*links, "address add 10.0.1.1/24 dev r0"):
            subprocess.run(["ip", *words.split()], check=True)
        subprocess.run(["iptables", "-t", "mangle", *rule], check=True)
        with socket(AF_INET, SOCK_DGRAM) as sender:
            try:
                sender.sendto(b"", ("10.0.1.1" if "same machine" in case else "10.0.1.2", 53))
                noticed = "nothing"
            except OSError as error:
                noticed = errorcode[error.errno]
    assert noticed == SENDER.reference[case]
