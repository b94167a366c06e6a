"""Who sent the frame, and to whom it was."""

import pytest

from netlab.addresses import mac_address, outside_mac
from netlab.iptables.words import RuleError
from netlab.packet import Packet
from netlab.topology import Network
from tests.iptables.matches.asking import counted, counting, means, udp
from tests.iptables.targets.rig import OUTSIDE


def test_the_sender_of_a_frame() -> None:
    sender = outside_mac("router", "eth0")
    assert means(f"-m mac --mac-source {sender}", udp()) is True
    assert means(f"-m mac --mac-source {sender.upper()}", udp()) is True
    assert means(f"-m mac --mac-source {sender}", Packet.udp("10.0.2.2", "10.0.1.2", 1, 2), dev="eth1") is False
    assert means("-m mac ! --mac-source 2:0:0:0:0:1", udp()) is True


def test_the_sender_on_a_link_is_the_last_host() -> None:
    net = Network()
    for name, addresses in (("a", {"eth0": "10.0.1.2/24"}), ("b", {"eth0": "10.0.1.1/24"})):
        net.host(name, addresses, routes=["default via 10.0.1.1"] if name == "a" else [])
    net.link("a:eth0", "b:eth0")
    firewall = net.hosts["b"].firewall
    firewall.restore(f"*mangle\n-A INPUT -m mac --mac-source {mac_address('a', 'eth0')}\nCOMMIT\n")
    net.hosts["a"].send(Packet.udp("10.0.1.2", "10.0.1.1", 1, 2))
    assert [rule.counters.packets for rule in firewall.ruleset.tables["mangle"].rules()] == [1]


def test_lo_has_no_addresses() -> None:
    host = counting("-m mac --mac-source 02:00:00:00:00:01", "-m mac ! --mac-source 02:00:00:00:00:01")
    host.send(Packet.udp(OUTSIDE, OUTSIDE, 1, 2))
    assert counted(host) == [0, 0]


@pytest.mark.parametrize("chain", ["OUTPUT", "POSTROUTING"])
def test_what_leaves_has_no_sender_yet(chain: str) -> None:
    with pytest.raises(RuleError, match="mac"):
        counting("-m mac --mac-source 02:00:00:00:00:01", chain=chain)


@pytest.mark.parametrize("text", ["02-00-00-00-00-01", "02:00:00:00:00", "02:00:00:00:00:100", "x"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(RuleError, match="no MAC address"):
        counting(f"-m mac --mac-source {text}")


def test_addresses_are_those_that_anybody_may_give_out() -> None:
    assert mac_address("router", "eth0").startswith("02:")
    assert len({mac_address(host, dev) for host in "ab" for dev in ("eth0", "eth1")} | {outside_mac("a", "eth0")}) == 5


def test_a_broadcast_hears_itself() -> None:
    host = counting(
        "-m pkttype --pkt-type broadcast", "-m pkttype --pkt-type unicast", "-m pkttype ! --pkt-type multicast"
    )
    host.send(Packet.udp(OUTSIDE, "10.0.1.255", 1, 2))
    assert counted(host) == [1, 0, 1]


def test_a_frame_for_this_host_alone_is_unicast_whatever_is_in_it() -> None:
    assert means("-m pkttype --pkt-type unicast", Packet.udp("10.0.1.2", "10.0.1.255", 1, 2)) is True
    assert means("-m pkttype --pkt-type host", udp()) is True
    assert means("-m pkttype ! --pkt-type bcast", udp()) is True


def test_no_type() -> None:
    with pytest.raises(RuleError, match="'uni' is none of unicast, broadcast, multicast, otherhost"):
        counting("-m pkttype --pkt-type uni")
