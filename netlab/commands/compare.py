"""`python -m netlab compare FILE...`: scenarios in both worlds, and where they differ."""

import argparse
from pathlib import Path

from netlab.commands.run import AGE, LEGACY, MAX_WAIT
from netlab.iptables.extension import Variant
from netlab.kernel.choices import compare_told
from netlab.kernel.worker import Worker
from netlab.scenario import load
from netlab.simulate import run
from netlab.trace import Aged


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `compare`."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.yaml", help="scenarios")
    parser.add_argument(
        "--max-wait",
        type=float,
        default=MAX_WAIT,
        metavar="SECONDS",
        help="refuse scenarios that make the kernel wait longer in all (default: %(default)g)",
    )
    parser.add_argument("--age", action="store_true", help=AGE)
    parser.add_argument("--legacy", action="store_true", help=LEGACY)


def main(options: argparse.Namespace) -> int:
    """Run each scenario in both worlds; the exit status is 1 if any of them differs.

    Raises:
        NetlabError: a file is no scenario, or the kernel cannot be asked here.
    """
    scenarios = [load(file) for file in options.files]
    agreed = True
    with Worker() as worker:
        for file, scenario in zip(options.files, scenarios, strict=True):
            variant: Variant = "legacy" if options.legacy else "nft"
            simulated = run(scenario, variant).to_json()
            kernel = worker.run(
                scenario, max_wait=options.max_wait, age=options.age, legacy=options.legacy, like=simulated
            )
            found = compare_told(scenario, simulated, kernel.to_json(), variant)
            print(f"{file}: {found}", flush=True)
            for event in kernel.events:
                if isinstance(event, Aged):
                    print(f"  on the kernel, {event.host}: {event}", flush=True)
            agreed = agreed and bool(found)
    return 0 if agreed else 1
