"""Which tuple a flow gets. The addresses and ports here are what Linux 6.18 gave to the very same packets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.names import Hook, TcpState
from netlab.packet import Icmp, Packet
from tests.nat.gateway import C2, INSIDE, OUTSIDE, C, Gateway, Rule, S, dnat, frames_of, masquerade, sent, snat

POST = Hook.POST_ROUTING


def udp(src: str, dst: str = S, sport: int = 4000, dport: int = 53) -> Packet:
    return Packet.udp(src, dst, sport, dport, b"hi")


# ---------------------------------------------------------------- addresses


def test_an_address_is_chosen_by_a_hash_of_both_ends() -> None:
    gateway = Gateway(Rule(POST, snat("10.0.2.100", "10.0.2.109"), dev="r1"))
    chosen = [sent(gateway.inside(udp(f"10.0.1.{10 + n}"))).src for n in range(8)]
    assert chosen == [f"10.0.2.{100 + n}" for n in (7, 7, 4, 8, 3, 3, 7, 4)]


def test_the_destination_is_chosen_by_the_same_hash() -> None:
    gateway = Gateway(Rule(Hook.PRE_ROUTING, dnat("10.0.2.20", "10.0.2.29"), dst=INSIDE))
    chosen = [sent(gateway.inside(udp(f"10.0.1.{10 + n}", INSIDE))).dst for n in range(4)]
    assert chosen == [f"10.0.2.{n}" for n in (25, 26, 20, 27)]


def test_persistent_looks_at_the_source_alone() -> None:
    gateway = Gateway(Rule(POST, snat("10.0.2.100", "10.0.2.109", persistent=True), dev="r1"))
    chosen = [sent(gateway.inside(udp(C, f"10.0.2.{50 + n}", 4001 + n))).src for n in range(4)]
    assert chosen == ["10.0.2.109"] * 4


# ---------------------------------------------------------------- ports of sources


@pytest.mark.parametrize("sport", [0, 1, 511, 512, 600, 1023, 1024, 65535])
def test_a_source_port_is_kept_where_it_is_free(sport: int) -> None:
    gateway = Gateway(Rule(POST, masquerade(), dev="r1"))
    assert sent(gateway.inside(udp(C, sport=sport))).sport == sport


@given(st.integers(0, 65535), st.integers(0, 2**32))
def test_a_port_that_is_taken_becomes_another_of_its_class(sport: int, seed: int) -> None:
    gateway = Gateway(Rule(POST, masquerade(), dev="r1"))
    gateway.nat.random.seed(seed)
    gateway.inside(udp(C, sport=sport))
    other = sent(gateway.inside(udp(C2, sport=sport))).sport
    assert other is not None and other != sport
    classes = [range(1, 512)] if sport < 512 else [range(600, 1024)] if sport < 1024 else [range(1024, 65536)]
    assert any(other in ports for ports in classes)


def test_the_same_source_keeps_its_port_towards_others() -> None:
    gateway = Gateway(Rule(POST, masquerade(), dev="r1"))
    gateway.inside(udp(C))
    mapped = sent(gateway.inside(udp(C2))).sport
    assert mapped != 4000
    assert sent(gateway.inside(udp(C2, "10.0.2.3"))).sport == mapped
    assert sent(gateway.inside(udp(C2, "10.0.2.4", dport=99))).sport == mapped


@pytest.mark.parametrize("flag", ["random", "random_fully"])
def test_random_moves_a_port_that_was_free(flag: str) -> None:
    gateway = Gateway(Rule(POST, masquerade(**{flag: True}), dev="r1"))
    moved = [sent(gateway.inside(udp(C, sport=4000 + n))).sport != 4000 + n for n in range(20)]
    assert sum(moved) >= 19


def test_one_port_alone_is_not_sought_for_and_the_second_flow_dies_at_confirm() -> None:
    gateway = Gateway(Rule(POST, snat(OUTSIDE, ports=(5000, 5000)), dev="r1"))
    assert sent(gateway.inside(udp(C))).sport == 5000
    assert not list(frames_of(gateway.inside(udp(C2))))
    assert sent(gateway.inside(udp(C2, "10.0.2.3"))).sport == 5000
    assert len(gateway.entries) == 2
    counts = gateway.nat.tracker.statistics
    assert (counts.insert_failed, counts.drop) == (1, 1)


def test_when_no_port_is_left_the_packet_dies_at_confirm() -> None:
    gateway = Gateway(Rule(POST, snat(OUTSIDE, ports=(5000, 5003)), dev="r1"))
    ports = {sent(gateway.inside(udp(f"10.0.1.{20 + n}"))).sport for n in range(4)}
    assert ports == set(range(5000, 5004))
    assert not list(frames_of(gateway.inside(udp("10.0.1.30"))))
    assert len(gateway.entries) == 4


def test_a_large_range_that_is_all_taken_is_not_searched_whole() -> None:
    gateway = Gateway(Rule(POST, snat(OUTSIDE, ports=(1, 1000)), dev="r1"))
    for sport in range(1, 1001):
        gateway.inside(udp(C, sport=sport))
    starts: list[int] = []
    gateway.nat.random.getrandbits = lambda bits: starts.append(bits) or 0  # type: ignore[method-assign, func-returns-value]
    assert not list(frames_of(gateway.inside(udp(C2, sport=2000))))
    assert len(starts) == 5, "128, 64, 32, 16 and 8 attempts"


# ---------------------------------------------------------------- ports of destinations


def syn(sport: int, dport: int) -> Packet:
    return Packet.tcp(C, INSIDE, sport, dport, "S")


def test_destination_ports_are_given_out_from_the_first_on() -> None:
    gateway = Gateway(Rule(Hook.PRE_ROUTING, dnat(S, ports=(8000, 8003)), dst=INSIDE))
    first = [sent(gateway.inside(syn(4000, 80 + n))).dport for n in range(4)]
    assert first == [8000, 8001, 8002, 8003]
    last = sent(gateway.inside(syn(4000, 84)))
    assert last.dport == 8003 and last.sport != 4000, "all are taken, so the source has to change"
    assert gateway.entries[-1].is_snat and gateway.entries[-1].is_dnat


def test_a_destination_port_within_the_range_is_kept() -> None:
    gateway = Gateway(Rule(Hook.PRE_ROUTING, dnat(S, ports=(80, 90)), dst=INSIDE))
    assert sent(gateway.inside(syn(4000, 85))).dport == 85


@pytest.mark.parametrize(("dport", "became"), [(80, 8080), (85, 8085), (90, 8090), (79, 8088), (95, 8084), (200, 8090)])
def test_ports_are_shifted_by_an_offset(dport: int, became: int) -> None:
    gateway = Gateway(Rule(Hook.PRE_ROUTING, dnat(S, ports=(8080, 8090), base=80), dst=INSIDE))
    assert sent(gateway.inside(syn(4000, dport))).dport == became


def test_random_destination_ports() -> None:
    gateway = Gateway(Rule(Hook.PRE_ROUTING, dnat(S, ports=(8000, 8099), random=True), dst=INSIDE))
    ports = {sent(gateway.inside(syn(4000 + n, 8000))).dport or 0 for n in range(30)}
    assert ports <= set(range(8000, 8100)) and len(ports) > 10


# ---------------------------------------------------------------- bindings without a rule


def test_without_a_rule_a_clash_still_gets_another_source_port() -> None:
    gateway = Gateway(Rule(Hook.PRE_ROUTING, dnat(S), dst=INSIDE))
    assert sent(gateway.inside(udp(C, sport=7))).sport == 7
    other = sent(gateway.inside(udp(C, INSIDE, sport=7)))
    assert other.dst == S and other.sport is not None and 1 <= other.sport <= 511 and other.sport != 7


def test_an_echo_id_that_is_taken_becomes_the_lowest_that_is_free() -> None:
    gateway = Gateway(Rule(Hook.PRE_ROUTING, dnat(S), dst=INSIDE))
    gateway.inside(Packet.icmp(C, S, id=42))
    clashing = sent(gateway.inside(Packet.icmp(C, INSIDE, id=42))).l4
    assert isinstance(clashing, Icmp) and clashing.id == 0
    free = sent(gateway.inside(Packet.icmp(C, INSIDE, id=2))).l4
    assert isinstance(free, Icmp) and free.id == 2


@pytest.mark.parametrize("proto", [47, 99])
def test_a_protocol_without_ports_has_nothing_to_tell_two_clients_apart_by(proto: int) -> None:
    gateway = Gateway(Rule(POST, masquerade(), dev="r1"))
    assert sent(gateway.inside(Packet.ip(C, S, proto, bytes(8)))).src == OUTSIDE
    assert not list(frames_of(gateway.inside(Packet.ip(C2, S, proto, bytes(8)))))


# ---------------------------------------------------------------- flows that have ended


def ended(gateway: Gateway, seq: int) -> None:
    """A connection from C, closed by both sides."""
    out = sent(gateway.inside(Packet.tcp(C, S, 4000, 80, "S", seq=seq)))
    port = out.sport or 0
    gateway.outside(Packet.tcp(S, OUTSIDE, 80, port, "SA", seq=500, ack=seq + 1))
    gateway.inside(Packet.tcp(C, S, 4000, 80, "FA", seq=seq + 1, ack=501))
    gateway.outside(Packet.tcp(S, OUTSIDE, 80, port, "FA", seq=501, ack=seq + 2))
    gateway.inside(Packet.tcp(C, S, 4000, 80, "A", seq=seq + 2, ack=502))
    assert gateway.entries[0].state is TcpState.TIME_WAIT


@pytest.mark.parametrize(("seq", "frames"), [(1000, 1), (50, 0)])
def test_an_ended_flow_makes_way_if_the_new_one_has_higher_numbers(seq: int, frames: int) -> None:
    gateway = Gateway(Rule(POST, snat(OUTSIDE, ports=(1000, 1001)), dev="r1"))
    ended(gateway, 100)
    gateway.inside(Packet.tcp("10.0.1.4", S, 4000, 80, "S", seq=1))
    trace = gateway.inside(Packet.tcp(C2, S, 4000, 80, "S", seq=seq))
    assert len(list(frames_of(trace))) == frames
    assert len(gateway.entries) == 2
