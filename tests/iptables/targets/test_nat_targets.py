"""SNAT, DNAT, MASQUERADE, REDIRECT, NETMAP: what their options mean. What NAT does with it is tested in tests/nat."""

import pytest

from netlab.addresses import parse_address
from netlab.host import Host
from netlab.iptables.parse import parse
from netlab.iptables.targets.nat import Translation
from netlab.iptables.words import RuleError, split
from netlab.nat.ranges import NatRange
from netlab.packet import Packet
from netlab.trace import Delivered
from tests.iptables.targets.rig import CLIENT, INSIDE, OUTSIDE, SERVER, all_of, router, sent

TCP = Packet.tcp(CLIENT, SERVER, 4000, 80, "S")


def range_of(chain: str, target: str) -> NatRange:
    found = parse(list(split(f"-A {chain} -p tcp -j {target}"))).rules[0].target
    assert isinstance(found, Translation)
    return found.range


def address(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return parse_address(first), parse_address(last or first)


@pytest.mark.parametrize(
    ("chain", "target", "expected"),
    [
        ("POSTROUTING", "SNAT --to-source 192.0.2.1", NatRange(address("192.0.2.1"))),
        ("POSTROUTING", "SNAT --to 192.0.2.9-192.0.2.1", NatRange(address("192.0.2.9-192.0.2.1"))),
        ("POSTROUTING", "SNAT --to-source :80-90 --random-fully", NatRange(None, (80, 90), random_fully=True)),
        ("POSTROUTING", "SNAT --to-source 192.0.2.1:http", NatRange(address("192.0.2.1"), (80, 80))),
        ("POSTROUTING", "SNAT --persistent --to-source 192.0.2.1", NatRange(address("192.0.2.1"), persistent=True)),
        ("PREROUTING", "DNAT --to-destination :1000-1010/80", NatRange(None, (1000, 1010), base=80)),
        ("PREROUTING", "DNAT --to-destination 10.0.2.2:80 --random", NatRange(address(SERVER), (80, 80), random=True)),
        ("POSTROUTING", "MASQUERADE", NatRange()),
        ("POSTROUTING", "MASQUERADE --to-ports 1000-2000", NatRange(None, (1000, 2000))),
        ("PREROUTING", "REDIRECT --to-ports 8080", NatRange(None, (8080, 8080))),
        ("PREROUTING", "NETMAP --to 10.9.0.7/24", NatRange(address("10.9.0.0-10.9.0.255"), netmap=True)),
    ],
)
def test_what_options_mean(chain: str, target: str, expected: NatRange) -> None:
    assert range_of(chain, target) == expected
    printed = str(parse(list(split(f"-A {chain} -p tcp -j {target}"))).rules[0])
    (again,) = parse(list(split(f"-A {chain} {printed}"))).rules
    assert isinstance(again.target, Translation)
    assert again.target.range == expected


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("-A POSTROUTING -j SNAT", '"--to-source" must be specified'),
        ("-A POSTROUTING -j SNAT --to-source 192.0.2.1:80", "Need TCP, UDP, SCTP or DCCP"),
        ("-A POSTROUTING -p tcp -j SNAT --to-source 192.0.2.1:90-80", "Port range `80' funky"),
        ("-A POSTROUTING -p tcp -j SNAT --to-source 192.0.2.1:", "Port `' not valid"),
        ("-A POSTROUTING -j SNAT --to-source 192.0.2.1/24", "192.0.2.1/24"),
        ("-A PREROUTING -j SNAT --to-source 192.0.2.1", "PREROUTING"),
        ("-A POSTROUTING -j DNAT --to-destination 192.0.2.1", "POSTROUTING"),
        ("-A PREROUTING -p tcp -j DNAT --to-destination 192.0.2.1:80/5", "Garbage after port value: `/5'"),
        ("-A PREROUTING -j MASQUERADE", "PREROUTING"),
        ("-A POSTROUTING -p tcp -j MASQUERADE --to-ports 1:2", "use dash"),
        ("-A PREROUTING -p gre -j REDIRECT --to-ports 1", "Need TCP, UDP, SCTP or DCCP"),
        ("-A PREROUTING -j NETMAP", '"--to" must be specified'),
        ("-A PREROUTING -j NETMAP --to 10.0.0.0/255.0.255.0", "holes"),
    ],
)
def test_nonsense_is_refused(rule: str, problem: str) -> None:
    with pytest.raises(RuleError, match=problem):
        router(rule, table="nat")


def translated(rule: str, packet: Packet = TCP) -> Packet:
    (out,) = sent(router(rule, table="nat").receive("eth0", packet))
    assert out.checksum_ok()
    return out


def test_each_changes_its_end() -> None:
    assert translated("-A POSTROUTING -j SNAT --to-source 192.0.2.1").src == "192.0.2.1"
    assert translated("-A POSTROUTING -o eth1 -j MASQUERADE").src == INSIDE
    assert translated("-A POSTROUTING -j NETMAP --to 192.0.2.0/24").src == "192.0.2.2"
    assert translated("-A PREROUTING -j NETMAP --to 10.0.2.128/25").dst == "10.0.2.130"
    to = translated("-A PREROUTING -p tcp -j DNAT --to-destination 10.0.2.9:8080")
    assert (to.dst, to.dport) == ("10.0.2.9", 8080)
    moved = translated("-A PREROUTING -p tcp -j DNAT --to-destination 10.0.2.9:1000-1100/70")
    assert moved.dport == 1010


def test_a_redirect_ends_here() -> None:
    host = Host("router", {"eth0": f"{OUTSIDE}/24", "eth1": f"{INSIDE}/24"}, listen=["udp/53"])
    host.firewall.restore("*nat\n-A PREROUTING -p udp -j REDIRECT --to-ports 53\nCOMMIT\n")
    trace = host.receive("eth0", Packet.udp(CLIENT, SERVER, 4000, 5353))
    assert [event.socket for event in all_of(trace, Delivered)] == ["udp/53"]


def test_rules_are_asked_once_a_flow() -> None:
    host = router("-A POSTROUTING -j SNAT --to-source 192.0.2.1", table="nat")
    for _ in range(3):
        (out,) = sent(host.receive("eth0", TCP))
        assert out.src == "192.0.2.1"
    assert "[1:40] -A POSTROUTING" in host.firewall.save(counters=True)
