"""REJECT: who is told what, and who is not."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.iptables.targets.reject import TCP_RESET, TYPES, is_believed, parse_type, reset_for
from netlab.iptables.words import RuleError
from netlab.names import NetlabError, TcpState
from netlab.packet import MF, Icmp, Packet, Tcp, checksum, parse_flags
from netlab.trace import Dropped, Emitted, Passed, Refused
from tests.iptables.targets.rig import CLIENT, INSIDE, OUTSIDE, SERVER, all_of, load, router, sent

UDP = Packet.udp(CLIENT, SERVER, 4000, 53, "hello")
SYN = Packet.tcp(CLIENT, SERVER, 4000, 80, "S", seq=99)


def answers(rule: str, packet: Packet) -> list[Packet]:
    return sent(router(f"-A FORWARD {rule}").receive("eth0", packet))


def told(packet: Packet) -> bool:
    """Whether the sender of a packet that is refused in FORWARD hears of it."""
    return bool(answers("-j REJECT", packet))


CODES = {
    "icmp-net-unreachable": 0, "icmp-host-unreachable": 1, "icmp-proto-unreachable": 2, "icmp-port-unreachable": 3,
    "icmp-net-prohibited": 9, "icmp-host-prohibited": 10, "icmp-admin-prohibited": 13,
}  # fmt: skip


@pytest.mark.parametrize(("kind", "code"), CODES.items())
def test_errors_have_their_code_and_quote_the_packet(kind: str, code: int) -> None:
    (error,) = answers(f"-j REJECT --reject-with {kind}", UDP)
    message = error.l4
    assert isinstance(message, Icmp)
    assert (message.type, message.code) == (3, code)
    assert (error.src, error.dst) == (OUTSIDE, CLIENT)
    assert error.quoted == UDP._replace(ttl=63, frag=0)


def test_every_type_is_tested() -> None:
    assert {*CODES, TCP_RESET} == set(TYPES)


def test_names_may_be_shortened_to_the_first_that_fits() -> None:
    assert parse_type("port-unreach") == "icmp-port-unreachable"
    assert parse_type("icmp-") == "icmp-net-unreachable"
    assert parse_type("TCP") == TCP_RESET
    with pytest.raises(NetlabError, match="unknown reject type"):
        parse_type("echo-reply")


def test_a_reset_answers_as_the_server_would() -> None:
    (reset,) = answers("-p tcp -j REJECT --reject-with tcp-reset", SYN)
    segment = reset.l4
    assert isinstance(segment, Tcp)
    assert (reset.src, reset.dst, segment.sport, segment.dport) == (SERVER, CLIENT, 80, 4000)
    assert (reset.flags, segment.seq, segment.ack, segment.window) == ("RA", 0, 100, 0)
    assert (reset.ttl, reset.tos, reset.ip_id, reset.df) == (64, 0, 0, True)
    assert reset.checksum_ok()


RESETS = "-p tcp -m tcp --tcp-flags RST RST -j REJECT"


@pytest.mark.parametrize("chain", ["OUTPUT", "INPUT"])
@pytest.mark.parametrize(
    ("others", "summed"),
    [
        ("", True),  # TCP's own reset leaves with its sum (ip_send_unicast_reply)
        ("-A INPUT -p tcp -m tcp --tcp-flags RST NONE -j REJECT --reject-with tcp-reset", False),
    ],
)
def test_a_reset_made_by_a_rule_is_quoted_without_its_sum(chain: str, others: str, summed: bool) -> None:
    host = router(f"-A {chain} {RESETS}\n{others}")
    trace = host.send(Packet.tcp(OUTSIDE, OUTSIDE, 4000, 80, "S", seq=99))
    (error,) = (event.packet for event in all_of(trace, Emitted) if isinstance(event.packet.l4, Icmp))
    assert error.quoted is not None
    assert error.quoted.checksum_ok() is summed


@given(
    flags=st.sampled_from(["", "S", "F", "A", "SA", "FA", "PA", "SF", "P", "U"]),
    seq=st.integers(0, 2**32 - 1), ack=st.integers(0, 2**32 - 1), data=st.binary(max_size=20),
)  # fmt: skip
def test_the_numbers_of_a_reset(flags: str, seq: int, ack: int, data: bytes) -> None:
    reset = reset_for(Packet.tcp(CLIENT, SERVER, 1, 2, flags, seq=seq, ack=ack, payload=data), ttl=64)
    assert reset is not None
    segment = reset.l4
    assert isinstance(segment, Tcp)
    if "A" in flags:
        assert (segment.flags, segment.seq, segment.ack) == (parse_flags("R"), ack, 0)
    else:
        expected = (seq + len(data) + ("S" in flags) + ("F" in flags)) % 2**32
        assert (segment.flags, segment.seq, segment.ack) == (parse_flags("RA"), 0, expected)


@pytest.mark.parametrize(
    "packet",
    [
        Packet.tcp(CLIENT, SERVER, 4000, 80, "R"),
        SYN._replace(frag=3),
        SYN._replace(payload=SYN.payload[:19]),
        SYN._replace(payload=SYN.payload[:16] + b"\0\0" + SYN.payload[18:]),
    ],
    ids=["reset", "later fragment", "half a header", "wrong checksum"],
)
def test_no_reset_answers(packet: Packet) -> None:
    assert answers("-p tcp -j REJECT --reject-with tcp-reset", packet) == []


def test_errors_that_are_not_sent() -> None:
    assert told(UDP)
    assert not told(UDP._replace(frag=3))
    assert told(UDP._replace(frag=MF))
    assert not told(UDP._replace(payload=UDP.payload[:8] + b"J" + UDP.payload[9:]))  # a wrong checksum
    assert told(UDP._replace(payload=UDP.payload[:6] + b"\0\0jello"))  # none at all
    assert told(Packet.icmp(CLIENT, SERVER))
    assert not told(Packet.icmp(CLIENT, SERVER, 3, 3, payload=UDP.to_bytes()))
    assert not told(Packet.udp(CLIENT, "255.255.255.255", 68, 67))


@pytest.mark.parametrize(
    ("proto", "expected"),
    [(47, True), (50, True), (51, True), (132, True), (136, True), (2, False), (33, False), (99, False)],
)
def test_a_protocol_that_the_kernel_cannot_sum_is_believed_only_by_number(proto: int, expected: bool) -> None:
    assert told(Packet.ip(CLIENT, SERVER, proto, "no checksum in here")) is expected


def test_an_unknown_protocol_is_believed_if_all_sums_up_to_nothing() -> None:
    body = pack(">HHH", 0x1234, 0, 0x5678)
    summed = body[:2] + pack(">H", checksum(body)) + body[4:]
    assert is_believed(Packet.ip(CLIENT, SERVER, 99, summed))
    assert not is_believed(Packet.ip(CLIENT, SERVER, 99, body))


def test_the_packet_itself_is_dropped() -> None:
    trace = router("-A FORWARD -j REJECT").receive("eth0", UDP)
    assert [event.reason for event in all_of(trace, Dropped)] == ["NETFILTER_DROP"]
    assert [event.by for event in all_of(trace, Emitted)] == ["the kernel"]


def test_a_local_sender_gets_eperm_and_the_error_over_lo() -> None:
    trace = router("-A OUTPUT -p udp -j REJECT").send(Packet.udp(INSIDE, SERVER, 4000, 53))
    assert [event.errno for event in all_of(trace, Refused)] == ["EPERM"]
    assert [(event.hook.name, event.dev_out) for event in all_of(trace, Passed) if event.number == 1][:2] == [
        ("LOCAL_OUT", "lo"), ("POST_ROUTING", "lo"),
    ]  # fmt: skip


def test_while_icmp_answers_it_reports_nothing() -> None:
    """The kernel has one socket for its own ICMP, and it is busy with the echo reply that is refused."""
    trace = router("-A OUTPUT -p icmp -j REJECT").receive("eth0", Packet.icmp(CLIENT, OUTSIDE))
    assert len(all_of(trace, Emitted)) == 1
    assert sent(trace) == []


def test_the_answer_belongs_to_the_flow() -> None:
    host = router("-A FORWARD -p tcp -j REJECT --reject-with tcp-reset", "-A FORWARD -j REJECT")
    load(host, "*filter\n-A OUTPUT -m conntrack --ctstate RELATED -j ACCEPT\nCOMMIT\n")
    for packet in (SYN, UDP):
        passed = all_of(host.receive("eth0", packet), Passed)
        assert [event.state for event in passed if event.hook.name == "LOCAL_OUT"] == ["RELATED"]


def test_a_reset_closes_the_flow() -> None:
    host = router(
        "-A FORWARD -p tcp -m tcp --dport 80 --tcp-flags SYN NONE -j REJECT --reject-with tcp-reset", conntrack="on"
    )
    host.receive("eth0", SYN)
    assert host.conntrack is not None
    (entry,) = host.conntrack.table
    assert entry.state is TcpState.SYN_SENT
    host.receive("eth0", Packet.tcp(CLIENT, SERVER, 4000, 80, "A", seq=100, ack=1))
    assert entry.state is TcpState.CLOSE


@pytest.mark.parametrize(
    ("rule", "table", "problem"),
    [
        ("-j REJECT --reject-with tcp-reset", "filter", "needs -p tcp"),
        ("! -p udp -j REJECT --reject-with tcp-reset", "filter", "needs -p tcp"),
        ("-j REJECT --reject-with teapot", "filter", "unknown reject type"),
        ("-j REJECT", "mangle", "filter"),
    ],
)
def test_nonsense_is_refused(rule: str, table: str, problem: str) -> None:
    with pytest.raises(RuleError, match=problem):
        router(f"-A FORWARD {rule}", table=table)
