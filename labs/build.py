"""Builds every lab's notebooks from its one source: `python labs/build.py`, and `--check` to compare only.

A lab is a folder `labs/NN_topic/` in which an author writes

    lab.md          the text, with fenced python cells and a few directives (see CONTRIBUTING.md, "Writing a
    lab") exercises.py    the exercises: references, probes, known right and wrong answers
    *.svg           pictures, embedded where lab.md shows them

and from which three notebooks are built

    NN_topic.ipynb              the learner's
    solution/NN_topic.ipynb     with the reference answers
    nbgrader/NN_topic.ipynb     an nbgrader source notebook: solutions in regions, points on the checks
"""

import argparse
import ast
import base64
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from html import escape
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

from netlab.grading.bank import exercises_of
from netlab.grading.exercise import Exercise, Level

LABS = Path(__file__).resolve().parent
VERSIONS = {"learner": ".", "solution": "solution", "nbgrader": "nbgrader"}
FOLDED: dict[str, object] = {"jupyter": {"source_hidden": True}}
SOLVER = ""  # the solutions answer the variants of whoever leaves LEARNER empty

FENCE = re.compile(r"```python( folded)?")
DIRECTIVE = re.compile(r":::\{(\w[\w-]*)\} *(.*)")
PICTURE = re.compile(r"!\[([^\]]*)\]\(([\w-]+\.svg)\)")


SAMPLES = {"title": "like `title: Hooks`", "needs": 'like `needs: ["00"]`', "minutes": "like `minutes: 40`"}


class LabError(Exception):
    """A lab's source that can't be built; the message names file and line."""


@dataclass(frozen=True)
class Block:
    """A piece of a lab's source: `kind` is text, python (`argument` may be folded) or a directive's name."""

    kind: str
    line: int
    body: str
    argument: str = ""


@dataclass(frozen=True)
class Lab:
    """A lab's source, read."""

    folder: Path
    title: str
    needs: list[str]
    minutes: int
    blocks: list[Block]

    @property
    def number(self) -> str:
        """Two digits: `01`."""
        return self.folder.name[:2]

    @cached_property
    def exercises(self) -> dict[str, Exercise]:
        """The lab's exercises by id, in the variants of the solutions' learner."""
        return {exercise.id: exercise for exercise in exercises_of(self.number, SOLVER)}

    def path(self, version: str) -> Path:
        """Where one of the three notebooks stands."""
        return self.folder / VERSIONS[version] / f"{self.folder.name}.ipynb"


# --- reading lab.md -----------------------------------------------------------------------------------------


def read(folder: Path) -> Lab:
    """Read a lab's `lab.md`.

    Raises:
        LabError: no front matter, a block that never ends, an unknown directive, an exercise missing or used twice.
    """
    source = folder / "lab.md"
    front, text = split_front(source)
    head = yaml.safe_load(front)
    needed = {"title": str, "needs": list, "minutes": int}
    for key, kind in needed.items():
        if not isinstance(head, dict) or not isinstance(head.get(key), kind):
            raise LabError(f"{source}: between the two lines --- there has to be `{key}`, {SAMPLES[key]}")
    first_line = front.count("\n") + 3
    blocks = list(split(source, text.split("\n"), first_line))
    lab = Lab(folder, head["title"], [str(need) for need in head["needs"]], head["minutes"], blocks)
    used = [block.argument for block in blocks if block.kind == "exercise"]
    if used != list(lab.exercises):
        raise LabError(f"{source}: shows the exercises {used}, exercises.py has {list(lab.exercises)}")
    return lab


def split_front(source: Path) -> tuple[str, str]:
    """What stands between the two lines `---`, and what follows them."""
    parts = source.read_text(encoding="utf-8").split("---\n", 2)
    if len(parts) < 3 or parts[0]:
        raise LabError(f"{source}: has to begin with a line ---, and a second one has to follow")
    return parts[1], parts[2]


def split(source: Path, lines: list[str], first_line: int) -> Iterator[Block]:
    """The blocks of a source: text is cut before every heading, so that each section is a cell of its own."""
    text: list[str] = []
    number = 0
    shown_only = False  # inside a fence that is no cell

    def flush() -> Iterator[Block]:
        body = "\n".join(text).strip()
        if body:
            yield Block("text", first_line + number, body)
        text.clear()

    while number < len(lines):
        line = lines[number]
        directive = DIRECTIVE.fullmatch(line)
        fence = FENCE.fullmatch(line)
        if fence or directive:
            yield from flush()
            end = "```" if fence else ":::"
            if end not in lines[number + 1 :]:
                raise LabError(f"{source}, line {first_line + number}: {line} never ends ({end} is missing)")
            stop = lines.index(end, number + 1)
            body = "\n".join(lines[number + 1 : stop]).strip()
            kind, argument = directive.groups() if directive else ("python", line.removeprefix("```python").strip())
            if kind not in ("python", *DIRECTIVES):
                known = ", ".join(DIRECTIVES)
                raise LabError(f"{source}, line {first_line + number}: unknown directive {kind} (there are {known})")
            yield Block(kind, first_line + number, body, argument)
            number = stop + 1
            continue
        if line.startswith("```"):
            shown_only = not shown_only
        elif line.startswith("#") and not shown_only:
            yield from flush()
        text.append(line)
        number += 1
    yield from flush()


# --- writing cells ------------------------------------------------------------------------------------------


def build(lab: Lab, version: str) -> NotebookNode:
    """One of the lab's three notebooks, without outputs, the same on every machine."""
    cells = [code('LEARNER = ""  # your name or student number: it picks your variants of some exercises', "learner")]
    cells.append(text(title_of(lab), "title"))
    for block in lab.blocks:
        if block.kind == "text":
            cells.append(markdown(lab, block.body))
        elif block.kind == "python":
            cells.append(code(block.body, metadata=FOLDED if block.argument else None))
        else:
            cells += DIRECTIVES[block.kind](lab, block, version)
    distinct(cells)
    notebook = nbformat.v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "netlab": {"lab": lab.number, "version": version},
        },
    )
    notebook.nbformat_minor = 5
    nbformat.validate(notebook)
    return notebook


def title_of(lab: Lab) -> str:
    """The heading of a lab: what it needs, how long it takes, what it gives."""
    needs = " and ".join(f"lab {need}" for need in lab.needs) or "nothing"
    worth = [
        counted(sum(exercise.level is Level.CORE for exercise in lab.exercises.values()), "core exercise"),
        counted(sum(exercise.level is Level.STRETCH for exercise in lab.exercises.values()), "to stretch", ""),
        counted(sum(exercise.points for exercise in lab.exercises.values()), "point"),
    ]
    counts = ", ".join(filter(None, worth)) if worth[-1] else "ungraded"
    return f"# Lab {lab.number}: {lab.title}\n\n*Needs {needs} · about {lab.minutes} minutes · {counts}*"


def counted(number: int, thing: str, plural: str = "s") -> str:
    """`3 points`; nothing for none."""
    return f"{number} {thing}{plural if number > 1 else ''}" if number else ""


def text(source: str, cell_id: str = "") -> NotebookNode:
    """A Markdown cell."""
    return nbformat.v4.new_markdown_cell(source, id=cell_id or digest(source))


def code(source: str, cell_id: str = "", metadata: dict[str, object] | None = None) -> NotebookNode:
    """A code cell that has not been run."""
    return nbformat.v4.new_code_cell(source, id=cell_id or digest(source), metadata=metadata or {})


def digest(source: str) -> str:
    """A cell id that follows from the cell's own text, so that an edit elsewhere changes nothing here."""
    return "c-" + sha256(source.encode()).hexdigest()[:10]


def distinct(cells: list[NotebookNode]) -> None:
    """Two cells with the same text still get two ids."""
    seen: dict[str, int] = {}
    for cell in cells:
        seen[cell.id] = seen.get(cell.id, 0) + 1
        if seen[cell.id] > 1:
            cell.id += f"-{seen[cell.id]}"


def markdown(lab: Lab, source: str) -> NotebookNode:
    """A Markdown cell with its pictures embedded, so that a copied notebook still shows them.

    JupyterLab shows no SVG that is an attachment. So the pictures are links with all data in them, below the text.
    """
    pictures = {name: (lab.folder / name).read_bytes() for _, name in PICTURE.findall(source)}
    links = [
        f"[{name}]: data:image/svg+xml;base64,{base64.b64encode(data).decode()}" for name, data in pictures.items()
    ]
    return text("\n\n".join([PICTURE.sub(r"![\1][\2]", source), *links]))


def entry_check(lab: Lab, block: Block, version: str) -> list[NotebookNode]:
    """Questions with their answers folded away: lines `? question` and `! answer`."""
    lines = [
        "## Entry check",
        "",
        "Answer in your head, then unfold. Unsure? Go back to the lab named above first.",
    ]
    for number, line in enumerate(filter(None, block.body.split("\n"))):
        mark, words = line[:2], line[2:]
        if mark != ("? " if number % 2 == 0 else "! "):
            raise LabError(f"{lab.folder.name}/lab.md, line {block.line}: an entry check alternates `? ` and `! `")
        unfolding = f"<details><summary>Answer</summary>{escape(words, quote=False)}</details>"
        lines += ["", f"**{words}**" if mark == "? " else unfolding]
    return [text("\n".join(lines), "entry-check")]


def slip(lab: Lab, block: Block, version: str) -> list[NotebookNode]:
    """A slip of the course text beside the kernel's answer: `textbook:` and `kernel:` paragraphs."""
    match = re.fullmatch(r"textbook: *(.+?)\n+kernel: *(.+)", block.body, re.DOTALL)
    if not match:
        raise LabError(f"{lab.folder.name}/lab.md, line {block.line}: a slip is `textbook: ...`, then `kernel: ...`")
    # A bar would begin another cell, even within code.
    textbook, kernel = (" ".join(words.split()).replace("|", r"\|") for words in match.groups())
    heading = f"### The textbook says, the kernel says: {block.argument}"
    return [text(f"{heading}\n\n| the textbook says | the kernel says |\n|---|---|\n| {textbook} | {kernel} |")]


def exercise(lab: Lab, block: Block, version: str) -> list[NotebookNode]:
    """Three cells: the statement, the answer, the check."""
    subject = lab.exercises[block.argument]
    statement, start = divide(block.body)
    start = start or starting_cell(subject)
    points = counted(subject.points, "point") or "practice"
    heading = f"## Exercise {subject.id}: {subject.title}\n\n*{subject.kind} · {subject.level} · {points}*"
    check = f'check("{subject.id}", {subject.binding})'
    answer = {
        "learner": lambda: start,
        "solution": lambda: solved(start, solution(subject)),
        "nbgrader": lambda: with_region(start, solution(subject)),
    }[version]()
    checking: dict[str, object] = {}
    if version == "nbgrader":
        check += ".must_be_right()"
        marks = {"grade": True, "solution": False, "locked": True, "points": subject.points}
        checking = {"nbgrader": nbgrader(f"{subject.grade_id}-check", **marks)}
    answering = {
        "netlab": {"exercise": subject.id},
        "nbgrader": nbgrader(subject.grade_id, grade=False, solution=True, locked=False),
    }
    asking = markdown(lab, f"{heading}\n\n{statement}")
    asking.id = f"{subject.grade_id}-statement"
    return [
        asking,
        code(answer, subject.grade_id, answering),
        code(check, f"{subject.grade_id}-check", checking),
    ]


DIRECTIVES = {"entry-check": entry_check, "slip": slip, "exercise": exercise}


def nbgrader(grade_id: str, **fields: object) -> dict[str, object]:
    """A cell's nbgrader metadata, schema version 3."""
    return {"schema_version": 3, "grade_id": grade_id, "task": False, **fields}


# --- answers ------------------------------------------------------------------------------------------------


def divide(body: str) -> tuple[str, str]:
    """An exercise's statement and, where its last block is a python fence, its starting cell."""
    match = re.fullmatch(r"(.*?)\n*```python\n((?:(?!```).)*)\n```", body, re.DOTALL)
    return (match.group(1), match.group(2)) if match else (body, "")


def solution(subject: Exercise) -> str:
    """The source of the reference answer: a function as its author wrote it, a value as it prints."""
    reference = subject.reference
    if inspect.isfunction(reference):
        if reference.__name__ != subject.binding:
            raise LabError(
                f"exercise {subject.id}: its reference is called {reference.__name__}, not {subject.binding}"
            )
        return textwrap.dedent(inspect.getsource(reference)).rstrip()
    module = inspect.getmodule(subject.probes)
    assert module is not None
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == subject.binding:
            segment = ast.get_source_segment(inspect.getsource(module), node)
            assert segment is not None
            return segment
    return f"{subject.binding} = {literal(reference)}"


def literal(value: object) -> str:
    """A value as somebody would write it: strings in double quotes, a dict with a line for each key."""
    if isinstance(value, dict):
        return "{\n" + "".join(f"    {literal(key)}: {literal(part)},\n" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def starting_cell(subject: Exercise) -> str:
    """The blank for an answer: a function's head with its docstring, or `...` to replace."""
    if inspect.isfunction(subject.reference):
        head, _ = head_and_body(solution(subject))
        return f'{head}\n    raise NotImplementedError("write me")'
    return f"{subject.binding} = ..."


def head_and_body(source: str) -> tuple[str, str]:
    """A function's source in two: up to and with its docstring, and the rest."""
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert ast.get_docstring(function), f"{function.name} needs a docstring: it is what the learner starts from"
    last = function.body[0].end_lineno
    lines = source.split("\n")
    return "\n".join(lines[:last]), "\n".join(lines[last:])


def above(start: str) -> str:
    """What a starting cell holds above the answer itself: imports, a host, a helper."""
    last = ast.parse(start).body[-1]
    return "\n".join(start.split("\n")[: last.lineno - 1])


def solved(start: str, answer: str) -> str:
    """A starting cell with its blank replaced by the reference."""
    return above(start) + ("\n" if above(start) else "") + answer


def with_region(start: str, answer: str) -> str:
    """A starting cell with the reference in a solution region that nbgrader takes out again."""
    if isinstance(ast.parse(answer).body[0], ast.FunctionDef):
        head, body = head_and_body(answer)
        answer = f"{head}\n    ### BEGIN SOLUTION\n{body}\n    ### END SOLUTION"
        return solved(start, answer)
    return f"{start}\n### BEGIN SOLUTION\n{answer}\n### END SOLUTION"


# --- the command --------------------------------------------------------------------------------------------


def folders() -> list[Path]:
    """Every lab that has a source."""
    return sorted(path.parent for path in LABS.glob("[0-9][0-9]_*/lab.md"))


def rendered(lab: Lab, version: str) -> str:
    """A built notebook as the text of its file."""
    return nbformat.writes(build(lab, version)) + "\n"


def main() -> int:
    """Build all labs, or with --check name every notebook that differs from its source."""
    parser = argparse.ArgumentParser(description="Build the labs' notebooks from their sources.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a notebook is not up to date")
    only_check = parser.parse_args().check
    stale = []
    for folder in folders():
        lab = read(folder)
        for version in VERSIONS:
            path = lab.path(version)
            wanted = rendered(lab, version)
            if path.is_file() and path.read_text(encoding="utf-8") == wanted:
                continue
            stale.append(path.relative_to(LABS))
            if not only_check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(wanted, encoding="utf-8")
    for path in stale:
        print(f"{path}: {'differs from its source' if only_check else 'written'}")
    return 1 if stale and only_check else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(str(error))
