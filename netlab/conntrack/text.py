"""Entries as text, both ways: `conntrack -L`, `conntrack -E`, /proc/net/nf_conntrack, and the old ip_conntrack.

    tcp      6 431999 ESTABLISHED src=10.0.1.2 dst=10.0.2.2 sport=4000 dport=80 src=10.0.2.2 ... [ASSURED] mark=0 use=1
    ipv4     2 tcp      6 431999 ESTABLISHED src=... [ASSURED] mark=0 zone=0 use=2

Sources: conntrack(8) 1.4.7, what it and the kernel print; nf_conntrack_standalone.c (ct_seq_show).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from netlab.addresses import parse_address
from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.tuples import GRE, WITH_PORTS, FlowTuple
from netlab.html import Code, html_table
from netlab.names import NetlabError, Proto, TcpState

if TYPE_CHECKING:
    import pandas

NAMES: Final = {1: "icmp", 6: "tcp", 17: "udp", 33: "dccp", 47: "gre", 132: "sctp", 136: "udplite"}
NUMBERS: Final = {name: number for number, name in NAMES.items()}
WITH_STATE: Final = (Proto.TCP, 132, 33)  # SCTP and DCCP, which netlab only reads, have states too
SUMMARY: Final = "conntrack v1.4.7 (conntrack-tools): "
_BRACKETED: Final = {"[UNREPLIED]": "UNREPLIED", "[ASSURED]": "ASSURED"}


class ConntrackTextError(NetlabError):
    """A line that is no entry; the message says at which column it stops making sense."""


@dataclass(frozen=True)
class Line:
    """One entry as it is printed.

    Attributes:
        timeout: seconds left; None where an event names none.
        state: TCP's state by name; GRE's timeouts, as /proc has them; None for other protocols.
        flags: what stands in square brackets: UNREPLIED, ASSURED.
        extra: the rest by name, as text: mark, use, id, zone, helper, ...; other words in brackets have no text.
        counters: packets and bytes of both directions.
        prefix: what stands before the protocol: the family, an event's time and kind.
    """

    proto: int
    timeout: int | None
    state: str | None
    original: FlowTuple
    reply: FlowTuple
    flags: frozenset[str] = frozenset()
    extra: dict[str, str] = field(default_factory=dict)
    counters: tuple[tuple[int, int], tuple[int, int]] | None = None
    prefix: str = ""

    def with_(self, **changes: Any) -> "Line":
        """A copy with these fields changed."""
        return replace(self, **changes)

    def __str__(self) -> str:
        """As `conntrack -L` prints it."""
        name = NAMES.get(self.proto, "unknown")
        timeout = "" if self.timeout is None else f" {self.timeout}"
        state = f" {self.state}" if self.state else ""
        first, second = (
            (f" packets={packets} bytes={octets}" for packets, octets in self.counters) if self.counters else ("", "")
        )
        unreplied = " [UNREPLIED]" if "UNREPLIED" in self.flags else ""
        assured = " [ASSURED]" if "ASSURED" in self.flags else ""
        extra = "".join(f" {key}" if key.startswith("[") else f" {key}={value}" for key, value in self.extra.items())
        return (
            f"{self.prefix}{name:<8} {self.proto:d}{timeout}{state} {_words(self.original)}{first}{unreplied} "
            f"{_words(self.reply)}{second}{assured}{extra}"
        )

    def row(self) -> dict[str, Any]:
        """For a table: what a reader looks for, by name."""
        names = ("packets", "bytes"), ("reply packets", "reply bytes")
        pairs = zip(names, self.counters, strict=True) if self.counters else ()
        counted = {name: count for both in pairs for name, count in zip(*both, strict=True)}
        return {
            "proto": NAMES.get(self.proto, str(self.proto)), "timeout": self.timeout, "state": self.state,
            **_fields("", self.original), **_fields("reply ", self.reply), "flags": " ".join(sorted(self.flags)),
            **self.extra, **counted,
        }  # fmt: skip

    def _repr_html_(self) -> str:
        rows = ((name, Code(text), why) for name, text, why in explain(self))
        return html_table(rows, caption=Code(self), named=True)


def line_of(entry: Entry, now: float, use: int = 1) -> Line:
    """The entry as `conntrack -L` shows it at that time; `use` counts those who hold on to it."""
    extra = {"mark": str(entry.mark)}
    if entry.helper:
        extra["helper"] = entry.helper.name
    return Line(
        entry.original.proto,
        max(0, int(entry.expires - now)),
        entry.state.name if entry.state is not None else None,
        entry.original,
        entry.reply,
        flags_of(entry.status),
        extra | {"use": str(use)},
        in_pairs(entry.counters),
    )


def flags_of(status: int) -> frozenset[str]:
    """What of an entry's status stands in square brackets."""
    flags = set() if status & Status.SEEN_REPLY else {"UNREPLIED"}
    return frozenset(flags | {"ASSURED"} if status & Status.ASSURED else flags)


def in_pairs(counters: Sequence[int] | None) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """An entry's counters as (packets, bytes) by direction."""
    return ((counters[0], counters[1]), (counters[2], counters[3])) if counters else None


def parse_lines(text: str) -> list[Line]:
    """Every entry in the output of `conntrack -L` or of `cat /proc/net/nf_conntrack`; conntrack's summary is skipped.

    Raises:
        ConntrackTextError: a line is no entry; the message begins with line and column.
    """
    lines = []
    for number, text_line in enumerate(text.splitlines(), 1):
        if not text_line.strip() or text_line.startswith("conntrack v"):
            continue
        try:
            lines.append(parse_line(text_line))
        except ConntrackTextError as problem:
            raise ConntrackTextError(f"line {number}, {problem}") from None
    return lines


def frame(lines: Iterable[Line]) -> "pandas.DataFrame":
    """One row an entry as a pandas frame: proto, timeout, state, the tuples field by field, flags, and the rest."""
    import pandas

    rows = [line.row() for line in lines]
    return pandas.DataFrame(rows or None, columns=None if rows else list(_NOBODY.row()))


_NOBODY: Final = Line(Proto.TCP, None, None, FlowTuple(0, 0, Proto.TCP, 0, 0), FlowTuple(0, 0, Proto.TCP, 0, 0))
"""Its fields are the columns of a frame without rows."""


def parse_line(text: str) -> Line:
    """One entry, in any of the forms named at the top of this module, or an event of `conntrack -E`.

    Raises:
        ConntrackTextError: with the column where it stops being an entry.
    """
    prefix = _PREFIX.match(text)
    start = prefix.end() if prefix else 0
    if text.startswith("ipv6", start):
        raise ConntrackTextError(f"column {start + 1}: a connection over IPv6, which netlab leaves out")
    return Reader(text, start).line().with_(prefix=text[:start])


# A time stamp, the kind of an event, and the family by name and number.
_PREFIX: Final = re.compile(r"(\[\d+\.\d+\]\t)?( *\[[A-Z]+\] +)?(ipv4 +2 +)?")


_WORD: Final = re.compile(r"\S+")


class Reader:
    """Reads a line word by word from that place on, and says at which column it makes no sense."""

    def __init__(self, text: str, start: int = 0) -> None:
        self.end = len(text.rstrip()) + 1
        self.words = [(found.start() + 1, found.group()) for found in _WORD.finditer(text, start)]
        """Each with its column."""
        self.at = 0

    def line(self) -> Line:
        name = self.next("a protocol's name")
        proto = self.number("a protocol's number", 255)
        if name != NAMES.get(proto, "unknown") and not (name == "unknown" or name == str(proto)):
            raise self.fail(f"protocol {proto} is not {name!r}", back=2)
        timeout = self.number("a timeout", 2**32 - 1) if self.peek().isdigit() else None
        state = self.state(proto)
        original, first = self.tuple(proto)
        flags = self.flags()
        reply, second = self.tuple(proto)
        flags |= self.flags()
        extra = {}
        while self.peek():
            word = self.next("a field")
            key, equals, value = word.partition("=")
            if word in _BRACKETED:
                flags.add(_BRACKETED[word])
            elif equals or word.startswith("["):
                extra[key] = value
            else:
                raise self.fail(f"{word!r} is no field", back=1)
        counters = (first, second) if first and second else None
        return Line(proto, timeout, state, original, reply, frozenset(flags), extra, counters)

    def state(self, proto: int) -> str | None:
        if proto == GRE and self.peek().startswith("timeout="):
            return f"{self.next('timeouts')} {self.next('timeouts')}"
        if proto not in WITH_STATE or "=" in self.peek():
            return None
        state = self.next("a state")
        if proto == Proto.TCP and state not in TcpState.__members__:
            raise self.fail(f"{state!r} is no TCP state", back=1)
        return state

    def tuple(self, proto: int) -> tuple[FlowTuple, tuple[int, int] | None]:
        saddr, daddr = self.address("src"), self.address("dst")
        sport = dport = 0
        if proto in WITH_PORTS or NAMES.get(proto) in ("sctp", "dccp", "udplite"):
            sport, dport = self.field("sport", 0xFFFF), self.field("dport", 0xFFFF)
        elif proto == Proto.ICMP:
            kind, code, sport = self.field("type", 255), self.field("code", 255), self.field("id", 0xFFFF)
            dport = kind << 8 | code
        elif proto == GRE:
            sport, dport = self.field("srckey", 0xFFFF), self.field("dstkey", 0xFFFF)
        counters = None
        if self.peek().startswith("packets="):
            counters = self.field("packets", 2**64 - 1), self.field("bytes", 2**64 - 1)
        return FlowTuple(saddr, daddr, proto, sport, dport), counters

    def flags(self) -> set[str]:
        found = set()
        while self.peek() in _BRACKETED:
            found.add(_BRACKETED[self.next("a flag")])
        return found

    def address(self, key: str) -> int:
        text = self.value(key)
        try:
            return parse_address(text)
        except NetlabError as problem:
            raise self.fail(str(problem), back=1) from None

    def field(self, key: str, highest: int) -> int:
        text = self.value(key)
        try:
            number = int(text, 0)
        except ValueError:
            number = -1
        if not 0 <= number <= highest:
            raise self.fail(f"{key}={text} is not a number from 0 to {highest}", back=1)
        return number

    def value(self, key: str) -> str:
        word = self.next(f"{key}=")
        name, equals, text = word.partition("=")
        if name != key or not equals:
            raise self.fail(f"{key}= is expected, not {word!r}", back=1)
        return text

    def number(self, what: str, highest: int) -> int:
        word = self.next(what)
        if not (word.isascii() and word.isdigit()) or int(word) > highest:
            raise self.fail(f"{word!r} is not {what}", back=1)
        return int(word)

    def peek(self) -> str:
        return self.words[self.at][1] if self.at < len(self.words) else ""

    def next(self, what: str) -> str:
        if self.at >= len(self.words):
            raise self.fail(f"the line ends where {what} is expected")
        self.at += 1
        return self.words[self.at - 1][1]

    def fail(self, problem: str, back: int = 0) -> ConntrackTextError:
        place = self.at - back
        column = self.words[place][0] if place < len(self.words) else self.end
        return ConntrackTextError(f"column {column}: {problem}")


def _words(flow: FlowTuple) -> str:
    """The tuple as conntrack prints it, for protocols that only text knows too."""
    name = NAMES.get(flow.proto)
    if name in ("sctp", "dccp", "udplite"):
        return f"{flow._replace(proto=0).words()} sport={flow.sport} dport={flow.dport}"
    if name == "gre":
        return f"{flow._replace(proto=0).words()} srckey={flow.sport:#x} dstkey={flow.dport:#x}"
    return flow.words()


def _fields(prefix: str, flow: FlowTuple) -> dict[str, str | int]:
    """The words of a tuple by name; numbers as numbers."""
    pairs = (word.split("=") for word in _words(flow).split())
    return {prefix + key: int(value) if value.isdecimal() else value for key, value in pairs}


def proc_line(entry: Entry, now: float, use: int = 1) -> str:
    """The entry as /proc/net/nf_conntrack shows it."""
    line = line_of(entry, now)
    if entry.original.proto == GRE:
        before, after = entry.protocol
        line = line.with_(state=f"timeout={before}, stream_timeout={after}")
    return str(line.with_(prefix="ipv4     2 ", extra={"mark": str(entry.mark), "zone": "0", "use": str(use + 1)}))


def explain(line: Line) -> Iterator[tuple[str, str, str]]:
    """The fields of an entry one by one: (name, text, what it means and why it is so)."""
    name = NAMES.get(line.proto, "unknown")
    yield "protocol", f"{name} {line.proto}", "the transport protocol, by name and by its number in the IP header"
    if line.timeout is not None:
        why = (
            "seconds until the entry is forgotten, unless another packet comes. It is no TTL: that belongs to a packet"
        )
        yield "timeout", str(line.timeout), why
    if line.state:
        yield (
            "TCP state",
            line.state,
            "the connection's state as the tracker sees it; not what rules match as --ctstate",
        )
    yield "original", _words(line.original), "the tuple of the first packet: who began, and with whom"
    mirrored = (line.original.saddr, line.original.daddr) == (line.reply.daddr, line.reply.saddr)
    mirrored = mirrored and (
        line.proto not in WITH_PORTS
        or (line.original.sport, line.original.dport) == (line.reply.dport, line.reply.sport)
    )
    why = "the mirror image of the first" if mirrored else "not the mirror image of the first: NAT changed the packets"
    yield "reply", _words(line.reply), f"the tuple that an answer will have; {why}"
    for flag in sorted(line.flags):
        yield flag.lower(), f"[{flag}]", FLAGS.get(flag, "")
    for key, value in line.extra.items():
        yield key, value, EXTRA.get(key, "")


FLAGS: Final = {
    "UNREPLIED": "no packet of the other direction has been seen",
    "ASSURED": "both sides mean it: early_drop does not take it when the table is full",
}
EXTRA: Final = {
    "mark": "a number that rules may set on the flow (connmark)",
    "use": "how many hold on to the entry at this moment; of interest to the kernel only",
    "id": "tells entries apart that had the same tuple at different times",
    "zone": "tables may be divided into zones; 0 is the usual one",
    "helper": "the helper that reads along, to foresee further connections",
}
