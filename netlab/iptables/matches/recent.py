"""Who was here lately: tables of addresses that rules write and read (xt_recent.c, /proc/net/xt_recent)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from typing import Final

from netlab.addresses import format_address, parse_address
from netlab.hooks import HookState
from netlab.iptables.extension import Match, Rules, Test, Use, match
from netlab.iptables.option import ADDRESS, Is, Kind, Option, number
from netlab.iptables.words import quote
from netlab.machine import Machine
from netlab.names import NetlabError
from netlab.packet import Packet

MOST_ADDRESSES: Final = 100  # in a table (the module's parameter ip_list_tot)
LEAST_TIMES: Final = 32  # kept of an address, unless a rule counts further
MOST_HITS: Final = 0xFFFF
LONGEST_NAME: Final = 199  # letters (XT_RECENT_NAME_LEN, less one)
TICKS: Final = 250  # a second (CONFIG_HZ)
FIRST_TICK: Final = (1 << 32) - 300 * TICKS  # what the kernel's clock shows at boot, so that it soon overflows
ONE_HOST: Final = 0xFFFFFFFF


@dataclass(slots=True)
class Visitor:
    """An address in a table: its last TTL, and when it came, in ticks: a ring of which `index` is the next place."""

    ttl: int
    times: list[int]
    index: int = 1

    @property
    def last(self) -> int:
        """When it came last."""
        return self.times[self.index - 1]


class RecentTable:
    """The addresses under one name, those that came longest ago first. The mask is that of the rule that made it."""

    def __init__(self, name: str, host: Machine, mask: int) -> None:
        self.name = name
        self.mask = mask
        self.capacity = 0
        self.visitors: dict[int, Visitor] = {}
        self._clock = host.wires.clock

    @property
    def now(self) -> int:
        """Ticks of the kernel's clock."""
        return FIRST_TICK + int(self._clock.now * TICKS)

    def make_room(self, times: int) -> None:
        """Keep so many times of every address at least; a table that has to grow for it forgets all of them."""
        if times > self.capacity:
            self.visitors.clear()
            self.capacity = times

    def find(self, address: int, ttl: int = 0) -> Visitor | None:
        """What is known of an address; with a TTL only if it came with that one last."""
        found = self.visitors.get(address)
        return None if found is None or (ttl and found.ttl and found.ttl != ttl) else found

    def enter(self, address: int, ttl: int) -> None:
        """A new one; the one that came longest ago makes room for it."""
        if len(self.visitors) >= MOST_ADDRESSES:
            del self.visitors[next(iter(self.visitors))]
        self.visitors[address] = Visitor(ttl, [self.now])

    def again(self, address: int) -> None:
        """One that is there came again."""
        visitor = self.visitors[address] = self.visitors.pop(address)
        visitor.index %= self.capacity
        if visitor.index == len(visitor.times):
            visitor.times.append(0)
        visitor.times[visitor.index] = self.now
        visitor.index += 1

    def reap(self, since: int) -> None:
        """Forget the one that came longest ago, if it has not come since."""
        for address, visitor in self.visitors.items():
            if visitor.last < since:
                del self.visitors[address]
            return

    def write(self, text: str) -> None:
        """What may be written into the table's file: `+10.0.0.1`, `-10.0.0.1`, or `/` to forget all.

        Raises:
            NetlabError: anything else.
        """
        if text.startswith("/"):
            self.visitors.clear()
            return
        if text[:1] not in ("+", "-"):
            raise NetlabError(f'{text!r}: Need "+ip", "-ip" or "/"')
        address = parse_address(text[1:].strip())
        if text.startswith("-"):
            self.visitors.pop(address, None)
        elif address in self.visitors:
            self.again(address)
        else:
            self.enter(address, 0)

    def __str__(self) -> str:
        """The file's text."""
        return "\n".join(
            f"src={format_address(address)} ttl: {one.ttl} last_seen: {one.last} oldest_pkt: {one.index} "
            + ", ".join(map(str, one.times))
            for address, one in self.visitors.items()
        )

    def __repr__(self) -> str:
        return f"<RecentTable {self.name}: {len(self.visitors)} addresses>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self)) or 'nobody'}</pre>"


@dataclass
class RecentTables:
    """The tables of one host, by name: rules that use the same name share them."""

    host: Machine
    tables: dict[str, RecentTable] = field(default_factory=dict)

    def use(self, name: str, mask: int, times: int) -> RecentTable:
        """That table, made now if there is none, with room for so many times."""
        if name not in self.tables:
            self.tables[name] = RecentTable(name, self.host, mask)
        self.tables[name].make_room(times)
        return self.tables[name]

    def keep(self, names: Iterable[str]) -> None:
        """Forget the tables that no rule uses any more."""
        wanted = set(names)
        for name in [name for name in self.tables if name not in wanted]:
            del self.tables[name]

    def __getitem__(self, name: str) -> RecentTable:
        if name not in self.tables:
            raise NetlabError(f"no rule of {self.host.name} uses a table {name!r} of recent addresses")
        return self.tables[name]


def _name(text: str) -> str:
    if len(text) > LONGEST_NAME:
        raise NetlabError(f"the name of a table of recent addresses has at most {LONGEST_NAME} letters")
    return text


def _shown(name: str) -> str:
    """iptables-save forgets the quotation marks."""
    return quote(name) if any(letter.isspace() or letter in "\"'\\" for letter in name) else name


_COUNT: Final = number(32)


@match
@dataclass(frozen=True)
class RecentMatch(Match):
    """`-m recent`: `--set` writes an address down, `--rcheck` and `--update` ask for it, `--remove` forgets it.

    `--update` writes it down too, if it matches. It must have come within `--seconds`, and `--hitcount` times at least,
    if these are given; with `--rttl`, with the same TTL. `--reap` forgets one of those that are too old.
    """

    name = "recent"
    options = (
        Option(("--set",), "does", negatable=True, value="set"),
        Option(("--rcheck",), "does", negatable=True, value="rcheck"),
        Option(("--update",), "does", negatable=True, value="update"),
        Option(("--remove",), "does", negatable=True, value="remove"),
        Option(("--seconds",), "seconds", (number(32, low=1),)),
        Option(("--reap",), "reap"),
        Option(("--hitcount",), "hitcount", (Kind(lambda text: _COUNT.parse(text) or None),)),
        Option(("--rttl",), "rttl"),
        Option(("--name",), "table", (Kind(_name, _shown),)),
        Option(("--mask",), "mask", (ADDRESS,)),
        Option(("--rsource",), "side", value="source"),
        Option(("--rdest",), "side", value="dest"),
    )

    does: Is[str] | None = None
    seconds: int | None = None
    reap: bool | None = None
    hitcount: int | None = None
    rttl: bool | None = None
    table: str = "DEFAULT"
    mask: int = ONE_HOST
    side: str = "source"

    def completed(self) -> None:
        """It must do something, and what it does must be able to use its other options.

        Raises:
            NetlabError: it does nothing, or they say nothing to it.
        """
        if self.does is None:
            raise NetlabError("recent: you must specify one of `--set', `--rcheck' `--update' or `--remove'")
        if self.reap and self.seconds is None:
            raise NetlabError('recent: option "--reap" also requires "--seconds"')
        if self.rttl and self.does.value in ("set", "remove"):
            raise NetlabError(f'recent: option "--rttl" cannot be used together with "--{self.does.value}"')

    def check(self, use: Use) -> None:
        """What the kernel refuses.

        Raises:
            NetlabError: a condition for what has none, too many hits, or no name for a file.
        """
        assert self.does is not None
        if self.does.value in ("set", "remove") and (self.seconds or self.hitcount):
            raise NetlabError(f"recent: --{self.does.value} takes neither --seconds nor --hitcount")
        if (self.hitcount or 0) > MOST_HITS:
            raise NetlabError(f"recent: --hitcount {self.hitcount}, {MOST_HITS} are the most")
        if self.table in ("", ".", "..") or "/" in self.table:
            raise NetlabError(f"recent: {self.table!r} is no name for a file in /proc/net/xt_recent")

    def bind(self, rules: Rules) -> Test:
        """Uses the host's table of that name."""
        assert self.does is not None
        does, negated = self.does
        table = rules.recent.use(self.table, self.mask, times_kept(self.hitcount or 0))
        writes, removes, updates = does == "set", does == "remove", does == "update"

        def test(packet: Packet, state: HookState) -> bool:
            address = (packet.saddr if self.side == "source" else packet.daddr) & table.mask
            ttl = packet.ttl
            if state.dev_out is not None and state.skb.dev_in is not None:
                ttl = (ttl + 1) & 0xFF  # as it was before it was forwarded
            visitor = table.find(address, ttl if self.rttl else 0)
            if visitor is None:
                if writes:
                    table.enter(address, ttl)
                return writes is not negated
            met = True
            if removes:
                del table.visitors[address]
            elif not writes:
                met = self._was_here(visitor, table)
            if writes or (updates and met is not negated and address in table.visitors):
                table.again(address)
                visitor.ttl = ttl
            return met is not negated

        return test

    def _was_here(self, visitor: Visitor, table: RecentTable) -> bool:
        """Whether it came often enough, lately enough; and the broom."""
        since = table.now - (self.seconds or 0) * TICKS
        hits = sum(time >= since for time in visitor.times) if self.seconds else len(visitor.times)
        if self.reap:
            table.reap(since)
        return hits >= max(self.hitcount or 0, 1)

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        assert self.does is not None
        does, negated = self.does
        parts = [
            f"{'! ' if negated else ''}recent: {'CHECK' if does == 'rcheck' else does.upper()}",
            f"seconds: {self.seconds}" if self.seconds else "",
            "reap" if self.reap else "",
            f"hit_count: {self.hitcount}" if self.hitcount else "",
            "TTL-Match" if self.rttl else "",
            f"name: {self.table} side: {self.side} mask: {format_address(self.mask)}",
        ]
        return " ".join(filter(None, parts))


def times_kept(hits: int) -> int:
    """How many times a table keeps for a rule that counts so far: a power of two."""
    return 1 << (hits - 1).bit_length() if hits else LEAST_TIMES
