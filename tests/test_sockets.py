"""Where packets for the host end up: sockets that answer, and the kernel where there is none."""

from collections.abc import Callable
from typing import Any

import pytest

from netlab.host import Host
from netlab.names import ACCEPT, DROP, Hook, NetlabError
from netlab.packet import Icmp, Packet
from netlab.route_text import parse_route
from netlab.tcp_connection import Connection, Listener, State
from netlab.topology import Network
from netlab.trace import Noted, Trace

ME, PEER = "10.0.1.1", "10.0.1.2"


def host(**options: Any) -> Host:
    return Host("server", {"eth0": "10.0.1.1/24"}, **options)


def pair() -> tuple[Host, Host]:
    net = Network()
    client = net.host("client", {"eth0": "10.0.1.2/24"})
    server = net.host("server", {"eth0": "10.0.1.1/24"})
    net.link("client:eth0", "server:eth0")
    return client, server


def listen(server: Host, socket: str, answer: Callable[[bytes], Any] | None = None) -> Any:
    return server.sockets.listen(socket, answer)


def answers(trace: Trace) -> list[str]:
    """What left, in one line each."""
    return [str(frame.packet) for frame in trace.out]


def reasons(trace: Trace) -> list[str]:
    return [str(drop.reason) for drop in trace.dropped]


# ---------------------------------------------------------------- nobody there (as Linux 6.18 answers)


@pytest.mark.parametrize(
    ("packet", "answer", "reason"),
    [
        (Packet.udp(PEER, ME, 5000, 53), "destination-unreachable 3/3", "NO_SOCKET"),
        (Packet.tcp(PEER, ME, 4000, 80, "S"), "tcp RA", "NO_SOCKET"),
        (Packet.tcp(PEER, ME, 4000, 80, "A"), "tcp R", "NO_SOCKET"),
        (Packet.tcp(PEER, ME, 4000, 80, "R"), None, "NO_SOCKET"),
        (Packet.ip(PEER, ME, 99), "destination-unreachable 3/2", "IP_NOPROTO"),
        (Packet.ip(PEER, ME, "igmp", bytes(8)), None, "NOT_SPECIFIED"),
        (Packet.ip(PEER, ME, "udplite", bytes(3)), None, "NOT_SPECIFIED"),
        (Packet.icmp(PEER, ME, 0, id=5), None, "NO_SOCKET"),
        (Packet.icmp(PEER, ME, 44), None, "UNHANDLED_PROTO"),
        (Packet.ip(PEER, ME, "icmp", b"\x08\xff\xf7"), None, "NOT_SPECIFIED"),  # cut short, and its sum is right
        (Packet.ip(PEER, ME, "icmp", b"\x08\xff\xf8"), None, "ICMP_CSUM"),
        (Packet.icmp(PEER, ME, 13), None, "PKT_TOO_SMALL"),
        (Packet.icmp(PEER, ME, 3, 1, payload=b"junk"), None, "NOT_SPECIFIED"),
        (Packet.icmp(PEER, ME, 3, 1, payload=b"\x44" + bytes(27)), None, "IP_INHDR"),
        (Packet.icmp(PEER, ME, 11, 0, payload=bytes(20)), None, "IP_INHDR"),
        (Packet.icmp(PEER, ME, 5, 1, payload=bytes(19)), None, "PKT_TOO_SMALL"),
    ],
)
def test_nobody_there(packet: Packet, answer: str | None, reason: str) -> None:
    trace = host().receive("eth0", packet)
    assert reasons(trace) == [reason]
    assert len(trace.out) == (answer is not None)
    if answer:
        assert f" {answer} " in answers(trace)[0]
        assert (trace.out[0].packet.src, trace.out[0].packet.dst) == (ME, PEER)


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (Packet.udp(PEER, "10.0.1.255", 5000, 53), "NOT_SPECIFIED"),
        (Packet.tcp(PEER, "10.0.1.255", 4000, 80), "NO_SOCKET"),
        (Packet.icmp(PEER, "10.0.1.255", 8), "INVALID_PROTO"),
        (Packet.icmp(PEER, "10.0.1.255", 44), "INVALID_PROTO"),
        (Packet.ip(PEER, "10.0.1.255", 99), "IP_NOPROTO"),
    ],
)
def test_broadcasts_are_answered_by_nothing(packet: Packet, reason: str) -> None:
    trace = host().receive("eth0", packet)
    assert reasons(trace) == [reason]
    assert trace.out == []


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (Packet.tcp(PEER, ME, 1, 80), "TCP_CSUM"),
        (Packet.udp(PEER, ME, 1, 53), "UDP_CSUM"),
        (Packet.icmp(PEER, ME), "ICMP_CSUM"),
    ],
)
def test_a_wrong_transport_checksum(packet: Packet, reason: str) -> None:
    wrong = packet._replace(payload=bytes([packet.payload[0] ^ 1]) + packet.payload[1:])
    server = host(listen=["tcp/80", "udp/53"])
    trace = server.receive("eth0", wrong)
    assert reasons(trace) == [reason]
    assert trace.out == trace.delivered == []
    assert trace.hooks == [Hook.PRE_ROUTING, Hook.LOCAL_IN]


UDP = Packet.udp(PEER, ME, 5000, 53, b"hello")
TCP = Packet.tcp(PEER, ME, 4000, 80)


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (UDP._replace(payload=UDP.payload[:7]), "NOT_SPECIFIED"),
        (UDP._replace(payload=UDP.payload[:4] + b"\0\x07" + UDP.payload[6:]), "PKT_TOO_SMALL"),
        (UDP._replace(payload=UDP.payload[:4] + b"\0\x0e" + UDP.payload[6:]), "PKT_TOO_SMALL"),
        (TCP._replace(payload=TCP.payload[:19]), "NOT_SPECIFIED"),
        (TCP._replace(payload=TCP.payload[:12] + b"\x40" + TCP.payload[13:]), "PKT_TOO_SMALL"),
        (TCP._replace(payload=TCP.payload[:12] + b"\x60" + TCP.payload[13:]), "NOT_SPECIFIED"),
        (Packet.ip(PEER, ME, 1, b"\x08\x00\xf7\xff"), "NOT_SPECIFIED"),
    ],
    ids=["UDP 7 bytes", "UDP length 7", "UDP length beyond", "TCP 19 bytes", "doff 4", "doff beyond", "ICMP 4 bytes"],
)
def test_a_header_cut_short(packet: Packet, reason: str) -> None:
    trace = host(listen=["tcp/80", "udp/53"]).receive("eth0", packet)
    assert reasons(trace) == [reason]
    assert trace.out == trace.delivered == []


# ---------------------------------------------------------------- UDP


def test_a_datagram_waits_in_its_socket() -> None:
    server = host()
    socket = server.sockets.udp(53)
    trace = server.receive("eth0", UDP)
    assert [one.socket for one in trace.delivered] == ["udp/53"]
    assert socket.received == [(PEER, 5000, b"hello")]
    assert trace.out == trace.dropped == []
    assert repr(socket) == "<udp/53: 1 datagrams received>"


def test_what_lies_behind_the_udp_length_is_not_data() -> None:
    server = host()
    socket = server.sockets.udp(53)
    server.receive("eth0", UDP._replace(payload=UDP.payload + b"padding"))
    assert socket.received == [(PEER, 5000, b"hello")]


def test_a_udp_program_answers_from_the_address_it_was_asked_at() -> None:
    server = Host("server", {"eth0": ["10.0.1.1/24", "10.0.1.9/24"]})
    listen(server, "udp/53", lambda data: data.upper())
    trace = server.receive("eth0", UDP.with_(dst="10.0.1.9"))
    assert trace.out[0].packet == Packet.udp("10.0.1.9", PEER, 53, 5000, b"HELLO", ip_id=trace.out[0].packet.ip_id)
    listen(server, "udp/54", lambda data: None)
    assert server.receive("eth0", UDP.with_(dport=54)).out == []


def test_a_datagram_goes_there_and_back() -> None:
    client, server = pair()
    listen(server, "udp/53", lambda data: b"re: " + data)
    socket = client.sockets.udp()
    trace = socket.send(ME, 53, "hello")
    assert socket.port == 32768
    assert socket.received == [(ME, 53, b"re: hello")]
    assert [(one.host, one.socket) for one in trace.delivered] == [("server", "udp/53"), ("client", "udp/32768")]
    assert len(trace.steps) == 1


def test_free_ports_are_free() -> None:
    server = host()
    server.sockets.udp(32769)
    assert [server.sockets.udp().port for _ in range(3)] == [32768, 32770, 32771]


@pytest.mark.parametrize(
    ("options", "errno"),
    [
        ({}, "ENETUNREACH"),
        ({"routes": ["unreachable 10.9.0.0/16"]}, "EHOSTUNREACH"),
        ({"routes": ["prohibit 10.9.0.0/16"]}, "EACCES"),
        ({"routes": ["blackhole 10.9.0.0/16"]}, "EINVAL"),
    ],
)
def test_without_a_route_the_system_call_fails(options: dict[str, Any], errno: str) -> None:
    sockets = host(**options).sockets
    for trace in (sockets.udp().send("10.9.9.9", 53), sockets.ping("10.9.9.9")):
        assert trace.errno == errno
        assert trace.path == trace.out == []
    connection = sockets.connect("10.9.9.9", 80)
    assert (connection.state, connection.error) == (State.CLOSED, errno)


def test_a_program_whose_packet_is_dropped_on_its_way_out_gets_eperm() -> None:
    server = host()
    server.register(Hook.LOCAL_OUT, lambda packet, state: DROP)
    assert server.sockets.udp().send(PEER, 53).errno == "EPERM"
    assert server.sockets.ping(PEER).errno == "EPERM"
    assert server.sockets.connect(PEER, 80).state is State.SYN_SENT  # TCP would try again, and tells nobody


# ---------------------------------------------------------------- ping


def test_ping_there_and_back() -> None:
    client, _ = pair()
    trace = client.sockets.ping(ME, id=7, seq=3, payload=b"data")
    assert [(one.host, one.socket) for one in trace.delivered] == [("client", "icmp/7")]
    request, reply = (frame.packet for frame in trace.out)
    assert isinstance(request.l4, Icmp)
    assert isinstance(reply.l4, Icmp)
    assert (request.l4.type, reply.l4.type) == (8, 0)
    assert reply.l4[3:] == request.l4[3:] == (7, 3, b"data")


def test_pinging_oneself_stays_on_lo() -> None:
    trace = host().sockets.ping(ME)
    assert trace.out == []
    assert {row.dev_in or row.dev_out for row in trace.path} == {"lo"}
    assert [one.socket for one in trace.delivered] == ["icmp/1"]


@pytest.mark.parametrize(
    ("sysctl", "dst", "note"),
    [
        ("net.ipv4.icmp_echo_ignore_all", ME, "not answered: net.ipv4.icmp_echo_ignore_all=1"),
        (None, ME, "answered by the kernel"),
    ],
)
def test_echo_and_the_setting_that_silences_it(sysctl: str | None, dst: str, note: str) -> None:
    server = host(sysctls={sysctl: 1} if sysctl else {})
    trace = server.receive("eth0", Packet.icmp(PEER, dst))
    assert note in [event.text for event in trace.events if isinstance(event, Noted)]
    assert len(trace.out) == (sysctl is None)
    assert trace.dropped == []


def test_a_broadcast_ping_is_answered_where_the_setting_allows_it() -> None:
    server = host(sysctls={"net.ipv4.icmp_echo_ignore_broadcasts": 0})
    assert answers(server.receive("eth0", Packet.icmp(PEER, "10.0.1.255", id=4))) == [
        "10.0.1.1 > 10.0.1.2 icmp echo-reply 0/0 id=4 ttl=64"
    ]


@pytest.mark.parametrize("type", [1, 9, 10, 15, 16, 17, 18])
def test_what_the_kernel_takes_note_of_in_silence(type: int) -> None:
    trace = host().receive("eth0", Packet.icmp(PEER, ME, type))
    assert trace.out == trace.dropped == trace.delivered == []


@pytest.mark.parametrize(("type", "quoted"), [(5, bytes(20)), (3, b"\x4f" + bytes(19)), (3, b"\x65" + bytes(19))])
def test_errors_are_noted_whose_quoted_header_is_odd(type: int, quoted: bytes) -> None:
    trace = host().receive("eth0", Packet.icmp(PEER, ME, type, 1, payload=quoted))
    assert trace.out == trace.dropped == trace.delivered == []


def test_a_timestamp_request_is_answered() -> None:
    trace = host().receive("eth0", Packet.icmp(PEER, ME, 13, id=3, payload=bytes(12)))
    assert answers(trace) == ["10.0.1.1 > 10.0.1.2 icmp timestamp-reply 14/0 id=3 ttl=64"]


# ---------------------------------------------------------------- TCP, from host to host


def test_a_conversation() -> None:
    client, server = pair()
    listener = listen(server, "tcp/80", lambda data: b"<" + data + b">")
    connection = client.sockets.connect(ME, 80)
    assert connection.state is State.ESTABLISHED
    (accepted,) = listener.connections
    assert accepted.state is State.ESTABLISHED

    trace = connection.send("GET /")
    assert accepted.received == b"GET /"
    assert connection.received == b"<GET />"
    assert [frame.packet.flags for frame in trace.out] == ["PA", "A", "PA", "A"]

    trace = connection.close()
    assert [frame.packet.flags for frame in trace.out] == ["FA", "FA", "A"]
    assert (connection.state, accepted.state) == (State.TIME_WAIT, State.CLOSED)
    assert all(frame.packet.checksum_ok() for frame in trace.out)


@pytest.mark.parametrize(("mtu", "mss"), [(1500, 1460), (1400, 1360), (9000, 8960), (200, 256), (65535, 65495)])
def test_a_syn_and_its_answer_announce_the_largest_segment_of_their_way(mtu: int, mss: int) -> None:
    server = host(mtu={"eth0": mtu})
    listen(server, "tcp/80")
    (answer,) = server.receive("eth0", Packet.tcp(PEER, ME, 4000, 80, "S")).out
    assert answer.packet.payload[20:] == bytes((2, 4)) + mss.to_bytes(2)
    assert answer.packet.checksum_ok()


def test_a_routes_mtu_is_announced_and_only_by_a_syn() -> None:
    client, server = pair()
    client.fib.add(parse_route("10.0.1.1/32 dev eth0 mtu 1300"))
    listen(server, "tcp/80")
    sent = []
    client.register(Hook.LOCAL_OUT, lambda packet, state: sent.append(packet.payload[20:]) or ACCEPT)
    client.sockets.connect(ME, 80).send("bye")
    assert sent == [bytes((2, 4)) + (1260).to_bytes(2), b"", b"bye"]


def test_closed_by_the_server() -> None:
    client, server = pair()
    listener = listen(server, "tcp/80")
    connection = client.sockets.connect(ME, 80)
    listener.connections[0].send("bye")
    listener.connections[0].close()
    assert (connection.state, connection.received) == (State.CLOSE_WAIT, b"bye")
    connection.close()
    assert (connection.state, listener.connections[0].state) == (State.CLOSED, State.TIME_WAIT)


def test_a_syn_and_a_fin_at_once_are_two_sequence_numbers() -> None:
    server = host()
    listen(server, "tcp/80")
    server.receive("eth0", Packet.tcp(PEER, ME, 4000, 80, "S", seq=100))
    trace = server.receive("eth0", Packet.tcp(PEER, ME, 4000, 80, "SFR", seq=100))
    assert (reasons(trace), [frame.packet.flags for frame in trace.out]) == (["NOT_SPECIFIED"], ["A"])
    server.receive("eth0", Packet.tcp(PEER, ME, 4001, 80, "S", seq=100))
    trace = server.receive("eth0", Packet.tcp(PEER, ME, 4001, 80, "FR", seq=100))
    assert (reasons(trace), trace.out) == (["TCP_OVERWINDOW"], [])


def test_without_a_way_back_no_connection_is_opened() -> None:
    server = host(sysctls={f"net.ipv4.conf.{dev}.rp_filter": 0 for dev in ("all", "eth0")})
    server.fib.add(parse_route("unreachable 10.7.0.0/16"))
    listener = listen(server, "tcp/80")
    for source, errno in (("10.1.1.2", "ENETUNREACH"), ("10.7.1.2", "EHOSTUNREACH")):
        trace = server.receive("eth0", Packet.tcp(source, ME, 4000, 80, "S"))
        assert trace.out == trace.dropped == trace.delivered == []
        assert [event.text for event in trace.events if isinstance(event, Noted)] == [
            f"a connection is not opened without a way back ({errno})"
        ]
    again = server.receive("eth0", Packet.tcp("10.1.1.2", ME, 4000, 80, "A", ack=1))
    assert reasons(again) == ["TCP_FLAGS"]
    assert listener.connections == []


def test_a_closed_port_refuses() -> None:
    client, _ = pair()
    connection = client.sockets.connect(ME, 81)
    assert (connection.state, connection.error) == (State.CLOSED, "ECONNREFUSED")
    assert repr(connection) == "<tcp 10.0.1.2:32768 - 10.0.1.1:81 CLOSED, ECONNREFUSED, 0 bytes received>"


def test_two_connections_to_one_listener_are_kept_apart() -> None:
    client, server = pair()
    listener = listen(server, "tcp/80", lambda data: data)
    one, other = (client.sockets.connect(ME, 80) for _ in range(2))
    one.send("one")
    other.send("other")
    assert (one.received, other.received) == (b"one", b"other")
    assert [accepted.received for accepted in listener.connections] == [b"one", b"other"]


def test_a_connection_to_oneself_over_lo() -> None:
    server = host()
    listen(server, "tcp/80", lambda data: data[::-1])
    connection = server.sockets.connect(ME, 80)
    connection.send("abc")
    assert connection.received == b"cba"


def test_both_ends_open_at_once() -> None:
    client, server = pair()
    client.wires.peers.clear()  # the cable is out while both SYNs are sent
    one = client.sockets.connect(ME, 80, sport=80)
    other = server.sockets.connect(PEER, 80, sport=80)
    assert one.state is other.state is State.SYN_SENT
    one_syn, other_syn = (Packet.tcp(*way, 80, 80, "S", seq=seq) for way, seq in
                          (((PEER, ME), one.snd_una), ((ME, PEER), other.snd_una)))  # fmt: skip
    synack = server.receive("eth0", one_syn).out[0].packet
    assert synack.flags == "SA"
    client.receive("eth0", other_syn)
    ack = client.receive("eth0", synack).out[0].packet
    server.receive("eth0", ack)
    assert one.state is State.SYN_RECEIVED
    assert other.state is State.ESTABLISHED


def test_a_reset_in_the_handshake_ends_it_without_a_socket() -> None:
    server = host(listen=["tcp/80"])
    server.receive("eth0", Packet.tcp(PEER, ME, 4000, 80, "S", seq=100))
    trace = server.receive("eth0", Packet.tcp(PEER, ME, 4000, 80, "R", seq=101))
    assert reasons(trace) == ["NOT_SPECIFIED"]
    assert trace.delivered == []
    assert reasons(server.receive("eth0", Packet.tcp(PEER, ME, 4000, 80, "A", seq=101, ack=1))) == ["TCP_FLAGS"]


def test_the_senders_ttl_is_the_hosts() -> None:
    server = host(sysctls={"net.ipv4.ip_default_ttl": 99}, listen=["tcp/80"])
    listen(server, "udp/53", lambda data: data)
    traces = [server.receive("eth0", one) for one in (UDP, TCP, TCP.with_(dport=1), Packet.icmp(PEER, ME))]
    traces += [server.sockets.ping(PEER), server.sockets.udp().send(PEER, 1)]
    assert [trace.out[0].packet.ttl for trace in traces] == [99] * 6


# ---------------------------------------------------------------- mistakes


def crash(data: bytes) -> bytes:
    return data + 1  # type: ignore[operator]  # here


MISTAKES: list[tuple[Callable[[Host], Any], str]] = [
    (lambda host: listen(host, "tcp"), "'tcp' is not a socket like tcp/80 or udp/53"),
    (lambda host: listen(host, "tcp/0"), "'tcp/0' is not a socket"),
    (lambda host: listen(host, "tcp/65536"), "'tcp/65536' is not a socket"),
    (lambda host: listen(host, "tcp/" + "9" * 5000), "'tcp/9999"),
    (lambda host: listen(host, "tcp/٨٠"), "'tcp/٨٠' is not a socket"),
    (lambda host: listen(host, "sctp/80"), "'sctp/80' is not a socket"),
    (lambda host: listen(host, 80), "80 is not a socket"),  # type: ignore[arg-type]
    (lambda host: [listen(host, "tcp/80"), listen(host, "tcp/80")], "server: tcp/80 is open already"),
    (lambda host: listen(host, "tcp/80", "hello"), "what answers on tcp/80 must be callable, 'hello' is not"),
    (lambda host: host.sockets.udp("x"), "'udp/x' is not a socket"),  # type: ignore[arg-type]
    (lambda host: host.sockets.udp(0), "'udp/0' is not a socket"),
    (lambda host: host.sockets.connect("nowhere", 80), "'nowhere' is not an IPv4 address"),
    (lambda host: host.sockets.connect(5, 80), "5 is not an IPv4 address"),  # type: ignore[arg-type]
    (lambda host: host.sockets.connect(PEER, "80"), "dport: '80' is not a number"),  # type: ignore[arg-type]
    (lambda host: host.sockets.connect(PEER, 80, sport=70000), "sport: 70000 is not a number"),
    (lambda host: [host.sockets.connect(PEER, 80, sport=9) for _ in "12"],
     "server: 10.0.1.1:9 - 10.0.1.2:80 is connected already"),
    (lambda host: host.sockets.ping("10.0.1"), "'10.0.1' is not an IPv4 address"),
    (lambda host: host.sockets.ping(PEER, id=-1), "id: -1 is not a number"),
    (lambda host: host.sockets.udp().send(PEER, 65536), "dport: 65536 is not a number"),
    (lambda host: host.sockets.udp().send(PEER, 53, 5), "payload: 5 is neither"),  # type: ignore[arg-type]
    (lambda host: [listen(host, "udp/53", lambda data: 5), host.receive("eth0", UDP)],
     "the program on udp/53 answered: 5 is neither bytes nor text"),
    (lambda host: [listen(host, "udp/53", crash), host.receive("eth0", UDP)],
     f"the program on udp/53 raised TypeError: can't concat int to bytes, in line {crash.__code__.co_firstlineno + 1}"),
]  # fmt: skip


@pytest.mark.parametrize(("mistake", "problem"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_one_line(mistake: Callable[[Host], Any], problem: str) -> None:
    with pytest.raises(NetlabError) as refused:
        mistake(host())
    assert str(refused.value).startswith(problem)
    assert "\n" not in str(refused.value)


def test_a_refused_connection_leaves_nothing_behind() -> None:
    server = host()
    with pytest.raises(NetlabError):
        server.sockets.connect(PEER, 80, sport=70000)
    assert isinstance(server.sockets.connect(PEER, 80, sport=7), Connection)
    assert isinstance(server.sockets.listen("tcp/7"), Listener)
