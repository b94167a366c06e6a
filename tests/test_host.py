"""The way through one host, in the kernel's order.

What is expected here is what Linux 6.18 did with the same packets on the same machine.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.host import Host
from netlab.names import ACCEPT, DROP, QUEUE, Hook, NetlabError, Verdict
from netlab.packet import Icmp, Packet
from netlab.route_text import parse_route
from netlab.topology import Network
from netlab.trace import Noted, Passed, Routed, Sent, Trace

PRE, IN, FORWARD, OUT, POST = Hook
CLIENT, ROUTER, ROUTER_2, SERVER = "10.0.1.2", "10.0.1.1", "10.0.2.1", "10.0.2.2"
UDP = Packet.udp(CLIENT, SERVER, 5000, 53, b"hello")
ANYONE = "0.0.0.0"


def router(*, forward: int = 1, sysctls: dict[str, int] | None = None, **options: Any) -> Host:
    interfaces = {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}
    return Host("router", interfaces, sysctls={"net.ipv4.ip_forward": forward, **(sysctls or {})}, **options)


def rows(trace: Trace) -> list[tuple[int, Hook, str | None, str | None]]:
    return [(row.number, row.hook, row.dev_in, row.dev_out) for row in trace.path]


def order(trace: Trace) -> list[str]:
    """Hooks, frames and ends, in the order in which they came: `0 FORWARD`, `1 sent eth0`, `0 dropped IP_INHDR`."""
    shown = []
    for event in trace.events:
        if isinstance(event, Passed):
            shown.append(f"{event.number} {event.hook}")
        elif isinstance(event, Sent):
            shown.append(f"{event.number} sent {event.dev}")
    return shown + [f"{drop.number} dropped {drop.reason}" for drop in trace.dropped]


def error(trace: Trace) -> tuple[int, int] | None:
    """Type and code of the ICMP error that left."""
    for frame in trace.out:
        message = frame.packet.l4
        if isinstance(message, Icmp) and message.is_error:
            return message.type, message.code
    return None


def reasons(trace: Trace) -> list[str]:
    return [str(drop.reason) for drop in trace.dropped]


# ---------------------------------------------------------------- the four cases


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (
            lambda host: host.receive("eth0", UDP.with_(dst=ROUTER)),
            [(0, PRE, "eth0", None), (0, IN, "eth0", None)],
        ),
        (
            lambda host: host.receive("eth0", UDP),
            [(0, PRE, "eth0", None), (0, FORWARD, "eth0", "eth1"), (0, POST, "eth0", "eth1")],
        ),
        (
            lambda host: host.send(Packet.udp(ANYONE, SERVER, 5000, 53)),
            [(0, OUT, None, "eth1"), (0, POST, None, "eth1")],
        ),
        (
            lambda host: host.send(Packet.udp(ANYONE, ROUTER, 5000, 53)),
            [(0, OUT, None, "lo"), (0, POST, None, "lo"), (0, PRE, "lo", None), (0, IN, "lo", None)],
        ),
        (
            lambda host: host.send(Packet.udp(ANYONE, "127.0.0.1", 5000, 53)),
            [(0, OUT, None, "lo"), (0, POST, None, "lo"), (0, PRE, "lo", None), (0, IN, "lo", None)],
        ),
    ],
    ids=["to the host", "through it", "from it", "to itself", "to 127.0.0.1"],
)
def test_the_hooks_of_the_four_cases(act: Callable[[Host], Trace], expected: list[Any]) -> None:
    trace = act(router(listen=["udp/53"]))
    assert rows(trace) == expected
    assert trace.dropped == []
    assert len(trace.delivered) == (expected[-1][1] is IN)
    assert [row.verdict for row in trace.path] == ["ACCEPT"] * len(expected)


def test_the_order_of_what_happens_to_a_forwarded_packet() -> None:
    trace = router().receive("eth0", UDP)
    assert [type(event).__name__ for event in trace.events] == [
        "Received", "Passed", "Routed", "Passed", "Passed", "Sent",
    ]  # fmt: skip
    (frame,) = trace.out
    assert (frame.dev, frame.next_hop, frame.peer, frame.packet) == ("eth1", SERVER, None, UDP.with_(ttl=63))
    assert [row.packet.ttl for row in trace.path] == [64, 63, 63]


def test_the_order_of_what_happens_to_a_packet_made_here() -> None:
    trace = router().send(Packet.udp(ANYONE, SERVER, 5000, 53))
    assert [type(event).__name__ for event in trace.events] == ["Emitted", "Routed", "Passed", "Passed", "Sent"]
    assert (trace.out[0].packet.src, trace.out[0].packet.ttl) == (ROUTER_2, 64)
    assert trace.out[0].packet.checksum_ok()


def test_the_other_interfaces_address_is_the_hosts_own_too() -> None:
    trace = router(listen=["udp/53"]).receive("eth0", UDP.with_(dst=ROUTER_2))
    assert [hook for _, hook, *_ in rows(trace)] == [PRE, IN]


def test_a_gateway_is_the_next_hop() -> None:
    host = router(routes=["10.9.0.0/16 via 10.0.2.9"])
    (frame,) = host.receive("eth0", UDP.with_(dst="10.9.1.1")).out
    assert (frame.dev, frame.next_hop) == ("eth1", "10.0.2.9")


# ---------------------------------------------------------------- before any hook


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "IP_INHDR"),
        (b"\x46" + UDP.to_bytes()[1:20], "IP_INHDR"),
        (b"\x65" + UDP.to_bytes()[1:], "IP_INHDR"),
        (UDP.to_bytes()[:-1], "PKT_TOO_SMALL"),
        (UDP.to_bytes()[:10] + b"\0\0" + UDP.to_bytes()[12:], "IP_CSUM"),
    ],
)
def test_broken_bytes_never_reach_a_hook(data: bytes, reason: str) -> None:
    trace = router().receive("eth0", data)
    assert trace.path == trace.out == []
    assert reasons(trace) == [reason]


def test_bytes_are_as_good_as_a_packet_and_padding_is_cut_off() -> None:
    assert router().receive("eth0", UDP.to_bytes() + bytes(18)).out[0].packet == UDP.with_(ttl=63)


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda tail: UDP.to_bytes()[:20] + tail))
def test_no_bytes_bring_a_host_down(data: bytes) -> None:
    host = router(listen=["udp/53", "tcp/80"])
    assert len(host.receive("eth1", data).steps) == 1


# ---------------------------------------------------------------- ttl


@pytest.mark.parametrize("ttl", [0, 1])
def test_a_packet_whose_ttl_runs_out_never_reaches_forward(ttl: int) -> None:
    trace = router().receive("eth0", UDP.with_(ttl=ttl))
    assert order(trace) == ["0 PRE_ROUTING", "1 LOCAL_OUT", "1 POST_ROUTING", "1 sent eth0", "0 dropped IP_INHDR"]
    (frame,) = trace.out
    assert error(trace) == (11, 0)
    assert (frame.packet.src, frame.packet.dst, frame.packet.quoted) == (ROUTER, CLIENT, UDP.with_(ttl=ttl))


def test_ttl_two_is_enough_for_one_hop() -> None:
    assert router().receive("eth0", UDP.with_(ttl=2)).out[0].packet.ttl == 1


@pytest.mark.parametrize("ttl", [0, 1])
def test_local_delivery_does_not_look_at_the_ttl(ttl: int) -> None:
    assert router(listen=["udp/53"]).receive("eth0", UDP.with_(dst=ROUTER, ttl=ttl)).delivered


def test_the_route_is_looked_up_before_the_ttl_is_looked_at() -> None:
    trace = router().receive("eth0", UDP.with_(dst="10.9.9.9", ttl=1))
    assert (error(trace), reasons(trace)) == ((3, 0), ["IP_INNOROUTES"])


# ---------------------------------------------------------------- no way on


@pytest.mark.parametrize(
    ("route", "expected", "reason"),
    [
        (None, (3, 0), "IP_INNOROUTES"),
        ("throw 10.9.0.0/16", (3, 0), "IP_INNOROUTES"),
        ("unreachable 10.9.0.0/16", (3, 1), "NOT_SPECIFIED"),
        ("prohibit 10.9.0.0/16", (3, 13), "NOT_SPECIFIED"),
        ("blackhole 10.9.0.0/16", None, "NOT_SPECIFIED"),
    ],
)
def test_what_a_sender_hears_of_a_missing_route(
    route: str | None, expected: tuple[int, int] | None, reason: str
) -> None:
    packet, routes = UDP.with_(dst="10.9.9.9"), [route] if route else []
    trace = router(routes=routes).receive("eth0", packet)
    assert (error(trace), reasons(trace)) == (expected, [reason])
    if expected:
        assert order(trace) == [
            "0 PRE_ROUTING", "1 LOCAL_OUT", "1 POST_ROUTING", "1 sent eth0", f"0 dropped {reason}",
        ]  # fmt: skip

    closed = router(routes=routes, forward=0).receive("eth0", packet)
    assert (error(closed), reasons(closed)) == (None, ["IP_INADDRERRORS"])


def test_without_ip_forward_nothing_is_forwarded() -> None:
    trace = router(forward=0).receive("eth0", UDP)
    assert [row.hook for row in trace.path] == [PRE]
    assert reasons(trace) == ["IP_INADDRERRORS"]
    assert trace.out == []


@pytest.mark.parametrize(
    ("route", "errno"),
    [
        (None, "ENETUNREACH"),
        ("throw 10.9.0.0/16", "ENETUNREACH"),
        ("blackhole 10.9.0.0/16", "EINVAL"),
        ("unreachable 10.9.0.0/16", "EHOSTUNREACH"),
        ("prohibit 10.9.0.0/16", "EACCES"),
    ],
)
def test_what_a_local_sender_hears_of_a_missing_route(route: str | None, errno: str) -> None:
    trace = router(routes=[route] if route else []).send(Packet.udp(ANYONE, "10.9.9.9", 1, 2))
    assert trace.errno == errno
    assert trace.path == trace.dropped == trace.out == []


def test_no_error_goes_to_where_there_is_no_route_back() -> None:
    trace = router().receive("eth0", UDP.with_(src="10.7.7.7", ttl=1))
    assert trace.out == []
    assert reasons(trace) == ["IP_INHDR"]


def test_an_error_comes_from_the_address_of_the_way_back_or_of_the_way_in() -> None:
    # The source lives behind eth1, and the packet came in by eth0.
    packet = UDP.with_(src=SERVER, dst="10.9.9.9")
    assert router().receive("eth0", packet).out[0].packet.src == ROUTER_2
    host = router(sysctls={"net.ipv4.icmp_errors_use_inbound_ifaddr": 1})
    assert host.receive("eth0", packet).out[0].packet.src == ROUTER


# ---------------------------------------------------------------- redirects


def test_a_redirect_goes_first_and_the_packet_is_forwarded_all_the_same() -> None:
    host = router(routes=["10.9.0.0/16 via 10.0.1.9"])
    packet = UDP.with_(dst="10.9.9.9")
    trace = host.receive("eth0", packet)
    assert order(trace) == [
        "0 PRE_ROUTING", "1 LOCAL_OUT", "1 POST_ROUTING", "1 sent eth0",
        "0 FORWARD", "0 POST_ROUTING", "0 sent eth0",
    ]  # fmt: skip
    redirect = trace.out[0].packet
    assert isinstance(redirect.l4, Icmp)
    assert (redirect.l4.type, redirect.l4.code, redirect.l4.gateway) == (5, 1, 0x0A000109)
    assert redirect.quoted == packet.with_(ttl=63)  # it was counted down already
    assert trace.out[1].packet == packet.with_(ttl=63)
    assert len(host.receive("eth0", packet).out) == 1  # once a source, for a while


@pytest.mark.parametrize(
    ("sysctls", "packet", "redirected"),
    [
        ({}, UDP.with_(dst="10.0.1.7"), True),  # on-link: the destination itself is the better gateway
        ({}, UDP.with_(dst="10.9.9.9", src="10.8.8.8"), False),  # its sender is not on this link
        ({}, UDP.with_(dst="10.9.9.9", ttl=1), False),
        ({}, UDP.with_(dst=SERVER), False),
        ({"net.ipv4.conf.all.send_redirects": 0}, UDP.with_(dst="10.9.9.9"), True),  # all OR the interface
        (
            {"net.ipv4.conf.all.send_redirects": 0, "net.ipv4.conf.eth0.send_redirects": 0},
            UDP.with_(dst="10.9.9.9"),
            False,
        ),
    ],
)
def test_when_a_redirect_is_sent(sysctls: dict[str, int], packet: Packet, redirected: bool) -> None:
    host = router(routes=["10.9.0.0/16 via 10.0.1.9", "10.8.0.0/16 via 10.0.1.8"], sysctls=sysctls)
    found = [frame.packet.l4 for frame in host.receive("eth0", packet).out]
    assert any(isinstance(one, Icmp) and one.type == 5 for one in found) is redirected


# ---------------------------------------------------------------- mtu

BIG = Packet.udp(CLIENT, SERVER, 5000, 53, bytes(1000), ip_id=9)


def test_df_and_too_big_is_an_error_before_forward_that_quotes_the_packet_as_it_came() -> None:
    trace = router(mtu={"eth1": 600}).receive("eth0", BIG.with_(df=True))
    assert order(trace) == ["0 PRE_ROUTING", "1 LOCAL_OUT", "1 POST_ROUTING", "1 sent eth0", "0 dropped PKT_TOO_BIG"]
    message = trace.out[0].packet.l4
    assert isinstance(message, Icmp)
    assert (message.type, message.code, message.mtu) == (3, 4, 600)
    assert trace.out[0].packet.quoted is not None
    assert trace.out[0].packet.quoted.ttl == 64
    assert trace.out[0].packet.length == 576


def test_without_df_it_is_cut_after_post_routing() -> None:
    trace = router(mtu={"eth1": 600}).receive("eth0", BIG)
    assert [row.hook for row in trace.path] == [PRE, FORWARD, POST]
    assert [row.packet.length for row in trace.path] == [1028] * 3
    assert [(frame.packet.length, frame.packet.frag_offset, frame.packet.mf) for frame in trace.out] == [
        (596, 0, True),
        (452, 576, False),
    ]
    assert {frame.packet.ttl for frame in trace.out} == {63}
    assert len({frame.number for frame in trace.out}) == 2


@pytest.mark.parametrize("df", [False, True])
def test_exactly_the_mtu_passes(df: bool) -> None:
    trace = router(mtu={"eth1": 1028}).receive("eth0", BIG.with_(df=df))
    assert [frame.packet.length for frame in trace.out] == [1028]


def test_the_mtu_of_a_route_counts_too() -> None:
    host = router(routes=["10.9.0.0/16 via 10.0.2.9 mtu 600"])
    assert len(host.receive("eth0", BIG.with_(dst="10.9.9.9")).out) == 2


def test_a_raw_socket_cannot_send_more_than_the_mtu() -> None:
    trace = router(mtu={"eth1": 600}).send(BIG.with_(src=ANYONE))
    assert trace.errno == "EMSGSIZE"
    assert trace.path == []


def test_the_ttl_is_looked_at_before_the_size() -> None:
    assert error(router(mtu={"eth1": 600}).receive("eth0", BIG.with_(df=True, ttl=1))) == (11, 0)


# ---------------------------------------------------------------- fragments


def pieces(packet: Packet = BIG) -> list[Packet]:
    return [frame.packet.with_(ttl=64) for frame in router(mtu={"eth1": 600}).receive("eth0", packet).out]


def test_fragments_are_forwarded_as_they_are() -> None:
    host = router()
    for piece in pieces():
        trace = host.receive("eth0", piece)
        assert [row.hook for row in trace.path] == [PRE, FORWARD, POST]
        assert trace.out[0].packet == piece.with_(ttl=63)


@pytest.mark.parametrize("backwards", [False, True])
def test_fragments_for_the_host_are_put_together_before_local_in(backwards: bool) -> None:
    host = router()
    socket = host.sockets.udp(53)
    first, last = sorted(pieces(BIG)[:2], key=lambda piece: piece.frag_offset, reverse=backwards)
    first, last = (piece._replace(daddr=0x0A000101) for piece in (first, last))
    whole = BIG.with_(dst=ROUTER).payload
    fix = {0: whole[:576], 576: whole[576:]}
    first, last = (piece._replace(payload=fix[piece.frag_offset]) for piece in (first, last))
    assert [row.hook for row in host.receive("eth0", first).path] == [PRE]
    trace = host.receive("eth0", last)
    assert [(row.hook, row.packet.length) for row in trace.path] == [(PRE, last.length), (IN, 1028)]
    assert socket.received == [(CLIENT, 5000, bytes(1000))]


def test_fragments_that_never_become_whole_are_given_up_with_an_error() -> None:
    net = Network()
    host = net.host("router", {"eth0": "10.0.1.1/24"})
    piece = Packet.ip(CLIENT, ROUTER, 17, bytes(16), mf=True, ip_id=5)
    host.receive("eth0", piece)
    assert net.advance(29.9).out == []
    trace = net.advance(0.1)
    assert (error(trace), reasons(trace)) == ((11, 1), ["FRAG_REASM_TIMEOUT"])
    assert trace.out[0].packet.quoted == piece
    host.receive("eth0", piece.with_(frag_offset=16))
    trace = net.advance(31)
    assert trace.out == trace.dropped == []  # without the first fragment nothing can be told


def test_how_long_to_wait_is_a_setting() -> None:
    net = Network()
    host = net.host("router", {"eth0": "10.0.1.1/24"}, sysctls={"net.ipv4.ipfrag_time": 2})
    host.receive("eth0", Packet.ip(CLIENT, ROUTER, 17, bytes(16), mf=True))
    assert net.advance(1).dropped == []
    assert len(net.advance(1).dropped) == 1


def test_with_defragmentation_on_the_hooks_see_one_packet_and_the_fragments_leave_as_they_came() -> None:
    host = router()
    host.defragment()
    seen: list[tuple[int, int]] = []

    def look(priority: int) -> Callable[[Packet, Any], Verdict]:
        return lambda packet, state: seen.append((priority, packet.length)) or ACCEPT

    for priority in (-450, -350):
        host.register(PRE, look(priority), priority)
    first, last = pieces()
    trace = host.receive("eth0", first)
    assert [(row.hook, row.verdict) for row in trace.path] == [(PRE, "STOLEN")]
    trace = host.receive("eth0", last)
    assert [(row.hook, row.packet.length) for row in trace.path] == [(PRE, 1028), (FORWARD, 1028), (POST, 1028)]
    assert seen == [(-450, 596), (-450, 452), (-350, 1028)]
    assert [frame.packet.with_(ttl=64) for frame in trace.out] == [first, last]

    host.defragment(False)
    assert len(host.receive("eth0", first).path) == 3
    assert "ipv4_conntrack_defrag" not in str(host.hooks)


def test_with_defragmentation_on_a_fragment_twice_is_dropped_by_name() -> None:
    host = router()
    host.defragment()
    host.defragment()  # once is enough
    assert str(host.hooks).count("ipv4_conntrack_defrag") == 2
    first, _ = pieces()
    host.receive("eth0", first)
    assert reasons(host.receive("eth0", first)) == ["DUP_FRAG"]


# ---------------------------------------------------------------- changed on the way


def changing(host: Host, hook: Hook, **changes: Any) -> Host:
    host.register(hook, lambda packet, state: (ACCEPT, packet.with_(**changes)))
    return host


def test_a_destination_rewritten_in_pre_routing_changes_the_route() -> None:
    trace = changing(router(), PRE, dst=ROUTER).receive("eth0", UDP)
    assert [row.hook for row in trace.path if row.number == 0] == [PRE, IN]
    trace = changing(router(listen=["udp/53"]), PRE, dst=SERVER).receive("eth0", UDP.with_(dst=ROUTER))
    assert [row.hook for row in trace.path] == [PRE, FORWARD, POST]


def test_a_mark_set_in_pre_routing_picks_the_table() -> None:
    host = router(rules=["fwmark 0x1 table 100"], routes=["10.0.2.0/24 via 10.0.1.9 table 100"])
    assert host.receive("eth0", UDP.with_(src="10.0.1.3")).out[-1].dev == "eth1"
    assert changing(host, PRE, mark=1).receive("eth0", UDP).out[-1].next_hop == "10.0.1.9"


def test_a_source_rewritten_in_pre_routing_is_checked_as_rewritten() -> None:
    assert reasons(changing(router(), PRE, src=ROUTER).receive("eth0", UDP)) == ["IP_LOCAL_SOURCE"]


def test_a_destination_rewritten_in_local_out_is_routed_again() -> None:
    host = changing(router(), OUT, dst=SERVER)
    trace = host.send(Packet.udp(ANYONE, CLIENT, 1, 2))
    assert [(row.hook, row.dev_out) for row in trace.path] == [(OUT, "eth0"), (POST, "eth1")]
    assert trace.out[0].packet.dst == SERVER
    assert trace.out[0].packet.src == ROUTER  # chosen before, and kept
    assert len([event for event in trace.events if isinstance(event, Routed)]) == 2


def test_a_mark_set_in_local_out_is_routed_again() -> None:
    host = router(rules=["fwmark 0x1 table 100"], routes=["10.0.2.0/24 via 10.0.1.9 table 100"])
    trace = changing(host, OUT, mark=1).send(Packet.udp(ANYONE, SERVER, 1, 2))
    assert (trace.out[0].dev, trace.out[0].next_hop) == ("eth0", "10.0.1.9")


def test_a_destination_rewritten_in_local_out_may_lead_home() -> None:
    trace = changing(router(listen=["udp/2"]), OUT, dst=ROUTER).send(Packet.udp(ANYONE, CLIENT, 1, 2))
    assert rows(trace) == [(0, OUT, None, "eth0"), (0, POST, None, "lo"), (0, PRE, "lo", None), (0, IN, "lo", None)]


def test_a_destination_rewritten_on_lo_is_routed_anew() -> None:
    trace = changing(router(), PRE, dst=SERVER).send(Packet.udp(ANYONE, ROUTER, 1, 2))
    # Out of lo comes a packet from an address of the host's own: a martian, once the route is looked up again.
    assert reasons(trace) == ["IP_LOCAL_SOURCE"]
    assert [row.hook for row in trace.path] == [OUT, POST, PRE]


@pytest.mark.parametrize("hook", [FORWARD, POST], ids=str)
def test_after_the_route_decision_a_new_destination_changes_nothing_of_the_way(hook: Hook) -> None:
    trace = changing(router(), hook, dst="10.0.1.77").receive("eth0", UDP)
    assert (trace.out[0].dev, trace.out[0].next_hop, trace.out[0].packet.dst) == ("eth1", SERVER, "10.0.1.77")


def test_rewritten_in_local_out_to_where_no_route_leads() -> None:
    trace = changing(router(), OUT, dst="10.9.9.9").send(Packet.udp(ANYONE, SERVER, 1, 2))
    assert [(row.hook, row.verdict) for row in trace.path] == [(OUT, "DROP")]
    assert trace.out == []
    assert reasons(trace) == ["NETFILTER_DROP"]
    assert trace.errno == "ENETUNREACH"


def test_what_is_dropped_is_not_routed_again() -> None:
    host = router()
    host.register(OUT, lambda packet, state: (DROP, packet.with_(dst="10.9.9.9")))
    trace = host.send(Packet.udp(ANYONE, SERVER, 1, 2))
    assert (reasons(trace), trace.errno) == (["NETFILTER_DROP"], "EPERM")
    assert len([event for event in trace.events if isinstance(event, Routed)]) == 1


# ---------------------------------------------------------------- broadcast


def test_the_hosts_own_broadcast_is_sent_and_heard() -> None:
    trace = router(listen=["udp/2"]).send(Packet.udp(ANYONE, "10.0.1.255", 1, 2))
    assert rows(trace) == [
        (0, OUT, None, "eth0"), (0, POST, None, "eth0"), (0, PRE, "eth0", None), (0, IN, "eth0", None),
        (0, POST, None, "eth0"),
    ]  # fmt: skip
    assert [frame.dev for frame in trace.out] == ["eth0"]
    assert [one.socket for one in trace.delivered] == ["udp/2"]


@pytest.mark.parametrize("dst", ["255.255.255.255", "10.0.1.255", "10.0.2.255", "224.0.0.1"])
def test_broadcasts_go_up_and_never_on(dst: str) -> None:
    trace = router(listen=["udp/53"]).receive("eth0", UDP.with_(dst=dst))
    assert [row.hook for row in trace.path] == [PRE, IN]
    assert trace.out == []
    assert len(trace.delivered) == 1


# ---------------------------------------------------------------- a link, and nobody there


def test_on_a_link_only_the_peers_addresses_answer() -> None:
    net = Network()
    host = net.host("router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, sysctls={"net.ipv4.ip_forward": 1})
    net.host("server", {"eth0": "10.0.2.2/24"})
    net.link("router:eth1", "server:eth0")
    trace = host.receive("eth0", UDP.with_(dst="10.0.2.3"))
    assert (error(trace), reasons(trace)) == ((3, 1), ["NEIGH_FAILED"])
    assert [row.host for row in host.receive("eth0", UDP).path][:5] == ["router"] * 3 + ["server"] * 2


def test_a_packet_keeps_its_number_from_host_to_host() -> None:
    net = Network()
    hosts = [net.host(f"r{n}", {"eth0": f"10.0.{n}.1/24", "eth1": f"10.0.{n + 1}.2/24"},
                      sysctls={"net.ipv4.ip_forward": 1}, routes=[f"10.0.9.0/24 via 10.0.{n + 1}.1"])
             for n in range(1, 4)]  # fmt: skip
    net.link("r1:eth1", "r2:eth0")
    net.link("r2:eth1", "r3:eth0")
    trace = hosts[0].receive("eth0", UDP.with_(dst="10.0.9.9"))
    assert {row.number for row in trace.path} == {0}
    assert [row.host for row in trace.path] == ["r1"] * 3 + ["r2"] * 3 + ["r3"] * 3
    assert [frame.packet.ttl for frame in trace.out] == [63, 62, 61]
    assert [frame.peer for frame in trace.out] == ["r2:eth0", "r3:eth0", None]


def test_a_loop_of_routes_ends_with_the_ttl() -> None:
    net = Network()
    for one, other in (("1", "2"), ("2", "1")):
        net.host(f"r{one}", {"eth0": f"10.0.0.{one}/24", "eth1": f"10.0.{one}.1/24"},
                 sysctls={"net.ipv4.ip_forward": 1}, routes=[f"default via 10.0.0.{other}"])  # fmt: skip
    net.link("r1:eth0", "r2:eth0")
    trace = net.hosts["r1"].receive("eth1", Packet.udp("10.0.1.2", "9.9.9.9", 1, 2, ttl=10))
    assert "IP_INHDR" in reasons(trace)
    assert len([row for row in trace.path if row.number == 0 and row.hook is FORWARD]) == 9


# ---------------------------------------------------------------- errors are limited


def test_icmp_ratelimit_holds_errors_back_per_destination() -> None:
    net = Network()
    host = net.host("router", {"eth0": "10.0.1.1/24"}, sysctls={"net.ipv4.icmp_ratelimit": 1000})
    packet = Packet.udp(CLIENT, ROUTER, 1, 2)
    sent = [len(host.receive("eth0", packet).out) for _ in range(8)]
    assert sent == [1] * 6 + [0] * 2
    trace = host.receive("eth0", packet)
    assert "no error is sent: icmp_ratelimit" in [event.text for event in trace.events if isinstance(event, Noted)]
    assert len(host.receive("eth0", packet.with_(src="10.0.1.3")).out) == 1
    net.advance(1)
    assert [len(host.receive("eth0", packet).out) for _ in range(2)] == [1, 0]


# ---------------------------------------------------------------- raw sockets


@pytest.mark.parametrize(
    ("packet", "sent"),
    [
        (Packet.udp(ANYONE, SERVER, 1, 2), {"src": ROUTER_2}),
        (Packet.udp("9.9.9.9", SERVER, 1, 2), {"src": "9.9.9.9"}),
        (Packet.udp(ANYONE, SERVER, 1, 2, ttl=0), {"ttl": 0}),
        (Packet.udp(ANYONE, SERVER, 1, 2).with_(checksum=5), {"checksum": None}),
    ],
)
def test_a_raw_socket_takes_the_header_as_it_is_and_fills_in_the_rest(packet: Packet, sent: dict[str, Any]) -> None:
    (frame,) = router().send(packet).out
    assert {name: getattr(frame.packet, name) for name in sent} == sent
    assert frame.packet.checksum_ok()


def test_a_raw_socket_writes_the_total_length_itself() -> None:
    data = Packet.udp("9.9.9.9", SERVER, 1, 2, b"abc").to_bytes()
    (frame,) = router().send(data[:2] + b"\xff\xff" + data[4:]).out
    assert frame.packet.to_bytes()[20:] == data[20:]


# ---------------------------------------------------------------- mistakes, and showing it

MISTAKES: list[tuple[Callable[[], Any], str]] = [
    (lambda: router().receive("eth9", UDP), "unknown interface 'eth9' of host router (it has lo, eth0, eth1)"),
    (lambda: router().receive(None, UDP), "unknown interface None of host router"),
    (lambda: router().receive("eth0", "450000"), "'450000' is no packet: bytes are expected"),
    (lambda: router().receive("eth0", None), "None is no packet: bytes are expected"),
    (lambda: router().receive(UDP, "eth0"), "unknown interface <Packet"),
    (lambda: router().send(b""), "header: 0 bytes, an IPv4 header has at least 20"),
    (lambda: router().send("x"), "'x' is no packet"),
    (lambda: Host(""), "'' is no name for a host"),
    (lambda: Host("a b"), "'a b' is no name for a host"),
    (lambda: Host("a:b"), "'a:b' is no name for a host"),
    (lambda: Host(5), "5 is no name for a host"),
    (lambda: Host("r", "eth0"), "interfaces: a dict is expected, not 'eth0'"),
    (lambda: Host("r", ["eth0"]), "interfaces: a dict is expected, not ['eth0']"),
    (lambda: Host("r", {"eth0": 5}), "the addresses of eth0: text or a list of texts is expected, not 5"),
    (lambda: Host("r", {"eth0": [5]}), "the addresses of eth0: text or a list of texts is expected, not [5]"),
    (lambda: Host("r", {"eth0": "10.0.1/24"}), "'10.0.1' is not an IPv4 address"),
    (lambda: Host("r", {"eth0": "10.0.1.1/33"}), "'10.0.1.1/33': '33' is neither a prefix length"),
    (lambda: Host("r", {"": "10.0.1.1/24"}), "'' is no name for an interface"),
    (lambda: Host("r", {"a/b": "10.0.1.1/24"}), "'a/b' is no name for an interface"),
    (lambda: Host("r", {"..": "10.0.1.1/24"}), "'..' is no name for an interface"),
    (lambda: Host("r", {"x" * 16: "10.0.1.1/24"}), "'xxxxxxxxxxxxxxxx' is no name for an interface"),
    (lambda: Host("r", {0: "10.0.1.1/24"}), "0 is no name for an interface"),
    (lambda: router(mtu={"eth9": 1500}), "mtu: unknown interface 'eth9' (there are lo, eth0, eth1)"),
    (lambda: router(mtu={"eth0": "1500"}), "mtu of eth0: '1500' is not a number from 68 to 65536"),
    (lambda: router(mtu={"eth0": 67}), "mtu of eth0: 67 is not a number"),
    (lambda: router(mtu=1500), "mtu: a dict is expected, not 1500"),
    (lambda: router(routes=5), "routes: text or a list of texts is expected, not 5"),
    (lambda: router(routes=["10.0.0.0/8 over there"]), ""),
    (lambda: router(routes=["default via 10.7.7.7"]), ""),
    (lambda: router(rules=["fwmark x table 5"]), ""),
    (lambda: router(listen=["tcp"]), "'tcp' is not a socket like tcp/80 or udp/53"),
    (lambda: router(listen=80), "listen: text or a list of texts is expected, not 80"),
    (lambda: router(listen=["tcp/80", "tcp/80"]), "router: tcp/80 is open already"),
    (lambda: router(sysctls={"net.ipv4.ip_forwrd": 1}), "unknown sysctl 'net.ipv4.ip_forwrd'; did you mean net.ipv4"),
    (lambda: router(sysctls={"net.ipv4.conf.eth7.rp_filter": 1}), "unknown sysctl 'net.ipv4.conf.eth7.rp_filter'"),
    (lambda: Host("r", sysctls=["net.ipv4.ip_forward"]), "sysctls: a dict is expected"),
    (lambda: Host("r", sysctls={"net.ipv4.ip_forward": "on"}), "net.ipv4.ip_forward: 'on' is not a whole number"),
    (lambda: Host("r", sysctls={"net.ipv4.ip_forward": None}), "net.ipv4.ip_forward: None is not a whole number"),
    (lambda: Host("r", kernel="4.9"), "kernel: '4.9' is not a version like (6, 18)"),
    (lambda: Host("r", kernel=(4,)), "kernel: (4,) is not a version"),
]


@pytest.mark.parametrize(("mistake", "problem"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_one_line(mistake: Callable[[], Any], problem: str) -> None:
    with pytest.raises(NetlabError) as refused:
        mistake()
    assert str(refused.value).startswith(problem)
    assert "\n" not in str(refused.value)


def test_a_mistake_leaves_the_host_usable() -> None:
    host = router()
    with pytest.raises(NetlabError):
        host.receive("eth9", UDP)
    assert len(host.receive("eth0", UDP).out) == 1


def test_a_host_shows_itself() -> None:
    host = Host("r<1>", {"eth0": "10.0.1.1/24", "eth1": ["10.0.2.1/24", "10.0.2.9/24"], "eth2": []})
    host.register(PRE, lambda packet, state: QUEUE, name="<lambda>")
    assert repr(host) == "<Host r<1>: eth0 10.0.1.1/24, eth1 10.0.2.1/24, 10.0.2.9/24, eth2 no address>"
    html = host._repr_html_()
    assert ">r&lt;1&gt;</caption>" in html
    assert "10.0.1.0/24 dev eth0" in html
    assert ">PRE_ROUTING</td>" in html
    assert ">&lt;lambda&gt;</td>" in html


# ---------------------------------------------------------------- what is remembered


def test_a_change_of_routes_or_settings_is_heeded_at_once() -> None:
    host = router()
    assert host.receive("eth0", UDP).out[0].next_hop == SERVER
    host.fib.add(parse_route("10.0.2.2/32 via 10.0.1.9"))
    assert host.receive("eth0", UDP).out[-1].next_hop == "10.0.1.9"
    host.sysctls.set("net.ipv4.ip_forward", 0)
    assert reasons(host.receive("eth0", UDP)) == ["IP_INADDRERRORS"]


def test_only_so_many_decisions_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netlab.ip_input.MAX_REMEMBERED", 3)
    host = router()
    for last in range(2, 20):
        assert len(host.receive("eth0", UDP.with_(src=f"10.0.1.{last}")).out) == 1
        assert len(host._input._remembered) <= 3


def test_a_packet_that_grew_after_forward_is_too_big_all_the_same() -> None:
    host = router(mtu={"eth1": 600})
    host.register(
        POST, lambda packet, state: (ACCEPT, packet.with_(payload=bytes(1000)) if packet.dst == SERVER else packet)
    )
    trace = host.receive("eth0", UDP.with_(df=True))
    assert (error(trace), reasons(trace)) == ((3, 4), ["NOT_SPECIFIED"])
    assert [row.hook for row in trace.path if row.number == 0] == [PRE, FORWARD, POST]
    assert len(host.receive("eth0", UDP).out) == 2  # without DF it is cut
