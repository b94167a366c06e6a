"""Packets for machines with rules: they answer what the machine sends out, wherever its rules have turned it.

A conversation through address translation cannot be written down beforehand: the answer must go to where the packet
seems to come from. So the scenario is made while the simulator takes it, step by step. Where translation has chosen a
port at random the kernel has chosen another: there the answer goes to that one (`netlab.kernel.ports`).
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import Final

from netlab.addresses import format_address
from netlab.kernel.fuzz.rulesets import Ground, hosts_beside
from netlab.names import Proto
from netlab.packet import ICMP_ERRORS, Icmp, Packet, Tcp
from netlab.scenario import DEFAULT_MTU, HostSpec, PacketStep, Scenario
from netlab.simulate import build, take
from netlab.trace import Sent

PORTS: Final = (21, 22, 53, 53, 80, 80, 80, 443, 7777, 8080, 0, 9)
CLIENT_PORTS: Final = (1024, 1024, 4000, 4001, 40000, 65535, 600, 511, 53)
ANSWERS: Final = {8: 0, 13: 14}
ERRORS: Final = ((3, 1), (3, 3), (3, 13), (11, 0), (3, 2), (12, 0))
REMEMBERED: Final = 24
FTP: Final = (
    "PORT {comma},{high},{low}\r\n",
    "EPRT |1|{dotted}|{port}|\r\n",
    "227 Entering Passive Mode ({comma},{high},{low}).\r\n",
    "229 Entering Extended Passive Mode (|||{port}|)\r\n",
    "USER anonymous\r\n",
)


class Heard:
    """A frame that left the machine, as who is beyond that interface hears it."""

    def __init__(self, dev: str, packet: Packet) -> None:
        self.dev = dev
        self.packet = packet

    def answer(self, random: Random) -> Packet | None:
        """What the other side says to it; None if there is nothing to say."""
        packet = self.packet
        back = {"src": packet.dst, "dst": packet.src, "ttl": random.choice((64, 64, 2, 1))}
        header = packet.l4
        if isinstance(header, Tcp):
            return _segment(random, header).with_(**back)
        if packet.proto == Proto.UDP and packet.sport is not None and packet.dport is not None:
            data = random.randbytes(random.choice((0, 4, 30)))
            return Packet.udp("0.0.0.0", "0.0.0.0", packet.dport, packet.sport, data).with_(**back)
        if isinstance(header, Icmp) and header.type in ANSWERS:
            body = packet.payload[8:]
            answer = Packet.icmp("0.0.0.0", "0.0.0.0", ANSWERS[header.type], 0, id=header.id, payload=body)
            return answer.with_(**back)
        if packet.proto not in (Proto.ICMP, Proto.TCP, Proto.UDP):
            return Packet.ip("0.0.0.0", "0.0.0.0", packet.proto, random.randbytes(12)).with_(**back)
        return None

    def error(self, random: Random) -> Packet | None:
        """An ICMP error about it, by who got it or by a router on the way."""
        header = self.packet.l4
        if isinstance(header, Icmp) and header.type in ICMP_ERRORS:
            return None
        kind, code = random.choice(ERRORS)
        quoted = self.packet.to_bytes()
        quoted = quoted[: random.choice((28, 28, 40, len(quoted)))]
        teller = self.packet.dst if random.random() < 0.6 else "10.9.9.9"
        return Packet.icmp(teller, self.packet.src, kind, code, payload=quoted)


def _segment(random: Random, heard: Tcp) -> Packet:
    """The other side's next segment: a handshake goes on, data is acknowledged, a FIN answered."""
    opens, ends, acks = heard.flags & 2, heard.flags & 1, heard.flags & 16
    upto = heard.seq + len(heard.payload) + bool(opens) + bool(ends) & 0xFFFFFFFF
    data = b""
    if opens and not acks:
        flags, seq = random.choice(("SA", "SA", "SA", "SA", "RA", "S")), random.choice((0, 1000, 0xFFFFFFF0))
    else:
        seq = heard.ack
        flags = random.choice(("A", "A", "PA", "PA", "FA", "R", "RA")) if not ends else random.choice(("A", "FA", "R"))
        if "P" in flags:
            data = _control(random) if 21 in (heard.sport, heard.dport) else bytes(random.choice((1, 10, 100)))
    return Packet.tcp(
        "0.0.0.0", "0.0.0.0", heard.dport, heard.sport, flags, seq=seq, ack=upto if "A" in flags else 0, payload=data,
        tcp_options=random.choice((b"", b"\x02\x04\x05\xb4", b"\x04\x02\x01\x01")) if "S" in flags else b"",
    )  # fmt: skip


def _control(random: Random) -> bytes:
    """A line of FTP's control connection."""
    address, port = random.choice(("10.0.1.2", "10.0.2.2", "10.0.1.3")), random.choice((2000, 40000, 21))
    line = random.choice(FTP).format(
        comma=address.replace(".", ","), dotted=address, port=port, high=port >> 8, low=port & 255
    )
    return line.encode()


class Talk:
    """Makes the steps of one scenario, and takes them at once."""

    def __init__(
        self,
        random: Random,
        scenario: Scenario,
        grounds: Mapping[str, Ground],
        *,
        ports: Sequence[int] = PORTS,
        speakers: Mapping[str, Sequence[int]] = MappingProxyType({}),
    ) -> None:
        """`ports` are those that clients call, `speakers` who calls by which interface; by others it is their hosts."""
        self._random = random
        self._ports, self._speakers = ports, speakers
        self._world = build(scenario)
        self._grounds = grounds
        self._specs = scenario.hosts
        self._open = list(scenario.open_interfaces())
        self._heard: deque[tuple[str, Heard]] = deque(maxlen=REMEMBERED)
        self._said: deque[PacketStep] = deque(maxlen=REMEMBERED)

    def steps(self, count: int) -> Iterator[PacketStep]:
        """That many packets."""
        for _ in range(count):
            step = self._next()
            while step.dev and len(step.data) > self._specs[step.host].mtu.get(step.dev, DEFAULT_MTU):
                step = self._opening()  # no link carries more
            self._said.append(step)
            yield step
            for event in take(self._world, step).events:
                if isinstance(event, Sent) and event.peer is None:
                    self._heard.append((event.host, Heard(event.dev, event.packet)))

    def _next(self) -> PacketStep:
        random, chance = self._random, self._random.random()
        if self._heard and chance < 0.62:
            # The latest is the likeliest to be answered.
            host, heard = self._heard[-1 - min(int(random.expovariate(0.4)), len(self._heard) - 1)]
            packet = heard.error(random) if chance < 0.08 else heard.answer(random)
            if packet is not None:
                return PacketStep(host, heard.dev, self._dressed(packet).to_bytes())
        if self._said and chance < 0.7:
            return random.choice(self._said)
        return self._opening()

    def _opening(self) -> PacketStep:
        """The first packet of something new."""
        random = self._random
        host, dev = random.choice(self._open)
        ground = self._grounds[host]
        source = format_address(random.choice(self._speakers.get(dev) or _on(self._specs[host], dev) or ground.near))
        target = ground.address() if random.random() < 0.9 else format_address(random.choice(ground.own or ground.near))
        packet = self._first().with_(src=source, dst=target, ttl=random.choice((64, 64, 64, 64, 2, 1, 255)))
        if random.random() < 0.15:
            local = packet.with_(src=random.choice(("0.0.0.0", *map(format_address, ground.own))))
            return PacketStep(host, None, self._dressed(local).to_bytes())
        return PacketStep(host, dev, self._dressed(packet).to_bytes())

    def _first(self) -> Packet:
        random, chance = self._random, self._random.random()
        sport, dport = random.choice(CLIENT_PORTS), random.choice(self._ports)
        if chance < 0.45:
            flags = random.choice(("S", "S", "S", "S", "S", "A", "PA", "R", "FA", "SA", ""))
            options = random.choice((b"", b"\x02\x04\x05\xb4", b"\x02\x04\x05\xb4\x04\x02\x03\x03\x07\x00\x00\x00"))
            seq = random.choice((0, 100, 0xFFFFFFF0))
            return Packet.tcp(
                "0.0.0.0", "0.0.0.0", sport, dport, flags, seq=seq, tcp_options=options if "S" in flags else b""
            )
        if chance < 0.75:
            packet = Packet.udp("0.0.0.0", "0.0.0.0", sport, dport, random.randbytes(random.choice((0, 4, 30, 900))))
            unsummed = random.random() < 0.1
            return packet._replace(payload=packet.payload[:6] + bytes(2) + packet.payload[8:]) if unsummed else packet
        if chance < 0.92:
            kind = random.choice((8, 8, 8, 8, 13, 0, 3))
            return Packet.icmp("0.0.0.0", "0.0.0.0", kind, 0, id=random.choice((1, 1, 2, 500, 7000)), payload=b"data")
        return Packet.ip(
            "0.0.0.0", "0.0.0.0", random.choice((47, 50, 136, 99)), random.randbytes(random.choice((4, 12, 24)))
        )

    def _dressed(self, packet: Packet) -> Packet:
        """The packet with an id, now and then with a strange TOS or a fault."""
        random = self._random
        packet = packet.with_(ip_id=random.randrange(1, 65536), df=random.random() < 0.5)
        if random.random() < 0.1:
            packet = packet.with_(tos=random.choice((0x10, 0x04, 0x1C, 0xFF)))
        if random.random() < 0.02:
            packet = packet._replace(payload=packet.payload[: random.randrange(len(packet.payload) + 1)])
        elif random.random() < 0.02 and packet.payload:
            at = random.randrange(len(packet.payload))
            changed = bytes([packet.payload[at] ^ 1 << random.randrange(8)])
            packet = packet._replace(payload=packet.payload[:at] + changed + packet.payload[at + 1 :])
        return packet


def _on(spec: HostSpec, dev: str) -> list[int]:
    """Hosts on the networks of that interface."""
    return [host for one in spec.interfaces[dev] for host in hosts_beside(one)]
