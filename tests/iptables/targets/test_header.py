"""TTL, TOS, DSCP, CHECKSUM: what of the header they write."""

import pytest

from netlab.iptables.words import RuleError
from netlab.packet import Packet
from tests.iptables.targets.rig import CLIENT, SERVER, router, sent

PACKET = Packet.udp(CLIENT, SERVER, 4000, 53, ttl=64, tos=0xFF)


@pytest.mark.parametrize(
    ("option", "ttl"),
    [("--ttl-set 10", 10), ("--ttl-set 0", 0), ("--ttl-inc 200", 255), ("--ttl-dec 3", 60), ("--ttl-dec 200", 0)],
)
def test_ttl(option: str, ttl: int) -> None:
    (out,) = sent(router(f"-A POSTROUTING -j TTL {option}", table="mangle").receive("eth0", PACKET))
    assert out.ttl == ttl
    assert out.checksum is None


def test_a_ttl_lowered_before_routing_ends_the_packet() -> None:
    (error,) = sent(router("-A PREROUTING -j TTL --ttl-dec 63", table="mangle").receive("eth0", PACKET))
    assert (error.dst, error.payload[:2]) == (CLIENT, bytes((11, 0)))


@pytest.mark.parametrize(
    ("target", "tos"),
    [
        ("TOS --set-tos 0x10", 0x10), ("TOS --set-tos 0x10/0x3f", 0xD0), ("TOS --set-tos Minimize-Cost", 0xC2),
        ("TOS --and-tos 0xf0", 0xF0), ("TOS --or-tos 1", 0xFF), ("TOS --xor-tos 0x0f", 0xF0),
        ("DSCP --set-dscp 46", 0xBB), ("DSCP --set-dscp-class af31", 0x6B), ("DSCP --set-dscp-class BE", 0x03),
        ("CHECKSUM --checksum-fill", 0xFF),
    ],
)  # fmt: skip
def test_tos(target: str, tos: int) -> None:
    (out,) = sent(router(f"-A FORWARD -j {target}", table="mangle").receive("eth0", PACKET))
    assert out.tos == tos


@pytest.mark.parametrize(
    ("rule", "table", "problem"),
    [
        ("-j TTL", "mangle", "You must specify an action"),
        ("-j TTL --ttl-set 1 --ttl-inc 2", "mangle", "cannot be used together"),
        ("-j TTL --ttl-inc 0", "mangle", "from 1 to 255"),
        ("-j TTL --ttl-set 1", "filter", "mangle"),
        ("-j TOS", "mangle", "An action is required"),
        ("-j TOS --set-tos 0x100", "mangle", "unknown"),
        ("-j DSCP --set-dscp 64", "mangle", "from 0 to 63"),
        ("-j DSCP --set-dscp-class XX", "mangle", "Invalid DSCP value"),
        ("-j CHECKSUM", "mangle", "must be specified"),
    ],
)
def test_nonsense_is_refused_with_its_place(rule: str, table: str, problem: str) -> None:
    with pytest.raises(RuleError, match=problem) as caught:
        router(f"-A FORWARD {rule}", table=table)
    assert caught.value.place is not None
    assert caught.value.place.line == 2
