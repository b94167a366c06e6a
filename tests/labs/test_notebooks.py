"""The built notebooks: up to date, as the contracts say, and working from the first cell to the last."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from labs import build
from netlab.grading.bank import labs_folder
from netlab.kernel.golden import find
from netlab.scenario import loads

LABS = [build.read(folder) for folder in build.folders()]
ids = [lab.folder.name for lab in LABS]
BUILT = [(lab, version) for lab in LABS for version in build.VERSIONS]
built_ids = [f"{lab.folder.name}-{version}" for lab, version in BUILT]
SECONDS_PER_LAB = 30


@pytest.fixture(params=LABS, ids=ids)
def lab(request) -> build.Lab:
    return request.param


@pytest.mark.parametrize(("lab", "version"), BUILT, ids=built_ids)
def test_built_notebooks_match_their_source(lab, version):
    assert lab.path(version).read_text(encoding="utf-8") == build.rendered(lab, version), "run: python labs/build.py"


def test_a_lab_is_named_once(lab):
    assert lab.path("learner") == lab.folder / f"{lab.folder.name}.ipynb"
    assert re.fullmatch(r"\d\d_[a-z_]+", lab.folder.name)


@pytest.mark.parametrize(("lab", "version"), BUILT, ids=built_ids)
def test_the_contracts_hold(lab, version):
    cells = build.build(lab, version).cells
    assert cells[0].cell_type == "code"
    assert cells[0].source.startswith("LEARNER = ")
    answers = {cell.metadata.netlab.exercise: cell for cell in cells if "netlab" in cell.metadata}
    assert list(answers) == list(lab.exercises)
    for exercise, cell in answers.items():
        number = exercise.replace(".", "-")
        assert cell.metadata.nbgrader.grade_id == f"ex-{number}"
        assert cell.metadata.nbgrader.solution
        assert re.search(
            rf"^(answer_{number.replace('-', '_')} =|def answer_{number.replace('-', '_')}\()",
            cell.source,
            re.MULTILINE,
        )
    grade_ids = [cell.metadata.nbgrader.grade_id for cell in cells if "nbgrader" in cell.metadata]
    assert len(grade_ids) == len(set(grade_ids))


def test_only_the_learner_s_notebook_hides_the_answers(lab):
    for cell in build.build(lab, "learner").cells:
        if "netlab" in cell.metadata:
            assert "..." in cell.source or "NotImplementedError" in cell.source
    for cell in build.build(lab, "solution").cells:
        assert "NotImplementedError" not in cell.source


def test_notebooks_keep_no_outputs(lab):
    for version in build.VERSIONS:
        for cell in nbformat.read(lab.path(version), as_version=4).cells:
            assert not cell.get("outputs")
            assert cell.get("execution_count") is None


def test_every_picture_has_words_for_those_who_cannot_see_it(lab):
    for cell in build.build(lab, "learner").cells:
        for alternative in re.findall(r"!\[([^\]]*)\]", cell.source):
            assert len(alternative) > 20


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_passes_over_the_notebooks(command, tmp_path):
    # The project's ruff leaves built notebooks alone; their sources are what an author can mend.
    for lab, version in BUILT:
        shutil.copy(lab.path(version), tmp_path / f"{lab.folder.name}-{version}.ipynb")
    rules = ["--select", "E,F,W,I,UP,B,PL", "--ignore", "E402,PLR2004,PLR0911,PLR0912,B018,E266"]
    options = ["--isolated", "--line-length", "120"] + (rules if command == ["check"] else [])
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, *options, tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_what_runs_on_the_kernel_was_recorded_too(lab):
    """A machine without a kernel to ask shows the recorded trace, so there must be one."""
    texts = [
        node.value
        for cell in build.build(lab, "learner").cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "hosts:" in node.value
    ]
    assert texts or lab.number == "00"
    for text in texts:
        assert find(loads(text)), f"record it again: {text}"


def run(path: Path, folder: Path) -> nbformat.NotebookNode:
    """A notebook executed in a folder of its own, as a learner's copy is."""
    copy = folder / path.name
    shutil.copy(path, copy)
    notebook = nbformat.read(copy, as_version=4)
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def results(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """What each check cell printed, by exercise."""
    found = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and (match := re.match(r'check\("([\d.]+)"', cell.source)):
            found[match[1]] = cell.outputs[0].data["text/plain"]
    return found


@pytest.mark.notebooks
@pytest.mark.parametrize("version", ["learner", "solution"])
def test_a_copied_notebook_runs_from_top_to_bottom(lab, version, tmp_path):
    start = time.monotonic()
    shown = results(run(lab.path(version), tmp_path))
    assert time.monotonic() - start < SECONDS_PER_LAB
    word = {"learner": "… Not answered yet", "solution": "✔ Right"}[version]
    assert list(shown) == list(lab.exercises)
    assert all(text.startswith(word) for text in shown.values()), shown


@pytest.mark.notebooks
@pytest.mark.timeout(600)
def test_nbgrader_takes_the_notebook(lab, tmp_path):
    """Generate the students' version with nbgrader itself, hand in a solution and a blank, and grade both."""
    name = lab.folder.name
    source = tmp_path / "source" / name
    source.mkdir(parents=True)
    shutil.copy(lab.path("nbgrader"), source)
    (tmp_path / "nbgrader_config.py").write_text(
        f"c = get_config()\nc.CourseDirectory.root = {str(tmp_path)!r}\nc.ExecutePreprocessor.timeout = 300\n"
    )

    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it calls its companions by name

    def nbgrader(*arguments: str) -> None:
        command = [sys.executable, "-m", "nbgrader", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ | {"PATH": path}
        )
        assert done.returncode == 0, done.stderr

    nbgrader("generate_assignment", name)
    release = tmp_path / "release" / name / f"{name}.ipynb"
    assert not any("SOLUTION" in cell.source for cell in nbformat.read(release, as_version=4).cells)
    answers = {
        cell.metadata.nbgrader.grade_id: cell.source
        for cell in build.build(lab, "solution").cells
        if "netlab" in cell.metadata
    }
    for student, answered in (("solver", answers), ("blank", {})):
        folder = tmp_path / "submitted" / student / name
        folder.mkdir(parents=True)
        submitted = json.loads(release.read_text(encoding="utf-8"))
        for cell in submitted["cells"]:
            grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id")
            cell["source"] = answered.get(grade_id, cell["source"])
        (folder / f"{name}.ipynb").write_text(json.dumps(submitted), encoding="utf-8")
    nbgrader("autograde", name)

    from nbgrader.api import Gradebook

    points = sum(exercise.points for exercise in lab.exercises.values())
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as gradebook:
        assert gradebook.find_assignment(name).max_score == points
        assert gradebook.find_submission(name, "solver").score == points
        assert gradebook.find_submission(name, "blank").score == 0


def test_the_labs_are_found_from_here():
    assert labs_folder() == build.LABS
