"""Traces that were recorded on a real kernel, for machines that have none to ask.

A recording is a JSON file: the trace as `python -m netlab run --kernel --json` prints it, and the key of the scenario
it belongs to. The key is made of what the scenario says, not of how its file is written, so that a recording is found
for exactly this scenario and for no other.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from netlab.datasets import DATASETS
from netlab.kernel.compare import Json
from netlab.names import NetlabError
from netlab.scenario import Scenario
from netlab.trace import Trace

RECORDINGS: Final = DATASETS / "labs"
"""The recordings that come with netlab's source."""


@dataclass(frozen=True)
class Recording:
    """A trace from a kernel, in the form that `Trace.to_json` makes, and the kernel's release."""

    trace: Json
    kernel: str


def key(scenario: Scenario) -> str:
    """The SHA-256 of what the scenario says, as hex; its name is no part of that.

    What is empty is left out: a scenario keeps its key when the format learns something new that it does not use.
    """
    return sha256(json.dumps(_plain(scenario)).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """A value as JSON has it, names left out. The order of a mapping stays: interfaces are made in that order."""
    if is_dataclass(value):
        parts = {name: _plain(getattr(value, name)) for name in sorted(field.name for field in fields(value))}
        return {name: part for name, part in parts.items() if name != "name" and part not in (None, [])}
    if isinstance(value, Mapping):
        return [[name, _plain(part)] for name, part in value.items()]
    if isinstance(value, tuple):
        kind = [type(value).__name__] if hasattr(value, "_fields") else []
        return kind + [_plain(part) for part in value]
    return value.hex() if isinstance(value, bytes) else value


def save(scenario: Scenario, trace: Trace, file: Path) -> None:
    """Writes a recording.

    Raises:
        NetlabError: the trace does not know everything, or the file cannot be written.
    """
    if trace.unknown:
        raise NetlabError(f"{scenario.name}: only root can record: without root {', '.join(trace.unknown)} are unknown")
    text = json.dumps({"scenario": key(scenario), **trace.to_json()}, indent=1) + "\n"
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise NetlabError(f"{file}: {problem.strerror}") from None


def load(file: Path, scenario: Scenario) -> Recording:
    """The recording of that scenario in that file.

    Raises:
        NetlabError: it cannot be read, is no recording, or is that of another scenario.
    """
    recording = _read(file)
    if recording["scenario"] != key(scenario):
        raise NetlabError(f"{file}: recorded from another scenario: record it again (python -m netlab record)")
    return Recording(recording, recording["kernel"])


def find(scenario: Scenario, folder: Path = RECORDINGS) -> Recording | None:
    """The recording of that scenario in a folder; None when there is none.

    Raises:
        NetlabError: a file there is no recording.
    """
    wanted = key(scenario)
    found = (recording for file in sorted(folder.glob("*.json")) if (recording := _read(file))["scenario"] == wanted)
    return next((Recording(recording, recording["kernel"]) for recording in found), None)


def _read(file: Path) -> dict[str, Any]:
    try:
        recording = json.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise NetlabError(f"{file}: {problem.strerror}") from None
    except ValueError:
        recording = None
    if not isinstance(recording, dict) or not {"scenario", "kernel", "steps", "log"} <= recording.keys():
        raise NetlabError(f"{file}: no recording made by `python -m netlab record`")
    return recording
