"""Clients of a TCP listener that do as they like: what a socket must take, challenge, or refuse."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from netlab.addresses import InterfaceAddress, parse_address
from netlab.kernel.fuzz.machines import HOST, RATEMASK, Interfaces
from netlab.packet import Packet
from netlab.scenario import HostSpec, PacketStep
from netlab.sockets import initial_number

PACKETS = 40  # in one scenario: a SYN-ACK without an answer is sent again after a second
PORT = 80
CLIENT, SERVER = "10.0.1.2", "10.0.1.1"
FLAGS = ("A", "A", "A", "A", "PA", "PA", "FA", "F", "R", "RA", "S", "SA", "", "SF")
EARLY_OR_LATE = (0,) * 8 + (-1, -2, -10, 70000, -70000)
WRONG_ACK = (0,) * 8 + (1, -1, 2, 1000, -1000)
WRAP = 0xFFFFFFFF


def server() -> HostSpec:
    """A host that listens."""
    interfaces: Interfaces = {"eth0": (InterfaceAddress(parse_address(SERVER), 24),)}
    return HostSpec(HOST, interfaces, sysctls={RATEMASK: 0}, listen=(("tcp", PORT),))


@dataclass(slots=True)
class _Client:
    """What it would say next, if it did as it should."""

    port: int
    seq: int
    ack: int


def segments(random: Random) -> Iterator[PacketStep]:
    """Segments of up to three connections at once, most of them as they should be."""
    clients: list[_Client] = []
    begun = 0
    while True:
        if not clients or random.random() < 0.12:
            begun += 1
            first = random.choice((0, 100, 0xFFFFFFF0, random.randrange(WRAP)))
            client = _Client(4000 + begun, first + 1, initial_number(begun) + 1)
            clients = [*clients[-2:], client]
            yield _segment(client, "S", first, 0)
            continue
        client = random.choice(clients)
        flags = random.choice(FLAGS)
        seq, ack = client.seq + random.choice(EARLY_OR_LATE), client.ack + random.choice(WRONG_ACK)
        data = b"" if "S" in flags else random.choice((b"", b"", b"", b"x", b"hello", b"y" * 100))
        if seq <= client.seq and "A" in flags and not {"S", "R"} & set(flags) and ack == client.ack:
            client.seq = max(client.seq, seq + len(data) + ("F" in flags))
            client.ack += "F" in flags
        yield _segment(client, flags, seq, ack, data)


def _segment(client: _Client, flags: str, seq: int, ack: int, data: bytes = b"") -> PacketStep:
    packet = Packet.tcp(CLIENT, SERVER, client.port, PORT, flags, seq=seq & WRAP, ack=ack & WRAP, payload=data)
    return PacketStep(HOST, "eth0", packet.to_bytes())
