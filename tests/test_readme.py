"""What the README and CONTRIBUTING show is what happens."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from netlab.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def test_the_scenario_runs_as_shown(tmp_path: Path) -> None:
    (tmp_path / "router.yaml").write_text(block("yaml"), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "netlab", "run", "router.yaml"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout == block("text")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"`python -m netlab {command}" in README


def test_every_command_and_target_that_is_named_exists() -> None:
    assert set(re.findall(r"python -m netlab ([a-z]+)", DOCUMENTS)) <= set(COMMANDS)
    assert set(re.findall(r"(?:`|^ {4})make ([a-z-]+)", DOCUMENTS, re.MULTILINE)) <= TARGETS


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:netlab|tests|requirements|benchmarks)/[\w./-]+)`", DOCUMENTS)))
)
def test_every_file_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).exists() or "NAME" in path
