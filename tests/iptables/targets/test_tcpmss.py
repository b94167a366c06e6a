"""TCPMSS: the option MSS, made smaller, or added."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.iptables.targets.tcpmss import with_mss
from netlab.iptables.words import RuleError
from netlab.packet import OFFSET, Packet, Tcp
from netlab.trace import Dropped
from tests.iptables.targets.rig import CLIENT, SERVER, all_of, router, sent

SYN = "-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS"


def mss(size: int) -> bytes:
    return b"\2\4" + size.to_bytes(2, "big")


def options_after(rule: str, packet: Packet, **host: object) -> bytes:
    (out,) = sent(router(rule, table="mangle", **host).receive("eth0", packet))
    segment = out.l4
    assert isinstance(segment, Tcp)
    assert out.checksum_ok()
    assert isinstance(packet.l4, Tcp)
    assert segment.payload == packet.l4.payload
    return segment.options


def syn(options: bytes = b"", payload: bytes = b"") -> Packet:
    return Packet.tcp(CLIENT, SERVER, 4000, 80, "S", tcp_options=options, payload=payload)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (mss(1460), mss(1000)),
        (mss(1000), mss(1000)),
        (mss(500), mss(500)),
        (b"\1\1" + mss(1460) + b"\4\2", b"\1\1" + mss(1000) + b"\4\2"),
        (b"", mss(536)),  # what is not said is the default, and made no larger
        (b"\4\2\1\1", mss(536) + b"\4\2\1\1"),
        (b"\1" * 40, b"\1" * 40),  # no room
        (b"\2\0\1\1" + mss(1460), b"\2\0\1\1" + mss(1000)),  # an option of no length is passed over byte by byte
    ],
)
def test_set_mss(before: bytes, after: bytes) -> None:
    assert options_after(f"{SYN} --set-mss 1000", syn(before)) == after


def test_no_option_is_added_in_front_of_data() -> None:
    assert options_after(f"{SYN} --set-mss 1000", syn(payload=b"data")) == b""
    assert options_after(f"{SYN} --set-mss 1000", syn(mss(1460), b"data")) == mss(1000)


def test_clamped_to_the_smaller_of_both_ways() -> None:
    assert options_after(f"{SYN} --clamp-mss-to-pmtu", syn(mss(9000))) == mss(1460)
    assert options_after(f"{SYN} --clamp-mss-to-pmtu", syn(mss(9000)), mtu={"eth1": 1400}) == mss(1360)
    assert options_after(f"{SYN} --clamp-mss-to-pmtu", syn(mss(9000)), mtu={"eth0": 1300}) == mss(1260)


def test_a_broken_header_is_dropped_and_a_later_fragment_passes() -> None:
    host = router("-A FORWARD -p tcp -j TCPMSS --set-mss 1000", table="mangle")
    whole = syn(mss(1460))
    lying = whole._replace(payload=whole.payload[:12] + b"\xf0" + whole.payload[13:])
    assert [event.reason for event in all_of(host.receive("eth0", lying), Dropped)] == ["NETFILTER_DROP"]
    later = whole._replace(frag=5 & OFFSET)
    assert [packet.payload for packet in sent(host.receive("eth0", later))] == [whole.payload]


@given(options=st.binary(max_size=40), size=st.integers(0, 0xFFFF), data=st.binary(max_size=4))
def test_nothing_but_the_option_changes(options: bytes, size: int, data: bytes) -> None:
    before = syn(options, data)
    segment = before.l4
    assert isinstance(segment, Tcp)
    changed = with_mss(before.payload, segment.offset, size)
    if changed is None:
        return
    after = before._replace(payload=changed).l4
    assert isinstance(after, Tcp)
    assert after.payload == segment.payload
    same = ("sport", "dport", "seq", "ack", "flags", "window", "urgent")
    assert [getattr(after, name) for name in same] == [getattr(segment, name) for name in same]
    if len(after.options) > len(segment.options):
        assert after.options == mss(min(size, 536)) + segment.options
        assert before._replace(payload=changed).checksum_ok()
    else:
        assert sum(a != b for a, b in zip(after.options, segment.options, strict=True)) in (1, 2)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("-A FORWARD -j TCPMSS --set-mss 1000", "needs -p tcp"),
        ("-A FORWARD -p tcp -j TCPMSS", "At least one parameter"),
        ("-A FORWARD -p tcp -j TCPMSS --set-mss 65516", "65515"),
        ("-A PREROUTING -p tcp -j TCPMSS --clamp-mss-to-pmtu", "only supported in FORWARD"),
    ],
)
def test_nonsense_is_refused(rule: str, problem: str) -> None:
    with pytest.raises(RuleError, match=problem):
        router(rule, table="mangle")
