"""NAT on its hooks: what Linux 6.18 was seen to do, line by line."""

import pytest

from netlab.addresses import InterfaceAddress
from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.text import line_of
from netlab.conntrack.track import notrack
from netlab.conntrack.tuples import tuple_of
from netlab.hooks import HookState
from netlab.names import CtState, DropReason, Hook, Priority, Verdict
from netlab.nat.nat import PLACES, Nat
from netlab.nat.ranges import Manip, NatRange
from netlab.packet import Icmp, Packet, checksum
from netlab.route_text import parse_route
from netlab.skb import Skb
from netlab.trace import Called
from tests.nat.gateway import (
    C2,
    INSIDE,
    OUTSIDE,
    C,
    Gateway,
    Rule,
    S,
    dnat,
    frames_of,
    is_whole,
    masquerade,
    redirect,
    sent,
    snat,
    span,
)  # fmt: skip

PRE, IN, OUT, POST = Hook.PRE_ROUTING, Hook.LOCAL_IN, Hook.LOCAL_OUT, Hook.POST_ROUTING
BOUND = Status.SRC_NAT_DONE | Status.DST_NAT_DONE


def udp(src: str, dst: str, sport: int = 4000, dport: int = 53) -> Packet:
    return Packet.udp(src, dst, sport, dport, b"hi")


def masquerading() -> Gateway:
    return Gateway(Rule(POST, masquerade(), dev="r1"))


def forwarding(port: int = 8080) -> Gateway:
    return Gateway(Rule(PRE, dnat(S, ports=(port, port)), dst=INSIDE))


# ---------------------------------------------------------------- the first packet decides


def test_rules_are_asked_for_the_first_packet_only() -> None:
    gateway = masquerading()
    for _ in range(3):
        out = sent(gateway.inside(udp(C, S)))
        assert (out.src, out.dst) == (OUTSIDE, S) and is_whole(out)
    assert gateway.acted == [1]


def test_rules_that_come_or_go_later_change_nothing_for_flows_that_exist() -> None:
    gateway = masquerading()
    gateway.inside(udp(C, S))
    gateway.rules.clear()
    assert sent(gateway.inside(udp(C, S))).src == OUTSIDE
    assert sent(gateway.outside(udp(S, OUTSIDE, 53, 4000))).dst == C
    assert sent(gateway.inside(udp(C2, S))).src == C2


def test_a_flow_from_before_the_table_is_shown_to_the_rules_and_stays_as_it_is() -> None:
    gateway = Gateway(Rule(POST, masquerade(), dev="r1"), attached=False)
    gateway.inside(udp(C, S))
    gateway.attach()
    assert sent(gateway.inside(udp(C, S))).src == C
    assert sent(gateway.inside(udp(C, S))).src == C
    assert gateway.acted == [2], "it is still NEW"
    assert not gateway.entries[0].status & BOUND


def test_without_a_nat_table_packets_of_translated_flows_pass_as_they_are() -> None:
    gateway = masquerading()
    gateway.inside(udp(C, S))
    gateway.detach()
    assert sent(gateway.inside(udp(C, S))).src == C
    assert gateway.entries[0].is_snat
    gateway.attach()
    assert sent(gateway.inside(udp(C, S))).src == OUTSIDE


def test_every_flow_is_bound_at_both_ends_with_and_without_a_rule() -> None:
    gateway = masquerading()
    gateway.inside(udp(C, S))
    gateway.host.send(udp(OUTSIDE, S, 777))
    gateway.host.send(udp("127.0.0.1", "127.0.0.1", 5, 6))
    assert [entry.status & BOUND for entry in gateway.entries] == [BOUND] * 3
    assert [entry.is_snat for entry in gateway.entries] == [True, False, False]


# ---------------------------------------------------------------- answers are undone at the right hook


def where_changed(gateway: Gateway, packet: Packet, dev: str) -> list[tuple[Hook, str, str]]:
    """Hook by hook: what NAT made of the addresses."""
    trace = gateway.host.receive(dev, packet) if dev else gateway.host.send(packet)
    calls = [event for step in trace.steps for event in step.events if isinstance(event, Called)]
    return [
        (call.hook, f"{call.before.src} > {call.before.dst}", f"{call.after.src} > {call.after.dst}")
        for call in calls
        if call.function.startswith("nf_nat") and call.before != call.after
    ]


def test_answers_to_a_translated_source_are_undone_in_pre_routing() -> None:
    gateway = masquerading()
    gateway.inside(udp(C, S))
    assert where_changed(gateway, udp(S, OUTSIDE, 53, 4000), "r1") == [(PRE, f"{S} > {OUTSIDE}", f"{S} > {C}")]


def test_forwarded_answers_of_a_translated_destination_are_undone_in_post_routing() -> None:
    gateway = forwarding()
    assert where_changed(gateway, udp(C, INSIDE), "r0") == [(PRE, f"{C} > {INSIDE}", f"{C} > {S}")]
    assert where_changed(gateway, udp(S, C, 8080, 4000), "r1") == [(POST, f"{S} > {C}", f"{INSIDE} > {C}")]


def test_for_a_local_client_they_are_undone_in_local_in() -> None:
    gateway = Gateway(Rule(OUT, dnat(C, ports=(5353, 5353)), proto=17))
    assert where_changed(gateway, udp(OUTSIDE, S, 1111), "")[0] == (OUT, f"{OUTSIDE} > {S}", f"{OUTSIDE} > {C}")
    answer = where_changed(gateway, udp(C, OUTSIDE, 5353, 1111), "r0")
    assert answer[0] == (IN, f"{C} > {OUTSIDE}", f"{S} > {OUTSIDE}")


def test_a_local_answer_of_a_redirected_flow_is_undone_in_post_routing() -> None:
    gateway = Gateway(Rule(PRE, redirect(ports=(99, 99)), dev="r0"), listen=["udp/99"])
    gateway.host.sockets.udp(98).answer = lambda data: data
    gateway.rules[0].action = redirect(ports=(98, 98))
    answer = sent(gateway.inside(udp(C, "8.8.8.8")))
    assert (answer.src, answer.sport, answer.dst) == ("8.8.8.8", 53, C) and is_whole(answer)


def test_a_source_translated_in_local_in_is_undone_before_the_answer_is_routed() -> None:
    gateway = Gateway(Rule(IN, snat("10.0.2.55")))
    answer = sent(gateway.inside(Packet.icmp(C, INSIDE, id=42)))
    assert (answer.src, answer.dst) == (INSIDE, C) and is_whole(answer)
    assert gateway.entries[0].reply.daddr == span("10.0.2.55")[0]


# ---------------------------------------------------------------- routes


def test_a_destination_changed_in_pre_routing_changes_the_route() -> None:
    gateway = Gateway(Rule(PRE, dnat("10.0.1.9"), dst="8.8.8.8"))
    trace = gateway.inside(udp(C, "8.8.8.8"))
    assert [out.dev for out in trace.out] == ["r0"]


def test_a_destination_changed_in_local_out_is_routed_again() -> None:
    gateway = Gateway(Rule(OUT, dnat("10.0.1.9"), dst="8.8.8.8"))
    trace = gateway.host.send(udp(OUTSIDE, "8.8.8.8"))
    assert [out.dev for out in trace.out] == ["r0"]


def test_local_packets_are_redirected_to_the_loopback() -> None:
    gateway = Gateway(Rule(OUT, redirect(ports=(99, 99)), dst=S), listen=["udp/99"])
    trace = gateway.host.send(udp(OUTSIDE, S, 1111, 54))
    assert [delivered.socket for delivered in trace.delivered] == ["udp/99"]
    assert str(line_of(gateway.entries[0], 0)).count("src=127.0.0.1 dst=10.0.2.1 sport=99 dport=1111") == 1


def test_a_nat_rule_in_pre_routing_never_sees_local_packets_that_come_over_lo() -> None:
    gateway = Gateway(Rule(PRE, redirect(ports=(99, 99))))
    gateway.host.send(udp("127.0.0.1", "127.0.0.1", 5, 6))
    assert gateway.acted == [0]


def test_hairpin_without_a_source_changed_sends_the_answer_past_the_router() -> None:
    """Inside host to inside server by the outside address: only with masquerading does the answer come back."""
    server = "10.0.1.9"
    plain = Gateway(Rule(PRE, dnat(server), dst=OUTSIDE))
    assert sent(plain.inside(udp(C, OUTSIDE))).src == C
    both = Gateway(Rule(PRE, dnat(server), dst=OUTSIDE), Rule(POST, masquerade(), dev="r0"))
    out = sent(both.inside(udp(C, OUTSIDE)))
    assert (out.src, out.dst) == (INSIDE, server)
    back = sent(both.inside(udp(server, INSIDE, 53, 4000)))
    assert (back.src, back.dst) == (OUTSIDE, C) and is_whole(back)
    assert both.entries[0].is_snat and both.entries[0].is_dnat


# ---------------------------------------------------------------- MASQUERADE, REDIRECT, NETMAP


def test_masquerade_takes_the_address_that_is_nearest_to_the_next_hop() -> None:
    gateway = masquerading()
    gateway.host.fib.add_address("r1", InterfaceAddress.parse("10.0.5.1/24"))
    assert sent(gateway.inside(udp(C, "10.0.5.7"))).src == "10.0.5.1"
    assert sent(gateway.inside(udp(C, S))).src == OUTSIDE
    assert sent(gateway.inside(udp(C, "8.8.8.8"))).src == OUTSIDE


def test_masquerade_over_lo_takes_an_address_that_others_know() -> None:
    gateway = Gateway(Rule(POST, masquerade()))
    gateway.host.send(udp("127.0.0.1", "127.0.0.1", 5, 6))
    assert gateway.entries[0].reply.daddr == span(INSIDE)[0]


def without_addresses(*devices: str, rule: Rule) -> Gateway:
    gateway = Gateway(rule)
    for dev in devices:
        while gateway.host.fib.addresses(dev):
            own = gateway.host.fib.addresses(dev)[0]
            gateway.host.fib.remove_address(dev, InterfaceAddress(own.address, own.length))
        gateway.host.fib.add(parse_route(f"10.0.{int(dev[1]) + 1}.0/24 dev {dev}"))
    return gateway


def test_masquerade_borrows_an_address_from_another_interface_if_it_must() -> None:
    gateway = without_addresses("r1", rule=Rule(POST, masquerade(), dev="r1"))
    assert sent(gateway.inside(udp(C, S))).src == INSIDE


def test_masquerade_without_any_address_drops() -> None:
    gateway = without_addresses("r0", "r1", rule=Rule(POST, masquerade(), dev="r1"))
    trace = gateway.inside(udp(C, S))
    assert trace.dropped[0].reason is DropReason.NETFILTER_DROP
    assert trace.log["r"] == ["r1 ate my IP address"]
    assert not gateway.entries


def test_a_masqueraded_flow_that_leaves_elsewhere_is_dropped_once_and_begins_anew() -> None:
    gateway = Gateway(Rule(POST, masquerade()))
    gateway.inside(udp(C, S))
    gateway.host.fib.add(parse_route("10.0.2.2/32 dev r0"))
    assert not list(frames_of(gateway.inside(udp(C, S))))
    assert not gateway.entries
    assert sent(gateway.inside(udp(C, S))).src == INSIDE


def test_the_routers_own_masqueraded_flow_that_leaves_elsewhere_is_dropped_though_nothing_was_changed() -> None:
    gateway = Gateway(Rule(POST, masquerade()))
    gateway.host.send(udp(OUTSIDE, S))
    assert not gateway.entries[0].is_snat
    gateway.host.fib.add(parse_route("10.0.2.2/32 dev r0"))
    assert gateway.host.send(udp(OUTSIDE, S)).errno == "EPERM"
    assert not gateway.entries


def test_a_source_of_0_is_not_masqueraded() -> None:
    gateway = Gateway()
    skb = Skb(udp("0.0.0.0", S), 0)
    flow = tuple_of(skb.packet)
    assert flow is not None
    skb.ct = Entry(flow, flow, 1)
    skb.decision = gateway.host.fib.lookup(skb.packet.daddr)
    assert gateway.nat.masquerade(skb, NatRange(), "r1") is Verdict.ACCEPT
    assert not skb.ct.status


def test_redirect_takes_the_first_address_of_the_interface() -> None:
    gateway = Gateway(Rule(PRE, redirect(ports=(99, 99)), dev="r1"), listen=["udp/99"])
    trace = gateway.outside(udp(S, INSIDE, 1, 54))
    assert [delivered.socket for delivered in trace.delivered] == ["udp/99"]
    assert gateway.entries[0].reply.saddr == span(OUTSIDE)[0]


def test_redirect_by_an_interface_without_an_address_drops() -> None:
    gateway = without_addresses("r1", rule=Rule(PRE, redirect(), dev="r1"))
    assert gateway.outside(udp(S, INSIDE)).dropped[0].reason is DropReason.NETFILTER_DROP


def test_netmap_keeps_the_host_part_at_either_end() -> None:
    gateway = Gateway(
        Rule(PRE, dnat("10.0.2.0", "10.0.2.255", netmap=True), dst="192.168.7.2"),
        Rule(POST, snat("172.16.5.0", "172.16.5.255", netmap=True), dev="r1"),
    )
    out = sent(gateway.inside(udp(C, "192.168.7.2")))
    assert (out.src, out.dst) == ("172.16.5.2", S)
    back = sent(gateway.outside(udp(S, "172.16.5.2", 53, 4000)))
    assert (back.src, back.dst) == ("192.168.7.2", C) and is_whole(back)


# ---------------------------------------------------------------- what is never translated


def test_invalid_packets_are_never_translated() -> None:
    gateway = Gateway(Rule(POST, masquerade()), Rule(PRE, dnat(S)))
    trace = gateway.inside(Packet.tcp(C, "10.0.2.3", 1, 2, "RA"))
    assert trace.path[0].state is CtState.INVALID
    out = sent(trace)
    assert (out.src, out.dst) == (C, "10.0.2.3")
    assert gateway.acted == [0, 0] and not gateway.entries


def test_untracked_packets_are_never_translated() -> None:
    gateway = masquerading()
    gateway.host.register(PRE, notrack, Priority.RAW)
    assert sent(gateway.inside(udp(C, S))).src == C
    assert gateway.acted == [0]


def test_a_verdict_of_the_rules_that_is_not_accept_stands() -> None:
    gateway = Gateway(Rule(POST, lambda nat, state: Verdict.DROP))
    assert not list(frames_of(gateway.inside(udp(C, S))))
    assert not gateway.entries


def test_a_flow_is_not_bound_twice() -> None:
    def twice(nat: Nat, state: HookState) -> Verdict:
        assert nat.setup(state.skb, NatRange(span(OUTSIDE)), Manip.SOURCE) is Verdict.ACCEPT
        return nat.setup(state.skb, NatRange(span(OUTSIDE)), Manip.SOURCE)

    assert not list(frames_of(Gateway(Rule(POST, twice)).inside(udp(C, S))))


def test_a_packet_too_short_for_its_protocol_is_dropped_where_it_would_be_translated() -> None:
    assert not list(frames_of(masquerading().inside(Packet.ip(C, S, 47, bytes(4)))))
    assert sent(Gateway().inside(Packet.ip(C, S, 47, bytes(4)))).src == C


# ---------------------------------------------------------------- ICMP


def test_echo_requests_of_two_clients_get_ids_of_their_own() -> None:
    gateway = masquerading()
    ids = []
    for client in (C, C2):
        out = sent(gateway.inside(Packet.icmp(client, S, id=42)))
        assert isinstance(out.l4, Icmp) and is_whole(out)
        ids.append(out.l4.id)
    assert ids[0] == 42 and ids[1] != 42
    back = sent(gateway.outside(Packet.icmp(S, OUTSIDE, 0, id=ids[1])))
    assert isinstance(back.l4, Icmp) and back.l4.id == 42 and back.dst == C2 and is_whole(back)


def quoting(out: Packet, kind: int, code: int, src: str = S, size: int = 28) -> Packet:
    return Packet.icmp(src, out.src, kind, code, payload=out.to_bytes()[:size])


@pytest.mark.parametrize("source", [S, "10.0.2.77"])
def test_an_error_reaches_the_client_and_quotes_what_it_sent(source: str) -> None:
    gateway = masquerading()
    out = sent(gateway.inside(udp(C, S)))
    error = sent(gateway.outside(quoting(out, 3, 3, source)))
    assert (error.src, error.dst) == (source, C) and is_whole(error)
    quoted = error.quoted
    assert quoted is not None and (quoted.src, quoted.dst, quoted.sport) == (C, S, 4000)
    assert checksum(error.payload[8:28]) == 0


def test_an_error_about_a_translated_destination_seems_to_come_from_it() -> None:
    gateway = forwarding()
    out = sent(gateway.inside(udp(C, INSIDE)))
    error = sent(gateway.outside(quoting(out, 3, 3)))
    assert (error.src, error.dst) == (INSIDE, C)
    assert error.quoted is not None and (error.quoted.dst, error.quoted.dport) == (INSIDE, 53)


def test_an_error_of_the_client_about_an_answer() -> None:
    gateway = masquerading()
    gateway.inside(udp(C, S))
    answer = sent(gateway.outside(udp(S, OUTSIDE, 53, 4000)))
    error = sent(gateway.inside(quoting(answer, 3, 3, C)._replace(daddr=answer.saddr)))
    assert (error.src, error.dst) == (OUTSIDE, S) and is_whole(error)
    assert error.quoted is not None and (error.quoted.dst, error.quoted.dport) == (OUTSIDE, 4000)


def test_the_routers_own_error_about_a_translated_packet_names_what_the_client_sent() -> None:
    gateway = forwarding()
    error = sent(gateway.inside(udp(C, INSIDE)._replace(ttl=1)))
    assert isinstance(error.l4, Icmp) and error.l4.type == 11
    assert error.quoted is not None and (error.quoted.dst, error.quoted.dport) == (INSIDE, 53)


def test_a_redirect_about_a_translated_flow_is_dropped() -> None:
    gateway = masquerading()
    out = sent(gateway.inside(udp(C, S)))
    assert not list(frames_of(gateway.outside(quoting(out, 5, 1))))
    plain = Gateway()
    out = sent(plain.inside(udp(C, S)))
    assert sent(plain.outside(quoting(out, 5, 1))).dst == C


def test_the_router_itself_sends_no_redirect_while_there_is_a_nat_table() -> None:
    settings = {f"net.ipv4.conf.{dev}.send_redirects": 1 for dev in ("all", "r0")}
    gateway = Gateway(sysctls=settings)
    assert len(list(frames_of(gateway.inside(udp(C, "10.0.1.9"))))) == 1
    gateway.detach()
    assert len(list(frames_of(gateway.inside(udp(C2, "10.0.1.9"))))) == 2


def test_an_error_with_a_wrong_checksum_is_dropped_where_conntrack_does_not_look_at_it() -> None:
    gateway = Gateway(Rule(POST, masquerade(), dev="r1"), sysctls={"net.netfilter.nf_conntrack_checksum": 0})
    out = sent(gateway.inside(udp(C, S)))
    error = quoting(out, 3, 3)
    wrong = error._replace(payload=error.payload[:2] + b"\1\1" + error.payload[4:])
    assert not list(frames_of(gateway.outside(wrong)))
    assert len(list(frames_of(gateway.outside(error)))) == 1


# ---------------------------------------------------------------- entries and states


def test_the_entry_tells_what_became_of_the_flow() -> None:
    gateway = Gateway(Rule(PRE, dnat(S, ports=(8080, 8080)), dst=INSIDE), Rule(POST, masquerade(), dev="r1"))
    gateway.inside(Packet.tcp(C, INSIDE, 4000, 80, "S", seq=100))
    gateway.outside(Packet.tcp(S, OUTSIDE, 8080, 4000, "SA", seq=500, ack=101))
    gateway.inside(Packet.tcp(C, INSIDE, 4000, 80, "A", seq=101, ack=501))
    assert str(gateway.lines[0]) == (
        "tcp      6 432000 ESTABLISHED src=10.0.1.2 dst=10.0.1.1 sport=4000 dport=80 "
        "src=10.0.2.2 dst=10.0.2.1 sport=8080 dport=4000 [ASSURED] mark=0 use=1"
    )
    assert str(gateway.nat) == str(gateway.lines[0])
    assert "10.0.2.1" in gateway.nat._repr_html_() and repr(gateway.nat) == "<Nat of r: 1 flows translated>"


def test_deleting_the_entry_of_a_translated_flow_has_it_chosen_anew() -> None:
    gateway = masquerading()
    gateway.inside(udp(C, S))
    gateway.inside(udp(C2, S))
    mapped = gateway.entries[1].reply.dport
    assert mapped != 4000
    for entry in gateway.entries:
        gateway.nat.tracker.delete(entry)
    assert sent(gateway.inside(udp(C2, S))).sport == 4000


def test_an_answer_after_the_entry_is_gone_is_for_the_router_itself() -> None:
    gateway = masquerading()
    gateway.inside(Packet.tcp(C, S, 4000, 80, "S", seq=100))
    gateway.nat.tracker.delete(gateway.entries[0])
    reset = sent(gateway.outside(Packet.tcp(S, OUTSIDE, 80, 4000, "SA", seq=500, ack=101)))
    assert (reset.dst, reset.flags) == (S, "R")


def test_double_nat_undoes_itself_hop_by_hop() -> None:
    inner = Gateway(Rule(POST, snat("10.0.1.77"), dev="r1"))
    outer = Gateway(Rule(POST, snat("192.0.2.7"), dev="r1"))
    once = sent(inner.inside(udp(C, S)))
    twice = sent(outer.inside(once))
    assert twice.src == "192.0.2.7"
    back = sent(outer.outside(udp(S, "192.0.2.7", 53, 4000)))
    assert back.dst == "10.0.1.77"
    assert sent(inner.outside(back)).dst == C


def test_the_functions_stand_where_the_kernels_do() -> None:
    gateway = Gateway()
    found = {entry.hook: (entry.priority, entry.name) for entry in gateway.registered}
    assert found == {hook: (place.priority, place.name) for hook, place in PLACES.items()}
    assert {hook: priority for hook, (priority, _) in found.items()} == {PRE: -100, IN: 100, OUT: -100, POST: 100}
