"""Asks the kernel for every cell of TCP's table: `python -m tests.kernel.record_conntrack_cells`, as root."""

import os
from datetime import date

from netlab.kernel.worker import Worker
from tests.conntrack_cells import MEASURED, REACHABLE, outcome, scenario_of

if __name__ == "__main__":
    with Worker() as worker:
        lines = [f"# Linux {os.uname().release}, {date.today()}, by tests/kernel/record_conntrack_cells.py"]
        lines += [outcome(cell, worker.run(scenario_of(cell)).to_json()) for cell in REACHABLE]
    MEASURED.write_text("\n".join(lines) + "\n")
    print(f"{len(lines) - 1} cells measured")
