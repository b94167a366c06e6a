"""A campaign: random scenarios in both worlds, on every CPU, until so many packets have been compared."""

import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count

from netlab.iptables.extension import Variant
from netlab.kernel.aging import is_aged
from netlab.kernel.choices import compare_told
from netlab.kernel.fuzz.coverage import Coverage, covered
from netlab.kernel.fuzz.kinds import random_scenario
from netlab.kernel.fuzz.machines import Features
from netlab.kernel.fuzz.shrink import shrink
from netlab.kernel.fuzz.transitions import watch
from netlab.kernel.ports import Row, rules_of
from netlab.kernel.run import run as run_on_kernel
from netlab.kernel.worker import Worker
from netlab.names import NetlabError
from netlab.scenario import AdvanceStep, PacketStep, Scenario
from netlab.simulate import build, follow
from netlab.trace import Aged, Trace

PACKETS_A_SCENARIO = 250
WORKERS_A_CPU = 2  # for a third of its time a worker waits: for the kernel's sockets to close, for links to settle
# The kernel's clock runs on while the simulator's stands (UDP is a stream after two seconds): on a busy machine a run
# that took so many seconds and disagrees is done again.
_LONG, _TRIES = 1.0, 3
_MAX_WAIT = 600.0  # seconds that pauses may take; none takes that long


@dataclass
class Trial:
    """What came of one random scenario: packets compared, what they covered, and the disagreement if there was one.

    `slow`: the kernel's clock has moved on so far that what it decides by seconds may come out otherwise, or it had
    lines to log, of which it prints ten in five seconds for the whole machine. Or a tick may have fallen between two
    packets of one step, which connlimit counts otherwise then.
    """

    packets: int = 0
    coverage: Coverage = field(default_factory=Counter)
    disagreement: str = ""
    smallest: Scenario | None = None
    unknown: int = 0
    slow: bool = False


@dataclass
class Campaign(Trial):
    """The sum of all trials."""

    scenarios: int = 0
    refused: int = 0
    disagreements: list[tuple[str, Scenario]] = field(default_factory=list)

    def add(self, trial: Trial) -> None:
        """Counts a trial in."""
        self.scenarios += 1
        self.refused += not trial.packets and not trial.disagreement
        self.packets += trial.packets
        self.unknown += trial.unknown
        self.coverage.update(trial.coverage)
        if trial.smallest:
            self.disagreements.append((trial.disagreement, trial.smallest))


def try_one(seed: str, packets: int, features: Features, variant: Variant = "nft", *, privileged: bool) -> Trial:
    """Runs the random scenario of a seed in both worlds. Works in the kernel worker."""
    return try_scenario(random_scenario(seed, packets, features), variant, privileged=privileged)


def try_scenario(scenario: Scenario, variant: Variant = "nft", *, privileged: bool) -> Trial:
    """Runs a scenario in both worlds; a disagreement is shrunk. Works in the kernel worker."""

    def outcome(one: Scenario) -> Trial:
        """Both worlds may refuse a scenario, but then both must."""
        refusals = []
        paths: list[list[Row]] = []
        try:
            net = build(one, variant)
            cells = watch(net)
            simulated = follow(net, one.steps).to_json()
            paths = [step["path"] for step in simulated["steps"]]
        except NetlabError as error:
            refusals.append(f"the simulator refuses it: {error}")
        except Exception as error:
            return Trial(disagreement=f"the simulator fails: {error!r}")
        try:
            began = time.monotonic()
            real = run_on_kernel(one, max_wait=_MAX_WAIT, privileged=privileged, age=True, variant=variant, paths=paths)
            seconds = time.monotonic() - began - _waited(one, real)
        except NetlabError as error:
            refusals.append(str(error))
        if refusals:
            return Trial(disagreement=refusals[0] if len(refusals) == 1 else "")
        found = compare_told(one, simulated, real.to_json(), variant, late=seconds)
        coverage = covered(real) + cells
        packets = sum(isinstance(step, PacketStep) for step in one.steps)
        # What is logged counts for the whole machine, so that another worker's lines may have used up the rate.
        slow = seconds > _LONG or bool(simulated["log"]) or "connlimit" in rules_of(one)
        return Trial(packets, coverage, "" if found else str(found), None, found.unknown, slow)

    trial = outcome(scenario)
    for _ in range(_TRIES):
        if not (trial.disagreement and trial.slow):
            break
        trial = outcome(scenario)
    if trial.disagreement:
        trial.smallest = shrink(scenario, lambda smaller: bool(outcome(smaller).disagreement))
        trial.disagreement = outcome(trial.smallest).disagreement or f"{trial.disagreement}\n(not seen again)"
    return trial


def _waited(scenario: Scenario, trace: Trace) -> float:
    """The seconds of its pauses that passed for all: of the short ones, and while connections were made older."""
    short = sum(step.seconds for step in scenario.steps if isinstance(step, AdvanceStep) and not is_aged(step))
    return short + sum(
        max(waits) for step in trace.steps if (waits := [e.waited for e in step.events if isinstance(e, Aged)])
    )


def run_campaign(
    seed: str, packets: int, features: Features, progress: Callable[[int], object], variant: Variant = "nft"
) -> Campaign:
    """Compares at least that many packets; `progress` is told of every trial's, `variant` loads the rules."""
    campaign = Campaign()
    privileged = os.geteuid() == 0
    cpus = sorted(os.sched_getaffinity(0))
    names = (f"{seed}/{number}" for number in count())
    workers = [Worker(cpu=cpu) for cpu in cpus * WORKERS_A_CPU]
    try:
        with ThreadPoolExecutor(len(workers)) as pool:

            def start(worker: Worker) -> Future[Trial]:
                return pool.submit(
                    worker.call, try_one, next(names), PACKETS_A_SCENARIO, features, variant, privileged=privileged
                )

            running = {start(worker): worker for worker in workers}
            while running:
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    worker = running.pop(done)
                    trial = done.result()
                    campaign.add(trial)
                    progress(trial.packets)
                    if campaign.packets + len(running) * PACKETS_A_SCENARIO < packets:
                        running[start(worker)] = worker
    finally:
        for worker in workers:
            worker.close()
    return campaign
