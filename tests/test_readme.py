"""What the README and CONTRIBUTING show is what happens."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from netlab.__main__ import COMMANDS
from netlab.iptables import matches, targets  # noqa: F401  they make themselves known
from netlab.iptables.extension import MATCHES, TARGETS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKE = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("scenario", "shown"), list(zip(blocks("yaml"), blocks("text"), strict=True)), ids=["router", "published"]
)
def test_the_scenario_runs_as_shown(tmp_path: Path, scenario: str, shown: str) -> None:
    (tmp_path / "shown.yaml").write_text(scenario, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "netlab", "run", "shown.yaml"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout == shown


@pytest.mark.parametrize(("what", "known"), [("matches", MATCHES), ("targets", TARGETS)])
def test_every_extension_is_in_the_readme_and_no_other(what: str, known: dict[str, object]) -> None:
    row = re.search(rf"^\| {what} \| (.*) \|$", README, re.MULTILINE)
    assert row
    assert {name for name in re.findall(r"`([^`]*)`", row[1]) if not name.startswith("-")} == {*known} - {""}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"`python -m netlab {command}" in README


def test_every_command_and_target_that_is_named_exists() -> None:
    assert set(re.findall(r"python -m netlab ([a-z]+)", DOCUMENTS)) <= set(COMMANDS)
    assert set(re.findall(r"(?:`|^ {4})make ([a-z-]+)", DOCUMENTS, re.MULTILINE)) <= MAKE


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:netlab|tests|requirements|benchmarks)/[\w./-]+)`", DOCUMENTS)))
)
def test_every_file_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).exists() or "NAME" in path
