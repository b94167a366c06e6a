"""Expectations as text, both ways: `conntrack -L expect` and `conntrack -E expect`.

    299 proto=6 src=10.0.2.2 dst=10.0.1.2 sport=0 dport=5121 mask-src=255.255.255.255 mask-dst=255.255.255.255 sport=0
    dport=65535 master-src=10.0.1.2 master-dst=10.0.2.2 sport=4000 dport=21 class=0 helper=ftp

all in one line. Source: conntrack(8) 1.4.7, what it prints.
"""

import re
from dataclasses import dataclass
from typing import Final

from netlab.addresses import format_address
from netlab.conntrack.expectations import Expectation
from netlab.conntrack.text import SUMMARY, ConntrackTextError, Reader
from netlab.conntrack.tuples import FlowTuple

WHOLE_ADDRESS: Final = 0xFFFFFFFF


@dataclass(frozen=True)
class ExpectLine:
    """One expectation as it is printed.

    Attributes:
        timeout: seconds left.
        flow: what its first packet will look like.
        mask: which bits of that count: the source port may be any, so its mask is 0.
        master: the original tuple of the flow in which it was foreseen.
        helper: who foresaw it.
        prefix: an event's time and kind.
    """

    timeout: int
    flow: FlowTuple
    mask: FlowTuple
    master: FlowTuple
    helper: str
    prefix: str = ""

    def __str__(self) -> str:
        """As `conntrack -L expect` prints it."""
        return (
            f"{self.prefix}{self.timeout} proto={self.flow.proto:d} {_words(self.flow)} {_words(self.mask, 'mask-')} "
            f"{_words(self.master, 'master-')} class=0 helper={self.helper}"
        )


def _words(flow: FlowTuple, prefix: str = "") -> str:
    addresses = f"{prefix}src={format_address(flow.saddr)} {prefix}dst={format_address(flow.daddr)}"
    return f"{addresses} sport={flow.sport} dport={flow.dport}"


def expect_line(one: Expectation, now: float, prefix: str = "") -> ExpectLine:
    """The expectation as `conntrack -L expect` shows it at that time."""
    key = one.key
    return ExpectLine(
        max(0, int(one.expires - now)),
        FlowTuple(key.saddr, key.daddr, key.proto, 0, key.dport),
        FlowTuple(WHOLE_ADDRESS, WHOLE_ADDRESS, key.proto, 0, 0xFFFF),
        one.master.original,
        one.helper,
        prefix,
    )


_PREFIX: Final = re.compile(r"(\[\d+\.\d+\]\t)?( *\[[A-Z]+\] +)?")


def parse_expect_line(text: str) -> ExpectLine:
    """One expectation, or an event about one.

    Raises:
        ConntrackTextError: with the column where it stops being an expectation.
    """
    found = _PREFIX.match(text)
    start = found.end() if found else 0
    reader = Reader(text, start)
    timeout = reader.number("a timeout", 2**32 - 1)
    proto = reader.field("proto", 255)
    flow, mask, master = (_tuple(reader, proto, prefix) for prefix in ("", "mask-", "master-"))
    reader.field("class", 2**32 - 1)
    helper = reader.value("helper")
    if reader.peek():
        raise reader.fail(f"{reader.peek()!r} is no field of an expectation")
    return ExpectLine(timeout, flow, mask, master, helper, text[:start])


def _tuple(reader: Reader, proto: int, prefix: str) -> FlowTuple:
    saddr, daddr = reader.address(f"{prefix}src"), reader.address(f"{prefix}dst")
    return FlowTuple(saddr, daddr, proto, reader.field("sport", 0xFFFF), reader.field("dport", 0xFFFF))


def parse_expect_lines(text: str) -> list[ExpectLine]:
    """Every expectation in the output of `conntrack -L expect`; conntrack's summary is skipped.

    Raises:
        ConntrackTextError: a line is no expectation; the message begins with line and column.
    """
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(SUMMARY.split()[0] + " v"):
            continue
        try:
            lines.append(parse_expect_line(line))
        except ConntrackTextError as problem:
            raise ConntrackTextError(f"line {number}, {problem}") from None
    return lines
