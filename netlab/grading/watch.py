"""Calling a learner's code in this process: bounded in time, quiet, and with the blame on the right line.

This is for immediate feedback only. It does not defend against anyone; marks are given elsewhere.
"""

import ctypes
import functools
import io
import linecache
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]


class TimeIsUp(BaseException):
    """Raised inside code that ran past its limit. Not an Exception, so that `except Exception` lets it
    through.
    """


class Raised(Exception):
    """A learner's function raised; the message names the error and the learner's own line."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Stop the block with TimeIsUp once `seconds` of wall clock are over (pure Python code, on any
    platform).
    """
    thread = ctypes.c_ulong(threading.get_ident())
    over = threading.Event()
    lock = threading.Lock()

    def interrupt() -> None:
        wait = seconds
        while not over.wait(wait):
            with lock:
                if not over.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(TimeIsUp))
            wait = 0.2  # again, for code that swallowed it

    watcher = threading.Thread(target=interrupt, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        with lock:
            over.set()


class Guard:
    """A learner's function, wrapped: what it prints is swallowed, what it raises is kept.

    The engine calls hook functions itself and turns their errors into drops; `error` still knows what
    happened.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.error: Raised | NotImplementedError | None = None
        functools.update_wrapper(self, function)

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """Call it; any error (`exit()` included) comes out as Raised.

        Raises:
            NotImplementedError: the function is still the starting cell's.
            Raised: it raised something.
        """
        try:
            with redirect_stdout(io.StringIO()):
                return self.function(*args, **kwargs)
        except NotImplementedError as error:
            self.error = error
            raise
        except (Exception, SystemExit) as error:
            self.error = Raised(blame(error))
            raise self.error from None


def blame(error: BaseException) -> str:
    """An error and the learner's line it came from, in one line: `ZeroDivisionError: ... (line 3: x = 1
    / 0)`.
    """
    name = type(error).__name__
    text = f"{name}: {first_line(str(error))}" if str(error) else name
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not is_ours(frame.filename)]
    if not frames:
        return text
    frame = frames[-1]
    source = linecache.getline(frame.filename, frame.lineno or 0).strip()
    return f"{text} (line {frame.lineno}{f': {source}' if source else ''})"


def first_line(text: str) -> str:
    """Error messages stay on one line."""
    return text.splitlines()[0]


def is_ours(filename: str) -> bool:
    """Whether a frame belongs to netlab or to a lab's exercises rather than to the learner."""
    path = Path(filename)
    return path.is_relative_to(PACKAGE) or path.name == "exercises.py"
