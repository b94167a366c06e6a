"""Fields of the IP header: `TTL`, `TOS`, `DSCP`; and `CHECKSUM`. Sources: xt_HL.c, xt_DSCP.c, xt_CHECKSUM.c."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from netlab.hooks import HookState
from netlab.iptables.extension import Action, Rules, Target, target
from netlab.iptables.option import Kind, Option, c_number, number
from netlab.names import NetlabError
from netlab.packet import Packet

HIGHEST_TTL: Final = 255
MANGLE: Final = frozenset({"mangle"})


@target
@dataclass(frozen=True)
class Ttl(Target):
    """`-j TTL --ttl-set 64`, `--ttl-inc 1`, `--ttl-dec 1`; below 0 and above 255 it stops."""

    name = "TTL"
    tables = MANGLE
    options = (
        Option(("--ttl-set",), "set", (number(8),)),
        Option(("--ttl-dec",), "dec", (number(8, 1),)),
        Option(("--ttl-inc",), "inc", (number(8, 1),)),
    )

    set: int | None = None
    dec: int | None = None
    inc: int | None = None

    def completed(self) -> None:
        """One thing to do.

        Raises:
            NetlabError: none, or several.
        """
        given = [option.names[0] for option in self.options if getattr(self, option.field) is not None]
        if not given:
            raise NetlabError("TTL: You must specify an action")
        if len(given) > 1:
            raise NetlabError(f'TTL: option "{given[1]}" cannot be used together with "{given[0]}"')

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`."""
        if self.set is not None:
            return f"TTL set to {self.set}"
        return f"TTL increment by {self.inc}" if self.inc else f"TTL decrement by {self.dec}"

    def bind(self, rules: Rules) -> Action:
        """Write it, and go on."""
        fixed, change = self.set, (self.inc or 0) - (self.dec or 0)
        if fixed is not None:
            return lambda packet, state: packet._replace(ttl=fixed)
        return lambda packet, state: packet._replace(ttl=min(max(packet.ttl + change, 0), HIGHEST_TTL))


class Xtos(NamedTuple):
    """How the TOS byte is changed: the bits of `mask` are cleared, then those of `value` turned over."""

    value: int
    mask: int

    def __str__(self) -> str:
        return f"{self.value:#04x}/{self.mask:#04x}"


TOS_NAMES: Final = {
    "Minimize-Delay": 0x10, "Maximize-Throughput": 0x08, "Maximize-Reliability": 0x04, "Minimize-Cost": 0x02,
    "Normal-Service": 0x00,
}  # fmt: skip
TOS_OF_NAME: Final = {name.lower(): value for name, value in TOS_NAMES.items()}
NAMED_BITS: Final = 0x3F  # a name says nothing of the bits of the old precedence


def parse_tos(text: str) -> Xtos:
    """A TOS value with or without mask, or its name, as the match `tos` takes it too.

    Raises:
        NetlabError: neither.
    """
    if text.lower() in TOS_OF_NAME:
        return Xtos(TOS_OF_NAME[text.lower()], NAMED_BITS)
    value, slash, bits = text.partition("/")
    numbers = c_number(value), c_number(bits) if slash else 0xFF
    if any(one is None or not 0 <= one <= 0xFF for one in numbers):
        raise NetlabError(f'Symbolic name "{text}" is unknown')
    return Xtos(numbers[0] or 0, numbers[1] or 0)


_BITS: Final = number(8)


@target
@dataclass(frozen=True)
class Tos(Target):
    """`-j TOS --set-tos 0x10`: the type of service, the byte that DSCP and ECN share today."""

    name = "TOS"
    tables = MANGLE
    options = (
        Option(("--set-tos",), "tos", (Kind(parse_tos),)),
        Option(("--and-tos",), "tos", (Kind(lambda text: Xtos(0, ~_BITS.parse(text) & 0xFF)),)),
        Option(("--or-tos",), "tos", (Kind(lambda text: Xtos(_BITS.parse(text), _BITS.parse(text))),)),
        Option(("--xor-tos",), "tos", (Kind(lambda text: Xtos(_BITS.parse(text), 0)),)),
    )

    tos: Xtos | None = None

    def completed(self) -> None:
        """There must be something to do.

        Raises:
            NetlabError: there is not.
        """
        if self.tos is None:
            raise NetlabError("TOS: An action is required")

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`; a blank that iptables puts in the wrong place stands there."""
        value, mask = tos = self.tos or Xtos(0, 0)
        if numeric:
            return f"TOS set {tos}"
        if mask == NAMED_BITS and value in TOS_NAMES.values():
            return f" TOS set{next(name for name, named in TOS_NAMES.items() if named == value)}"
        if not value:
            return f"TOS and {~mask & 0xFF:#04x}"
        if value == mask:
            return f"TOS or {value:#04x}"
        return f"TOS set {tos}" if mask else f"TOS xor {value:#04x}"

    def bind(self, rules: Rules) -> Action:
        """Write it, and go on."""
        value, mask = self.tos or Xtos(0, 0)
        return lambda packet, state: packet._replace(tos=packet.tos & ~mask ^ value)


DSCP_CLASSES: Final = {
    **{f"CS{number}": number << 3 for number in range(8)},
    "BE": 0,
    **{f"AF{kind}{drop}": kind << 3 | drop << 1 for kind in range(1, 5) for drop in range(1, 4)},
    "EF": 0x2E,
}
"""The classes of RFC 2474, RFC 2597 and RFC 3246 by name."""


def parse_dscp_class(text: str) -> int:
    """The code point of that class, as the match `dscp` takes it too.

    Raises:
        NetlabError: there is no such class.
    """
    if text.upper() not in DSCP_CLASSES:
        raise NetlabError(f"Invalid DSCP value `{text}'")
    return DSCP_CLASSES[text.upper()]


@target
@dataclass(frozen=True)
class Dscp(Target):
    """`-j DSCP --set-dscp 46` or `--set-dscp-class EF`: the upper six bits of the TOS byte (RFC 2474)."""

    name = "DSCP"
    tables = MANGLE
    options = (
        Option(("--set-dscp",), "dscp", (number(6, format="{:#04x}".format),)),
        Option(("--set-dscp-class",), "dscp", (Kind(parse_dscp_class),)),
    )

    dscp: int | None = None

    def completed(self) -> None:
        """There must be something to do.

        Raises:
            NetlabError: there is not.
        """
        if self.dscp is None:
            raise NetlabError("DSCP target: Parameter --set-dscp is required")

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`."""
        return f"DSCP set {self.dscp or 0:#04x}"

    def bind(self, rules: Rules) -> Action:
        """Write it, leave ECN's two bits, and go on."""
        bits = (self.dscp or 0) << 2
        return lambda packet, state: packet._replace(tos=packet.tos & 3 | bits)


@target
@dataclass(frozen=True)
class Checksum(Target):
    """`-j CHECKSUM --checksum-fill`: reckon a checksum that a network card would have been left to reckon.

    Here all are reckoned at once; but an error about what this host has just made quotes it with or without.
    """

    name = "CHECKSUM"
    tables = MANGLE
    options = (Option(("--checksum-fill",), "fill"),)

    fill: bool | None = None

    def completed(self) -> None:
        """It has one option, and needs it.

        Raises:
            NetlabError: it is not there.
        """
        if not self.fill:
            raise NetlabError('CHECKSUM: option "--checksum-fill" must be specified')

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`."""
        return "CHECKSUM fill"

    def bind(self, rules: Rules) -> Action:
        """What an error quotes from now on has its checksum."""

        def act(packet: Packet, state: HookState) -> None:
            state.skb.unsummed = False

        return act
