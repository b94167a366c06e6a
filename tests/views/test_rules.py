"""The walk over rules, step by step: which rules are asked, the call stack, and counters as the firewall has them."""

import re

import pytest

from netlab.draw import Place, tell
from netlab.host import Host
from netlab.names import NetlabError
from netlab.packet import Packet
from netlab.views import walk_rules
from netlab.views.rules import RuleWalk

RULES = """*mangle
:PREROUTING ACCEPT [0:0]
-A PREROUTING -j TTL --ttl-set 20
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:web - [0:0]
:late - [0:0]
:deep - [0:0]
-A INPUT -p udp -j web
-A INPUT -j RETURN
-A INPUT -j ACCEPT
-A FORWARD -p tcp -j web
-A FORWARD -p icmp -g late
-A FORWARD -p udp -j ACCEPT
-A web -p tcp --dport 22 -g late
-A web -p tcp --dport 80 -j ACCEPT
-A web -p tcp --dport 81 -j RETURN
-A web -p tcp --dport 82 -j deep
-A web -p tcp --dport 83 -j DROP
-A late -p tcp --dport 23
-A deep -j RETURN
-A deep -j ACCEPT
COMMIT
"""
CLIENT, SERVER, ROUTER = "10.0.1.2", "10.0.2.2", "10.0.1.1"


def router(rules: str = RULES) -> Host:
    return Host(
        "router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, sysctls={"net.ipv4.ip_forward": 1}, iptables=rules
    )


def tcp(port: int) -> Packet:
    return Packet.tcp(CLIENT, SERVER, 4000, port)


PACKETS = {
    "80": tcp(80), "22": tcp(22), "81": tcp(81), "82": tcp(82), "83": tcp(83), "84": tcp(84),
    "ping": Packet.icmp(CLIENT, SERVER), "udp": Packet.udp(CLIENT, SERVER, 5000, 53),
    "own udp": Packet.udp(CLIENT, ROUTER, 5000, 53), "own tcp": Packet.tcp(CLIENT, ROUTER, 5000, 80),
}  # fmt: skip


def steps(panel: RuleWalk) -> list[str]:
    """Every step as `chain rule: what it says`."""
    found = []
    for stop in panel._stops:
        one = stop.asked
        found.append(f"{one.chain} {one.rule or 'end'}: {one.verdict or '-'}")
    return found


WALKS = {
    "80": "FORWARD 1: JUMP web, web 1: -, web 2: ACCEPT",
    "22": "FORWARD 1: JUMP web, web 1: GOTO late, late 1: -, late end: RETURN, FORWARD 2: -, FORWARD 3: -, "
    "FORWARD end: DROP",
    "82": "FORWARD 1: JUMP web, web 1: -, web 2: -, web 3: -, web 4: JUMP deep, deep 1: RETURN, web 5: -, "
    "web end: RETURN, FORWARD 2: -, FORWARD 3: -, FORWARD end: DROP",
    "ping": "FORWARD 1: -, FORWARD 2: GOTO late, late 1: -, FORWARD end: DROP",
    "own udp": "INPUT 1: JUMP web, web 1: -, web 2: -, web 3: -, web 4: -, web 5: -, web end: RETURN, "
    "INPUT 2: RETURN, INPUT end: DROP",
    "own tcp": "INPUT 1: -, INPUT 2: RETURN, INPUT end: DROP",
}


@pytest.mark.parametrize(("name", "walk"), WALKS.items(), ids=WALKS.keys())
def test_every_rule_that_is_asked_is_a_step(name: str, walk: str) -> None:
    before = ["PREROUTING 1: CONTINUE", "PREROUTING end: ACCEPT"]
    assert steps(walk_rules(router(), ("eth0", PACKETS[name]))) == before + walk.split(", ")


def test_the_counters_at_the_end_are_those_in_force() -> None:
    host = router()
    panel = walk_rules(host, *(("eth0", packet) for packet in PACKETS.values()))
    shown = {(stop.table.name, line): count for stop in panel._stops for line, count in stop.counts.items()}
    for table in host.firewall.ruleset.tables.values():
        for chain in table.chains.values():
            for number, rule in enumerate(chain.rules, 1):
                assert shown[table.name, (chain.name, number)] == (rule.counters.packets, rule.counters.bytes)
            if chain.hooked:
                assert shown[table.name, (chain.name, None)] == (chain.counters.packets, chain.counters.bytes)


def marked(panel: RuleWalk) -> list[str]:
    """What is marked as the present one: the chain on the way, the top of the stack, the rule."""
    return re.findall(r'aria-current="step"><?(?:th scope="row" class="number">)?([^<]*)<', panel.html)


def test_the_stack_is_shown_while_it_is_deep() -> None:
    panel = walk_rules(router(), ("eth0", PACKETS["82"]))
    for _ in range(3):
        panel.press("To the next rule that means it")
    assert marked(panel) == ["filter:FORWARD", "web", "4"]
    panel.press("To the next rule that means it")
    assert marked(panel) == ["filter:FORWARD", "deep", "1"]
    assert "<li>FORWARD, rule 1</li><li>web, rule 4</li>" in panel.html
    assert panel.story.endswith("means the packet and returns: on behind rule 4 of filter:web.")
    panel.press("Last")
    assert "no chain waits for a return" in panel.html
    assert {"Forward", "Last", "To the next rule that means it"} == set(panel.off)


def test_changes_are_shown_before_and_after() -> None:
    panel = walk_rules(router(), ("eth0", PACKETS["udp"]))
    assert "ttl: 64 → 20" in panel.story
    assert "ttl=64" in panel.html
    assert "ttl=20" in panel.html


def test_without_a_rule_there_is_nothing_to_walk() -> None:
    with pytest.raises(NetlabError, match="no packet meets a rule of router"):
        walk_rules(router(""), ("eth0", tcp(80)))


def test_in_a_journey_rules_belong_to_the_function_that_walks_over_them() -> None:
    host = router()
    stops = tell(host.receive("eth0", PACKETS["own udp"]), {"router": host})
    asked = [stop for stop in stops if stop["title"].startswith(("Rule", "End of", "Policy of"))]
    assert [stop["place"] for stop in asked] == [Place.PRE_ROUTING] * 2 + [Place.LOCAL_IN] * 4
    assert all(stop["rail"] and stop["function"] == 0 for stop in asked)
    answers = [stop for stop in stops if stop["title"] in ("mangle:PREROUTING", "filter:INPUT")]
    assert [stop["function"] for stop in answers] == [0, 0]
    (jump, end) = (stop for stop in asked if "web" in stop["story"])
    assert jump["story"] == (
        "Rule 1 of filter:INPUT means the packet and jumps to web; a return from there goes on behind this rule."
    )
    assert ("call stack", "INPUT rule 1 › web") in end["facts"]


def test_in_a_journey_a_change_has_the_packet_before_it() -> None:
    stops = tell(router().receive("eth0", PACKETS["udp"]))
    (rule,) = (stop for stop in stops if stop["title"] == "Rule 1 of mangle:PREROUTING")
    facts = dict(rule["facts"])
    assert facts["before"].endswith("ttl=64")
    assert facts["packet"].endswith("ttl=20")
