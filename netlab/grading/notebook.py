"""The few words a learner's notebook uses: `check`, `case`, `progress`."""

import inspect

from netlab.grading import bank
from netlab.grading.judge import judge
from netlab.grading.report import Progress, Result, Status

PATIENCE = 3  # failures before a worked case is offered

# The latest result of each exercise and how often it failed, for this notebook's life only.
latest: dict[str, Result] = {}
failures: dict[str, int] = {}


def check(exercise: str, answer: object) -> Result:
    """Check an answer here and now: `check("01.2", answer_01_2)`.

    Immediate, and meant for learning: the answer runs in this very process. The notebook's LEARNER picks the
    variant.

    Args:
        exercise: the exercise's id, as in its heading.
        answer: what the answer cell bound: a value or a function.

    Raises:
        NetlabError: there is no such exercise.
    """
    subject = bank.find(exercise, learner_of_caller())
    result = judge(subject, answer, bank.misconceptions(bank.labs_folder()))
    if result.status in (Status.WRONG, Status.RAISED, Status.SLOW):
        failures[exercise] = failures.get(exercise, 0) + 1
        if failures[exercise] >= PATIENCE:
            result = result.with_sibling()
    latest[exercise] = result
    return result


def case(exercise: str) -> object:
    """What an exercise gives you to read: a capture, counters, a dump. Another learner's may differ.

    Raises:
        NetlabError: there is no such exercise.
    """
    return bank.find(exercise, learner_of_caller()).material


def progress(lab: str) -> Progress:
    """How far you are in a lab, by what was checked since this notebook was started: `progress("01")`.

    Raises:
        NetlabError: there is no such lab.
    """
    exercises = bank.exercises_of(lab, learner_of_caller())
    return Progress(lab, tuple((exercise, latest.get(exercise.id)) for exercise in exercises))


def learner_of_caller() -> str:
    """The LEARNER that the calling notebook set in its first cell; empty where it set none."""
    frame = inspect.currentframe()
    while frame and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return str(frame.f_globals.get("LEARNER", "")) if frame else ""
