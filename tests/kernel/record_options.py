"""Writes down what this machine's kernel does in each situation: `python -m tests.kernel.record_options` (as root)."""

import os
from datetime import date
from pathlib import Path

from netlab.kernel.worker import Worker
from netlab.scenario import from_dict
from tests.kernel.option_journeys import journey
from tests.kernel.option_situations import SITUATIONS

FILE = Path(__file__).parent.parent / "ip_options_measured.txt"


def main() -> None:
    lines = [f"# Linux {os.uname().release}, {date.today()}, by tests/kernel/record_options.py"]
    with Worker() as worker:
        for name, situation in SITUATIONS.items():
            lines.append(f"## {name}")
            for number, step in enumerate(worker.run(from_dict(situation)).steps):
                lines += [f"{number} {line}" for line in journey(step)]
    FILE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
