"""The way out of the kernel: packets that wait for a program in userspace (nfnetlink_queue, `-j NFQUEUE`).

A hook function answers QUEUE and the packet waits. A program bound to the queue reads it and answers later, at its
leisure: ACCEPT, DROP, REPEAT (call the function that queued it once more), with the packet changed if it likes.
"""

from collections.abc import Callable
from typing import Any

from netlab.conntrack.entry import Status
from netlab.conntrack.tuples import Direction
from netlab.hooks import VERDICT_MASK, Answer, HookState, Walk, blame, is_verdict
from netlab.html import html_table
from netlab.names import Hook, NetlabError, Verdict
from netlab.packet import Packet
from netlab.skb import Skb
from netlab.trace import Noted, Trace
from netlab.wires import Wires

MAX_WAITING = 1024  # packets; the kernel's queue_maxlen at its default: one more is dropped

Program = Callable[[Packet, HookState], Answer]


class QueuedPacket:
    """A packet that waits. `answer` may be given once."""

    def __init__(self, queue: "NfQueue", walk: Walk, id: int) -> None:
        self._queue = queue
        self._walk = walk
        self.id = id

    @property
    def packet(self) -> Packet:
        """The packet as it waits."""
        return self._walk.skb.packet

    @property
    def hook(self) -> Hook:
        """The hook on which it was queued."""
        return self._walk.hook

    def answer(self, verdict: Verdict | int, packet: Packet | None = None) -> Trace:
        """Say what becomes of it, and with `packet` also what it becomes; returns what happened then.

        Raises:
            NetlabError: it has its answer already, or the verdict is none.
        """
        return self._queue.answer(self, verdict, packet)

    def __repr__(self) -> str:
        return f"<queued {self.id} on {self.hook}: {self.packet}>"


class NfQueue:
    """One queue of a host. Without a program bound to it, whatever is queued there is dropped."""

    def __init__(
        self, number: int, host: str, wires: Wires, resume: Callable[[Walk, int, Packet | None, str], None]
    ) -> None:
        self.number = number
        self.host = host
        self._wires = wires
        self._resume = resume
        self._bound = False
        self._program: Program | None = None
        self._last_id = 0
        self.waiting: list[QueuedPacket] = []

    def bind(self, program: Program | None = None) -> "NfQueue":
        """Listen. `program(packet, state)` answers each packet as soon as the kernel has set it aside.

        Without a program packets wait in `waiting` until somebody answers them by hand.

        Raises:
            NetlabError: the program cannot be called.
        """
        if program is not None and not callable(program):
            raise NetlabError(f"a queue's program must be callable, {program!r} is not")
        self._bound = True
        self._program = program
        return self

    def unbind(self) -> Trace:
        """Stop listening: the kernel drops what still waits, as when the program's socket is closed."""
        self._bound = False
        with self._wires.step(f"nobody listens to queue {self.number} any more") as trace:
            for queued in list(self.waiting):
                self._lose(queued, "nobody listens any more")
        return trace

    def take(self, walk: Walk) -> str | None:
        """Set a packet aside: empty text, or why it cannot be; None where nobody listens."""
        if not self._bound:
            return None
        if len(self.waiting) >= MAX_WAITING:
            return "it is full"
        if _shares_new_flow(walk.skb):
            return "its flow is not confirmed yet, and the packet it is about holds it too"
        self._last_id += 1
        queued = QueuedPacket(self, walk, self._last_id)
        self.waiting.append(queued)
        self._note(walk, f"waits in queue {self.number} as packet {queued.id}")
        if self._program:
            self._wires.later(lambda: self._ask(queued))
        return ""

    def answer(self, queued: QueuedPacket, verdict: Verdict | int, packet: Packet | None = None) -> Trace:
        """Answer one waiting packet: see `QueuedPacket.answer`.

        Raises:
            NetlabError: it does not wait here, or the verdict is none that a program may give; it waits on.
        """
        if queued not in self.waiting:
            raise NetlabError(f"packet {queued.id} does not wait in queue {self.number}: was it answered before?")
        if refusal := _refusal(verdict):
            raise NetlabError(refusal)
        if packet is not None and not isinstance(packet, Packet):
            raise NetlabError(f"{packet!r} is no packet")
        name = Verdict(verdict & VERDICT_MASK)
        with self._wires.step(f"queue {self.number} answers {name}: {queued.packet}") as trace:
            self.waiting.remove(queued)
            self._note(queued._walk, f"queue {self.number}: the program answers {name}")
            self._resume(queued._walk, verdict, packet, "the queue's program answered DROP")
        return trace

    def _ask(self, queued: QueuedPacket) -> None:
        """Let the bound program answer; one that raises or answers nonsense loses the packet, as a crash would."""
        walk = queued._walk
        if queued not in self.waiting or self._program is None:
            return
        state = HookState(walk.hook, self.host, walk.dev_in, walk.dev_out, walk.skb)
        try:
            answer: Any = self._program(queued.packet, state)
        except Exception as problem:
            self._fail(queued, f"it raised {blame(problem)}")
            return
        verdict, packet = answer, None
        if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], Packet):
            verdict, packet = answer
        if not is_verdict(verdict):
            self._fail(queued, f"it answered {verdict!r}, which is no verdict")
        elif refusal := _refusal(verdict):
            self._note(walk, f"queue {self.number}: {refusal}, the packet waits on")
        elif queued in self.waiting:  # the program has not answered by hand meanwhile
            self.answer(queued, verdict, packet)

    def _fail(self, queued: QueuedPacket, how: str) -> None:
        why = f"the program of queue {self.number} failed: {how}"
        self._note(queued._walk, why)
        self._lose(queued, why)

    def _lose(self, queued: QueuedPacket, why: str) -> None:
        if queued in self.waiting:
            self.waiting.remove(queued)
            self._resume(queued._walk, Verdict.DROP, None, why)

    def _note(self, walk: Walk, text: str) -> None:
        if record := self._wires.record:
            record(Noted(walk.skb.number, self.host, text))

    def __repr__(self) -> str:
        state = f"{len(self.waiting)} waiting" if self._bound else "nobody listens"
        return f"<queue {self.number} of {self.host}: {state}>"

    def _repr_html_(self) -> str:
        rows = [(one.id, one.hook.name, str(one.packet)) for one in self.waiting]
        return html_table(rows, ("id", "hook", "packet"), repr(self).strip("<>"))


def _refusal(verdict: object) -> str:
    """Why the kernel does not take this verdict from a program (`verdicthdr_get`); empty where it does."""
    if not is_verdict(verdict):
        return f"{verdict!r} is no verdict"
    if verdict == Verdict.STOLEN:
        return "the kernel takes STOLEN from hook functions only, not from a program (EINVAL)"
    return ""


def _shares_new_flow(skb: Skb) -> bool:
    """Whether another packet holds its flow, which is in no table yet (nf_ct_drop_unconfirmed): what it tells about."""
    if skb.dev_in is not None and skb.about_received:
        return False
    return skb.ct is not None and not skb.ct.status & Status.CONFIRMED and skb.direction is Direction.REPLY
