"""Ordinary segments, taken in one step, leave the same entry behind as `protocols`, `tcp` and `tcp_window` do."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.conntrack.entry import Entry
from netlab.conntrack.ordinary import Ordinary
from netlab.conntrack.tcp_track import TcpTrack
from netlab.conntrack.track import Conntrack
from netlab.datasets import path
from netlab.hooks import HookState
from netlab.host import Host
from netlab.names import Verdict
from netlab.packet import Packet
from netlab.replay import Capture

CLIENT, SERVER = ("10.0.1.2", 4000), ("10.0.2.2", 80)
TIMESTAMPS = b"\1\1\x08\n" + bytes(8)
OPTIONS = (b"", TIMESTAMPS, b"\1\1\5\n" + (90).to_bytes(4, "big") + (400).to_bytes(4, "big"), b"\1\1\1\0")
SYN_OPTIONS = (b"", b"\4\2\3\3\7\1\1\1", b"\4\2\1\1")
SYSCTLS = {
    "acct": 1, "checksum": 0, "tcp_be_liberal": 1, "tcp_max_retrans": 1, "tcp_timeout_established": 200,
    "tcp_timeout_max_retrans": 450,
}  # fmt: skip
"""Other settings than usual, behind net.netfilter.nf_conntrack_."""


def slots(thing: Any) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in type(thing).__slots__}


def known(entry: Entry) -> dict[str, Any]:
    """All that there is to know of an entry."""
    found = slots(entry) | {"counters": tuple(entry.counters or ())}
    if isinstance(entry.protocol, TcpTrack):
        track = slots(entry.protocol)
        found["protocol"] = track | {side: slots(track[side]) for side in ("original", "reply")}
    return found


Step = tuple[Packet, float]
"""A packet, and how many seconds later it comes."""


def journal(steps: Iterable[Step], sysctls: dict[str, int]) -> Iterator[object]:
    """After each packet: where it came to, and all entries; at the end what was told and counted."""
    names = {"net.ipv4.ip_forward": 1} | {f"net.netfilter.nf_conntrack_{name}": sysctls[name] for name in sysctls}
    router = Host("router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, sysctls=names, conntrack="on")
    tracker = router.conntrack
    assert tracker is not None
    for packet, later in steps:
        router.wires.clock.advance(later)
        yield str(router.receive("eth0" if packet.src.startswith("10.0.1.") else "eth1", packet))
        yield [known(entry) for entry in tracker.table]
    yield [str(event) for event in tracker.events]
    yield tracker.statistics


def both_ways(steps: list[Step], **sysctls: int) -> int:
    """Hold the two against each other; how many packets went the ordinary way."""
    others = 0
    track = Conntrack._track

    def counted(tracker: Conntrack, packet: Packet, state: HookState) -> Verdict:
        nonlocal others
        others += 1
        return track(tracker, packet, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Conntrack, "_track", counted)
        one = list(journal(steps, sysctls))
        patch.setattr(Ordinary, "track", lambda self, packet, state: self._otherwise(packet, state))
        ordinary = len(steps) - others
        other = list(journal(steps, sysctls))
    assert one == other
    return ordinary


@st.composite
def segments(draw: st.DrawFn) -> Step:
    """Somewhere near where the handshake below left the numbers."""
    (src, sport), (dst, dport) = draw(st.sampled_from([(CLIENT, SERVER), (SERVER, CLIENT)]))
    mine, yours = (101, 501) if src == CLIENT[0] else (501, 101)
    near = st.sampled_from([0, 0, 0, 1, 7, 100, 107, 66_000, 70_000, -1, -7, -200, -66_100, -70_000])
    packet = Packet.tcp(
        src, dst, sport, dport,
        draw(st.sampled_from(["A", "A", "A", "PA", "FA", "FPA", "AU", "R", "RA", "SA", "S", "", "F", "SF", "AEC"])),
        seq=mine + draw(near) & 0xFFFFFFFF,
        ack=yours + draw(near) & 0xFFFFFFFF,
        window=draw(st.sampled_from([0, 1, 100, 502, 65535])),
        tcp_options=draw(st.sampled_from(OPTIONS)),
        payload=bytes(draw(st.sampled_from([0, 0, 1, 7, 100, 1400]))),
    )  # fmt: skip
    if draw(st.integers(0, 9)) == 0:
        packet = packet._replace(payload=packet.payload[:16] + b"\1\2" + packet.payload[18:])  # a wrong checksum
    return packet, draw(st.sampled_from([0, 0, 0.5, 100, 301, 500_000]))


def handshake(options: bytes, answered: bytes) -> list[Step]:
    return [
        (Packet.tcp(*both, flags, seq=seq, ack=ack, window=502, tcp_options=extra), 0)
        for both, flags, seq, ack, extra in (
            ((CLIENT[0], SERVER[0], 4000, 80), "S", 100, 0, options),
            ((SERVER[0], CLIENT[0], 80, 4000), "SA", 500, 101, answered),
            ((CLIENT[0], SERVER[0], 4000, 80), "A", 101, 501, b""),
        )
    ]


@given(
    st.lists(segments(), max_size=12),
    st.integers(0, 3),
    st.sampled_from(SYN_OPTIONS),
    st.sampled_from(SYN_OPTIONS),
    st.fixed_dictionaries({}, optional={name: st.just(value) for name, value in SYSCTLS.items()}),
)
def test_segments_near_the_windows(
    some: list[Step], opened: int, options: bytes, answered: bytes, sysctls: dict[str, int]
) -> None:
    both_ways(handshake(options, answered)[:opened] + some, **sysctls)


def test_a_connection_from_its_first_acknowledgement_to_its_last_is_ordinary() -> None:
    out, back = (CLIENT[0], SERVER[0], 4000, 80), (SERVER[0], CLIENT[0], 80, 4000)
    rest = [
        Packet.tcp(*out, "PA", seq=101, ack=501, payload=b"hello", tcp_options=TIMESTAMPS),
        Packet.tcp(*back, "A", seq=501, ack=106, window=502),
        Packet.tcp(*back, "PA", seq=501, ack=106, payload=b"odd"),
        Packet.tcp(*out, "A", seq=106, ack=504, window=0),
        Packet.tcp(*out, "FA", seq=106, ack=504),
        Packet.tcp(*back, "FA", seq=504, ack=107),
        Packet.tcp(*out, "A", seq=107, ack=505),
    ]
    ordinary = both_ways([*handshake(*SYN_OPTIONS[1:]), *((packet, 1) for packet in rest)], acct=1)
    assert ordinary == 1 + len(rest)  # all but the SYN and its answer


@pytest.mark.parametrize("name", ["web", "scan", "dns", "ping", "traceroute"])
def test_captures(name: str) -> None:
    frames = Capture(path(f"captures/{name}.pcap"))
    both_ways([(Packet.from_bytes(frame.data), 0.001) for frame in frames])
