"""Who gets which variant of an exercise.

A variant is fixed by SHA-256 over the course seed, the learner and the exercise, so that the same learner
meets the same variant on every machine, and a neighbour's answer doesn't fit.
"""

from hashlib import sha256
from random import Random


def variant(course_seed: str, learner: str, exercise: str) -> int:
    """The number of a learner's variant, from 0 to 2**256 - 1."""
    # A separator that none of the three can hold: ("ab", "c") and ("a", "bc") must differ.
    return int.from_bytes(sha256("\0".join((course_seed, learner, exercise)).encode()).digest())


def draw_for(course_seed: str, learner: str, exercise: str) -> Random:
    """Randomness that belongs to one learner and one exercise."""
    return Random(variant(course_seed, learner, exercise))
