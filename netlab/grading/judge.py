"""Judging an answer by its behaviour.

The same random probes go through the learner's answer and through the reference. The first difference,
smallest probe first, is the counterexample. Probes are drawn from the exercise's own seed, so that the same
answer always meets the same counterexample; a grader that gives marks passes a seed of its own.
"""

from collections.abc import Mapping, Sequence
from random import Random

from netlab.grading.exercise import Exercise, Misconception, Probe, Seen
from netlab.grading.misconceptions import diagnose
from netlab.grading.report import Result, Status
from netlab.grading.shapes import Blank, Misfit, PartMisfit
from netlab.grading.watch import Guard, Raised, TimeIsUp, time_limit

SECONDS = 10.0


def judge(
    exercise: Exercise,
    answer: object,
    catalogue: Mapping[str, Misconception],
    *,
    seed: str = "",
    seconds: float = SECONDS,
) -> Result:
    """What a learner's answer is worth, with the smallest counterexample if it isn't right.

    Args:
        exercise: what was asked.
        answer: what the learner bound.
        catalogue: the misconceptions that may be named, by id.
        seed: fresh probes for another seed; the same for the same one.
        seconds: how long the answer may run in all.
    """
    try:
        plain = exercise.expects.read(answer)
    except Blank as blank:
        where = "" if str(blank) == "it" else f" ({blank} is still ...)"
        return Result(exercise, Status.UNANSWERED, f"Replace the ... in the answer cell and run it{where}.")
    except Misfit as misfit:
        return Result(exercise, Status.UNREADABLE, unreadable(exercise, misfit))

    probes = draw_probes(exercise, seed)
    want = [exercise.observe(exercise.expects.read(exercise.reference), probe) for probe in probes]
    guarded = Guard(plain) if callable(plain) else plain
    got: list[Seen] = []
    try:
        with time_limit(seconds):
            for probe in probes:
                seen = observe(exercise, guarded, probe)
                if isinstance(seen, Result):
                    return seen
                got.append(seen)
    except TimeIsUp:
        probe = probes[len(got)] if len(got) < len(probes) else probes[-1]
        return Result(exercise, Status.SLOW, f"It was stopped after {seconds:g} seconds, at: {probe}.")
    return compare(exercise, probes, want, got, catalogue)


def unreadable(exercise: Exercise, misfit: Misfit) -> str:
    """What is wrong with the kind of answer. Where a part of it is, the shape of the whole is no help."""
    if isinstance(misfit, PartMisfit):
        return f"In your answer, {misfit}."
    return f"The answer should be {exercise.expects}: {misfit}."


def draw_probes(exercise: Exercise, seed: str) -> list[Probe]:
    """The exercise's probes, smallest first."""
    return sorted(exercise.probes(Random(f"{exercise.id}/{seed}")), key=lambda probe: probe.size)


def observe(exercise: Exercise, answer: object, probe: Probe) -> Seen | Result:
    """What one probe shows under an answer, or the result where the answer could not be run at all."""
    problem: Exception | None = None
    try:
        seen = exercise.observe(answer, probe)
    except (NotImplementedError, Raised, Blank, Misfit) as error:
        problem = error
    if isinstance(answer, Guard) and answer.error:
        problem = answer.error
    if isinstance(problem, NotImplementedError | Blank):
        return Result(exercise, Status.UNANSWERED, "Write the function in the answer cell and run it.")
    if isinstance(problem, Raised):
        return Result(exercise, Status.RAISED, f"{problem}, when it was given: {probe}.")
    if problem:
        return Result(exercise, Status.UNREADABLE, f"Given {probe}, its result can't be read: {problem}.")
    return seen


def compare(
    exercise: Exercise,
    probes: Sequence[Probe],
    want: Sequence[Seen],
    got: Sequence[Seen],
    catalogue: Mapping[str, Misconception],
) -> Result:
    """Right, or the first difference told as a story, and the misconception that explains all of them."""
    difference = next(
        (place for place in range(len(probes)) if want[place].facts != got[place].facts),
        None,
    )
    if difference is None:
        return Result(exercise, Status.RIGHT)
    beliefs = [(wrong, [seen_facts(exercise, wrong.answer, probe) for probe in probes]) for wrong in exercise.wrong]
    named = diagnose([seen.facts for seen in want], [seen.facts for seen in got], beliefs)
    return Result(
        exercise,
        Status.WRONG,
        exercise.tell(probes[difference], want[difference], got[difference]),
        got[difference].journey() or want[difference].journey(),
        catalogue[named] if named else None,
    )


def seen_facts(exercise: Exercise, answer: object, probe: Probe) -> object:
    """The facts of one probe under a known answer."""
    return exercise.observe(exercise.expects.read(answer), probe).facts
