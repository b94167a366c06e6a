"""Random bytes at connection tracking, steered by the code that they reach (atheris): nothing may raise.

    python -m benchmarks.fuzz_conntrack -runs=1000000

An input is a conversation: for each packet one byte says which side sends it, over which protocol, and how its bytes
are to be taken; the packet's own bytes follow. The rest of the options are libFuzzer's.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from types import FunctionType, ModuleType

from netlab.addresses import parse_address
from netlab.conntrack.command import conntrack
from netlab.conntrack.text import parse_lines
from netlab.host import Host
from netlab.packet import MalformedPacket, Packet

ENDS = parse_address("10.0.1.2"), parse_address("10.0.2.2")
PROTOCOLS = (6, 17, 1, 47, 136, 132, 6, 6)
PRINTED_EACH = 8  # inputs: to print and read takes longer than all the rest
CONTROL = b"\x17\x70\x00\x15"  # ports 6000 and 21


def router() -> Host:
    """A router that tracks, counts, reads FTP, and has room for few flows only."""
    made = Host(
        "r",
        {"r0": "10.0.1.1/24", "r1": "10.0.2.1/24"},
        sysctls={
            "net.ipv4.ip_forward": 1,
            "net.netfilter.nf_conntrack_acct": 1,
            "net.netfilter.nf_conntrack_max": 3,
            "net.netfilter.nf_conntrack_buckets": 2,
            "net.netfilter.nf_conntrack_checksum": 0,
        },
        conntrack="on",
    )
    made.assign_helper("ftp")
    made.wires.recording = False
    return made


def conversation(data: bytes) -> Iterator[tuple[str, bytes | Packet]]:
    """The packets that an input stands for, with the interface that each comes in by."""
    at = 0
    while at + 2 <= len(data):
        how, length = data[at], data[at + 1]
        payload = data[at + 2 : at + 2 + length]
        at += 2 + length
        side = how & 1
        dev = ("r0", "r1")[side]
        if how & 0x80:
            yield dev, payload
            continue
        proto = PROTOCOLS[how >> 1 & 7]
        if how & 0x40:
            payload = (CONTROL if side == 0 else CONTROL[2:] + CONTROL[:2]) + payload
        yield dev, Packet(ENDS[side], ENDS[1 - side], proto, payload, frag=0x2000 if how & 0x30 == 0x30 else 0)


ROUTER = router()
"""One for all inputs, emptied after each: to make one takes ten times as long as an input."""


def one_input(data: bytes) -> None:
    """Send a conversation through the router, let time pass; of some print and read the table."""
    host, tracker = ROUTER, ROUTER.conntrack
    assert tracker
    for number, (dev, packet) in enumerate(conversation(data)):
        with suppress(MalformedPacket):
            host.receive(dev, packet)
        if number % 5 == 4:
            host.wires.clock.advance(data[0])
            host.tick()
    if len(data) % PRINTED_EACH == 0:
        listed = conntrack(host, "-L -o id,extended").out
        assert len(parse_lines(listed)) == len(tracker.table)
        parse_lines(conntrack(host, "-E -o id,timestamp").out)
    for entry in list(tracker.table):
        tracker.delete(entry)
    assert len(tracker.table) == len(tracker.expectations) == 0
    tracker.events.clear()


def main() -> None:
    """Fuzz until libFuzzer has had enough."""
    import atheris

    for module in ("tcp", "tcp_track", "tcp_window", "ftp", "track", "protocols", "tuples", "table", "expectations"):
        instrument(f"netlab.conntrack.{module}")
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


def instrument(module: str) -> None:
    """Have the functions of a module tell which of their branches are taken."""
    import atheris

    for owner in (sys.modules[module], *vars(sys.modules[module]).values()):
        if isinstance(owner, type | ModuleType) and getattr(owner, "__module__", module) == module:
            for name, value in vars(owner).items():
                if isinstance(value, FunctionType) and value.__module__ == module:
                    with suppress(AttributeError, TypeError):
                        setattr(owner, name, atheris.instrument_func(value))


if __name__ == "__main__":
    main()
