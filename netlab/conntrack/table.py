"""The table of flows: each entry stands in it twice, once for each direction (nf_conntrack_core.c).

The engine looks an entry up in a dict. The kernel's buckets and their chains are worked out when somebody asks for
them: `bucket_of` says in which one a tuple stands.
"""

from collections.abc import Callable, Iterator
from hashlib import blake2b
from struct import Struct
from typing import Final

from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.tuples import Direction, FlowTuple

Source = tuple[int, int, int]
"""A protocol, a source address, and a source port or ICMP id."""

EARLY_DROP_BUCKETS: Final = 8  # so many buckets are searched for victims (NF_CT_EVICTION_RANGE)
CROWDED: Final = 8
"""Tuples a bucket on average; below that no chain comes near to its limit, and nobody needs to count."""
_KEY = Struct(">IIBHH")


class ConntrackTable:
    """Confirmed entries by both of their tuples.

    Args:
        buckets: the number of hash chains (nf_conntrack_buckets).
        gone: is told of every entry that is forgotten.
    """

    def __init__(self, buckets: int = 262144, gone: Callable[[Entry], None] | None = None) -> None:
        self.buckets = buckets
        self._gone = gone
        self._entries: dict[FlowTuple, Entry] = {}
        self.peek: Callable[[tuple[int, ...]], Entry | None] = self._entries.get  # type: ignore[assignment]
        """The entry with that tuple, though its time may be over; equal tuples are found."""
        self._chains: dict[int, list[FlowTuple]] | None = None
        self._sources: dict[Source, list[Entry]] | None = None
        self._count = 0

    def __len__(self) -> int:
        """How many entries there are (nf_conntrack_count)."""
        return self._count

    def __repr__(self) -> str:
        return f"<ConntrackTable: {self._count} entries, {self.buckets} buckets>"

    def __iter__(self) -> Iterator[Entry]:
        return (entry for flow, entry in self._entries.items() if flow is entry.original)

    def find(self, flow: tuple[int, ...], now: float) -> Entry | None:
        """The entry with that tuple in either direction; one whose time is over is forgotten on the way."""
        entry: Entry | None = self._entries.get(flow)  # type: ignore[call-overload]  # equal tuples are found
        if entry is not None and entry.expires <= now:
            self.remove(entry)
            return None
        return entry

    def insert(self, entry: Entry, *, by_reply_only: bool = False) -> None:
        """Make it findable by both tuples; by its reply's only, where another entry has the original one."""
        for flow in (entry.reply,) if by_reply_only else (entry.original, entry.reply):
            self._entries[flow] = entry
            if self._chains is not None:
                self._chains.setdefault(self.bucket_of(flow), []).insert(0, flow)
        if self._sources is not None:
            self._sources.setdefault(_source(entry), []).append(entry)
        self._count += 1

    def remove(self, entry: Entry) -> None:
        """Forget it."""
        entry.status |= Status.DYING
        own = [flow for flow in (entry.original, entry.reply) if self._entries.get(flow) is entry]
        for flow in own:
            self._entries.pop(flow, None)  # both may be the same
            if self._chains is not None:
                self._unchain(flow)
        if not own:
            return  # it went with another one
        if self._sources is not None:
            self._leave_source(entry)
        self._count -= 1
        if self._gone:
            self._gone(entry)

    def expire(self, now: float) -> list[Entry]:
        """Forget every entry whose time is over, and return them (the kernel's garbage collection, gc_worker)."""
        late = list(dict.fromkeys(entry for entry in self._entries.values() if entry.expires <= now))
        for entry in late:
            self.remove(entry)
        return late

    def begun_by(self, flow: FlowTuple) -> list[Entry]:
        """The entries whose first packet had the same source as that tuple, the latest last (nf_nat_bysource).

        Who never asks does not pay for it: the list of sources is kept from the first question on.
        """
        if self._sources is None:
            self._sources = {}
            for entry in dict.fromkeys(self._entries.values()):
                self._sources.setdefault(_source(entry), []).append(entry)
        return self._sources.get((flow.proto, flow.saddr, flow.sport), [])

    def _leave_source(self, entry: Entry) -> None:
        assert self._sources is not None
        source = _source(entry)
        self._sources[source].remove(entry)
        if not self._sources[source]:
            del self._sources[source]

    # ---------------------------------------------------------------- buckets

    def bucket_of(self, flow: FlowTuple) -> int:
        """The bucket that a tuple hashes to. The kernel's hash is secret and new at every boot; so is no other."""
        digest = blake2b(_KEY.pack(*flow), digest_size=4).digest()
        return int.from_bytes(digest, "big") * self.buckets >> 32

    def chains(self) -> dict[int, list[FlowTuple]]:
        """The tuples in each bucket that is not empty, the latest first, as the kernel's chains have them."""
        if self._chains is None:
            self._chains = {}
            for flow, entry in reversed(self._entries.items()):
                self._chains.setdefault(self.bucket_of(flow), []).append(flow)
                if entry.original == entry.reply:
                    self._chains[self.bucket_of(flow)].append(flow)
        return self._chains

    def longest_chain(self, entry: Entry) -> int:
        """How many tuples the longer one of the two chains has that the entry would join; 0 unless it is crowded."""
        if 2 * self._count < CROWDED * self.buckets:
            return 0
        chains = self.chains()
        return max(len(chains.get(self.bucket_of(flow), ())) for flow in (entry.original, entry.reply))

    def resize(self, buckets: int) -> None:
        """Another number of buckets: every entry finds its chain anew (nf_conntrack_hash_resize)."""
        self.buckets = buckets
        self._chains = None

    def early_drop(self, flow: FlowTuple, now: float) -> int:
        """Make room for a new flow near where it belongs; how many entries had to go for it.

        The first bucket with victims gives up all of them: everything in it that is not ASSURED. What is late goes too,
        and does not count.
        """
        chains = self.chains()
        first = self.bucket_of(flow)
        for bucket in range(first, first + EARLY_DROP_BUCKETS):
            dropped = 0
            for candidate in list(chains.get(bucket % self.buckets, ())):
                entry = self._entries.get(candidate)
                if entry is None:
                    continue  # its other tuple stood in this chain too, and it is gone already
                if entry.expires <= now:
                    self.remove(entry)
                elif not entry.status & Status.ASSURED:
                    self.remove(entry)
                    dropped += 1
            if dropped:
                return dropped
        return 0

    def _unchain(self, flow: FlowTuple) -> None:
        assert self._chains is not None
        bucket = self.bucket_of(flow)
        chain = self._chains[bucket]
        chain.remove(flow)
        if not chain:
            del self._chains[bucket]


def _source(entry: Entry) -> Source:
    return entry.original.proto, entry.original.saddr, entry.original.sport


def direction_of(entry: Entry, flow: FlowTuple) -> Direction:
    """Which way a packet with that tuple goes; where both tuples are the same, the reply's is found first."""
    return Direction.REPLY if flow == entry.reply else Direction.ORIGINAL
