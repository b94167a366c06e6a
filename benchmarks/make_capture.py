"""Makes a capture to measure on: TCP conversations, DNS, echoes and a SYN flood, the same one for the same seed.

    python -m benchmarks.make_capture out.pcap --packets 60000 --seed 1

Clients are in 10.1.0.0/16, servers in 10.2.0.0/16; the capture is as if taken between them: Ethernet, whole packets,
right checksums. The mixture: of a hundred flows 55 are TCP conversations, 35 DNS lookups, 8 pings, 2 bursts of SYNs
from made-up sources. Two runs with other numbers of packets begin alike but are not prefixes of each other.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from struct import pack

from netlab.packet import Packet

PACKETS, SEED = 60_000, 1
PACKETS_A_FLOW = 19
MSS = 1448  # bytes of payload in a full segment with timestamps
ETHERNET = bytes.fromhex("0200000000020200000000010800")
START = 1_700_000_000  # seconds since 1970

Timed = tuple[float, Packet]


def timestamps(now: float) -> bytes:
    """TCP's timestamp option, as Linux sends it in every segment."""
    return b"\x01\x01\x08\x0a" + pack(">II", int(now * 1000) & 0xFFFFFFFF, 1)


def tcp_conversation(rng: Random, now: float, client: str, server: str) -> Iterator[Timed]:
    """Handshake, a request, an answer of some segments with their acknowledgements, and the close."""
    sport, dport = rng.randrange(32768, 61000), rng.choice((80, 443, 443, 443, 8080, 22))
    seqs = {client: rng.getrandbits(32), server: rng.getrandbits(32)}
    ends = {client: (client, server, sport, dport), server: (server, client, dport, sport)}
    delay = rng.uniform(0.002, 0.08)

    def segment(sender: str, flags: str, size: int = 0) -> Timed:
        nonlocal now
        now += rng.uniform(0, delay)
        src, dst, source_port, port = ends[sender]
        options = timestamps(now)
        if "S" in flags:
            options = b"\x02\x04\x05\xb4\x04\x02" + options[2:] + b"\x01\x03\x03\x07"
        packet = Packet.tcp(
            src, dst, source_port, port, flags, seq=seqs[sender], ack=seqs[dst] if "A" in flags else 0,
            window=502, tcp_options=options, payload=rng.randbytes(size), ip_id=rng.getrandbits(16), df=True,
        )  # fmt: skip
        seqs[sender] = (seqs[sender] + size + len(set(flags) & {"S", "F"})) & 0xFFFFFFFF
        return now, packet

    yield segment(client, "S")
    yield segment(server, "SA")
    yield segment(client, "A")
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        yield segment(client, "PA", rng.randrange(80, 600))
        yield segment(server, "A")
        for _ in range(min(40, int(rng.paretovariate(0.9)))):
            yield segment(server, "A", MSS)
            yield segment(server, "PA", rng.randrange(1, MSS))
            yield segment(client, "A")
    if rng.random() < 0.1:
        yield segment(client, "R")
        return
    yield segment(client, "FA")
    yield segment(server, "FA")
    yield segment(client, "A")


def dns_lookup(rng: Random, now: float, client: str, server: str) -> Iterator[Timed]:
    """A question for one name, and its answer with one address."""
    name = b"".join(
        bytes([len(label)]) + label for label in (b"www", b"host%d" % rng.randrange(5000), b"lab", b"example", b"")
    )
    question = name + pack(">HH", 1, 1)
    id, sport = rng.getrandbits(16), rng.randrange(32768, 61000)
    answer = b"\xc0\x0c" + pack(">HHIH", 1, 1, 300, 4) + rng.randbytes(4)
    asked = pack(">HHHHHH", id, 0x0100, 1, 0, 0, 0) + question
    answered = pack(">HHHHHH", id, 0x8180, 1, 1, 0, 0) + question + answer
    yield now, Packet.udp(client, server, sport, 53, asked, ip_id=rng.getrandbits(16))
    yield now + rng.uniform(0.001, 0.1), Packet.udp(server, client, 53, sport, answered, ip_id=rng.getrandbits(16))


def pings(rng: Random, now: float, client: str, server: str) -> Iterator[Timed]:
    """Some echo requests, a second apart, and their replies."""
    id = rng.getrandbits(16)
    for seq in range(1, rng.randrange(2, 6)):
        yield now + seq, Packet.icmp(client, server, id=id, seq=seq, payload=bytes(56), df=True)
        yield now + seq + 0.01, Packet.icmp(server, client, 0, id=id, seq=seq, payload=bytes(56))


def syn_flood(rng: Random, now: float, _: str, server: str) -> Iterator[Timed]:
    """SYNs from sources made up for each of them."""
    for _ in range(rng.randrange(20, 80)):
        now += 0.001
        source = f"10.1.{rng.randrange(256)}.{rng.randrange(1, 255)}"
        yield now, Packet.tcp(source, server, rng.randrange(1024, 65536), 80, "S", seq=rng.getrandbits(32))


FLOWS = (tcp_conversation, dns_lookup, pings, syn_flood)
SHARES = (55, 35, 8, 2)


def traffic(count: int, seed: int) -> list[Timed]:
    """So many packets, in the order of their times."""
    rng = Random(seed)
    flows = max(1, count // PACKETS_A_FLOW)
    clients = [f"10.1.{rng.randrange(256)}.{rng.randrange(2, 255)}" for _ in range(max(2, flows // 10))]
    servers = [f"10.2.{rng.randrange(256)}.{rng.randrange(2, 255)}" for _ in range(max(2, flows // 100))]
    packets: list[Timed] = []
    while len(packets) < count:
        (flow,) = rng.choices(FLOWS, SHARES)
        start = rng.uniform(0, count / 2000)
        packets += flow(rng, START + start, rng.choice(clients), rng.choice(servers))
    del packets[count:]
    packets.sort(key=lambda timed: timed[0])
    return packets


def write(file: Path, packets: Sequence[Timed]) -> None:
    """Write them as a classic pcap file with microseconds."""
    with file.open("wb") as out:
        out.write(pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for time, packet in packets:
            data = ETHERNET + packet.to_bytes()
            out.write(pack("<IIII", int(time), int(time % 1 * 1e6), len(data), len(data)) + data)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the capture asked for."""
    parser = argparse.ArgumentParser(description="Make a capture to measure on.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--packets", type=int, default=PACKETS)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    write(options.file, traffic(options.packets, options.seed))
    print(f"{options.packets} packets, {options.file.stat().st_size:,} bytes in {options.file}")


if __name__ == "__main__":
    main(sys.argv[1:])
