"""`both(scenario)`: what the simulator says and what a real kernel does, side by side.

The kernel is this machine's own where it can be asked, in network namespaces made for it, as root or without any
privilege; else a trace recorded on another machine's kernel, and the reason why this one was not asked.
"""

import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from platform import system
from threading import Event, Timer
from typing import Any, Final

from netlab.draw.worlds import SIMULATOR, Row, entry_rows, rows, rule_rows, worlds_table, worlds_text
from netlab.kernel.compare import Comparison, Json, compare
from netlab.kernel.golden import LABS, find
from netlab.scenario import Scenario, load, loads
from netlab.simulate import run
from netlab.trace import PARTS, Trace

PATIENCE: Final = 20.0
"""Seconds after which the kernel is given up."""

MAX_WAIT: Final = 10.0
"""Seconds that a scenario's `advance` steps may take in all: the kernel really waits."""


@dataclass(frozen=True)
class Both:
    """A scenario in both worlds.

    `kernel` is a `Trace` from this machine's kernel, or a recorded one in the form of `Trace.to_json`; it is None, and
    so is `comparison`, where there is neither. `where` tells which it is, `why` why this kernel was not asked.
    """

    scenario: Scenario
    simulator: Trace
    kernel: Trace | Json | None
    where: str
    why: str = ""

    @cached_property
    def comparison(self) -> Comparison | None:
        """Where the worlds differ."""
        theirs = self._kernel_json
        return None if theirs is None else compare(self.simulator.to_json(), theirs)

    @cached_property
    def _kernel_json(self) -> Json | None:
        return self.kernel.to_json() if isinstance(self.kernel, Trace) else self.kernel

    @property
    def caption(self) -> str:
        """What came of it, which kernel it was, and what it could not tell."""
        result = "There is nothing to compare" if self.comparison is None else _result(self.comparison)
        sentences = [f"{result}.", f"Left: {SIMULATOR}. Right: {self.where}."]
        if self.why:
            sentences.append(f"This machine's own kernel was not asked: {self.why}.")
        if isinstance(self.kernel, Trace) and self.kernel.unknown:
            parts = ", ".join(PARTS[name] for name in self.kernel.unknown)
            sentences.append(f"Only root may ask the kernel for: {parts}. They are unknown here.")
        return " ".join(sentences)

    @property
    def _titles(self) -> list[str]:
        steps = (f"step {n}: {step.title}" for n, step in enumerate(self.scenario.steps))
        ends = "the flows that conntrack knows", "the rules, and [packets:bytes] that they have counted"
        return [*steps, "the kernel's log", *(f"at the end: {what}" for what in ends)]

    @property
    def _rows(self) -> list[list[Row]]:
        worlds = self.simulator.to_json(), self._kernel_json
        return [*rows(*worlds), entry_rows(*worlds), rule_rows(*worlds)]

    def __str__(self) -> str:
        return "\n".join(filter(None, [self.caption, worlds_text(self._titles, self._rows)]))

    def __repr__(self) -> str:
        return f"<both worlds: {self.where}>"

    def _repr_html_(self) -> str:
        return worlds_table(self._titles, self._rows, self.caption, self.where)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def both(scenario: Scenario | Path | str, recorded: Path | str = LABS) -> Both:
    """The scenario in the simulator and on the real kernel.

    Args:
        scenario: a scenario, its YAML text, or the name of its file.
        recorded: the folder with recorded traces, of which the one of exactly this scenario is shown where the kernel
            can't be asked.

    Raises:
        ScenarioError: it is no scenario.
        NetlabError: the kernel refuses something in it; the recordings cannot be read.
    """
    subject = _scenario(scenario)
    simulator = run(subject)
    try:
        trace = _ask(subject, simulator)
    except _Unavailable as problem:
        why = str(problem).rstrip(".")
    else:
        return Both(subject, simulator, trace, f"this machine's kernel, Linux {trace.kernel}")
    record = find(subject, Path(recorded))
    if record is None:
        return Both(subject, simulator, None, "no kernel: no trace of exactly this scenario was recorded", why)
    return Both(subject, simulator, record, f"a trace recorded on Linux {record['kernel']}", why)


def _scenario(given: Scenario | Path | str) -> Scenario:
    if isinstance(given, Scenario):
        return given
    return loads(given) if isinstance(given, str) and "\n" in given.strip() else load(given)


class _Unavailable(Exception):
    """The kernel cannot be asked here and now."""


def _ask(scenario: Scenario, simulator: Trace) -> Trace:
    """What this machine's kernel does with it."""
    if sys.platform != "linux":
        raise _Unavailable(f"its system is {system()}, not Linux")
    from netlab.kernel.namespaces import KernelUnavailable
    from netlab.kernel.run import WaitRefused
    from netlab.kernel.worker import Worker

    late = Event()

    def give_up() -> None:
        late.set()
        worker.kill()

    bound = Timer(PATIENCE, give_up)
    try:
        with Worker() as worker:
            bound.start()
            return worker.run(scenario, max_wait=MAX_WAIT, like=simulator.to_json())
    except (KernelUnavailable, WaitRefused, RuntimeError, OSError) as problem:
        raise _Unavailable(f"it took longer than {PATIENCE:g} s" if late.is_set() else str(problem)) from None
    finally:
        bound.cancel()


def _result(comparison: Comparison) -> str:
    if comparison:
        return "Both worlds agree" + " in what is known" * bool(comparison.unknown)
    count = len(comparison.differences)
    return f"The worlds differ in {count} place{'s' * (count > 1)}: see the rows marked ≠"
