"""What must not be in a tracked file, and what `make` does on a machine where something is missing or new."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
THIS = Path(__file__).name

BINARY = {".pcap", ".pcapng", ".png", ".gz"}

# Written in pieces, so that this file holds none of them.
MACHINE_PATH = re.compile(r"(?<![\w.~$}])/" + r"(root|work|home/\w+|Users/\w+|tmp/\w+_\w+)" + "/")
REGISTRY = re.compile("|".join(["py" + r"pi\.org", "python" + "hosted", "registry" + r"\.npmjs", "deb" + r"\.debian"]))
MERGE = re.compile("^(" + "<" * 7 + "|" + "=" * 7 + "$|" + ">" * 7 + ")", re.MULTILINE)


def git(*arguments: str, cwd: Path = ROOT) -> str:
    return subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, check=True).stdout


def tracked(*patterns: str) -> list[Path]:
    return [path for name in git("ls-files", *patterns).splitlines() if (path := ROOT / name).is_file()]


TEXTS = [path for path in tracked() if path.suffix not in BINARY and path.name != THIS]


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a path of somebody's machine", MACHINE_PATH),
        ("a registry's host", REGISTRY),
        ("merge leftovers", MERGE),
    ],
    ids=["paths", "registries", "merges"],
)
def test_no_tracked_file_holds(what: str, pattern: re.Pattern[str]) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]!r}"
        for path in TEXTS
        if (match := pattern.search(path.read_text(encoding="utf-8")))
    ]
    assert not found, what


@pytest.mark.parametrize(
    ("pattern", "bad", "good"),
    [
        (
            MACHINE_PATH,
            "open('/" + "home/ann/netlab')",
            "~/netlab-labs, /proc/net/, https://example.org/home/",
        ),
        (REGISTRY, "https://" + "py" + "pi.org/simple", "pip install netfilter-lab"),
        (MERGE, "a\n" + "<" * 7 + " HEAD\n", "=" * 20),
    ],
    ids=["paths", "registries", "merges"],
)
def test_the_patterns_find_what_they_are_for(pattern: re.Pattern[str], bad: str, good: str) -> None:
    assert pattern.search(bad + "/")
    assert not pattern.search(good)


@pytest.mark.parametrize("path", tracked("*.ipynb"), ids=lambda path: str(path.relative_to(ROOT)))
def test_notebooks_are_committed_without_outputs(path: Path) -> None:
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], cell["source"]
            assert cell["execution_count"] is None, cell["source"]


def test_nothing_that_is_made_is_tracked() -> None:
    assert not [path for path in tracked() if "__pycache__" in path.parts or path.suffix in (".pyc", ".stamp")]


def test_both_licences_are_in_the_licence_file() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "BSD 3-Clause License" in text
    assert "CC BY 4.0" in text


def programs(folder: Path, *names: str, **scripts: str) -> dict[str, str]:
    """An environment whose PATH has only these programs: those of this machine by name, and these scripts."""
    folder.mkdir()
    for name in names:
        real = subprocess.run(["bash", "-c", f"command -v {name}"], capture_output=True, text=True, check=True)
        (folder / name).symlink_to(real.stdout.strip())
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return {"PATH": str(folder), "HOME": str(folder)}


SHELL = ("sh", "make", "sed", "touch", "mkdir")
"""What any Debian or Ubuntu has before netlab, and make."""

VENVLESS = f'case "$*" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"'
"""Debian's python3 without python3-venv: the module ensurepip is not there."""


@pytest.mark.needs("make")
@pytest.mark.parametrize(
    ("present", "scripts", "line"),
    [
        (["git"], {"python3": VENVLESS}, "netlab needs python3-venv: sudo apt install python3-venv"),
        (["git"], {}, "netlab needs python3 python3-venv: sudo apt install python3 python3-venv"),
        ([], {"python3": f'exec {sys.executable} "$@"'}, "netlab needs git: sudo apt install git"),
        ([], {"python3": VENVLESS}, "netlab needs git python3-venv: sudo apt install git python3-venv"),
        (
            ["git"],
            {"python3": 'case "$*" in *version_info*) exit 1;; esac'},
            "netlab needs Python 3.11 or newer, and python3 is older: make PYTHON=python3.11",
        ),
    ],
    ids=["no venv", "no python", "no git", "no git, no venv", "old python"],
)
@pytest.mark.parametrize("target", ["lab", "test"])
def test_make_says_what_is_missing_in_one_line(
    tmp_path: Path, target: str, present: list[str], scripts: dict[str, str], line: str
) -> None:
    environment = programs(tmp_path / "bin", *SHELL, *present, **scripts)
    run = subprocess.run(
        ["make", target, f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    said = [text for text in run.stderr.splitlines() if not text.startswith("make")]
    assert said == [line]
    assert not (tmp_path / "venv").exists()


@pytest.mark.slow
@pytest.mark.needs("make", "git")
@pytest.mark.timeout(600)
def test_a_fresh_clone_sets_itself_up(tmp_path: Path) -> None:
    """What a newcomer does: clone, and let make do the rest."""
    clone = tmp_path / "netlab"
    git("clone", "--quiet", str(ROOT), str(clone))
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("VIRTUAL_ENV", "PYTHON", "MAKE"))
    }

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "Installing" in run("make", "setup")
    assert run("make", "setup") == "make: Nothing to be done for 'setup'.\n", "a second time there is nothing to do"
    python = str(clone / ".venv/bin/python")
    assert run(python, "-c", "import netlab; print(netlab.__file__)").strip() == str(clone / "netlab/__init__.py")
    assert run(python, "-m", "netlab", "lab", "--copy", "--dir", str(tmp_path / "labs")).endswith(
        f"{tmp_path / 'labs'}.\n"
    )
    assert git("status", "--porcelain", cwd=clone) == "", "set-up leaves nothing that git would see"
