"""Scenarios on the real kernel: what comes back, with and without root, and what is left behind (nothing)."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlab import simulate
from netlab.kernel import probes
from netlab.kernel.compare import compare
from netlab.kernel.fuzz.kinds import random_scenario
from netlab.kernel.fuzz.machines import Features
from netlab.kernel.namespaces import KernelUnavailable, require
from netlab.kernel.worker import Worker
from netlab.names import NetlabError
from netlab.scenario import Scenario, from_dict, loads

ROOT = Path(__file__).resolve().parents[2]
AS_ROOT = os.geteuid() == 0

pytestmark = [pytest.mark.kernel, pytest.mark.needs("ip", "nft")]

ROUTER = """
hosts:
  router:
    interfaces: {eth0: 10.0.1.1/24, eth1: 10.0.2.1/24}
    routes: ["10.9.0.0/16 via 10.0.2.2 metric 100", "blackhole 10.8.0.0/16"]
    rules: ["fwmark 0x1 table 100"]
    sysctls: {net.ipv4.ip_forward: 1, net.ipv4.conf.all.rp_filter: 1}
steps:
  - packet: {into: "router:eth0", src: 10.0.1.2, dst: 10.0.2.2, proto: tcp, sport: 4000, dport: 80, flags: S, seq: 100}
  - packet: {from: router, dst: 10.0.1.2, proto: icmp, type: 8, id: 42}
  - packet: {into: "router:eth0", src: 10.0.2.2, dst: 10.0.2.2, proto: udp, sport: 1, dport: 2}
  - packet: {from: router, dst: 10.8.1.1, proto: udp, sport: 1, dport: 2}
  - packet: {into: "router:eth0", hex: "4500001e00014000401123cb0a0001020a00020200010002000a806a68"}
"""

CLIENT_AND_SERVER = """
hosts:
  client: {interfaces: {eth0: 10.0.1.2/24}, routes: ["default via 10.0.1.1"]}
  server: {interfaces: {eth0: 10.0.1.1/24}, listen: [tcp/80, udp/53]}
links: [["client:eth0", "server:eth0"]]
steps:
  - packet: {from: client, dst: 10.0.1.1, proto: udp, sport: 5000, dport: 53, payload: hello}
  - packet: {from: client, dst: 10.0.1.77, proto: udp, sport: 5000, dport: 53}
"""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """The real kernel; where it cannot be asked, a skip, in CI a failure."""
    with Worker() as made:
        try:
            made.run(loads(ROUTER))
        except KernelUnavailable as error:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(error))
        yield made


def hooks(trace: dict, step: int) -> list[str]:
    return [row["hook"] for row in trace["steps"][step]["path"]]


def test_the_kernel_answers_in_the_form_of_the_simulator(worker: Worker) -> None:
    scenario = loads(ROUTER)
    kernel, simulated = worker.run(scenario).to_json(), simulate.run(scenario).to_json()
    assert (kernel["world"], kernel["kernel"]) == ("kernel", os.uname().release)
    assert hooks(kernel, 0) == ["PRE_ROUTING", "FORWARD", "POST_ROUTING"]
    assert [row["ttl"] for row in kernel["steps"][0]["path"]] == [64, 63, 63]
    assert hooks(kernel, 1) == ["LOCAL_OUT", "POST_ROUTING"]
    assert kernel["steps"][3]["errno"] == "EINVAL"
    assert hooks(kernel, 4) == []
    if AS_ROOT:
        reasons = [[drop["reason"] for drop in step["dropped"]] for step in kernel["steps"]]
        assert reasons == [[], [], ["IP_RPFILTER"], [], ["PKT_TOO_SMALL"]]
    assert kernel.keys() == simulated.keys()
    for mine, theirs in zip(simulated["steps"], kernel["steps"], strict=True):
        assert mine.keys() == theirs.keys()
        for row, other in zip(mine["path"], theirs["path"], strict=True):
            assert row.keys() == other.keys()


@pytest.mark.parametrize("text", [ROUTER, CLIENT_AND_SERVER], ids=["router", "client and server"])
def test_both_worlds_agree(worker: Worker, text: str) -> None:
    scenario = loads(text)
    found = compare(simulate.run(scenario).to_json(), worker.run(scenario).to_json())
    assert found, str(found)


def test_a_packet_travels_over_a_link_into_a_socket(worker: Worker) -> None:
    first = worker.run(loads(CLIENT_AND_SERVER)).to_json()["steps"][0]
    assert [(row["packet"], row["host"], row["hook"]) for row in first["path"]] == [
        (0, "client", "LOCAL_OUT"),
        (0, "client", "POST_ROUTING"),
        (0, "server", "PRE_ROUTING"),
        (0, "server", "LOCAL_IN"),
    ]
    assert first["out"] == []
    if AS_ROOT:
        assert first["delivered"] == [{"packet": 0, "host": "server", "socket": "udp/53"}]


def test_without_root_the_same_hooks_and_the_rest_unknown(worker: Worker) -> None:
    with Worker(privileged=False) as plain:
        for n in range(4):
            scenario = random_scenario(f"plain/{n}", 60, Features())
            try:
                known = worker.run(scenario).to_json()
            except NetlabError:
                continue
            unknown = plain.run(scenario).to_json()
            assert {step["dropped"] for step in unknown["steps"]} == {"unknown"}
            assert unknown["log"] == "unknown"
            found = compare(known, unknown)
            assert found, str(found)
            assert found.unknown >= len(scenario.steps)


PLAIN = """
import json, os, sys
from netlab.kernel.worker import Worker
from netlab.scenario import from_dict
with Worker() as worker:
    print(json.dumps([os.geteuid(), worker.run(from_dict(json.loads(sys.argv[1]))).to_json()]))
"""


@pytest.mark.skipif(not AS_ROOT, reason="becomes nobody first, which only root can")
@pytest.mark.needs("setpriv", "iptables-nft-restore", "ipset")
def test_a_user_without_any_privilege(tmp_path: Path) -> None:
    python = next((path for path in (sys.executable, "/usr/bin/python3") if runs_for_nobody(path)), None)
    if not python:
        pytest.skip("there is no Python that other users may run")
    shutil.copytree(ROOT / "netlab", tmp_path / "netlab", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    structure = {
        "hosts": {
            "r": {"interfaces": {"eth0": "10.0.1.1/24"}},
            "s": {"iptables": "*filter\n-A INPUT -j DROP\nCOMMIT\n", "ipsets": "create some hash:ip\n"},
        },
        "steps": [
            {"packet": {"into": "r:eth0", "src": "10.0.1.2", "dst": "10.0.1.1", "proto": "icmp", "id": 5}},
            {"packet": {"into": "r:eth0", "src": "127.0.0.1", "dst": "10.0.1.1", "proto": "icmp", "id": 5}},
        ],
    }
    done = subprocess.run(
        [*AS_NOBODY, python, "-c", PLAIN, json.dumps(structure)],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert not done.returncode, done.stderr
    user, trace = json.loads(done.stdout)
    assert user == NOBODY
    assert hooks(trace, 0) == ["PRE_ROUTING", "LOCAL_IN", "LOCAL_OUT", "POST_ROUTING"]
    assert hooks(trace, 1) == ["PRE_ROUTING"]
    assert trace["steps"][1]["dropped"] == "unknown"
    assert "[0:0] -A INPUT -j DROP" in trace["counters"]["s"]


NOBODY = 65534
AS_NOBODY = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]


def runs_for_nobody(python: str) -> bool:
    """Whether other users may start that Python: one in root's home is for root alone."""
    probe = "import subprocess, sys; sys.exit(sys.version_info < (3, 11) or subprocess.call([sys.argv[1], '-c', '']))"
    try:
        return not subprocess.run(
            [*AS_NOBODY, python, "-c", probe, python], capture_output=True, check=False
        ).returncode
    except OSError:
        return False


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("host", "complaint"),
    [
        ({"routes": ["10.9.0.0/16 via 10.77.0.1"]}, "ip route add 10.9.0.0/16 via 10.77.0.1"),
        ({"routes": ["10.0.1.0/24 via 10.0.2.9"]}, "File exists"),
        ({"interfaces": {"eth0": "10.0.1.1/24"}, "routes": ["10.9.0.0/16 dev eth9"]}, "eth9"),
    ],
)
def test_what_the_kernel_refuses_is_quoted(worker: Worker, host: dict, complaint: str) -> None:
    spec = {"interfaces": {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}} | host
    with pytest.raises(NetlabError, match=complaint) as caught:
        worker.run(from_dict({"hosts": {"r": spec}}))
    assert "\n" not in str(caught.value)


def test_it_waits_only_as_long_as_allowed(worker: Worker) -> None:
    scenario = from_dict({"hosts": {"r": {"interfaces": {"eth0": "10.0.1.1/24"}}}, "steps": [{"advance": 0.2}]})
    began = time.monotonic()
    worker.run(scenario, max_wait=1)
    assert time.monotonic() - began >= 0.2
    with pytest.raises(NetlabError, match="--max-wait"):
        worker.run(scenario, max_wait=0.1)


def test_a_missing_tool_is_named_with_its_package() -> None:
    with pytest.raises(KernelUnavailable, match=r"no-such-tool is not installed \(apt install nothing\)"):
        require("no-such-tool", "nothing")


@pytest.mark.skipif(not AS_ROOT, reason="BPF is root's")
def test_lost_events_fail_the_run() -> None:
    with Worker() as small:
        scenario = random_scenario("flood", 40, Features(fragments=False))
        with pytest.raises(NetlabError, match="lost"):
            small.call(run_with_small_buffer, scenario)


def run_with_small_buffer(scenario: Scenario) -> None:
    """In the worker: a ring buffer of one page, read only at the end."""
    from netlab.kernel.network import Network

    probes._RING_SIZE = 4096
    network = Network(scenario)
    watching = probes.BpfProbes([machine.namespace for machine in network.machines.values()])
    for step in scenario.steps:
        network.outside.send(step.host, step.dev or "eth0", step.data[:68])
    list(watching.read())


# ---------------------------------------------------------------- what is left behind


def namespaces_of(process: int) -> set[str]:
    """The network namespaces that a process lives in or holds open."""
    home = Path("/proc") / str(process)
    found = set()
    for place in (home / "ns" / "net", *(home / "fd").glob("*")):
        with contextlib.suppress(OSError):
            found.add(str(place.readlink()))
    return {name for name in found if name.startswith("net:[")}


def holders(namespaces: set[str]) -> set[int]:
    """The processes that live in one of these namespaces or hold one open: a namespace lives as long as they do."""
    everybody = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return {process for process in everybody if namespaces_of(process) & namespaces}


def settings() -> dict[str, str]:
    """The machine's own network settings."""
    values = {}
    for path in Path("/proc/sys/net").rglob("*"):
        try:
            values[str(path)] = path.read_text() if path.is_file() else ""
        except OSError:
            continue
    return values


def test_nothing_of_the_machine_is_touched() -> None:
    before = settings()
    with Worker() as made:
        made.run(loads(ROUTER))
        made.run(loads(CLIENT_AND_SERVER))
        with pytest.raises(NetlabError):
            made.run(from_dict({"hosts": {"r": {"interfaces": {"eth0": []}, "routes": ["10.9.0.0/16 via 10.7.0.1"]}}}))
        assert made.call(held_here) == 1  # the machine's own: those of the scenarios are gone, also of the refused one
    counters = ("_count", "tcp_fastopen_key")
    changed = {name for name, value in settings().items() if before.get(name, value) != value}
    assert not {name for name in changed if not name.endswith(counters)}


def held_here() -> int:
    """In the worker: how many network namespaces it holds."""
    return len(namespaces_of(os.getpid()))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_stays_behind_when_it_is_stopped(tmp_path: Path, how: signal.Signals) -> None:
    file = tmp_path / "long.yaml"
    file.write_text("hosts: {r: {interfaces: {eth0: 10.0.1.1/24}}}\nsteps: [{advance: 9}]\n")
    running = subprocess.Popen(
        [sys.executable, "-m", "netlab", "run", "--kernel", str(file)],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 20
        own: set[str] = set()
        while len(own) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
            children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
            worker = int(children[0]) if children else 0
            own = namespaces_of(worker) - namespaces_of(os.getpid())
        assert len(own) == 2, "the scenario's host and the outside world"
        assert holders(own) == {worker}
        running.send_signal(how)
        running.wait(20)
        while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not Path(f"/proc/{worker}").exists()
    finally:
        running.kill()


def test_two_at_once_do_not_disturb_each_other(worker: Worker) -> None:
    scenario = random_scenario("two", 150, Features())
    alone = worker.run(scenario).to_json()
    answers: dict[int, dict] = {}

    def ask(number: int, one: Worker) -> None:
        answers[number] = one.run(scenario).to_json()

    workers = [Worker(), Worker()]
    try:
        threads = [threading.Thread(target=ask, args=pair) for pair in enumerate(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for one in workers:
            one.close()
    for number in (0, 1):
        found = compare(alone, answers[number])
        assert found, str(found)
