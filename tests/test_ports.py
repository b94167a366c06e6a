"""Ports that NAT chooses at random: what may differ between the worlds, and what may not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.addresses import parse_address
from netlab.conntrack.text import parse_line
from netlab.kernel.compare import compare
from netlab.kernel.ports import Ports
from netlab.packet import Packet

MASQUERADE = "-A POSTROUTING -o eth1 -j MASQUERADE"
RANGE = "-A POSTROUTING -p udp -j SNAT --to-source 10.0.2.1:2000-2010"
ONE = "-A POSTROUTING -p udp -j SNAT --to-source 10.0.2.1:2000"
TO_RANGE = "-A PREROUTING -p udp -j REDIRECT --to-ports 2000-2010"


def row(hook: str, sport: int, dport: int = 53, src: str = "10.0.2.1", dst: str = "10.0.2.2") -> dict[str, Any]:
    return {
        "packet": 0, "host": "router", "hook": hook, "state": "NEW", "verdict": "ACCEPT", "in": "eth0", "out": "eth1",
        "src": src, "dst": dst, "proto": "udp", "sport": sport, "dport": dport, "ttl": 63,
    }  # fmt: skip


def path(before: int, after: int) -> list[dict[str, Any]]:
    """A packet whose source port becomes another one."""
    return [row("FORWARD", before, src="10.0.1.2"), row("POST_ROUTING", after)]


def learned(rules: str, before: int, mine: int, theirs: int) -> Ports:
    ports = Ports(rules)
    ports.learn(path(before, mine), path(before, theirs))
    return ports


@pytest.mark.parametrize(
    ("rules", "before", "mine", "theirs"),
    [
        (MASQUERADE, 4000, 30000, 40000),
        (MASQUERADE, 300, 1, 511),
        (MASQUERADE, 1000, 600, 1023),
        (MASQUERADE + " --random", 4000, 4000, 40000),
        (RANGE, 4000, 2000, 2010),
        (RANGE, 300, 2000, 2010),
    ],
)
def test_a_choice_of_the_right_class_or_range_may_differ(rules: str, before: int, mine: int, theirs: int) -> None:
    ports = learned(rules, before, mine, theirs)
    assert ports
    assert ports.simulated_rows(path(before, theirs)) == path(before, mine)


@pytest.mark.parametrize(
    ("rules", "before", "mine", "theirs"),
    [
        (MASQUERADE, 4000, 4000, 40000),  # the simulator has kept a port that the kernel has not
        (MASQUERADE, 4000, 40000, 4000),
        (MASQUERADE, 4000, 30000, 800),
        (MASQUERADE, 300, 100, 600),
        (RANGE, 4000, 2000, 2011),
        (ONE, 4000, 2000, 2001),
        ("", 4000, 4000, 4001),
    ],
)
def test_any_other_difference_is_one(rules: str, before: int, mine: int, theirs: int) -> None:
    assert not learned(rules, before, mine, theirs)


def test_a_destination_differs_only_within_a_range() -> None:
    for rules, may in ((TO_RANGE, True), (MASQUERADE, False), (TO_RANGE.replace("-2010", ""), False)):
        ports = Ports(rules)
        ports.learn([row("PRE_ROUTING", 4000, 2001)], [row("PRE_ROUTING", 4000, 2009)])
        assert bool(ports) is may


def test_a_port_that_a_new_flow_gets_is_no_longer_the_old_ones() -> None:
    ports = learned(MASQUERADE, 4000, 30000, 40000)
    ports.learn(path(5000, 31000), path(5000, 40000))
    assert ports.simulated_rows(path(5000, 40000)) == path(5000, 31000)
    assert ports.real_packet(Packet.udp("10.0.2.2", "10.0.2.1", 53, 31000)).dport == 40000
    assert ports.real_packet(Packet.udp("10.0.2.2", "10.0.2.1", 53, 30000)).dport == 30000


def test_a_port_holds_for_a_flow_that_is_no_longer_new() -> None:
    ports = learned(MASQUERADE, 4000, 30000, 40000)
    later = [[one | {"state": "ESTABLISHED"} for one in path(4000, port)] for port in (30000, 41000)]
    ports.learn(*later)
    assert ports.simulated_rows(later[1]) == later[1]


def test_what_goes_to_the_port_that_only_the_kernel_has_taken_goes_to_a_free_one() -> None:
    ports = learned(RANGE, 4000, 2001, 2002)
    ports.learn(path(5000, 2002), path(5000, 2003))
    sent = [Packet.udp("10.0.2.2", "10.0.2.1", 53, port) for port in (2001, 2002, 2003, 2004)]
    real = [ports.real_packet(packet) for packet in sent]
    assert [packet.dport for packet in real] == [2002, 2003, 2001, 2004]
    assert [ports.simulated_packet(packet) for packet in real] == sent


def test_addresses_do_not_differ() -> None:
    ports = Ports(MASQUERADE)
    ports.learn(path(4000, 30000), [path(4000, 1)[0], row("POST_ROUTING", 40000, src="10.0.2.9")])
    assert not ports


def test_echo_ids() -> None:
    def echoes(src: str, id: int) -> dict[str, Any]:
        return row("", 0, src=src) | {"proto": "icmp", "sport": None, "dport": None, "type": 8, "code": 0, "id": id}

    def journey(after: int) -> list[dict[str, Any]]:
        return [echoes("10.0.1.2", 7) | {"hook": "FORWARD"}, echoes("10.0.2.1", after) | {"hook": "POST_ROUTING"}]

    ports = Ports(MASQUERADE)
    ports.learn(journey(70), journey(60000))
    assert ports.simulated_rows(journey(60000)) == journey(70)
    reply = Packet.icmp("10.0.2.2", "10.0.2.1", 0, id=70)
    assert ports.real_packet(reply) == reply.with_(id=60000)
    line = parse_line(
        "icmp 1 30 src=10.0.1.2 dst=10.0.2.2 type=8 code=0 id=7 src=10.0.2.2 dst=10.0.2.1 type=0 code=0 id=60000"
    )
    assert ports.simulated_entry(line).reply.sport == 70
    kept = Ports(MASQUERADE)
    kept.learn(journey(7), journey(60000))
    assert not kept


payloads = st.binary(max_size=40)


@given(payloads, st.booleans())
def test_packets_and_what_they_quote_get_the_other_port_and_a_sum_that_fits(payload: bytes, tcp: bool) -> None:
    ports = Ports(MASQUERADE)
    proto = {"proto": "tcp" if tcp else "udp"}
    ports.learn(
        [one | proto for one in path(4000, 30000)],
        [one | proto for one in path(4000, 40000)],
    )
    make = Packet.tcp if tcp else Packet.udp
    words = {"flags": "A"} if tcp else {}
    real = make("10.0.2.1", "10.0.2.2", 40000, 53, payload=payload, **words)  # type: ignore[operator]
    simulated = make("10.0.2.1", "10.0.2.2", 30000, 53, payload=payload, **words)  # type: ignore[operator]
    assert ports.simulated_packet(real) == simulated
    assert ports.real_packet(simulated) == real
    error, meant = (Packet.icmp("10.0.2.2", "10.0.2.1", 3, 3, payload=one.to_bytes()) for one in (real, simulated))
    assert ports.simulated_packet(error) == meant
    back = make("10.0.2.2", "10.0.2.1", 53, 30000, payload=payload, **words)  # type: ignore[operator]
    assert ports.real_packet(back) == back.with_(dport=40000)
    assert ports.real_packet(back.with_(src=parse_address("10.0.2.7"))).dport == 30000


# ---------------------------------------------------------------- rules in compared traces


def trace(**parts: Any) -> dict[str, Any]:
    return {"steps": [], "conntrack": {}, "counters": {}, "log": {}} | parts


def counted(*lines: str) -> dict[str, Any]:
    return trace(counters={"router": ["*filter", ":INPUT ACCEPT [0:0]", *lines, "COMMIT"]})


def test_counters_are_compared_table_by_table_whatever_their_order() -> None:
    assert compare(counted("[1:28] -A INPUT"), counted("[1:28] -A INPUT"))
    found = compare(counted("[1:28] -A INPUT"), counted("[2:56] -A INPUT"))
    assert [(one.what, one.kernel) for one in found.differences] == [("rules of router, *filter 2", "[2:56] -A INPUT")]
    tables = ["*nat", "COMMIT"], ["*raw", "COMMIT"]
    one, other = ([*first, *second] for first, second in (tables, tables[::-1]))
    assert compare(trace(counters={"router": one}), trace(counters={"router": other}))
    assert not compare(trace(counters={"router": one}), trace())


def test_what_chance_decides_is_not_compared_and_counted() -> None:
    rule = "-A INPUT -m statistic --mode random --probability 0.50000000000 -j ACCEPT"
    found = compare(counted(f"[1:28] {rule}"), counted(f"[2:56] {rule}"))
    assert found
    assert found.unknown == 1


def test_lines_of_log_rules_are_left_out_where_a_namespace_keeps_them_to_itself() -> None:
    martian, rule = (
        "IPv4: martian source 10.0.2.2 from 127.0.0.1, on dev eth0",
        "IN=eth0 OUT= MAC= SRC=1.1.1.1 DST=2.2.2.2 LEN=28 ",
    )
    mine = trace(log={"router": [martian, f"seen {rule}"]})
    assert compare(mine, trace(log={"router": [martian, "unknown"]})).unknown == 1
    assert compare(mine, trace(log={"router": [martian, "unknown"]}))
    assert not compare(mine, trace(log={"router": ["unknown"]}))
    assert not compare(mine, trace(log={"router": [martian]}))


@pytest.mark.parametrize(
    ("key", "same"), [("ttl", True), ("src", True), ("state", True), ("hook", False), ("in", False)]
)
def test_where_a_verdict_is_unknown_the_packet_was_seen_to_come_only(key: str, same: bool) -> None:
    whole = row("PRE_ROUTING", 1) | {"verdict": "DROP"}
    seen = whole | {"verdict": "unknown", key: "another"}
    steps = (
        [{"path": [one], "out": [], "delivered": [], "dropped": "unknown", "errno": None, "status": None}]
        for one in (whole, seen)
    )
    mine, theirs = (trace(steps=one) for one in steps)
    assert bool(compare(mine, theirs)) is same


def test_what_the_second_host_has_lost_belongs_to_no_entry_though_the_first_has_let_it_pass() -> None:
    def through_both(port: int) -> list[dict[str, Any]]:
        client = row("POST_ROUTING", 4001, src="10.0.1.2") | {"host": "client"}
        return [client, row("FORWARD", 4001, src="10.0.1.2"), row("POST_ROUTING", port) | {"verdict": "DROP"}]

    ports = Ports(RANGE)
    ports.learn(through_both(2001), through_both(2002))
    assert ports.simulated_rows(through_both(2002)) == through_both(2001)
    other = Packet.udp("10.0.2.1", "10.0.2.2", 2002, 53)
    assert ports.simulated_packet(other) is other
