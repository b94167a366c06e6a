"""What a command line of iptables can say, as data, and which command takes what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from netlab.iptables.extension import Extension
from netlab.iptables.model import LONGEST_CHAIN, Rule
from netlab.iptables.words import Place, RuleError

START: Final = Place(1, 1)

COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "append": ("-A", "--append"),
    "delete": ("-D", "--delete"),
    "check": ("-C", "--check"),
    "insert": ("-I", "--insert"),
    "replace": ("-R", "--replace"),
    "list": ("-L", "--list"),
    "list-rules": ("-S", "--list-rules"),
    "flush": ("-F", "--flush"),
    "zero": ("-Z", "--zero"),
    "new-chain": ("-N", "--new-chain"),
    "delete-chain": ("-X", "--delete-chain"),
    "rename-chain": ("-E", "--rename-chain"),
    "policy": ("-P", "--policy"),
    "version": ("-V", "--version"),
}
FLAGS: Final[Mapping[str, tuple[str, ...]]] = {
    "numeric": ("-n", "--numeric"),
    "verbose": ("-v", "--verbose"),
    "exact": ("-x", "--exact"),
    "line-numbers": ("--line-numbers",),
    "ipv4": ("-4", "--ipv4"),
    "ipv6": ("-6", "--ipv6"),
    "help": ("-h", "--help"),
}
OTHERS: Final[Mapping[str, tuple[str, ...]]] = {
    "table": ("-t", "--table"),
    "match": ("-m", "--match"),
    "jump": ("-j", "--jump"),
    "goto": ("-g", "--goto"),
    "set-counters": ("-c", "--set-counters"),
    "wait": ("-w", "--wait"),
    "wait-interval": ("-W", "--wait-interval"),
    "modprobe": ("-M", "--modprobe"),
}
"""What is no command and asks nothing of a packet; only `-w` may stand without its value."""

NAMES: Final[dict[str, str]] = {
    spelling: name for group in (COMMANDS, FLAGS, OTHERS) for name, spellings in group.items() for spelling in spellings
}
"""All of these by their spellings."""

WITH_RULE: Final = frozenset({"append", "delete", "check", "insert", "replace"})
WITH_CHAIN: Final = WITH_RULE | {"new-chain", "rename-chain", "policy"}
"""The commands that need a chain; the others may have one."""

WITH_NUMBER: Final = frozenset({"delete", "insert", "replace", "list", "list-rules", "zero"})
LISTS: Final = frozenset({"list", "list-rules"})

LETTERS: Final = {
    "source": "s", "destination": "d", "proto": "p", "dev_in": "i", "dev_out": "o", "fragment": "f", "jump": "j",
    "set-counters": "c", "numeric": "n", "exact": "x", "line-numbers": "0",
}  # fmt: skip
"""Options that not every command takes, by what they are called in iptables' messages."""

_COLUMNS: Final = frozenset({"numeric", "exact", "line-numbers"})
_NO_WAY: Final = {"PREROUTING": "dev_out", "INPUT": "dev_out", "OUTPUT": "dev_in", "POSTROUTING": "dev_in"}


@dataclass
class Call:
    """A command line, read.

    Attributes:
        command: its long name, `append` for -A; `help` for -h; `""` for a line that is IPv6's alone, which
            iptables-restore skips.
        chain: the one that is meant; None for all.
        number: of a rule, from 1.
        name: the new name of a chain, or a policy.
        rules: one for each pair of a source and a destination address.
        zero: counters are to be zeroed, too (`-L -Z`).
        loaded: the extensions named in front of -h.
        flags: of `numeric`, `verbose`, `exact`, `line-numbers`, `ipv4`, `ipv6`, `wait`, `wait-interval`.
    """

    command: str = ""
    chain: str | None = None
    number: int | None = None
    name: str | None = None
    table: str | None = None
    rules: list[Rule] = field(default_factory=list)
    loaded: tuple[type[Extension], ...] = ()
    zero: bool = False
    flags: set[str] = field(default_factory=set)
    place: Place = START
    chain_place: Place | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more is read: help is asked for, or the rest of the line is for ip6tables."""
        return not self.flags.isdisjoint(("help", "ipv6"))

    def refuse(self, given: Mapping[str, Place]) -> None:
        """Refuse options that the command does not take, and names that no chain has.

        Args:
            given: the options by name, with their places.

        Raises:
            RuleError: what does not belong there.
        """
        no_way = _NO_WAY.get(self.chain or "", "")
        if self.command in WITH_RULE and no_way in given:
            raise RuleError(f"Can't use -{LETTERS[no_way]} with {self.chain}", given[no_way])
        for name, place in given.items():
            if name in LETTERS and not self._takes(name):
                raise RuleError(f"Illegal option `-{LETTERS[name]}' with this command", place)
        if self.chain is not None and len(self.chain) > LONGEST_CHAIN:
            limit = LONGEST_CHAIN + 1
            raise RuleError(f"chain name `{self.chain}' too long (must be under {limit} chars)", self.chain_place)

    def _takes(self, option: str) -> bool:
        if option in _COLUMNS:
            return self.command == "list"
        if self.command in WITH_RULE:
            return not (self.command == "delete" and self.number)
        return self.command == "policy" and option == "set-counters"
