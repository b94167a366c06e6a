"""What extensions are told by: options as data, and the kinds of values that they take.

An extension lists its options once; the parser, the printer and the list of what is supported read that list.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from socket import getservbyname
from typing import Any, Final, Generic, NamedTuple, TypeVar

from netlab.addresses import format_address, mask_of, parse_address
from netlab.iptables.words import quote
from netlab.names import NetlabError

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A kind of value: how it is read from a word, and how it is written.

    `parse` raises NetlabError for a word that is none, saying what is wrong with it.
    """

    parse: Callable[[str], T]
    format: Callable[[T], str] = str


class Is(NamedTuple, Generic[T]):
    """What an option asks for, and whether a `!` before it turns the answer around."""

    value: T
    negated: bool = False


@dataclass(frozen=True)
class Option:
    """One option of an extension.

    Attributes:
        names: its spellings; the first is the one that is printed.
        field: the extension's field that holds what it says: the value, a tuple of values if it takes several words,
            `value` if it takes none; within `Is(...)` if it is negatable. Of several options for one field only one may
            be given; the first that can say it is printed.
        kinds: of the words it takes.
        negatable: whether a `!` may stand before it.
        value: what it says if it takes no word.
    """

    names: tuple[str, ...]
    field: str
    kinds: tuple[Kind[Any], ...] = ()
    negatable: bool = False
    value: Any = True


# ---------------------------------------------------------------- kinds of values


def number(bits: int, low: int = 0, *, format: Callable[[int], str] = str) -> Kind[int]:
    """A whole number of at least `low` that fits so many bits, as `c_number` reads it."""
    high = (1 << bits) - 1

    def parse(text: str) -> int:
        value = c_number(text)
        if value is None or not low <= value <= high:
            raise NetlabError(f"{text!r} is not a number from {low} to {high}")
        return value

    return Kind(parse, format)


def c_number(text: str) -> int | None:
    """A number as strtoul(3) reads it with base 0: decimal, octal behind a 0, hexadecimal behind 0x; else None."""
    if text.isdecimal() and text.isascii() and text[0] != "0" and len(text) < 32:
        return int(text)
    digits = text.lower()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") and digits != "0" else 10
    digits = digits.removeprefix("0x")
    if not digits.isascii() or not digits.isalnum():
        return None
    try:
        return int(digits, base)
    except ValueError:
        return None


def choice(values: Mapping[str, T]) -> Kind[T]:
    """One of some names; of several for one value the first is printed."""
    names: dict[T, str] = {}
    for name, value in values.items():
        names.setdefault(value, name)

    def parse(text: str) -> T:
        if text not in values:
            raise NetlabError(f"{text!r} is none of {', '.join(values)}")
        return values[text]

    return Kind(parse, lambda value: names[value])


def some_of(*names: str, none: str = "") -> Kind[tuple[str, ...]]:
    """Some of these names with commas between them, in whatever letters; the beginning of a name will do.

    They are kept and printed in this order; `none` is what stands for none of them, if that can be said.
    """

    def parse(text: str) -> tuple[str, ...]:
        meant = set()
        for word in text.upper().split(","):
            name = next((name for name in (*names, none) if word and name.startswith(word)), None)
            if name is None:
                raise NetlabError(f"{word!r} is none of {', '.join(filter(None, (*names, none)))}")
            meant.add(name)
        return tuple(name for name in names if name in meant)

    return Kind(parse, lambda chosen: ",".join(chosen) or none)


class Span(NamedTuple):
    """The numbers from `low` to `high`, both included."""

    low: int
    high: int

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.low <= number <= self.high


def port(text: str) -> int:
    """A port by number, or by the name of its service (/etc/services).

    Raises:
        NetlabError: there is no such port.
    """
    value = c_number(text)
    if value is None:
        try:
            value = getservbyname(text)
        except OSError:
            raise NetlabError(f"{text!r} is no port and no service's name") from None
    if value > 0xFFFF:
        raise NetlabError(f"port {text} is past 65535")
    return value


def _ports(text: str) -> Span:
    first, colon, last = text.partition(":")
    if not colon:
        return Span(port(text), port(text))
    span = Span(port(first) if first else 0, port(last) if last else 0xFFFF)
    if span.low > span.high:
        raise NetlabError(f"{text!r}: the range ends before it begins")
    return span


def span(bits: int) -> Kind[Span]:
    """One number of so many bits, or two with a colon between them; one left out is the lowest or the highest."""
    one = number(bits)

    def parse(text: str) -> Span:
        first, colon, last = text.partition(":")
        if not colon:
            return Span(one.parse(text), one.parse(text))
        return Span(one.parse(first) if first else 0, one.parse(last) if last else (1 << bits) - 1)

    return Kind(parse, format_span)


def format_span(span: Span) -> str:
    """`80`, or `80:90`."""
    return str(span.low) if span.low == span.high else f"{span.low}:{span.high}"


PORT: Final = Kind(port)
PORTS: Final = Kind(_ports, format_span)
TEXT: Final = Kind(str, quote)
"""Anything; iptables-save prints quotation marks around it unless it is a plain word."""


class Masked(NamedTuple):
    """An address and the bits of it that count; the mask need not be a prefix's."""

    address: int
    mask: int

    def __contains__(self, address: object) -> bool:
        return isinstance(address, int) and address & self.mask == self.address

    def __str__(self) -> str:
        length = self.mask.bit_count()
        behind = str(length) if self.mask == mask_of(length) else format_address(self.mask)
        return f"{format_address(self.address)}/{behind}"


class Mark(NamedTuple):
    """A number, and the bits of a mark that are compared with it; bits of the number that are not make it unequal."""

    value: int
    mask: int = 0xFFFFFFFF

    def __contains__(self, mark: object) -> bool:
        return isinstance(mark, int) and mark & self.mask == self.value

    def __str__(self) -> str:
        return f"{self.value:#x}" if self.mask == 0xFFFFFFFF else f"{self.value:#x}/{self.mask:#x}"


def _mark(text: str) -> Mark:
    value, slash, mask = text.partition("/")
    word = number(32)
    return Mark(word.parse(value), word.parse(mask)) if slash else Mark(word.parse(value))


def address_and_mask(text: str) -> tuple[int, int]:
    """An address and the mask behind its slash, a length or an address itself; all bits count where there is none.

    Raises:
        NetlabError: one of them is none.
    """
    host, slash, bits = text.partition("/")
    mask = 0xFFFFFFFF
    if slash:
        length = c_number(bits) if "." not in bits else None
        if length is not None and length > 32:
            raise NetlabError(f"invalid mask {bits!r} specified")
        mask = mask_of(length) if length is not None else parse_address(bits)
    return parse_address(host), mask


def prefix_length(mask: int) -> int:
    """The length of a prefix's mask; 32 for one with holes, which iptables forgets where it wants a prefix."""
    length = mask.bit_count()
    return length if mask == mask_of(length) else 32


def _masked(text: str) -> Masked:
    """An address of one to four numbers, as C writes them; the mask a length or four numbers.

    A host's name is refused: what it stands for would depend on who is asked, and when.
    """
    host, slash, bits = text.rpartition("/") if "/" in text else (text, "", "")
    address = parse_numbers(host)
    if address is None:
        what = ": netlab asks no name server" if host[:1].isalpha() else ""
        raise NetlabError(f"host/network `{host}' not found{what}")
    mask: int | None = 0xFFFFFFFF
    if slash:
        length, dotted = c_number(bits), parse_numbers(bits) if bits.count(".") == 3 else None
        mask = mask_of(length) if length is not None and length <= 32 else dotted
    if mask is None:
        raise NetlabError(f"invalid mask `{bits}' specified")
    return Masked(address & mask, mask)


_OCTETS: Final[dict[str, int | None]] = {str(number): number for number in range(256)}


def parse_numbers(text: str) -> int | None:
    """An address of one to four numbers: `10.1.2.3`, `10.1` (the rest is 0), `0x0a.010.0.0`; None for anything else."""
    octets = [_OCTETS.get(part, -1) for part in text.split(".")]
    if -1 in octets:
        octets = [c_number(part) for part in text.split(".")]
    if len(octets) > 4 or any(octet is None or octet > 0xFF for octet in octets):
        return None
    return int.from_bytes(bytes(octet or 0 for octet in octets).ljust(4, b"\0"), "big")


ADDRESS: Final = Kind(parse_address, format_address)
MASKED: Final = Kind(_masked)
MARK: Final = Kind(_mark)


PROTOCOLS: Final[Mapping[str, int]] = {
    "ip": 0, "hopopt": 0, "icmp": 1, "igmp": 2, "ggp": 3, "ipencap": 4, "st": 5, "tcp": 6, "egp": 8, "igp": 9,
    "pup": 12, "udp": 17, "hmp": 20, "xns-idp": 22, "rdp": 27, "iso-tp4": 29, "dccp": 33, "xtp": 36, "ddp": 37,
    "idpr-cmtp": 38, "ipv6": 41, "ipv6-route": 43, "ipv6-frag": 44, "idrp": 45, "rsvp": 46, "gre": 47, "esp": 50,
    "ah": 51, "skip": 57, "ipv6-icmp": 58, "icmpv6": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "rspf": 73, "vmtp": 81,
    "eigrp": 88, "ospf": 89, "ax.25": 93, "ipip": 94, "etherip": 97, "encap": 98, "pim": 103, "ipcomp": 108,
    "vrrp": 112, "l2tp": 115, "isis": 124, "sctp": 132, "fc": 133, "mobility-header": 135, "ipv6-mh": 135, "mh": 135,
    "udplite": 136, "mpls-in-ip": 137, "manet": 138, "hip": 139, "shim6": 140, "wesp": 141, "rohc": 142,
    "ethernet": 143, "all": 0,
}  # fmt: skip
"""The names that `-p` takes: those of Debian's /etc/protocols, whatever this machine has, and iptables' own.

Here 4 is `ipencap`, and `ipip` is 94.
"""
_NAME_OF: Final[dict[int, str]] = {number: name for name, number in reversed(list(PROTOCOLS.items())) if number}


def protocol(text: str) -> int:
    """A protocol by number or name; `all` is 0.

    Raises:
        NetlabError: there is no such protocol.
    """
    value = PROTOCOLS.get(text.lower(), c_number(text))
    if value is None or value > 0xFF:
        raise NetlabError(f'unknown protocol "{text}" specified')
    return value


def protocol_of(number: int) -> str:
    """A protocol's name as iptables prints it, or its number as text."""
    return _NAME_OF.get(number, str(number))


PROTOCOL: Final = Kind(protocol, protocol_of)
