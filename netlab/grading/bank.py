"""Finding the labs and loading their exercises.

A lab is a folder `labs/NN_topic/` with `exercises.py` (binding EXERCISES) and, where it teaches against
wrong ideas, `misconceptions.toml`. The labs stand beside the package in a checkout; NETLAB_LABS names
another place.
"""

import os
import sys
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from netlab.grading.exercise import Exercise, Misconception, Varied
from netlab.grading.variants import draw_for
from netlab.names import NetlabError


def labs_folder() -> Path:
    """Where the labs are.

    Raises:
        NetlabError: neither beside the package nor where NETLAB_LABS says.
    """
    named = os.environ.get("NETLAB_LABS")
    folder = Path(named) if named else Path(__file__).parents[2] / "labs"
    if not (folder / "course.toml").is_file():
        where = f"NETLAB_LABS={named}" if named else "beside the netlab package"
        raise NetlabError(f"no labs found ({where}): set NETLAB_LABS to the labs folder of a netlab checkout")
    return folder


def lab_folder(lab: str) -> Path:
    """The folder of a lab given by its two digits.

    Raises:
        NetlabError: there is no such lab.
    """
    folders = {folder.name[:2]: folder for folder in sorted(labs_folder().glob("[0-9][0-9]_*")) if folder.is_dir()}
    if lab not in folders:
        raise NetlabError(f"unknown lab {lab!r} (there are {', '.join(folders)})")
    return folders[lab]


@cache
def exercises_in(folder: Path) -> Sequence[Exercise | Varied]:
    """The exercises that a lab's `exercises.py` binds to EXERCISES; none where it has no such file."""
    path = folder / "exercises.py"
    if not path.is_file():
        return ()
    name = f"netlab_lab_{folder.name}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    exercises: Sequence[Exercise | Varied] = module.EXERCISES
    return exercises


@cache
def misconceptions(folder: Path) -> dict[str, Misconception]:
    """Every misconception of every lab in the folder of labs, by id.

    Raises:
        ValueError: two labs use the same id.
    """
    catalogue: dict[str, Misconception] = {}
    for path in sorted(folder.glob("*/misconceptions.toml")):
        for key, entry in tomllib.loads(path.read_text(encoding="utf-8")).items():
            if key in catalogue:
                raise ValueError(f"{path}: the misconception {key} is already in another lab")
            catalogue[key] = Misconception(key, entry["belief"], " ".join(entry["hint"].split()))
    return catalogue


def course_seed() -> str:
    """The course's seed, from which every learner's variants follow (labs/course.toml)."""
    course = tomllib.loads((labs_folder() / "course.toml").read_text(encoding="utf-8"))
    return str(course["seed"])


def exercises_of(lab: str, learner: str) -> list[Exercise]:
    """All exercises of a lab, in order, in the variants of one learner.

    Raises:
        NetlabError: there is no such lab.
    """
    return [for_learner(entry, learner) for entry in exercises_in(lab_folder(lab))]


def find(exercise: str, learner: str) -> Exercise:
    """The exercise with that id, in the learner's variant.

    Raises:
        NetlabError: there is no such exercise.
    """
    lab = str(exercise).partition(".")[0]
    entries = {entry.id: entry for entry in exercises_in(lab_folder(lab))} if lab else {}
    if exercise not in entries:
        known = ", ".join(entries) or "none"
        raise NetlabError(f"unknown exercise {exercise!r} (lab {lab} has {known})")
    return for_learner(entries[exercise], learner)


def for_learner(entry: Exercise | Varied, learner: str) -> Exercise:
    """An exercise as one learner gets it."""
    if isinstance(entry, Exercise):
        return entry
    return entry.draw(draw_for(course_seed(), learner, entry.id))
