"""Comparing two traces: what counts, what does not, and how a difference reads; shrinking one to its smallest form."""

import copy
from typing import Any

import pytest

from netlab import simulate
from netlab.fragments import fragment
from netlab.kernel.compare import compare
from netlab.kernel.fuzz.kinds import random_scenario
from netlab.kernel.fuzz.machines import Features
from netlab.kernel.fuzz.shrink import shrink, to_yaml
from netlab.packet import Packet
from netlab.scenario import PacketStep, Scenario, from_dict, loads

ROUTER = from_dict(
    {
        "hosts": {
            "router": {
                "interfaces": {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"},
                "sysctls": {"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.log_martians": 1},
            }
        },
        "steps": [
            {"packet": {"into": "router:eth0", "src": "10.0.1.2", "dst": "10.0.2.2", "proto": "udp", "dport": 53}},
            {"packet": {"into": "router:eth0", "src": "10.0.1.2", "dst": "10.0.1.1", "proto": "udp", "dport": 53}},
            {"packet": {"into": "router:eth0", "src": "127.0.0.1", "dst": "10.0.2.2", "proto": "udp", "dport": 53}},
            {"packet": {"from": "router", "dst": "10.9.0.1", "proto": "udp", "dport": 53}},
        ],
    }
)


@pytest.fixture
def trace() -> dict[str, Any]:
    return simulate.run(ROUTER).to_json()


def test_a_trace_agrees_with_itself(trace: dict[str, Any]) -> None:
    found = compare(trace, copy.deepcopy(trace))
    assert found
    assert str(found) == "both worlds agree"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda steps: steps[0]["path"][1].update(ttl=64), "step 0, path 1"),
        (lambda steps: steps[0]["path"].pop(), "step 0, path 2"),
        (lambda steps: steps[0]["path"].reverse(), "step 0, path 0"),
        (lambda steps: steps[0]["path"][0].update(state="NEW"), "step 0, path 0"),
        (lambda steps: steps[0]["path"][2].update(verdict="DROP"), "step 0, path 2"),
        (lambda steps: steps[0]["out"][0].update(dev="eth0"), "step 0, out 0"),
        (lambda steps: steps[0]["out"][0].update(hex=steps[0]["out"][0]["hex"][:-2] + "ff"), "step 0, out 0"),
        (lambda steps: steps[0]["out"].clear(), "step 0, out 0"),
        (lambda steps: steps[2]["dropped"][0].update(reason="IP_RPFILTER"), "step 2, dropped 0"),
        (lambda steps: steps[2]["dropped"].clear(), "step 2, dropped 0"),
        (lambda steps: steps[3].update(errno=None), "step 3, errno"),
        (
            lambda steps: steps[1]["delivered"].append({"packet": 0, "host": "router", "socket": "udp/53"}),
            "delivered 0",
        ),
    ],
    ids=["ttl", "hook missing", "order", "state", "verdict", "way out", "bytes", "frame missing", "reason",
         "drop missing", "errno", "delivered"],
)  # fmt: skip
def test_every_difference_counts(trace: dict[str, Any], change: Any, what: str) -> None:
    other = copy.deepcopy(trace)
    change(other["steps"])
    for pair in ((trace, other), (other, trace)):
        found = compare(*pair)
        assert not found
        assert what in str(found)
        assert what.rpartition(", ")[2] in found._repr_html_()


def test_the_log_counts(trace: dict[str, Any]) -> None:
    assert trace["log"] == {"router": ["IPv4: martian source 10.0.2.2 from 127.0.0.1, on dev eth0"]}
    other = copy.deepcopy(trace)
    other["log"] = {}
    assert "log of router" in str(compare(trace, other))


def test_what_a_world_does_not_know_is_left_out_and_counted(trace: dict[str, Any]) -> None:
    other = copy.deepcopy(trace)
    for step in other["steps"]:
        step["dropped"] = "unknown"
    other["log"] = "unknown"
    found = compare(trace, other)
    assert found
    assert found.unknown == 4
    assert "4 values unknown" in str(found)


def frame(trace: dict[str, Any], step: int) -> Packet:
    return Packet.from_bytes(bytes.fromhex(trace["steps"][step]["out"][0]["hex"]))


def test_a_hosts_own_ids_are_its_own_business(trace: dict[str, Any]) -> None:
    other = copy.deepcopy(trace)
    made, forwarded = frame(trace, 1), frame(trace, 0)
    other["steps"][1]["out"][0]["hex"] = made.with_(ip_id=4711).to_bytes().hex()
    assert compare(trace, other), "an ICMP error made by the host"
    other["steps"][0]["out"][0]["hex"] = forwarded.with_(ip_id=4711).to_bytes().hex()
    assert not compare(trace, other), "a forwarded packet"


def test_a_time_of_day_may_lie_in_several_fragments() -> None:
    times = b"\x44\x24\x25\x00" + bytes(32)  # a full timestamp option without addresses (RFC 791)
    about = Packet.udp("10.0.1.1", "10.0.9.9", 4000, 53, b"data").with_(options=times)

    def told(time: int, ip_id: int = 7, byte: int = 0) -> dict[str, Any]:
        quoted = about.with_(options=times[:4] + time.to_bytes(4, "big") * 8)
        error = Packet.icmp("10.0.1.2", "10.0.1.1", 3, 0, payload=quoted.to_bytes()).with_(ip_id=ip_id, options=times)
        parts = fragment(error, 84)
        assert len(parts) == 3
        if byte:
            parts[-1] = parts[-1]._replace(payload=parts[-1].payload[:-1] + bytes([byte]))
        out = [{"packet": 0, "host": "r", "dev": "eth0", "hex": one.to_bytes().hex()} for one in parts]
        step = {"errno": None, "path": [], "out": out, "dropped": [], "delivered": []}
        return {"steps": [step], "log": {}}

    assert compare(told(1), told(77_777_777))
    assert not compare(told(1), told(1, ip_id=8)), "the id is no time"
    assert not compare(told(1), told(1, byte=1)), "nor are the data"


def test_numbers_of_packets_only_tell_them_apart(trace: dict[str, Any]) -> None:
    other = copy.deepcopy(trace)
    for part in ("path", "out", "dropped"):
        for item in other["steps"][1][part]:
            item["packet"] += 5
    assert compare(trace, other)
    other["steps"][1]["dropped"][0]["packet"] = 6
    assert not compare(trace, other)


def test_a_second_redirect_depends_on_real_time() -> None:
    step = {"packet": {"into": "r:eth0", "src": "10.0.1.2", "dst": "10.0.1.9", "proto": "udp", "dport": 53}}
    structure = {
        "hosts": {"r": {"interfaces": {"eth0": "10.0.1.1/24"}, "sysctls": {"net.ipv4.ip_forward": 1}}},
        "steps": [step, step],
    }
    once = simulate.run(from_dict(structure)).to_json()
    assert [len(step["out"]) for step in once["steps"]] == [2, 1]
    twice = copy.deepcopy(once)
    twice["steps"][1] = copy.deepcopy(once["steps"][0])
    assert compare(once, twice)
    del once["steps"][0]["path"][1:3]
    del once["steps"][0]["out"][0]
    assert not compare(once, twice), "the first one counts"


# ---------------------------------------------------------------- smallest scenarios


def test_shrinking_keeps_only_what_the_disagreement_needs() -> None:
    scenario = random_scenario("shrink", 60, Features())
    culprit = next(step for step in scenario.steps if isinstance(step, PacketStep) and step.data[8] == 1)
    smallest = shrink(scenario, lambda one: culprit in one.steps)
    assert smallest.steps == (culprit,)
    (spec,) = smallest.hosts.values()
    assert not spec.routes
    assert not spec.rules
    assert not spec.sysctls
    assert list(spec.interfaces) == ([culprit.dev] if culprit.dev else [])


@pytest.mark.parametrize("number", range(30))
def test_a_scenario_as_a_file_is_the_same_scenario(number: int) -> None:
    scenario = random_scenario(f"yaml/{number}", 20, Features())
    again = loads(to_yaml(scenario), scenario.name)
    assert again == scenario


def test_links_and_waits_in_a_file() -> None:
    scenario: Scenario = from_dict(
        {
            "hosts": {"a": {"interfaces": {"eth0": "10.0.1.1/24"}}, "b": {"interfaces": {"e1": "10.0.1.2/24"}}},
            "links": [["a:eth0", "b:e1"]],
            "steps": [{"advance": 2}, {"packet": {"from": "a", "dst": "10.0.1.2", "proto": "icmp"}}],
        }
    )
    assert loads(to_yaml(scenario), scenario.name) == scenario
