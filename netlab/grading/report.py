"""What a check says: right, or the smallest difference as a packet's journey, with a hint where one fits."""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from html import escape

from netlab.grading.exercise import Exercise, Misconception, Story
from netlab.grading.sheet import Sheet
from netlab.names import NetlabError


class Status(StrEnum):
    """How an answer fared."""

    RIGHT = "right"
    WRONG = "wrong"
    UNANSWERED = "not answered yet"
    UNREADABLE = "not readable"
    RAISED = "raised an error"
    SLOW = "too slow"


HEADINGS = {
    Status.RIGHT: "✔ Right",
    Status.WRONG: "✘ Not yet",
    Status.UNANSWERED: "… Not answered yet",
    Status.UNREADABLE: "? Not something that can be checked",
    Status.RAISED: "! Your answer raised an error",
    Status.SLOW: "! Your answer did not come to an end",
}


class NotRight(NetlabError):
    """An answer that had to be right wasn't; the message is the result's."""


@dataclass(frozen=True)
class Result:
    """What became of one answer. Shows itself in a notebook and in a terminal."""

    exercise: Exercise
    status: Status
    message: str = ""
    trace: object = None
    misconception: Misconception | None = None
    sibling: Story | None = None

    @property
    def right(self) -> bool:
        """Whether the answer behaves like the reference."""
        return self.status is Status.RIGHT

    @property
    def points(self) -> int:
        """The points it is worth as it stands."""
        return self.exercise.points if self.right else 0

    @property
    def heading(self) -> str:
        """One line: the verdict, the exercise, the points."""
        worth = self.exercise.points
        marks = f" ({self.points} of {worth} point{'s' if worth > 1 else ''})" if worth else ""
        return f"{HEADINGS[self.status]}: exercise {self.exercise.id}, {self.exercise.title}{marks}"

    def with_sibling(self) -> "Result":
        """The same result with a worked, similar case added."""
        return replace(self, sibling=self.exercise.sibling())

    def must_be_right(self) -> None:
        """Do nothing for a right answer: the form in which nbgrader gives marks.

        Raises:
            NotRight: the answer isn't right.
        """
        if not self.right:
            raise NotRight(f"{self.heading}. {self.message}".rstrip())

    def row(self, student: str) -> dict[str, object]:
        """The result as a row of `grades.csv`."""
        return {
            "student": student,
            "lab": self.exercise.lab,
            "exercise": self.exercise.id,
            "points": self.points,
            "max_points": self.exercise.points,
            "status": self.status.value,
            "misconception": self.misconception.id if self.misconception else "",
            "message": self.message,
        }

    def __str__(self) -> str:
        parts = [self.heading, self.message]
        if self.trace is not None:
            parts.append(str(self.trace))
        if self.misconception:
            parts.append(f"Hint: {self.misconception.hint}")
        if self.sibling:
            parts.append(f"A similar case, worked through: {self.sibling.text}")
            if self.sibling.trace is not None:
                parts.append(str(self.sibling.trace))
        return "\n\n".join(part for part in parts if part)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = [f"<p><strong>{escape(self.heading)}</strong></p>"]
        if self.message:
            parts.append(f"<p>{prose(self.message)}</p>")
        parts.append(show(self.trace))
        if self.misconception:
            parts.append(f"<p><strong>Hint.</strong> {prose(self.misconception.hint)}</p>")
        if self.sibling:
            parts.append(
                "<details><summary>A similar case, worked through</summary>"
                f"<p>{prose(self.sibling.text)}</p>{show(self.sibling.trace)}</details>"
            )
        label = escape(f"Result of exercise {self.exercise.id}", quote=True)
        return (
            f'<section aria-label="{label}" style="border-left: 0.3em solid currentColor; padding-left: 1em">'
            f"{''.join(parts)}</section>"
        )


def prose(text: str) -> str:
    """A text as HTML, with what stands between backquotes as code and a word between asterisks as emphasis."""
    return re.sub(r"\*(\w+)\*", r"<em>\1</em>", re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text)))


def show(trace: object) -> str:
    """A trace (or anything that shows itself) as HTML; nothing for None."""
    if trace is None:
        return ""
    rich = getattr(trace, "_repr_html_", None)
    return rich() if rich else f"<pre>{escape(str(trace))}</pre>"


@dataclass(frozen=True)
class Progress:
    """How far a learner is in a lab: every exercise with its latest result. Shows itself like a result."""

    lab: str
    rows: tuple[tuple[Exercise, Result | None], ...]

    @property
    def points(self) -> int:
        """Points reached so far."""
        return sum(result.points for _, result in self.rows if result)

    @property
    def summary(self) -> str:
        """One line: points, and how many exercises are right."""
        right = sum(bool(result and result.right) for _, result in self.rows)
        total = sum(exercise.points for exercise, _ in self.rows)
        points = f"{self.points} of {total} points" if total else "ungraded"
        return f"Lab {self.lab}: {right} of {len(self.rows)} exercises right, {points}"

    @property
    def sheet(self) -> Sheet:
        """The summary with a row for each exercise."""
        rows = [
            (
                f"{exercise.id} {exercise.title}",
                exercise.level.value,
                f"{result.points if result else 0} of {exercise.points}" if exercise.points else "practice",
                status_of(result),
            )
            for exercise, result in self.rows
        ]
        return Sheet(self.summary, ("exercise", "level", "points", "status"), rows)

    def __str__(self) -> str:
        return str(self.sheet)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.sheet._repr_html_()


def status_of(result: Result | None) -> str:
    """The status of a latest result, where there is one."""
    return result.status.value if result else "not checked yet"
