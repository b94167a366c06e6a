"""No more often than so many times a second, reckoned for each source, destination or port alone (xt_hashlimit.c).

A table of buckets belongs to a name; rules that use the same name share it, with the rate of the one that made it. A
bucket nobody has taken from for a while is forgotten, and is full when it is made anew.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, NamedTuple

from netlab.addresses import mask_of
from netlab.hooks import HookState
from netlab.iptables.extension import HotDrop, Match, Rules, Test, Use, match
from netlab.iptables.matches.limit import SPELLED, TICKS
from netlab.iptables.option import PROTOCOLS, Is, Kind, Option, c_number, number
from netlab.machine import Machine
from netlab.names import NetlabError
from netlab.packet import Packet

SECOND: Final = 1_000_000  # it counts in millionths of a second (XT_HASHLIMIT_SCALE_v2)
UNITS: Final = {"day": 86_400 * SECOND, "hour": 3_600 * SECOND, "min": 60 * SECOND, "sec": SECOND}
CREDITS: Final = 1 << 39  # a tick: the highest power of two that lets a day's credits fit 64 bits (CREDITS_PER_JIFFY)
WORTH: Final = TICKS * CREDITS // SECOND  # of a millionth of a second
LONG: Final = (1 << 64) - 1

DEFAULT_BURST: Final = 5
MOST_BURST: Final = 1_000_000
BROOM: Final = 1_000  # milliseconds from one round of forgetting to the next
MOST_CHAINS: Final = 1 << 20
CHAINS: Final = 8192  # of a table, where a rule does not say how many and the machine has memory enough
LONGEST_NAME: Final = 254
PARTS: Final = ("srcip", "srcport", "dstip", "dstport")
PORTS_AT: Final = {PROTOCOLS[name]: 0 for name in ("tcp", "udp", "dccp", "sctp", "udplite", "esp")} | {
    PROTOCOLS["ah"]: 4
}
"""Where in a protocol's header ports stand, or what is taken for them (proto_ports_offset)."""


class Allowance(NamedTuple):
    """Millionths of a second from one packet to the next, what `/minute` was said, and whether more is meant."""

    period: int
    unit: int
    above: bool


def unit_of(period: int) -> str:
    """The unit in which iptables prints a period: the smallest that it fits without too much left over."""

    def fits(unit: int) -> bool:
        return period <= unit and unit // period >= unit % period

    smaller = takewhile(lambda name: fits(UNITS[name]), list(UNITS)[1:])
    return ["day", *smaller][-1]


def _rate(period: int) -> str:
    unit = unit_of(period)
    return f"{UNITS[unit] // period}/{unit}"


def _allowance(above: bool) -> Kind[Allowance]:
    def parse(text: str) -> Allowance:
        times, slash, word = text.partition("/")
        if times.lower().endswith("b"):
            raise NetlabError(f"{text!r}: netlab limits packets, not bytes")
        name = next((name for name in SPELLED if word and name.startswith(word.lower())), "" if slash else "second")
        many = int(times) if times.isascii() and times.isdigit() else 0
        if not many or not name:
            raise NetlabError(f'bad rate "{text}": a number, and /second, /minute, /hour or /day')
        unit = UNITS[name if name in UNITS else name[:3]]
        if not unit // many:
            raise NetlabError(f'Rate too fast "{text}": {SECOND} a second are the most')
        return Allowance(unit // many, unit, above)

    return Kind(parse)


def _burst(text: str) -> int:
    value = c_number(text)
    if value is None or not 1 <= value <= MOST_BURST:
        raise NetlabError(f"{text!r} is not a number from 1 to {MOST_BURST}")
    return value


def _parts(text: str) -> tuple[str, ...]:
    named = text.split(",")
    if unknown := next((one for one in named if one not in PARTS), None):
        raise NetlabError(f"{unknown!r} is none of {', '.join(PARTS)}")
    return tuple(one for one in PARTS if one in named)


def _name(text: str) -> str:
    if not text or len(text) > LONGEST_NAME:
        raise NetlabError(f"the name of a table of limits has 1 to {LONGEST_NAME} letters")
    if any(letter.isspace() or letter in "\"'\\" for letter in text):
        raise NetlabError(f"the name {text!r}: iptables-save would print it so that it does not load")
    return text


_WORD: Final = number(32)
CHAINS_NUMBER: Final = Kind(lambda text: min(_WORD.parse(text), MOST_CHAINS))


class Terms(NamedTuple):
    """What a table is made with.

    Attributes:
        cost: credits that a packet takes.
        full: credits of a full bucket.
        key: what a packet is reckoned by.
        expire: milliseconds after which a bucket nobody took from is forgotten.
        most: buckets; a packet that needs one more is dropped.
    """

    cost: int
    full: int
    key: Callable[[Packet], tuple[int, ...]]
    expire: int
    most: int


class Bucket:
    """What one sender, or whatever a packet is reckoned by, has left."""

    __slots__ = ("credit", "expires", "seen")

    def __init__(self, credit: int, seen: int) -> None:
        self.credit = credit
        self.seen = seen
        self.expires = 0


class Buckets:
    """The buckets of one name. The kernel forgets old ones once a second; here they are gone on time."""

    def __init__(self, terms: Terms, host: Machine) -> None:
        self._terms = terms
        self._clock = host.wires.clock
        self._buckets: dict[tuple[int, ...], Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, packet: Packet) -> bool:
        """Whether the packet's bucket has enough in it; then that is taken out.

        Raises:
            HotDrop: the packet has no ports, or there are too many buckets.
        """
        terms, now = self._terms, int(self._clock.now * TICKS)
        key = terms.key(packet)
        bucket = self._buckets.get(key)
        if bucket is None or bucket.expires <= now:
            bucket = self._add(key, now)
        bucket.expires = now + max(1, terms.expire * TICKS // 1000)
        bucket.credit = min(bucket.credit + (now - bucket.seen) * CREDITS, terms.full)
        bucket.seen = now
        if bucket.credit < terms.cost:
            return False
        bucket.credit -= terms.cost
        return True

    def _add(self, key: tuple[int, ...], now: int) -> Bucket:
        terms = self._terms
        if len(self._buckets) >= terms.most:
            self._buckets = {one: bucket for one, bucket in self._buckets.items() if bucket.expires > now}
            if len(self._buckets) >= terms.most:
                raise HotDrop
        bucket = self._buckets[key] = Bucket(terms.full, now)
        return bucket


@dataclass
class HashLimits:
    """The tables of one host, by name."""

    host: Machine
    tables: dict[str, Buckets] = field(default_factory=dict)

    def use(self, name: str, terms: Terms) -> Buckets:
        """That table, made now with these terms if there is none."""
        if name not in self.tables:
            self.tables[name] = Buckets(terms, self.host)
        return self.tables[name]

    def keep(self, names: Iterable[str]) -> None:
        """Forget the tables that no rule uses any more."""
        wanted = set(names)
        self.tables = {name: table for name, table in self.tables.items() if name in wanted}


@match
@dataclass(frozen=True)
class HashlimitMatch(Match):
    """`-m hashlimit --hashlimit-upto 1/sec --hashlimit-mode srcip --hashlimit-name ssh`: a bucket for every source."""

    name = "hashlimit"
    options = (
        Option(("--hashlimit-upto", "--hashlimit"), "limit", (_allowance(False),), negatable=True),
        Option(("--hashlimit-above",), "limit", (_allowance(True),), negatable=True),
        Option(("--hashlimit-burst",), "burst", (Kind(_burst),)),
        Option(("--hashlimit-mode",), "mode", (Kind(_parts),)),
        Option(("--hashlimit-name",), "table", (Kind(_name),)),
        Option(("--hashlimit-htable-size",), "chains", (CHAINS_NUMBER,)),
        Option(("--hashlimit-htable-max",), "most", (CHAINS_NUMBER,)),
        Option(("--hashlimit-htable-gcinterval",), "broom", (_WORD,)),
        Option(("--hashlimit-htable-expire",), "expire", (_WORD,)),
        Option(("--hashlimit-srcmask",), "srcmask", (number(8),)),
        Option(("--hashlimit-dstmask",), "dstmask", (number(8),)),
    )

    limit: Is[Allowance] | None = None
    burst: int = DEFAULT_BURST
    mode: tuple[str, ...] = ()
    table: str | None = None
    chains: int = 0
    most: int = 0
    broom: int = BROOM
    expire: int | None = None
    srcmask: int = 32
    dstmask: int = 32

    def __post_init__(self) -> None:
        """Not above is up to, and the other way round; a bucket is forgotten after what the rate is told in."""
        if self.limit and self.limit.negated:
            allowance = self.limit.value
            object.__setattr__(self, "limit", Is(allowance._replace(above=not allowance.above)))
        if self.limit and self.expire is None:
            object.__setattr__(self, "expire", _milliseconds(self.limit.value.unit))

    def completed(self) -> None:
        """The rate and the name must be given.

        Raises:
            NetlabError: one is not.
        """
        if self.limit is None:
            raise NetlabError("You have to specify --hashlimit")
        if self.table is None:
            raise NetlabError('hashlimit: option "--hashlimit-name" must be specified')

    def check(self, use: Use) -> None:
        """What the kernel refuses.

        Raises:
            NetlabError: the bucket overflows its 64 bits, times are 0, a mask is too long, the name none for a file.
        """
        assert self.limit is not None
        period = self.limit.value.period
        if _credits(period * self.burst) < _credits(period):
            raise NetlabError(f"hashlimit {_rate(period)} with a burst of {self.burst} is out of range")
        if not self.broom or not self.expire:
            raise NetlabError("hashlimit: --hashlimit-htable-gcinterval and --hashlimit-htable-expire are not 0")
        if max(self.srcmask, self.dstmask) > 32:
            raise NetlabError(f"hashlimit: a mask of {max(self.srcmask, self.dstmask)} bits, 32 are the most")
        if self.table in (".", "..") or "/" in (self.table or ""):
            raise NetlabError(f"hashlimit: {self.table!r} is no name for a file in /proc/net/ipt_hashlimit")

    def bind(self, rules: Rules) -> Test:
        """Uses the host's table of that name."""
        assert self.limit is not None
        assert self.table is not None
        assert self.expire is not None
        period, _, above = self.limit.value
        chains = self.chains or CHAINS
        most = max(self.most, chains) if self.most else 8 * chains
        terms = Terms(_credits(period), _credits(period * self.burst), self._key(), self.expire, most)
        buckets = rules.hashlimits.use(self.table, terms)

        def test(packet: Packet, state: HookState) -> bool:
            return buckets.take(packet) is not above

        return test

    def _key(self) -> Callable[[Packet], tuple[int, ...]]:
        """What packets are reckoned by: all in one bucket if no mode is given."""
        source = mask_of(self.srcmask) if "srcip" in self.mode else 0
        destination = mask_of(self.dstmask) if "dstip" in self.mode else 0
        sport, dport = "srcport" in self.mode, "dstport" in self.mode

        def key(packet: Packet) -> tuple[int, ...]:
            addresses = packet.saddr & source, packet.daddr & destination
            if not sport and not dport:
                return addresses
            one, other = _ports_of(packet)
            return *addresses, one if sport else 0, other if dport else 0

        return key

    def words(self) -> Iterator[str]:
        """Its options as iptables-save prints them: without what is as usual."""
        assert self.limit is not None
        period, _, above = self.limit.value
        yield from ("--hashlimit-above" if above else "--hashlimit-upto", _rate(period))
        yield from ("--hashlimit-burst", str(self.burst))
        if self.mode:
            yield from ("--hashlimit-mode", ",".join(self.mode))
        yield from ("--hashlimit-name", self.table or "")
        for name, value in self._unusual():
            yield from (f"--hashlimit-{name}", str(value))

    def _unusual(self) -> Iterator[tuple[str, int]]:
        assert self.limit is not None
        usual = _milliseconds(UNITS[unit_of(self.limit.value.period)])
        for name, value, default in (
            ("htable-size", self.chains, 0),
            ("htable-max", self.most, 0),
            ("htable-gcinterval", self.broom, BROOM),
            ("htable-expire", self.expire or 0, usual),
            ("srcmask", self.srcmask, 32),
            ("dstmask", self.dstmask, 32),
        ):
            if value != default:
                yield name, value

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        assert self.limit is not None
        period, _, above = self.limit.value
        parts = [f"limit: {'above' if above else 'up to'} {_rate(period)} burst {self.burst}"]
        if self.mode:
            parts.append(f"mode {'-'.join(self.mode)}")
        return " ".join([*parts, *(f"{name} {value}" for name, value in self._unusual())])


def _credits(microseconds: int) -> int:
    """What a time is worth in a bucket (user2credits)."""
    return (microseconds & LONG) * WORTH & LONG


def _milliseconds(unit: int) -> int:
    return unit * 1000 // SECOND


def _ports_of(packet: Packet) -> tuple[int, int]:
    """The source's and the destination's port; 0 where a protocol has none.

    Raises:
        HotDrop: the packet is too short for them.
    """
    at = PORTS_AT.get(packet.proto)
    if at is None:
        return 0, 0
    ports = packet.payload[at : at + 4]
    if len(ports) < 4:
        raise HotDrop
    return int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big")
