"""TCP's and UDP's headers (xt_tcpudp.c).

iptables-nft asks for most of this in nftables' own instructions, which read just the bytes that they compare. The
module, which iptables-legacy always uses, wants the whole header, and drops a packet that is cut off in it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from socket import getservbyport
from typing import ClassVar, Final, Self

from netlab.hooks import HookState
from netlab.iptables.extension import HotDrop, Match, Rules, Test, match
from netlab.iptables.option import PORTS, Is, Kind, Option, Span, number
from netlab.names import NetlabError, Proto
from netlab.packet import OFFSET, Packet

EVERY_PORT: Final = Span(0, 0xFFFF)

Question = Callable[[bytes], bool]
"""Something to ask of a header."""


def _kept(ports: Is[Span] | None, native: bool) -> Is[Span] | None:
    """Nothing of all ports; of `! 0:1023` nftables keeps what it comes to, 1024:65535."""
    if ports is None or ports.value == EVERY_PORT:
        return None
    low, high = ports.value
    return Is(Span(high + 1, EVERY_PORT.high)) if native and ports.negated and not low and high else ports


@dataclass(frozen=True)
class HeaderMatch(Match):
    """What both protocols have. A range of all ports is the same as none, and iptables-save does not print it."""

    header: ClassVar[int]
    """The header's length in bytes."""

    sport: Is[Span] | None = None
    dport: Is[Span] | None = None

    def trimmed(self) -> Self:
        """As nftables keeps it, and iptables-save prints it: without the options that no packet could fail."""
        native = not self.only_module
        return replace(self, sport=_kept(self.sport, native), dport=_kept(self.dport, native))

    @property
    def only_module(self) -> bool:
        """Whether it asks for something that nftables has no instruction for."""
        return False

    @property
    def blank(self) -> bool:
        """Whether it asks for nothing but the header: the module does that for iptables-nft, too."""
        return self.trimmed() == type(self)() and not any(one and one.negated for one in (self.sport, self.dport))

    @property
    def vanishes(self) -> bool:
        """Whether iptables-nft makes nothing of it: `! --sport 0:65535`, which the module would never match."""
        return not self.blank and self.trimmed() == type(self)()

    @property
    def needs_module(self) -> bool:
        """Whether iptables-nft, too, leaves it to the module."""
        return self.blank or self.only_module

    @property
    def at_one_go(self) -> bool:
        """Whether iptables-nft compares both ports together: of `! --sport 1 ! --dport 80` it makes "not both"."""
        both = (self.sport, self.dport)
        return all(one and one.negated and 0 < one.value.low == one.value.high for one in both)

    def questions(self) -> Iterator[tuple[int, Question]]:
        """What to ask of a header, and how many of its bytes that takes."""
        for at, ports in ((0, self.sport), (2, self.dport)):
            if ports:
                yield at + 2, _asks_port(at, ports)

    def bind(self, rules: Rules) -> Test:
        """Only the first fragment has a header: the others do not match.

        Not so by nftables' instructions, which take for a header what stands in its place.
        """
        native = rules.variant == "nft" and not self.needs_module
        if native and self.vanishes:
            return lambda packet, state: True
        asked = list((self.trimmed() if native else self).questions())
        if native and self.at_one_go:
            asked = [(4, _not_both(asked[0][1], asked[1][1])), *asked[2:]]
        questions = [question for _, question in asked]
        needed = max(length for length, _ in asked) if native else self.header

        def test(packet: Packet, state: HookState) -> bool:
            if (offset := packet.frag & OFFSET) and not native:
                self.refuse_fragment(offset)
                return False
            header = packet.payload
            if len(header) < needed:
                if native:
                    return False
                raise HotDrop
            return all(question(header) for question in questions)

        return test

    def refuse_fragment(self, offset: int) -> None:
        """What the module has against a fragment that begins so many times 8 bytes behind the header: nothing."""

    def words(self) -> Iterator[str]:
        """Its options as iptables-save prints them."""
        trimmed = self.trimmed()
        return super().words() if trimmed == self else trimmed.words()

    def __str__(self) -> str:
        return "" if self.vanishes else super().__str__()

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it; `numeric` is its -n."""
        trimmed = self.trimmed()
        return " ".join(
            [
                self.name,
                *_listed("s", trimmed.sport, self.name, numeric),
                *_listed("d", trimmed.dport, self.name, numeric),
            ]
        )


def _asks_port(at: int, ports: Is[Span]) -> Question:
    (low, high), negated = ports
    return lambda header: (low <= (header[at] << 8 | header[at + 1]) <= high) is not negated


def _not_both(sport: Question, dport: Question) -> Question:
    """Of two questions that ask for another port each: whether one of them is answered with yes."""
    return lambda header: sport(header) or dport(header)


def _listed(side: str, ports: Is[Span] | None, protocol: str, numeric: bool) -> Iterator[str]:
    if ports:
        (low, high), negated = ports
        names = dict.fromkeys(port_name(port, protocol, numeric) for port in (low, high))
        yield f"{side}pt{'s' if low != high else ''}:{'!' if negated else ''}{':'.join(names)}"


def port_name(port: int, protocol: str, numeric: bool = False) -> str:
    """A port as `iptables -L` prints it: by the name of its service, if it has one and names are wanted."""
    try:
        return str(port) if numeric else getservbyport(port, protocol)
    except OSError:
        return str(port)


_SPORT: Final = Option(("--sport", "--source-port"), "sport", (PORTS,), negatable=True)
_DPORT: Final = Option(("--dport", "--destination-port"), "dport", (PORTS,), negatable=True)


@match
@dataclass(frozen=True)
class UdpMatch(HeaderMatch):
    """`-m udp --sport --dport`."""

    name = "udp"
    protocols = frozenset({Proto.UDP})
    options = (_SPORT, _DPORT)
    header = 8


# ---------------------------------------------------------------- TCP

FLAGS: Final = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32}
ALL_FLAGS: Final = 63
SYN_ALONE: Final = (FLAGS["FIN"] | FLAGS["SYN"] | FLAGS["RST"] | FLAGS["ACK"], FLAGS["SYN"])


def _flags(text: str) -> int:
    bits = 0
    for name in text.upper().split(","):
        if name not in FLAGS and name not in ("ALL", "NONE"):
            raise NetlabError(f"Unknown TCP flag {name!r}: there are {', '.join(FLAGS)}, ALL and NONE")
        bits |= ALL_FLAGS if name == "ALL" else FLAGS.get(name, 0)
    return bits


def flag_names(bits: int) -> str:
    """`SYN,ACK` for 18; `NONE` for 0."""
    return ",".join(name for name, bit in FLAGS.items() if bits & bit) or "NONE"


SOME_FLAGS: Final = Kind(_flags, flag_names)


@match
@dataclass(frozen=True)
class TcpMatch(HeaderMatch):
    """`-m tcp --sport --dport --tcp-option --tcp-flags --syn`.

    `flags` are those looked at and those of them that are set; an option is looked for by its number.
    """

    name = "tcp"
    protocols = frozenset({Proto.TCP})
    options = (
        _SPORT,
        _DPORT,
        Option(("--tcp-option",), "option", (number(8, low=1),), negatable=True),
        Option(("--tcp-flags",), "flags", (SOME_FLAGS, SOME_FLAGS), negatable=True),
        Option(("--syn",), "flags", negatable=True, value=SYN_ALONE),
    )
    header = 20

    option: Is[int] | None = None
    flags: Is[tuple[int, int]] | None = None

    def trimmed(self) -> Self:
        """Flags of which none is looked at are not kept either."""
        kept = self.flags and (self.flags.value[0] or (self.only_module and self.flags.negated))
        return replace(super().trimmed(), flags=self.flags if kept else None)

    @property
    def blank(self) -> bool:
        """Whether it asks for nothing but the header."""
        return super().blank and self.flags in (None, Is((0, 0)))

    @property
    def only_module(self) -> bool:
        """Options are looked for by the module alone."""
        return self.option is not None

    def questions(self) -> Iterator[tuple[int, Question]]:
        """What to ask of a header, and how many of its bytes that takes."""
        yield from super().questions()
        if self.flags:
            (looked_at, are_set), negated = self.flags
            yield 14, lambda header: (header[13] & looked_at == are_set) is not negated
        if self.option:
            kind, none = self.option
            yield self.header, lambda header: has_option(header, kind) is not none

    def refuse_fragment(self, offset: int) -> None:
        """One that begins behind 8 bytes would overwrite the flags that the first one showed (RFC 1858).

        Raises:
            HotDrop: it does.
        """
        if offset == 1:
            raise HotDrop

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        parts = [super().listed(numeric)]
        if self.option:
            parts.append(f"option={'!' if self.option.negated else ''}{self.option.value}")
        if flags := self.trimmed().flags:
            looked_at, are_set = (f"0x{bits:02X}" if numeric else flag_names(bits) for bits in flags.value)
            parts.append(f"flags:{'!' if flags.negated else ''}{looked_at}/{are_set}")
        return " ".join(parts)


def has_option(header: bytes, kind: int) -> bool:
    """Whether a TCP header has an option of that number.

    Raises:
        HotDrop: the header says that it is shorter than a header can be, or it is cut off.
    """
    length = (header[12] >> 4) * 4
    if not TcpMatch.header <= length <= len(header):
        raise HotDrop
    at = TcpMatch.header
    while at < length:
        if header[at] == kind:
            return True
        at += 1 if header[at] < 2 or at + 1 == length else header[at + 1] or 1
    return False
