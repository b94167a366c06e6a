"""The table of flows: each entry stands in it twice, once for each direction (nf_conntrack_core.c).

The engine looks an entry up in a dict. The kernel's buckets and their chains are worked out when somebody asks for
them: `bucket_of` says in which one a tuple stands.
"""

from collections.abc import Iterator
from hashlib import blake2b
from struct import Struct
from typing import Final

from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.tcp import CLOSING, TcpTrack
from netlab.conntrack.tuples import Direction, FlowTuple

EARLY_DROP_BUCKETS: Final = 8  # so many buckets are searched for a victim (NF_CT_EVICTION_RANGE)
_KEY = Struct(">IIBHH")


class ConntrackTable:
    """Confirmed entries by both of their tuples. `buckets` is the number of hash chains (nf_conntrack_buckets)."""

    def __init__(self, buckets: int = 262144) -> None:
        self.buckets = buckets
        self._entries: dict[FlowTuple, Entry] = {}
        self._chains: dict[int, set[FlowTuple]] | None = None
        self._count = 0

    def __len__(self) -> int:
        """How many entries there are (nf_conntrack_count)."""
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        return (entry for flow, entry in self._entries.items() if flow is entry.original)

    def find(self, flow: FlowTuple, now: float) -> Entry | None:
        """The entry with that tuple in either direction; one whose time is over is forgotten on the way."""
        entry = self._entries.get(flow)
        if entry is not None and entry.expires <= now:
            self.remove(entry)
            return None
        return entry

    def insert(self, entry: Entry) -> None:
        """Make it findable by both tuples."""
        for flow in (entry.original, entry.reply):
            self._entries[flow] = entry
            if self._chains is not None:
                self._chains.setdefault(self.bucket_of(flow), set()).add(flow)
        self._count += 1

    def remove(self, entry: Entry) -> None:
        """Forget it."""
        entry.status |= Status.DYING
        for flow in (entry.original, entry.reply):
            self._entries.pop(flow, None)  # both may be the same
            if self._chains is not None:
                self._chains[self.bucket_of(flow)].discard(flow)
        self._count -= 1

    def expire(self, now: float) -> list[Entry]:
        """Forget every entry whose time is over, and return them (the kernel's garbage collection)."""
        late = [entry for entry in self if entry.expires <= now]
        for entry in late:
            self.remove(entry)
        return late

    # ---------------------------------------------------------------- buckets

    def bucket_of(self, flow: FlowTuple) -> int:
        """The bucket that a tuple hashes to. The kernel's hash is secret and new at every boot; so is no other."""
        digest = blake2b(_KEY.pack(*flow), digest_size=4).digest()
        return int.from_bytes(digest, "big") * self.buckets >> 32

    def chains(self) -> dict[int, set[FlowTuple]]:
        """The tuples in each bucket that is not empty."""
        if self._chains is None:
            self._chains = {}
            for flow in self._entries:
                self._chains.setdefault(self.bucket_of(flow), set()).add(flow)
        return self._chains

    def early_drop(self, flow: FlowTuple, now: float) -> Entry | None:
        """Make room for a new flow: give up one that nobody has answered for good, near where the new one belongs.

        Only entries that are not ASSURED may go, or whose connection is closing anyway. None: no victim was found.
        """
        chains = self.chains()
        first = self.bucket_of(flow)
        for bucket in range(first, first + EARLY_DROP_BUCKETS):
            for candidate in chains.get(bucket % self.buckets, ()):
                entry = self._entries[candidate]
                if entry.expires <= now or may_be_dropped(entry):
                    self.remove(entry)
                    return entry
        return None


def may_be_dropped(entry: Entry) -> bool:
    """Whether early_drop may take it."""
    if not entry.status & Status.ASSURED:
        return True
    return isinstance(entry.protocol, TcpTrack) and entry.protocol.state in CLOSING


def direction_of(entry: Entry, flow: FlowTuple) -> Direction:
    """Which way a packet with that tuple goes; where both tuples are the same, the reply's is found first."""
    return Direction.REPLY if flow == entry.reply else Direction.ORIGINAL
