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

from netlab.html import html_table
from netlab.names import DropReason, Hook, NetlabError, Verdict
from netlab.packet import Packet
from netlab.skb import Skb
from netlab.trace import Called, Dropped, Passed
from netlab.wires import Wires

MAX_REPEATS = 100  # more than any program means: past that it is an endless loop

# A queue's number stands in a verdict's upper half (NF_QUEUE_NR), the flag for "accept when nobody listens" beside it.
VERDICT_MASK, QUEUE_BITS, QUEUE_BYPASS = 0xFF, 16, 0x8000


class Reply(NamedTuple):
    """What a function answered: its verdict, `number` with what the upper bits say, the packet, and what is wrong.

    `frees`: where it drops a packet it does so itself, as the chains of nft do (NF_DROP_REASON), and says why.
    """

    verdict: Verdict
    number: int
    packet: Packet
    note: str = ""
    frees: bool = False


Answer = Verdict | int | tuple[Verdict | int, Packet] | Reply


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
    """A function on a hook (`struct nf_hook_ops`). `quick`, if there is one, is called while nobody reads journeys."""

    hook: Hook
    priority: int
    function: HookFunction
    name: str
    quick: HookFunction | None = None

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
    waited: bool = False  # in a queue

    @property
    def drop_reason(self) -> DropReason:
        """Why a packet is dropped here: of what has waited that is not said any more (nf_reinject)."""
        return DropReason.NOT_SPECIFIED if self.waited else DropReason.NETFILTER_DROP


class Hooks:
    """The five lists of functions of one host.

    `changed` is called after a function handed on another packet. `enqueue` takes a walk whose packet was queued and
    answers with nothing if it waits now, with why not, or None where nobody listens. `old` makes functions mean what
    they meant up to Linux 4.9, when a function itself could answer REPEAT (be called again) and STOP (accept, and skip
    the functions left).
    """

    def __init__(
        self,
        host: str,
        wires: Wires,
        *,
        changed: Callable[[Hook, Skb, Packet, DropReason], bool],
        enqueue: Callable[[Walk, int], str | None],
        old: bool = False,
    ) -> None:
        self.host = host
        self.wires = wires
        self.old = old
        self._changed = changed
        self._enqueue = enqueue
        # As in the kernel a list never changes, but makes way for another: who walks over it, walks it to its end.
        self._functions: list[tuple[Registered, ...]] = [()] * len(Hook)
        self._quick: list[tuple[HookFunction, ...]] = [()] * len(Hook)

    def register(
        self,
        hook: Hook | str,
        function: HookFunction,
        priority: int = 0,
        name: str | None = None,
        quick: HookFunction | None = None,
    ) -> Registered:
        """Call `function(packet, state)` for every packet on that hook (`nf_register_net_hook`).

        `quick` answers and does the same, but writes nothing down: it is called while nobody reads journeys.

        Raises:
            NetlabError: no such hook, or the function cannot be called.
        """
        where = hook if isinstance(hook, Hook) else Hook.parse(hook)
        if not callable(function):
            raise NetlabError(f"a hook function must be callable, {function!r} is not")
        if not isinstance(priority, int) or not -(2**31) <= priority < 2**31:
            raise NetlabError(f"priority {priority!r} is not a whole number that fits the kernel's 32 bits")
        entry = Registered(
            where, priority, function, name or str(getattr(function, "__name__", type(function).__name__)), quick
        )
        functions = self._functions[where]
        before = sum(one.priority < priority for one in functions)
        self._put(where, (*functions[:before], entry, *functions[before:]))
        return entry

    def unregister(self, entry: Registered) -> None:
        """Call that function no more (`nf_unregister_net_hook`).

        Raises:
            NetlabError: it is not registered.
        """
        if not isinstance(entry, Registered):
            raise NetlabError(f"{entry!r} is not what register() returned")
        functions = self._functions[entry.hook]
        if entry not in functions:
            raise NetlabError(f"{entry.name} is not registered on {entry.hook}")
        at = functions.index(entry)
        self._put(entry.hook, functions[:at] + functions[at + 1 :])

    def _put(self, hook: Hook, functions: tuple[Registered, ...]) -> None:
        self._functions[hook] = functions
        self._quick[hook] = tuple(entry.quick or entry.function for entry in functions)

    def on(self, hook: Hook) -> tuple[Registered, ...]:
        """The functions on that hook, in the order of their calls."""
        return self._functions[hook]

    def run(self, hook: Hook, skb: Skb, dev_in: str | None, dev_out: str | None, okfn: Callable[[Skb], None]) -> None:
        """Take the packet over the hook; where every function accepts it, `okfn` takes it on (the NF_HOOK macro)."""
        if record := self.wires.record:
            passed = Passed(skb.number, self.host, hook, dev_in, dev_out, skb.packet)
            record(passed)
            self._iterate(_new(HookState, (hook, self.host, dev_in, dev_out, skb)), okfn, passed)
        elif self.accept(hook, skb, dev_in, dev_out, okfn):
            okfn(skb)

    def accept(
        self, hook: Hook, skb: Skb, dev_in: str | None, dev_out: str | None, okfn: Callable[[Skb], None]
    ) -> bool:
        """Whether every function accepts the packet, while nobody reads its journey.

        What `_iterate` does for packets that are accepted, without the writing. Where a function says anything else,
        that is done here, and `okfn` takes the packet on if it goes on after all.
        """
        state = _new(HookState, (hook, self.host, dev_in, dev_out, skb))
        functions, at = self._functions[hook], -1
        for function in self._quick[hook]:
            at += 1
            try:
                answer = function(skb.packet, state)
            except Exception as problem:
                answer = _raised(functions[at], skb.packet, problem)
            if answer is _ACCEPTED:
                continue
            reply = understood(answer, skb.packet, functions[at].name)
            if reply.verdict is _ACCEPTED:
                if self._hands_on(hook, skb, reply.packet):
                    continue
                return False
            walk = Walk(skb, hook, dev_in, dev_out, okfn, None, at)
            if self._obey(walk, functions[at], reply):
                self._go_on(walk)
            return False
        return True

    def resume(self, walk: Walk, verdict: int, packet: Packet | None, why: str) -> None:
        """Go on with a packet that waited in a queue (`nf_reinject` in net/netfilter/nf_queue.c).

        ACCEPT goes on behind the function that queued it; REPEAT calls that very function again; QUEUE puts it into a
        queue once more, calling nobody; STOP, which a hook function can no longer say, still skips the functions left.
        `why` is what to say of a DROP.
        """
        meaning = Verdict(verdict & VERDICT_MASK)
        walk.waited = True
        if not self._take_over(walk, meaning, packet or walk.skb.packet):
            return
        if meaning is Verdict.ACCEPT:
            walk.at += 1
            self._go_on(walk)
        elif meaning in (Verdict.REPEAT, Verdict.QUEUE):
            walk.repeats += 1
            if walk.repeats > MAX_REPEATS:
                why = f"the queue's program answered {meaning} {MAX_REPEATS} times: an endless loop"
                self._end(walk, Verdict.DROP, DropReason.NOT_SPECIFIED, why)
            elif meaning is Verdict.REPEAT:
                self._go_on(walk)
            else:
                self._queue(walk, verdict)
        elif meaning is Verdict.STOP:
            self._accept(walk)
        else:
            self._end(walk, Verdict.DROP, DropReason.NOT_SPECIFIED, why)

    # ---------------------------------------------------------------- the walk

    def _iterate(
        self, state: HookState, okfn: Callable[[Skb], None], passed: Passed | None, walk: Walk | None = None
    ) -> None:
        """Call function after function, from the one on that `walk.at` says, and write down what they answer.

        A walk is made for an answer that does more than accept; most packets get through without.
        """
        hook, host, dev_in, dev_out, skb = state
        functions, record = self._functions[hook], self.wires.record
        at = walk.at if walk else 0
        while at < len(functions):
            entry, packet = functions[at], skb.packet
            reply = _call(entry, packet, state)
            if record:
                verdict, _, after, note, _ = reply or (_ACCEPTED, 0, packet, "", False)
                who = skb.number, host, hook, entry.priority, entry.name
                record(_new(Called, (*who, _NAMES[verdict], packet, after, note)))
            if reply is None:
                at += 1
                continue
            walk = walk or Walk(skb, hook, dev_in, dev_out, okfn, passed)
            walk.at = at
            if not self._obey(walk, entry, reply):
                return
            at = walk.at
        if passed:
            passed.verdict, passed.packet, passed.state = "ACCEPT", skb.packet, skb.ctstate
        okfn(skb)

    def _go_on(self, walk: Walk) -> None:
        """Call the functions that are left of a walk."""
        state = HookState(walk.hook, self.host, walk.dev_in, walk.dev_out, walk.skb)
        self._iterate(state, walk.okfn, walk.passed, walk)

    def _obey(self, walk: Walk, entry: Registered, reply: Reply) -> bool:
        """Do what a function said; whether the packet goes on to the function that `walk.at` now says."""
        verdict = reply.verdict
        if not self._take_over(walk, verdict, reply.packet):
            return False
        if verdict is Verdict.ACCEPT:
            walk.at += 1
            return True
        if verdict is Verdict.DROP:
            why = reply.note or f"{entry.name} on {walk.hook} returned DROP"
            self._end(walk, Verdict.DROP, DropReason.NETFILTER_DROP if reply.frees else walk.drop_reason, why)
        elif verdict is Verdict.STOLEN:
            self._leave(walk, Verdict.STOLEN)
        elif verdict is Verdict.QUEUE:
            self._queue(walk, reply.number)
        elif not self.old:
            why = (
                f"{entry.name} returned {verdict}, which the kernel no longer understands from a hook function: "
                "it warns in its log, and the packet is lost"
            )
            self._end(walk, verdict, DropReason.NOT_SPECIFIED, why)
        elif verdict is Verdict.STOP:
            self._accept(walk)
        elif walk.repeats < MAX_REPEATS:
            walk.repeats += 1
            return True
        else:
            why = f"{entry.name} returned REPEAT {MAX_REPEATS} times: an endless loop, where a real kernel hangs"
            self._end(walk, Verdict.DROP, DropReason.NETFILTER_DROP, why)
        return False

    def _take_over(self, walk: Walk, verdict: Verdict, packet: Packet) -> bool:
        """Go on with what the function or program made of the packet; False where it ended for want of a route.

        What is dropped or stolen is not routed again (ipt_mangle_out looks at the verdict first).
        """
        if verdict in (Verdict.DROP, Verdict.STOLEN):
            walk.skb.packet = packet
            return True
        if self._hands_on(walk.hook, walk.skb, packet, walk.drop_reason):
            return True
        self._leave(walk, Verdict.DROP)
        return False

    def _hands_on(self, hook: Hook, skb: Skb, packet: Packet, reason: DropReason = DropReason.NETFILTER_DROP) -> bool:
        """Go on with that packet; False where it ended, since it is another one and has no route."""
        before = skb.packet
        if packet is before or packet == before:
            return True
        skb.packet = packet
        return self._changed(hook, skb, before, reason)

    def _accept(self, walk: Walk) -> None:
        self._leave(walk, Verdict.ACCEPT)
        walk.okfn(walk.skb)

    def _queue(self, walk: Walk, verdict: int) -> None:
        queue, bypass = verdict >> QUEUE_BITS, verdict & QUEUE_BYPASS
        taken = self._enqueue(walk, queue)
        if bypass and taken is None:
            walk.at += 1
            self._go_on(walk)
            return
        walk.skb.sender = None  # its system call returns 0, whatever becomes of the packet (nf_queue)
        if taken == "":
            self._leave(walk, Verdict.QUEUE)
        else:
            why = taken or "no program listens there"
            self._end(walk, Verdict.QUEUE, DropReason.NOT_SPECIFIED, f"queued to queue {queue}, but {why}")

    def _leave(self, walk: Walk, verdict: Verdict) -> None:
        if walk.passed:
            walk.passed.verdict = _NAMES[verdict]
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

    def __repr__(self) -> str:
        return f"<Hooks of {self.host}: {sum(map(len, self._functions))} functions>"

    def _repr_html_(self) -> str:
        rows = [(one.hook.name, one.priority, one.name) for functions in self._functions for one in functions]
        return html_table(rows, ("hook", "priority", "function")) if rows else "<p>no functions</p>"


_new = tuple.__new__  # a NamedTuple's own constructor costs twice as much
_VERDICTS = frozenset(Verdict)
_NAMES = [verdict.name for verdict in Verdict]  # an enum's own `name` takes ten times as long
_ACCEPTED = Verdict.ACCEPT


def _call(entry: Registered, packet: Packet, state: HookState) -> Reply | None:
    """What the function answers; None for the most common answer: it accepts, and that is all."""
    try:
        answer = entry.function(packet, state)
    except Exception as problem:
        return _raised(entry, packet, problem)
    return None if answer is _ACCEPTED else understood(answer, packet, entry.name)


def _raised(entry: Registered, packet: Packet, problem: Exception) -> Reply:
    return Reply(Verdict.DROP, 0, packet, f"{entry.name} raised {blame(problem)}")


def understood(answer: Any, packet: Packet, name: str) -> Reply:
    """What the function of that name said of a packet, in one form; an answer that means nothing is a DROP."""
    if isinstance(answer, Reply):
        return answer
    number, after = answer, packet
    if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], Packet):
        number, after = answer
    if is_verdict(number):
        return Reply(Verdict(number & VERDICT_MASK), number, after)
    return Reply(Verdict.DROP, 0, packet, f"{name} returned {answer!r}, which is no verdict")


def is_verdict(answer: object) -> bool:
    """Whether an answer is a verdict, with or without a queue's number in its upper half."""
    return isinstance(answer, int) and not isinstance(answer, bool) and answer & VERDICT_MASK in _VERDICTS


def queue_to(number: int, *, bypass: bool = False) -> int:
    """The verdict that puts a packet into that queue (NF_QUEUE_NR); with `bypass` it is accepted if nobody listens.

    Raises:
        NetlabError: a queue number outside 0 to 65535.
    """
    return queue_number(number) << QUEUE_BITS | (QUEUE_BYPASS if bypass else 0) | Verdict.QUEUE


def queue_number(number: object) -> int:
    """That number, if there can be such a queue.

    Raises:
        NetlabError: not a whole number from 0 to 65535.
    """
    if not isinstance(number, int) or not 0 <= number <= 0xFFFF:
        raise NetlabError(f"queue {number!r}: queues are numbered from 0 to 65535")
    return number


def blame(problem: Exception) -> str:
    """`ZeroDivisionError: division by zero, in line 3: 1 / 0`: the deepest line in the file of the function itself.

    Only for an exception caught by the caller of that function.
    """
    where = ""
    trace = problem.__traceback__ and problem.__traceback__.tb_next
    file = trace.tb_frame.f_code.co_filename if trace else ""
    while trace:
        if trace.tb_frame.f_code.co_filename == file:
            source = linecache.getline(file, trace.tb_lineno).strip()
            where = f", in line {trace.tb_lineno}" + (f": {source}" if source else "")
        trace = trace.tb_next
    return f"{type(problem).__name__}: {problem}{where}"
