"""What becomes of answers of every sort."""

import re
import sys
import time

import pytest

from netlab.grading.judge import draw_probes, judge
from netlab.grading.report import NotRight, Result, Status

from .toys import CATALOGUE, LARGER


def judged(answer, **options):
    return judge(LARGER, answer, CATALOGUE, **options)


def test_a_right_answer():
    result = judged(max)
    assert result.status is Status.RIGHT
    assert result.points == 2
    assert "2 of 2 points" in str(result)
    result.must_be_right()


def test_the_smallest_difference_comes_first_with_its_journey():
    result = judged(lambda a, b: min(a, b) if a + b > 3 else max(a, b))
    a, b = (int(word) for word in str(result.trace).split(" beside "))
    assert a + b > 3
    different = [probe.inputs for probe in draw_probes(LARGER, "") if probe.inputs[0] != probe.inputs[1]]
    assert a + b == min(sum(pair) for pair in different if sum(pair) > 3)
    assert f"the numbers {a} and {b}" in result.message
    with pytest.raises(NotRight, match="Not yet: exercise 90"):
        result.must_be_right()


def test_another_seed_means_other_probes():
    assert judged(min, seed="a").message != judged(min, seed="b").message


def test_a_stub_is_not_answered_yet():
    def answer_90_1(a, b):
        raise NotImplementedError("write me")

    assert judged(answer_90_1).status is Status.UNANSWERED
    assert judged(lambda a, b: ...).status is Status.UNANSWERED
    assert judged(...).status is Status.UNANSWERED


def test_an_error_names_the_learner_s_line():
    def answer_90_1(a, b):
        return a / 0

    result = judged(answer_90_1)
    assert result.status is Status.RAISED
    assert "ZeroDivisionError: division by zero" in result.message
    assert "return a / 0" in result.message
    assert "the numbers" in result.message
    assert "netlab" not in result.message


def test_leaving_python_is_an_error_like_any_other():
    assert judged(lambda a, b: sys.exit()).status is Status.RAISED


def test_an_endless_loop_is_stopped():
    def answer_90_1(a, b):
        while True:
            pass

    start = time.monotonic()
    result = judged(answer_90_1, seconds=0.3)
    assert result.status is Status.SLOW
    assert time.monotonic() - start < 3
    assert "stopped after 0.3 seconds" in result.message


def test_an_endless_loop_in_a_try_is_stopped():
    def answer_90_1(a, b):
        while True:
            try:
                a += 1
            except Exception:
                a = 0

    assert judged(answer_90_1, seconds=0.3).status is Status.SLOW


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (17, "17 is not a function"),
        (None, "None is not a function"),
        (lambda a: a, r"it can't be called with \(a, b\)"),
        (lambda a, b: str(a), "its result can't be read: '.' is not a whole number"),
        (lambda a, b: True, "True is not a whole number"),
        (lambda a, b: None, "None is not a whole number"),
    ],
)
def test_the_wrong_sort_of_answer_gets_a_sentence(answer, says):
    result = judged(answer)
    assert result.status is Status.UNREADABLE
    assert re.search(says, result.message), result.message


def test_what_an_answer_prints_is_kept_off_the_page(capsys):
    def answer_90_1(a, b):
        print("noise")
        return max(a, b)

    assert judged(answer_90_1).right
    assert capsys.readouterr().out == ""


def test_no_diagnosis_where_none_fits():
    result = judged(lambda a, b: max(a, b) + 1)
    assert result.status is Status.WRONG
    assert result.misconception is None
    assert "Hint" not in str(result)


def test_a_diagnosis_where_one_fits():
    assert judged(lambda x, y: x).misconception is CATALOGUE["z1"]


def test_a_row_of_grades():
    assert judged(min).row("ada") == {
        "student": "ada",
        "lab": "90",
        "exercise": "90.1",
        "points": 0,
        "max_points": 2,
        "status": "wrong",
        "misconception": "z3",
        "message": judged(min).message,
    }


def test_html_is_escaped():
    result = judged(lambda a, b: (_ for _ in ()).throw(ValueError("<script>alert(1)</script>")))
    assert "<script>" not in result._repr_html_()
    assert "&lt;script&gt;" in result._repr_html_()


def test_code_in_a_message_is_shown_as_code():
    html = Result(LARGER, Status.WRONG, "Look at `packet.proto` & think")._repr_html_()
    assert "Look at <code>packet.proto</code> &amp; think" in html
