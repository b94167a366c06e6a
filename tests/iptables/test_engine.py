"""The walk over a table: which rule decides, where jumps come back to, and what is counted."""

import pytest

from netlab.host import Host
from netlab.iptables.extension import Variant
from netlab.packet import Packet
from netlab.shell import run_command
from netlab.trace import Dropped, Ruled
from tests.iptables.targets.rig import CLIENT, SERVER, all_of, decided, router, sent

UDP = Packet.udp(CLIENT, SERVER, 4000, 53)
VARIANTS: tuple[Variant, ...] = ("nft", "legacy")
ONE_TWO = (":one - [0:0]", ":two - [0:0]")


def forwarded(*rules: str, table: str = "filter", variant: Variant = "nft") -> list[str]:
    """What the rules in FORWARD decide of a datagram."""
    return decided(router(*ONE_TWO, *rules, table=table, variant=variant).receive("eth0", UDP))


def counters(host: Host, table: str = "filter") -> list[str]:
    return [str(rule.counters) for rule in host.firewall.ruleset.tables[table].rules()]


def test_the_first_rule_that_means_the_packet_decides() -> None:
    assert forwarded("-A FORWARD -p tcp -j ACCEPT", "-A FORWARD -p udp -j DROP", "-A FORWARD -j ACCEPT") == [
        "filter:FORWARD:rule:2 DROP"
    ]


def test_a_rule_without_a_target_goes_on() -> None:
    assert forwarded("-A FORWARD -p udp", "-A FORWARD -j DROP") == [
        "filter:FORWARD:rule:1 CONTINUE",
        "filter:FORWARD:rule:2 DROP",
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_jump_comes_back_behind_itself(variant: Variant) -> None:
    rules = "-A FORWARD -j one", "-A one -p udp", "-A FORWARD -j DROP"
    assert forwarded(*rules, variant=variant) == [
        "filter:FORWARD:rule:1 JUMP one",
        "filter:one:rule:1 CONTINUE",
        "filter:one:return",
        "filter:FORWARD:rule:2 DROP",
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_return_leaves_one_chain(variant: Variant) -> None:
    rules = "-A FORWARD -j one", "-A one -j two", "-A two -j RETURN", "-A two -j DROP", "-A one -j ACCEPT"
    assert forwarded(*rules, variant=variant) == [
        "filter:FORWARD:rule:1 JUMP one",
        "filter:one:rule:1 JUMP two",
        "filter:two:rule:1 RETURN",
        "filter:one:rule:2 ACCEPT",
    ]


@pytest.mark.parametrize("ends", ["-A two -j RETURN", "-A two -p tcp"])
def test_who_went_to_a_chain_comes_back_behind_the_last_jump(ends: str) -> None:
    rules = "-A FORWARD -j one", "-A one -g two", "-A one -j DROP", ends, "-A FORWARD -j ACCEPT"
    assert forwarded(*rules)[:2] == ["filter:FORWARD:rule:1 JUMP one", "filter:one:rule:1 GOTO two"]
    assert forwarded(*rules)[-1] == "filter:FORWARD:rule:2 ACCEPT"


@pytest.mark.parametrize("variant", VARIANTS)
def test_goto_from_the_chain_on_the_hook_ends_with_its_policy(variant: Variant) -> None:
    rules = ":FORWARD DROP [0:0]", "-A FORWARD -g one", "-A FORWARD -j ACCEPT", "-A one -p udp"
    assert forwarded(*rules, variant=variant)[-1] == "filter:FORWARD:policy DROP"


def test_return_in_the_chain_on_the_hook_asks_its_policy() -> None:
    assert forwarded(":FORWARD DROP [0:0]", "-A FORWARD -j RETURN", "-A FORWARD -j ACCEPT") == [
        "filter:FORWARD:rule:1 RETURN",
        "filter:FORWARD:policy DROP",
    ]


def test_who_is_dropped_is_told_by_which_rule() -> None:
    trace = router(*ONE_TWO, "-A FORWARD -j one", "-A one", "-A one -j DROP").receive("eth0", UDP)
    assert [event.why for event in all_of(trace, Dropped)] == ["filter:one:rule:2 DROP"]


def test_rules_count_what_they_mean_and_policies_the_rest() -> None:
    host = router(":FORWARD ACCEPT [0:0]", *ONE_TWO, "-A FORWARD -p udp -j one", "-A one -p tcp", "-A one -j RETURN")
    for size in (0, 72):
        host.receive("eth0", Packet.udp(CLIENT, SERVER, 4000, 53, bytes(size)))
    host.receive("eth0", Packet.tcp(CLIENT, SERVER, 4000, 80, "S"))
    assert counters(host) == ["[2:128]", "[0:0]", "[2:128]"]
    assert str(host.firewall.ruleset.tables["filter"].chains["FORWARD"].counters) == "[3:168]"


def test_a_match_behind_one_that_does_not_mean_the_packet_is_not_asked() -> None:
    every_second = "-m statistic --mode nth --every 2 --packet 0"
    host = router(f"-A FORWARD -p udp {every_second}", table="mangle")
    for packet in (UDP, Packet.tcp(CLIENT, SERVER, 4000, 80, "S"), UDP, UDP):
        host.receive("eth0", packet)
    assert counters(host, "mangle") == ["[2:56]"]


@pytest.mark.parametrize(("variant", "dropped"), [("nft", False), ("legacy", True)])
def test_a_header_that_is_cut_off(variant: Variant, dropped: bool) -> None:
    """ip_tables drops the packet at once (hotdrop), nf_tables goes on with the next rule."""
    host = router("-A FORWARD -p tcp -m tcp --dport 80 -j ACCEPT", "-A FORWARD -p udp", variant=variant)
    short = Packet.tcp(CLIENT, SERVER, 4000, 80, "S")
    trace = host.receive("eth0", short._replace(payload=short.payload[:2]))
    assert (not sent(trace)) is dropped
    assert counters(host) == ["[0:0]", "[0:0]"]
    if dropped:
        assert decided(trace) == ["filter:FORWARD:rule:1 DROP"]


def test_what_a_rule_changes_the_next_one_sees() -> None:
    rules = "-A FORWARD -j MARK --set-xmark 0x7/0xffffffff", "-A FORWARD -m mark --mark 0x7 -j TTL --ttl-set 9"
    host = router(*rules, "-A FORWARD -m ttl --ttl-eq 9 -j ACCEPT", table="mangle")
    trace = host.receive("eth0", UDP)
    first, second, third = all_of(trace, Ruled)
    assert [(first.before.mark, first.after.mark), (second.before.ttl, second.after.ttl)] == [(0, 7), (63, 9)]
    assert "[mark 0x0 -> 0x7]" in str(first)
    assert "ttl 63 -> 9" in str(second)
    assert str(third) == "mangle:FORWARD:rule:3 ACCEPT  -m ttl --ttl-eq 9 -j ACCEPT"
    assert [packet.ttl for packet in sent(trace)] == [9]


def test_verdicts_with_a_queues_number() -> None:
    host = router("-A FORWARD -j NFQUEUE --queue-num 7")
    assert decided(host.receive("eth0", UDP)) == ["filter:FORWARD:rule:1 QUEUE"]


def test_counters_begin_at_0_behind_64_bits() -> None:
    most = 2**64 - 1
    host = router(table="mangle")
    host.firewall.restore(
        f"*mangle\n:FORWARD ACCEPT [{most}:{most}]\n[{most}:{most}] -A FORWARD -p udp\nCOMMIT\n", counters=True
    )
    for _ in range(2):
        host.receive("eth0", UDP)
    assert "[1:55] -A FORWARD -p udp" in host.firewall.save(counters=True)
    assert ":FORWARD ACCEPT [1:55]" in host.firewall.save()
    assert "-A FORWARD -p udp -c 1 55" in str(run_command(host, "iptables -t mangle -S -v"))
    assert "    1    55            udp" in str(run_command(host, "iptables -t mangle -L -v"))
