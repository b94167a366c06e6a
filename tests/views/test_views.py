"""The widgets' Python halves: what they send to the browser, and when."""

from collections.abc import Callable
from typing import Any

import pytest

from netlab.host import Host
from netlab.names import Hook, NetlabError, Verdict
from netlab.packet import Packet
from netlab.views import journey, packet_flow, predict
from netlab.views.packet_flow import PacketFlow
from netlab.views.prediction import DONT_KNOW
from tests.journeys import looped, queued


@pytest.fixture
def router() -> Host:
    return Host(
        "router",
        interfaces={"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"},
        sysctls={"net.ipv4.ip_forward": 1},
        listen=["udp/53", "tcp/80"],
    )


def say(widget: Any, **message: Any) -> None:
    """A message as the browser sends it."""
    widget._handle_custom_msg(message, [])


# ---------------------------------------------------------------- packet_flow


def test_places_are_offered_by_name(router: Host) -> None:
    flow = packet_flow(router)
    assert flow.sources == [
        ["here", "this machine, router"],
        ["10.0.1.2", "a machine on eth0's side"],
        ["10.0.2.2", "a machine on eth1's side"],
    ]
    assert [address for address, _ in flow.destinations] == [
        "10.0.1.1", "10.0.2.1", "127.0.0.1", "10.0.1.2", "10.0.2.2",
    ]  # fmt: skip


def test_a_neighbour_is_never_the_machine_itself() -> None:
    host = Host("far", interfaces={"eth0": ["10.0.1.2/24", "10.9.9.9/32"]})
    assert [address for address, _ in packet_flow(host).sources] == ["here", "10.0.1.1"]


CASES = {
    "local to local": ("here", "10.0.1.1", ["LOCAL_OUT", "POST_ROUTING", "PRE_ROUTING", "LOCAL_IN"]),
    "local to external": ("here", "10.0.1.2", ["LOCAL_OUT", "POST_ROUTING"]),
    "external to local": ("10.0.1.2", "10.0.2.1", ["PRE_ROUTING", "LOCAL_IN"]),
    "external to external": ("10.0.1.2", "10.0.2.2", ["PRE_ROUTING", "FORWARD", "POST_ROUTING"]),
}


@pytest.mark.parametrize(("src", "dst", "hooks"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("proto", ["udp", "tcp", "icmp"])
def test_the_four_cases_of_source_and_destination(
    router: Host, src: str, dst: str, hooks: list[str], proto: str
) -> None:
    flow = packet_flow(router)
    flow.build(src, dst, proto)
    flow.lock(hooks)
    assert flow.passed == hooks
    assert flow.remark.startswith("As you predicted")
    assert not [stop for stop in flow.stops if stop["end"] == "drop"]


def test_nothing_of_the_way_is_sent_before_the_lock(router: Host) -> None:
    flow = packet_flow(router)
    flow.build("here", "10.0.1.1")
    assert flow.stage == "predict"
    assert not flow.stops
    assert not flow.table
    assert not flow.passed
    assert flow.trace is None, "the packet has not even been sent"


def test_a_lock_without_a_packet_is_refused(router: Host) -> None:
    flow = packet_flow(router)
    with pytest.raises(NetlabError, match="first build a packet"):
        flow.lock(["FORWARD"])
    flow.build("here", "10.0.1.1")
    flow.lock(None)
    with pytest.raises(NetlabError, match="first build a packet"):
        flow.lock(["FORWARD"])


@pytest.mark.parametrize(
    ("guess", "remark"),
    [
        (["PRE_ROUTING", "LOCAL_IN"], "part at number 2"),
        (["PRE_ROUTING"], "part at number 2"),
        (["PRE_ROUTING", "FORWARD", "POST_ROUTING", "LOCAL_IN"], "part at number 4"),
        ([], "part at number 1"),
        (None, "The packet's hooks: PRE_ROUTING, FORWARD, POST_ROUTING."),
    ],
)
def test_a_wrong_prediction_is_told_where_it_went_wrong(router: Host, guess: list[str] | None, remark: str) -> None:
    flow = packet_flow(router)
    flow.build("10.0.1.2", "10.0.2.2")
    flow.lock(guess)
    assert remark in flow.remark


def test_free_play_asks_for_no_prediction(router: Host) -> None:
    flow = packet_flow(router, predict=False)
    flow.build("10.0.1.2", "10.0.2.2")
    assert flow.stage == "watch"
    assert flow.stops
    assert flow.remark == ""


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"src": "10.0.1", "dst": "10.0.2.2"}, "src"),
        ({"src": "10.0.1.2", "dst": "10.0.2.256"}, "dst"),
        ({"src": "10.0.1.2", "dst": "router.example"}, "dst"),
        ({"src": "10.0.1.2", "dst": "10.0.2.2", "way": "eth7"}, "way"),
        ({"src": "10.0.1.2", "dst": "10.0.2.2", "proto": "sctp"}, "form"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_built(router: Host, message: dict[str, str], field: str) -> None:
    flow = packet_flow(router)
    say(flow, do="build", **{"proto": "udp", **message})
    assert flow.problem["field"] == field
    assert flow.problem["message"]
    assert flow.stage == "build"
    say(flow, do="build", src="10.0.1.2", dst="10.0.2.2", proto="udp")
    assert flow.problem == {}
    assert flow.stage == "predict"


@pytest.mark.parametrize(
    ("src", "way", "first"),
    [
        ("10.0.2.2", None, "In by eth1"),
        ("1.2.3.4", None, "In by eth0"),
        ("1.2.3.4", "eth1", "In by eth1"),
        ("10.0.1.1", None, "Made by a local process"),
        ("10.0.1.1", "eth0", "In by eth0"),
    ],
)
def test_where_a_packet_begins(router: Host, src: str, way: str | None, first: str) -> None:
    flow = packet_flow(router, predict=False)
    flow.build(src, "10.0.2.1", "udp", way)
    assert flow.stops[0]["title"] == first


def test_a_send_that_fails_is_shown_with_its_errno(router: Host) -> None:
    flow = packet_flow(router, predict=False)
    flow.build("here", "9.9.9.9", "icmp")
    assert flow.stops[-1]["title"] == "Send fails"
    assert "ENETUNREACH" in flow.stops[-1]["story"]


def test_another_packet_starts_afresh(router: Host) -> None:
    flow = packet_flow(router)
    say(flow, do="build", src="here", dst="10.0.1.1", proto="udp")
    say(flow, do="lock", prediction=["LOCAL_OUT"])
    assert flow.stage == "watch"
    flow.at = 3
    say(flow, do="again")
    assert (flow.stage, flow.stops, flow.prediction) == ("build", [], [])
    say(flow, do="build", src="here", dst="10.0.1.2", proto="udp")
    say(flow, do="lock", prediction=None)
    assert flow.at == 0


def test_nonsense_from_the_browser_changes_nothing(router: Host) -> None:
    flow = packet_flow(router)
    for message in ({}, {"do": "dance"}, {"do": "build"}, {"do": "build", "src": 1, "dst": 2, "proto": 3}):
        say(flow, **message)
        assert flow.stage == "build"


# ---------------------------------------------------------------- journey


def test_a_journey_shows_functions_that_were_never_called(router: Host) -> None:
    router.register(Hook.PRE_ROUTING, lambda packet, state: Verdict.DROP, 0, "stern")
    router.register(Hook.PRE_ROUTING, lambda packet, state: Verdict.ACCEPT, 1, "late")
    trace = router.receive("eth0", Packet.udp("10.0.1.2", "10.0.2.2", 1, 2))
    assert journey(trace, router).rails["router PRE_ROUTING"]["functions"] == [(0, "stern"), (1, "late")]
    assert journey(trace).rails["router PRE_ROUTING"]["functions"] == [(0, "stern")]


def test_what_is_no_trace_or_no_host_is_refused_in_one_line(router: Host) -> None:
    with pytest.raises(NetlabError, match="journey shows a Trace, as receive and send return it, not Host"):
        journey(router)  # type: ignore[arg-type]
    with pytest.raises(NetlabError, match="packet_flow shows a Host, not str"):
        packet_flow("router")  # type: ignore[arg-type]


def test_a_machine_without_interfaces_can_only_talk_to_itself() -> None:
    flow = packet_flow(Host("lonely"), predict=False)
    assert flow.sources == [["here", "this machine, lonely"]]
    flow.build("1.2.3.4", "127.0.0.1")
    assert flow.stops[0]["title"] == "Made by a local process"


# ---------------------------------------------------------------- predict


def test_the_outcome_is_worked_out_only_after_the_lock() -> None:
    called = []
    question = predict("How often?", ["once", "twice"], lambda: called.append(1) or queued(), answer="twice")
    assert not called
    assert not question.stops
    say(question, do="lock", choice="thrice")
    assert not called
    assert not question.locked
    say(question, do="lock", choice="once")
    assert called == [1]
    assert question.chosen == "once"
    assert question.remark == "What happens: twice."
    say(question, do="lock", choice="twice")
    assert question.chosen == "once", "a locked prediction stays"
    assert called == [1]


def test_not_knowing_is_an_answer() -> None:
    question = predict("How often?", ["once", "twice"], "It is called <twice>.")
    question.lock(DONT_KNOW)
    assert question.locked
    assert question.html == "<p>It is called &lt;twice&gt;.</p>"


def test_anything_that_shows_itself_can_be_the_outcome() -> None:
    question = predict("Which?", ["a", "b"], lambda: Packet.udp("10.0.0.1", "10.0.0.2", 1, 2), answer="a")
    question.lock("a")
    assert "<table>" in question.html
    assert question.remark == "It happens as you predicted."


def test_questions_that_make_no_sense_are_refused() -> None:
    with pytest.raises(NetlabError, match="at least two choices"):
        predict("Which?", ["only"], "x")
    with pytest.raises(NetlabError, match="not among the choices"):
        predict("Which?", ["a", "b"], "x", answer="c")


# ---------------------------------------------------------------- without widgets


def flow_of(router: Host) -> PacketFlow:
    flow = packet_flow(router, predict=False)
    flow.build("10.0.1.2", "10.0.2.2")
    return flow


STATIC: dict[str, tuple[Callable[[Host], Any], list[str]]] = {
    "packet_flow, empty": (packet_flow, ["<svg", "PRE_ROUTING"]),
    "packet_flow": (flow_of, ["<svg", "<table", "In by eth0"]),
    "journey": (lambda _: journey(looped()), ["<svg", "<table", "second lap"]),
    "predict": (lambda _: predict("How &?", ["a<b", "c"], "secret"), ["How &amp;?", "a&lt;b", DONT_KNOW[:1]]),
}


@pytest.mark.parametrize(("make", "words"), STATIC.values(), ids=STATIC.keys())
def test_where_there_are_no_widgets_there_is_a_page(
    router: Host, make: Callable[[Host], Any], words: list[str]
) -> None:
    widget = make(router)
    data, _ = widget._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    for word in words:
        assert word in data["text/html"]
    assert "secret" not in data["text/html"]
    assert data["text/plain"] == str(widget)
    assert "object at 0x" not in str(widget)
