"""ICMP's types and codes."""

import pytest

from netlab.iptables.words import RuleError
from netlab.packet import Packet
from tests.iptables.matches.asking import DROPPED, counting, cut, later, means
from tests.iptables.targets.rig import CLIENT, SERVER

PING = Packet.icmp(CLIENT, SERVER, 8, 0)


@pytest.mark.parametrize(
    ("wanted", "type", "code", "answer"),
    [
        ("echo-request", 8, 0, True), ("ping", 8, 77, True), ("8/0", 8, 77, False), ("any", 77, 3, True),
        ("255", 8, 0, True), ("255/1", 8, 0, True), ("3", 3, 13, True), ("host-unreachable", 3, 1, True),
        ("host-unreachable", 3, 0, False), ("destination", 3, 5, True), ("0x3/0x1", 3, 1, True), ("any", 255, 0, True),
    ],
)  # fmt: skip
def test_types(wanted: str, type: int, code: int, answer: bool) -> None:
    packet = Packet.icmp(CLIENT, SERVER, type, code)
    assert means(f"-p icmp -m icmp --icmp-type {wanted}", packet) is answer
    assert means(f"-p icmp -m icmp ! --icmp-type {wanted}", packet) is not answer


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_a_header_cut_off_is_dropped_and_a_fragment_has_none(variant: str) -> None:
    assert means("-p icmp -m icmp --icmp-type any", cut(PING, 7), variant=variant) is DROPPED
    assert means("-p icmp -m icmp ! --icmp-type 3", later(PING), variant=variant) is False


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ("echo", "may be echo-reply or echo-request"), ("256", "unknown ICMP type"), ("3/256", "unknown ICMP code"),
        ("3/", "unknown ICMP code"), ("foo", "unknown ICMP type"), ('""', "unknown ICMP type"),
    ],
)  # fmt: skip
def test_refused(wanted: str, complaint: str) -> None:
    with pytest.raises(RuleError, match=complaint):
        counting(f"-p icmp --icmp-type {wanted}")
