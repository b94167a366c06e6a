"""How long `import netlab` takes beside `import pandas`, in fresh interpreters taken in turns.

    python benchmarks/import_time.py

`netlab, every name` imports what `import netlab` puts off until a name is used.
"""

import subprocess
import sys
from collections.abc import Sequence

STATEMENTS = {
    "netlab": "import netlab",
    "netlab, every name": "from netlab import *",
    "pandas": "import pandas",
}


def seconds(statement: str) -> float:
    """The time of one import statement in a fresh interpreter."""
    code = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(run.stdout)


def measure(rounds: int) -> dict[str, float]:
    """The smallest time of each statement over some rounds, after one that fills the caches."""
    times: dict[str, list[float]] = {what: [] for what in STATEMENTS}
    for _ in range(1 + rounds):
        for what, statement in STATEMENTS.items():
            times[what].append(seconds(statement))
    return {what: min(values[1:]) for what, values in times.items()}


def main(arguments: Sequence[str] = ()) -> None:
    """Print the times and their ratios to that of pandas."""
    best = measure(int(arguments[0]) if arguments else 7)
    for what, time in best.items():
        print(f"{what:20} {1000 * time:8.1f} ms   {time / best['pandas']:6.3f} x pandas")


if __name__ == "__main__":
    main(sys.argv[1:])
