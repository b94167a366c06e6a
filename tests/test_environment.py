"""The locks, and what repo2docker (Binder) reads, agree with pyproject.toml and with one another."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
LOCKS = ["lab", "test"]


def normal(name: str) -> str:
    """A distribution's name as packaging compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def name_of(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return normal(match[0])


def locked(lock: str) -> dict[str, list[str]]:
    """Every distribution of a lock and its versions: more than one where Pythons differ."""
    text = (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")
    pins: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE):
        pins.setdefault(normal(name), []).append(version)
    return pins


def wanted(*extras: str) -> list[str]:
    """What pyproject.toml asks for, the extras that extras name included."""
    project = PROJECT["project"]
    requirements = list(project["dependencies"])
    for extra in extras:
        for requirement in project["optional-dependencies"][extra]:
            own = re.fullmatch(r"netfilter-lab\[(\w+)\]", requirement)
            requirements += wanted(own[1]) if own else [requirement]
    return requirements


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_holds_all_that_is_asked_for(lock: str) -> None:
    assert {name_of(requirement) for requirement in wanted(lock)} <= locked(lock).keys()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")
    for block in re.split(r"\n(?=\S)", text):
        if not block.startswith("#"):
            assert "--hash=sha256:" in block, block
    assert "://" not in text
    assert "--index-url" not in text


def test_the_learners_lock_is_part_of_the_tests_lock() -> None:
    assert locked("lab").items() <= locked("test").items()


def test_the_build_backend_is_locked() -> None:
    lines = (ROOT / "requirements/build.in").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == PROJECT["build-system"]["requires"]


def test_other_systems_find_what_they_need() -> None:
    text = (ROOT / "requirements/lab.lock").read_text(encoding="utf-8")
    assert re.search(r"^appnope==\S+ ; sys_platform == 'darwin'", text, re.MULTILINE)
    assert re.search(r"^pywinpty==\S+ ; os_name == 'nt'", text, re.MULTILINE)
    assert re.search(r"^colorama==\S+ ; sys_platform == 'win32'", text, re.MULTILINE)


def test_environment_pins_what_the_lock_pins() -> None:
    conda = [entry for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str)]
    pip = next(entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict))
    assert conda == ["python=3.11", "pip"]
    lock = locked("lab")
    assert sorted(pip) == sorted(f"{name}=={lock[name][0]}" for name in map(name_of, wanted("lab")))


def test_repo2docker_finds_its_files_at_the_top() -> None:
    # Any of these would make repo2docker look past the files at the top.
    for other in ("binder", ".binder", "Dockerfile"):
        assert not (ROOT / other).exists()
    for script in ("postBuild", "start"):
        path = ROOT / script
        assert path.read_bytes().startswith(b"#!/usr/bin/env bash\n")
        assert b"\r" not in path.read_bytes()
        mode = subprocess.run(["git", "ls-files", "-s", script], cwd=ROOT, capture_output=True, text=True, check=True)
        assert mode.stdout.startswith("100755 "), f"{script} is not executable in git"
        subprocess.run(["bash", "-n", path], check=True)


def test_post_build_installs_the_learners_lock_with_hashes() -> None:
    text = (ROOT / "postBuild").read_text(encoding="utf-8")
    assert "--require-hashes --requirement requirements/lab.lock" in text


def test_start_begins_in_the_workspace_with_no_solution_in_sight(tmp_path: Path) -> None:
    environment = os.environ | {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    run = subprocess.run(
        [ROOT / "start", "python", "-c", "import os; print('in', os.getcwd())"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    workspace = tmp_path / "netlab-labs"
    assert run.stdout.splitlines()[-1] == f"in {workspace}"
    assert {path.name for path in workspace.rglob("*.ipynb")} == {
        f"{path.name}.ipynb" for path in workspace.glob("*_*")
    }
