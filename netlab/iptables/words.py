"""The words of a rule, each with its place in the text, so that an error can say where.

iptables-restore splits a line at blanks; quotation marks keep blanks together, and a backslash within them lets the
next character stand for itself.
"""

from collections.abc import Iterator
from typing import NamedTuple

from netlab.names import NetlabError


class Place(NamedTuple):
    """Where something stands in a text, both counted from 1."""

    line: int
    column: int


class RuleError(NetlabError):
    """Something that iptables or the kernel would refuse; `place` says where it stands, if it is part of a text."""

    def __init__(self, problem: str, place: Place | None = None) -> None:
        super().__init__(f"line {place.line}, column {place.column}: {problem}" if place else problem)
        self.problem = problem
        self.place = place


class Word(NamedTuple):
    """One word of a rule, without its quotation marks; `quoted` if it had some."""

    text: str
    place: Place
    quoted: bool = False

    def __str__(self) -> str:
        return self.text


def split(text: str, line: int = 1, column: int = 1) -> Iterator[Word]:
    """The words of one line; `line` and `column` say where it begins.

    Raises:
        RuleError: quotation marks that do not end.
    """
    at, end = 0, len(text)
    while at < end:
        if text[at].isspace():
            at += 1
            continue
        start, letters, mark, quoted = at, [], "", False
        while at < end and (mark or not text[at].isspace()):
            letter = text[at]
            if mark and letter == "\\" and at + 1 < end:
                at += 1
                letters.append(text[at])
            elif letter == mark:
                mark = ""
            elif not mark and letter in "\"'":
                mark, quoted = letter, True
            else:
                letters.append(letter)
            at += 1
        place = Place(line, column + start)
        if mark:
            raise RuleError(f"the quotation mark {mark} has no second one", place)
        yield Word("".join(letters), place, quoted)


def quote(text: str) -> str:
    """A word as iptables-save writes it: between quotation marks where it would not come back the same without."""
    plain = text and not any(letter.isspace() or letter in "\"'\\" for letter in text)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("'", "\\'")
    return text if plain else f'"{escaped}"'
