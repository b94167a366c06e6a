"""What connection tracking costs: seconds a packet and bytes an entry, as the table grows.

    python -m benchmarks.conntrack
    python -m benchmarks.conntrack --sizes 5000 50000

TCP connections go through a router: a handshake, and a segment with data from each side, so that every entry has its
windows. At each size the same number of packets of connections chosen at random is timed, in the processor's seconds
(time.process_time), and as many beginnings of new connections; packets are made before. Bytes are those
that the process grew by (its resident set), the interpreter's own losses included.
"""

import argparse
import gc
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from resource import getpagesize
from time import process_time
from typing import NamedTuple

from netlab.conntrack.entry import Status
from netlab.host import Host
from netlab.packet import Packet

SIZES = (5_000, 50_000, 200_000, 1_000_000)
SAMPLE = 20_000
"""Packets timed at each size."""
SEED = 4
PORTS = 50_000
"""Connections of one client."""
UNUSED = 200 * PORTS
"""The number of a connection that is not opened while the table grows."""
SERVER = "10.2.0.2"
ALLOWED = 2
"""A packet may take so many times as long at the largest size as at the smallest."""
BYTES_AN_ENTRY = 1200
"""What an entry may need at most, at a million."""


class Row(NamedTuple):
    """What was measured at one size: entries, microseconds a packet of old and of new connections, bytes an entry."""

    entries: int
    old: float
    new: float
    octets: float


def router(room: int) -> Host:
    """A router that tracks, with room for so many entries."""
    made = Host(
        "router",
        {"eth0": "10.1.0.1/16", "eth1": "10.2.0.1/16"},
        sysctls={"net.ipv4.ip_forward": 1, "net.netfilter.nf_conntrack_max": room},
        conntrack="on",
    )
    made.wires.recording = False
    return made


def segment(number: int, direction: int, flags: str, seq: int, ack: int, data: bytes = b"") -> tuple[str, Packet]:
    """A segment of the connection with that number, and the interface it comes in by."""
    client, port = f"10.1.{number // PORTS + 1}.2", 1024 + number % PORTS
    first, second = (number * 7919 + seq) % 2**32, (number * 104_729 + ack) % 2**32
    if direction == 0:
        return "eth0", Packet.tcp(client, SERVER, port, 80, flags, seq=first, ack=second, payload=data)
    return "eth1", Packet.tcp(SERVER, client, 80, port, flags, seq=second, ack=first, payload=data)


def opening(number: int) -> Iterator[tuple[str, Packet]]:
    """A handshake, and a segment with data from each side."""
    yield segment(number, 0, "S", 0, 0)
    yield segment(number, 1, "SA", 1, 0)
    yield segment(number, 0, "PA", 1, 1, b"x" * 100)
    yield segment(number, 1, "PA", 101, 1, b"y" * 1000)


def resident() -> int:
    """Bytes of memory that the process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * getpagesize()


def microseconds(host: Host, packets: Sequence[tuple[str, Packet]]) -> float:
    """What each of these packets takes."""
    start = process_time()
    for dev, packet in packets:
        host.receive(dev, packet)
    return (process_time() - start) / len(packets) * 1e6


def of_old_connections(opened: int, sample: int) -> list[tuple[str, Packet]]:
    """Acknowledgements from both sides of connections chosen at random."""
    rng = random.Random(SEED)
    chosen = [rng.randrange(1, opened) for _ in range(sample // 2)]
    return [segment(number, side, "A", 101, 1001) for number in chosen for side in (0, 1)]


def of_new_connections(sample: int) -> list[tuple[str, Packet]]:
    """As many first segments, of clients that have no connection yet."""
    return [segment(UNUSED + number, 0, "S", 0, 0) for number in range(sample)]


def measure(sizes: Sequence[int], sample: int) -> Iterator[Row]:
    """A row for each size, the table growing on from one to the next.

    Raises:
        RuntimeError: the table does not hold what it should.
    """
    host = router(max(sizes) + sample)
    assert host.conntrack
    table = host.conntrack.table
    empty, opened = resident(), 0
    for size in sizes:
        while opened < size:
            for dev, packet in opening(opened):
                host.receive(dev, packet)
            opened += 1
        octets = (resident() - empty) / size
        old = microseconds(host, of_old_connections(opened, sample))
        new = microseconds(host, of_new_connections(sample))
        if len(table) != size + sample:
            raise RuntimeError(f"{len(table)} entries, and {size + sample} were to be")
        for entry in [entry for entry in table if not entry.status & Status.SEEN_REPLY]:
            table.remove(entry)
        yield Row(size, old, new, octets)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description="Measure connection tracking as its table grows.")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="entries in the table")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="packets timed at each size")
    options = parser.parse_args(arguments)
    rows = []
    print(f"{'entries':>10} {'us/packet':>10} {'us/new':>8} {'bytes/entry':>12}")
    for row in measure(sorted(options.sizes), options.sample):
        rows.append(row)
        print(f"{row.entries:>10,} {row.old:>10.1f} {row.new:>8.1f} {row.octets:>12,.0f}", flush=True)
    first, last = rows[0], rows[-1]
    print(f"{last.old / first.old:.2f} and {last.new / first.new:.2f} times the smallest size's (allowed: {ALLOWED})")


if __name__ == "__main__":
    main()
