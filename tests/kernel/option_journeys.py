"""Packets with IP options: random ones, and what becomes of them as lines of text that both worlds must agree on."""

from collections.abc import Iterator
from random import Random
from typing import Any

from netlab.ip_options import END, NOOP, TIMESTAMP
from netlab.packet import Icmp, Packet, Tcp
from netlab.scenario import Scenario, from_dict
from netlab.trace import Dropped, Passed, Sent, Step
from tests.kernel.option_situations import NO_REDIRECTS, into, router

# ---------------------------------------------------------------- what became of it


def journey(step: Step) -> list[str]:
    """Every hook with the options there, every frame byte by byte, every drop; without what is random or a time."""
    numbers: dict[int, int] = {}

    def number(event: Passed | Dropped) -> str:
        return f"#{numbers.setdefault(event.number, len(numbers))}"

    passed = [event for event in step.events if isinstance(event, Passed)]
    made = {event.packet.saddr for event in passed if event.hook.name == "LOCAL_OUT"}
    lines = [
        f"{number(e)} {e.host} {e.hook} {e.packet.src}>{e.packet.dst} ttl {e.packet.ttl} "
        f"[{without_times(e.packet.options).hex()}]"
        for e in passed
    ]
    frames = [event for event in step.events if isinstance(event, Sent)]
    lines += [
        f"out {e.host} {e.dev} {_masked(e.packet, e.packet.saddr in made).hex()}"
        for e in sorted(frames, key=lambda e: (e.host, e.dev))
    ]
    lines += [f"{number(e)} {e.host} dropped {e.reason}" for e in step.events if isinstance(e, Dropped)]
    return lines


def without_times(options: bytes) -> bytes:
    """Options with the times zeroed that a timestamp option holds in front of its pointer."""
    out = bytearray(options)
    at = 0
    while at < len(out) and out[at] != END:
        length = 1 if out[at] == NOOP else out[at + 1] if at + 1 < len(out) else 0
        if not 1 <= length <= len(out) - at or (length == 1 and out[at] != NOOP):
            break
        if out[at] == TIMESTAMP and length >= 4:
            entry = 8 if out[at + 3] & 15 in (1, 3) else 4
            for place in range(out[at + 2] - 5, 3, -entry):
                if place + 4 <= length:
                    out[at + place : at + place + 4] = bytes(4)
        at += length
    return bytes(out)


def _masked(packet: Packet, ours: bool) -> bytes:
    packet = packet._replace(options=without_times(packet.options), checksum=None)
    if ours:
        packet = packet._replace(ip_id=0)
    message = packet.l4
    if isinstance(message, Icmp) and message.is_error:
        quoted = _masked_quotation(message.payload)
        packet = packet._replace(payload=packet.payload[:2] + bytes(2) + packet.payload[4:8] + quoted)
    elif isinstance(message, Icmp) and message.type == 14:
        packet = packet._replace(payload=packet.payload[:2] + bytes(2) + packet.payload[4:12])
    elif isinstance(message, Tcp) and ours:  # its own initial sequence number, its options and window
        head = packet.payload[:4] + bytes(4) * bool(message.flags & 2) + packet.payload[8:12] + bytes([message.flags])
        packet = packet._replace(payload=head)
    return packet.to_bytes()


def _masked_quotation(data: bytes) -> bytes:
    """The quoted bytes as they are, the header checksum too; only where a time lies within it both are zeroed."""
    end = (data[0] & 15) * 4 if data else 20
    options = data[20:end]
    if TIMESTAMP not in options:
        return data
    return data[:10] + bytes(2) + data[12:20] + without_times(options) + data[end:]


# ---------------------------------------------------------------- random packets

SOURCES = ("10.0.1.2",) * 8 + ("10.0.2.7", "9.9.9.8", "172.16.5.5", "0.0.0.0", "10.0.1.3")
DESTINATIONS = (
    ("10.0.1.1",) * 5 + ("10.0.2.2",) * 3
    + ("10.0.2.1", "9.9.9.9", "172.16.0.9", "10.0.1.7", "192.168.77.1", "192.168.78.1")
)  # fmt: skip
BROADCASTS = ("10.0.1.255", "10.0.2.255", "224.0.0.1", "255.255.255.255", "0.0.0.0")
HOPS = tuple(
    bytes(map(int, address.split(".")))
    for address in (
        "10.0.1.1", "10.0.2.1", "10.0.1.2", "10.0.2.2", "10.0.1.9", "10.0.2.255", "10.0.1.255", "127.0.0.1", "9.9.9.9",
        "172.16.0.1", "192.168.77.1", "10.0.1.3", "0.0.0.0", "255.255.255.255",
    )
)  # fmt: skip
KINDS = (END, NOOP, 7, 7, 68, 68, 68, 131, 137, 131, 148, 130, 133, 134, 136, 10, 82, 30, 255)


class Generator:
    """Draws machines and packets from one seeded source; about half of the packets have something wrong in them."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.chance = lambda p: random.random() < p

    def scenario(self, packets: int) -> Scenario:
        steps = [into(packet, dev) for dev, packet in self._packets(packets)]
        return from_dict({"hosts": {"r": self._machine()}, "steps": steps})

    def _machine(self) -> dict[str, Any]:
        random, chance = self.random, self.chance
        sysctls = dict(NO_REDIRECTS)
        sysctls["net.ipv4.conf.all.accept_source_route"] = int(chance(0.75))
        sysctls["net.ipv4.conf.eth0.accept_source_route"] = int(chance(0.9))
        sysctls["net.ipv4.icmp_errors_use_inbound_ifaddr"] = int(chance(0.2))
        sysctls["net.ipv4.icmp_echo_ignore_broadcasts"] = int(chance(0.6))
        sysctls["net.ipv4.ip_forward"] = int(chance(0.85))
        sysctls["net.ipv4.conf.all.rp_filter"] = random.choice((0, 0, 0, 1, 2))
        routes = ["192.168.77.0/24 via 10.0.2.9", "prohibit 192.168.78.0/24"]
        if chance(0.5):
            routes.append(f"default via {random.choice(('10.0.1.254', '10.0.2.254'))}")
        if chance(0.3):
            routes.append("172.16.0.0/12 via 10.0.2.3 src 10.0.1.1")
        machine = router(sysctls, routes=routes, listen=["tcp/80", "udp/99"])
        if chance(0.3):
            machine["interfaces"]["eth0"] = ["10.0.1.1/24", "10.0.1.77/24", "192.0.2.1/32"]
        if chance(0.5):
            machine["mtu"] = {"eth1": 600}
        return machine

    def _packets(self, count: int) -> Iterator[tuple[str, Packet]]:
        for number in range(count):
            packet = self._packet(number)
            yield ("eth1" if packet.length <= 600 and self.chance(0.25) else "eth0"), packet

    def _packet(self, number: int) -> Packet:
        random, chance = self.random, self.chance
        to_many = chance(0.15)
        src, dst = random.choice(SOURCES), random.choice(BROADCASTS if to_many else DESTINATIONS)
        header = {
            "options": self.options(), "ttl": random.choice((64, 64, 64, 64, 1, 2)), "tos": random.choice((0, 0, 0x10)),
            "ip_id": number + 1, "df": chance(0.15),
        }  # fmt: skip
        data = bytes(random.choice((12, 12, 12, 300, 700)))
        kind = random.choice(("udp", "udp", "echo", "echo", "echo", "timestamp", "tcp", "tcp", "other", "fragment"))
        if kind == "echo":
            return Packet.icmp(src, dst, 8, id=number + 1, payload=data, **header)
        if kind == "timestamp":
            return Packet.icmp(src, dst, 13, id=number + 1, payload=bytes(12), **header)
        if kind == "tcp" and not to_many:
            # No SYN to the listening port: what answers it is sent again as seconds go by.
            port, flags = random.choice(((80, "A"), (80, "SA"), (81, "S"), (81, "A"), (81, "RA"), (81, "F")))
            return Packet.tcp(src, dst, 1000 + number, port, flags, seq=1000, ack=7, **header)
        if kind == "other":
            return Packet.ip(src, dst, 99, data, **header)
        packet = Packet.udp(src, dst, random.choice((5, 6)), random.choice((53, 99)), data, **header)
        if kind == "fragment":
            packet = packet.with_(mf=chance(0.5), frag_offset=random.choice((0, 8, 64)))
        return packet

    def options(self) -> bytes:
        """A string of options, up to 40 bytes, padded."""
        random = self.random
        out = b""
        for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
            option = self._option(random.choice((*KINDS, random.randrange(256))))
            if len(out + option) <= 40:
                out += option
        if out and self.chance(0.06):
            out = out[: random.randrange(1, len(out) + 1)]
        padding = -len(out) % 4
        return out + random.choice((b"\0", b"\0", b"\1", b"\7")) * padding

    def _option(self, kind: int) -> bytes:
        random = self.random
        if kind in (END, NOOP):
            return bytes([kind])
        if kind == TIMESTAMP:
            flag = random.choice((0, 1, 3, 3, 2, 5))
            entry = 8 if flag in (1, 3) else 4
            entries = [(random.choice(HOPS) if entry == 8 else b"") + bytes(4) for _ in range(random.randrange(5))]
            body = b"".join(entries)[: random.choice((40, 40, 40, 5, 3))]
            full = 5 + len(body)
            pointer = random.choice((5, 5, 5 + entry, full, full - 4, random.randrange(45)))
            overflow = random.choice((0, 0, 0, 0x10, 0xE0, 0xF0))
            option = bytearray([kind, 4 + len(body), pointer, flag | overflow]) + body
        elif kind in (7, 131, 137):
            hops = [random.choice(HOPS) for _ in range(random.choice((0, 1, 1, 2, 2, 3, 4)))]
            body = b"".join(hops) + bytes(random.choice((0, 0, 0, 0, 1, 2, 3)))
            full = 4 + len(body)
            pointer = random.choice((4, 4, 4, 8, 12, full, full - 4, random.randrange(45)))
            option = bytearray([kind, 3 + len(body), pointer]) + body
        elif kind == 134:
            option = bytearray([kind, random.choice((6, 8, 10)), 0, 0, 0, random.choice((0, 1)), 1, 4, 0, 1])
        else:
            data = random.randbytes(random.choice((0, 1, 2, 2, 4, 9)))
            option = bytearray([kind, 2 + len(data)]) + data
        if self.chance(0.12):
            option[1] = random.choice((0, 1, 2, 3, 4, 5, option[1] + 1, option[1] - 1, 40, 255))
        if self.chance(0.05):
            option[random.randrange(len(option))] = random.randrange(256)
        return bytes(option)
