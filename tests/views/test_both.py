"""Both worlds side by side: on this machine's kernel, and where it cannot be asked for real."""

import copy
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from labs import build
from netlab.datasets import DATASETS
from netlab.draw.worlds import NOTHING, Agreement, entry_rows, rows, rule_rows, worlds_table, worlds_text
from netlab.kernel.compare import compare
from netlab.kernel.golden import LABS, find, recorded, scenarios
from netlab.names import NetlabError
from netlab.scenario import Scenario, ScenarioError, load, loads
from netlab.simulate import run
from netlab.trace import Trace
from netlab.views import Both, both

ROOT = DATASETS.parent
TTL = LABS / "02_ttl.yaml"
UNRECORDED = """
hosts:
  router:
    interfaces: {eth0: 10.0.1.1/24}
    listen: [udp/53]
steps:
  - packet: {into: "router:eth0", src: 10.0.1.9, dst: 10.0.1.1, proto: udp, sport: 1, dport: 53}
"""
RECORDED = dict(scenarios(LABS))


def shown_by(*prefix: str, scenario: str = str(TTL), **environment: str) -> str:
    """What `both` prints in a process of its own, which `prefix` starts with less than this one may do."""
    program = "import sys; from netlab.views import both; print(both(sys.argv[1]))"
    command = [*prefix, sys.executable, "-W", "error", "-c", program, scenario]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


WITHOUT_NAMESPACES = ("unshare", "-Ur", "sh", "-c", 'echo 0 > /proc/sys/user/max_net_namespaces; exec "$@"', "sh")
"""In a user namespace of its own, which may have no network namespaces: the limit holds there and nowhere else."""

NOBODY = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
"""As a user without any privilege."""


def without(program: str) -> tuple[str, ...]:
    """With /dev/null mounted over a program, in a mount namespace of its own."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    assert found
    return ("bwrap", "--dev-bind", "/", "/", "--ro-bind", "/dev/null", str(Path(found).resolve()))


# ---------------------------------------------------------------- on this machine's kernel


@pytest.mark.kernel
@pytest.mark.needs("ip", "nft")
@pytest.mark.parametrize("name", RECORDED)
def test_this_machines_kernel_agrees_on_the_labs_scenarios(name: str) -> None:
    result = both(RECORDED[name])
    assert isinstance(result.kernel, Trace), result.why
    assert result.where == f"this machine's kernel, Linux {os.uname().release}"
    assert result.comparison is not None
    assert not result.comparison.differences
    assert result.why == ""


@pytest.mark.kernel
@pytest.mark.needs("ip", "nft")
def test_nothing_is_left_behind() -> None:
    before = sorted(Path("/sys/class/net").iterdir()), _children()
    both(TTL)
    assert (sorted(Path("/sys/class/net").iterdir()), _children()) == before


def _children() -> list[str]:
    found = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # another test's thread may end meanwhile
            found += (task / "children").read_text(encoding="utf-8").split()
    return found


@pytest.mark.kernel
@pytest.mark.needs("ip", "nft", "unshare")
def test_without_privileges_it_says_what_it_cannot_know() -> None:
    text = shown_by(*NOBODY)
    assert text.startswith(
        "Both worlds agree in what is known. Left: netlab's simulator. "
        f"Right: this machine's kernel, Linux {os.uname().release}. "
        "Only root may ask the kernel for: what was dropped and why, the lines of its log. They are unknown here."
    )
    assert re.search(r"\? #0 router dropped +simulator: IP_INHDR\n +kernel: +unknown\n", text)
    assert re.search(r"= #0 router FORWARD +ACCEPT, in eth0, out eth1: .* ttl=8\n", text)


# ---------------------------------------------------------------- where it cannot be asked


@pytest.mark.parametrize(
    ("prefix", "why"),
    [
        pytest.param(WITHOUT_NAMESPACES, "no network namespace can be made", marks=pytest.mark.needs("unshare")),
        pytest.param(
            ("setpriv", "--bounding-set", "-sys_admin"),
            "no network namespace can be made: unshare: Operation not permitted",
            marks=[
                pytest.mark.needs("setpriv"),
                pytest.mark.skipif(os.geteuid() != 0, reason="only root has a privilege to lose"),
            ],
        ),
        pytest.param("ip", r"ip is not installed \(apt install iproute2\)", marks=pytest.mark.needs("bwrap", "ip")),
        pytest.param(
            "nft",
            r"nft is not installed \(apt install nftables\)",
            marks=pytest.mark.needs("bwrap", "nft", "unshare"),
        ),
    ],
    ids=["no namespaces", "root of a container", "no ip", "no nft"],
)
def test_the_recorded_trace_is_shown_with_its_kernel_and_the_reason(prefix: Sequence[str] | str, why: str) -> None:
    if prefix == "nft":  # only who is not root needs it
        prefix = (*without("nft"), *NOBODY)
    text = shown_by(*(without(prefix) if isinstance(prefix, str) else prefix))
    release = re.escape(recorded(LABS)["02_ttl"]["kernel"])
    assert re.match(
        f"Both worlds agree. Left: netlab's simulator. Right: a trace recorded on Linux {release}. "
        f"This machine's own kernel was not asked: {why}",
        text,
    ), text
    assert re.search(r"= #0 router dropped +IP_INHDR\n", text)


@pytest.mark.needs("unshare")
def test_without_a_recording_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(UNRECORDED, encoding="utf-8")
    text = shown_by(*WITHOUT_NAMESPACES, scenario=str(tmp_path / "mine.yaml"))
    assert text.startswith(
        "There is nothing to compare. Left: netlab's simulator. "
        "Right: no kernel: no trace of exactly this scenario was recorded. "
        "This machine's own kernel was not asked: no network namespace can be made"
    )
    assert re.search(r"\? #0 router LOCAL_IN +simulator: ACCEPT, in eth0: .*\n +kernel: +unknown\n", text)


@pytest.mark.kernel
@pytest.mark.needs("ip", "nft")
def test_a_kernel_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["netlab.views.both"], "PATIENCE", 0.2)
    before = _children()
    result = both(UNRECORDED + "  - advance: 9\n")
    assert result.why == "it took longer than 0.2 s"
    assert result.kernel is None
    assert _children() == before


@pytest.mark.kernel
@pytest.mark.needs("ip", "nft")
def test_a_scenario_that_waits_for_long_is_not_waited_for() -> None:
    result = both(UNRECORDED + "  - advance: 3600\n")
    assert "the steps advance 3600 s in all" in result.why
    assert len(result.simulator.steps) == 2


def test_where_there_is_no_linux_nothing_of_linux_is_imported() -> None:
    """On Windows and in a browser's Python the modules that call the kernel cannot even be imported."""
    program = (
        "import sys, netlab.views; from netlab import load; from netlab.kernel.golden import find, LABS\n"
        f"assert find(load({str(TTL)!r}), LABS)\n"
        "print(sorted(name for name in sys.modules if name.startswith('netlab.kernel')))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "['netlab.kernel', 'netlab.kernel.compare', 'netlab.kernel.golden', 'netlab.kernel.ports']\n"


# ---------------------------------------------------------------- recordings


@pytest.mark.parametrize("name", RECORDED)
def test_recordings_are_whole_and_the_simulator_agrees(name: str) -> None:
    trace = recorded(LABS)[name]
    assert trace["world"] == "kernel"
    assert "unknown" not in str(trace)
    assert not compare(run(RECORDED[name]).to_json(), trace).differences


def test_a_recording_is_found_by_what_the_scenario_says() -> None:
    text = TTL.read_text(encoding="utf-8")
    trace = recorded(LABS)["02_ttl"]
    assert find(loads(f"# another comment\n{text}", "another name")) == trace
    assert find(loads(yaml.safe_dump(yaml.safe_load(text), sort_keys=False))) == trace
    assert find(loads(text.replace("ttl: 9", "ttl: 10"))) is None
    assert find(loads(text.replace("eth1: 10.0.2.1/24", "eth1: 10.0.2.1/25"))) is None


def test_a_folder_without_recordings_has_none_and_a_broken_one_is_told_of(tmp_path: Path) -> None:
    assert find(load(TTL), tmp_path) is None
    shutil.copy(TTL, tmp_path)
    with pytest.raises(NetlabError, match=r"traces\.jsonl: No such file"):
        find(load(TTL), tmp_path)


def cells() -> list[str]:
    """The scenarios in the labs' cells."""
    found = []
    for folder in build.folders():
        for block in build.read(folder).blocks:
            if block.kind == "python":
                found += re.findall(r'"""\n(hosts:.*?)"""', block.body, re.DOTALL)
    return found


def test_every_scenario_in_a_lab_has_a_recording_and_every_recording_a_lab() -> None:
    names = [next((name for name, one in RECORDED.items() if _same(one, loads(cell))), None) for cell in cells()]
    assert sorted(map(str, names)) == sorted(RECORDED)


def _same(one: Scenario, other: Scenario) -> bool:
    return (one.hosts, one.links, one.steps) == (other.hosts, other.links, other.steps)


# ---------------------------------------------------------------- what is asked for


def test_a_scenario_comes_as_text_as_a_file_or_as_itself() -> None:
    results = [both(TTL), both(str(TTL)), both(TTL.read_text(encoding="utf-8")), both(load(TTL))]
    assert len({str(result) for result in results}) == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("hosts:\n  a: {interface: {}}\n", "scenario:2:7: unknown key 'interface'"),
        ("nowhere.yaml", "nowhere.yaml: No such file"),
    ],
)
def test_a_learners_mistake_is_one_line(given: str, says: str) -> None:
    with pytest.raises(ScenarioError) as error:
        both(given)
    assert str(error.value).startswith(says)
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------- rows

HEALTHY = run(load(TTL)).to_json()


def texts(simulator: Any, kernel: Any) -> list[str]:
    """The rows that are not the same, as `place: simulator | kernel`."""
    return [
        f"{row.where}: {row.simulator} | {row.kernel}"
        for group in rows(simulator, kernel)
        for row in group
        if row.agreement is not Agreement.SAME
    ]


def changed(step: int, part: str, value: Any) -> dict[str, Any]:
    other = copy.deepcopy(HEALTHY)
    other["steps"][step][part] = value
    return other


def test_rules_are_shown_with_what_both_have_counted() -> None:
    mine = {"counters": {"router": ["*filter", ":FORWARD DROP [1:40]", "[2:80] -A FORWARD -p tcp -j ACCEPT", "COMMIT"]}}
    theirs = copy.deepcopy(mine)
    theirs["counters"]["router"][2] = "[3:120] -A FORWARD -p tcp -j ACCEPT"
    assert [row.agreement for row in rule_rows(mine, mine)] == [Agreement.SAME] * 2
    policy, rule = rule_rows(mine, theirs)
    assert (policy.agreement, rule.agreement) == (Agreement.SAME, Agreement.DIFFERS)
    assert (rule.host, rule.where, rule.kernel.packet) == ("router", "filter", theirs["counters"]["router"][2])
    assert {row.agreement for row in rule_rows(mine, None)} == {Agreement.UNKNOWN}
    mine["counters"]["router"][2] += " -m statistic --mode random --probability 0.5"
    assert {row.agreement for row in rule_rows(mine, theirs)} == {Agreement.UNKNOWN}


def test_entries_are_shown_flow_by_flow() -> None:
    known = "udp      17 29 src=10.0.1.2 dst=10.0.2.2 sport=1 dport=2 src=10.0.2.2 dst=10.0.1.2 sport=2 dport=1"
    other = known.replace("sport=1 ", "sport=3 ").replace("dport=1", "dport=3")
    mine, theirs = ({"steps": [], "conntrack": {"router": lines}} for lines in ([known], [other]))
    late = {"steps": [], "conntrack": {"router": [known.replace("17 29", "17 28")]}}
    (row,) = entry_rows(mine, late)
    assert (row.host, row.where, row.agreement) == ("router", "conntrack", Agreement.SAME)
    assert row.simulator.packet.startswith("udp 17 29 src=10.0.1.2")
    assert row.kernel.packet.startswith("udp 17 28")
    assert [(row.agreement, NOTHING in row) for row in entry_rows(mine, theirs)] == [(Agreement.DIFFERS, True)] * 2
    (row,) = entry_rows(mine, None)
    assert (row.agreement, row.kernel.what) == (Agreement.UNKNOWN, "unknown")


def test_rows_stand_beside_each_other_by_their_place() -> None:
    path = copy.deepcopy(HEALTHY["steps"][0]["path"])
    del path[1]
    packet = "10.0.1.2:5000 > 10.0.2.2:53 udp"
    assert texts(HEALTHY, changed(0, "path", path)) == [f"FORWARD: ACCEPT, in eth0, out eth1: {packet} ttl=8 | nothing"]
    path = copy.deepcopy(HEALTHY["steps"][0]["path"])
    path[1] |= {"verdict": "DROP", "ttl": 9}
    assert texts(HEALTHY, changed(0, "path", path)) == [
        f"FORWARD: ACCEPT, in eth0, out eth1: {packet} ttl=8 | DROP, in eth0, out eth1: {packet} ttl=9"
    ]


def test_frames_that_differ_in_small_things_show_them() -> None:
    (frame,) = HEALTHY["steps"][0]["out"]
    spoilt = frame | {"hex": frame["hex"][:2] + "10" + frame["hex"][4:]}
    (difference,) = texts(HEALTHY, changed(0, "out", [spoilt]))
    assert difference == (
        "out by eth1: 10.0.1.2:5000 > 10.0.2.2:53 udp ttl=8 tos=0x00 | 10.0.1.2:5000 > 10.0.2.2:53 udp ttl=8 tos=0x10"
    )


def test_ends_and_errnos_and_log_lines_are_rows_too() -> None:
    assert texts(HEALTHY, changed(2, "delivered", [])) == ["socket: delivered to udp/53 | nothing"]
    assert texts(HEALTHY, changed(0, "errno", "EINVAL")) == ["send: nothing | fails with EINVAL"]
    assert texts(HEALTHY, changed(1, "dropped", "unknown")) == ["dropped: IP_INHDR | unknown"]
    logged = HEALTHY | {"log": {"router": ["IPv4: martian source"]}}
    assert texts(HEALTHY, logged) == ["log: nothing | IPv4: martian source"]
    assert not texts(HEALTHY, HEALTHY | {"log": "unknown"})


@given(data=st.data())
def test_a_row_differs_exactly_when_the_comparison_finds_a_difference(data: st.DataObject) -> None:
    other = copy.deepcopy(HEALTHY)
    step = data.draw(st.sampled_from(other["steps"]))
    part = data.draw(st.sampled_from([name for name in ("path", "out", "delivered", "dropped") if step[name]]))
    items = step[part]
    at = data.draw(st.integers(0, len(items) - 1))
    match data.draw(st.sampled_from(["nothing", "remove", "repeat", "change", "hide"])):
        case "remove":
            del items[at]
        case "repeat":
            items.insert(at, dict(items[at]))
        case "change":
            items[at] = _changed(items[at], data)
        case "hide" if part in ("delivered", "dropped"):
            step[part] = "unknown"
    agreements = {row.agreement for group in rows(HEALTHY, other) for row in group}
    assert (Agreement.DIFFERS in agreements) == bool(compare(HEALTHY, other).differences)
    assert (Agreement.UNKNOWN in agreements) == bool(compare(HEALTHY, other).unknown)


def _changed(item: dict[str, Any], data: st.DataObject) -> dict[str, Any]:
    """An item with another value somewhere (or, in a frame, with one that is masked)."""
    if "hex" in item:
        field = data.draw(st.sampled_from(["ttl", "tos", "ip_id"]))
        at = {"ttl": 16, "tos": 2, "ip_id": 8}[field]
        return item | {"hex": f"{item['hex'][:at]}{data.draw(st.integers(0, 255)):02x}{item['hex'][at + 2 :]}"}
    field = data.draw(st.sampled_from(sorted(set(item) - {"packet", "hook"})))
    value = {"ttl": 77, "state": "NEW"}.get(field, "other")
    return item | {field: value}


# ---------------------------------------------------------------- shown


def result_of(kernel: Any) -> Both:
    return Both(load(TTL), run(load(TTL)), kernel, "a trace recorded on Linux 9.9")


def test_the_page_marks_differences_by_words_and_names_the_kernel() -> None:
    result = result_of(changed(1, "dropped", []) | {"kernel": "9.9"})
    html = result._repr_html_()
    assert html.count("≠ differs") == 1
    assert html.count("= same") == sum(map(len, rows(HEALTHY, HEALTHY))) - 1
    assert '<th scope="col">a trace recorded on Linux 9.9</th>' in html
    assert html.count('<th scope="rowgroup"') == 3
    assert "The worlds differ in 1 place: see the rows marked ≠." in html
    assert str(result).count("≠") == 2
    assert repr(result) == "<both worlds: a trace recorded on Linux 9.9>"


def test_what_a_packet_carries_cannot_become_markup() -> None:
    sly = changed(0, "errno", "<script>")
    html = worlds_table(["<b>"] * 4, rows(HEALTHY, sly), "<i>", "<u>")
    assert not re.search(r"<(script|b|i|u)>", html)
    assert "&lt;script&gt;" in html


def test_the_text_says_once_what_both_say() -> None:
    text = worlds_text(["first", "second", "third", "log"], rows(HEALTHY, HEALTHY))
    assert text.startswith("first\n  = #0 router PRE_ROUTING   ACCEPT, in eth0: 10.0.1.2:5000")
    assert "log" not in text
    assert "kernel:" not in text
