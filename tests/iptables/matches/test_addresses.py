"""What kinds of addresses a packet has, and whether a reply would leave where it came in."""

import pytest

from netlab.host import Host
from netlab.iptables.words import RuleError
from netlab.packet import Packet
from tests.iptables.matches.asking import counting, means, udp
from tests.iptables.targets.rig import CLIENT, OUTSIDE, SERVER


def to(destination: str, source: str = CLIENT) -> Packet:
    return Packet.udp(source, destination, 4000, 53)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        (OUTSIDE, "LOCAL"), (SERVER, "UNICAST"), ("8.8.8.8", "UNICAST"), ("10.0.1.255", "BROADCAST"),
        ("255.255.255.255", "BROADCAST"), ("0.0.0.0", "BROADCAST"), ("224.0.0.9", "MULTICAST"), ("127.9.9.9", "LOCAL"),
    ],
)  # fmt: skip
def test_kinds_of_addresses(address: str, kind: str) -> None:
    packet = to(address)
    assert means(f"-m addrtype --dst-type {kind}", packet) is True
    assert means(f"-m addrtype ! --dst-type {kind}", packet) is False
    assert (
        means("-m addrtype --dst-type ANYCAST,BLACKHOLE,UNREACHABLE,PROHIBIT,THROW,NAT,XRESOLVE,UNSPEC", packet)
        is False
    )
    assert means(f"-m addrtype --src-type UNICAST --dst-type LOCAL,{kind}", packet) is True


def test_an_address_of_another_interface_is_local_unless_only_one_counts() -> None:
    packet = to("10.0.2.1")
    assert means("-m addrtype --dst-type LOCAL", packet) is True
    assert means("-m addrtype --dst-type LOCAL --limit-iface-in", packet) is False
    assert means("-m addrtype --dst-type UNICAST --limit-iface-in", packet) is True
    assert means("-m addrtype --dst-type LOCAL --limit-iface-in", to(OUTSIDE)) is True


@pytest.mark.parametrize(
    ("chain", "match", "complaint"),
    [
        ("INPUT", "--src-type LOCAL --limit-iface-out", "packets in INPUT have no such interface"),
        ("OUTPUT", "--src-type LOCAL --limit-iface-in", "packets in OUTPUT have no such interface"),
        ("FORWARD", "--src-type LOCAL --limit-iface-in --limit-iface-out", "cannot be used together"),
        ("FORWARD", "--limit-iface-in", "you must specify"),
        ("FORWARD", "--src-type LOCAL,", "'' is none of UNSPEC"),
    ],
)
def test_refused(chain: str, match: str, complaint: str) -> None:
    with pytest.raises(RuleError, match=complaint):
        counting(f"-m addrtype {match}", chain=chain)


@pytest.mark.parametrize(
    ("options", "source", "dev", "passes"),
    [
        ("", CLIENT, "eth0", True), ("", SERVER, "eth0", False), ("--loose", SERVER, "eth0", True),
        ("", "8.8.8.8", "eth0", False), ("--loose", "8.8.8.8", "eth0", False), ("", OUTSIDE, "eth0", False),
        ("--accept-local", OUTSIDE, "eth0", True), ("--accept-local", OUTSIDE, "eth1", False),
        ("--accept-local --loose", OUTSIDE, "eth1", True), ("", "10.0.1.255", "eth0", False),
    ],
)  # fmt: skip
def test_the_way_back(options: str, source: str, dev: str, passes: bool) -> None:
    packet = to("10.0.2.9", source)
    assert means(f"-m rpfilter {options}", packet, dev=dev) is passes
    assert means(f"-m rpfilter {options} --invert", packet, dev=dev) is not passes


def test_who_asks_for_an_address_has_none() -> None:
    assert means("-m rpfilter", to("255.255.255.255", "0.0.0.0")) is True
    assert means("-m rpfilter", to("224.0.0.5", "0.0.0.0")) is True
    assert means("-m rpfilter", to(SERVER, "0.0.0.0")) is False


def test_marks_choose_the_way_back_if_that_is_wanted() -> None:
    rules = ("-A PREROUTING -j MARK --set-mark 1", "-A PREROUTING -m rpfilter", "-A PREROUTING -m rpfilter --validmark")
    host = Host(
        "router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"},
        routes=["10.0.1.0/24 dev eth1 table 7"], rules=["fwmark 1 table 7"],
    )  # fmt: skip
    host.firewall.restore("\n".join(["*mangle", *rules, "COMMIT", ""]))
    host.receive("eth0", udp())
    assert [rule.counters.packets for rule in host.firewall.ruleset.tables["mangle"].rules()] == [1, 1, 0]


def test_what_comes_over_lo_is_fine() -> None:
    host = counting("-m rpfilter", "-m rpfilter --invert")
    host.send(Packet.udp(OUTSIDE, OUTSIDE, 1, 2))
    counters = [rule.counters.packets for rule in host.firewall.ruleset.tables["mangle"].rules()]
    assert counters[0] > 0
    assert counters[1] == 0


@pytest.mark.parametrize(("table", "chain"), [("filter", "INPUT"), ("mangle", "FORWARD"), ("nat", "PREROUTING")])
def test_rpfilter_stands_before_routing_in_raw_and_mangle(table: str, chain: str) -> None:
    with pytest.raises(RuleError, match="rpfilter"):
        counting("-m rpfilter", table=table, chain=chain)
