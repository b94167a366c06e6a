"""How many packets a second the reference engine forwards, beside scapy's reading of the same capture.

    python -m benchmarks.engine
    python -m benchmarks.engine --packets 950000 --chunk 10000

Both read the same capture file from `benchmarks/make_capture.py`. scapy's PcapReader dissects every packet in full.
netlab reads and parses it and sends it through a router with a function, which counts, on each of the five hooks:
once with a full trace, every event of every packet kept in memory to the end, and once without.

Every contender is a process of its own, so that none collects another's garbage. They take turns, chunk by chunk, since
a machine's clock swings; the figures are medians over the chunks, and each chunk's ratio is taken on that same chunk.
Seconds are those of the processor (time.process_time), so that other programs on the machine do not count. "In all" is
the ratio of the sums, which also holds the garbage collector's full collections: the more traces are kept, the longer
each of them takes, and most chunks have none.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import process_time
from typing import NamedTuple

from benchmarks import make_capture
from netlab.hooks import HookState
from netlab.host import Host
from netlab.names import ACCEPT, Hook, Verdict
from netlab.packet import Packet
from netlab.replay import Capture
from netlab.trace import Trace

CHUNK = 3000  # packets
WITH_TRACE, WITHOUT_TRACE = 5, 15
"""How many times as fast as scapy the engine is to be."""

Chunks = Iterator[int]
"""Takes one more chunk of the capture at each step, and says how many packets it held."""


def dissected_by_scapy(capture: Path, chunk: int) -> Chunks:
    """Every packet as scapy's layers."""
    import scapy.all

    with scapy.all.PcapReader(str(capture)) as packets:
        while True:
            yield sum(1 for _ in islice(packets, chunk))


def forwarded(capture: Path, chunk: int, *, recording: bool = False, iptables: str = "") -> Chunks:
    """Every packet through a router, which may have rules."""
    interfaces, sysctls = {"eth0": "10.1.0.1/16", "eth1": "10.2.0.1/16"}, {"net.ipv4.ip_forward": 1}
    router = Host("router", interfaces, sysctls=sysctls, iptables=iptables)
    router.wires.recording = recording
    called = [0 for _ in Hook]

    def count(packet: Packet, state: HookState) -> Verdict:
        called[state.hook] += 1
        return ACCEPT

    for hook in Hook:
        router.register(hook, count)
    into = {1: "eth0", 2: "eth1"}  # by the second byte of the source address
    kept: list[Trace] = []
    keep = kept.append if recording else id
    receive, packets = router.receive, iter(Capture(capture))
    while True:
        before = called[Hook.POST_ROUTING]
        for _, _, data in islice(packets, chunk):
            keep(receive(into[data[13]], data))
        yield called[Hook.POST_ROUTING] - before


def with_trace(capture: Path, chunk: int) -> Chunks:
    """netlab, all traces kept."""
    return forwarded(capture, chunk, recording=True)


def without_trace(capture: Path, chunk: int) -> Chunks:
    """netlab, nothing recorded."""
    return forwarded(capture, chunk, recording=False)


class Contender(NamedTuple):
    """Who is measured, and how many times as fast as the first one it is to be."""

    name: str
    chunks: Callable[[Path, int], Chunks]
    wanted: float | None = None


CONTENDERS = (
    Contender("scapy PcapReader, full dissect", dissected_by_scapy),
    Contender("netlab, full trace kept", with_trace, WITH_TRACE),
    Contender("netlab, without traces", without_trace, WITHOUT_TRACE),
)


def serve(contender: Contender, capture: Path, chunk: int, requests: Connection) -> None:
    """In a contender's process: for every request take a chunk, and answer with its packets and seconds."""
    chunks = contender.chunks(capture, chunk)
    while requests.recv():
        start = process_time()
        packets = next(chunks)
        requests.send((packets, process_time() - start))


def measure(
    capture: Path, packets: int, chunk: int, contenders: Sequence[Contender] = CONTENDERS
) -> dict[str, list[float]]:
    """The seconds that each contender took for each chunk. The first chunk only warms up, and is not among them.

    Raises:
        RuntimeError: some contender did not get through all the packets.
    """
    context = get_context("spawn")
    turns: list[tuple[Contender, Connection]] = []
    for contender in contenders:
        here, there = context.Pipe()
        context.Process(target=serve, args=(contender, capture, chunk, there), daemon=True).start()
        turns.append((contender, here))
    times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for number in range(packets // chunk):
        for contender, connection in turns:
            connection.send(True)
            done, seconds = connection.recv()
            if done != chunk:
                raise RuntimeError(f"{contender.name}: {done} of {chunk} packets")
            if number:
                times[contender.name].append(seconds)
    for _, connection in turns:
        connection.send(False)
    return times


def ratios(times: dict[str, list[float]]) -> dict[str, float]:
    """How many times as fast as the first contender each one was, the median over the chunks."""
    reference = next(iter(times.values()))
    return {
        name: median(theirs / own for theirs, own in zip(reference, seconds, strict=True))
        for name, seconds in times.items()
    }


def compare(arguments: Sequence[str] | None, says: str, contenders: Sequence[Contender]) -> None:
    """Let them take their turns on a capture made for it, and print packets a second and ratios."""
    parser = argparse.ArgumentParser(description=says)
    parser.add_argument("--packets", type=int, default=make_capture.PACKETS)
    parser.add_argument("--chunk", type=int, default=CHUNK, help=f"packets a turn (default {CHUNK})")
    parser.add_argument("--seed", type=int, default=make_capture.SEED)
    options = parser.parse_args(arguments)
    if options.packets < 2 * options.chunk:
        parser.error("at least two chunks of packets are needed: the first one only warms up")
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "capture.pcap"
        make_capture.write(capture, make_capture.traffic(options.packets, options.seed))
        times = measure(capture, options.packets, options.chunk, contenders)
    found = ratios(times)
    whole = {name: sum(seconds) for name, seconds in times.items()}
    reference = contenders[0].name
    print(f"{options.packets} packets, seed {options.seed}, in turns of {options.chunk}")
    print(f"{'':40} packets/s  x scapy   in all  wanted")
    for name, _, wanted in contenders:
        rate, in_all = options.chunk / median(times[name]), whole[reference] / whole[name]
        print(f"{name:40} {rate:9,.0f} {found[name]:8.1f} {in_all:8.1f}  {wanted or '':>6}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print packets a second and ratios."""
    compare(arguments, "Measure the reference engine beside scapy.", CONTENDERS)


if __name__ == "__main__":
    main(sys.argv[1:])
