"""Scenarios in the simulated world, from Python and from the shell."""

import json
from pathlib import Path
from typing import Any

import pytest

from netlab.__main__ import main
from netlab.names import Hook
from netlab.scenario import ScenarioError, from_dict, loads
from netlab.simulate import build, run, take
from tests.test_scenario import CONVERSATION, MACHINE


def test_one_machine_under_test_runs() -> None:
    trace = run(loads(MACHINE))
    syn, echo, broken, advance = (step.to_json(number) for number, step in enumerate(trace.steps))
    assert [row["hook"] for row in syn["path"]] == ["PRE_ROUTING", "FORWARD", "POST_ROUTING"]
    assert syn["out"][0]["dev"] == "eth1"
    assert [(row["hook"], row["src"], row["id"]) for row in echo["path"]] == [
        ("LOCAL_OUT", "10.0.1.1", 42),
        ("POST_ROUTING", "10.0.1.1", 42),
    ]
    assert broken["dropped"] == [{"packet": 0, "host": "router", "reason": "IP_INHDR"}]
    assert advance["path"] == []
    assert [step.title for step in trace.steps][3] == "advance 31 s"


def test_two_hosts_and_a_link_run() -> None:
    trace = run(loads(CONVERSATION))
    assert [(row.host, row.hook) for row in trace.path] == [
        ("client", Hook.LOCAL_OUT), ("client", Hook.POST_ROUTING),
        ("server", Hook.PRE_ROUTING), ("server", Hook.LOCAL_IN),
    ]  # fmt: skip
    assert [(one.host, one.socket) for one in trace.delivered] == [("server", "udp/53")]


def test_running_twice_gives_the_same() -> None:
    assert run(loads(MACHINE)).to_json() == run(loads(MACHINE)).to_json()


def test_step_by_step_is_the_same_as_all_at_once() -> None:
    scenario = loads(MACHINE)
    net = build(scenario)
    taken = [take(net, step).steps[0] for step in scenario.steps]
    assert [step.to_json(0) for step in taken] == [step.to_json(0) for step in run(scenario).steps]


def test_the_mtu_and_several_addresses_reach_the_host() -> None:
    scenario = from_dict(
        {"hosts": {"r": {"interfaces": {"e0": ["10.0.1.1/24", "10.0.1.2/24"], "e1": []}, "mtu": {"e0": 600}}}}
    )
    host = build(scenario).hosts["r"]
    assert host.mtu == {"lo": 65536, "e0": 600, "e1": 1500}
    assert host.owns(0x0A000102)


def test_an_advance_gives_up_what_has_waited_too_long() -> None:
    trace = run(from_dict({
        "hosts": {"r": {"interfaces": {"e": "10.0.1.1/24"}, "sysctls": {"net.ipv4.ipfrag_time": 2}}},
        "steps": [
            {"packet": {"into": "r:e", "src": "10.0.1.2", "dst": "10.0.1.1", "proto": "udp", "mf": True}},
            {"advance": 3},
        ],
    }))  # fmt: skip
    assert [drop.reason for drop in trace.dropped] == ["FRAG_REASM_TIMEOUT"]


@pytest.mark.parametrize(
    "route", ["default via 10.7.7.7", "10.0.0.0/8 dev eth9"], ids=["unreachable gateway", "no such interface"]
)
def test_what_the_kernel_would_refuse_names_the_host(route: str) -> None:
    scenario = from_dict({"hosts": {"r": {"interfaces": {"e": "10.0.1.1/24"}, "routes": [route]}}}, "my.yaml")
    with pytest.raises(ScenarioError) as refused:
        run(scenario)
    assert str(refused.value).startswith("my.yaml: host r: ")
    assert "\n" not in str(refused.value)


# ---------------------------------------------------------------- python -m netlab run


def shell(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["run", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.fixture
def machine(tmp_path: Path) -> str:
    file = tmp_path / "machine.yaml"
    file.write_text(MACHINE)
    return str(file)


def test_run_prints_the_journey(machine: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = shell(capsys, machine)
    assert (status, err) == (0, "")
    assert out == f"{run(loads(MACHINE))}\n"
    assert "step 3: advance 31 s" in out


def test_run_json_prints_the_form_both_worlds_share(machine: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = shell(capsys, machine, "--json")
    assert (status, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    assert found == run(loads(MACHINE)).to_json()
    assert (found["world"], found["kernel"], len(found["steps"])) == ("simulator", None, 4)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "No such file or directory"),
        ("hosts: [", ":1:9: this is not YAML"),
        ("hosts: {r: {colour: x}}", ":1:13: unknown key 'colour'"),
        ("hosts: {r: {routes: [default via 10.7.7.7]}}", ": host r: "),
    ],
)
def test_run_tells_a_mistake_in_one_line(
    text: str | None, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my.yaml"
    if text:
        file.write_text(text)
    status, out, err = shell(capsys, str(file), "--json")
    assert (status, out) == (2, "")
    assert err.startswith(f"netlab: {file}")
    assert problem in err
    assert err.count("\n") == 1


def test_a_file_is_run_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "wait.yaml"
    file.write_text("hosts: {r: {}}\nsteps: [{advance: 5}]\n")
    assert [step.title for step in run(file).steps] == ["advance 5 s"]
    with pytest.raises(ScenarioError, match=r"nosuch\.yaml: No such file"):
        run(str(tmp_path / "nosuch.yaml"))
