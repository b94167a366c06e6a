"""Rules, chains and tables: what iptables-save prints, as data.

ruleset -> table -> chain -> rule -> matches, target
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from html import escape
from typing import Final

from netlab.iptables.base import Base
from netlab.iptables.extension import Extension, Match, Target
from netlab.iptables.words import Place
from netlab.names import Hook, Priority, Verdict

# The chains that a table begins with, in the order in which iptables-save prints them; and the place of each on its
# hook. nat's chains that change the source come late, those that change the destination early.
TABLES: Final[Mapping[str, Mapping[Hook, int]]] = {
    "raw": {Hook.PRE_ROUTING: Priority.RAW, Hook.LOCAL_OUT: Priority.RAW},
    "mangle": dict.fromkeys(Hook, Priority.MANGLE),
    "nat": {
        Hook.PRE_ROUTING: Priority.NAT_DST,
        Hook.LOCAL_IN: Priority.NAT_SRC,
        Hook.LOCAL_OUT: Priority.NAT_DST,
        Hook.POST_ROUTING: Priority.NAT_SRC,
    },
    "filter": dict.fromkeys((Hook.LOCAL_IN, Hook.FORWARD, Hook.LOCAL_OUT), Priority.FILTER),
    "security": dict.fromkeys((Hook.LOCAL_IN, Hook.FORWARD, Hook.LOCAL_OUT), Priority.SECURITY),
}  # fmt: skip
HIGHEST_COUNT: Final = (1 << 64) - 1
LONGEST_CHAIN: Final = 28  # letters of a chain's name (XT_EXTENSION_MAXNAMELEN, less one)


@dataclass(slots=True)
class Counters:
    """How many packets, and bytes with the IP header, a rule has matched or a policy has decided.

    The kernel's have 64 bits, and begin at 0 again: they are `shown` so.
    """

    packets: int = 0
    bytes: int = 0

    def count(self, octets: int) -> None:
        """One more packet."""
        self.packets += 1
        self.bytes += octets

    @property
    def shown(self) -> tuple[int, int]:
        """Packets and bytes."""
        return self.packets & HIGHEST_COUNT, self.bytes & HIGHEST_COUNT

    def __str__(self) -> str:
        packets, octets = self.shown
        return f"[{packets}:{octets}]"


@dataclass(frozen=True)
class Jump:
    """`-j CHAIN`, or `-g CHAIN` (goto): who returns from a chain gone to lands behind the last jump."""

    chain: str
    goto: bool = False

    def __str__(self) -> str:
        return f"{'-g' if self.goto else '-j'} {self.chain}"


@dataclass(eq=False)
class Rule:
    """One rule. `matches` begins with what stands without `-m`; a rule without a target only counts.

    `place` is where it begins in the text that it was read from; `places` are those of its matches' names, and then of
    its target's.
    """

    matches: tuple[Match, ...] = (Base(),)
    target: Target | Jump | None = None
    counters: Counters = field(default_factory=Counters)
    place: Place | None = None
    places: tuple[Place | None, ...] = ()

    @property
    def target_place(self) -> Place | None:
        """Where its target stands in the text."""
        return self.places[-1] if self.places else self.place

    @property
    def base(self) -> Base:
        """What it asks without `-m`."""
        first = self.matches[0]
        assert isinstance(first, Base)
        return first

    def says(self, other: "Rule") -> bool:
        """Whether both are the same but for their counters, as `-C` and `-D` compare."""
        return (self.matches, self.target) == (other.matches, other.target)

    @property
    def needs_conntrack(self) -> bool:
        """Whether connections are tracked for its sake."""
        extensions = *self.matches, self.target
        return any(one.needs_conntrack for one in extensions if isinstance(one, Extension))

    @property
    def sets(self) -> tuple[str, ...]:
        """The names of the ipsets that it asks or writes into."""
        extensions = *self.matches, self.target
        return tuple(name for one in extensions if isinstance(one, Extension) for name in one.sets)

    def __str__(self) -> str:
        """As iptables-save prints it behind `-A CHAIN`."""
        parts = [*map(str, self.matches), *([str(self.target)] if self.target else [])]
        return " ".join(part for part in parts if part)

    def __repr__(self) -> str:
        return f"<Rule {self}>"

    def _repr_html_(self) -> str:
        return f"<code>{escape(str(self))}</code>"


@dataclass(eq=False)
class Chain:
    """A list of rules. `hook` and `policy` are those of a chain that a table begins with; a user's chain has none.

    `hooked`: it hangs on its hook. iptables-nft hangs a chain there when somebody names it first.
    `counted`: its policy counts. In iptables-nft one does once a line `:NAME`, -P or -Z has named the chain, and not
    where it is there only since it got a rule.
    """

    name: str
    hook: Hook | None = None
    policy: Verdict | None = None
    hooked: bool = False
    counted: bool = False
    counters: Counters = field(default_factory=Counters)
    rules: list[Rule] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(
            [
                f":{self.name} {'-' if self.policy is None else self.policy} {self.counters}",
                *(f"-A {self.name} {rule}".rstrip() for rule in self.rules),
            ]
        )

    def __repr__(self) -> str:
        return f"<Chain {self.name}: {len(self.rules)} rules>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


@dataclass(eq=False)
class Table:
    """Chains by name: first those on hooks, in TABLES' order, then the users'."""

    name: str
    chains: dict[str, Chain] = field(default_factory=dict)

    @classmethod
    def empty(cls, name: str) -> "Table":
        """The table as it is before anybody writes a rule: all policies ACCEPT."""
        return cls(name, {hook.chain: Chain(hook.chain, hook, Verdict.ACCEPT) for hook in TABLES[name]})

    def references(self) -> Counter[str]:
        """How many rules jump or go to each chain."""
        return Counter(rule.target.chain for rule in self.rules() if isinstance(rule.target, Jump))

    def rules(self) -> Iterator[Rule]:
        """Every rule of every chain."""
        return (rule for chain in self.chains.values() for rule in chain.rules)

    def copied(self) -> "Table":
        """One whose chains can be changed while this one stays; the rules, with their counters, are shared."""
        chains = {}
        for name, chain in self.chains.items():
            chains[name] = copy(chain)
            chains[name].rules = list(chain.rules)
        return Table(self.name, chains)

    def __str__(self) -> str:
        chains = [str(chain).split("\n") for chain in self.chains.values()]
        heads, rules = [lines[0] for lines in chains], [rule for lines in chains for rule in lines[1:]]
        return "\n".join([f"*{self.name}", *heads, *rules, "COMMIT"])

    def __repr__(self) -> str:
        return f"<Table {self.name}: {', '.join(self.chains)}>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


@dataclass(eq=False)
class Ruleset:
    """All tables of a host that are in use, by name."""

    tables: dict[str, Table] = field(default_factory=dict)

    def table(self, name: str) -> Table:
        """That table, in use from now on."""
        if name not in self.tables:
            self.tables[name] = Table.empty(name)
        return self.tables[name]

    def copied(self) -> "Ruleset":
        """One that can be changed while this one stays."""
        return Ruleset({name: table.copied() for name, table in self.tables.items()})

    def __str__(self) -> str:
        return "\n".join(map(str, self.tables.values()))

    def __repr__(self) -> str:
        return f"<Ruleset of {', '.join(self.tables) or 'no tables'}>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self)) or 'no rules'}</pre>"
