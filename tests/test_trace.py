"""The record of a journey: its JSON form, its table, its text."""

import json
from typing import Any

import pytest

from netlab.host import Host
from netlab.names import ACCEPT, DROP, Hook, World
from netlab.packet import Packet
from netlab.scenario import loads
from netlab.simulate import run
from netlab.trace import Dropped, Logged, Noted, Passed, Ran, Refused, Step, Trace
from tests.journeys import UDP, forwarded, looped, martian, queued

PACKETS = {
    "udp": Packet.udp("10.0.1.2", "10.0.2.2", 4000, 80),
    "icmp": Packet.icmp("10.0.1.2", "10.0.2.2", 8, 0, id=42),
    "other": Packet.ip("10.0.1.2", "10.0.2.2", 253, b"data"),
    "fragment": Packet.udp("10.0.1.2", "10.0.2.2", 4000, 80, frag_offset=8),
}


def router(**sysctls: int) -> Host:
    settings = {"net.ipv4.ip_forward": 1, **{f"net.ipv4.conf.all.{name}": value for name, value in sysctls.items()}}
    return Host("router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, sysctls=settings)


# ---------------------------------------------------------------- JSON


def test_the_json_form_of_a_forwarded_packet() -> None:
    trace = router().receive("eth0", PACKETS["udp"])
    after = PACKETS["udp"].with_(ttl=63)
    assert trace.to_json() == {
        "world": "simulator",
        "kernel": None,
        "steps": [
            {
                "step": 0,
                "path": [
                    row("PRE_ROUTING", "eth0", None, 64),
                    row("FORWARD", "eth0", "eth1", 63),
                    row("POST_ROUTING", "eth0", "eth1", 63),
                ],
                "out": [{"packet": 0, "host": "router", "dev": "eth1", "hex": after.to_bytes().hex()}],
                "delivered": [],
                "dropped": [],
                "errno": None,
                "status": None,
            }
        ],
        "iptables": "nft",
        "conntrack": {},
        "counters": {},
        "log": {},
    }


def test_what_a_command_printed_and_its_status() -> None:
    done, failed = Ran(0, "router", 0, ""), Ran(0, "router", 2, "iptables: No chain/target/match by that name.")
    assert (str(done), str(failed)) == ("done", "exit status 2\niptables: No chain/target/match by that name.")
    step = Step("router# iptables -F nothing")
    step.events.append(failed)
    assert step.to_json(0)["status"] == 2
    assert "iptables -F nothing" in Trace([step]).text()


def test_rules_with_counters_stand_at_the_end_and_what_rules_may_have_logged_is_unknown() -> None:
    trace = Trace(counters={"router": ["*filter", "[1:28] -A INPUT -j LOG"]}, silent=("router",))
    assert str(trace) == (
        "rules of router:\n  *filter\n  [1:28] -A INPUT -j LOG\n"
        "unknown here: the lines that LOG rules of router have written"
    )
    assert "[1:28] -A INPUT -j LOG" in trace._repr_html_()
    assert trace.to_json()["counters"] == trace.counters
    assert trace.to_json()["log"] == {"router": ["unknown"]}
    assert Trace(unknown=("log",), silent=("router",)).to_json()["log"] == "unknown"


def test_tracked_connections_stand_at_the_end() -> None:
    line = "udp      17 29 src=10.0.1.2 dst=10.0.2.2 sport=5 dport=53 [UNREPLIED] src=10.0.2.2 ..."
    trace = Trace(conntrack={"router": [line], "server": []})
    assert str(trace) == f"conntrack of router:\n  {line}\nconntrack of server: nothing"
    assert trace.to_json()["conntrack"] == {"router": [line], "server": []}
    assert f"<p>conntrack of router</p><pre>{line}</pre>" in trace._repr_html_()


def row(hook: str, dev_in: str | None, dev_out: str | None, ttl: int) -> dict[str, Any]:
    return {
        "packet": 0, "host": "router", "hook": hook, "state": None, "verdict": "ACCEPT", "in": dev_in, "out": dev_out,
        "src": "10.0.1.2", "dst": "10.0.2.2", "proto": "udp", "sport": 4000, "dport": 80, "ttl": ttl,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("udp", {"proto": "udp", "sport": 4000, "dport": 80}),
        ("icmp", {"proto": "icmp", "sport": None, "dport": None, "type": 8, "code": 0, "id": 42}),
        ("other", {"proto": "253", "sport": None, "dport": None}),
        ("fragment", {"proto": "udp", "sport": None, "dport": None}),
    ],
)
def test_a_row_of_the_path_by_protocol(kind: str, expected: dict[str, Any]) -> None:
    found = Passed(0, "r", Hook.FORWARD, None, None, PACKETS[kind]).row()
    assert {key: value for key, value in found.items() if key in {*expected, "type", "code", "id"}} == expected


def test_deliveries_drops_errors_and_the_log_in_json() -> None:
    host = router(log_martians=1)
    host.sockets.listen("udp/80")
    host.register(Hook.FORWARD, lambda packet, state: DROP)
    delivered = host.receive("eth0", PACKETS["udp"].with_(dst="10.0.1.1")).to_json()["steps"][0]
    assert delivered["delivered"] == [{"packet": 0, "host": "router", "socket": "udp/80"}]
    dropped = host.receive("eth0", PACKETS["udp"]).to_json()["steps"][0]
    assert dropped["dropped"] == [{"packet": 0, "host": "router", "reason": "NETFILTER_DROP"}]
    assert [one["verdict"] for one in dropped["path"]] == ["ACCEPT", "DROP"]
    refused = host.send(Packet.udp("0.0.0.0", "10.9.9.9", 1, 2)).to_json()["steps"][0]
    assert (refused["errno"], refused["path"]) == ("ENETUNREACH", [])
    logged = host.receive("eth0", PACKETS["udp"].with_(src="127.0.0.1")).to_json()
    assert logged["log"] == {"router": ["IPv4: martian source 10.0.2.2 from 127.0.0.1, on dev eth0"]}


def test_json_knows_only_what_json_knows() -> None:
    for make in (forwarded, looped, martian, queued):
        structure = make().to_json()
        assert json.loads(json.dumps(structure)) == structure


def test_frames_on_links_are_no_output() -> None:
    trace = run(loads(
        "hosts: {a: {interfaces: {eth0: 10.0.0.1/24}}, b: {interfaces: {eth0: 10.0.0.2/24}}}\n"
        'links: [["a:eth0", "b:eth0"]]\n'
        "steps: [packet: {from: a, dst: 10.0.0.2, proto: icmp}]\n"
    ))  # fmt: skip
    assert len(trace.out) == 2
    assert trace.to_json()["steps"][0]["out"] == []


def test_what_a_world_could_not_see_is_unknown() -> None:
    trace = router().receive("eth0", UDP)
    trace.unknown = ("dropped", "log")
    found = trace.to_json()
    assert (found["steps"][0]["dropped"], found["log"]) == ("unknown", "unknown")
    assert found["steps"][0]["delivered"] == []


# ---------------------------------------------------------------- asking


def test_the_parts_of_a_trace() -> None:
    trace = martian()
    assert trace.hooks == [Hook.PRE_ROUTING]
    assert [drop.reason for drop in trace.dropped] == ["IP_INVALID_SOURCE"]
    assert trace.out == trace.delivered == []
    assert trace.errno is None
    assert trace.log == {}
    assert [one.socket for one in looped().delivered] == ["udp/53"]


def test_the_hooks_are_those_of_the_steps_own_packet() -> None:
    trace = router().receive("eth0", UDP.with_(ttl=1))
    assert trace.hooks == [Hook.PRE_ROUTING]
    assert len(trace.path) == 3


def test_lines_of_the_log_by_host_and_the_first_errno() -> None:
    events = [Logged(0, "a", "one"), Refused(0, "a", "EPERM"), Logged(0, "b", "two"), Logged(1, "a", "three"),
              Refused(1, "a", "EINVAL")]  # fmt: skip
    step = Step("a step")
    step.events += events
    trace = Trace([step])
    assert trace.log == {"a": ["one", "three"], "b": ["two"]}
    assert trace.errno == "EPERM"


# ---------------------------------------------------------------- tables and text


def test_the_frame_has_a_row_an_event() -> None:
    trace = queued()
    frame = trace.frame()
    assert len(frame) == len(list(trace.events))
    assert list(frame.columns) == [
        "step", "packet", "host", "event", "hook", "function", "verdict", "in", "out",
        "src", "dst", "proto", "sport", "dport", "ttl", "text",
    ]  # fmt: skip
    calls = frame[frame.event == "Called"]
    assert list(calls.function) == ["first", "second", "second", "<third>"]
    assert list(calls.verdict) == ["ACCEPT", "QUEUE", "ACCEPT", "DROP"]
    assert list(calls.ttl) == [64, 64, 10, 10]
    assert list(frame.text) == [str(event) for event in trace.events]


def test_the_frame_of_a_forwarded_packet() -> None:
    frame = router().receive("eth0", UDP).frame()
    passed = frame[frame.event == "Passed"]
    assert list(passed.hook) == ["PRE_ROUTING", "FORWARD", "POST_ROUTING"]
    assert list(passed["in"]) == ["eth0"] * 3
    assert set(frame.src) == {"10.0.1.2"}
    assert frame[frame.event == "Sent"].iloc[0]["out"] == "eth1"


def test_the_text_has_a_line_an_event() -> None:
    trace = router().receive("eth0", UDP)
    lines = trace.text().splitlines()
    assert lines[0] == "step 0: 10.0.1.2:5000 > 10.0.2.2:53 udp ttl=64 into router:eth0"
    assert lines[1].split("  ") == ["", "#0 router", "received on eth0: 10.0.1.2:5000 > 10.0.2.2:53 udp ttl=64"]
    assert lines[2].endswith("PRE_ROUTING (in eth0): ACCEPT")
    assert lines[-1].endswith("sent on eth1 to 10.0.2.2: 10.0.1.2:5000 > 10.0.2.2:53 udp ttl=63")
    assert len(lines) == 1 + len(list(trace.events))
    assert str(trace) == trace.text()


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Dropped(0, "r", "IP_INHDR", None, "no header"), "dropped: IP_INHDR, no header"),
        (Dropped(0, "r", "IP_INHDR", None), "dropped: IP_INHDR"),
        (Refused(0, "r", "EPERM", "a function"), "send failed: EPERM, a function"),
        (Refused(0, "r", "EPERM"), "send failed: EPERM"),
        (Logged(0, "r", "IPv4: line"), "log: IPv4: line"),
        (Noted(0, "r", "waits"), "waits"),
        (Passed(0, "r", Hook.FORWARD, "eth0", "eth1", UDP, "DROP", "NEW"), "FORWARD (in eth0, out eth1) [NEW]: DROP"),
        (Passed(0, "r", Hook.LOCAL_OUT, None, "lo", UDP), "LOCAL_OUT (out lo): unknown"),
    ],
)
def test_one_event_in_one_line(event: Any, text: str) -> None:
    assert str(event) == text


def test_html_is_escaped() -> None:
    host = Host("<b>r", {"eth0": "10.0.1.1/24"})
    host.register(Hook.PRE_ROUTING, lambda packet, state: ACCEPT, name="<script>alert(1)</script>")
    html = host.receive("eth0", UDP)._repr_html_()
    assert "<script>" not in html
    assert "<b>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&lt;b&gt;r" in html
    assert "10.0.1.2:5000 &gt; 10.0.2.2:53" in html


def test_titles_with_braces_are_shown_as_they_are() -> None:
    host = Host("{0}", {"eth0": "10.0.1.1/24"})
    assert host.receive("eth0", UDP).steps[0].title.endswith("into {0}:eth0")
    assert host.receive("eth0", b"").steps[0].title == "0 bytes into {0}:eth0"
    assert host.sockets.ping("10.0.1.2").steps[0].title == "{0} pings 10.0.1.2"


def test_the_order_of_the_keys() -> None:
    step = router().receive("eth0", PACKETS["icmp"]).to_json()["steps"][0]
    assert list(step) == ["step", "path", "out", "delivered", "dropped", "errno", "status"]
    assert list(step["path"][0]) == [
        "packet", "host", "hook", "state", "verdict", "in", "out", "src", "dst", "proto", "sport", "dport", "ttl",
        "type", "code", "id",
    ]  # fmt: skip


def test_what_a_world_cannot_see_is_said() -> None:
    trace = Trace(world=World.KERNEL, unknown=("dropped", "log"), silent=("r",))
    said = [
        "unknown here: what was dropped and why, the lines of its log",
        "unknown here: the lines that LOG rules of r have written",
    ]
    assert str(trace).splitlines() == said
    assert trace._repr_html_() == "".join(f"<p>{sentence}</p>" for sentence in said)


def test_a_trace_and_its_steps_are_short_in_a_list() -> None:
    trace = Host("r", {"eth0": "10.0.0.1/24"}).receive("eth0", Packet.udp("10.0.0.2", "10.0.0.1", 1, 2))
    title = "10.0.0.2:1 > 10.0.0.1:2 udp ttl=64 into r:eth0"
    assert repr(trace) == f"<Trace, simulator: {title}; {len(list(trace.events))} events>"
    assert repr(trace.steps) == f"[<Step: {title}; {len(list(trace.events))} events>]"
    assert repr(Trace()) == "<Trace, simulator: 0 steps; 0 events>"
