"""Lists of ports."""

import pytest

from netlab.iptables.words import RuleError
from netlab.packet import Packet
from tests.iptables.matches.asking import DROPPED, counting, cut, later, means, tcp, udp
from tests.iptables.targets.rig import CLIENT, SERVER


@pytest.mark.parametrize(
    ("ports", "answer"),
    [
        ("--dports 80,443", True), ("--dports 81:90,443", False), ("--sports 80", False), ("--sports 1:65535", True),
        ("--ports 4000", True), ("--ports 80", True), ("--ports 443", False), ("--dports http", True),
    ],
)  # fmt: skip
def test_ports(ports: str, answer: bool) -> None:
    assert means(f"-p tcp -m multiport {ports}", tcp()) is answer
    assert means(f"-p tcp -m multiport ! {ports}", tcp()) is not answer


def test_other_protocols_with_ports() -> None:
    sctp = Packet.ip(CLIENT, SERVER, 132, udp(7, 9).payload + bytes(8))
    assert means("-p sctp -m multiport --dports 9", sctp) is True


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_broken_packets(variant: str) -> None:
    assert means("-p udp -m multiport --sports 4000", cut(udp(), 3), variant=variant) is DROPPED
    assert means("-p udp -m multiport --sports 4000", cut(udp(), 4), variant=variant) is True
    assert means("-p udp -m multiport ! --sports 53", later(udp()), variant=variant) is False


@pytest.mark.parametrize(
    ("match", "complaint"),
    [
        ("-m multiport --ports 80", "multiport needs `-p tcp'"),
        ("-p icmp -m multiport --ports 80", "not with icmp"),
        ("! -p tcp -m multiport --ports 80", "multiport"),
        ("-p tcp -m multiport --ports 5:5", "invalid portrange"),
        ("-p tcp -m multiport --ports " + ",".join(map(str, range(1, 17))), "too many ports"),
        ("-p tcp -m multiport --ports 1:2,3:4,5:6,7:8,9:10,11:12,13:14,15:16", "too many ports"),
        ("-p tcp -m multiport --sports 1 --dports 2", "exactly one of"),
        ("-p tcp -m multiport", "exactly one of"),
    ],
)
def test_refused(match: str, complaint: str) -> None:
    with pytest.raises(RuleError, match=complaint):
        counting(match)
