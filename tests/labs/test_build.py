"""Reading and building a lab's source, and what an author is told when it isn't one."""

import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import pytest

from labs import build

EXERCISES = '''
from netlab.grading import Exercise, Function, Kind, Level, Probe, Story, Whole, calling


def answer_90_1(a):
    """Twice the number."""
    return 2 * a


EXERCISES = [
    Exercise(
        id="90.1", title="double it", kind=Kind.CODE, level=Level.CORE, points=3, expects=Function("a"),
        reference=answer_90_1, probes=lambda draw: [Probe("1", (1,))], observe=calling(Whole()),
        sibling=lambda: Story("2 gives 4"), right=(), wrong=(),
    )
]
'''
FRONT = '---\ntitle: Toy\nneeds: ["00"]\nminutes: 5\n---\n'
EXERCISE = ":::{exercise} 90.1\nDouble it.\n:::\n"


@pytest.fixture
def lab_of(tmp_path, monkeypatch):
    """Makes a lab out of the text of its lab.md."""
    folder = tmp_path / "labs" / "90_toy"
    folder.mkdir(parents=True)
    (tmp_path / "labs" / "course.toml").write_text('seed = "test"')
    (folder / "exercises.py").write_text(EXERCISES)
    (folder / "map.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    monkeypatch.setenv("NETLAB_LABS", str(tmp_path / "labs"))

    def make(text: str) -> build.Lab:
        (folder / "lab.md").write_text(FRONT + text)
        return build.read(folder)

    return make


def sources(lab: build.Lab, version: str = "learner") -> list[str]:
    return [cell.source for cell in build.build(lab, version).cells]


def test_text_is_cut_at_headings_and_code(lab_of):
    lab = lab_of("One.\n\n## Two\n\nText.\n```python\nx = 1\n```\nThree.\n" + EXERCISE)
    assert sources(lab)[2:6] == ["One.", "## Two\n\nText.", "x = 1", "Three."]


def test_code_that_is_only_shown_stays_text(lab_of):
    lab = lab_of("```c\nint x;\n# not a heading\n```\n" + EXERCISE)
    assert sources(lab)[2] == "```c\nint x;\n# not a heading\n```"


def test_the_title_says_what_a_lab_costs(lab_of):
    title = sources(lab_of(EXERCISE))[1]
    assert title.startswith("# Lab 90: Toy")
    assert "Needs lab 00 · about 5 minutes · 1 core exercise, 3 points" in title


def test_an_exercise_is_statement_answer_check(lab_of):
    statement, answer, check = sources(lab_of(EXERCISE))[2:]
    assert statement == "## Exercise 90.1: double it\n\n*code · core · 3 points*\n\nDouble it."
    assert answer == 'def answer_90_1(a):\n    """Twice the number."""\n    raise NotImplementedError("write me")'
    assert check == 'check("90.1", answer_90_1)'


def test_solution_and_nbgrader_versions(lab_of):
    lab = lab_of(EXERCISE)
    solved = 'def answer_90_1(a):\n    """Twice the number."""\n    return 2 * a'
    assert sources(lab, "solution")[3] == solved
    answer, check = sources(lab, "nbgrader")[3:]
    assert answer.split("\n")[2:] == ["    ### BEGIN SOLUTION", "    return 2 * a", "    ### END SOLUTION"]
    assert check == 'check("90.1", answer_90_1).must_be_right()'


def test_a_starting_cell_of_one_s_own(lab_of):
    start = "import math\n\n\ndef answer_90_1(a):\n    ..."
    lab = lab_of(f":::{{exercise}} 90.1\nDouble it.\n\n```python\n{start}\n```\n:::\n")
    assert sources(lab)[3] == start
    assert sources(lab, "solution")[3].startswith('import math\n\n\ndef answer_90_1(a):\n    """Twice')


def test_pictures_are_embedded(lab_of):
    source = sources(lab_of("![A map of\neverything](map.svg) and more.\n\n" + EXERCISE))[2]
    shown, link = source.split("\n\n")
    assert shown == "![A map of\neverything][map.svg] and more."
    assert b64decode(link.removeprefix("[map.svg]: data:image/svg+xml;base64,")).startswith(b"<svg")


def test_folded_cells(lab_of):
    cell = build.build(lab_of("```python folded\nx = 1\n```\n" + EXERCISE), "learner").cells[2]
    assert (cell.source, cell.metadata.jupyter.source_hidden) == ("x = 1", True)


def test_boxes(lab_of):
    lab = lab_of(
        ":::{slip} the name\ntextbook: it is\ncalled `a | b`\n\nkernel: FORWARD\n:::\n\n"
        ":::{entry-check}\n? What is 1 < 2?\n! True\n:::\n" + EXERCISE
    )
    slip, entry = sources(lab)[2:4]
    assert "### The textbook says, the kernel says: the name" in slip
    assert r"| it is called `a \| b` | FORWARD |" in slip
    assert "<details><summary>Answer</summary>True</details>" in entry


def test_cell_ids_follow_from_the_text_and_differ(lab_of):
    def ids(text):
        return [cell.id for cell in build.build(lab_of(text), "learner").cells]

    same = "```python\nx = 1\n```\n"
    first, second = ids(same + same + EXERCISE), ids("New.\n\n" + same + same + EXERCISE)
    assert len(set(first)) == len(first)
    assert second[:2] + second[3:] == first


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (EXERCISE + "```python\nx = 1\n", "line 9: ```python never ends (``` is missing)"),
        (EXERCISE + ":::{slip} x\n", "line 9: :::{slip} x never ends (::: is missing)"),
        (EXERCISE + ":::{quiz} x\n:::\n", "unknown directive quiz (there are entry-check, slip, exercise)"),
        ("Nothing.", "shows the exercises [], exercises.py has ['90.1']"),
        (EXERCISE * 2, "shows the exercises ['90.1', '90.1']"),
    ],
)
def test_an_author_is_told_where(lab_of, text, says):
    with pytest.raises(build.LabError) as error:
        lab_of(text)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("front", "says"),
    [
        ("title: Toy\n", "has to begin with a line ---"),
        ("---\ntitle: Toy\n", "has to begin with a line ---"),
        ("---\n---\n", "there has to be `title`"),
        ('---\nneeds: ["00"]\nminutes: 5\n---\n', "there has to be `title`"),
        ("---\ntitle: Toy\nneeds: 00\nminutes: 5\n---\n", "there has to be `needs`"),
        ("---\ntitle: Toy\nneeds: []\nminutes: few\n---\n", "there has to be `minutes`"),
    ],
)
def test_an_author_is_told_what_is_missing_at_the_top(lab_of, monkeypatch, front, says):
    monkeypatch.setitem(globals(), "FRONT", front)
    with pytest.raises(build.LabError) as error:
        lab_of(EXERCISE)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (":::{slip} x\nkernel: y\n:::\n", "a slip is `textbook: ...`, then `kernel: ...`"),
        (":::{entry-check}\n? One?\n? Two?\n:::\n", "alternates"),
    ],
)
def test_an_author_is_told_what_a_box_is(lab_of, text, says):
    with pytest.raises(build.LabError, match="line 6"):
        build.build(lab_of(text + EXERCISE), "learner")


def test_the_command_says_that_all_is_up_to_date():
    done = subprocess.run(
        [sys.executable, str(Path(build.__file__)), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
