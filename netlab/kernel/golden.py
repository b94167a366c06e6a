"""Kernel traces recorded in `datasets/golden` and, for the labs, in `datasets/labs`: scenarios, and what a kernel said.

    python -m netlab.kernel.golden           # as root: record all of them again
    python -m netlab.kernel.golden --new     # those that have no trace yet, and leave the others as they are
    python -m netlab.kernel.golden --random 30 --seed more    # add random scenarios first

`traces.jsonl` has a line a scenario, sorted by name, so that a new recording shows as a small difference. The rules of
a scenario whose name ends in `_legacy` are loaded by iptables-legacy, those of all others by iptables-nft.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlab import simulate
from netlab.datasets import DATASETS
from netlab.kernel.compare import compare
from netlab.names import NetlabError
from netlab.scenario import Scenario, load

if TYPE_CHECKING:
    from netlab.kernel.worker import Worker

FOLDER = DATASETS / "golden"
LABS = DATASETS / "labs"
TRACES = "traces.jsonl"
_MAX_WAIT = 40.0  # seconds in one scenario


def scenarios(folder: Path = FOLDER) -> Iterator[tuple[str, Scenario]]:
    """Every recorded scenario with its name."""
    for path in sorted(folder.glob("*.yaml")):
        yield path.stem, load(path)


def recorded(folder: Path = FOLDER) -> dict[str, Mapping[str, Any]]:
    """The recorded traces by name, in the form of `Trace.to_json`.

    Raises:
        NetlabError: there are none.
    """
    try:
        lines = (folder / TRACES).read_text().splitlines()
    except OSError as error:
        raise NetlabError(f"{folder / TRACES}: {error.strerror}") from None
    return {entry["name"]: entry["trace"] for entry in map(json.loads, lines)}


def find(scenario: Scenario, folder: Path = LABS) -> Mapping[str, Any] | None:
    """The recorded trace of exactly this scenario, whatever its name and its file's layout; None if there is none.

    Raises:
        NetlabError: there are scenarios and no traces, or a file that is no scenario.
    """
    wanted = replace(scenario, name="")
    name = next((name for name, one in scenarios(folder) if replace(one, name="") == wanted), None)
    return None if name is None else recorded(folder)[name]


def simulated(name: str, scenario: Scenario) -> Mapping[str, Any]:
    """What the simulator says, with the iptables that the scenario's name asks for."""
    return simulate.run(scenario, "legacy" if _is_legacy(name) else "nft").to_json()


def ask(worker: "Worker", name: str, scenario: Scenario) -> Mapping[str, Any]:
    """What the kernel says now; nobody waits for a connection's end, which may be days away: it is made older."""
    like = simulated(name, scenario)
    return worker.run(scenario, age=True, max_wait=_MAX_WAIT, legacy=_is_legacy(name), like=like).to_json()


def _is_legacy(name: str) -> bool:
    return name.endswith("_legacy")


def record(folder: Path = FOLDER, *, new: bool = False) -> int:
    """Runs every scenario on this machine's kernel and writes what it said; gives their number.

    With `new` only those that have no trace yet. A scenario counts as recorded when the kernel said the same twice.

    Raises:
        NetlabError: not root, or a scenario that the kernel answers differently each time.
    """
    if os.geteuid():
        raise NetlabError("recording needs root: others do not see drop reasons and log lines")
    from netlab.kernel.worker import Worker  # on Linux only; recorded traces are read everywhere

    before = recorded(folder) if new else {}
    lines, asked = [], 0
    with Worker() as worker:
        for name, scenario in scenarios(folder):
            trace = before.get(name)
            if trace is None:
                first, trace = (ask(worker, name, scenario) for _ in range(2))
                asked += 1
                if not (found := compare(first, trace)):
                    raise NetlabError(f"{name}: the kernel's second answer is another one\n{found}")
            lines.append(json.dumps({"name": name, "trace": trace}, separators=(",", ":")))
    (folder / TRACES).write_text("\n".join(lines) + "\n")
    return asked


def add_random(folder: Path, number: int, seed: str, packets: int = 12) -> None:
    """Writes that many random scenarios, which the kernel takes, into the folder."""
    from netlab.kernel.fuzz.kinds import random_scenario
    from netlab.kernel.fuzz.machines import Features
    from netlab.kernel.fuzz.shrink import to_yaml
    from netlab.kernel.worker import Worker

    with Worker() as worker:
        for n in range(number):
            scenario = random_scenario(f"{seed}/{n}", packets, Features())
            try:
                worker.run(scenario)
            except NetlabError:
                continue
            text = f"# Random scenario {seed}/{n}.\n{to_yaml(scenario)}"
            (folder / f"random_{seed}_{n:03}.yaml").write_text(text)


def main(arguments: list[str]) -> int:
    """Record, from the command line."""
    parser = argparse.ArgumentParser(prog="python -m netlab.kernel.golden", description="Record kernel traces.")
    parser.add_argument("--random", type=int, default=0, help="add so many random scenarios first")
    parser.add_argument("--seed", default="a", help="the seed of those (default: %(default)s)")
    parser.add_argument("--new", action="store_true", help="only those that have no trace yet")
    options = parser.parse_args(arguments)
    try:
        if options.random:
            add_random(FOLDER, options.random, options.seed)
        number = sum(record(folder, new=options.new) for folder in (FOLDER, LABS))
        print(f"{number} scenarios recorded on Linux {os.uname().release}")
    except NetlabError as error:
        print(f"netlab: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
