"""IPv4 addresses as plain integers inside, as dotted text outside."""

from functools import lru_cache
from hashlib import blake2b
from socket import inet_ntoa
from typing import NamedTuple

from netlab.names import NetlabError

_OCTETS = {str(number): number for number in range(256)}
_LENGTHS = {str(number): number for number in range(33)}


@lru_cache(maxsize=65536)
def parse_address(text: str) -> int:
    """`10.0.0.1` as the integer 167772161.

    Raises:
        NetlabError: the text is not four decimal numbers from 0 to 255 (no leading zeros: they mean octal elsewhere).
    """
    try:
        a, b, c, d = (_OCTETS[part] for part in text.split("."))
    except (KeyError, ValueError, AttributeError):
        raise NetlabError(f"{text!r} is not an IPv4 address") from None
    return a << 24 | b << 16 | c << 8 | d


@lru_cache(maxsize=65536)
def format_address(address: int) -> str:
    """The integer 167772161 as `10.0.0.1`."""
    return inet_ntoa(address.to_bytes(4, "big"))


def mask_of(length: int) -> int:
    """The netmask of a prefix length in bits: 24 -> 255.255.255.0 as an integer."""
    return (0xFFFFFFFF << 32 - length) & 0xFFFFFFFF


@lru_cache(maxsize=65536)
def mac_address(host: str, dev: str) -> str:
    """The MAC address of a host's interface: one of those that anybody may give out, made from both names."""
    digest = blake2b(f"{host}:{dev}".encode(), digest_size=5).digest()
    return ":".join(f"{octet:02x}" for octet in b"\2" + digest)


def outside_mac(host: str, dev: str) -> str:
    """The MAC address of whoever sends frames into an interface that no link of the scenario leads to."""
    return mac_address(host, f"outside {dev}")


class Prefix(NamedTuple):
    """A network: its first address (an integer) and how many leading bits it fixes (0 to 32)."""

    address: int
    length: int

    @classmethod
    def parse(cls, text: str) -> "Prefix":
        """`10.0.0.0/24`, `10.0.0.0/255.255.255.0`, `10.0.0.1` (a /32) or `default` (0.0.0.0/0).

        Raises:
            NetlabError: not a prefix, or bits are set behind its length.
        """
        if text in ("default", "any"):
            return cls(0, 0)
        host, slash, bits = text.partition("/")
        address = parse_address(host)
        length = parse_length(bits, text) if slash else 32
        if address & ~mask_of(length):
            raise NetlabError(f"{text!r}: address bits are set behind the /{length}")
        return cls(address, length)

    @property
    def mask(self) -> int:
        """The netmask as an integer."""
        return mask_of(self.length)

    @property
    def last(self) -> int:
        """The highest address in it, the directed broadcast address of a subnet."""
        return self.address | ~self.mask & 0xFFFFFFFF

    def __contains__(self, address: object) -> bool:
        return isinstance(address, int) and address & self.mask == self.address

    def __str__(self) -> str:
        if not self.length:
            return "default"
        host = format_address(self.address)
        return host if self.length == 32 else f"{host}/{self.length}"


class InterfaceAddress(NamedTuple):
    """An address on an interface with its prefix length, as in `ip address add 10.0.0.1/24`."""

    address: int
    length: int

    @classmethod
    def parse(cls, text: str) -> "InterfaceAddress":
        """`10.0.0.1/24`; without a length a /32, as `ip address add` takes it.

        Raises:
            NetlabError: not an address with a prefix length.
        """
        host, slash, bits = text.partition("/")
        return cls(parse_address(host), parse_length(bits, text) if slash else 32)

    @property
    def network(self) -> Prefix:
        """The on-link network: 10.0.0.0/24 for 10.0.0.1/24."""
        return Prefix(self.address & mask_of(self.length), self.length)

    def __str__(self) -> str:
        return f"{format_address(self.address)}/{self.length}"


def parse_length(text: str, whole: str) -> int:
    """A prefix length in bits from `24` or `255.255.255.0`; `whole` is what an error message quotes.

    Raises:
        NetlabError: neither a number from 0 to 32 nor a netmask.
    """
    if text in _LENGTHS:
        return _LENGTHS[text]
    if text.count(".") == 3:
        mask = parse_address(text)
        length = mask.bit_count()
        if mask == mask_of(length):
            return length
    raise NetlabError(f"{whole!r}: {text!r} is neither a prefix length from 0 to 32 nor a netmask")
