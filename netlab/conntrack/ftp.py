"""The FTP helper: it reads the control connection and foresees the data connections (nf_conntrack_ftp.c).

    PORT 10,0,1,2,20,1          the client will be called at 10.0.1.2, port 20 * 256 + 1     RFC 959
    EPRT |1|10.0.1.2|5121|      the same                                                     RFC 2428
    227 ... (10,0,2,2,30,1)     the server will be called: its answer to PASV                RFC 959
    229 ... (|||7681|)          the same: its answer to EPSV; the address is the server's    RFC 2428

It reads only what begins a segment, and only a segment that begins where a former one ended a line: so it must have
seen the segment before, and the very first one of each side is never read. A command that begins well and cannot be
read to its end is dropped with its segment, in the hope that it comes again whole. Numbers are read without a look at
their range, and cut to what fits: `PORT 10,0,1,2,300,5` names port (300 * 256 + 5) % 65536.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from netlab.addresses import format_address
from netlab.conntrack.tcp_window import is_before
from netlab.conntrack.tuples import Direction, tuple_of
from netlab.hooks import HookFunction, HookState
from netlab.names import NetlabError, Proto, Verdict
from netlab.packet import Packet, Tcp

REMEMBERED: Final = 2  # ends of lines a side

LONG, SHORT = 0xFFFFFFFF, 0xFFFF


class Announcement(NamedTuple):
    """A data connection that one side announced.

    Attributes:
        command: what it was announced with: PORT, EPRT, 227 or 229.
        address: where the side that opens it will connect to; None where EPSV leaves it out: the speaker's own.
        port: likewise.
        start, end: where in the segment's data the numbers stand: who rewrites addresses rewrites these bytes.
    """

    command: str
    address: int | None
    port: int
    start: int
    end: int

    def __str__(self) -> str:
        where = "" if self.address is None else f"{format_address(self.address)} "
        return f"{self.command} announces {where}port {self.port}"


class Partial(NamedTuple):
    """A command that begins well, and cannot be read to its end."""

    command: str

    def __str__(self) -> str:
        return f"partial matching of `{self.command}'"


_Numbers = tuple[int | None, int]


def _number(digits: bytes) -> int:
    """As the kernel reckons it, modulo 2**32; of that 10**32 is a multiple, so only the last 32 digits matter."""
    return int(digits[-32:] or b"0") & LONG


def _six(found: re.Match[bytes]) -> _Numbers | None:
    """Four numbers of an address and two of a port."""
    numbers = [_number(digits) for digits in found.groups()]
    address = numbers[0] << 24 | numbers[1] << 16 | numbers[2] << 8 | numbers[3]
    return address & LONG, (numbers[4] << 8 | numbers[5]) & SHORT


def _dotted(found: re.Match[bytes]) -> _Numbers | None:
    """Four numbers of an address, and a port in one."""
    *parts, port = (_number(digits) for digits in found.groups()[1:])
    address = parts[0] << 24 | parts[1] << 16 | parts[2] << 8 | parts[3]
    return (address & LONG, port & SHORT) if port & SHORT else None


def _port_alone(found: re.Match[bytes]) -> _Numbers | None:
    port = _number(found[2]) & SHORT
    return (None, port) if port else None


class _Form(NamedTuple):
    """How a command is written: its first word, what stands before the numbers, and the numbers."""

    word: bytes
    until: re.Pattern[bytes]
    numbers: re.Pattern[bytes]
    read: Callable[[re.Match[bytes]], _Numbers | None]


# Any printable character that is no digit delimits (RFC 2428); among the numbers of an address no dot.
_DELIMITER, _NO_DOT = rb"([!-/:-~])", rb"([!-\-/:-~])"
_FORMS: Final = {
    Direction.ORIGINAL: (
        _Form(b"PORT", re.compile(rb"[^ ]* ", re.DOTALL), re.compile(rb"(\d*)," * 5 + rb"(\d*)(?=\r)"), _six),
        _Form(
            b"EPRT",
            re.compile(rb"[^ ]* ", re.DOTALL),
            re.compile(_NO_DOT + rb"1\1(\d*)\.(\d*)\.(\d*)\.(\d*)\1(\d+)\1"),
            _dotted,
        ),
    ),
    Direction.REPLY: (
        _Form(b"227 ", re.compile(rb"[^\d]*", re.DOTALL), re.compile(rb"(\d*)," * 5 + rb"(\d*)(?=[^\d,])"), _six),
        _Form(b"229 ", re.compile(rb"[^(]*\(", re.DOTALL), re.compile(_DELIMITER + rb"\1\1(\d+)\1"), _port_alone),
    ),
}


def read(data: bytes, direction: Direction) -> Announcement | Partial | None:
    """What a segment's data announces in its first line; None if it begins with none of the commands."""
    for word, until, numbers, understand in _FORMS[direction]:
        name = word.decode().strip()
        if len(data) <= len(word):
            if word.startswith(data.upper()):
                return Partial(name)
            continue
        if not data.upper().startswith(word):
            continue
        before = until.match(data, len(word))
        found = numbers.match(data, before.end()) if before else None
        meant = understand(found) if found else None
        if found is None or meant is None:
            return Partial(name)
        return Announcement(name, *meant, found.start(), found.end())
    return None


class Ftp:
    """The helper's memory of one control connection: where lines ended, as sequence numbers, for each side."""

    __slots__ = ("_ends",)

    name: Final = "ftp"

    def __init__(self) -> None:
        self._ends: tuple[list[int], list[int]] = ([], [])

    def listen(self, segment: Tcp, direction: Direction) -> Announcement | Partial | None:
        """Read one segment of the connection."""
        data = segment.payload
        if not data:
            return None
        in_step = segment.seq in self._ends[direction]
        found = read(data, direction) if in_step else None
        if not isinstance(found, Partial) and data.endswith(b"\n"):
            self._remember(segment.seq + len(data) & LONG, direction)
        return found

    def _remember(self, end: int, direction: Direction) -> None:
        """Keep the latest two."""
        ends = self._ends[direction]
        if end in ends:
            return
        if len(ends) < REMEMBERED:
            ends.append(end)
            return
        oldest = 0 if is_before(ends[0], ends[1]) else 1
        if is_before(ends[oldest], end):
            ends[oldest] = end


HELPERS: Final = {Ftp.name: Ftp}
"""The helpers by the names that rules use."""


def choose(helper: str, dport: int) -> HookFunction:
    """A hook function that gives TCP flows to that port a helper, as a rule with the target CT does: by `skb.helper`.

    Raises:
        NetlabError: there is no such helper.
    """
    if helper not in HELPERS:
        raise NetlabError(f"unknown helper {helper!r} (there is {', '.join(HELPERS)})")

    def choose_helper(packet: Packet, state: HookState) -> Verdict:
        flow = tuple_of(packet)
        if flow is not None and flow.proto == Proto.TCP and flow.dport == dport:
            state.skb.helper = helper
        return Verdict.ACCEPT

    return choose_helper
