"""`python -m netlab run FILE`: a scenario's journey, as text or as JSON, simulated or on the real kernel."""

import argparse
import json
from pathlib import Path

from netlab.scenario import load

MAX_WAIT = 10.0
LEGACY = "the rules are those of iptables-legacy; without it, of iptables-nft"
AGE = "instead of waiting in an `advance` of 5 s or more, make tracked connections older; nothing else ages"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `run`."""
    parser.add_argument("file", type=Path, metavar="FILE.yaml", help="the scenario")
    parser.add_argument("--json", action="store_true", help="print the trace as JSON")
    parser.add_argument("--kernel", action="store_true", help="on this machine's kernel, in network namespaces")
    parser.add_argument(
        "--max-wait",
        type=float,
        default=MAX_WAIT,
        metavar="SECONDS",
        help="with --kernel, `advance` really waits: refuse to wait longer in all (default: %(default)g)",
    )
    parser.add_argument("--age", action="store_true", help=f"with --kernel: {AGE}")
    parser.add_argument("--legacy", action="store_true", help=LEGACY)


def main(options: argparse.Namespace) -> int:
    """Run the scenario and print its trace.

    Raises:
        NetlabError: the file is no scenario, or with --kernel, the kernel cannot be asked here.
    """
    scenario = load(options.file)
    if options.kernel:
        from netlab.kernel.worker import Worker

        with Worker() as worker:
            trace = worker.run(scenario, max_wait=options.max_wait, age=options.age, legacy=options.legacy)
    else:
        from netlab.simulate import run

        trace = run(scenario, "legacy" if options.legacy else "nft")
    print(json.dumps(trace.to_json(), indent=1) if options.json else trace)
    return 0
