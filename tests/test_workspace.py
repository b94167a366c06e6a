"""The learner's workspace: nothing the learner wrote is ever lost, and solutions are not in sight."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlab import workspace
from netlab.commands import lab
from netlab.names import NetlabError

OLD, NEW, NEWER, MINE = (
    json.dumps({"cells": [{"cell_type": "markdown", "source": version}], "nbformat": 4, "nbformat_minor": 5})
    for version in ("old", "new", "newer", "mine")
)


@pytest.fixture
def labs(tmp_path: Path) -> Path:
    """Two labs as an author's folder has them, the solutions beside the learner's notebook."""
    for name in ("00_tour", "01_hooks"):
        folder = tmp_path / "checkout" / "labs" / name
        folder.mkdir(parents=True)
        (folder / f"{name}.ipynb").write_text(OLD)
        (folder / f"{name}.solution.ipynb").write_text("the solution")
        (folder / "exercises.py").write_text("the judge")
    return tmp_path / "checkout" / "labs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "netlab-labs"


def ship(labs: Path, text: str, name: str = "01_hooks") -> None:
    (labs / name / f"{name}.ipynb").write_text(text)


def contents(folder: Path) -> dict[str, str]:
    """The files of a workspace that a learner sees, and what is in them."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def news(folder: Path, labs: Path, name: str = "01_hooks") -> str:
    return next(d.news for d in workspace.update(folder, labs) if d.notebook.parent.name == name)


def test_only_the_learners_notebooks_are_copied(folder: Path, labs: Path) -> None:
    deliveries = workspace.update(folder, labs)
    assert contents(folder) == {"00_tour/00_tour.ipynb": OLD, "01_hooks/01_hooks.ipynb": OLD}
    assert [d.notebook for d in deliveries] == [
        folder / "00_tour/00_tour.ipynb",
        folder / "01_hooks/01_hooks.ipynb",
    ]
    assert str(deliveries[1]) == f"01_hooks: copied to {folder / '01_hooks' / '01_hooks.ipynb'}"


def test_a_second_start_changes_nothing_and_has_no_news(folder: Path, labs: Path) -> None:
    workspace.update(folder, labs)
    (folder / "01_hooks/01_hooks.ipynb").write_text(MINE)
    assert news(folder, labs) == ""
    assert contents(folder)["01_hooks/01_hooks.ipynb"] == MINE


def test_an_untouched_copy_is_replaced_by_a_newer_version(folder: Path, labs: Path) -> None:
    workspace.update(folder, labs)
    ship(labs, NEW)
    assert "replaces the copy you had not changed" in news(folder, labs)
    assert contents(folder)["01_hooks/01_hooks.ipynb"] == NEW


def test_a_copy_that_jupyterlab_only_saved_counts_as_untouched(folder: Path, labs: Path) -> None:
    cells = [{"cell_type": "code", "id": "a", "metadata": {}, "source": ["1\n", "+ 1"], "outputs": []}]
    ship(labs, json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    workspace.update(folder, labs)
    copy = folder / "01_hooks/01_hooks.ipynb"
    saved = {"cells": [{**cells[0], "source": "1\n+ 1"}], "metadata": {"kernelspec": {"name": "python3"}}}
    copy.write_text(json.dumps(saved))
    ship(labs, NEW)
    assert "replaces the copy you had not changed" in news(folder, labs)
    ran = {**saved, "cells": [{**cells[0], "outputs": [{"text": "2"}]}]}
    copy.write_text(json.dumps(ran))
    ship(labs, NEWER)
    assert "01_hooks.v2.ipynb" in news(folder, labs), "a result is the learner's"


def test_a_changed_copy_is_kept_and_the_newer_version_put_beside(folder: Path, labs: Path) -> None:
    workspace.update(folder, labs)
    (folder / "01_hooks/01_hooks.ipynb").write_text(MINE)
    ship(labs, NEW)
    assert "01_hooks.v2.ipynb" in news(folder, labs)
    assert news(folder, labs) == "", "said once"
    assert contents(folder)["01_hooks/01_hooks.ipynb"] == MINE
    assert contents(folder)["01_hooks/01_hooks.v2.ipynb"] == NEW


def test_the_version_beside_is_the_learners_too_once_changed(folder: Path, labs: Path) -> None:
    workspace.update(folder, labs)
    (folder / "01_hooks/01_hooks.ipynb").write_text(MINE)
    ship(labs, NEW)
    workspace.update(folder, labs)
    ship(labs, NEWER)
    workspace.update(folder, labs)
    assert contents(folder)["01_hooks/01_hooks.v2.ipynb"] == NEWER, "untouched, so replaced"
    (folder / "01_hooks/01_hooks.v2.ipynb").write_text(MINE)
    ship(labs, NEW.replace("new", "newest"))
    assert "01_hooks.v3.ipynb" in news(folder, labs)
    assert contents(folder)["01_hooks/01_hooks.v2.ipynb"] == MINE


def test_a_deleted_notebook_comes_back_fresh(folder: Path, labs: Path) -> None:
    workspace.update(folder, labs)
    (folder / "01_hooks/01_hooks.ipynb").unlink()
    assert "copied" in news(folder, labs)
    assert contents(folder)["01_hooks/01_hooks.ipynb"] == OLD


@pytest.mark.parametrize("record", [None, "not json {", "\xff"])
def test_without_the_record_every_copy_counts_as_changed(folder: Path, labs: Path, record: str | None) -> None:
    workspace.update(folder, labs)
    (folder / "01_hooks/01_hooks.ipynb").write_text(MINE)
    if record is None:
        (folder / workspace.RECORD).unlink()
    else:
        (folder / workspace.RECORD).write_text(record, encoding="latin-1")
    ship(labs, NEW)
    workspace.update(folder, labs)
    assert contents(folder)["01_hooks/01_hooks.ipynb"] == MINE
    assert contents(folder)["01_hooks/01_hooks.v2.ipynb"] == NEW


def test_a_lab_that_comes_later_is_added(folder: Path, labs: Path) -> None:
    workspace.update(folder, labs)
    (labs / "02_verdicts").mkdir()
    ship(labs, NEW, "02_verdicts")
    assert "copied" in news(folder, labs, "02_verdicts")
    assert contents(folder)["02_verdicts/02_verdicts.ipynb"] == NEW


@pytest.mark.parametrize("place", ["labs", "labs/01_hooks", "."])
def test_the_workspace_cannot_be_where_the_labs_are(labs: Path, place: str) -> None:
    before = contents(labs)
    with pytest.raises(NetlabError, match="choose another --dir"):
        workspace.update((labs.parent / place).resolve(), labs)
    assert contents(labs) == before


def test_no_labs_is_one_clear_line(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(NetlabError, match="they come with a git clone"):
        workspace.update(folder, tmp_path / "site-packages" / "labs")
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_is_one_clear_line(folder: Path, labs: Path) -> None:
    folder.write_text("a file")
    with pytest.raises(NetlabError, match=f"the workspace {re.escape(str(folder))} cannot be written: "):
        workspace.update(folder, labs)


def test_a_text_browser_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("BROWSER", "w3m")
    assert not lab.has_browser()


def test_without_jupyterlab_the_line_says_how_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NetlabError, match=r"netfilter-lab\[lab\]"):
        lab.serve(folder, folder / "01_hooks/01_hooks.ipynb", browser=False)


def wait_for(address: str, seconds: float = 30) -> None:
    """JupyterLab prints its address a moment before it listens there."""
    parts = urllib.parse.urlsplit(address)
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@pytest.fixture
def served(folder: Path) -> Iterator[str]:
    """The address that `python -m netlab lab` prints where there is no browser."""
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    with subprocess.Popen(
        [sys.executable, "-m", "netlab", "lab", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            assert process.stderr is not None
            address = next(line.strip() for line in process.stderr if re.match(r"\s*http://127\.0\.0\.1:", line))
            wait_for(address)
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def test_jupyterlab_opens_lab_01_with_no_solution_in_sight(served: str) -> None:
    base, _, token = served.partition("?")
    assert re.search(r"/lab/tree/01_(\w+)/01_\1\.ipynb$", base)
    root = base.split("/lab/")[0]

    def listing(path: str = "") -> set[str]:
        with urllib.request.urlopen(f"{root}/api/contents/{path}?{token}", timeout=30) as answer:
            return {entry["name"] for entry in json.load(answer)["content"]}

    labs = listing()
    assert any(name.startswith("01_") for name in labs)
    assert {name for lab_name in labs for name in listing(lab_name)} == {f"{name}.ipynb" for name in labs}
