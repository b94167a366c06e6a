"""Queues: packets wait, a program answers, and what the kernel makes of its answers.

What the kernel does was asked of Linux 6.18 with iptables' NFQUEUE target and nfnetlink.
"""

from collections.abc import Callable
from typing import Any

import pytest

from netlab.hooks import queue_to
from netlab.host import Host
from netlab.names import ACCEPT, DROP, QUEUE, REPEAT, STOLEN, Hook, NetlabError, Verdict
from netlab.packet import Packet
from netlab.queue import MAX_WAITING
from netlab.trace import Called, Noted, Trace

UDP = Packet.udp("10.0.1.2", "10.0.2.2", 5000, 53)
PRE, FORWARD = Hook.PRE_ROUTING, Hook.FORWARD
STOP = Verdict.STOP


def router(*answers: Any) -> Host:
    """A router with three functions on FORWARD: before, asks (QUEUE, or what `answers` say in turn), after."""
    host = Host("router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, sysctls={"net.ipv4.ip_forward": 1})
    turns = iter(answers)
    host.register(FORWARD, lambda packet, state: ACCEPT, -10, "before")
    host.register(FORWARD, lambda packet, state: next(turns, QUEUE), 0, "asks")
    host.register(FORWARD, lambda packet, state: ACCEPT, 10, "after")
    return host


def calls(trace: Trace) -> list[str]:
    return [event.function for event in trace.events if isinstance(event, Called)]


def notes(trace: Trace) -> list[str]:
    return [event.text for event in trace.events if isinstance(event, Noted)]


# ---------------------------------------------------------------- nobody listens


def test_without_a_listener_a_queued_packet_is_dropped() -> None:
    host = router()
    host.queue(0)  # looking at a queue is not listening to it
    trace = host.receive("eth0", UDP)
    assert (trace.path[-1].hook, trace.path[-1].verdict) == (FORWARD, "QUEUE")
    assert [(drop.reason, drop.why) for drop in trace.dropped] == [
        ("NOT_SPECIFIED", "queued to queue 0, but no program listens there")
    ]


def test_with_bypass_it_is_accepted_and_the_next_function_called() -> None:
    trace = router(queue_to(3, bypass=True)).receive("eth0", UDP)
    assert calls(trace) == ["before", "asks", "after"]
    assert len(trace.out) == 1
    assert trace.path[1].verdict == "ACCEPT"


def test_bypass_is_no_way_round_a_program_that_listens() -> None:
    host = router(queue_to(3, bypass=True))
    host.queue(3).bind()
    trace = host.receive("eth0", UDP)
    assert trace.out == trace.dropped == []
    assert len(host.queue(3).waiting) == 1


def test_the_number_in_the_verdict_picks_the_queue() -> None:
    host = router(queue_to(7))
    host.queue(0).bind()
    host.queue(7).bind()
    host.receive("eth0", UDP)
    assert (len(host.queue(0).waiting), len(host.queue(7).waiting)) == (0, 1)


# ---------------------------------------------------------------- answers by hand


@pytest.mark.parametrize(
    ("verdict", "called", "sent", "reason"),
    [
        (ACCEPT, ["after"], 1, None),
        (DROP, [], 0, "NOT_SPECIFIED"),
        (REPEAT, ["asks", "after"], 1, None),  # the function that queued it once more, not those before it
        (STOP, [], 1, None),  # skips the functions left
        (QUEUE, [], 0, None),  # waits again, and no function is called
        (queue_to(5), [], 0, "NOT_SPECIFIED"),  # nobody listens there
        (1, ["after"], 1, None),
    ],
    ids=["ACCEPT", "DROP", "REPEAT", "STOP", "QUEUE", "queue 5", "1"],
)
def test_what_an_answer_does(verdict: int, called: list[str], sent: int, reason: str | None) -> None:
    host = router(QUEUE, ACCEPT)
    queue = host.queue(0).bind()
    trace = host.receive("eth0", UDP)
    assert calls(trace) == ["before", "asks"]
    assert trace.out == trace.dropped == []
    trace = queue.waiting[0].answer(verdict)
    assert calls(trace) == called
    assert len(trace.out) == sent
    assert [drop.reason for drop in trace.dropped] == ([reason] if reason else [])
    assert len(queue.waiting) == (verdict == QUEUE)


def test_a_waiting_packet_tells_what_and_where_it_is() -> None:
    host = router()
    queue = host.queue(0).bind()
    trace = host.receive("eth0", UDP)
    (queued,) = queue.waiting
    assert (queued.id, queued.hook, queued.packet) == (1, FORWARD, UDP.with_(ttl=63))
    assert notes(trace) == ["waits in queue 0 as packet 1"]
    assert repr(queued) == f"<queued 1 on FORWARD: {UDP.with_(ttl=63)}>"
    assert repr(queue) == "<queue 0 of router: 1 waiting>"
    assert queue._repr_html_().count("<td") == 3
    assert ">FORWARD</td>" in queue._repr_html_()
    assert ">10.0.1.2:5000 &gt; 10.0.2.2:53" in queue._repr_html_()


def test_packets_are_answered_in_any_order_and_numbered_as_they_came() -> None:
    host = router()
    queue = host.queue(0).bind()
    for port in (1, 2, 3):
        host.receive("eth0", UDP.with_(sport=port))
    assert [queued.id for queued in queue.waiting] == [1, 2, 3]
    first, second, third = queue.waiting
    sent = [queued.answer(ACCEPT).out[0].packet.sport for queued in (second, third, first)]
    assert sent == [2, 3, 1]
    assert queue.waiting == []


def test_a_changed_packet_goes_on_changed() -> None:
    host = router()
    queue = host.queue(0).bind()
    host.receive("eth0", UDP)
    (queued,) = queue.waiting
    trace = queued.answer(ACCEPT, queued.packet.with_(dport=5353, ttl=9))
    assert trace.out[0].packet == UDP.with_(dport=5353, ttl=9)


def test_a_changed_destination_queued_in_pre_routing_is_routed_as_changed() -> None:
    host = router()
    host.register(PRE, lambda packet, state: QUEUE)
    queue = host.queue(0).bind(lambda packet, state: (ACCEPT, packet.with_(dst="10.0.1.1")))
    trace = host.receive("eth0", UDP.with_(dst="10.0.9.9"))
    assert [row.hook for row in trace.path if row.number == 0] == [PRE, Hook.LOCAL_IN]
    assert queue.waiting == []


def test_a_packet_has_one_answer() -> None:
    host = router()
    queue = host.queue(0).bind()
    host.receive("eth0", UDP)
    (queued,) = queue.waiting
    queued.answer(ACCEPT)
    with pytest.raises(NetlabError, match="packet 1 does not wait in queue 0"):
        queued.answer(ACCEPT)


@pytest.mark.parametrize(
    ("verdict", "packet", "problem"),
    [
        ("ACCEPT", None, "'ACCEPT' is no verdict"),
        (None, None, "None is no verdict"),
        (True, None, "True is no verdict"),
        (6, None, "6 is no verdict"),
        ([], None, "[] is no verdict"),
        (STOLEN, None, "the kernel takes STOLEN from hook functions only, not from a program (EINVAL)"),
        (ACCEPT, b"bytes", "b'bytes' is no packet"),
    ],
)
def test_an_answer_that_is_none_is_refused_and_the_packet_waits_on(verdict: Any, packet: Any, problem: str) -> None:
    host = router()
    queue = host.queue(0).bind()
    host.receive("eth0", UDP)
    (queued,) = queue.waiting
    with pytest.raises(NetlabError) as refused:
        queued.answer(verdict, packet)
    assert str(refused.value) == problem
    assert queue.waiting == [queued]
    assert len(queued.answer(ACCEPT).out) == 1


# ---------------------------------------------------------------- programs


@pytest.mark.parametrize(
    ("answer", "called", "ttl"),
    [
        (ACCEPT, ["before", "asks", "after"], 63),
        (1, ["before", "asks", "after"], 63),
        (REPEAT, ["before", "asks", "asks", "after"], 63),
        (STOP, ["before", "asks"], 63),
        ((ACCEPT, UDP.with_(ttl=7)), ["before", "asks", "after"], 7),
        ((REPEAT, UDP.with_(ttl=7)), ["before", "asks", "asks", "after"], 7),
    ],
    ids=["ACCEPT", "1", "REPEAT", "STOP", "changed", "changed, REPEAT"],
)
def test_a_bound_program_answers_within_the_same_step(answer: Any, called: list[str], ttl: int) -> None:
    host = router(QUEUE, ACCEPT)
    seen: list[Any] = []

    def program(packet: Packet, state: Any) -> Any:
        seen.append((packet.ttl, state.hook, state.dev_in, state.dev_out))
        return answer

    host.queue(0).bind(program)
    trace = host.receive("eth0", UDP)
    assert calls(trace) == called
    assert [frame.packet.ttl for frame in trace.out] == [ttl]
    assert seen == [(63, FORWARD, "eth0", "eth1")]
    assert trace.path[1].verdict == "ACCEPT"
    name = Verdict(answer[0] if isinstance(answer, tuple) else answer).name
    assert f"queue 0: the program answers {name}" in notes(trace)


def test_a_program_that_answers_drop() -> None:
    host = router()
    host.queue(0).bind(lambda packet, state: DROP)
    trace = host.receive("eth0", UDP)
    assert [(drop.reason, drop.why) for drop in trace.dropped] == [
        ("NOT_SPECIFIED", "the queue's program answered DROP")
    ]
    assert trace.path[-1].verdict == "DROP"


def crash(packet: Packet, state: Any) -> int:
    return 1 // 0  # here


@pytest.mark.parametrize(
    ("program", "how"),
    [
        (crash, f"it raised ZeroDivisionError: integer division or modulo by zero, in line "
                f"{crash.__code__.co_firstlineno + 1}: return 1 // 0  # here"),
        (lambda packet, state: None, "it answered None, which is no verdict"),
        (lambda packet, state: "ACCEPT", "it answered 'ACCEPT', which is no verdict"),
        (lambda packet, state: True, "it answered True, which is no verdict"),
        (lambda packet, state: packet, "it answered <Packet"),
        (lambda packet, state: (ACCEPT, None), "it answered (<Verdict.ACCEPT: 1>, None), which is no verdict"),
        (lambda packet, state: (ACCEPT, packet, packet), "it answered (<Verdict.ACCEPT: 1>, <Packet"),
        (lambda packet: ACCEPT, "it raised TypeError"),
    ],
    ids=["raises", "None", "text", "True", "packet", "pair", "three", "one parameter"],
)  # fmt: skip
def test_a_program_that_fails_loses_the_packet_and_says_how(program: Any, how: str) -> None:
    host = router()
    queue = host.queue(0).bind(program)
    trace = host.receive("eth0", UDP)
    (drop,) = trace.dropped
    assert drop.why.startswith(f"the program of queue 0 failed: {how}")
    assert drop.why in notes(trace)
    assert (drop.reason, trace.out, queue.waiting) == ("NOT_SPECIFIED", [], [])


def test_a_program_that_answers_stolen_is_refused_and_the_packet_waits() -> None:
    host = router()
    queue = host.queue(0).bind(lambda packet, state: STOLEN)
    trace = host.receive("eth0", UDP)
    assert "the kernel takes STOLEN from hook functions only" in notes(trace)[-1]
    assert trace.dropped == []
    assert len(queue.waiting) == 1


@pytest.mark.parametrize("verdict", [REPEAT, QUEUE], ids=str)
def test_a_program_that_never_comes_to_an_end_is_stopped(verdict: Verdict) -> None:
    host = router()
    host.queue(0).bind(lambda packet, state: verdict)
    trace = host.receive("eth0", UDP)
    assert [drop.why for drop in trace.dropped] == [
        f"the queue's program answered {verdict} 100 times: an endless loop"
    ]
    assert len(calls(trace)) == (102 if verdict is REPEAT else 2)


def test_a_program_may_pass_a_packet_on_to_another_queue() -> None:
    host = router()
    host.queue(0).bind(lambda packet, state: queue_to(1))
    host.queue(1).bind(lambda packet, state: ACCEPT)
    trace = host.receive("eth0", UDP)
    assert calls(trace) == ["before", "asks", "after"]
    assert len(trace.out) == 1


def test_a_program_may_answer_by_hand() -> None:
    host = router()
    queue = host.queue(0)

    def program(packet: Packet, state: Any) -> Verdict:
        queue.waiting[0].answer(ACCEPT)
        return DROP  # too late: it has its answer

    queue.bind(program)
    trace = host.receive("eth0", UDP)
    assert len(trace.out) == 1
    assert trace.dropped == []


def test_a_program_must_be_callable() -> None:
    with pytest.raises(NetlabError, match="a queue's program must be callable, 'accept' is not"):
        router().queue(0).bind("accept")  # type: ignore[arg-type]


# ---------------------------------------------------------------- full, and closed


@pytest.mark.parametrize("bypass", [False, True])
def test_a_full_queue_drops_bypass_or_not(bypass: bool) -> None:
    host = router(*[queue_to(0, bypass=bypass)] * (MAX_WAITING + 1))
    queue = host.queue(0).bind()
    host.wires.recording = False
    for _ in range(MAX_WAITING):
        host.receive("eth0", UDP)
    host.wires.recording = True
    assert len(queue.waiting) == MAX_WAITING
    trace = host.receive("eth0", UDP)
    assert [(drop.reason, drop.why) for drop in trace.dropped] == [
        ("NOT_SPECIFIED", "queued to queue 0, but it is full")
    ]
    queue.waiting[0].answer(DROP)
    assert host.receive("eth0", UDP).dropped == []


def test_when_nobody_listens_any_more_what_waits_is_dropped() -> None:
    host = router()
    queue = host.queue(0).bind()
    host.receive("eth0", UDP.with_(sport=1))
    host.receive("eth0", UDP.with_(sport=2))
    trace = queue.unbind()
    assert [(drop.packet and drop.packet.sport, drop.why) for drop in trace.dropped] == [
        (1, "nobody listens any more"),
        (2, "nobody listens any more"),
    ]
    assert queue.waiting == []
    assert repr(queue) == "<queue 0 of router: nobody listens>"
    assert "no program listens there" in host.receive("eth0", UDP).dropped[0].why


# ---------------------------------------------------------------- on every hook


@pytest.mark.parametrize("hook", list(Hook), ids=str)
def test_a_packet_can_wait_on_every_hook_and_goes_on_from_there(hook: Hook) -> None:
    def journey(register: Callable[[Host], object]) -> list[tuple[Hook, str | None, str | None]]:
        host = Host(
            "router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, sysctls={"net.ipv4.ip_forward": 1},
            listen=["udp/53"],
        )  # fmt: skip
        register(host)
        traces = [host.send(Packet.udp("0.0.0.0", "10.0.1.1", 1, 53)), host.receive("eth0", UDP)]
        assert all(trace.dropped == [] for trace in traces)
        assert len(traces[0].delivered) == len(traces[1].out) == 1
        return [(row.hook, row.dev_in, row.dev_out) for trace in traces for row in trace.path]

    def queueing(host: Host) -> None:
        host.register(hook, lambda packet, state: QUEUE)
        host.queue(0).bind(lambda packet, state: ACCEPT)

    assert journey(queueing) == journey(lambda host: None)


def test_the_queue_of_a_plain_queue_verdict_is_number_0() -> None:
    host = router()
    assert host.queue() is host.queue(0)
    assert host.queue(1) is not host.queue(0)
