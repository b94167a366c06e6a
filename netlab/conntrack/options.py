"""The command line of conntrack(8): read, refused in the real command's words, and compared with entries."""

import re
import shlex
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from io import StringIO
from itertools import accumulate
from typing import Any, Final, NamedTuple

from netlab.addresses import parse_address
from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.events import Kind
from netlab.conntrack.text import NUMBERS, SUMMARY
from netlab.conntrack.tuples import Direction
from netlab.names import PROTOCOL_NAMES, NetlabError, Proto, TcpState

TRY_HELP: Final = "Try `conntrack -h' or 'conntrack --help' for more information."
LONGEST_PREFIX: Final = 32


class Output(NamedTuple):
    """What a command printed, on both of its streams, and its exit status."""

    out: str
    err: str = ""
    status: int = 0
    column: int | None = None
    """Where in the command line the word stands that was refused, counted from 1."""

    def __str__(self) -> str:
        return "\n".join(part for part in (self.out, self.err) if part)

    def _repr_html_(self) -> str:
        where = f"<p>column {self.column}</p>" if self.column else ""
        return f"<pre>{escape(str(self))}</pre>{where}"


class Refused(Exception):
    """The command line cannot be done; the text is conntrack's own."""

    def __init__(self, problem: str, status: int = 2) -> None:
        super().__init__(problem)
        self.output = Output("", f"{SUMMARY}{problem}" + (f"\n{TRY_HELP}" if status == 2 else ""), status)


COMMANDS: Final = {
    "-L": "list", "-G": "get", "-D": "delete", "-U": "update", "-E": "events", "-F": "flush", "-C": "count",
    "-S": "stats", "-V": "version",
    "--dump": "list", "--get": "get", "--delete": "delete", "--update": "update", "--event": "events",
    "--flush": "flush", "--count": "count", "--stats": "stats", "--version": "version",
    "-h": "help", "--help": "help",
}  # fmt: skip
TABLES: Final = ("conntrack", "expect")

# An option's own name, by all of its spellings.
OPTIONS: Final = {
    "-s": "src", "--src": "src", "--orig-src": "src", "-d": "dst", "--dst": "dst", "--orig-dst": "dst",
    "-r": "reply-src", "--reply-src": "reply-src", "-q": "reply-dst", "--reply-dst": "reply-dst",
    "-p": "protonum", "--proto": "protonum", "--protonum": "protonum", "-u": "status", "--status": "status",
    "-m": "mark", "--mark": "mark", "-o": "output", "--output": "output", "-t": "timeout", "--timeout": "timeout",
    "-e": "event-mask", "--event-mask": "event-mask", "-n": "src-nat", "--src-nat": "src-nat", "-g": "dst-nat",
    "--dst-nat": "dst-nat", "-j": "any-nat", "--any-nat": "any-nat",
}  # fmt: skip
LEFT_OUT: Final = frozenset({
    "-I", "-A", "-z", "--zero", "-l", "--label", "-f",
    "--family", "-w", "--zone", "-c", "--secmark", "-b", "--buffer-size", "--mask-src", "--mask-dst",
    "dying", "unconfirmed", "xml", "save", "labels", "userspace",
})  # fmt: skip
"""What the real command has, and this one does not."""
_PORTS = {
    "--sport": "sport", "--orig-port-src": "sport", "--dport": "dport", "--orig-port-dst": "dport",
    "--reply-port-src": "reply-sport", "--reply-port-dst": "reply-dport",
}  # fmt: skip
_KEYS = {"--srckey": "sport", "--dstkey": "dport", "--reply-key-src": "reply-sport", "--reply-key-dst": "reply-dport"}
_ICMP = {"--icmp-type": "type", "--icmp-code": "code", "--icmp-id": "id"}
OPTIONS_OF: Final[dict[int, dict[str, str]]] = {
    Proto.TCP: _PORTS | {"--state": "state"}, Proto.UDP: _PORTS, 136: _PORTS, 132: _PORTS, 33: _PORTS,
    47: _KEYS, Proto.ICMP: _ICMP,
}  # fmt: skip

_SOURCE, _DESTINATION = (Status.SRC_NAT, "daddr", "dport"), (Status.DST_NAT, "saddr", "sport")
NAT: Final = {"src-nat": (_SOURCE,), "dst-nat": (_DESTINATION,), "any-nat": (_SOURCE, _DESTINATION)}
"""Options of translated flows: the entry's status bit, and where in the reply's tuple the new address and port stand.

Their value may be left out.
"""
_FILTERS = frozenset({"src", "dst", "reply-src", "reply-dst", "protonum", "status", "mark", *NAT})
TAKES: Final = {
    "list": _FILTERS | {"output"}, "get": _FILTERS | {"output"}, "delete": _FILTERS | {"output", "timeout"},
    "update": _FILTERS | {"output", "timeout"}, "events": _FILTERS | {"output", "event-mask"},
    "flush": frozenset(), "count": frozenset(), "stats": frozenset(), "version": frozenset(),
    "help": _FILTERS,
}  # fmt: skip
"""The options that each command takes; with -p come those of the protocol."""

STATUSES: Final = {
    "ASSURED": Status.ASSURED, "SEEN_REPLY": Status.SEEN_REPLY, "EXPECTED": Status.EXPECTED,
    "FIXED_TIMEOUT": Status.FIXED_TIMEOUT,
}  # fmt: skip
OUTPUTS: Final = ("extended", "id", "timestamp", "ktimestamp")  # the last asks for what nobody keeps by default
EVENTS: Final = {
    "NEW": (Kind.NEW,), "UPDATES": (Kind.UPDATE,), "DESTROY": (Kind.DESTROY,), "ALL": tuple(Kind),
}  # fmt: skip


@dataclass
class Call:
    """A command line, read: the command, its table, the options by their own names, and the columns of those."""

    command: str
    table: str
    options: dict[str, str] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    proto: int | None = None

    def flag(self, name: str) -> bool:
        """Whether -o asks for it."""
        return name in self.options.get("output", "").split(",")


def parse(line: str | Sequence[str]) -> Call:
    """Read a command line, with or without the word `conntrack` in front.

    Raises:
        Refused: as the real command refuses it.
        NetlabError: quotation marks that do not end.
    """
    words = placed_words(line)
    if words and words[0][1] == "conntrack":
        del words[0]
    commands: list[str] = []
    call = Call("", TABLES[0])
    given = deque(words)
    while given:
        column, word = given.popleft()
        with _at(column):
            if word in COMMANDS:
                commands.append(COMMANDS[word])
                if len(commands) > 1:
                    raise Refused("Invalid commands combination")
            elif word.startswith("-"):
                call.places[_option(call, word, given)] = column
            elif commands and word in TABLES:
                call.table = word
            elif commands and word in LEFT_OUT:
                raise Refused(f"netlab's conntrack does not have the table `{word}'")
            else:
                raise Refused(f"unknown type `{word}'" if commands else f"Bad parameter `{word}'")
    call.command = commands[0] if commands else "" if call.options else "help"
    takes = TAKES.get(call.command, frozenset())
    if call.table == "expect":
        takes &= {"output"}
    for name in call.options:
        if name in _NAMES and name not in takes:
            with _at(call.places[name]):
                raise Refused(f"Illegal option `--{name}' with this command")
    return call


_NAMES: Final = frozenset(OPTIONS.values())
_Placed = tuple[int, str]
"""A word and its column, counted from 1."""


def placed_words(line: str | Sequence[str]) -> list[tuple[int, str]]:
    """The words of a command line as a shell splits it, with their columns; of a list, as if they stood in a line.

    Raises:
        NetlabError: quotation marks that do not end.
    """
    if not isinstance(line, str):
        ends = accumulate((len(word) + 1 for word in line), initial=1)
        return list(zip(ends, line, strict=False))
    source = StringIO(line)
    lexer = shlex.shlex(source, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words, end = [], 0
    try:
        while (word := lexer.get_token()) is not None:
            words.append((end + len(line[end:]) - len(line[end:].lstrip()) + 1, word))
            end = source.tell()
    except ValueError as problem:
        raise NetlabError(f"{line!r}: {str(problem).lower()}") from None
    return words


@contextmanager
def _at(column: int) -> Iterator[None]:
    """What is refused within is refused for the word at that column."""
    try:
        yield
    except Refused as refused:
        refused.output = refused.output._replace(column=column)
        raise


def _option(call: Call, word: str, rest: deque[_Placed]) -> str:
    """One option with its value, `-p tcp`, `-ptcp`, `--sport 80` or `--sport=80`: its own name."""
    known = OPTIONS | OPTIONS_OF.get(-1 if call.proto is None else call.proto, {})
    key, equals, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
    if key in LEFT_OUT:
        raise Refused(f"netlab's conntrack does not have `{key}'")
    if key not in known:
        raise Refused(f"unknown option `{key}'")
    name = known[key]
    if not equals:
        value = _value(key, rest, optional=name in NAT)
    call.options[name] = value
    if name == "protonum":
        call.proto = _protocol(value)
    elif name == "output":
        each(value, OUTPUTS)
    elif name == "event-mask":
        each(value, EVENTS)
    elif name == "status":
        each(value.upper(), [*STATUSES, "UNREPLIED"])
    elif name == "state" and value not in TcpState.__members__ and value != "LISTEN":
        raise Refused(f"unknown TCP state `{value}'")
    elif name in ADDRESSES:
        if name.startswith("reply") and "/" in value:
            raise Refused(f"CIDR notation unavailable for `--{name}'")
        network(value)
    elif name in NAT and value:
        network(value.partition(":")[0])
    return name


def _value(key: str, rest: deque[_Placed], *, optional: bool) -> str:
    """The next word; where it may be left out, only one that is no option."""
    if optional and (not rest or rest[0][1].startswith("-")):
        return ""
    if not rest:
        raise Refused(f"option `{key}' requires an argument")
    return rest.popleft()[1]


ADDRESSES: Final = {"src": ("original", "saddr"), "dst": ("original", "daddr"),
                     "reply-src": ("reply", "saddr"), "reply-dst": ("reply", "daddr")}  # fmt: skip


def each(value: str, known: Sequence[str] | dict[str, Any]) -> list[str]:
    """The words between the commas, all of them known ones."""
    for word in value.split(","):
        if word in LEFT_OUT:
            raise Refused(f"netlab's conntrack does not have `{word}'")
        if word not in known:
            raise Refused(f"Bad parameter `{word}'")
    return value.split(",")


def _protocol(value: str) -> int:
    number = PROTOCOL_NAMES.get(value.lower(), NUMBERS.get(value.lower()))
    if number is None and value.isdecimal() and int(value) <= 255:
        number = int(value)
    if number is None:
        raise Refused(f"`{value}' unsupported protocol")
    return number


def network(value: str) -> tuple[int, int]:
    """An address and its netmask."""
    address, slash, length = value.partition("/")
    if slash and not (length.isdecimal() and int(length) <= LONGEST_PREFIX):
        raise Refused("Invalid netmask")
    try:
        number = parse_address(address)
    except NetlabError:
        raise Refused(f"Invalid IP address `{value}'") from None
    mask = ~0 << LONGEST_PREFIX - int(length) if slash else -1
    return number & mask, mask


_C_NUMBER = re.compile(r"\s*(0[xX][0-9a-fA-F]+|\d+)")


def c_number(value: str) -> int:
    """As strtoul(3) reads it."""
    found = _C_NUMBER.match(value)
    return int(found[1], 16 if found[1][:2] in ("0x", "0X") else 10) if found else 0


def mark_and_mask(value: str) -> tuple[int, int]:
    """A mark and its mask."""
    mark, slash, mask = value.partition("/")
    return c_number(mark), c_number(mask) if slash else 0xFFFFFFFF


# ---------------------------------------------------------------- which entries are meant


def matches(call: Call, entry: Entry) -> bool:
    """Whether the options mean that entry."""
    return all(_CHECKS[name](value, entry) for name, value in call.options.items() if name in _CHECKS)


def _has_status(value: str, entry: Entry) -> bool:
    wanted = value.upper().split(",")
    bits = sum(STATUSES[word] for word in wanted if word in STATUSES)
    unreplied = "UNREPLIED" not in wanted or not entry.status & Status.SEEN_REPLY
    return entry.status & bits == bits and unreplied


def _has_mark(value: str, entry: Entry) -> bool:
    mark, mask = mark_and_mask(value)
    return entry.mark & mask == mark


def _has_address(name: str) -> Callable[[str, Entry], bool]:
    which, part = ADDRESSES[name]

    def check(value: str, entry: Entry) -> bool:
        address, mask = network(value)
        return bool(getattr(getattr(entry, which), part) & mask == address)

    return check


def _is_translated(name: str) -> Callable[[str, Entry], bool]:
    def check(value: str, entry: Entry) -> bool:
        address, _, port = value.partition(":")
        return any(
            entry.status & bit
            and (not address or getattr(entry.reply, where) == network(address)[0])
            and (not port or getattr(entry.reply, place) == c_number(port))
            for bit, where, place in NAT[name]
        )

    return check


def _has_port(direction: Direction, part: str) -> Callable[[str, Entry], bool]:
    return lambda value, entry: bool(getattr(entry.tuple(direction), part) == c_number(value))


def _has_icmp(place: int) -> Callable[[str, Entry], bool]:
    return lambda value, entry: entry.original.icmp[place] == c_number(value)


_CHECKS: Final[dict[str, Callable[[str, Entry], bool]]] = {
    "protonum": lambda value, entry: entry.original.proto == _protocol(value),
    "status": _has_status,
    "mark": _has_mark,
    "state": lambda value, entry: entry.state is not None and entry.state.name == value,
    "sport": _has_port(Direction.ORIGINAL, "sport"), "dport": _has_port(Direction.ORIGINAL, "dport"),
    "reply-sport": _has_port(Direction.REPLY, "sport"), "reply-dport": _has_port(Direction.REPLY, "dport"),
    "type": _has_icmp(0), "code": _has_icmp(1), "id": _has_icmp(2),
} | {name: _has_address(name) for name in ADDRESSES} | {name: _is_translated(name) for name in NAT}  # fmt: skip
