"""From probe events to a step's record, and the small parts of the kernel harness that need no kernel."""

import struct

import pytest

from netlab.kernel.bpf import Program
from netlab.kernel.isn import InitialNumbers
from netlab.kernel.listeners import Datagram
from netlab.kernel.netlink import attribute, attributes
from netlab.kernel.outside import Frame
from netlab.kernel.probes import Event, Kind
from netlab.kernel.record import Recorder, as_packet
from netlab.names import Hook
from netlab.packet import MF, Packet
from netlab.sockets import initial_number
from netlab.trace import Delivered, Dropped, Logged, Passed, Sent

PRE, IN, FWD, OUT, POST = Hook
UDP = Packet.udp("10.0.1.2", "10.0.2.2", 1111, 53, b"hello").with_(ip_id=7)
ETH0, ETH1, LO = 2, 3, 1


def recorder(**changes: object) -> Recorder:
    parts = {
        "hosts": {100: "router", 200: "server"},
        "devices": {"router": {1: "lo", 2: "eth0", 3: "eth1"}, "server": {1: "lo", 2: "eth0"}},
        "listening": {"router": frozenset({"udp/53", "tcp/80"})},
        "peers": {("router", "eth1"): "server:eth0", ("server", "eth0"): "router:eth1"},
        "tracked": frozenset(),
        "ruled": frozenset(),
        "undecided": "STOLEN",
    } | changes
    return Recorder(**parts)  # type: ignore[arg-type]


def passing(hook: Hook, packet: Packet, skb: int = 1, *, at: int = 100, come: int = 0, go: int = 0) -> list[Event]:
    """A buffer enters a hook and leaves it."""
    data = packet.to_bytes()
    return [Event(kind, at, skb, hook, come, go, data=data) for kind in (Kind.ENTERED, Kind.LEFT)]


def rows(made: Recorder) -> list[tuple[int, str, str]]:
    return [(event.number, event.host, event.hook.name) for event in made.close() if isinstance(event, Passed)]


def test_a_buffer_keeps_its_number_from_hook_to_hook() -> None:
    made = recorder()
    lower = UDP.with_(ttl=63)
    made.add([*passing(PRE, UDP, come=ETH0), *passing(FWD, lower, come=ETH0, go=ETH1), *passing(POST, lower, go=ETH1)])
    made.add_frames([Frame("router", "eth1", lower.to_bytes())])
    assert rows(made) == [(0, "router", "PRE_ROUTING"), (0, "router", "FORWARD"), (0, "router", "POST_ROUTING")]
    first, *_, last = made.events
    assert isinstance(first, Passed)
    assert (first.verdict, first.state, first.dev_in, first.dev_out) == ("ACCEPT", None, "eth0", None)
    assert last == Sent(0, "router", "eth1", lower, None, "server:eth0")


def test_over_a_link_or_lo_it_is_the_same_packet_whatever_the_buffer() -> None:
    made = recorder()
    made.add([*passing(OUT, UDP, 1, go=ETH1), *passing(POST, UDP, 1, go=ETH1), *passing(PRE, UDP, 9, at=200, come=2)])
    made.add([*passing(OUT, UDP.with_(ip_id=8), 1, go=LO), *passing(POST, UDP.with_(ip_id=8), 1, go=LO)])
    made.add(passing(PRE, UDP.with_(ip_id=8), 5, come=LO))
    assert [number for number, _, _ in rows(made)] == [0, 0, 0, 1, 1, 1]


def test_what_a_host_makes_is_a_packet_of_its_own_even_in_a_used_buffer() -> None:
    made = recorder()
    made.add([*passing(PRE, UDP, 1), *passing(OUT, Packet.icmp("10.0.1.1", "10.0.1.2", 3, 3), 1)])
    assert [number for number, _, _ in rows(made)] == [0, 1]


def test_a_broadcast_heard_by_its_sender_keeps_its_number() -> None:
    made = recorder()
    group = UDP.with_(dst="10.0.2.255")
    made.add([*passing(OUT, group, 1, go=ETH1), *passing(POST, group, 2, go=ETH1), *passing(PRE, group, 2, come=ETH1)])
    made.add(passing(POST, group, 1, go=ETH1))
    assert [number for number, _, _ in rows(made)] == [0, 0, 0, 0]


def test_fragments_have_numbers_of_their_own() -> None:
    made = recorder()
    whole = UDP.with_(payload=bytes(48))
    made.add([*passing(PRE, whole, come=ETH0), *passing(POST, whole, go=ETH1)])
    one, two = whole._replace(payload=bytes(24), frag=MF), whole._replace(payload=bytes(24), frag=3)
    made.add(passing(PRE, one, 7, at=200, come=2))
    made.add_frames([Frame("router", "eth1", piece.to_bytes()) for piece in (one, two)])
    assert rows(made)[-1] == (1, "server", "PRE_ROUTING")
    assert [event.number for event in made.close() if isinstance(event, Sent)] == [1, 2]


def test_dropped_before_any_hook() -> None:
    made = recorder()
    made.add([Event(Kind.DROPPED, 100, 1, data=UDP.to_bytes(), text="IP_CSUM")])
    made.add([Event(Kind.DROPPED, 100, 2, data=b"E", text="IP_INHDR")])
    assert made.close() == [Dropped(0, "router", "IP_CSUM", UDP), Dropped(1, "router", "IP_INHDR", None)]


def test_dropped_in_a_hook_or_kept_by_it() -> None:
    made = recorder(tracked=frozenset({"router"}))
    enter = passing(PRE, UDP)[0]
    made.add([enter, Event(Kind.DROPPED, 100, 1, tracking=2, data=UDP.to_bytes(), text="NETFILTER_DROP")])
    made.add([passing(FWD, UDP, 2)[0]])
    first, _, second = made.close()
    assert isinstance(first, Passed)
    assert (first.verdict, first.state) == ("DROP", "NEW")
    assert isinstance(second, Passed)
    assert second.verdict == "STOLEN"


@pytest.mark.parametrize(
    ("tracking", "state"),
    [(0, "INVALID"), (0xF000, "ESTABLISHED"), (0xF003, "ESTABLISHED"), (0xF001, "RELATED"), (0xF004, "RELATED"),
     (0xF002, "NEW"), (7, "UNTRACKED")],
)  # fmt: skip
def test_the_state_of_a_tracked_packet(tracking: int, state: str) -> None:
    made = recorder(tracked=frozenset({"router"}))
    enter, left = passing(PRE, UDP)
    made.add([enter, Event(Kind.LEFT, 100, 1, PRE, data=left.data, tracking=tracking)])
    (passed,) = made.close()
    assert isinstance(passed, Passed)
    assert passed.state == state


@pytest.mark.parametrize(
    ("tracks", "met", "tracking", "state"),
    [
        (True, False, 0, None),  # a rule in the table raw
        (True, False, 7, "UNTRACKED"),
        (True, False, 0xF002, None),  # what CT --helper has put there is no flow yet
        (True, True, 0, "INVALID"),
        (True, True, 0xF002, "NEW"),
        (False, True, 0, None),
        (None, True, 0, "unknown"),
    ],
)
def test_the_state_of_what_a_rule_drops(tracks: bool | None, met: bool, tracking: int, state: str | None) -> None:
    made = recorder(ruled=frozenset({"router"}))
    enter = passing(PRE, UDP)[0]._replace(tracks=tracks)
    behind = [Event(Kind.MET, 100, 1)] if met else []
    dropped = Event(Kind.DROPPED, 100, 1, tracking=tracking, data=UDP.to_bytes(), text="NETFILTER_DROP")
    made.add([enter, *behind, dropped])
    passed = made.close()[0]
    assert isinstance(passed, Passed)
    assert (passed.verdict, passed.state) == ("DROP", state)


@pytest.mark.parametrize(("answered", "verdict"), [(False, "QUEUE"), (True, "DROP")])
def test_a_queue_that_answers_drop_and_one_that_nobody_listens_to(answered: bool, verdict: str) -> None:
    made = recorder(ruled=frozenset({"router"}))
    enter = passing(FWD, UDP)[0]
    made.add([enter])
    if answered:
        made.queues_are_answered()
    made.add([Event(Kind.DROPPED, 100, 1, data=enter.data, text="NOT_SPECIFIED")])
    assert [event.verdict for event in made.close() if isinstance(event, Passed)] == [verdict]


@pytest.mark.parametrize(("left", "verdict"), [(True, "ACCEPT"), (False, "unknown")])
def test_who_sees_no_drops_does_not_know_what_conntrack_drops_last(left: bool, verdict: str) -> None:
    made = recorder(ruled=frozenset({"router"}), undecided="unknown")
    made.add(passing(POST, UDP, go=ETH1))
    made.add_frames([Frame("router", "eth1", UDP.to_bytes())] if left else [])
    first = made.close()[0]
    assert isinstance(first, Passed)
    assert first.verdict == verdict


def test_udp_is_delivered_when_the_socket_has_it() -> None:
    made = recorder()
    made.add(passing(IN, UDP))
    assert not [event for event in made.close() if isinstance(event, Delivered)]
    made.received.append(Datagram("router", "udp/53", UDP.saddr, 1111))
    assert [event.socket for event in made.close() if isinstance(event, Delivered)] == ["udp/53"]


@pytest.mark.parametrize(
    ("answer", "delivered"),
    [
        (None, []),
        (Packet.tcp("10.0.1.1", "10.0.1.2", 80, 5, "SA", ack=100), [0]),
        (Packet.tcp("10.0.1.1", "10.0.9.9", 80, 7, "SA", ack=100), [0]),  # NAT has given back what the sender had
        (Packet.tcp("10.0.1.1", "10.0.1.2", 80, 5, "SA", ack=99), []),
        (Packet.tcp("10.0.1.1", "10.0.1.2", 80, 5, "A", ack=100), []),
    ],
)
def test_a_syn_is_delivered_when_it_is_answered(answer: Packet | None, delivered: list[int]) -> None:
    made = recorder()
    syn = Packet.tcp("10.0.1.2", "10.0.1.1", 5, 80, "S", seq=99)
    made.add([*passing(IN, syn), *(passing(OUT, answer, 2) if answer else ())])
    assert [event.number for event in made.close() if isinstance(event, Delivered)] == delivered


def test_log_lines_belong_to_the_host_that_had_a_packet_last() -> None:
    made = recorder()
    line = "IPv4: martian source 10.0.2.2 from 127.0.0.1, on dev eth0"
    made.add(
        [*passing(PRE, UDP, at=200), Event(Kind.LOGGED, 0, text=line), Event(Kind.LOGGED, 0, text="ll header: 00")]
    )
    assert made.close()[1:] == [Logged(0, "server", line)]


def test_it_awaits_what_is_neither_gone_nor_dropped() -> None:
    made = recorder()
    made.add(passing(POST, UDP, go=ETH1))
    assert made.awaits({("router", "eth1")})
    assert not made.awaits({("router", "eth0")})
    made.add_frames([Frame("router", "eth1", UDP.to_bytes())])
    assert not made.awaits({("router", "eth1")})


def test_a_packet_cut_short_is_still_one() -> None:
    assert as_packet(UDP.to_bytes()) == UDP
    assert as_packet(UDP.to_bytes()[:24]).dport == 53
    assert as_packet(b"").proto == 0


# ---------------------------------------------------------------- sequence numbers


def test_acknowledgements_count_from_the_simulators_number() -> None:
    numbers = InitialNumbers()
    numbers.learn("server", Packet.tcp("10.0.1.1", "10.0.1.2", 80, 4000, "SA", seq=0xFFFFFFF0, ack=101))
    written = Packet.tcp("10.0.1.2", "10.0.1.1", 4000, 80, "A", seq=101, ack=initial_number(1) + 1)
    sent = Packet.from_bytes(numbers.translate("server", written.to_bytes()))
    assert (sent.l4.ack, sent.checksum_ok()) == (0xFFFFFFF1, True)  # type: ignore[union-attr]
    assert numbers.translate("client", written.to_bytes()) == written.to_bytes()
    assert numbers.translate("server", b"E") == b"E"


# ---------------------------------------------------------------- netlink and BPF


def test_attributes_are_read_with_their_padding_and_nesting() -> None:
    nested = struct.pack("=HH", 4 + 8, 0x8000 | 5) + attribute(1, 42)
    data = struct.pack("=HH3sx", 7, 2, b"lo\0") + nested
    assert attributes(data) == {2: b"lo\0", 5: attribute(1, 42)}
    assert attributes(attributes(data)[5]) == {1: struct.pack("=I", 42)}
    assert attributes(b"\0\0\0\0") == {}


def test_jumps_are_counted_in_instructions() -> None:
    program = Program()
    program.jump_equal(1, 5, "end")
    program.map_address(2, 9)
    program.label("end")
    program.leave(0)
    code = program.assemble()
    assert len(code) == 8 * 5
    assert struct.unpack_from("<BBhi", code) == (0x15, 1, 2, 5)
    assert struct.unpack_from("<BBhi", code, 32) == (0x95, 0, 0, 0)
