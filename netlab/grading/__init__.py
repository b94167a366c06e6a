"""Exercises: asked in a notebook, judged by what the packets do."""

from netlab.grading.exercise import (
    Exercise,
    Kind,
    Level,
    Misconception,
    Probe,
    Seen,
    Story,
    Varied,
    Wrong,
    in_words,
)
from netlab.grading.notebook import case, check, progress
from netlab.grading.probes import calling, looking_up
from netlab.grading.report import Progress, Result, Status
from netlab.grading.shapes import Function, ListOf, Maybe, OneOf, Table, Whole
from netlab.grading.sheet import Sheet

__all__ = [
    "Exercise",
    "Function",
    "Kind",
    "Level",
    "ListOf",
    "Maybe",
    "Misconception",
    "OneOf",
    "Probe",
    "Progress",
    "Result",
    "Seen",
    "Sheet",
    "Status",
    "Story",
    "Table",
    "Varied",
    "Whole",
    "Wrong",
    "calling",
    "case",
    "check",
    "in_words",
    "looking_up",
    "progress",
]
