"""Packets of connections: what a tracker must tell apart, from handshakes to errors about flows that never were.

Several conversations go on at once. Each has two ends, which may be hosts beyond the machine's interfaces or the
machine itself, and a few packets in an order that mostly makes sense.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import cycle
from random import Random
from typing import NamedTuple

from netlab.kernel.fuzz.machines import OUTSIDE
from netlab.packet import Packet
from netlab.scenario import HostSpec, PacketStep

AT_ONCE = 4
WRAP = 0xFFFFFFFF

Beat = tuple[int, str]  # who speaks (0 began the conversation), and the flags
OPENING: tuple[Beat, ...] = ((0, "S"), (1, "SA"), (0, "A"))
CLOSING: tuple[tuple[Beat, ...], ...] = (
    ((0, "FA"), (1, "A"), (1, "FA"), (0, "A")),
    ((1, "FA"), (0, "A"), (0, "FA"), (1, "A")),
    ((0, "FA"), (1, "FA"), (0, "A"), (1, "A")),
    ((0, "FA"), (1, "FA"), (1, "A"), (0, "A")),
)
SCRIPTS: tuple[tuple[Beat, ...], ...] = (
    (),
    ((0, "S"),),
    ((0, "S"), (1, "SA")),
    OPENING,
    *((*OPENING, *closing[:length]) for closing in CLOSING for length in (1, 2, 3, 4)),
    *((*OPENING, (0, "PA"), (1, "A"), *closing, (side, "S")) for closing in CLOSING for side in (0, 1)),
    *((*OPENING, (side, "R")) for side in (0, 1)),
    *((*OPENING, (side, "R"), (other, "S")) for side in (0, 1) for other in (0, 1)),
    ((0, "S"), (1, "S")),
    ((0, "S"), (1, "S"), (0, "SA"), (1, "SA")),
    ((0, "S"), (1, "S"), (0, "A"), (1, "A")),
    ((0, "S"), (1, "RA")),
    ((0, "S"), (1, "A"), (0, "R"), (0, "S")),
    (*OPENING, (0, "PA"), (0, "PA"), (0, "PA"), (0, "PA"), (0, "PA"), (1, "A")),
    (*OPENING, (0, "S"), (1, "A"), (0, "R"), (0, "S")),
    (*OPENING, (0, "S"), (1, "SA"), (0, "A")),
    ((0, "A"), (1, "A"), (0, "PA")),
)  # fmt: skip
FLAGS = ("S", "S", "SA", "SA", "A", "A", "PA", "FA", "FA", "R", "RA", "F", "", "SF", "U", "AU", "SU", "P", "SR", "SEC")
AWAY = (1, -1, 5, -5, 100, -100, 1000, -1000, 65535, 66000, -66000, -66001, 70000, -70000, 1 << 31)
SCALES = (0, 2, 7, 14, 15)
ERRORS = ((3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (3, 13), (3, 16), (4, 0), (5, 0), (5, 1), (11, 0), (11, 1), (12, 0))
QUESTIONS = (8, 8, 8, 8, 13, 15, 17)
ANSWERS = {8: 0, 13: 14, 15: 16, 17: 18}
OTHER_PROTOCOLS = (33, 47, 47, 50, 99, 136, 136, 253)
_UDPLITE = 136


class End(NamedTuple):
    """One side of a conversation: where its packets come in (None: the machine sends them itself), and its address."""

    dev: str | None
    address: int


class Conversations:
    """The conversations around one machine."""

    def __init__(
        self, random: Random, spec: HostSpec, devs: Sequence[str], *, local: bool, datagrams: bool = True
    ) -> None:
        """`devs` are its open interfaces; `local`: the machine itself may take part; `datagrams`: there is UDP."""
        self._random = random
        self._spec = spec
        self._devs = devs
        self._local = local or not devs
        self._kinds = [self._tcp, self._tcp, self._tcp, self._pings, self._other, *[self._datagrams] * datagrams]
        self._others = [proto for proto in OTHER_PROTOCOLS if datagrams or proto != _UDPLITE]
        self._port = 1023
        self._flows: list[Iterator[PacketStep]] = []
        self._last: list[tuple[tuple[End, End], Packet]] = []  # what was said lately, for errors to quote
        self._tuples: list[tuple[tuple[End, End], int, int]] = []  # TCP's, to be used again

    def next(self) -> PacketStep:
        """The next packet of one of them."""
        random = self._random
        while True:
            if len(self._flows) < AT_ONCE:
                self._flows.append(random.choice(self._kinds)())
            flow = random.choice(self._flows)
            for step in flow:
                return step
            self._flows.remove(flow)

    def _ends(self) -> tuple[End, End]:
        """Mostly two hosts on two sides, sometimes the machine itself and one of them, or the machine alone."""
        random = self._random
        hosts = [end for dev in self._devs for end in self._hosts(dev)] or [End(dev, OUTSIDE[0]) for dev in self._devs]
        own = [End(None, one.address) for ones in self._spec.interfaces.values() for one in ones if self._local]
        chance = random.random()
        if own and (chance < 0.1 or not hosts):
            return random.choice([*own, End(None, 0x7F000001)]), random.choice(own)
        if own and chance < 0.3:
            pair = [random.choice(hosts), random.choice(own)]
            random.shuffle(pair)
            return pair[0], pair[1]
        first = random.choice(hosts)
        others = [host for host in hosts if host.dev != first.dev]
        return first, random.choice(others or hosts)

    def _hosts(self, dev: str) -> Iterator[End]:
        for one in self._spec.interfaces[dev]:
            if one.network.length <= 30:
                yield End(
                    dev,
                    one.address ^ 3
                    if one.address ^ 3 not in (one.network.address, one.network.last)
                    else one.address ^ 1,
                )

    def _step(self, ends: tuple[End, End], side: int, packet: Packet) -> PacketStep:
        """The packet on its way, now and then with a fault."""
        random = self._random
        packet = packet.with_(
            src=ends[side].address,
            dst=ends[1 - side].address,
            ip_id=random.randrange(1, 65536),
            df=random.random() < 0.5,
        )
        self._last.append((ends if side == 0 else ends[::-1], packet))
        del self._last[:-8]
        chance = random.random()
        payload = packet.payload
        if chance < 0.02 and payload:
            at = random.randrange(len(payload))
            packet = packet._replace(
                payload=payload[:at] + bytes([payload[at] ^ 1 << random.randrange(8)]) + payload[at + 1 :]
            )
        elif chance < 0.03:
            packet = packet._replace(payload=payload[: random.randrange(len(payload) + 1)])
        return PacketStep(self._spec.name, ends[side].dev, packet.to_bytes())

    # ---------------------------------------------------------------- TCP

    def _tcp(self) -> Iterator[PacketStep]:
        random = self._random
        if self._tuples and random.random() < 0.12:
            ends, sport, dport = random.choice(self._tuples[-6:])
            if random.random() < 0.3:
                ends, sport, dport = ends[::-1], dport, sport
        else:
            ends, sport, dport = self._ends(), self._next_port(), random.choice((80, 80, 80, 0, 21))
            self._tuples.append((ends, sport, dport))
        talk = _Talk(random, sport, dport)
        script = list(random.choice(SCRIPTS))
        for beat in (*script, *((random.randrange(2), "") for _ in range(random.randrange(7)))):
            if random.random() < 0.06:
                yield self._error()
            side, packet = talk.say(*beat, wild=beat[1] == "" or random.random() < 0.06)
            yield self._step(ends, side, packet)

    def _next_port(self) -> int:
        self._port = self._port + 1 if self._port < 60000 else 1024
        return 0 if self._random.random() < 0.01 else self._port

    # ---------------------------------------------------------------- everything else

    def _datagrams(self) -> Iterator[PacketStep]:
        random = self._random
        ends, ports = self._ends(), (self._next_port(), random.choice((53, 53, 7777, 0, 9999)))
        for _ in range(random.randrange(1, 6)):
            side = random.choice((0, 0, 1))
            data = random.randbytes(random.choice((0, 1, 20, 500)))
            packet = Packet.udp("0.0.0.0", "0.0.0.0", ports[side], ports[1 - side], data)
            packet = packet.with_(src=ends[side].address, dst=ends[1 - side].address)
            if random.random() < 0.05:  # no checksum
                packet = packet._replace(payload=packet.payload[:6] + bytes(2) + packet.payload[8:])
            if random.random() < 0.05:  # another length
                length = random.choice((0, 7, 8, len(packet.payload) - 1, len(packet.payload) + 1)) & 0xFFFF
                packet = packet._replace(payload=packet.payload[:4] + struct.pack(">H", length) + packet.payload[6:])
            yield self._step(ends, side, packet)
            if random.random() < 0.15:
                yield self._error()

    def _pings(self) -> Iterator[PacketStep]:
        random = self._random
        ends, number = self._ends(), random.choice((0, 1, random.randrange(65536)))
        question, code = random.choice(QUESTIONS), random.choice((0, 0, 0, 0, 0, 1))
        for seq in range(random.randrange(1, 6)):
            side = random.choice((0, 0, 1))
            kind = ANSWERS[question] if random.random() < (0.9 if side else 0.1) else question
            data = random.randbytes(random.choice((0, 12, 12, 56)))
            yield self._step(
                ends, side, Packet.icmp("0.0.0.0", "0.0.0.0", kind, code, id=number, seq=seq, payload=data)
            )
            if random.random() < 0.15:
                yield self._error()

    def _other(self) -> Iterator[PacketStep]:
        random = self._random
        ends, proto = self._ends(), random.choice(self._others)
        key = random.randrange(3)
        for _ in range(random.randrange(1, 4)):
            side = random.randrange(2)
            payload = random.randbytes(random.choice((0, 3, 4, 8, 40)))
            if proto == 47 and random.random() < 0.8:
                version = random.choice((0x0000, 0x2000, 0x3001, 0x3001, 0x3002))
                payload = struct.pack(">HHHH", version, random.choice((0x0800, 0x880B)), 4, key) + bytes(4)
            elif proto == _UDPLITE and random.random() < 0.9:
                payload = self._udplite(ends, side)
            yield self._step(ends, side, Packet.ip("0.0.0.0", "0.0.0.0", proto, payload))
            if random.random() < 0.15:
                yield self._error()

    def _udplite(self, ends: tuple[End, End], side: int) -> bytes:
        random = self._random
        ports = (5000, 6000) if side == 0 else (6000, 5000)
        data = random.randbytes(random.choice((0, 4, 20)))
        coverage = random.choice((0, 8, 8 + len(data), 7, 9 + len(data)))
        header = struct.pack(">HHHH", *ports, coverage, 0)
        covered = (header + data)[: coverage or 8 + len(data)]
        pseudo = struct.pack(
            ">IIBBH", ends[side].address, ends[1 - side].address, 0, random.choice((17, 17, _UDPLITE)), 8 + len(data)
        )
        checksum = _checksum(pseudo + covered) or 0xFFFF
        if random.random() < 0.1:
            checksum = 0
        return header[:6] + struct.pack(">H", checksum) + data

    def _error(self) -> PacketStep:
        """An ICMP error that quotes something said lately, or something like it."""
        random = self._random
        if not self._last:
            return self._step(self._ends(), 0, Packet.icmp("0.0.0.0", "0.0.0.0", 3, 3))
        ends, quoted = random.choice(self._last)
        if random.random() < 0.2:
            at = random.randrange(min(8, len(quoted.payload) or 1))
            quoted = quoted._replace(payload=quoted.payload[:at] + b"\x07" + quoted.payload[at + 1 :])
        if random.random() < 0.1:
            quoted = quoted.with_(
                **random.choice(({"dst": "10.0.2.77"}, {"src": "10.0.1.77"}, {"proto": 99}, {"ttl": 1}))
            )
        if random.random() < 0.03:
            quoted = quoted.with_(mf=True) if random.random() < 0.5 else quoted.with_(frag_offset=8)
        data = quoted.to_bytes()
        if random.random() < 0.2:
            data = data[: random.choice((0, 19, 20, 23, 24, 27, 28, 36))]
        kind, code = random.choice(ERRORS)
        # Who received the quoted packet, or a router on the way, tells its sender; sometimes somebody else does.
        side = 1 if random.random() < 0.9 else 0
        if (kind, code) == (3, 4) and ends[1 - side].dev is None:
            code = 3  # the kernel would learn a path MTU from it, which the simulator does not
        return self._step(ends, side, Packet.icmp("0.0.0.0", "0.0.0.0", kind, code, payload=data))


class _Talk:
    """The two ends of one TCP connection, which mostly count as they should."""

    def __init__(self, random: Random, sport: int, dport: int) -> None:
        self._random = random
        self._ports = sport, dport
        self._next = [random.choice((0, 100, 0xFFFFFFF0, 1000000)), random.choice((0, 500, 0xFFFFFF00))]
        self._window = [random.choice((65535, 65535, 1000, 0)) for _ in range(2)]
        self._said: list[tuple[int, Packet]] = []
        self._scaled = random.random() < 0.4
        self._sacks = random.random() < 0.4

    def say(self, side: int, flags: str, *, wild: bool) -> tuple[int, Packet]:
        """A segment of that side; a wild one has other flags or numbers."""
        random = self._random
        if self._said and random.random() < 0.08:
            return random.choice(self._said[-3:])
        seq, ack = self._next[side], self._next[1 - side]
        if wild:
            flags = random.choice(FLAGS)
            if random.random() < 0.35:
                seq = random.choice((0, seq + random.choice(AWAY), self._next[side] - 1))
            if random.random() < 0.35:
                ack = random.choice((0, ack + random.choice(AWAY), ack - 1))
        if random.random() < 0.05:
            self._window[side] = random.choice((0, 1, 10, 1000, 65535))
        data = bytes(random.choice((1, 5, 100, 1000))) if "P" in flags or random.random() < 0.06 else b""
        packet = Packet.tcp(
            "0.0.0.0", "0.0.0.0", self._ports[side], self._ports[1 - side], flags, seq=seq & WRAP,
            ack=ack & WRAP if "A" in flags or random.random() < 0.1 else 0, window=self._window[side],
            tcp_options=self._options(flags, ack), payload=data,
        )  # fmt: skip
        if not wild:
            self._next[side] = seq + len(data) + ("S" in flags) + ("F" in flags) & WRAP
        self._said.append((side, packet))
        return side, packet

    def _options(self, flags: str, ack: int) -> bytes:
        random = self._random
        options = b""
        if "S" in flags:
            if self._scaled and random.random() < 0.9:
                options += bytes((3, 3, random.choice(SCALES)))
            if self._sacks and random.random() < 0.9:
                options += bytes((4, 2))
        elif self._sacks and random.random() < 0.3:
            edges = [ack + random.choice(AWAY) & WRAP for _ in range(2 * random.randrange(1, 4))]
            options += bytes((1, 1, 5, 2 + 4 * len(edges))) + struct.pack(f">{len(edges)}I", *edges)
        elif random.random() < 0.1:
            options += bytes((1, 1, 8, 10)) + random.randbytes(8)  # a timestamp
        if random.random() < 0.03:
            options = bytes(random.randrange(12) for _ in range(random.randrange(1, 9)))
        return options + bytes((1,)) * (-len(options) % 4)


def _checksum(data: bytes) -> int:
    total = sum(octet << shift for octet, shift in zip(data, cycle((8, 0)), strict=False))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
