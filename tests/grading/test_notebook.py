"""`check`, `case` and `progress`, with labs of the test's own."""

import pytest

from netlab.grading import bank, case, check, notebook, progress
from netlab.grading.report import Status
from netlab.names import NetlabError

LAB = """
from netlab.grading import Exercise, Kind, Level, Probe, Seen, Story, Varied, Whole, Wrong


def drawn(draw):
    number = draw.randint(0, 10**9)
    return Exercise(
        id="90.1", title="copy it", kind=Kind.READ, level=Level.CORE, points=1,
        expects=Whole(), reference=number,
        probes=lambda draw: [Probe("the number")], observe=lambda answer, probe: Seen(answer),
        sibling=lambda: Story("7 is copied as 7", "7"), right=(number,), wrong=(Wrong("z1", number + 1),),
        material=number,
    )


EXERCISES = [Varied("90.1", drawn)]
"""


@pytest.fixture(autouse=True)
def labs(tmp_path, monkeypatch):
    lab = tmp_path / "labs" / "90_toy"
    lab.mkdir(parents=True)
    (tmp_path / "labs" / "course.toml").write_text('seed = "test"')
    (lab / "exercises.py").write_text(LAB)
    (lab / "misconceptions.toml").write_text('[z1]\nbelief = "one more"\nhint = "Not one more."')
    monkeypatch.setenv("NETLAB_LABS", str(tmp_path / "labs"))
    monkeypatch.setattr(notebook, "latest", {})
    monkeypatch.setattr(notebook, "failures", {})
    return tmp_path / "labs"


def as_learner(name, expression):
    return eval(expression, {"LEARNER": name, "check": check, "case": case, "progress": progress})


def test_learners_have_variants():
    ada, grace = (as_learner(name, "case('90.1')") for name in ("ada", "grace"))
    assert ada != grace
    assert as_learner("ada", "case('90.1')") == ada
    assert as_learner("ada", f"check('90.1', {ada})").right
    assert not as_learner("ada", f"check('90.1', {grace})").right


def test_a_similar_case_is_offered_after_three_failures():
    results = [as_learner("ada", "check('90.1', 1)") for _ in range(3)]
    assert [result.sibling is not None for result in results] == [False, False, True]
    assert "7 is copied as 7" in str(results[2])
    assert "<details>" in results[2]._repr_html_()


def test_blanks_do_not_count_as_failures():
    for _ in range(5):
        assert as_learner("ada", "check('90.1', ...)").status is Status.UNANSWERED
    assert as_learner("ada", "check('90.1', 1)").sibling is None


def test_progress():
    assert "0 of 1 exercises right, 0 of 1 points" in str(as_learner("ada", "progress('90')"))
    as_learner("ada", "check('90.1', case('90.1'))")
    shown = as_learner("ada", "progress('90')")
    assert "1 of 1 exercises right, 1 of 1 points" in str(shown)
    assert 'scope="col"' in shown._repr_html_()


@pytest.mark.parametrize(
    ("exercise", "says"),
    [
        ("90.7", "unknown exercise '90.7' (lab 90 has 90.1)"),
        ("91.1", "unknown lab '91' (there are 90)"),
        (3, "lab '3'"),
    ],
)
def test_an_unknown_id_is_one_line(exercise, says):
    with pytest.raises(NetlabError) as error:
        check(exercise, 1)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_no_labs_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("NETLAB_LABS", str(tmp_path / "nowhere"))
    with pytest.raises(NetlabError, match="set NETLAB_LABS"):
        check("90.1", 1)


def test_labs_stand_beside_the_package(monkeypatch):
    monkeypatch.delenv("NETLAB_LABS")
    assert (bank.labs_folder() / "00_tour").is_dir()


def test_two_labs_cannot_share_a_misconception(labs):
    (labs / "91_other").mkdir()
    (labs / "91_other" / "misconceptions.toml").write_text('[z1]\nbelief = "b"\nhint = "h"')
    with pytest.raises(ValueError, match="z1 is already in another lab"):
        bank.misconceptions(labs)
