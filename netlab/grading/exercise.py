"""What an exercise is: a reference, probes to put to an answer, and answers known to be right or wrong.

The exercises themselves live beside their lab, in `labs/NN_topic/exercises.py`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any

from netlab.grading.shapes import Shape


class Kind(StrEnum):
    """What an exercise asks for."""

    PREDICT = "predict"
    READ = "read"
    WRITE = "write"
    CODE = "code"
    DEBUG = "debug"
    DESIGN = "design"


class Level(StrEnum):
    """Core exercises are the lab; stretch exercises are for whoever wants more."""

    CORE = "core"
    STRETCH = "stretch"


@dataclass(frozen=True)
class Probe:
    """One case put to an answer: in words, as inputs, and how much there is to read in it (smallest is
    shown).
    """

    words: str
    inputs: tuple[Any, ...] = ()
    size: int = 0

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Seen:
    """What one probe showed: plain facts to compare, and the packet's journey where there was one.

    A journey that is only needed for the one probe that is told may be a function that makes it.
    """

    facts: object
    trace: object = None

    def journey(self) -> object:
        """The packet's journey, or None."""
        return self.trace() if callable(self.trace) else self.trace


@dataclass(frozen=True)
class Story:
    """Something to read, with a packet's journey to look at."""

    text: str
    trace: object = None


@dataclass(frozen=True)
class Misconception:
    """A wrong idea that people really hold, and a hint of at most 160 words that never tells the answer."""

    id: str
    belief: str
    hint: str


@dataclass(frozen=True)
class Wrong:
    """A known wrong answer, and the id of the misconception that leads to it."""

    misconception: str
    answer: object


def tell_plainly(probe: Probe, want: Seen, got: Seen) -> str:
    """The difference that one probe showed, as a sentence that only reports."""
    return f"{probe}: this should be {in_words(want.facts)}. Your answer says {in_words(got.facts)}."


def in_words(facts: object) -> str:
    """Plain facts as a reader would write them: `PRE_ROUTING, LOCAL_IN` for a tuple of hooks."""
    if isinstance(facts, tuple | list):
        return ", ".join(map(in_words, facts)) or "nothing"
    if isinstance(facts, Mapping):
        return "; ".join(f"{in_words(key)}: {in_words(value)}" for key, value in facts.items())
    if isinstance(facts, bool):
        return "yes" if facts else "no"
    return str(facts)


@dataclass(frozen=True)
class Exercise:
    """One exercise and its judge.

    Args:
        id: lab and number, as in `01.2`.
        title: a few words for its heading.
        kind: what it asks for.
        level: core or stretch.
        points: what it is worth; 0 for practice.
        expects: the shape of an answer.
        reference: an answer that is right.
        probes: draws the cases to try, from seeded randomness.
        observe: what one probe shows under an answer. The learner's functions reach it already guarded.
        sibling: a similar case, worked through: offered after three failures.
        right: at least three right answers written differently.
        wrong: at least five wrong ones, each with its misconception.
        tell: says the difference between what a probe should show and what it showed.
        material: what the learner is given to read, where that differs from learner to learner.
        survivors: mutants of the reference that behave like it, each with the reason why.
    """

    id: str
    title: str
    kind: Kind
    level: Level
    points: int
    expects: Shape
    reference: object
    probes: Callable[[Random], Iterable[Probe]]
    observe: Callable[[Any, Probe], Seen]
    sibling: Callable[[], Story]
    right: tuple[object, ...]
    wrong: tuple[Wrong, ...]
    tell: Callable[[Probe, Seen, Seen], str] = tell_plainly
    material: object = None
    survivors: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d\d\.\d{1,2}", self.id):
            raise ValueError(f"an exercise's id looks like 03.2, not {self.id!r}")
        if self.points < 0:
            raise ValueError(f"exercise {self.id}: points can't be negative")

    @property
    def lab(self) -> str:
        """The two digits of its lab: `03` for `03.2`."""
        return self.id.partition(".")[0]

    @property
    def binding(self) -> str:
        """The name an answer cell binds: `answer_03_2`."""
        return "answer_" + self.id.replace(".", "_")

    @property
    def grade_id(self) -> str:
        """The answer cell's nbgrader id: `ex-03-2` (letters, digits, - and _ only)."""
        return "ex-" + self.id.replace(".", "-")


@dataclass(frozen=True)
class Varied:
    """An exercise that differs from learner to learner: `draw` makes one from the learner's own
    randomness.
    """

    id: str
    draw: Callable[[Random], Exercise]
