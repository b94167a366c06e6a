"""Connection tracking on the real kernel: switched on, set up and read as the simulator has it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netlab import simulate
from netlab.conntrack.text import parse_line, parse_lines
from netlab.kernel.compare import compare
from netlab.kernel.conntrack import Entries, switch_on, to_be_written
from netlab.kernel.fuzz.campaign import run_campaign
from netlab.kernel.fuzz.machines import Features
from netlab.kernel.fuzz.transitions import CELLS, summary
from netlab.kernel.namespaces import KernelUnavailable, Namespace
from netlab.kernel.network import Network
from netlab.kernel.worker import Worker
from netlab.names import NetlabError
from netlab.scenario import Scenario, from_dict
from netlab.sysctls import CONNTRACK, SHARED
from tests.conftest import CI, FULL, SEED
from tests.conntrack_cells import OPENING, REACHABLE, measured, name_of, outcome, router, same, scenario_of, segments

AS_ROOT = os.geteuid() == 0
pytestmark = [pytest.mark.kernel, pytest.mark.needs("ip", "nft")]

HANDSHAKE = list(segments(*OPENING))
UDP = {"packet": {"into": "router:eth0", "src": "10.0.1.2", "dst": "10.0.2.2", "proto": "udp", "sport": 5, "dport": 53}}


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """The real kernel; where it cannot be asked, a skip, in CI a failure."""
    with Worker() as made:
        try:
            made.run(router([]))
        except KernelUnavailable as error:
            (pytest.fail if CI else pytest.skip)(str(error))
        yield made


@pytest.fixture(scope="module")
def plain() -> Iterator[Worker]:
    """The same for somebody who is not root."""
    with Worker(privileged=False) as made:
        yield made


def states(trace: dict[str, Any]) -> list[list[str | None]]:
    return [[row["state"] for row in step["path"]] for step in trace["steps"]]


# ---------------------------------------------------------------- what a run tells


@pytest.mark.parametrize("who", ["worker", "plain"])
def test_states_hook_by_hook_and_entries_at_the_end(who: str, request: pytest.FixtureRequest) -> None:
    trace = request.getfixturevalue(who).run(router([*HANDSHAKE, UDP])).to_json()
    assert states(trace) == [["NEW"] * 3, ["ESTABLISHED"] * 3, ["ESTABLISHED"] * 3, ["NEW"] * 3]
    lines = sorted(map(parse_line, trace["conntrack"]["router"]), key=lambda line: line.proto)
    assert [(line.proto, line.state, set(line.flags)) for line in lines] == [
        (6, "ESTABLISHED", {"ASSURED"}),
        (17, None, {"UNREPLIED"}),
    ]
    assert 431990 < (lines[0].timeout or 0) <= 432000


@pytest.mark.parametrize("who", ["worker", "plain"])
def test_invalid_is_spelled_out(who: str, request: pytest.FixtureRequest) -> None:
    (stray,) = segments((0, "R"))
    trace = request.getfixturevalue(who).run(router([stray])).to_json()
    assert states(trace) == [["INVALID"] * 3]
    assert trace["conntrack"] == {"router": []}


def test_both_worlds_have_the_same_keys(worker: Worker) -> None:
    hosts = {
        "client": {"interfaces": {"eth0": "10.0.1.2/24"}, "conntrack": "on"},
        "server": {"interfaces": {"eth0": "10.0.1.1/24"}, "listen": ["udp/53"]},
    }
    steps = [{"packet": {"from": "client", "dst": "10.0.1.1", "proto": "udp", "sport": 5, "dport": 53}}]
    scenario = from_dict({"hosts": hosts, "links": [["client:eth0", "server:eth0"]], "steps": steps})
    kernel, simulated = worker.run(scenario).to_json(), simulate.run(scenario).to_json()
    assert kernel.keys() == simulated.keys()
    assert kernel["conntrack"].keys() == simulated["conntrack"].keys() == {"client"}
    assert {(row["host"], row["state"]) for row in kernel["steps"][0]["path"]} == {("client", "NEW"), ("server", None)}
    assert compare(simulated, kernel)


def test_nothing_is_tracked_or_put_together_unasked(worker: Worker) -> None:
    whole = {"into": "router:eth0", "src": "10.0.1.2", "dst": "10.0.2.2", "proto": 99, "ip_id": 7}
    pieces = [
        {"packet": whole | {"mf": True, "payload": "x" * 16}},
        {"packet": whole | {"frag_offset": 16, "payload": "x" * 8}},
    ]
    spec = {"interfaces": {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, "sysctls": {"net.ipv4.ip_forward": 1}}
    for tracked, forwarded in (("auto", [1, 1]), ("on", [0, 1])):
        trace = worker.run(from_dict({"hosts": {"router": spec | {"conntrack": tracked}}, "steps": pieces})).to_json()
        assert [sum(row["hook"] == "FORWARD" for row in step["path"]) for step in trace["steps"]] == forwarded
        assert [len(step["out"]) for step in trace["steps"]] == ([1, 1] if tracked == "auto" else [0, 2])


# ---------------------------------------------------------------- what is written, and what is not


def read_sysctls(scenario: Scenario) -> dict[str, int]:
    """In the worker: what a host's namespace says of every modelled setting of conntrack."""
    network = Network(scenario)
    try:
        (machine,) = network.machines.values()
        with machine.namespace.entered():
            return {name: int((Path("/proc/sys") / name.replace(".", "/")).read_text()) for name in CONNTRACK | SHARED}
    finally:
        network.close()


@pytest.mark.parametrize("who", ["worker", "plain"])
def test_every_modelled_setting_is_written(who: str, request: pytest.FixtureRequest) -> None:
    asked: Worker = request.getfixturevalue(who)
    found = asked.call(read_sysctls, router([]))
    assert {name: found[name] for name in CONNTRACK} == {name: setting.default for name, setting in CONNTRACK.items()}
    others = {name: 1 - setting.default if setting.high == 1 else 77 for name, setting in CONNTRACK.items()}
    short = {name.removeprefix("net.netfilter.nf_conntrack_"): value for name, value in others.items()}
    found = asked.call(read_sysctls, router([], **short))
    assert {name: found[name] for name in CONNTRACK} == others


def test_what_the_machine_has_only_once_is_never_written() -> None:
    spec = router([], max=1000).hosts["router"]
    with pytest.raises(NetlabError, match=r"host router: net\.netfilter\.nf_conntrack_max is 1000 in the scenario and"):
        list(to_be_written(iter(SHARED), spec))
    assert not list(to_be_written(iter(SHARED), router([]).hosts["router"]))


@pytest.mark.parametrize("name", ["max", "buckets"])
def test_another_size_of_the_table_is_refused_by_name(worker: Worker, name: str) -> None:
    scenario = router(HANDSHAKE, **{name: 1000})
    assert len(simulate.run(scenario).conntrack["router"]) == 1
    with pytest.raises(NetlabError, match=f"nf_conntrack_{name} is 1000 in the scenario"):
        worker.run(scenario)
    here = int(Path(f"/proc/sys/net/netfilter/nf_conntrack_{name}").read_text())
    assert worker.run(router(HANDSHAKE, **{name: here})).conntrack["router"]
    assert int(Path(f"/proc/sys/net/netfilter/nf_conntrack_{name}").read_text()) == here


# ---------------------------------------------------------------- entries as conntrack(8) has them


PROTOCOLS: list[dict[str, Any]] = [
    *HANDSHAKE,
    UDP,
    {"packet": {"into": "router:eth0", "src": "10.0.1.2", "dst": "10.0.2.2", "proto": "icmp", "type": 8, "id": 42}},
    {
        "packet": {
            "into": "router:eth0",
            "src": "10.0.1.2",
            "dst": "10.0.2.2",
            "proto": "gre",
            "payload_hex": "00000800",
        }
    },
    {"packet": {"into": "router:eth0", "src": "10.0.1.2", "dst": "10.0.2.2", "proto": 99}},
]


def both_ways(scenario: Scenario, conntrack: str) -> tuple[list[str], str]:
    """In the worker: the entries that we read, and what conntrack(8) prints."""
    network = Network(scenario)
    try:
        machine = network.machines["router"]
        for step in scenario.steps:
            network.outside.send("router", step.dev or "", step.data)
        network.markers.cross()
        table = Entries(machine.namespace)
        lines = [str(line) for line in table.lines()]
        table.close()
        with machine.namespace.entered():
            return lines, subprocess.run([conntrack, "-L"], capture_output=True, text=True, check=True).stdout
    finally:
        network.close()


@pytest.mark.needs("conntrack")
def test_entries_read_as_conntrack_prints_them(worker: Worker) -> None:
    program = shutil.which("conntrack") or "/usr/sbin/conntrack"
    ours, printed = worker.call(both_ways, router(PROTOCOLS, acct=1), program)
    assert len(ours) == 5
    for one, other in zip(map(parse_line, ours), parse_lines(printed), strict=True):
        assert (one.proto, one.state, one.original, one.reply) == (
            other.proto,
            other.state,
            other.original,
            other.reply,
        )
        assert (one.flags, one.counters, one.extra) == (other.flags, other.counters, other.extra)
        assert abs((one.timeout or 0) - (other.timeout or 0)) <= 1


def test_an_entry_that_differs_is_told(worker: Worker) -> None:
    kernel = worker.run(router(HANDSHAKE)).to_json()
    for old, new in (("ESTABLISHED", "SYN_RECV"), (" [ASSURED]", ""), ("6 43", "6 33"), ("mark=0", "mark=1")):
        (line,) = kernel["conntrack"]["router"]
        assert old in line
        other = kernel | {"conntrack": {"router": [line.replace(old, new)]}}
        (difference,) = compare(kernel, other).differences
        assert difference.what == "conntrack of router"
    assert not compare(kernel, kernel | {"conntrack": {"router": []}})
    (line,) = kernel["conntrack"]["router"]
    timeout = int(line.split()[2])
    for seconds, late, agree in ((2, 0, True), (4, 0, False), (4, 2, True)):
        other = kernel | {"conntrack": {"router": [line.replace(str(timeout), str(timeout - seconds))]}}
        assert bool(compare(kernel, other, late=late)) is agree
    (line,) = kernel["conntrack"]["router"]
    assert compare(kernel, kernel | {"conntrack": {"router": [line.replace("use=1", "use=2")]}})


def test_switching_on_is_refused_where_it_cannot_be_done(worker: Worker) -> None:
    with pytest.raises((KernelUnavailable, OSError)):
        worker.call(switch_on_a_closed_one)


def switch_on_a_closed_one() -> None:
    """In the worker: a namespace that is no longer there."""
    namespace = Namespace()
    namespace.close()
    switch_on(namespace)


# ---------------------------------------------------------------- transition by transition


def test_the_kernel_still_does_what_was_measured(worker: Worker) -> None:
    recorded = measured()
    for cell in REACHABLE:
        found = outcome(cell, worker.run(scenario_of(cell)).to_json())
        assert same(found, recorded[name_of(cell)])


@pytest.mark.skipif(not AS_ROOT, reason="only root sees drop reasons")
@pytest.mark.timeout(1200 if FULL else 240)
def test_random_conversations(worker: Worker) -> None:
    features = Features(
        rules=False, sysctls=False, mtu=False, options=False, malformed=False, links=False, iptables=False
    )
    campaign = run_campaign(f"conversations-{SEED}", 200_000 if FULL else 8_000, features, lambda packets: None)
    assert not campaign.disagreements, f"seed conversations-{SEED}\n{campaign.disagreements[0][0]}"
    assert {name for kind, name in campaign.coverage if kind == "states"} == {
        "NEW", "ESTABLISHED", "RELATED", "INVALID",
    }  # fmt: skip
    reached = sum(kind == CELLS for kind, _ in campaign.coverage)
    assert reached >= (95 if FULL else 70), summary(campaign.coverage)
