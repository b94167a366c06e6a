"""Tracking: events, statistics and counters as Linux 6.18 gave them for the same packets."""

import pytest

from netlab.conntrack.track import notrack
from netlab.host import Host
from netlab.names import CtState, Hook, Priority, Verdict
from netlab.packet import Packet

C, S = "10.0.1.2", "10.0.2.2"
GRE_CALL = b"\x30\x01\x88\x0b\0\x04\0\x05\0\0\0\x01abcd"


def router_with(**sysctls: int) -> Host:
    names = {f"net.netfilter.nf_conntrack_{name}": value for name, value in sysctls.items()}
    addresses = {"r0": "10.0.1.1/24", "r1": "10.0.2.1/24"}
    return Host("r", addresses, sysctls={"net.ipv4.ip_forward": 1, **names}, conntrack="on")


def from_client(router: Host, *packets: Packet) -> None:
    for packet in packets:
        router.receive("r0" if packet.src.startswith("10.0.1") else "r1", packet)


def tcp(side: int, flags: str, seq: int, ack: int = 0, data: bytes = b"") -> Packet:
    ends = (C, S, 5001, 80) if side == 0 else (S, C, 80, 5001)
    return Packet.tcp(*ends, flags, seq=seq, ack=ack, payload=data)


CONVERSATION = [
    tcp(0, "S", 5), tcp(0, "S", 5), tcp(1, "SA", 50, 6), tcp(0, "A", 6, 51), tcp(0, "PA", 6, 51, b"hey"),
    tcp(1, "A", 51, 9), tcp(0, "PA", 9_000_000, 51, b"hey"), tcp(0, "FA", 9, 51), tcp(1, "FA", 51, 10),
    tcp(0, "A", 10, 52), tcp(0, "S", 5_000_000),
]  # fmt: skip


def events(router: Host) -> list[str]:
    assert router.conntrack
    return [str(event) for event in router.conntrack.events]


def test_a_connection_is_told_as_the_kernel_tells_it() -> None:
    router = router_with(acct=1)
    from_client(router, *CONVERSATION)
    ends = "src=10.0.1.2 dst=10.0.2.2 sport=5001 dport=80", "src=10.0.2.2 dst=10.0.1.2 sport=80 dport=5001"
    unreplied, assured = f"{ends[0]} [UNREPLIED] {ends[1]}", f"{ends[0]} {ends[1]} [ASSURED]"
    assert events(router) == [
        f"    [NEW] tcp      6 120 SYN_SENT {unreplied}",
        f" [UPDATE] tcp      6 60 SYN_RECV {ends[0]} {ends[1]}",
        f" [UPDATE] tcp      6 432000 ESTABLISHED {assured}",
        f" [UPDATE] tcp      6 120 FIN_WAIT {assured}",
        f" [UPDATE] tcp      6 30 LAST_ACK {assured}",
        f" [UPDATE] tcp      6 120 TIME_WAIT {assured}",
        f"[DESTROY] tcp      6 120 TIME_WAIT {ends[0]} packets=5 bytes=203 {ends[1]} packets=3 bytes=120 [ASSURED]",
        f"    [NEW] tcp      6 120 SYN_SENT {unreplied}",
    ]


def test_a_packet_not_to_be_tracked_leaves_nothing_and_its_answer_is_new() -> None:
    """As `iptables -t raw -A PREROUTING -p udp --dport 53 -j CT --notrack` on Linux 6.18."""
    router = router_with()
    entry = router.register(Hook.PRE_ROUTING, notrack, Priority.RAW)
    passed = router.receive("r0", Packet.udp(C, S, 1111, 53)).path
    assert [(row.hook, row.state) for row in passed] == [
        (hook, CtState.UNTRACKED) for hook in (Hook.PRE_ROUTING, Hook.FORWARD, Hook.POST_ROUTING)
    ]
    assert router.conntrack is not None and not router.conntrack.lines()
    router.unregister(entry)
    answer = router.receive("r1", Packet.udp(S, C, 53, 1111)).path
    assert {row.state for row in answer} == {CtState.NEW}


def test_a_reset_answers_a_syn_and_ends_the_flow() -> None:
    router = router_with()
    from_client(router, tcp(0, "S", 1), tcp(1, "RA", 0, 2))
    assert [line.split(" src")[0] for line in events(router)] == [
        "    [NEW] tcp      6 120 SYN_SENT",
        "[DESTROY] tcp      6 120 CLOSE",
    ]
    assert "[UNREPLIED]" in events(router)[1]


def test_gre_is_told_from_its_call_and_becomes_a_stream() -> None:
    router = router_with()
    plain = b"\0\0\x08\0abcd"
    from_client(
        router,
        Packet.ip(C, S, 47, GRE_CALL), Packet.ip(C, S, 47, plain), Packet.ip(S, C, 47, plain),
        Packet.ip(C, S, 47, plain),
    )  # fmt: skip
    assert [line.split(" mark")[0] for line in str(router.conntrack).splitlines()] == [
        "gre      47 30 src=10.0.1.2 dst=10.0.2.2 srckey=0x0 dstkey=0x5 [UNREPLIED] src=10.0.2.2 dst=10.0.1.2 "
        "srckey=0x5 dstkey=0x0",
        "gre      47 180 src=10.0.1.2 dst=10.0.2.2 srckey=0x0 dstkey=0x0 src=10.0.2.2 dst=10.0.1.2 srckey=0x0 "
        "dstkey=0x0 [ASSURED]",
    ]


def test_counters_count_what_is_believed() -> None:
    router = router_with(acct=1)
    broken = Packet.from_bytes(Packet.udp(S, C, 53, 1111, "abc").to_bytes()[:-1] + b"x")
    from_client(
        router,
        Packet.udp(C, S, 1111, 53, "hi"), Packet.udp(C, S, 1111, 53, "hello"), Packet.udp(S, C, 53, 1111, "abc"),
        broken,
    )  # fmt: skip
    assert "dport=53 packets=2 bytes=63 src=" in str(router.conntrack)
    assert "dport=1111 packets=1 bytes=31 mark=0" in str(router.conntrack)
    assert router.conntrack and router.conntrack.statistics.invalid == 1


def test_a_flow_counts_if_it_began_while_counting_was_on() -> None:
    router = router_with()
    from_client(router, Packet.udp(C, S, 1, 53))
    router.sysctls.set("net.netfilter.nf_conntrack_acct", 1)
    from_client(router, Packet.udp(C, S, 1, 53), Packet.udp(C, S, 2, 53))
    router.sysctls.set("net.netfilter.nf_conntrack_acct", 0)
    from_client(router, Packet.udp(C, S, 2, 53))
    first, second = str(router.conntrack).splitlines()
    assert "packets" not in first and "packets=2 " in second


ICMP_ERROR = Packet.ip(C, S, 1, Packet.icmp(C, S, 3, 1).payload[:8] + Packet.udp(S, C, 9, 9).to_bytes()[:28])


@pytest.mark.parametrize(
    ("packet", "counter"),
    [
        (Packet.from_bytes(Packet.icmp(C, S, 8, payload="abc").to_bytes()[:-1] + b"!"), "error"),
        (Packet.icmp(C, S, 19), "error"),
        (Packet.icmp(C, S, 5), "error"),
        (ICMP_ERROR, "error"),
        (Packet.ip(C, S, 1, b"\x08\0\xf7\xff"), "error"),
        (Packet.ip(C, S, 6, b"\0\1\0\2"), "invalid"),
        (Packet.ip(C, S, 6, b"\0\1"), "invalid"),
        (Packet.tcp(C, S, 1, 80, "R"), "invalid"),
        (Packet.tcp(C, S, 1, 80, ""), "invalid"),
        (Packet.ip(C, S, 17, b"\0\1\0\2"), "invalid"),
        (Packet.icmp(C, S, 0), "invalid"),
        (Packet.ip(C, S, 47, GRE_CALL.replace(b"\x88\x0b", b"\x08\0")), "invalid"),
    ],
    ids=str,
)
def test_what_belongs_nowhere_is_counted(packet: Packet, counter: str) -> None:
    router = router_with()
    assert router.conntrack
    assert router.receive("r0", packet).path[0].state is CtState.INVALID
    counts = router.conntrack.statistics
    assert (counts.error, counts.invalid) == ((1, 0) if counter == "error" else (0, 1))
    assert str(counts).startswith("cpu=0   \tfound=0 invalid=")
    assert len(router.conntrack.table) == 0


def test_a_change_of_a_dropped_packet_is_told_with_the_next() -> None:
    router = router_with()
    from_client(router, Packet.udp(C, S, 1, 53))
    drop = router.register(Hook.FORWARD, lambda packet, state: Verdict.DROP)
    from_client(router, Packet.udp(S, C, 53, 1))
    assert [line[:9] for line in events(router)] == ["    [NEW]"]
    router.unregister(drop)
    from_client(router, Packet.udp(C, S, 1, 53))
    assert [line[:9] for line in events(router)] == ["    [NEW]", " [UPDATE]"]


@pytest.mark.parametrize(("proto", "resolved", "failed"), [("udp", 1, 0), ("tcp", 0, 1)])
def test_two_first_packets_at_once(proto: str, resolved: int, failed: int) -> None:
    router = router_with()
    queue = router.queue(0)
    router.register(Hook.FORWARD, lambda packet, state: Verdict.QUEUE)
    packet = Packet.udp(C, S, 1, 53) if proto == "udp" else Packet.tcp(C, S, 1, 80, "S")
    queue.bind()
    from_client(router, packet, packet)
    assert len(queue.waiting) == 2
    for waiting in list(queue.waiting):
        waiting.answer(Verdict.ACCEPT)
    assert router.conntrack
    counts = router.conntrack.statistics
    assert (counts.clash_resolve, counts.insert_failed) == (resolved, failed)
    assert len(router.conntrack.table) == 1


def test_a_port_that_is_a_protocols_number_is_printed_as_a_number() -> None:
    router = router_with()
    from_client(router, Packet.udp(C, S, 6, 17), Packet.udp("10.0.1.17", S, 17, 6))
    assert "sport=6 dport=17 " in str(router.conntrack)
    assert all(type(number) is int for entry in router.conntrack.table for number in entry.original)  # type: ignore[union-attr]


@pytest.mark.parametrize("message", [b"\x80" + bytes(7), b"\x87" + bytes(7), b"\x01" + bytes(47), b"\x80"])
def test_icmpv6_in_ipv4_is_invalid(message: bytes) -> None:
    router = router_with(checksum=0)
    trace = router.receive("r0", Packet.ip(C, S, 58, message))
    assert {passed.state for passed in trace.path} == {CtState.INVALID}
    assert router.conntrack
    assert len(router.conntrack.table) == 0
