"""Functions on a hook, and the walk of one packet over them (`nf_hook_slow` in net/netfilter/core.c).

A hook is a list of functions in the order of their priorities, lowest first; of two with the same priority the one
registered later comes first, as the kernel inserts them. Each is shown the packet and answers with a verdict:

    ACCEPT   the next function's turn; after the last one the packet goes on
    DROP     the end of the packet
    STOLEN   the function keeps the packet: nobody else sees it again
    QUEUE    the packet waits for a program in userspace, which answers later

A function may also answer `verdict, packet` to hand on a changed packet (the kernel's functions change it in place).
"""

import linecache
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from netlab.names import DropReason, Hook, NetlabError, Verdict
from netlab.packet import Packet
from netlab.skb import Skb
from netlab.trace import Called, Dropped, Passed
from netlab.wires import Wires

MAX_REPEATS = 100  # more than any program means: past that it is an endless loop

# A queue's number stands in a verdict's upper half (NF_QUEUE_NR), the flag for "accept when nobody listens" beside it.
VERDICT_MASK, QUEUE_BITS, QUEUE_BYPASS = 0xFF, 16, 0x8000

Answer = Verdict | int | tuple[Verdict | int, Packet]


class HookState(NamedTuple):
    """Where a hook function is called (`struct nf_hook_state`): `dev_in` and `dev_out` are None where there is none.

    `skb` is what the kernel's own functions look at beside the packet.
    """

    hook: Hook
    host: str
    dev_in: str | None
    dev_out: str | None
    skb: Skb


HookFunction = Callable[[Packet, HookState], Answer]


class Registered(NamedTuple):
    """A function on a hook (`struct nf_hook_ops`)."""

    hook: Hook
    priority: int
    function: HookFunction
    name: str

    def __str__(self) -> str:
        return f"{self.hook} {self.priority:>6} {self.name}"


@dataclass(slots=True, eq=False)
class Walk:
    """A packet on its way over one hook's functions: kept as it is while the packet waits in a queue."""

    skb: Skb
    hook: Hook
    dev_in: str | None
    dev_out: str | None
    okfn: Callable[[Skb], None]
    passed: Passed | None
    at: int = 0
    repeats: int = 0


class Hooks:
    """The five lists of functions of one host.

    `changed` is called after a function handed on another packet, `enqueue` takes a walk whose packet was queued and
    says whether somebody will answer. `old` makes functions mean what they meant up to Linux 4.9, when a function
    itself could answer REPEAT (be called again) and STOP (accept, and skip the functions left).
    """

    def __init__(
        self,
        host: str,
        wires: Wires,
        *,
        changed: Callable[[Walk, Packet], bool],
        enqueue: Callable[[Walk, int], bool],
        old: bool = False,
    ) -> None:
        self.host = host
        self.wires = wires
        self.old = old
        self._changed = changed
        self._enqueue = enqueue
        self._functions: list[list[Registered]] = [[] for _ in Hook]

    def register(
        self, hook: Hook | str, function: HookFunction, priority: int = 0, name: str | None = None
    ) -> Registered:
        """Call `function(packet, state)` for every packet on that hook (`nf_register_net_hook`).

        Raises:
            NetlabError: no such hook, or the function cannot be called.
        """
        where = hook if isinstance(hook, Hook) else Hook.parse(hook)
        if not callable(function):
            raise NetlabError(f"a hook function must be callable, {function!r} is not")
        if not -(2**31) <= priority < 2**31:
            raise NetlabError(f"priority {priority} does not fit the kernel's 32 bits")
        entry = Registered(
            where, priority, function, name or str(getattr(function, "__name__", type(function).__name__))
        )
        functions = self._functions[where]
        before = sum(one.priority < priority for one in functions)
        functions.insert(before, entry)
        return entry

    def unregister(self, entry: Registered) -> None:
        """Call that function no more (`nf_unregister_net_hook`).

        Raises:
            NetlabError: it is not registered.
        """
        functions = self._functions[entry.hook]
        if entry not in functions:
            raise NetlabError(f"{entry.name} is not registered on {entry.hook}")
        functions.remove(entry)

    def on(self, hook: Hook) -> tuple[Registered, ...]:
        """The functions on that hook, in the order of their calls."""
        return tuple(self._functions[hook])

    def run(self, hook: Hook, skb: Skb, dev_in: str | None, dev_out: str | None, okfn: Callable[[Skb], None]) -> None:
        """Take the packet over the hook; where every function accepts it, `okfn` takes it on (the NF_HOOK macro)."""
        passed = None
        if record := self.wires.record:
            passed = Passed(skb.number, self.host, hook, dev_in, dev_out, skb.packet)
            record(passed)
        elif not self._functions[hook]:
            okfn(skb)
            return
        self._iterate(Walk(skb, hook, dev_in, dev_out, okfn, passed))

    def resume(self, walk: Walk, verdict: Verdict, packet: Packet | None) -> None:
        """Go on with a packet that waited in a queue (`nf_reinject` in net/netfilter/nf_queue.c).

        ACCEPT goes on behind the function that queued it; REPEAT calls that very function again; QUEUE and DROP mean
        themselves; STOLEN leaves the packet with the program.
        """
        before = walk.skb.packet
        if packet is not None and packet != before:
            walk.skb.packet = packet
            if not self._changed(walk, before):
                return
        if verdict is Verdict.ACCEPT:
            walk.at += 1
            self._iterate(walk)
        elif verdict is Verdict.REPEAT:
            walk.repeats += 1
            if walk.repeats > MAX_REPEATS:
                why = f"the queue's program answered REPEAT {MAX_REPEATS} times: an endless loop"
                self._end(walk, Verdict.DROP, DropReason.NETFILTER_DROP, why)
            else:
                self._iterate(walk)
        elif verdict is Verdict.STOLEN:
            self._leave(walk, Verdict.STOLEN)
        elif verdict is Verdict.QUEUE:
            self._queue(walk, Verdict.QUEUE)
        else:
            self._end(walk, Verdict.DROP, DropReason.NETFILTER_DROP, "the queue's program answered DROP")

    # ---------------------------------------------------------------- the walk

    def _iterate(self, walk: Walk) -> None:
        functions = self._functions[walk.hook]
        skb = walk.skb
        state = HookState(walk.hook, self.host, walk.dev_in, walk.dev_out, skb)
        while walk.at < len(functions):
            entry = functions[walk.at]
            before = skb.packet
            verdict, whole, after, note = self._call(entry, before, state)
            if record := self.wires.record:
                record(
                    Called(
                        skb.number,
                        self.host,
                        walk.hook,
                        entry.priority,
                        entry.name,
                        verdict.name,
                        before,
                        after,
                        note,
                    )
                )
            if after is not before and after != before:
                skb.packet = after
                if not self._changed(walk, before):
                    return
            if verdict is Verdict.ACCEPT:
                walk.at += 1
            elif verdict is Verdict.DROP:
                why = note or f"{entry.name} on {walk.hook} returned DROP"
                return self._end(walk, Verdict.DROP, DropReason.NETFILTER_DROP, why)
            elif verdict is Verdict.STOLEN:
                return self._leave(walk, Verdict.STOLEN)
            elif verdict is Verdict.QUEUE:
                return self._queue(walk, whole)
            elif not self.old:
                why = (
                    f"{entry.name} returned {verdict}, which the kernel no longer understands from a hook function: "
                    "it warns in its log, and the packet is lost"
                )
                return self._end(walk, verdict, DropReason.NOT_SPECIFIED, why)
            elif verdict is Verdict.STOP:
                break
            else:
                walk.repeats += 1
                if walk.repeats > MAX_REPEATS:
                    why = (
                        f"{entry.name} returned REPEAT {MAX_REPEATS} times: an endless loop, where a real kernel hangs"
                    )
                    return self._end(walk, Verdict.DROP, DropReason.NETFILTER_DROP, why)
        self._leave(walk, Verdict.ACCEPT)
        walk.okfn(skb)

    def _call(self, entry: Registered, packet: Packet, state: HookState) -> tuple[Verdict, int, Packet, str]:
        """The function's answer as (verdict, the verdict with what its upper bits say, packet, what is wrong)."""
        try:
            answer: Any = entry.function(packet, state)
        except Exception as problem:
            return Verdict.DROP, 0, packet, f"{entry.name} raised {_blame(problem, entry.function)}"
        if isinstance(answer, Verdict):  # the common case first
            return answer, answer, packet, ""
        if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], Packet):
            answer, packet = answer
        if isinstance(answer, int) and not isinstance(answer, bool) and answer & VERDICT_MASK in _VERDICTS:
            return Verdict(answer & VERDICT_MASK), answer, packet, ""
        return Verdict.DROP, 0, packet, f"{entry.name} returned {answer!r}, which is no verdict"

    def _queue(self, walk: Walk, verdict: int) -> None:
        queue, bypass = verdict >> QUEUE_BITS, verdict & QUEUE_BYPASS
        taken = self._enqueue(walk, queue)
        if bypass and not taken:
            walk.at += 1
            self._iterate(walk)
            return
        walk.skb.sender = None  # its system call returns 0, whatever becomes of the packet (nf_queue)
        if taken:
            self._leave(walk, Verdict.QUEUE)
        else:
            why = f"queued to queue {queue}, but no program listens there"
            self._end(walk, Verdict.QUEUE, DropReason.NETFILTER_DROP, why)

    def _leave(self, walk: Walk, verdict: Verdict) -> None:
        if walk.passed:
            walk.passed.verdict = verdict.name
            walk.passed.packet = walk.skb.packet
            walk.passed.state = walk.skb.ctstate

    def _end(self, walk: Walk, verdict: Verdict, reason: DropReason, why: str) -> None:
        self._leave(walk, verdict)
        if record := self.wires.record:
            record(Dropped(walk.skb.number, self.host, reason, walk.skb.packet, why))
        if walk.hook in (Hook.LOCAL_OUT, Hook.POST_ROUTING):
            walk.skb.refuse("EPERM", why)

    def __str__(self) -> str:
        return "\n".join(str(entry) for functions in self._functions for entry in functions)


_VERDICTS = frozenset(Verdict)


def queue_to(number: int, *, bypass: bool = False) -> int:
    """The verdict that puts a packet into that queue (NF_QUEUE_NR); with `bypass` it is accepted if nobody listens.

    Raises:
        NetlabError: a queue number outside 0 to 65535.
    """
    if not 0 <= number <= 0xFFFF:
        raise NetlabError(f"queue {number}: queues are numbered from 0 to 65535")
    return number << QUEUE_BITS | (QUEUE_BYPASS if bypass else 0) | Verdict.QUEUE


def _blame(problem: BaseException, function: HookFunction) -> str:
    """`ZeroDivisionError: division by zero, in line 3: 1 / 0`: the deepest line in the file of the function itself."""
    code = getattr(function, "__code__", None)
    where = ""
    trace = problem.__traceback__
    while trace:
        filename = trace.tb_frame.f_code.co_filename
        if code is not None and filename == code.co_filename:
            source = linecache.getline(filename, trace.tb_lineno).strip()
            where = f", in line {trace.tb_lineno}" + (f": {source}" if source else "")
        trace = trace.tb_next
    return f"{type(problem).__name__}: {problem}{where}"
