"""What hosts share: the links between them, the frames on their way, the clock, and who writes the journey down.

Frames are handed over first in, first out, never by one host calling the next: so does the kernel, where a frame that
a virtual link or `lo` carries waits in the receiver's backlog until the work at hand is done (net/core/dev.c).
"""

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from netlab.clock import Clock
from netlab.names import NetlabError
from netlab.packet import Packet
from netlab.trace import Event, Step, Trace

if TYPE_CHECKING:
    from netlab.skb import Skb

MAX_FRAMES = 100_000  # in one step; a storm, not a lesson, past that


class Receiver(Protocol):
    """A host, as seen from a link."""

    name: str

    def arrive(self, dev: str, packet: Packet, number: int, looped: "Skb | None", to_all: bool) -> None: ...

    def owns(self, address: int) -> bool: ...


class End(NamedTuple):
    """One end of a link."""

    host: Receiver
    dev: str


class Wires:
    """The links of one small world, which runs until no frame is on its way.

    `record` takes an event, or is None while nobody wants to read the journey: then nothing is written down.
    `unrecorded` is the step that is done then, `current` the trace of the one that is being done.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.peers: dict[tuple[str, str], End] = {}
        self.record: Callable[[Event], None] | None = None
        self.recording = True
        self.unrecorded = _Running(self, Trace())
        self.current: Trace | None = None
        self.pending: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self.slow: deque[Callable[[], None]] = deque()
        self.next_number = 0
        self.steps = 0

    def connect(self, one: End, other: End) -> None:
        """Put a cable between two interfaces.

        Raises:
            NetlabError: one of them has a cable already, or both ends are the same.
        """
        ends = [(end.host.name, end.dev) for end in (one, other)]
        for host, dev in ends:
            if (host, dev) in self.peers:
                raise NetlabError(f"{host}:{dev} is on a link already")
        if ends[0] == ends[1]:
            raise NetlabError(f"{one.host.name}:{one.dev} cannot be linked to itself")
        self.peers[ends[0]] = other
        self.peers[ends[1]] = one

    def carry(
        self,
        host: Receiver,
        dev: str,
        packet: Packet,
        number: int,
        *,
        looped: "Skb | None" = None,
        to_all: bool = False,
    ) -> None:
        """Put a frame into that host's interface, when its turn comes.

        `looped` is a host's own, coming back to it; `to_all`: it is for everybody on the link.
        """
        self.pending.append((host.arrive, (dev, packet, number, looped, to_all)))

    def at_last(self, work: Callable[[], None]) -> None:
        """Do this when no frame is on its way any more: what takes the kernel seconds."""
        self.slow.append(work)

    def later(self, work: Callable[[], None]) -> None:
        """Do this once the work at hand is done."""
        self.pending.append((work, ()))

    def new_number(self) -> int:
        """The number of a packet that has none yet."""
        number = self.next_number
        self.next_number += 1
        return number

    def step(self, title: str, *about: object) -> AbstractContextManager[Trace]:
        """One step: what is done inside, and all that follows from it, goes into the trace that entering it gives.

        `title` is a format for `about`. Within another step, as when a hook function acts, it is a part of that one.

        Raises:
            NetlabError: on leaving it, the frames do not come to an end.
        """
        if self.current is not None:
            return nullcontext(self.current)
        return _Running(self, Trace([Step(title, *about)])) if self.recording else self.unrecorded

    def settle(self) -> None:
        """Deliver frames until none is on its way."""
        done = 0
        pending = self.pending
        while pending:
            work, arguments = pending.popleft()
            work(*arguments)
            done += 1
            if done > MAX_FRAMES:
                raise NetlabError(f"{MAX_FRAMES} frames in one step: some packets go round and round")


class _Running:
    """A step while it is done. A class of its own, since a generator takes three times as long to enter and leave."""

    __slots__ = ("_wires", "trace")

    def __init__(self, wires: Wires, trace: Trace) -> None:
        self._wires = wires
        self.trace = trace

    def __enter__(self) -> Trace:
        wires, trace = self._wires, self.trace
        wires.current = trace
        wires.record = trace.steps[0].events.append if trace.steps else None
        wires.next_number = 0
        wires.steps += 1
        return trace

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        wires = self._wires
        try:
            if wires.pending and kind is None:
                wires.settle()
            while wires.slow and kind is None:
                wires.slow.popleft()()
                wires.settle()
        finally:
            wires.current = wires.record = None
            wires.pending.clear()
            wires.slow.clear()
