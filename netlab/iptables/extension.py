"""What matches and targets have in common.

A match or a target is two things. What a rule says, `-m tcp --dport 80`, is a frozen dataclass: it can be compared and
printed, and knows nothing of any host. What it does with a packet is a function that `bind` makes of it for one host;
whatever a rule remembers from packet to packet (the tokens of `limit`, the turn of `statistic`) lives in there, so it
starts anew whenever the rules are loaded.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from netlab.conntrack.track import Conntrack
from netlab.hooks import HookState
from netlab.iptables.option import Option
from netlab.machine import Machine
from netlab.names import Hook, Verdict
from netlab.nat.nat import Nat
from netlab.packet import Packet

if TYPE_CHECKING:
    from netlab.iptables.matches.hashlimit import HashLimits
    from netlab.iptables.matches.recent import RecentTables
    from netlab.iptables.sets import Sets


class HotDrop(Exception):
    """A match has seen a packet so broken that it is dropped at once, whatever the rule says (`par->hotdrop`)."""


Variant = Literal["nft", "legacy"]
"""Which of the two iptables wrote the rules: they differ in what becomes of broken packets, and in small things."""


class Rules(Protocol):
    """What the rules of one host share, as far as extensions need it."""

    host: Machine
    variant: Variant
    sets: "Sets"
    recent: "RecentTables"
    hashlimits: "HashLimits"
    random: Random

    def tracker(self) -> Conntrack:
        """The host's connection tracking, switched on if it was not."""
        ...

    def nat(self) -> Nat:
        """The host's address translation."""
        ...


Test = Callable[[Packet, HookState], bool]
"""Whether a packet is meant; may raise HotDrop."""

Action = Callable[[Packet, HookState], Packet | Verdict | int | None]
"""What a target does: a verdict ends the walk over the table; None goes on with the next rule (XT_CONTINUE), as does a
packet, which is the one that goes on."""


class Use(NamedTuple):
    """Where a rule stands, for extensions that are not allowed everywhere.

    Attributes:
        table: by name.
        hooks: those that lead to its chain, as far as the kernel asks about them.
        protocol: the number that -p asks for; 0 for any, and where it is negated.
        variant: which iptables wrote the rule.
        matches: all that the rule asks.
    """

    table: str
    hooks: frozenset[Hook]
    protocol: int
    variant: Variant = "nft"
    matches: tuple["Match", ...] = ()


@dataclass(frozen=True)
class Extension:
    """A match or a target as a rule has it: its fields hold what its options say, None where one is not given."""

    name: ClassVar[str]
    options: ClassVar[tuple[Option, ...]] = ()
    tables: ClassVar[frozenset[str] | None] = None  # None: all
    hooks: ClassVar[frozenset[Hook] | None] = None  # None: all

    @property
    def needs_conntrack(self) -> bool:
        """Whether connections are tracked for its sake."""
        return False

    @property
    def sets(self) -> tuple[str, ...]:
        """The names of the ipsets that it asks or writes into."""
        return ()

    def check(self, use: Use) -> None:
        """Refuse what the kernel would (`checkentry` in net/netfilter), beyond `tables` and `hooks`.

        Raises:
            NetlabError: it may not be used so.
        """

    def completed(self) -> None:
        """Refuse what iptables would when all options have been read (`x6_fcheck`): one missing, two at odds.

        Raises:
            NetlabError: what is missing or at odds.
        """

    def words(self) -> Iterator[str]:
        """Its options as iptables-save prints them, without its name."""
        said: set[str] = set()
        for option in self.options:
            given = getattr(self, option.field)
            if given is None or option.field in said:
                continue
            value, negated = given if option.negatable else (given, False)
            if not option.kinds and value != option.value:
                continue
            said.add(option.field)
            if negated:
                yield "!"
            yield option.names[0]
            values = value if len(option.kinds) > 1 else (value,)
            for kind, one in zip(option.kinds, values, strict=False):
                yield kind.format(one)

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it; `numeric` is its -n."""
        return " ".join([self.name, *self.words()])

    @classmethod
    def known_fields(cls) -> frozenset[str]:
        """The names of the fields that options fill."""
        return frozenset(field.name for field in fields(cls))


@dataclass(frozen=True)
class Match(Extension):
    """What a rule asks of a packet: `-m name ...`."""

    protocols: ClassVar[frozenset[int] | None] = None
    """The protocols of which one must stand behind -p, without a `!`; such a match is loaded by `-p` alone, too."""

    @property
    def asks(self) -> bool:
        """Whether there is anything to ask of a packet."""
        return True

    @property
    def needs_module(self) -> bool:
        """Whether iptables-nft, too, leaves it to the kernel's module, and does not say it in nftables' own words."""
        return True

    def bind(self, rules: Rules) -> Test:
        """The function that answers for one host."""
        raise NotImplementedError

    def __str__(self) -> str:
        return " ".join(["-m", self.name, *self.words()])


@dataclass(frozen=True)
class Target(Extension):
    """What a rule does with a packet that all its matches mean: `-j NAME ...`."""

    def bind(self, rules: Rules) -> Action:
        """The function that does it on one host."""
        raise NotImplementedError

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it behind the matches: nothing if its name says all."""
        return super().listed(numeric) if any(True for _ in self.words()) else ""

    def __str__(self) -> str:
        return " ".join(["-j", self.name, *self.words()])


MATCHES: dict[str, type[Match]] = {}
TARGETS: dict[str, type[Target]] = {}


def match(extension: type[Match]) -> type[Match]:
    """Make a match known by its name."""
    MATCHES[extension.name] = extension
    return extension


def target(extension: type[Target]) -> type[Target]:
    """Make a target known by its name."""
    TARGETS[extension.name] = extension
    return extension


def given(extension: Extension) -> dict[str, Any]:
    """The fields of an extension that an option has filled."""
    return {name: value for name in extension.known_fields() if (value := getattr(extension, name)) is not None}
