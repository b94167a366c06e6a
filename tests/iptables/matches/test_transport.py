"""Ports, flags and options of TCP, ports of UDP: what is asked, and what becomes of packets that are cut off."""

import pytest

from netlab.iptables.words import RuleError
from netlab.packet import Packet
from tests.iptables.matches.asking import DROPPED, counting, cut, later, means, tcp, udp

MSS, SACK, NOP = b"\x02\x04\x05\xb4", b"\x04\x02", b"\x01"


@pytest.mark.parametrize("variant", ["nft", "legacy"])
@pytest.mark.parametrize(
    ("match", "packet", "answer"),
    [
        ("-p tcp -m tcp --dport 80", tcp(), True),
        ("-p tcp -m tcp --dport 81:90", tcp(), False),
        ("-p tcp -m tcp ! --dport 81:90", tcp(), True),
        ("-p tcp -m tcp --sport :4000 --dport 80:", tcp(), True),
        ("-p tcp -m tcp --sport http", tcp(), False),
        ("-p tcp -m tcp --dport 80", udp(dport=80), False),
        ("-p udp -m udp --dport 53 ! --sport 53", udp(), True),
        ("-p tcp -m tcp --syn", tcp(flags="S"), True),
        ("-p tcp -m tcp --syn", tcp(flags="SPUEC"), True),
        ("-p tcp -m tcp --syn", tcp(flags="SA"), False),
        ("-p tcp -m tcp ! --syn", tcp(flags="SA"), True),
        ("-p tcp -m tcp --tcp-flags ALL NONE", tcp(flags=""), True),
        ("-p tcp -m tcp --tcp-flags ALL NONE", tcp(flags="EC"), True),
        ("-p tcp -m tcp --tcp-flags SYN,FIN SYN,FIN", tcp(flags="SF"), True),
        ("-p tcp -m tcp --tcp-flags SYN FIN", tcp(flags="SF"), False),
        ("-p tcp -m tcp --tcp-option 4", tcp(tcp_options=NOP + SACK + MSS), True),
        ("-p tcp -m tcp --tcp-option 5", tcp(tcp_options=NOP + SACK + MSS), False),
        ("-p tcp -m tcp ! --tcp-option 2", tcp(tcp_options=NOP + SACK + MSS), False),
        ("-p tcp -m tcp ! --tcp-option 2", tcp(), True),
    ],
)  # fmt: skip
def test_headers(match: str, packet: Packet, answer: bool, variant: str) -> None:
    assert means(match, packet, variant=variant) is answer


@pytest.mark.parametrize(
    ("match", "packet", "nft", "legacy"),
    [
        # nftables reads just the bytes that it compares; the module wants a whole header.
        ("-p udp -m udp --sport 4000", cut(udp(), 2), True, DROPPED),
        ("-p udp -m udp --dport 53", cut(udp(), 3), False, DROPPED),
        ("-p udp -m udp --dport 53", cut(udp(), 4), True, DROPPED),
        ("-p tcp -m tcp --dport 80", cut(tcp(), 19), True, DROPPED),
        ("-p tcp -m tcp --syn", cut(tcp(), 14), True, DROPPED),
        ("-p tcp -m tcp --syn", cut(tcp(), 13), False, DROPPED),
        ("-p tcp -m tcp ! --dport 81", cut(tcp(), 3), False, DROPPED),
        # What only the module can do, it does for both.
        ("-p tcp -m tcp --tcp-option 2", cut(tcp(), 19), DROPPED, DROPPED),
        ("-p tcp -m tcp", cut(tcp(), 19), DROPPED, DROPPED),
        ("-p udp -m udp", cut(udp(), 7), DROPPED, DROPPED),
        ("-p tcp -m tcp --tcp-option 2", cut(tcp(tcp_options=MSS), 22), DROPPED, DROPPED),
        # A later fragment has no header; nftables takes for one what stands there.
        ("-p udp -m udp --dport 53", later(udp()), True, False),
        ("-p tcp -m tcp --dport 80", later(tcp(), 2), True, False),
        ("-p tcp -m tcp --dport 80", later(tcp(), 1), True, DROPPED),
        ("-p tcp -m tcp --tcp-option 2", later(tcp(tcp_options=MSS), 2), False, False),
        # Without an instruction for it nftables does not ask at all.
        ("-p tcp -m tcp ! --dport 0:65535", tcp(), True, False),
        ("-p tcp -m tcp --tcp-flags NONE SYN", tcp(), True, False),
    ],
)
def test_where_the_two_differ(match: str, packet: Packet, nft: bool | str, legacy: bool | str) -> None:
    assert (means(match, packet, variant="nft"), means(match, packet, variant="legacy")) == (nft, legacy)


def test_a_header_that_says_it_is_shorter_than_one() -> None:
    packet = tcp(tcp_options=MSS)
    lying = packet._replace(payload=packet.payload[:12] + b"\x40" + packet.payload[13:])
    assert means("-p tcp -m tcp --tcp-option 2", lying) is DROPPED


@pytest.mark.parametrize(
    ("match", "complaint"),
    [
        ("-p tcp --dport 90:80", "line 2, column 25: '90:80': the range ends before it begins"),
        ("-p tcp --dport 70000", "line 2, column 25: port 70000 is past 65535"),
        ("-p tcp --tcp-flags SYN,FOO SYN", "line 2, column 29: Unknown TCP flag 'FOO'"),
        ("-p tcp --syn --tcp-flags ALL SYN", 'option "--tcp-flags" cannot be used together with "--syn"'),
        ("-p tcp --tcp-option 0", "'0' is not a number from 1 to 255"),
    ],
)
def test_refused(match: str, complaint: str) -> None:
    with pytest.raises(RuleError, match=complaint.replace("(", r"\(")):
        counting(match, chain="INPUT")
