"""A misconception is named only where it explains the answer."""

from netlab.grading.exercise import Wrong
from netlab.grading.misconceptions import diagnose

WANT = ["a", "b", "c", "d"]


def named(got, **beliefs):
    return diagnose(WANT, list(got), [(Wrong(name, None), list(said)) for name, said in beliefs.items()])


def test_the_same_answer():
    assert named("abcx", m1="abcx", m2="xbcd") == "m1"


def test_half_of_what_is_believed():
    assert named("abxd", m1="abxy") == "m1"


def test_less_than_half_names_nothing():
    assert named("abcx", m1="xxxx") is None


def test_an_error_that_the_belief_does_not_make():
    assert named("abyx", m1="abcx") is None


def test_the_closer_of_two():
    assert named("abcx", m1="abxx", m2="abcx") == "m2"


def test_two_that_fit_alike_name_nothing():
    assert named("abcx", m1="abcx", m2="abcx") is None


def test_two_answers_of_one_belief():
    assert diagnose(WANT, list("abcx"), [(Wrong("m1", 1), list("abcx")), (Wrong("m1", 2), list("abcx"))]) == "m1"
