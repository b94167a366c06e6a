"""Random rules made from the options of every extension that is registered, and from words that people write.

An option is given words that its kinds can read, of all words in the recorded rules: a new extension, or a new option,
takes part without a line here.
"""

import shlex
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any, Final

from hypothesis import strategies as st

from netlab.iptables.base import Base
from netlab.iptables.extension import MATCHES, TARGETS, Extension
from netlab.iptables.option import Kind, Option, protocol_of
from netlab.iptables.parse import parse
from netlab.iptables.words import RuleError, Word
from netlab.names import NetlabError
from tests.iptables.corpus import recorded

WITH_PORTS: Final = ("tcp", "udp", "udplite", "sctp", "dccp")
TRIES: Final = 400


def randoms() -> st.SearchStrategy[Random]:
    """For tests with hypothesis."""
    return st.integers(0, 2**64).map(Random)


def random_rule(random: Random, extension: type[Extension] | None = None) -> str:
    """A rule, as iptables-save prints it, without -A: with that extension in it, or any."""
    for _ in range(TRIES):
        words = list(_rule(random, extension))
        try:
            (rule,) = parse([Word(text) for text in ("-A", "OWN", *words)]).rules
        except RuleError:
            continue
        return str(rule)
    raise AssertionError(f"no rule with {extension} in {TRIES} tries")


def _rule(random: Random, extension: type[Extension] | None) -> Iterator[str]:
    names = random.sample(sorted(MATCHES), random.choice((0, 0, 1, 1, 2)))
    target = random.choice((None, "ACCEPT", random.choice(sorted(TARGETS))))
    if extension is not None and extension.name in MATCHES and MATCHES[extension.name] is extension:
        names = [extension.name, *(name for name in names if name != extension.name)]
    elif extension is not None:
        target = extension.name
    random.shuffle(names)
    protocols = [MATCHES[name].protocols or frozenset() for name in names]
    wanted = [protocol_of(number) for several in protocols for number in several]
    if wanted:
        yield from ("-p", wanted[0])
    elif random.random() < 0.7:
        yield from ("-p", random.choice(WITH_PORTS))
    for option in Base.options:
        if option.field != "proto" and random.random() < 0.15:
            yield from _option(random, option)
    for name in names:
        yield from ("-m", name)
        yield from _options(random, MATCHES[name])
    if target is not None:
        yield from ("-j", target)
        yield from _options(random, TARGETS[target])


def _options(random: Random, extension: type[Extension]) -> Iterator[str]:
    given: set[str] = set()
    options = [
        option for option in extension.options if all(map(_fitting, option.kinds))
    ]  # netlab refuses some for good
    few = random.choice((1, 1, 2, 3, len(options)))
    for option in random.sample(options, min(few, len(options))):
        if option.field not in given:
            given.add(option.field)
            yield from _option(random, option)


def _option(random: Random, option: Option) -> Iterator[str]:
    if option.negatable and random.random() < 0.25:
        yield "!"
    yield random.choice(option.names)
    for number, kind in enumerate(option.kinds):
        usual = _written_behind(option.names) if number == 0 else ()
        fitting = [word for word in usual if _fits(kind, word)] or _fitting(kind)
        yield random.choice(fitting if random.random() < 0.8 else _fitting(kind))


@cache
def _fitting(kind: Kind[Any]) -> list[str]:
    """All words that a kind can read."""
    return [word for word in _words() if _fits(kind, word)]


@cache
def _fits(kind: Kind[Any], word: str) -> bool:
    try:
        kind.parse(word)
    except NetlabError:
        return False
    return True


@cache
def _words() -> list[str]:
    """Every word of a rule that iptables took, once."""
    return sorted({word for rule in _taken() for word in rule if word and word.isascii()})


@cache
def _written_behind(names: tuple[str, ...]) -> tuple[str, ...]:
    """What stands behind an option in those rules."""
    return tuple(sorted({word for rule in _taken() for before, word in pairwise(rule) if before in names}))


@cache
def _taken() -> list[list[str]]:
    return [shlex.split(record["rule"]) for record in recorded("rules") if record["nft"]["status"] == 0]
