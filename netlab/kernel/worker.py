"""The process that talks to the kernel, so that whatever it makes there ends with it.

The parent sends what to do and gets the result back, pickled, over a pair of pipes. The worker dies with its parent,
and with it its namespaces: nothing is left behind, whatever happened.
"""

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, TypeVar

from netlab.iptables.extension import Variant
from netlab.kernel.compare import Json
from netlab.kernel.namespaces import become_root_of_own_users, die_with_parent
from netlab.names import NetlabError
from netlab.scenario import Scenario
from netlab.trace import Trace

_PACKAGE_HOME = str(Path(__file__).resolve().parents[2])

P = ParamSpec("P")
T = TypeVar("T")


class Worker:
    """A process that runs scenarios on the kernel; a context manager."""

    def __init__(self, *, cpu: int | None = None, privileged: bool | None = None) -> None:
        """Starts it, on one CPU if `cpu` is given. Without `privileged` it makes do with what everybody may do."""
        self._privileged = os.geteuid() == 0 if privileged is None else privileged
        arguments = [sys.executable, "-m", "netlab.kernel.worker", str(os.getpid()), "" if cpu is None else str(cpu)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([_PACKAGE_HOME, os.environ.get("PYTHONPATH", "")])}
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )

    def run(
        self,
        scenario: Scenario,
        *,
        max_wait: float = 10.0,
        age: bool = False,
        legacy: bool = False,
        like: Json | None = None,
    ) -> Trace:
        """The trace of a scenario on the kernel: see `netlab.kernel.run.run`.

        With `legacy` iptables-legacy loads the rules; `like` is the simulator's trace of the same scenario.

        Raises:
            NetlabError: the kernel refuses something in it, or cannot be asked here.
        """
        from netlab.kernel.run import run

        paths = [step["path"] for step in like["steps"]] if like else []
        variant: Variant = "legacy" if legacy else "nft"
        return self.call(
            run, scenario, max_wait=max_wait, privileged=self._privileged, age=age, variant=variant, paths=paths
        )

    def call(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """What a function returns when it is called in the worker, where it can make namespaces.

        Raises:
            RuntimeError: the worker ended; else whatever the function raised.
        """
        pipes = self._process.stdin, self._process.stdout
        assert pipes[0]
        assert pipes[1]
        try:
            pickle.dump((function, arguments, options), pipes[0], pickle.HIGHEST_PROTOCOL)
            pipes[0].flush()
            failed, answer = pickle.load(pipes[1])
        except (BrokenPipeError, EOFError):
            raise RuntimeError(f"the kernel worker ended with status {self._process.wait()}") from None
        if failed:
            raise answer
        return answer  # type: ignore[no-any-return]

    def kill(self) -> None:
        """Ends the process at once; whoever waits for its answer gets a RuntimeError. Other threads may call it."""
        self._process.kill()

    def close(self) -> None:
        """Ends the process and all that it holds."""
        self.kill()
        self._process.communicate()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def main(parent: str, cpu: str) -> None:
    """The worker's life: read what to call, call it, write what came of it."""
    die_with_parent(int(parent))
    if cpu:
        os.sched_setaffinity(0, {int(cpu)})
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that prints may mix with the answers
    prepared = os.geteuid() == 0
    while True:
        try:
            function, arguments, options = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            if not prepared:
                become_root_of_own_users()
                prepared = True
            answer = False, function(*arguments, **options)
        except Exception as error:
            if not isinstance(error, NetlabError):
                error.add_note(traceback.format_exc())
            answer = True, error
        pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
