"""Random packets for a machine, biased towards the addresses, lifetimes and sizes at which it decides differently."""

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import islice
from random import Random
from typing import Any

from netlab.addresses import Prefix, parse_address
from netlab.kernel.fuzz.conversations import Conversations
from netlab.kernel.fuzz.machines import OUTSIDE, Features, Link
from netlab.packet import MF, Packet
from netlab.scenario import DEFAULT_MTU, HostSpec, PacketStep

SPECIAL = tuple(
    parse_address(text)
    for text in (
        "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.1.2.3", "224.0.0.1", "224.0.0.9", "239.1.2.3", "240.0.0.1",
        "255.255.255.255", "169.254.1.1", "1.2.3.4",
    )
)  # fmt: skip
OPTIONS = tuple(
    bytes.fromhex(text)
    for text in (
        "01", "00ffffff", "0707040000000000", "070b0400000000000000000000", "070708aabbccdd", "07070500000000",
        "4408050000000000", "440c050100000000000000", "440c05030a00010100000000", "440c0df10000000000000000",
        "4408090000000000", "94040000", "94030000", "0a04ffff", "0a00ffff", "0a40ffff", "820b000000000000000000",
        "8307040a000202", "8907040a000202", "8307080a000202", "8606000000010000", "88040000",
        "070704000000000707040000",
    )
)  # fmt: skip

# Without 3/4: the kernel learns a path MTU from it, which the simulator does not.
ERRORS = ((3, 0), (3, 1), (3, 3), (3, 13), (3, 16), (4, 0), (5, 1), (11, 0), (12, 0))
OTHER_PROTOCOLS = (0, 2, 4, 33, 41, 47, 50, 51, 89, 99, 132, 136, 254)
SCTP = 132  # netlab does not follow its connections: where they are tracked, it is left out
TALK = 0.85  # of the packets where connections are tracked belong to one


def random_steps(
    random: Random, hosts: Mapping[str, HostSpec], links: Iterable[Link], features: Features, count: int
) -> Iterator[PacketStep]:
    """That many packets for these hosts."""
    linked = {end for link in links for end in link}
    tracked = any(spec.conntrack == "on" for spec in hosts.values())
    traffic = {
        name: Traffic(random, spec, features, {dev for host, dev in linked if host == name})
        for name, spec in hosts.items()
    }
    for name, one in traffic.items():
        one.meet(address for other, spec in hosts.items() if other != name for address in _addresses(spec))
    makers = list(traffic.values())
    if tracked:
        for one in makers:
            one.protocols = [proto for proto in OTHER_PROTOCOLS if proto != SCTP]

    def endless() -> Iterator[PacketStep]:
        while True:
            yield from random.choice(makers).next_steps()

    return islice(endless(), count)


def _addresses(spec: HostSpec) -> list[int]:
    return [one.address for addresses in spec.interfaces.values() for one in addresses]


class Traffic:
    """The packets for one host."""

    def __init__(self, random: Random, spec: HostSpec, features: Features, linked: Container[str] = ()) -> None:
        self._random = random
        self._spec = spec
        self._features = features
        self._devs = [dev for dev in spec.interfaces if dev not in linked]
        self._own = _addresses(spec)
        self._near = self._neighbours()
        self._id = 0
        self._conversations: Conversations | None = None
        if spec.conntrack == "on":
            self._conversations = Conversations(random, spec, self._devs, local=features.local)
        self.protocols = list(OTHER_PROTOCOLS)

    def _neighbours(self) -> list[int]:
        near = []
        for addresses in self._spec.interfaces.values():
            for one in addresses:
                network = one.network
                near += [one.address ^ 1, network.address, network.last]
                near += [self._random.randrange(network.address, network.last + 1) for _ in range(2)]
        for route in self._spec.routes:
            word = route.split()[0 if route[0].isdigit() else 1]
            if word[0].isdigit():
                prefix = Prefix.parse(word)
                near.append(self._random.randrange(prefix.address, prefix.last + 1))
        return near or [OUTSIDE[0]]

    def meet(self, others: Iterable[int]) -> None:
        """Addresses elsewhere, which packets are sent to as well."""
        self._near += others

    def next_steps(self) -> Iterator[PacketStep]:
        """One packet, or the fragments of one."""
        random = self._random
        if self._conversations and random.random() < TALK:
            yield from self._said(self._conversations.next())
            return
        local = not self._devs or (self._features.local and random.random() < 0.2)
        dev = None if local else random.choice(self._devs)
        packet = self._packet(dev)
        # A broadcast put together here is cut up again in another way while a socket still holds the copy of it.
        kept = dev is None and self._conversations
        if self._features.fragments and not kept and random.random() < 0.12:
            pieces = [piece.to_bytes() for piece in self._fragments(packet)]
            if random.random() < 0.3:
                random.shuffle(pieces)
        elif dev and self._features.malformed and random.random() < 0.06:
            pieces = [self._malformed(packet.to_bytes())]
        else:
            pieces = [packet.to_bytes()]
        for data in pieces:
            if dev is None or len(data) <= self._spec.mtu.get(dev, DEFAULT_MTU):  # no link carries more
                yield PacketStep(self._spec.name, dev, data)

    def _said(self, step: PacketStep) -> Iterator[PacketStep]:
        """A packet of a conversation, whole or, now and then, in fragments."""
        pieces = [step.data]
        if self._features.fragments and self._random.random() < 0.05:
            pieces = [piece.to_bytes() for piece in self._fragments(Packet.from_bytes(step.data))]
        for data in pieces:
            if step.dev is None or len(data) <= self._spec.mtu.get(step.dev, DEFAULT_MTU):
                yield step._replace(data=data)

    def _packet(self, dev: str | None) -> Packet:
        random = self._random
        saddr, daddr = self._source(dev), self._destination()
        self._id = self._id % 65535 + 1
        header: dict[str, Any] = {
            "ttl": random.choice((0, 1, 1, 2, 3, 64, 64, 64, 64, 128, 255)),
            "tos": random.choice((0, 0, 0, 0, 0x10, 0x02, 0x1C, 0xFF)),
            "ip_id": self._id,
            "df": random.random() < 0.4,
        }
        if self._features.options and random.random() < 0.06:
            header["options"] = random.choice(OPTIONS)
        packet = self._transport().with_(src=saddr, dst=daddr).with_(**header)
        if random.random() < 0.03 and len(packet.payload) > 8:
            at = random.randrange(len(packet.payload))
            changed = bytes([packet.payload[at] ^ 1 << random.randrange(8)])
            packet = packet._replace(payload=packet.payload[:at] + changed + packet.payload[at + 1 :])
        return packet

    def _source(self, dev: str | None) -> int:
        random = self._random
        chance = random.random()
        here = self._spec.interfaces.get(dev or "", ())
        if dev is None:
            return 0 if chance < 0.5 else random.choice(self._own or [0]) if chance < 0.9 else random.choice(self._near)
        if here and chance < 0.55:
            network = random.choice(here).network
            return random.randrange(network.address, network.last + 1)
        return random.choice(random.choice((self._near, self._near, OUTSIDE, SPECIAL, self._own or OUTSIDE)))

    def _destination(self) -> int:
        random = self._random
        return random.choice(
            random.choice(
                (self._near, self._near, self._near, OUTSIDE, SPECIAL, self._own or OUTSIDE, self._own or OUTSIDE)
            )
        )

    def _data(self) -> bytes:
        random = self._random
        size = random.choice((0, 1, 8, 20, 20, 40, 100, 500, 540, 572, 600, 1000, 1200, 1472))
        return random.randbytes(size)

    def _transport(self) -> Packet:
        random = self._random
        src, dst = "0.0.0.0", "0.0.0.0"
        sport, dport = random.choice((0, 1, 53, 1024, 40000)), random.choice((0, 7, 53, 53, 80, 7777, 9999))
        kind = random.random()
        if kind < 0.4:
            packet = Packet.udp(src, dst, sport, dport, self._data())
            if random.random() < 0.05:
                packet = packet._replace(payload=packet.payload[:6] + bytes(2) + packet.payload[8:])
            return packet
        if kind < 0.65:
            flags = random.choice(("S", "S", "A", "SA", "R", "RA", "F", "FA", "", "PA", "FPU", "SF", "SR", "SE", "SEC"))
            data = self._data() if random.random() < 0.3 else b""
            seq, ack = random.choice((0, 1, 1000, 0xFFFFFFFF)), random.choice((0, 1, 77, 0xFFFFFFFF))
            options = random.choice((b"", b"", b"\x02\x04\x05\xb4"))
            return Packet.tcp(src, dst, sport, dport, flags, seq=seq, ack=ack, tcp_options=options, payload=data)
        if kind < 0.9:
            return self._icmp()
        return Packet.ip(src, dst, random.choice(self.protocols), self._data())

    def _icmp(self) -> Packet:
        random = self._random
        src, dst = "0.0.0.0", "0.0.0.0"
        number, seq = random.randrange(65536), random.randrange(4)
        if random.random() < 0.4:
            return Packet.icmp(src, dst, 8, random.choice((0, 0, 0, 1)), id=number, seq=seq, payload=self._data())
        if random.random() < 0.5:
            quoted = Packet.udp("0.0.0.0", "0.0.0.0", 53, 1024, b"quoted").with_(
                src=random.choice(self._own or OUTSIDE), dst=random.choice(self._near)
            )
            kind, code = random.choice(ERRORS)
            data = quoted.to_bytes()[: random.choice((0, 19, 20, 24, 28, 34))]
            return Packet.icmp(src, dst, kind, code, id=0, seq=random.choice((0, 68, 576)), payload=data)
        kind = random.choice((0, 1, 9, 10, 13, 14, 15, 17, 18, 19, 40, 41, 42, 44, 255))
        return Packet.icmp(src, dst, kind, 0, id=number, seq=seq, payload=self._data()[:40])

    def _fragments(self, packet: Packet) -> Iterator[Packet]:
        """The packet in pieces, sometimes one missing, doubled or overlapping."""
        random = self._random
        size = random.choice((8, 16, 24, 64, 512))
        payload = packet.payload[: size * 6]
        if packet.ip_id and packet.frag and random.random() < 0.5:
            packet = packet.with_(df=False)
        last = max(0, len(payload) - 1) // size
        for n in range(last + 1):
            piece = payload[n * size : (n + 1) * size]
            frag = packet.frag | n * size // 8 | (MF if n < last else 0)
            made = packet._replace(payload=piece, frag=frag)
            chance = random.random()
            if chance < 0.05:
                continue
            if chance < 0.1:
                yield made
            if chance < 0.13 and n:
                made = made._replace(frag=made.frag - 1)
            yield made

    def _malformed(self, data: bytes) -> bytes:
        random = self._random
        if random.random() < 0.4:
            return data[: random.randrange(1, len(data))]
        if random.random() < 0.3:
            return data + bytes(random.randrange(1, 5))
        at = random.randrange(min(len(data), 24))
        return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
