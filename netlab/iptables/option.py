"""What extensions are told by: options as data, and the kinds of values that they take.

An extension lists its options once; the parser, the printer and the list of what is supported read that list.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from socket import getservbyname
from typing import Any, Final, Generic, NamedTuple, TypeVar

from netlab.addresses import format_address, mask_of, parse_address
from netlab.names import PROTOCOL_NAMES, NetlabError, protocol_name

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


PORT: Final = Kind(port)
PORTS: Final = Kind(_ports, lambda span: str(span.low) if span.low == span.high else f"{span.low}:{span.high}")
TEXT: Final = Kind(str)


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


def _masked(text: str) -> Masked:
    host, slash, bits = text.partition("/")
    mask = 0xFFFFFFFF
    if slash:
        length = c_number(bits) if "." not in bits else None
        if length is not None and length > 32:
            raise NetlabError(f"invalid mask {bits!r} specified")
        mask = mask_of(length) if length is not None else parse_address(bits)
    return Masked(parse_address(host) & mask, mask)


ADDRESS: Final = Kind(parse_address, format_address)
MASKED: Final = Kind(_masked)


def protocol(text: str) -> int:
    """A protocol by number or name; `all` is 0.

    Raises:
        NetlabError: there is no such protocol.
    """
    name = text.lower()
    value = 0 if name == "all" else PROTOCOL_NAMES.get(name, c_number(text))
    if value is None or value > 0xFF:
        raise NetlabError(f"unknown protocol {text!r} specified")
    return value


PROTOCOL: Final = Kind(protocol, protocol_name)
