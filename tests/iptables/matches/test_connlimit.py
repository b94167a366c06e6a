"""How many connections a host or a network has."""

import pytest

from netlab.host import Host
from netlab.iptables.words import RuleError
from netlab.packet import Packet
from netlab.trace import Dropped
from tests.iptables.matches.asking import DROPPED, counted, counting, cut, means, tcp, udp
from tests.iptables.targets.rig import CLIENT, SERVER, all_of, load


def found(host: Host, packet: Packet, dev: str = "eth0") -> int:
    """How many connections the rules `above 0`, `above 1`... find when that packet comes."""
    before = sum(counted(host))
    host.receive(dev, packet)
    return sum(counted(host)) - before


def ladder(options: str = "", chain: str = "FORWARD") -> Host:
    return counting(*(f"-m connlimit --connlimit-above {n} {options}" for n in range(6)), chain=chain)


def opened(host: Host, port: int) -> int:
    """A handshake; what was found at its end."""
    found(host, tcp(port, flags="S", seq=10))
    found(host, Packet.tcp(SERVER, CLIENT, 80, port, "SA", seq=50, ack=11), "eth1")
    return found(host, tcp(port, flags="A", seq=11, ack=51))


def test_connections_of_a_host() -> None:
    host = ladder()
    assert [found(host, udp(port)) for port in (1, 2, 2, 1, 3)] == [1, 2, 2, 2, 3]
    assert found(host, Packet.udp("10.0.1.3", SERVER, 1, 2)) == 1
    host.wires.clock.advance(31)
    assert found(host, udp(9)) == 1


def test_of_a_network_and_of_a_destination() -> None:
    host = ladder("--connlimit-mask 24 --connlimit-daddr")
    assert [found(host, Packet.udp(CLIENT, f"10.0.2.{n}", 1, 2)) for n in (2, 3, 4)] == [1, 2, 3]


def test_what_never_came_through_does_not_count() -> None:
    host = ladder()
    load(host, "*filter\n-A FORWARD -j DROP\nCOMMIT\n")
    assert [found(host, udp(port)) for port in (1, 2, 3)] == [1, 1, 1]


def test_closed_connections_do_not_count() -> None:
    host = ladder()
    assert [opened(host, port) for port in (1, 2)] == [1, 2]
    found(host, tcp(1, flags="R", seq=11))
    assert found(host, tcp(3, flags="S")) == 2


def test_the_reset_of_the_last_connection_is_dropped() -> None:
    """It is closed by then, so there are 0, which the kernel takes for a want of memory."""
    host = ladder()
    opened(host, 1)
    (dropped,) = all_of(host.receive("eth0", tcp(1, flags="R", seq=11)), Dropped)
    assert "mangle:FORWARD:rule:1 DROP" in dropped.why


def test_connections_from_before_the_rule() -> None:
    host = ladder("--connlimit-mask 0", chain="INPUT")
    for port in (1, 2, 3):
        opened(host, port)
    host.firewall.restore(
        "*mangle\n" + "\n".join(f"-A FORWARD -m connlimit --connlimit-above {n}" for n in range(4)) + "\nCOMMIT\n"
    )
    # The first one makes the list; those that are ASSURED already are not added to it.
    assert [found(host, tcp(port, flags="A", seq=11, ack=51)) for port in (1, 2, 3)] == [1, 1, 1]
    assert found(host, tcp(4, flags="S")) == 2


def test_up_to_is_the_contrary_of_above() -> None:
    host = counting("-m connlimit --connlimit-upto 1", "-m connlimit ! --connlimit-above 1", chain="FORWARD")
    for port in (1, 2):
        host.receive("eth0", udp(port))
    assert counted(host) == [1, 1]
    rules = list(host.firewall.ruleset.tables["mangle"].rules())
    assert rules[0].says(rules[1])


def test_without_ports_nothing_can_be_counted() -> None:
    assert means("-m connlimit --connlimit-above 0", cut(tcp(), 3)) is DROPPED


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("", "You must specify"), ("--connlimit-above 1 --connlimit-upto 2", "cannot be used together"),
        ("--connlimit-above -1", "not a number"), ("--connlimit-above 1 --connlimit-mask 33", "invalid mask"),
        ("--connlimit-above 1 --connlimit-saddr --connlimit-daddr", "cannot be used together"),
    ],
)  # fmt: skip
def test_refused(options: str, complaint: str) -> None:
    with pytest.raises(RuleError, match=complaint):
        counting(f"-m connlimit {options}")
