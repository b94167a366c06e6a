"""Where a packet for this host ends up: TCP, UDP and ICMP as far as a conversation in a lab needs them.

Left out on purpose: retransmission, congestion control, delayed acknowledgements, TCP options but the MSS that a SYN
announces, out-of-order data.
"""

from collections.abc import Callable
from typing import Any

from netlab import icmp, ip_options
from netlab.addresses import parse_address
from netlab.hooks import blame
from netlab.ip_output import IpOutput
from netlab.machine import DEFAULT_MTU, Machine
from netlab.names import DropReason, NetlabError, Proto
from netlab.packet import ICMP_ERRORS, Icmp, Packet, Tcp, Udp, as_bytes, udplite_checksum_ok
from netlab.route_lookup import Decision
from netlab.skb import Skb
from netlab.stamping import address_towards
from netlab.tcp_auth import Signature, refusal, signature_of
from netlab.tcp_connection import RST, Answer, Connection, FourTuple, Listener, Verdict, reset_for
from netlab.trace import Delivered, Noted, Trace

EPHEMERAL = range(32768, 61000)  # net.ipv4.ip_local_port_range
IGMP, PIM, UDPLITE = 2, 103, 136
SUMMED_AT_ONCE = 76  # bytes of UDP: up to here the kernel checks the checksum before it looks for a socket
HANDLED_ICMP = 18  # the highest type that the kernel knows by number
EXTENDED_ECHO, EXTENDED_ECHO_REPLY = 42, 43  # RFC 8335
TO_EVERYBODY = (icmp.ECHO, icmp.TIMESTAMP, 17, 18)  # what may come to a broadcast address (RFC 1122, 3.2.2)


class UdpSocket:
    """A UDP socket bound to a port: datagrams wait in `received` as (sender's address, port, data)."""

    def __init__(self, sockets: "Sockets", port: int) -> None:
        self._sockets = sockets
        self.port = port
        self.received: list[tuple[str, int, bytes]] = []
        self.answer: Callable[[bytes], bytes | None] | None = None

    def send(self, dst: str, dport: int, data: bytes | str = b"") -> Trace:
        """Send a datagram, and return all that follows."""
        return self._sockets.send_udp(self.port, dst, dport, data)

    def __repr__(self) -> str:
        return f"<udp/{self.port}: {len(self.received)} datagrams received>"


class Sockets:
    """The sockets of one host, and what answers when there is none."""

    def __init__(self, host: Machine, output: IpOutput) -> None:
        self._host = host
        self._output = output
        self._listeners: dict[int, Listener] = {}
        self._connections: dict[FourTuple, Connection] = {}
        self._udp: dict[int, UdpSocket] = {}
        self._pings: set[int] = set()
        self._next_port = EPHEMERAL.start
        self._begun = 0
        self._handlers: dict[int, Callable[[Skb], None]] = {
            Proto.ICMP: self._icmp, Proto.TCP: self._tcp, Proto.UDP: self._udp_in, UDPLITE: self._udplite,
            IGMP: self._multicast_routing, PIM: self._multicast_routing,
        }  # fmt: skip

    # ---------------------------------------------------------------- what programs do

    def listen(self, socket: str, answer: Callable[[bytes], bytes | None] | None = None) -> Listener | UdpSocket:
        """Open `tcp/80` or `udp/53`. `answer` gets what arrives and returns what to send back (None: nothing).

        Raises:
            NetlabError: not a socket, the port is taken, or `answer` cannot be called.
        """
        proto, port = parse_socket(socket)
        if answer is not None:
            answer = _guarded(socket, answer)
        if port in (self._listeners if proto == "tcp" else self._udp):
            raise NetlabError(f"{self._host.name}: {socket} is open already")
        if proto == "tcp":
            self._listeners[port] = listener = Listener(port, answer)
            return listener
        self._udp[port] = opened = UdpSocket(self, port)
        opened.answer = answer
        return opened

    def udp(self, port: int | None = None) -> UdpSocket:
        """Open a UDP socket, on a free port if none is named.

        Raises:
            NetlabError: the port is taken.
        """
        if port is None:
            port = self._free_port()
            while port in self._udp:
                port = self._free_port()
        opened = self.listen(f"udp/{port}")
        assert isinstance(opened, UdpSocket)
        return opened

    def connect(self, dst: str, dport: int, *, sport: int | None = None) -> Connection:
        """Open a TCP connection, as connect(2) does; see its `state` and its `error` for how that went.

        Raises:
            NetlabError: an address or a port that is none, or there is such a connection already.
        """
        daddr = parse_address(dst)
        decision = self._host.fib.lookup(daddr)
        saddr = self._host.fib.source_of(decision.route) if decision.route else 0
        tuple_ = FourTuple(saddr, self._free_port() if sport is None else sport, daddr, dport)
        if tuple_ in self._connections:
            raise NetlabError(f"{self._host.name}: {tuple_} is connected already")
        connection = Connection(tuple_, self._isn(), self._send_segment, self._host.wires, mtu=self._mtu(decision))
        if decision.route is None:
            connection.error = decision.errno
            return connection
        with self._host.wires.step("{} connects to {}:{}", self._host.name, dst, dport):
            connection.open()
            self._connections[tuple_] = connection
        return connection

    def send_udp(self, sport: int, dst: str, dport: int, data: bytes | str) -> Trace:
        """Send one datagram from that port."""
        with self._host.wires.step(f"{self._host.name} udp/{sport} sends to {dst}:{dport}") as trace:
            daddr = parse_address(dst)
            packet = Packet.udp("0.0.0.0", dst, sport, dport, data, ttl=self._host.default_ttl())
            packet = packet.with_(src=self._host.source_for(daddr))
            self._output.emit(packet, f"udp/{sport}", awaited=True, unsummed=True)
        return trace

    def ping(self, dst: str, *, id: int = 1, seq: int = 1, payload: bytes = b"netlab") -> Trace:
        """Send an echo request, as ping(8) does."""
        with self._host.wires.step(f"{self._host.name} pings {dst}") as trace:
            packet = Packet.icmp("0.0.0.0", dst, icmp.ECHO, id=id, seq=seq, payload=payload)
            self._pings.add(id)
            self._output.emit(packet.with_(ttl=self._host.default_ttl()), "ping", awaited=True)
        return trace

    # ---------------------------------------------------------------- what arrives

    def deliver(self, skb: Skb) -> None:
        """After LOCAL_IN: to the protocol's own code (ip_local_deliver_finish)."""
        handler = self._handlers.get(skb.packet.proto)
        if handler:
            handler(skb)
            return
        self._output.report(icmp.Error(icmp.UNREACHABLE, icmp.PROTOCOL), skb)
        self._host.drop(skb, DropReason.IP_NOPROTO, f"nothing here speaks protocol {skb.packet.proto}")

    def _tcp(self, skb: Skb) -> None:
        """net/ipv4/tcp_ipv4.c, tcp_v4_rcv."""
        packet = skb.packet
        if skb.to_all:
            return self._host.drop(skb, DropReason.NOT_SPECIFIED, "TCP does not speak to everybody")
        segment = packet.l4
        if not isinstance(segment, Tcp):
            short = len(packet.payload) < 20 or packet.payload[12] >> 4 >= 5
            reason = DropReason.NOT_SPECIFIED if short else DropReason.PKT_TOO_SMALL
            return self._host.drop(skb, reason, "the TCP header is cut short")
        # Not reckoned again where conntrack has found it right: a rule may have put it wrong since (TCPMSS).
        if not (skb.summed and skb.ct is not None) and not packet.checksum_ok():
            return self._host.drop(skb, DropReason.TCP_CSUM, "the TCP checksum is wrong")
        tuple_ = FourTuple(packet.daddr, segment.dport, packet.saddr, segment.sport)
        connection = self._connections.get(tuple_)
        listener = self._listeners.get(segment.dport)
        half_open = connection is not None and connection.half_open
        if (connection or listener) and (signed := refusal(segment.options, half_open=half_open)):
            return self._host.drop(skb, *signed)
        if connection is None and listener:
            if refused := listener.refuses(segment):
                reason, why, answer = refused
                if answer and skb.unicast:
                    self._reset(skb, segment)
                return self._host.drop(skb, reason, why)
            if not skb.unicast:
                return self._note(skb, "a connection is not opened by a broadcast")
            decision = self._host.fib.lookup(packet.saddr, src=packet.daddr)
            if decision.route is None:
                return self._note(skb, f"a connection is not opened without a way back ({decision.errno})")
            self._delivered(skb, f"tcp/{segment.dport}")
            connection = Connection(
                tuple_, self._isn(), self._way_back(skb), self._host.wires, listener, self._mtu(decision)
            )
            self._connections[tuple_] = connection
            return connection.accept(segment)
        if connection is None:
            if skb.unicast and not segment.flags & RST:
                self._reset(skb, segment)
            return self._host.drop(skb, DropReason.NO_SOCKET, f"nobody listens on tcp/{segment.dport}")
        found = connection.finish(segment) if half_open else Verdict()
        if found.resets:
            self._reset(skb, segment)
        elif found.reason is None:
            found = Verdict(connection.receive(segment), "the connection has no use for it")
        if found.reason is None:
            self._delivered(skb, f"tcp/{segment.dport}")
        else:
            self._host.drop(skb, found.reason, found.why)
        if connection.gone:
            del self._connections[tuple_]

    def _udp_in(self, skb: Skb) -> None:
        """net/ipv4/udp.c, __udp4_lib_rcv."""
        packet = skb.packet
        skb.ct = skb.ctstate = None  # an error about it finds the flow anew, if it is still there (nf_reset_ct)
        datagram = packet.l4
        if not isinstance(datagram, Udp):
            return self._host.drop(skb, DropReason.NOT_SPECIFIED, "the UDP header is cut short")
        if not 8 <= datagram.length <= len(packet.payload):
            why = f"the UDP header claims {datagram.length} bytes, {len(packet.payload)} are there"
            return self._host.drop(skb, DropReason.PKT_TOO_SMALL, why)
        skb.packet = packet._replace(payload=packet.payload[: datagram.length])
        socket = self._udp.get(datagram.dport)
        # Long datagrams are summed only when somebody reads them, or conntrack has done it.
        summed = datagram.length <= SUMMED_AT_ONCE or skb.summed
        if socket is None and not skb.unicast and (self._sound(skb) or not summed):
            return self._host.drop(skb, DropReason.NOT_SPECIFIED, f"a broadcast, and nobody on udp/{datagram.dport}")
        if not self._sound(skb):
            return self._host.drop(skb, DropReason.UDP_CSUM, "the UDP checksum is wrong")
        if socket is None:
            self._output.report(icmp.Error(icmp.UNREACHABLE, icmp.PORT), skb)
            return self._host.drop(skb, DropReason.NO_SOCKET, f"nobody listens on udp/{datagram.dport}")
        self._delivered(skb, f"udp/{datagram.dport}")
        data = datagram.payload[: datagram.length - 8]
        socket.received.append((packet.src, datagram.sport, data))
        if socket.answer and (reply := socket.answer(data)) is not None:
            answer = Packet.udp("0.0.0.0", packet.src, datagram.dport, datagram.sport, reply)
            source = packet.daddr if skb.unicast else self._host.source_for(packet.saddr)
            answer = answer.with_(src=source, ttl=self._host.default_ttl())
            self._output.emit(answer, f"udp/{datagram.dport}", source, unsummed=True)

    def _icmp(self, skb: Skb) -> None:
        """net/ipv4/icmp.c, icmp_rcv."""
        packet = skb.packet
        passed_by_conntrack = skb.summed and len(packet.payload) >= 8 and not any(packet.payload)
        if not self._sound(skb) and not passed_by_conntrack:
            return self._host.drop(skb, DropReason.ICMP_CSUM, "the ICMP checksum is wrong")
        message = packet.l4
        if not isinstance(message, Icmp):
            return self._host.drop(skb, DropReason.NOT_SPECIFIED, "the ICMP header is cut short")
        get = self._host.sysctls.get
        if message.type == EXTENDED_ECHO:
            return self._note(skb, "not answered: net.ipv4.icmp_echo_enable_probe=0")
        if message.type == EXTENDED_ECHO_REPLY:
            return self._echo_reply(skb, message)
        if not skb.unicast and message.type not in TO_EVERYBODY:
            why = f"ICMP type {message.type} is not for everybody"
            return self._host.drop(skb, DropReason.INVALID_PROTO, why)
        if message.type > HANDLED_ICMP:
            return self._host.drop(skb, DropReason.UNHANDLED_PROTO, f"ICMP type {message.type} is unknown")
        asks_everybody = not skb.unicast and message.type in (icmp.ECHO, icmp.TIMESTAMP)
        if asks_everybody and get("net.ipv4.icmp_echo_ignore_broadcasts"):
            return self._host.drop(skb, DropReason.INVALID_PROTO, "net.ipv4.icmp_echo_ignore_broadcasts=1")
        if message.type == icmp.ECHO:
            if get("net.ipv4.icmp_echo_ignore_all"):
                return self._note(skb, "not answered: net.ipv4.icmp_echo_ignore_all=1")
            return self._answer(skb, icmp.echo_reply(packet, 0, self._host.default_ttl()))
        if message.type == icmp.TIMESTAMP:
            if len(message.payload) < 4:
                return self._host.drop(skb, DropReason.PKT_TOO_SMALL, "the timestamps are cut short")
            now = self._host.time_of_day()
            return self._answer(skb, icmp.timestamp_reply(packet, 0, self._host.default_ttl(), now))
        if message.type == icmp.ECHO_REPLY:
            return self._echo_reply(skb, message)
        if message.type in ICMP_ERRORS:
            return self._error(skb)
        self._note(skb, f"taken note of by the kernel: ICMP type {message.type}")

    def _echo_reply(self, skb: Skb, message: Icmp) -> None:
        if message.id in self._pings:
            self._delivered(skb, f"icmp/{message.id}")
        else:
            self._host.drop(skb, DropReason.NO_SOCKET, f"no ping waits for id {message.id}")

    def _error(self, skb: Skb) -> None:
        """net/ipv4/icmp.c, icmp_unreach and icmp_redirect; the latter does not look at the quoted header."""
        redirect, header = skb.packet.payload[0] == icmp.REDIRECT, skb.packet.payload[8:28]
        if len(header) < 20:
            reason = DropReason.PKT_TOO_SMALL if redirect else DropReason.NOT_SPECIFIED
            return self._host.drop(skb, reason, "it quotes no packet")
        if not redirect and header[0] & 15 < 5:
            return self._host.drop(skb, DropReason.IP_INHDR, "it quotes a broken header")
        self._note(skb, f"taken note of by the kernel: an error about {skb.packet.quoted or 'nothing readable'}")

    def _answer(self, skb: Skb, reply: Packet) -> None:
        """From the address that was asked; for a broadcast from the one that fits the way back (icmp_reply)."""
        request = skb.packet
        source = request.daddr if skb.unicast else address_towards(self._host, skb)
        options = self._options_back(skb)
        if options is None:
            return
        self._note(skb, "answered by the kernel")
        answer = options.on(reply.with_(src=source, dst=request.saddr or source), self._host.time_of_day())
        self._output.emit(answer, "the kernel", source)

    def _multicast_routing(self, skb: Skb) -> None:
        self._host.drop(skb, DropReason.NOT_SPECIFIED, "this host takes no part in multicast routing")

    def _udplite(self, skb: Skb) -> None:
        packet = skb.packet
        skb.ct = skb.ctstate = None
        if len(packet.payload) < 8:
            return self._host.drop(skb, DropReason.NOT_SPECIFIED, "the UDP-Lite header is cut short")
        coverage = int.from_bytes(packet.payload[4:6], "big") or len(packet.payload)
        if coverage > len(packet.payload):
            return self._host.drop(skb, DropReason.PKT_TOO_SMALL, "the checksum covers more than there is")
        plausible = coverage >= 8 and packet.payload[6:8] != b"\0\0"
        summed_late = coverage < len(packet.payload) or coverage > SUMMED_AT_ONCE or (skb.looped and not skb.unicast)
        if plausible and not skb.unicast and (summed_late or udplite_checksum_ok(packet, coverage)):
            return self._host.drop(skb, DropReason.NOT_SPECIFIED, "a broadcast, and nobody here speaks UDP-Lite")
        if not plausible or not udplite_checksum_ok(packet, coverage):
            return self._host.drop(skb, DropReason.UDP_CSUM, "the UDP-Lite checksum is wrong")
        self._output.report(icmp.Error(icmp.UNREACHABLE, icmp.PORT), skb)
        self._host.drop(skb, DropReason.NO_SOCKET, "nobody here speaks UDP-Lite")

    # ---------------------------------------------------------------- small print

    def _sound(self, skb: Skb) -> bool:
        """Whether the transport checksum is right; of its own broadcasts a host takes it for granted."""
        return (skb.looped and not skb.unicast) or skb.packet.checksum_ok()

    def _options_back(self, skb: Skb) -> ip_options.Reply | None:
        """The IP options of an answer; None where they forbid one."""
        if not skb.packet.options:
            return ip_options.NOTHING
        return ip_options.reply_to(skb.packet, skb.options, self._host.is_other)

    def _way_back(self, skb: Skb) -> Callable[[Packet, str], None]:
        """How a connection sends that was opened by this packet: with its IP options, if it has any."""
        options = self._options_back(skb)
        if not options:
            return self._send_segment
        return lambda packet, by: self._send_segment(options.on(packet, self._host.time_of_day()), by)

    def _mtu(self, decision: Decision) -> int:
        """The MTU of the way that a connection's segments take."""
        route = decision.route
        return self._host.mtu_of(route.dev, route) if route and route.dev else DEFAULT_MTU

    def _reset(self, skb: Skb, segment: Tcp) -> None:
        options = self._options_back(skb)
        if options is not None and signature_of(segment.options) is Signature.NONE:
            reset = options.on(reset_for(skb.packet, segment), self._host.time_of_day())
            reset = reset.with_(ttl=self._host.default_ttl())
            source = reset.saddr
            if not source:  # the checksum stays that for 0.0.0.0, which was asked; so the reset will not be believed
                reset = reset._replace(saddr=self._host.source_for(reset.daddr))
            self._output.emit(reset, "the kernel", source)

    def _send_segment(self, packet: Packet, by: str) -> None:
        self._output.emit(packet.with_(ttl=self._host.default_ttl()), by, packet.saddr, unsummed=True)

    def _delivered(self, skb: Skb, socket: str) -> None:
        if record := self._host.wires.record:
            record(Delivered(skb.number, self._host.name, socket, skb.packet))

    def _note(self, skb: Skb, text: str) -> None:
        if record := self._host.wires.record:
            record(Noted(skb.number, self._host.name, text))

    def _free_port(self) -> int:
        port = self._next_port
        self._next_port = port + 1 if port + 1 in EPHEMERAL else EPHEMERAL.start
        return port

    def _isn(self) -> int:
        self._begun += 1
        return initial_number(self._begun)


def initial_number(nth: int) -> int:
    """The sequence number with which a host's nth connection begins: the same ones every time."""
    return 1000 + 1000 * nth


def parse_socket(text: str) -> tuple[str, int]:
    """`tcp/80` as ("tcp", 80).

    Raises:
        NetlabError: not a socket.
    """
    proto, _, number = str(text).partition("/")
    if proto in ("tcp", "udp") and number.isascii() and number.isdecimal() and len(number) < 6:
        port = int(number)
        if 1 <= port <= 65535:
            return proto, port
    raise NetlabError(f"{text!r} is not a socket like tcp/80 or udp/53")


def _guarded(socket: str, answer: Answer) -> Answer:
    """The program behind a socket; its mistakes are told in one line that names its own."""
    if not callable(answer):
        raise NetlabError(f"what answers on {socket} must be callable, {answer!r} is not")

    def ask(data: bytes) -> bytes | None:
        try:
            reply: Any = answer(data)
        except Exception as problem:
            raise NetlabError(f"the program on {socket} raised {blame(problem)}") from None
        return None if reply is None else as_bytes(f"the program on {socket} answered", reply)

    return ask
