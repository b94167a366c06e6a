"""Ranges of addresses, TTL, length, TOS and DSCP, the packet's mark, comments."""

import pytest

from netlab.iptables.words import RuleError
from tests.iptables.matches.asking import counting, means, udp
from tests.iptables.targets.rig import CLIENT


@pytest.mark.parametrize(
    ("match", "answer"),
    [
        ("iprange --src-range 10.0.1.1-10.0.1.2", True), ("iprange --src-range 10.0.1.3-10.0.1.9", False),
        (f"iprange --src-range {CLIENT}", True), ("iprange --src-range 10.0.1.9-10.0.1.1", False),
        ("iprange ! --src-range 10.0.1.9-10.0.1.1", True),
        ("iprange --src-range 10.1-10.2 --dst-range 10.0.2.0-10.0.2.9", False),
        ("ttl --ttl-eq 64", True), ("ttl --ttl 63", False), ("ttl ! --ttl-eq 63", True), ("ttl --ttl-lt 65", True),
        ("ttl --ttl-lt 64", False), ("ttl --ttl-gt 63", True), ("ttl --ttl-gt 64", False), ("ttl --ttl-lt 0", False),
        ("length --length 32", True), ("length --length 33:", False), ("length --length :32", True),
        ("length ! --length 0:65535", False), ("length --length 40:20", False),
        ("tos --tos 0x13", True), ("tos --tos 0x10", False), ("tos --tos 0x10/0xf0", True),
        ("tos --tos 0x13/0x10", False),
        ("tos --tos Minimize-Delay", False), ("tos ! --tos 0x01/0x03", True),
        ("dscp --dscp 4", True), ("dscp --dscp-class AF11", False), ("dscp ! --dscp 0x2e", True),
        ("mark --mark 0", True), ("mark --mark 7", False), ("mark ! --mark 1/1", True), ("mark --mark 1/0", False),
        ('comment --comment "anything at all"', True),
    ],
)  # fmt: skip
def test_fields(match: str, answer: bool) -> None:
    packet = udp(data=b"1234", ttl=64, tos=0x13)
    assert means(f"-m {match}", packet, variant="nft") is answer
    assert means(f"-m {match}", packet, variant="legacy") is answer


@pytest.mark.parametrize("name", ["Normal-Service", "minimize-cost"])
def test_names_of_old_leave_the_precedence_out(name: str) -> None:
    assert means(f"-m tos --tos {name}", udp(tos=0xC0 if name[0] == "N" else 0xC2)) is True


@pytest.mark.parametrize(
    ("match", "complaint"),
    [
        ("iprange", "You must specify"), ("iprange --src-range 10.0.0.9-", "no range of addresses"),
        ("ttl", "exactly one"), ("ttl --ttl-lt 2 --ttl-gt 5", "exactly one"), ("ttl --ttl-eq 256", "from 0 to 255"),
        ("length --length 65536", "from 0 to 65535"), ("tos --tos foo", "unknown"), ("tos --tos 0x10/0x100", "unknown"),
        ("dscp --dscp 64", "from 0 to 63"), ("dscp --dscp-class foo", "Invalid DSCP"), ("dscp", "--dscp is required"),
        ("dscp --dscp 3 --dscp-class EF", "cannot be used together"), ("mark", "must be specified"),
        ("mark --mark 4294967296", "from 0 to 4294967295"), ("comment", "must be specified"),
        ("comment --comment " + "x" * 256, "at most 255 bytes"),
    ],
)  # fmt: skip
def test_refused(match: str, complaint: str) -> None:
    with pytest.raises(RuleError, match=complaint):
        counting(f"-m {match}")
