"""Rules in force: when they hang on which hook, what stays when they are exchanged, and that nothing is half loaded."""

import pytest

from netlab.host import Host
from netlab.iptables.extension import Variant
from netlab.iptables.model import Ruleset
from netlab.iptables.restore import restore
from netlab.iptables.words import RuleError
from netlab.names import Hook, NetlabError
from netlab.packet import Packet
from netlab.shell import run_command
from netlab.trace import Routed
from tests.iptables.targets.rig import CLIENT, SERVER, all_of, router, sent

UDP = Packet.udp(CLIENT, SERVER, 4000, 53)
VARIANTS: tuple[Variant, ...] = ("nft", "legacy")
both = pytest.mark.parametrize("variant", VARIANTS)


def hooked(host: Host) -> list[str]:
    """What hangs where: `FORWARD 0 filter:FORWARD`."""
    return [" ".join(str(entry).split()) for hook in Hook for entry in host.hooks.on(hook)]


def state(host: Host) -> tuple[object, ...]:
    """All that loading rules could change."""
    firewall = host.firewall
    return hooked(host), firewall.save(counters=True), firewall.ruleset, host.conntrack


# ---------------------------------------------------------------- where chains hang


def test_nft_hangs_only_what_is_named() -> None:
    host = router(":FORWARD ACCEPT [0:0]", ":user - [0:0]", "-A OUTPUT")
    assert hooked(host) == ["FORWARD 0 filter:FORWARD", "LOCAL_OUT 0 filter:OUTPUT"]


def test_legacy_hangs_all_of_a_table() -> None:
    host = router(":user - [0:0]", variant="legacy")
    assert hooked(host) == ["LOCAL_IN 0 filter:INPUT", "FORWARD 0 filter:FORWARD", "LOCAL_OUT 0 filter:OUTPUT"]


@pytest.mark.parametrize(("variant", "priority"), [("nft", 150), ("legacy", 50)])
def test_security_comes_later_with_nft(variant: Variant, priority: int) -> None:
    host = router(":FORWARD ACCEPT [0:0]", table="security", variant=variant)
    assert f"FORWARD {priority} security:FORWARD" in hooked(host)


def test_tables_in_the_kernels_order() -> None:
    host = router()
    for table in ("filter", "nat", "security", "raw", "mangle"):
        rule = "-j MASQUERADE" if table == "nat" else ""
        chain = "OUTPUT" if table != "nat" else "POSTROUTING"
        host.firewall.restore(f"*{table}\n:OUTPUT ACCEPT\n-A {chain} {rule}\nCOMMIT\n")
    names = [entry.name for entry in host.hooks.on(Hook.LOCAL_OUT)]
    assert names == [
        "ipv4_conntrack_defrag", "raw:OUTPUT", "nf_conntrack_in", "mangle:OUTPUT", "nf_nat_ipv4_local_fn",
        "filter:OUTPUT", "security:OUTPUT",
    ]  # fmt: skip


@both
def test_rules_that_are_gone_hang_nowhere(variant: Variant) -> None:
    host = router("-A FORWARD -j DROP", variant=variant)
    host.firewall.replace(Ruleset())
    assert hooked(host) == []
    assert len(sent(host.receive("eth0", UDP))) == 1


# ---------------------------------------------------------------- conntrack


@both
def test_conntrack_comes_with_the_first_rule_that_needs_it_and_goes_with_the_last(variant: Variant) -> None:
    host = router("-A FORWARD -p udp", variant=variant)
    assert host.conntrack is None
    host.firewall.restore("*filter\n:user - [0:0]\n-A user -m conntrack --ctstate NEW\nCOMMIT\n", noflush=True)
    tracking = ["nf_conntrack_in", "nf_confirm", "ipv4_conntrack_defrag"]
    assert all(any(name in line for line in hooked(host)) for name in tracking)
    host.receive("eth0", UDP)
    assert host.conntrack is not None
    assert len(host.conntrack.table) == 1
    run_command(host, "iptables -F user")
    assert not any(name in line for line in hooked(host) for name in tracking)
    assert len(host.conntrack.table) == 1


def test_who_tracks_from_the_start_goes_on() -> None:
    host = router("-A FORWARD -m conntrack --ctstate NEW", conntrack="on")
    host.firewall.replace(Ruleset())
    assert any("nf_conntrack_in" in line for line in hooked(host))


def test_a_nat_table_without_rules_that_translate_tracks_nothing() -> None:
    assert router(":PREROUTING ACCEPT [0:0]", "-A PREROUTING -j ACCEPT", table="nat").conntrack is None


# ---------------------------------------------------------------- all or nothing

LOADED = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m statistic --mode nth --every 3 --packet 0\nCOMMIT\n"
TRACKING = "*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n*mangle\n:FORWARD DROP\nCOMMIT\n"
REFUSED = {
    "a word": "*filter\n-A FORWARD --nothing\nCOMMIT\n",
    "no COMMIT": "*filter\n-A FORWARD -j DROP\n",
    "a circle": "*filter\n:a -\n:b -\n-A FORWARD -j a\n-A a -j b\n-A b -g a\nCOMMIT\n",
    "the wrong table": "*filter\n-A FORWARD -j MASQUERADE\nCOMMIT\n",
    "the wrong chain": "*nat\n-A PREROUTING -j MASQUERADE\nCOMMIT\n",
    "no such set": "*filter\n-A FORWARD -m set --match-set nobody src -j DROP\nCOMMIT\n",
    "a policy": "*filter\n:FORWARD REJECT [0:0]\nCOMMIT\n",
}


@both
@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_nothing_is_half_loaded(variant: Variant, text: str) -> None:
    host = router(variant=variant)
    host.firewall.restore(LOADED)
    host.receive("eth0", UDP)
    before = state(host)
    with pytest.raises(RuleError) as error:
        host.firewall.restore(TRACKING + text)
    assert error.value.place is not None
    assert error.value.place.line > TRACKING.count("\n")
    assert state(host) == before
    host.receive("eth0", UDP)
    host.receive("eth0", UDP)
    host.receive("eth0", UDP)
    (rule,) = host.firewall.ruleset.tables["filter"].rules()
    assert rule.counters.packets == 2


@both
def test_a_command_that_is_refused_changes_nothing(variant: Variant) -> None:
    host = router("-A FORWARD -j ACCEPT", variant=variant)
    before = state(host)
    for command in (
        "-A FORWARD -j MASQUERADE",
        "-I FORWARD 9 -j DROP",
        "-P FORWARD REJECT",
        "-N FORWARD",
        "-D FORWARD 2",
    ):
        assert run_command(host, f"iptables {command}").status
        assert state(host) == before


# ---------------------------------------------------------------- what rules remember

SECOND = "-A FORWARD -m statistic --mode nth --every 2 --packet 1 -j DROP"


@pytest.mark.parametrize(("variant", "goes_on"), [("nft", True), ("legacy", False)])
def test_a_rule_that_stays_goes_on_with_what_it_remembers(variant: Variant, goes_on: bool) -> None:
    """iptables-legacy hands the kernel the whole table anew."""
    host = router(SECOND, variant=variant)
    assert len(sent(host.receive("eth0", UDP))) == 1
    run_command(host, "iptables -A FORWARD -p tcp")
    assert (not sent(host.receive("eth0", UDP))) is goes_on


@both
def test_a_change_of_another_table_makes_nothing_anew(variant: Variant) -> None:
    host = router(SECOND, variant=variant)
    host.receive("eth0", UDP)
    run_command(host, "iptables -t mangle -A FORWARD -p tcp")
    run_command(host, f"iptables -C {SECOND.removeprefix('-A ')}")
    assert sent(host.receive("eth0", UDP)) == []


@both
def test_a_rule_loaded_again_begins_anew(variant: Variant) -> None:
    host = router(SECOND, variant=variant)
    host.receive("eth0", UDP)
    host.firewall.restore(host.firewall.save())
    assert len(sent(host.receive("eth0", UDP))) == 1


@pytest.mark.parametrize(
    ("command", "kept"), [("-C FORWARD -p udp", True), ("-X", True), ("-S", True), ("-N x", False)]
)
def test_what_makes_legacy_count_policies_anew(command: str, kept: bool) -> None:
    host = router("-A FORWARD -p udp", variant="legacy")
    host.receive("eth0", UDP)
    assert run_command(host, f"iptables {command}").status == 0
    assert (host.firewall.ruleset.tables["filter"].chains["FORWARD"].counters.packets == 1) is kept


# ---------------------------------------------------------------- changed packets and routes


@pytest.mark.parametrize(("table", "again"), [("mangle", True), ("raw", False), ("filter", False)])
def test_only_mangle_has_what_is_sent_routed_again(table: str, again: bool) -> None:
    change = {"mangle": "-j MARK --set-xmark 0x1/0x1", "raw": "-j CT --notrack", "filter": "-j ACCEPT"}[table]
    rule, route = "fwmark 0x1 table 100", "default via 10.0.2.9 table 100"
    host = router(f"-A OUTPUT {change}", table=table, rules=[rule], routes=[route])
    trace = host.send(Packet.udp("10.0.1.1", "10.0.1.7", 1, 2))
    assert len(all_of(trace, Routed)) == 1 + again


def test_a_mark_from_mangle_output_chooses_the_route() -> None:
    options = {"rules": ["fwmark 0x1 table 100"], "routes": ["default via 10.0.2.9 table 100"]}
    host = router("-A OUTPUT -p udp -j MARK --set-xmark 0x1/0x1", table="mangle", **options)
    assert "sent on eth1 to 10.0.2.9" in str(host.send(Packet.udp("10.0.1.1", "10.0.1.7", 1, 2)))
    assert "sent on eth0" in str(host.send(Packet.icmp("10.0.1.1", "10.0.1.7", 8, 0)))


def test_a_mark_from_elsewhere_comes_too_late() -> None:
    options = {"rules": ["fwmark 0x1 table 100"], "routes": ["default via 10.0.2.9 table 100"]}
    host = router("-A POSTROUTING -j MARK --set-xmark 0x1/0x1", table="mangle", **options)
    trace = host.send(Packet.udp("10.0.1.1", "10.0.1.7", 1, 2))
    assert "sent on eth0" in str(trace)
    assert [packet.mark for packet in sent(trace)] == [1]


# ---------------------------------------------------------------- shown


def test_how_it_shows_itself() -> None:
    host = router("-A FORWARD -i eth0 -m comment --comment <b>")
    assert str(host.firewall) == host.firewall.save()
    assert repr(host.firewall) == "<Firewall of router: filter>"
    assert "&lt;b&gt;" in host.firewall._repr_html_()
    assert "no rules" in router().firewall._repr_html_()


def test_the_source_of_a_table_that_is_not_in_use() -> None:
    with pytest.raises(NetlabError, match="no rules in a table 'nat'"):
        router().firewall.source("nat")


def test_a_set_that_is_not_there_is_named_where_it_stands() -> None:
    with pytest.raises(RuleError, match="Set nobody doesn't exist") as error:
        router("-A FORWARD -p tcp -m set --match-set nobody src -j DROP")
    assert error.value.place == (2, 22)


def test_tables_read_again_what_they_show() -> None:
    host = router(":user - [0:0]", "-A user -p tcp -m comment --comment <b>", "-A FORWARD -j user")
    rules = host.firewall.ruleset
    assert str(restore(f"{rules}\n")) == str(rules)
    assert "&lt;b&gt;" in rules._repr_html_()
    assert "&lt;b&gt;" in rules.tables["filter"]._repr_html_()
    assert "&lt;b&gt;" in rules.tables["filter"].chains["user"].rules[0]._repr_html_()
