"""Fields of the IP header: ranges of addresses, TTL, length, type of service.

Sources: xt_iprange.c, xt_hl.c, xt_length.c, xt_dscp.c.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from netlab.addresses import format_address
from netlab.iptables.extension import Match, Rules, Test, given, match
from netlab.iptables.option import Is, Kind, Option, Span, format_span, number, parse_numbers, span
from netlab.iptables.targets.header import NAMED_BITS, TOS_NAMES, Xtos, parse_dscp_class, parse_tos
from netlab.names import NetlabError


class AddressRange(NamedTuple):
    """The addresses from `low` to `high`; none, where it ends before it begins."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{format_address(self.low)}-{format_address(self.high)}"


def _range(text: str) -> AddressRange:
    first, dash, last = text.partition("-")
    low, high = parse_numbers(first), parse_numbers(last if dash else first)
    if low is None or high is None:
        raise NetlabError(f"{text!r} is no range of addresses like 10.0.0.1-10.0.0.9")
    return AddressRange(low, high)


RANGE: Final = Kind(_range)


@match
@dataclass(frozen=True)
class IprangeMatch(Match):
    """`-m iprange --src-range --dst-range`: addresses from one to another."""

    name = "iprange"
    options = (
        Option(("--src-range",), "source", (RANGE,), negatable=True),
        Option(("--dst-range",), "destination", (RANGE,), negatable=True),
    )

    source: Is[AddressRange] | None = None
    destination: Is[AddressRange] | None = None

    def completed(self) -> None:
        """It must ask for something.

        Raises:
            NetlabError: it does not.
        """
        if not given(self):
            raise NetlabError("iprange match: You must specify `--src-range' or `--dst-range'")

    def bind(self, rules: Rules) -> Test:
        """Compares the addresses."""
        source, destination = _in_range(self.source), _in_range(self.destination)
        return lambda packet, state: source(packet.saddr) and destination(packet.daddr)

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        sides = (("source", self.source), ("destination", self.destination))
        return " ".join(
            f"{side} IP range {'! ' if wanted.negated else ''}{wanted.value}" for side, wanted in sides if wanted
        )


def _in_range(wanted: Is[AddressRange] | None) -> Callable[[int], bool]:
    if wanted is None:
        return lambda address: True
    (low, high), negated = wanted
    return lambda address: (low <= address <= high) is not negated


BYTE: Final = number(8)


@match
@dataclass(frozen=True)
class TtlMatch(Match):
    """`-m ttl --ttl-eq 64`, or `--ttl-lt`, `--ttl-gt`."""

    name = "ttl"
    options = (
        Option(("--ttl-eq", "--ttl"), "equal", (BYTE,), negatable=True),
        Option(("--ttl-lt",), "less", (BYTE,)),
        Option(("--ttl-gt",), "more", (BYTE,)),
    )

    equal: Is[int] | None = None
    less: int | None = None
    more: int | None = None

    def completed(self) -> None:
        """One of the three must be asked.

        Raises:
            NetlabError: none or several are.
        """
        if len(given(self)) != 1:
            raise NetlabError("ttl: exactly one of --ttl-eq, --ttl-lt and --ttl-gt must be specified")

    def bind(self, rules: Rules) -> Test:
        """Compares."""
        if self.equal:
            value, negated = self.equal
            return lambda packet, state: (packet.ttl == value) is not negated
        low, high = (-1, self.less) if self.less is not None else (self.more, 256)
        assert low is not None
        return lambda packet, state: low < packet.ttl < high

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        if self.equal:
            return f"TTL match TTL {'!=' if self.equal.negated else '=='} {self.equal.value}"
        return f"TTL match TTL < {self.less}" if self.less is not None else f"TTL match TTL > {self.more}"


@match
@dataclass(frozen=True)
class LengthMatch(Match):
    """`-m length --length 100:200`: the total length in bytes, the IP header included."""

    name = "length"
    options = (Option(("--length",), "length", (span(16),), negatable=True),)

    length: Is[Span] | None = None

    def completed(self) -> None:
        """The length must be given.

        Raises:
            NetlabError: it is not.
        """
        if self.length is None:
            raise NetlabError('length: option "--length" must be specified')

    def bind(self, rules: Rules) -> Test:
        """Compares."""
        assert self.length is not None
        (low, high), negated = self.length
        return lambda packet, state: (low <= packet.length <= high) is not negated

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        assert self.length is not None
        return f"length {'!' if self.length.negated else ''}{format_span(self.length.value)}"


@match
@dataclass(frozen=True)
class TosMatch(Match):
    """`-m tos --tos 0x10/0x3f`, or by one of the old names."""

    name = "tos"
    options = (Option(("--tos",), "tos", (Kind(parse_tos),), negatable=True),)

    tos: Is[Xtos] | None = None

    def completed(self) -> None:
        """The type of service must be given.

        Raises:
            NetlabError: it is not.
        """
        if self.tos is None:
            raise NetlabError('tos: option "--tos" must be specified')

    def bind(self, rules: Rules) -> Test:
        """Compares the bits that the mask leaves."""
        assert self.tos is not None
        (value, mask), negated = self.tos
        return lambda packet, state: (packet.tos & mask == value) is not negated

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it, which forgets a blank."""
        assert self.tos is not None
        (value, mask), negated = self.tos
        names = [name for name, named in TOS_NAMES.items() if named == value]
        if numeric or mask != NAMED_BITS or not names:
            return f"tos match{'!' if negated else ''}{self.tos.value}"
        return f"tos match{'!' if negated else ''} {names[0]}"


@match
@dataclass(frozen=True)
class DscpMatch(Match):
    """`-m dscp --dscp 46` or `--dscp-class EF`: the upper six bits of the same byte."""

    name = "dscp"
    options = (
        Option(("--dscp",), "dscp", (number(6, format="0x{:02x}".format),), negatable=True),
        Option(("--dscp-class",), "dscp", (Kind(parse_dscp_class),), negatable=True),
    )

    dscp: Is[int] | None = None

    def completed(self) -> None:
        """The code point must be given.

        Raises:
            NetlabError: it is not.
        """
        if self.dscp is None:
            raise NetlabError("DSCP match: Parameter --dscp is required")

    def bind(self, rules: Rules) -> Test:
        """Compares."""
        assert self.dscp is not None
        value, negated = self.dscp
        return lambda packet, state: (packet.tos >> 2 == value) is not negated

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        assert self.dscp is not None
        return f"DSCP match {'!' if self.dscp.negated else ''}{self.dscp.value:#04x}"
