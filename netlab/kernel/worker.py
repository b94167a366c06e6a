"""The process that talks to the kernel, so that whatever it makes there ends with it.

The parent sends scenarios and gets traces back, pickled, over a pair of pipes. The worker dies with its parent, and
with it its namespaces: nothing is left behind, whatever happened.
"""

import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from netlab.names import NetlabError
from netlab.scenario import Scenario
from netlab.trace import Trace

_PACKAGE_HOME = str(Path(__file__).resolve().parents[2])


class Worker:
    """A process that runs scenarios on the kernel; a context manager."""

    def __init__(self, *, cpu: int | None = None, privileged: bool | None = None) -> None:
        """Starts it, on one CPU if `cpu` is given. `privileged` forces (True) or forbids (False) the use of root's means.

        Raises:
            KernelUnavailable: with the first `run`, if this machine's kernel cannot be asked.
        """
        mode = {None: "auto", True: "root", False: "user"}[privileged]
        arguments = [
            sys.executable,
            "-m",
            "netlab.kernel.worker",
            str(os.getpid()),
            "" if cpu is None else str(cpu),
            mode,
        ]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([_PACKAGE_HOME, os.environ.get("PYTHONPATH", "")])
        }
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )

    def run(self, scenario: Scenario, *, max_wait: float = 10.0) -> Trace:
        """The trace of a scenario on the kernel.

        Raises:
            NetlabError: what the worker raised.
            RuntimeError: the worker ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            _write(self._process.stdin, (scenario, max_wait))
            answer = _read(self._process.stdout)
        except (BrokenPipeError, EOFError):
            raise RuntimeError(f"the kernel worker ended with status {self._process.wait()}") from None
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, Trace)
        return answer

    def close(self) -> None:
        """Ends the process and all that it holds."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _write(pipe: BinaryIO, thing: Any) -> None:
    pickle.dump(thing, pipe, pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def _read(pipe: BinaryIO) -> Any:
    return pickle.load(pipe)


def main(parent: str, cpu: str, mode: str) -> None:
    """The worker's life: read a scenario, run it, write what came of it."""
    from netlab.kernel import namespaces
    from netlab.kernel.run import run

    namespaces.die_with_parent(int(parent))
    if cpu:
        os.sched_setaffinity(0, {int(cpu)})
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that prints may mix with the answers
    root = os.geteuid() == 0
    prepared = root
    while True:
        try:
            scenario, max_wait = _read(sys.stdin.buffer)
        except EOFError:
            return
        try:
            if not prepared:
                namespaces.become_root_of_own_users()
                prepared = True
            answer: Any = run(scenario, max_wait=max_wait, privileged=root and mode != "user")
        except NetlabError as error:
            answer = error
        except Exception as error:  # noqa: BLE001 - the parent raises it, with the worker's traceback as a note
            error.add_note(traceback.format_exc())
            answer = error
        _write(answers, answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
