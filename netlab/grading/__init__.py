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
from netlab.grading.report import Progress, Result, Status
from netlab.grading.shapes import Function, ListOf, OneOf, Table, Whole

__all__ = [
    "Exercise",
    "Function",
    "Kind",
    "Level",
    "ListOf",
    "Misconception",
    "OneOf",
    "Probe",
    "Progress",
    "Result",
    "Seen",
    "Status",
    "Story",
    "Table",
    "Varied",
    "Whole",
    "Wrong",
    "case",
    "check",
    "in_words",
    "progress",
]
