"""Room in the kernel's log.

Of what strangers bring about, like a martian, it prints at most ten lines in five seconds: net_ratelimit, one for all
namespaces. So it counts what any process on this machine has made it print.

Sources: net/core/utils.c, Documentation/admin-guide/sysctl/net.rst (message_burst, message_cost),
Documentation/ABI/testing/dev-kmsg.
"""

import os
import time
from collections.abc import Iterator

_LOG = "/dev/kmsg"
_BURST, _SECONDS = 8, 6.0  # a packet may have two lines printed, and clocks differ a little
_LONGEST = 8192  # bytes of a record
_SAME_LINE = b";ll header:"  # prints more about the martian of the line before


def wait_for_room() -> None:
    """Waits until the kernel will print the lines of one more packet. Who may not read its log does not wait."""
    while True:
        now = time.monotonic()
        recent = [seconds for seconds in _printed() if now - seconds < _SECONDS][-_BURST:]
        if len(recent) < _BURST:
            return
        time.sleep(recent[0] + _SECONDS - now)


def _printed() -> Iterator[float]:
    """When the kernel has printed its lines, in seconds since it began."""
    try:
        log = os.open(_LOG, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return
    try:
        while True:
            try:
                record = os.read(log, _LONGEST)
            except BrokenPipeError:
                continue  # this one has just been overwritten
            if _SAME_LINE not in record:
                yield int(record.split(b",", 3)[2]) / 1_000_000
    except BlockingIOError:
        return
    finally:
        os.close(log)
