"""Variants: fixed by course seed, learner and exercise, and by nothing else."""

from hashlib import sha256

from netlab.grading.variants import draw_for, variant


def test_it_is_the_sha_256_of_the_three():
    assert variant("seed", "ada", "03.2") == int(sha256(b"seed\0ada\x0003.2").hexdigest(), 16)


def test_each_of_the_three_matters():
    assert len({variant(*who) for who in [("s", "a", "1"), ("t", "a", "1"), ("s", "b", "1"), ("s", "a", "2")]}) == 4
    assert variant("sa", "b", "1") != variant("s", "ab", "1")


def test_draws_repeat():
    assert draw_for("s", "a", "1").random() == draw_for("s", "a", "1").random()
