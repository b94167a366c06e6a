"""Files of iptables-save, read as iptables-restore reads them: all of a file is taken, or nothing."""

import re
from collections.abc import Sequence
from typing import Final

from netlab.iptables.edit import EDITING, declare, edit
from netlab.iptables.extension import Variant
from netlab.iptables.model import TABLES, Counters, Ruleset, Table
from netlab.iptables.parse import parse
from netlab.iptables.words import Place, RuleError, Word, check_letters, split
from netlab.names import NetlabError

_COUNTERS: Final = re.compile(r"\[([0-9]{1,20}):([0-9]{1,20})\]")
_LONGEST_LINE: Final = 10_239  # bytes; iptables-restore takes what stands behind for another line
_MOST_WORDS: Final = 251  # of a rule; three of them are for its counters, where they count


def restore(
    text: str,
    into: Ruleset | None = None,
    *,
    noflush: bool = False,
    counters: bool = False,
    table: str | None = None,
    variant: Variant = "nft",
) -> Ruleset:
    """The rules that are in force when iptables-restore has read a text.

    Args:
        text: what iptables-save printed; within a table any command of iptables may stand, too.
        into: the rules in force before; they are not changed.
        noflush: keep what the tables have (`-n`); otherwise each table in the text replaces the one in force.
        counters: take the counters in the text for those of policies and rules (`-c`).
        table: read this table alone (`-T`).
        variant: which iptables reads it; with iptables-legacy every table named is in use, a chain that the text does
            not name keeps its policy, and no line `:NAME` may begin a chain twice.

    Raises:
        RuleError: what is wrong with the text, with its line and column. What only the kernel refuses, `check` finds.
        NetlabError: it is no text.
    """
    if not isinstance(text, str):
        raise NetlabError(f"rules are text, as iptables-save prints it, and not {type(text).__name__}")
    ruleset = Ruleset(dict(into.tables)) if into else Ruleset()
    reader = _Reader(ruleset, noflush, counters, table, variant)
    lines = text.removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        if line and line[0] != "#":
            check_letters(line, number)
            if len(line) > _LONGEST_LINE // 4 and len(line.encode()) > _LONGEST_LINE:
                raise RuleError(f"a line has at most {_LONGEST_LINE} bytes", Place(number, _LONGEST_LINE + 1))
            reader.line(line, number)
    reader.end(len(lines) + 1)
    return ruleset


class _Reader:
    """Goes through a file line by line; `table` is the one between its `*` and COMMIT."""

    def __init__(self, ruleset: Ruleset, noflush: bool, counters: bool, only: str | None, variant: Variant) -> None:
        self.ruleset = ruleset
        self.noflush = noflush
        self.counters = counters
        self.only = only
        self.variant = variant
        self.table: Table | None = None
        self.known = False

    def line(self, line: str, number: int) -> None:
        if line[-1] == "\r":
            raise RuleError("a carriage return at the end of the line", Place(number, len(line)))
        if self.table is None:
            if line[0] != "*":
                raise RuleError("a table must begin first, with *NAME", Place(number, 1), status=1)
            self._begin(line, number)
        elif line == "COMMIT":
            self._commit()
        elif self.only not in (None, self.table.name):
            return
        elif line[0] == ":":
            self._declare(self.table, line, number)
        else:
            self._command(self.table, line, number)

    def end(self, number: int) -> None:
        if self.table is not None:
            raise RuleError("COMMIT expected", Place(number, 1), status=1)

    def _begin(self, line: str, number: int) -> None:
        words = list(split(line[1:], number, 2))
        if not words:
            raise RuleError("table name invalid", Place(number, 1))
        name = words[0].text
        if name not in TABLES:
            raise RuleError(f"table name '{name}' invalid", words[0].place)
        before = self.ruleset.tables.get(name)
        self.known = before is not None and self.noflush
        self.table = before.copied() if before is not None and self.noflush else Table.empty(name)
        if before is not None and self.variant == "legacy":
            for chain in self.table.chains.values():
                chain.policy = before.chains[chain.name].policy

    def _commit(self) -> None:
        table, self.table = self.table, None
        if table is None or self.only not in (None, table.name):
            return
        if self.known or self.variant == "legacy" or in_use(table):
            self.ruleset.tables[table.name] = table
        else:
            self.ruleset.tables.pop(table.name, None)

    def _declare(self, table: Table, line: str, number: int) -> None:
        words = list(split(line[1:], number, 2))
        if not words:
            raise RuleError("chain name invalid", Place(number, 1))
        if len(words) == 1:
            raise RuleError("policy invalid", words[0].place)
        name, policy = words[0].text, words[1].text
        counted = Counters()
        if self.counters:
            found = _COUNTERS.match(words[2].text) if len(words) > 2 else None
            needed = policy != "-" or self.variant == "nft"
            if not found and needed and name in {hook.chain for hook in TABLES[table.name]}:
                raise RuleError(f"invalid policy counters for chain '{name}'", words[-1].place)
            counted = Counters(int(found[1]), int(found[2])) if found else counted
        declare(table, name, policy, counted, words[0].place, noflush=self.noflush, variant=self.variant)

    def _command(self, table: Table, line: str, number: int) -> None:
        counted: Sequence[Word] = ()
        at = 0
        if line[0] == "[":
            found = _COUNTERS.match(line)
            if not found:
                raise RuleError("the counters of a rule are [packets:bytes]", Place(number, 1))
            at = found.end()
            counted = [Word(text, number) for text in ("-c", found[1], found[2])] if self.counters else ()
        words = list(split(line[at:], number, at + 1))
        if not words:
            raise RuleError("no command specified", Place(number, 1))
        if len(words) + len(counted) > _MOST_WORDS:
            raise RuleError("Parser cannot handle more arguments", words[_MOST_WORDS - len(counted)].place)
        call = parse([*words, *counted])
        if call.table is not None:
            raise RuleError("The -t option cannot be used in iptables-restore.", call.place)
        if "wait" in call.flags:
            raise RuleError("You cannot use `-w' from iptables-restore", call.place)
        if call.command == "help":
            raise RuleError("help is no rule", words[0].place)
        if call.command in EDITING:
            edit(table, call, self.variant)


def in_use(table: Table) -> bool:
    """Whether there is anything in a table: a chain on its hook, or a user's chain."""
    return any(chain.hook is None or chain.hooked for chain in table.chains.values())
