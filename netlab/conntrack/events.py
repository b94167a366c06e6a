"""What happens to entries, as `conntrack -E` tells it, and how often, as `conntrack -S` does.

The kernel tells listeners at the end of a packet's way, where new entries are confirmed: all that the packet changed in
its entry makes one UPDATE. What a packet changed that was dropped before is told with the next one.
Sources: nf_conntrack_ecache.c, nf_conntrack_netlink.c, conntrack(8).
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from netlab.conntrack.entry import Entry
from netlab.conntrack.text import Line, flags_of, in_pairs, line_of
from netlab.names import TcpState

KEPT: Final = 10_000  # events; a listener that is slower than that misses the oldest


_NAMES: Final = [state.name for state in TcpState]  # an enum's own `name` takes ten times as long


class Kind(StrEnum):
    """What happened to an entry."""

    NEW = "NEW"
    UPDATE = "UPDATE"
    DESTROY = "DESTROY"


class Event(NamedTuple):
    """One event: when, in seconds of the clock, and the entry as it was then. `by` says who in userspace did it."""

    time: float
    kind: Kind
    entry: Entry
    left: int
    status: int
    state: str | None
    mark: int
    counters: tuple[int, ...] | None
    by: str

    @classmethod
    def of(cls, kind: Kind, entry: Entry, now: float, by: str = "") -> "Event":
        """What to tell of that entry at that time."""
        state, counters = entry.state, entry.counters
        seen = tuple(counters) if counters and kind is Kind.DESTROY else None
        return cls(
            now,
            kind,
            entry,
            int(entry.expires - now),
            entry.status,
            None if state is None else _NAMES[state],
            entry.mark,
            seen,
            by,
        )

    def line(self, *, id: bool = False) -> Line:
        """The entry as it was, in the words of `conntrack -E`: no use count, a mark if there is one."""
        line = line_of(self.entry, 0)
        extra = {"mark": str(self.mark)} if self.mark else {}
        if self.entry.helper:
            extra["helper"] = self.entry.helper.name
        if id:
            extra["id"] = str(self.entry.id)
        if self.by:
            extra["[USERSPACE]"] = ""
            extra |= dict(word.split("=") for word in self.by.split())
        # An entry that ended because its time was over has none left to tell of.
        return line.with_(
            timeout=self.left if self.left > 0 else None,
            state=self.state,
            flags=flags_of(self.status),
            extra=extra,
            counters=in_pairs(self.counters),
        )

    def __str__(self) -> str:
        return f"{f'[{self.kind}]':>9} {self.line()}"


@dataclass(slots=True)
class Statistics:
    """Counters of a tracker, by the names of `conntrack -S`; the kernel keeps a row of them for each processor."""

    found: int = 0
    """By NAT, which looked for a free tuple and found it taken."""
    invalid: int = 0
    """Packets that belong to no flow and begin none."""
    insert: int = 0
    """Entries that a program put into the table."""
    insert_failed: int = 0
    """New flows whose tuple somebody else had taken before they were confirmed."""
    drop: int = 0
    """Packets dropped since the table was full."""
    early_drop: int = 0
    """Entries given up to make room for others."""
    error: int = 0
    """ICMP messages that are broken, or errors about a packet that nobody knows."""
    search_restart: int = 0
    clash_resolve: int = 0
    """Packets that lost such a race, and joined the flow of the winner."""
    chaintoolong: int = 0

    def __str__(self) -> str:
        return "cpu=0   \t" + "".join(f"{name}={count} " for name, count in asdict(self).items())
