"""The walk over one hook: the order of the functions, what each verdict does, and what a mistake looks like."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from netlab.hooks import HookState, Registered, queue_to
from netlab.host import Host
from netlab.names import ACCEPT, DROP, QUEUE, REPEAT, STOLEN, Hook, NetlabError, Verdict
from netlab.packet import Packet
from netlab.trace import Called, Noted, Trace

UDP = Packet.udp("10.0.1.2", "10.0.2.2", 5000, 53, b"hello")
PRE, FORWARD, POST = Hook.PRE_ROUTING, Hook.FORWARD, Hook.POST_ROUTING


def router(**options: Any) -> Host:
    interfaces = {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}
    return Host("router", interfaces, sysctls={"net.ipv4.ip_forward": 1}, **options)


def calls(trace: Trace) -> list[str]:
    return [event.function for event in trace.events if isinstance(event, Called)]


def verdicts(trace: Trace) -> list[tuple[Hook, str]]:
    return [(row.hook, row.verdict) for row in trace.path]


def says(verdict: Any) -> Callable[..., Any]:
    return lambda packet, state: verdict


# ---------------------------------------------------------------- order


@pytest.mark.parametrize(
    ("priorities", "order"),
    [
        ([0], [0]),
        ([10, -10, 0], [1, 2, 0]),
        ([0, 0, 0], [2, 1, 0]),  # of equals the one registered later comes first
        ([5, 0, 5, 0], [3, 1, 2, 0]),
        ([2**31 - 1, -(2**31), 0], [1, 2, 0]),
    ],
)
def test_functions_are_called_by_priority_and_the_later_of_equals_first(
    priorities: list[int], order: list[int]
) -> None:
    host = router()
    for number, priority in enumerate(priorities):
        host.register(PRE, says(ACCEPT), priority, str(number))
    assert calls(host.receive("eth0", UDP)) == [str(number) for number in order]
    assert [entry.name for entry in host.hooks.on(PRE)] == [str(number) for number in order]


def test_a_function_is_called_on_its_hook_only_and_told_where_it_is() -> None:
    host, seen = router(), []

    def look(packet: Packet, state: Any) -> Verdict:
        seen.append((state.hook, state.host, state.dev_in, state.dev_out, packet.ttl))
        return ACCEPT

    for hook in Hook:
        host.register(hook, look)
    host.receive("eth0", UDP)
    assert seen == [
        (PRE, "router", "eth0", None, 64),
        (FORWARD, "router", "eth0", "eth1", 63),
        (POST, "router", "eth0", "eth1", 63),
    ]


def test_the_old_and_the_new_spelling_register_the_same() -> None:
    host = router(kernel=(4, 12))
    host.nf_register_hook("NF_IP_PRE_ROUTING", says(ACCEPT), name="old")
    host.nf_register_net_hook("NF_INET_PRE_ROUTING", says(ACCEPT), name="new")
    assert calls(host.receive("eth0", UDP)) == ["new", "old"]


def test_nf_register_hook_is_gone_since_4_13() -> None:
    for kernel in ((4, 13), (6, 18)):
        with pytest.raises(NetlabError, match=f"Linux {kernel[0]}.{kernel[1]} has no nf_register_hook"):
            router(kernel=kernel).nf_register_hook(PRE, says(ACCEPT))


def test_an_unregistered_function_is_called_no_more() -> None:
    host = router()
    first = host.register(PRE, says(DROP), name="first")
    host.register(PRE, says(ACCEPT), name="second")
    host.unregister(first)
    assert calls(host.receive("eth0", UDP)) == ["second"]
    with pytest.raises(NetlabError, match="first is not registered on PRE_ROUTING"):
        host.unregister(first)


def test_a_function_has_its_own_name_in_the_trace_unless_it_is_given_one() -> None:
    class Counter:
        def __call__(self, packet: Packet, state: Any) -> Verdict:
            return ACCEPT

    def my_filter(packet: Packet, state: Any) -> Verdict:
        return ACCEPT

    host = router()
    assert host.register(PRE, my_filter).name == "my_filter"
    assert host.register(PRE, Counter()).name == "Counter"
    assert host.register(PRE, my_filter, name="other").name == "other"
    assert str(host.register(FORWARD, my_filter, -150)) == "FORWARD   -150 my_filter"
    assert str(host.hooks).splitlines()[-1] == "FORWARD   -150 my_filter"


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("verdict", "called", "path", "reason"),
    [
        (ACCEPT, ["it", "next"], [(PRE, "ACCEPT"), (FORWARD, "ACCEPT"), (POST, "ACCEPT")], None),
        (1, ["it", "next"], [(PRE, "ACCEPT"), (FORWARD, "ACCEPT"), (POST, "ACCEPT")], None),
        (DROP, ["it"], [(PRE, "DROP")], "NETFILTER_DROP"),
        (0, ["it"], [(PRE, "DROP")], "NETFILTER_DROP"),
        (STOLEN, ["it"], [(PRE, "STOLEN")], None),
        (QUEUE, ["it"], [(PRE, "QUEUE")], "NOT_SPECIFIED"),
        (queue_to(9), ["it"], [(PRE, "QUEUE")], "NOT_SPECIFIED"),
        (queue_to(9, bypass=True), ["it", "next"], [(PRE, "ACCEPT"), (FORWARD, "ACCEPT"), (POST, "ACCEPT")], None),
        (REPEAT, ["it"], [(PRE, "REPEAT")], "NOT_SPECIFIED"),  # no longer understood from a function
        (Verdict.STOP, ["it"], [(PRE, "STOP")], "NOT_SPECIFIED"),
    ],
    ids=["ACCEPT", "1", "DROP", "0", "STOLEN", "QUEUE", "queue 9", "bypass", "REPEAT", "STOP"],
)
def test_what_a_verdict_does(verdict: Any, called: list[str], path: list[tuple[Hook, str]], reason: str | None) -> None:
    host = router()
    host.register(PRE, says(verdict), -1, "it")
    host.register(PRE, says(ACCEPT), 0, "next")
    trace = host.receive("eth0", UDP)
    assert calls(trace) == called
    assert verdicts(trace) == path
    assert [drop.reason for drop in trace.dropped] == ([reason] if reason else [])
    assert len(trace.out) == (path[-1] == (POST, "ACCEPT"))


@pytest.mark.parametrize(("hook", "errno"), [(Hook.LOCAL_OUT, "EPERM"), (POST, "EPERM"), (Hook.LOCAL_IN, None)])
def test_a_local_sender_hears_of_a_drop_on_its_way_out_only(hook: Hook, errno: str | None) -> None:
    host = router()
    host.register(hook, says(DROP))
    trace = host.send(Packet.udp("0.0.0.0", "10.0.1.1", 1, 2))
    assert trace.errno == errno
    assert trace.dropped[-1].reason == "NETFILTER_DROP"


@pytest.mark.parametrize("verdict", [STOLEN, QUEUE])
def test_a_local_sender_hears_nothing_of_a_packet_stolen_or_queued(verdict: Verdict) -> None:
    host = router()
    host.register(Hook.LOCAL_OUT, says(verdict))
    trace = host.send(Packet.udp("0.0.0.0", "10.0.1.2", 1, 2))
    assert trace.errno is None
    assert trace.out == []


def test_a_drop_names_the_function_and_the_hook() -> None:
    host = router()
    host.register(FORWARD, says(DROP), name="firewall")
    assert host.receive("eth0", UDP).dropped[0].why == "firewall on FORWARD returned DROP"


# ---------------------------------------------------------------- changes


def test_the_next_function_and_the_next_hook_see_the_changed_packet() -> None:
    host, seen = router(), []

    def change(packet: Packet, state: Any) -> tuple[Verdict, Packet]:
        return ACCEPT, packet.with_(ttl=9, dport=5353)

    def look(packet: Packet, state: Any) -> Verdict:
        seen.append((state.hook, packet.ttl, packet.dport))
        return ACCEPT

    host.register(PRE, look, -10)
    host.register(PRE, change, 0)
    host.register(PRE, look, 10)
    host.register(FORWARD, look)
    trace = host.receive("eth0", UDP)
    assert seen == [(PRE, 64, 53), (PRE, 9, 5353), (FORWARD, 8, 5353)]
    assert trace.out[0].packet == UDP.with_(ttl=8, dport=5353)
    change_call = [event for event in trace.events if isinstance(event, Called)][1]
    assert (change_call.before, change_call.after) == (UDP, UDP.with_(ttl=9, dport=5353))
    assert "ttl 64 -> 9" in str(change_call)
    assert trace.path[0].packet.ttl == 9  # the row shows the packet as it leaves the hook


@pytest.mark.parametrize(("verdict", "reason"), [(DROP, "NETFILTER_DROP"), (QUEUE, "NOT_SPECIFIED")])
def test_a_packet_is_dropped_as_it_was_changed(verdict: Verdict, reason: str) -> None:
    host = router()
    host.register(PRE, lambda packet, state: (verdict, packet.with_(ttl=5)))
    trace = host.receive("eth0", UDP)
    assert [(drop.reason, drop.packet) for drop in trace.dropped] == [(reason, UDP.with_(ttl=5))]
    assert trace.path[0].packet.ttl == 5


# ---------------------------------------------------------------- old kernels


def twice(packet: Packet, state: Any) -> Any:
    return (ACCEPT, packet) if packet.ttl == 62 else (REPEAT, packet.with_(ttl=packet.ttl - 1))


def test_up_to_4_9_a_function_that_answers_repeat_is_called_again() -> None:
    host = router(kernel=(4, 9))
    host.register(PRE, says(ACCEPT), -1, "earlier")
    host.register(PRE, twice)
    host.register(PRE, says(ACCEPT), 1, "later")
    trace = host.receive("eth0", UDP)
    assert calls(trace) == ["earlier", "twice", "twice", "twice", "later"]
    assert trace.out[0].packet.ttl == 61


def test_since_then_a_function_that_answers_repeat_loses_the_packet() -> None:
    host = router(kernel=(4, 10))
    host.register(PRE, twice)
    trace = host.receive("eth0", UDP)
    assert calls(trace) == ["twice"]
    assert "twice returned REPEAT, which the kernel no longer understands" in trace.dropped[0].why


def test_endless_repeat_is_cut_off_and_said_to_hang_a_real_kernel() -> None:
    host = router(kernel=(3, 10))
    host.register(PRE, says(REPEAT), name="again")
    trace = host.receive("eth0", UDP)
    assert len(calls(trace)) == 101
    assert verdicts(trace) == [(PRE, "DROP")]
    assert trace.dropped[0].why == "again returned REPEAT 100 times: an endless loop, where a real kernel hangs"


def test_up_to_4_9_stop_accepts_and_skips_the_functions_left() -> None:
    host = router(kernel=(4, 9))
    host.register(PRE, says(Verdict.STOP), -1, "stop")
    host.register(PRE, says(DROP), 0, "never called")
    trace = host.receive("eth0", UDP)
    assert calls(trace) == ["stop"]
    assert verdicts(trace)[0] == (PRE, "ACCEPT")
    assert len(trace.out) == 1


# ---------------------------------------------------------------- a learner's mistakes


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (None, "None"),
        (True, "True"),
        (False, "False"),
        ("ACCEPT", "'ACCEPT'"),
        (6, "6"),
        (-1, "-1"),
        (1.0, "1.0"),
        ((), "()"),
        ((ACCEPT, None), "(<Verdict.ACCEPT: 1>, None)"),
        ((ACCEPT, UDP, UDP), "(<Verdict.ACCEPT: 1>, <Packet"),
        (("ACCEPT", UDP), "('ACCEPT', <Packet"),
        (UDP, "<Packet"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_nonsense_is_shown_and_the_packet_dropped_unchanged(answer: Any, shown: str) -> None:
    host = router()
    host.register(PRE, says(answer), name="confused")
    trace = host.receive("eth0", UDP)
    assert verdicts(trace) == [(PRE, "DROP")]
    (drop,) = trace.dropped
    assert drop.why.startswith(f"confused returned {shown}")
    assert drop.why.endswith("which is no verdict")
    assert drop.packet == UDP
    assert f"({drop.why})" in trace.text()  # the call itself says it too


def helper(packet: Packet) -> int:
    return len(packet.payload) // 0  # the line to blame


def raising(packet: Packet, state: Any) -> int:
    return helper(packet)


class Raising:
    def __call__(self, packet: Packet, state: Any) -> int:
        return helper(packet)


@pytest.mark.parametrize("function", [raising, Raising(), partial(raising)], ids=["function", "object", "partial"])
def test_a_function_that_raises_drops_the_packet_and_names_its_own_line(function: Any) -> None:
    host = router()
    host.register(PRE, function, name="raising")
    trace = host.receive("eth0", UDP)
    line = helper.__code__.co_firstlineno + 1
    assert trace.dropped[0].reason == "NETFILTER_DROP"
    assert trace.dropped[0].why == (
        f"raising raised ZeroDivisionError: integer division or modulo by zero, in line {line}: "
        "return len(packet.payload) // 0  # the line to blame"
    )


def test_a_mistake_made_in_calling_netlab_is_blamed_on_the_learners_line() -> None:
    def forgetful(packet: Packet, state: Any) -> Any:
        return ACCEPT, packet.with_(ttl=300)

    host = router()
    host.register(PRE, forgetful)
    line = forgetful.__code__.co_firstlineno + 1
    why = host.receive("eth0", UDP).dropped[0].why
    assert why.startswith("forgetful raised NetlabError: ttl: 300 is not a number from 0 to 255")
    assert f", in line {line}: return ACCEPT, packet.with_(ttl=300)" in why


def test_a_function_with_the_wrong_number_of_parameters() -> None:
    host = router()
    host.register(PRE, lambda packet: ACCEPT, name="short")  # type: ignore[arg-type, misc]
    assert "short raised TypeError" in host.receive("eth0", UDP).dropped[0].why


def good(packet: Packet, state: Any) -> Verdict:
    return ACCEPT


MISTAKES: list[tuple[Callable[[Any], Any], str]] = [
    (lambda host: host.register("INPUT", good), "unknown hook 'INPUT': INPUT is an iptables chain, its hook is LOCAL"),
    (lambda host: host.register("pre_routing", good), "unknown hook 'pre_routing'"),
    (lambda host: host.register(3, good), "unknown hook 3"),
    (lambda host: host.register(None, good), "unknown hook None"),
    (lambda host: host.register(good, PRE), "unknown hook <function"),
    (lambda host: host.register(PRE, None), "a hook function must be callable, None is not"),
    (lambda host: host.register(PRE, ACCEPT), "a hook function must be callable, <Verdict.ACCEPT: 1> is not"),
    (lambda host: host.register(PRE, good, "high"), "priority 'high' is not a whole number"),
    (lambda host: host.register(PRE, good, 0.5), "priority 0.5 is not a whole number"),
    (lambda host: host.register(PRE, good, None), "priority None is not a whole number"),
    (lambda host: host.register(PRE, good, 2**31), "priority 2147483648 is not a whole number that fits"),
    (lambda host: host.register(PRE, good, -(2**31) - 1), "priority -2147483649 is not a whole number that fits"),
    (lambda host: host.unregister(None), "None is not what register() returned"),
    (lambda host: host.unregister(good), "<function"),
    (lambda host: host.unregister(Registered(PRE, 0, good, "good")), "good is not registered on PRE_ROUTING"),
    (lambda host: queue_to(65536), "queue 65536: queues are numbered from 0 to 65535"),
    (lambda host: queue_to(-1), "queue -1: queues"),
    (lambda host: queue_to("0"), "queue '0': queues"),  # type: ignore[arg-type]
    (lambda host: host.queue(65536), "queue 65536: queues are numbered from 0 to 65535"),
    (lambda host: host.queue("0"), "queue '0': queues"),
    (lambda host: host.queue([]), "queue []: queues"),
]


@pytest.mark.parametrize(("mistake", "problem"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_one_line(mistake: Callable[[Host], Any], problem: str) -> None:
    with pytest.raises(NetlabError) as refused:
        mistake(router())
    assert str(refused.value).startswith(problem)
    assert "\n" not in str(refused.value)


def test_without_a_recording_the_verdicts_are_the_same() -> None:
    host = router()
    host.register(PRE, says(DROP))
    host.wires.recording = False
    seen: list[Packet] = []
    host.register(FORWARD, lambda packet, state: seen.append(packet) or ACCEPT)
    assert list(host.receive("eth0", UDP).events) == []
    assert seen == []


def test_a_function_may_send_packets_of_its_own_within_the_same_step() -> None:
    host = router()

    def answer(packet: Packet, state: Any) -> Verdict:
        if state.hook is PRE:
            host.send(Packet.udp("0.0.0.0", "10.0.1.2", 7, 7))
        return ACCEPT

    host.register(PRE, answer)
    trace = host.receive("eth0", UDP)
    assert [(frame.number, frame.dev) for frame in trace.out] == [(1, "eth0"), (0, "eth1")]
    assert not [event for event in trace.events if isinstance(event, Noted)]


@pytest.mark.parametrize("recording", [True, False])
def test_what_is_registered_on_the_way_is_called_from_the_next_packet_on(recording: bool) -> None:
    """A walk goes over the list as it was when it began (nf_hook_entries is replaced as a whole)."""
    host, called = Host("r", {"eth0": "10.0.1.1/24"}), []

    def late(packet: Packet, state: HookState) -> Verdict:
        called.append("late")
        return ACCEPT

    def early(packet: Packet, state: HookState) -> Verdict:
        called.append("early")
        if called == ["early"]:
            host.register(PRE, late, 10)
        return ACCEPT

    host.register(PRE, early)
    host.wires.recording = recording
    for _ in range(2):
        host.receive("eth0", Packet.udp("10.0.1.2", "10.0.1.1", 1, 2).to_bytes())
    assert called == ["early", "early", "late"]
