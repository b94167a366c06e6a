"""Signed segments and broken options: what the kernel (6.18, without CONFIG_TCP_AO) made of the same ones."""

import pytest

from netlab.host import Host
from netlab.names import DropReason
from netlab.packet import Packet
from netlab.tcp_auth import Signature, signature_of
from netlab.trace import Dropped, Sent, Trace

MD5, AO = b"\x13\x12" + bytes(16), b"\x1d\x10" + bytes(14) + b"\1\1"
BROKEN = b"\5\0" + bytes(18)


@pytest.mark.parametrize(
    ("options", "signature"),
    [
        (b"", Signature.NONE), (b"\2\4\5\xb4\4\2\x08\x0a" + bytes(8) + b"\1\3\3\7", Signature.NONE),
        (MD5, Signature.MD5), (b"\1\1" + MD5, Signature.MD5), (AO, Signature.AO), (AO[:16], Signature.NONE),
        (BROKEN, Signature.BROKEN), (b"\5\1" + bytes(18), Signature.BROKEN), (b"\5\x15" + bytes(18), Signature.BROKEN),
        (b"\5\x14" + bytes(18), Signature.NONE), (b"\2\4\5\xb4" + BROKEN, Signature.BROKEN),
        (b"\x13\x0a" + bytes(18), Signature.BROKEN), (b"\x1d\4" + bytes(18), Signature.BROKEN),
        (MD5 + MD5, Signature.BROKEN), (MD5 + AO, Signature.BROKEN), (AO + MD5, Signature.BROKEN),
        # Nobody looks behind the end, nor where an MD5 would have no room any more.
        (b"\0" + BROKEN, Signature.NONE), (b"\1\1\1" + BROKEN[:-3], Signature.NONE), (BROKEN[:17], Signature.NONE),
    ],
)  # fmt: skip
def test_signatures_are_found(options: bytes, signature: Signature) -> None:
    assert signature_of(options) is signature


def told(trace: Trace) -> tuple[list[DropReason], int]:
    """The reasons of drops, and how many frames went out."""
    reasons = [event.reason for event in trace.events if isinstance(event, Dropped)]
    return reasons, sum(isinstance(event, Sent) for event in trace.events)


@pytest.mark.parametrize(
    ("options", "listening", "closed"),
    [
        (b"", ([], 1), 1), (AO, ([], 1), 0),
        (MD5, ([DropReason.TCP_MD5UNEXPECTED], 0), 0), (BROKEN, ([DropReason.TCP_AUTH_HDR], 0), 0),
    ],
)  # fmt: skip
def test_no_socket_takes_them_and_no_reset_answers_them(
    options: bytes, listening: tuple[list[DropReason], int], closed: int
) -> None:
    host = Host("r", {"eth0": "10.0.1.1/24"})
    host.sockets.listen("tcp/80")
    syn = Packet.tcp("10.0.1.2", "10.0.1.1", 4000, 80, "S", seq=1, tcp_options=options)
    assert told(host.receive("eth0", syn)) == listening
    assert told(host.receive("eth0", syn.with_(dport=81))) == ([DropReason.NO_SOCKET], closed)


def test_a_handshake_that_began_unsigned_ends_so() -> None:
    host = Host("r", {"eth0": "10.0.1.1/24"})
    host.sockets.listen("tcp/80")
    ends = "10.0.1.2", "10.0.1.1", 4000, 80
    (answer,) = [
        event.packet for event in host.receive("eth0", Packet.tcp(*ends, "S", seq=1)).events if isinstance(event, Sent)
    ]
    acknowledged = {"seq": 2, "ack": answer.l4.seq + 1}
    assert told(host.receive("eth0", Packet.tcp(*ends, "A", **acknowledged, tcp_options=AO))) == (
        [DropReason.TCP_AOFAILURE], 0,
    )  # fmt: skip
    assert told(host.receive("eth0", Packet.tcp(*ends, "A", **acknowledged))) == ([], 0)
    assert told(host.receive("eth0", Packet.tcp(*ends, "PA", **acknowledged, tcp_options=AO, payload="x"))) == ([], 1)
