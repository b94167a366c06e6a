"""Every exercise of every lab, held to what an exercise promises: a new lab needs no test of its own."""

import re

import pytest

from netlab.grading import bank
from netlab.grading.exercise import Exercise, Level
from netlab.grading.judge import draw_probes, judge
from netlab.grading.mutants import mutants
from netlab.grading.report import Status

LEARNERS = ("", "Ada", "Grace")  # fixed exercises are the same for all of them
CATALOGUE = bank.misconceptions(bank.labs_folder())
LABS = sorted(folder.name[:2] for folder in bank.labs_folder().glob("[0-9][0-9]_*/"))


def every() -> list[object]:
    """Each exercise once, and the ones with variants once for every learner."""
    cases = {}
    for lab in LABS:
        for entry in bank.exercises_in(bank.lab_folder(lab)):
            who = LEARNERS[:1] if isinstance(entry, Exercise) else LEARNERS
            cases |= {f"{entry.id}-{name or 'nobody'}": bank.for_learner(entry, name) for name in who}
    return [pytest.param(exercise, id=name) for name, exercise in cases.items()]


@pytest.fixture(params=every())
def exercise(request: pytest.FixtureRequest) -> Exercise:
    subject: Exercise = request.param
    return subject


def test_the_reference_is_right(exercise: Exercise) -> None:
    assert judge(exercise, exercise.reference, CATALOGUE).status is Status.RIGHT


def test_right_answers_written_differently_get_full_marks(exercise: Exercise) -> None:
    assert len(exercise.right) >= 3
    for place, answer in enumerate(exercise.right):
        result = judge(exercise, answer, CATALOGUE)
        assert result.right, f"right answer {place}: {result}"
        assert result.points == exercise.points


def test_known_wrong_answers_get_their_own_hint(exercise: Exercise) -> None:
    assert len(exercise.wrong) >= 5
    for wrong in exercise.wrong:
        result = judge(exercise, wrong.answer, CATALOGUE)
        assert result.status is Status.WRONG, f"{wrong}: {result}"
        assert result.points == 0
        assert result.misconception is not None, f"{wrong} gets no hint: {result}"
        assert result.misconception.id == wrong.misconception, f"{wrong}: {result}"


def test_a_counterexample_is_told_with_a_journey(exercise: Exercise) -> None:
    for wrong in exercise.wrong:
        result = judge(exercise, wrong.answer, CATALOGUE)
        assert result.message
        assert result.trace is not None
        assert str(result.trace)


def test_the_same_answer_meets_the_same_counterexample(exercise: Exercise) -> None:
    for wrong in exercise.wrong:
        first, second = (judge(exercise, wrong.answer, CATALOGUE) for _ in range(2))
        assert str(first) == str(second)


def test_fresh_probes_judge_alike(exercise: Exercise) -> None:
    for seed in ("one", "two"):
        assert judge(exercise, exercise.reference, CATALOGUE, seed=seed).right
        for wrong in exercise.wrong:
            assert not judge(exercise, wrong.answer, CATALOGUE, seed=seed).right


def test_mutants_are_killed(exercise: Exercise) -> None:
    made = mutants(exercise.reference)
    alive = {mutant.name for mutant in made if judge(exercise, mutant.answer, CATALOGUE, seconds=2).right}
    assert alive == set(exercise.survivors), "survivors need a reason in `survivors`, the killed need none"
    assert len(alive) <= 0.05 * len(made), f"{len(alive)} of {len(made)} mutants survive"


def test_an_untouched_answer_is_not_wrong_but_unanswered(exercise: Exercise) -> None:
    assert judge(exercise, ..., CATALOGUE).status is Status.UNANSWERED


@pytest.mark.parametrize("nonsense", [object(), 3.5, {1: 2}, {"a", "b"}, b"bytes"], ids=repr)
def test_nonsense_gets_a_sentence(exercise: Exercise, nonsense: object) -> None:
    result = judge(exercise, nonsense, CATALOGUE)
    assert result.status is Status.UNREADABLE
    assert result.message.endswith(".")
    assert "Traceback" not in str(result)


def test_the_sibling_is_another_case_with_something_to_read(exercise: Exercise) -> None:
    story = exercise.sibling()
    assert story.text
    assert story.trace is not None
    words = [str(probe) for probe in draw_probes(exercise, "")]
    assert story.text not in words


def test_results_show_themselves(exercise: Exercise) -> None:
    for answer in (exercise.reference, exercise.wrong[0].answer, ...):
        result = judge(exercise, answer, CATALOGUE).with_sibling()
        html = result._repr_html_()
        assert exercise.id in str(result)
        assert exercise.id in html
        assert html.count("<section") == html.count("</section>") == 1


VARIED = [entry for lab in LABS for entry in bank.exercises_in(bank.lab_folder(lab)) if not isinstance(entry, Exercise)]


@pytest.mark.parametrize("varied", VARIED, ids=[entry.id for entry in VARIED])
def test_every_variant_tells_wrong_ideas_apart(varied) -> None:
    variants = [bank.for_learner(varied, f"learner {number}") for number in range(60)]
    assert len({str(variant.reference) for variant in variants}) > 30, "neighbours have the same variant"
    for variant in variants:
        assert variant.id == varied.id
        assert judge(variant, variant.reference, CATALOGUE).right
        for wrong in variant.wrong:
            found = judge(variant, wrong.answer, CATALOGUE).misconception
            assert found is not None, variant.material
            assert found.id == wrong.misconception, variant.material


@pytest.mark.parametrize("misconception", CATALOGUE.values(), ids=CATALOGUE)
def test_hints_are_short_and_plain(misconception) -> None:
    assert re.fullmatch(r"[a-z]\d+", misconception.id)
    assert misconception.belief
    assert 0 < len(misconception.hint.split()) <= 160


def test_every_misconception_is_exposed_by_some_answer() -> None:
    used = {
        wrong.misconception
        for lab in LABS
        for exercise in bank.exercises_of(lab, LEARNERS[0])
        for wrong in exercise.wrong
    }
    assert used == set(CATALOGUE)


@pytest.mark.parametrize("lab", [lab for lab in LABS if lab != "00"])
def test_a_lab_has_enough_exercises(lab: str) -> None:
    exercises = bank.exercises_of(lab, LEARNERS[0])
    assert len(exercises) >= 5
    assert sum(exercise.level is Level.CORE for exercise in exercises) >= 3
    assert all(exercise.lab == lab and exercise.points > 0 for exercise in exercises)
    assert len({exercise.id for exercise in exercises}) == len(exercises)
