"""Flows that are foreseen: a helper read in one flow that another one will begin (nf_conntrack_expect.c)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.tuples import Direction, FlowTuple

LIFETIME: Final = 300  # seconds that FTP's expectations wait


class ExpectationKey(NamedTuple):
    """What the first packet of a foreseen flow will look like: its source port may be any."""

    saddr: int
    daddr: int
    proto: int
    dport: int


class Expectation(NamedTuple):
    """A foreseen flow (`struct nf_conntrack_expect`): who is to open it, in which flow it was foreseen, until when.

    `direction` is the one of the master in which its opener speaks, `port` the one that was announced; `key` may have
    another, after translation. `begun` is called with the flow once it begins (expectfn).
    """

    key: ExpectationKey
    master: Entry
    expires: float
    helper: str
    direction: Direction
    port: int
    begun: "Callable[[Entry, Expectation], None] | None" = None


@dataclass(slots=True)
class ExpectStatistics:
    """Counters by the names of `conntrack -S expect`."""

    expect_new: int = 0
    """Flows that had been foreseen."""
    expect_create: int = 0
    expect_delete: int = 0
    """Expectations that came true, grew too old, or made way for another."""

    def __str__(self) -> str:
        counts = self.expect_new, self.expect_create, self.expect_delete
        return "cpu=0   \texpect_new={} expect_create={} expect_delete={} ".format(*counts)


class Expectations:
    """The expectations of one host; a flow has one at most (max_expected of the FTP helper)."""

    def __init__(self, told: Callable[[str, Expectation], None] = lambda kind, one: None) -> None:
        """Begin without any; `told` hears of each that is NEW, and of its end, DESTROY."""
        self._told = told
        self._waiting: dict[ExpectationKey, Expectation] = {}
        self._of: dict[Entry, Expectation] = {}
        self.statistics = ExpectStatistics()

    def __len__(self) -> int:
        return len(self._waiting)

    def living(self, now: float) -> list[Expectation]:
        """Those that still wait; the others are forgotten."""
        for late in [one for one in self._waiting.values() if one.expires <= now]:
            self._remove(late)
        return list(self._waiting.values())

    def add(self, wanted: Expectation, highest: int) -> bool:
        """Wait for that flow; False where another one foresees the same, or there are `highest` of them already.

        What the same flow had foreseen before is forgotten (nf_ct_expect_related_report).
        """
        if self.clashes(wanted):
            return False
        if former := self._of.get(wanted.master):
            self._remove(former)
        if len(self._waiting) >= highest:
            return False
        self._waiting[wanted.key] = self._of[wanted.master] = wanted
        self.statistics.expect_create += 1
        self._told("NEW", wanted)
        return True

    def clashes(self, wanted: Expectation) -> bool:
        """Whether another flow has foreseen the same."""
        same = self._waiting.get(wanted.key)
        return same is not None and same.master is not wanted.master

    def take(self, flow: FlowTuple, now: float) -> Expectation | None:
        """The expectation that a new flow fulfils, if there is one; it is not waited for any longer then."""
        found = self._waiting.get(ExpectationKey(flow.saddr, flow.daddr, flow.proto, flow.dport))
        if found is None or not found.master.status & Status.CONFIRMED:
            return None
        self._remove(found)
        if found.expires <= now:
            return None
        self.statistics.expect_new += 1
        return found

    def forget(self, master: Entry) -> None:
        """That flow is gone, and what it foresaw with it."""
        if found := self._of.get(master):
            self._remove(found)

    def clear(self) -> None:
        """Forget all of them (`conntrack -F expect`)."""
        for one in list(self._waiting.values()):
            self._remove(one)

    def _remove(self, one: Expectation) -> None:
        del self._waiting[one.key], self._of[one.master]
        self.statistics.expect_delete += 1
        self._told("DESTROY", one)
