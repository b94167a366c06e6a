"""`python -m netlab run FILE`: a scenario's journey, as text or as JSON."""

import argparse
import json
from pathlib import Path

from netlab.scenario import load
from netlab.simulate import run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `run`."""
    parser.add_argument("file", type=Path, metavar="FILE.yaml", help="the scenario")
    parser.add_argument("--json", action="store_true", help="print the trace as JSON")


def main(options: argparse.Namespace) -> int:
    """Run the scenario and print its trace.

    Raises:
        NetlabError: the file is no scenario.
    """
    trace = run(load(options.file))
    print(json.dumps(trace.to_json(), indent=1) if options.json else trace)
    return 0
