"""The words of a rule, each with its place in the text, so that an error can say where.

iptables-restore splits a line at blanks; quotation marks (") keep blanks together, and a backslash within them lets
the next character stand for itself. A word may begin without quotation marks, and ends with them.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from netlab.names import NetlabError


class Place(NamedTuple):
    """Where something stands in a text, both counted from 1."""

    line: int
    column: int


class RuleError(NetlabError):
    """Something that iptables or the kernel would refuse.

    Attributes:
        problem: what is wrong.
        place: where that stands, if it is part of a text.
        status: with which iptables would exit: 2 for what it cannot read, 1 for what is not there, 3 for a missing
            table, 4 for what the kernel refuses.
    """

    def __init__(self, problem: str, place: Place | None = None, status: int = 2) -> None:
        super().__init__(f"line {place.line}, column {place.column}: {problem}" if place else problem)
        self.problem = problem
        self.place = place
        self.status = status


class Word(NamedTuple):
    """One word of a rule, without its quotation marks; `quoted` if it had some."""

    text: str
    line: int = 1
    column: int = 1
    quoted: bool = False

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.line, self.column)

    def __str__(self) -> str:
        return self.text


_PLAIN = re.compile(r"[^ \t\n]+")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # ends a string in C; half of a character, and no letter in UTF-8


def check_letters(text: str, line: int = 1, column: int = 1) -> None:
    """Refuse what cannot stand in a line of a file; `line` and `column` say where the text begins.

    Raises:
        RuleError: such a character.
    """
    if found := _NO_TEXT.search(text):
        place = Place(line, column + found.start())
        raise RuleError(f"a character with the number {ord(found[0]):#x} stands in no text", place)


def split(text: str, line: int = 1, column: int = 1) -> Iterator[Word]:
    """The words of one line as iptables-restore splits it; `line` and `column` say where it begins.

    Raises:
        RuleError: quotation marks that do not end.
    """
    if '"' not in text:
        for found in _PLAIN.finditer(text):
            yield Word(found[0], line, column + found.start())
        return
    at, end = 0, len(text)
    while at < end:
        if text[at] in _BLANKS:
            at += 1
            continue
        start, letters, quoted, escaped = at, [], False, False
        while at < end and (quoted or text[at] not in _BLANKS):
            letter = text[at]
            at += 1
            if escaped or (quoted and letter not in '\\"'):
                letters.append(letter)
                escaped = False
            elif quoted and letter == "\\":
                escaped = True
            elif quoted:
                break  # a word ends with its quotation marks
            elif letter == '"':
                quoted = True
            else:
                letters.append(letter)
        else:
            if quoted:
                raise RuleError("quotation marks that do not end", Place(line, column + start))
        yield Word("".join(letters), line, column + start, quoted)


def quote(text: str) -> str:
    """A text as iptables-save writes it: between quotation marks unless it is all letters, digits, `_` and `-`."""
    if _HARMLESS.fullmatch(text):
        return text
    return '"' + _ESCAPED.sub(r"\\\g<0>", text) + '"'


_HARMLESS = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPED = re.compile(r"[\"'\\]")
_BLANKS = " \t\n"
