"""The learner's workspace: a copy of each lab's notebook in a folder that `git pull` never touches.

A notebook the learner has changed is never written over. When a lab has a newer version, an untouched copy
is replaced; beside a changed one the newer version is put under a name of its own (`01_hooks.v2.ipynb`). What
was handed out before is known by its SHA-256 in `.netlab.json`; a copy with another sum has been changed.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from netlab.names import NetlabError

LABS = Path(__file__).resolve().parent.parent / "labs"
"""The labs of this checkout; an installation from a wheel has none."""

RECORD = ".netlab.json"


@dataclass(frozen=True)
class Delivery:
    """What became of one lab: its notebook in the workspace, and the news about it, "" when there is none."""

    notebook: Path
    news: str

    def __str__(self) -> str:
        return f"{self.notebook.parent.name}: {self.news}" if self.news else self.notebook.parent.name


def default_folder() -> Path:
    """`netlab-labs` in the home folder."""
    return Path.home() / "netlab-labs"


def notebooks(labs: Path = LABS) -> list[Path]:
    """The built learner's notebooks, `labs/NN_topic/NN_topic.ipynb`, in order.

    Raises:
        NetlabError: there are none.
    """
    found = [
        path for folder in sorted(labs.glob("[0-9][0-9]_*")) if (path := folder / f"{folder.name}.ipynb").is_file()
    ]
    if not found:
        raise NetlabError(f"no labs in {labs}: they come with a git clone of netlab, not with the installed package")
    return found


def update(folder: Path, labs: Path = LABS) -> list[Delivery]:
    """Bring a workspace up to date with the labs, and say lab by lab what was done.

    Raises:
        NetlabError: there are no labs, or the folder cannot be used as a workspace.
    """
    shipped = notebooks(labs)
    if labs == folder or labs in folder.parents or folder in labs.parents:
        raise NetlabError(f"{folder} cannot be the workspace: git looks after the labs there; choose another --dir")
    try:
        record = _read_record(folder)
        deliveries = [
            _deliver(notebook, folder / notebook.parent.name, record.setdefault(notebook.parent.name, []))
            for notebook in shipped
        ]
        _write(folder / RECORD, json.dumps(record, indent=1).encode())
    except OSError as error:
        raise NetlabError(f"the workspace {folder} cannot be written: {error.strerror}") from error
    return deliveries


def _deliver(shipped: Path, folder: Path, given: list[str]) -> Delivery:
    """Hand out one lab; `given` are the sums of the versions handed out so far, and gains the new one."""
    content = shipped.read_bytes()
    version = _sum(content)
    notebook = folder / shipped.name
    known = version in given or any(_sum(path.read_bytes()) == version for path in folder.glob("*.ipynb"))
    first = not notebook.exists()
    if version not in given:
        given.append(version)
    if first:
        _write(notebook, content)
        return Delivery(notebook, f"copied to {notebook}")
    if known:
        return Delivery(notebook, "")
    place = next(path for path in _names(notebook) if not path.exists() or _sum(path.read_bytes()) in given)
    _write(place, content)
    if place == notebook:
        return Delivery(notebook, "a newer version replaces the copy you had not changed")
    return Delivery(
        notebook, f"there is a newer version; yours is kept as it is, the new one is beside it: {place.name}"
    )


def _names(notebook: Path) -> Iterator[Path]:
    """The places for a lab's versions: `01_hooks.ipynb`, `01_hooks.v2.ipynb`, `01_hooks.v3.ipynb`, ..."""
    yield notebook
    for number in count(2):
        yield notebook.with_name(f"{notebook.stem}.v{number}.ipynb")


def _read_record(folder: Path) -> dict[str, list[str]]:
    """The sums of what was handed out here, by lab; a record that is lost or broken counts as empty.

    Then every copy counts as changed by the learner, which loses nothing.
    """
    try:
        record: dict[str, list[str]] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return record


def _write(path: Path, content: bytes) -> None:
    """Write a file in one move, so that an interruption leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def _sum(content: bytes) -> str:
    """Stands for what a learner sees and writes: texts and outputs. JupyterLab rewrites the rest when it saves."""
    try:
        cells = [
            (cell["cell_type"], "".join(cell["source"]), cell.get("outputs", []))
            for cell in json.loads(content)["cells"]
        ]
    except (ValueError, KeyError, TypeError):
        return hashlib.sha256(content).hexdigest()  # no notebook: every byte counts
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()
