"""No more often than so many times a second (xt_limit.c; nft_limit.c, which iptables-nft takes in its place).

Both let a bucket fill with time and take out of it for each packet that matches; one that it is too empty for does not.
iptables-legacy reckons in ticks of the kernel's clock, nftables in nanoseconds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, NamedTuple

from netlab.hooks import HookState
from netlab.iptables.extension import Match, Rules, Test, Use, match
from netlab.iptables.option import Kind, Option, c_number
from netlab.names import NetlabError
from netlab.packet import Packet

SECOND: Final = 10_000  # iptables counts in ten-thousandths of a second (XT_LIMIT_SCALE)
UNITS: Final = {"day": 86_400 * SECOND, "hour": 3_600 * SECOND, "min": 60 * SECOND, "sec": SECOND}
SPELLED: Final = {"second": SECOND, "minute": 60 * SECOND, "hour": 3_600 * SECOND, "day": 86_400 * SECOND}
DEFAULT: Final = 1_200 * SECOND  # 3/hour
DEFAULT_BURST: Final = 5
MOST_BURST: Final = 10_000

TICKS: Final = 250  # a second (CONFIG_HZ, as most distributions have it)
CREDITS: Final = 128  # the highest power of two that lets a day's credits fit 32 bits at that rate (CREDITS_PER_JIFFY)
WORD: Final = 0xFFFFFFFF


class Rate(NamedTuple):
    """So many in a unit of time."""

    times: int
    unit: str

    def __str__(self) -> str:
        return f"{self.times}/{self.unit}"


def rate_of(period: int) -> Rate:
    """The rate by which iptables calls a period: in the smallest unit that it fits without too much left over."""

    def fits(unit: int) -> bool:
        return period <= unit and unit // period >= unit % period

    smaller = takewhile(lambda name: fits(UNITS[name]), list(UNITS)[1:])
    unit = ["day", *smaller][-1]
    return Rate(UNITS[unit] // period, unit)


def _period(text: str) -> int:
    """From `5/minute` to the ten-thousandths of a second from one packet to the next; a unit may be cut short."""
    times, slash, word = text.partition("/")
    unit = next((unit for name, unit in SPELLED.items() if word and name.startswith(word.lower())), None)
    number = int(times) if times.isascii() and times.isdigit() else 0
    if not number or (slash and unit is None):
        raise NetlabError(f'bad rate "{text}": a number, and /second, /minute, /hour or /day')
    period = (unit or SECOND) // number
    if not period:
        raise NetlabError(f'Rate too fast "{text}": {SECOND} a second are the most')
    return period


def _burst(text: str) -> int:
    value = c_number(text)
    if value is None or value > MOST_BURST:
        raise NetlabError(f"{text!r} is not a number from 0 to {MOST_BURST}")
    return value


@match
@dataclass(frozen=True)
class LimitMatch(Match):
    """`-m limit --limit 5/second --limit-burst 10`: a full bucket lets `burst` packets match in a row."""

    name = "limit"
    options = (
        Option(("--limit",), "period", (Kind(_period, lambda period: str(rate_of(period))),)),
        Option(("--limit-burst",), "burst", (Kind(_burst),)),
    )

    period: int = DEFAULT
    burst: int = DEFAULT_BURST

    def check(self, use: Use) -> None:
        """The bucket of iptables-legacy has 32 bits.

        Raises:
            NetlabError: it overflows, or is to hold nothing.
        """
        too_much = _credits(self.period * self.burst & WORD) < _credits(self.period)
        if use.variant == "legacy" and (not self.burst or too_much):
            raise NetlabError(f"limit {rate_of(self.period)} with a burst of {self.burst} is out of range")

    def words(self) -> Iterator[str]:
        """The rate always, the burst if it is not the usual one; nftables takes 0 for that, too."""
        yield from ("--limit", str(rate_of(self.period)))
        if self.burst not in (0, DEFAULT_BURST):
            yield from ("--limit-burst", str(self.burst))

    def bind(self, rules: Rules) -> Test:
        """A bucket, full at first."""
        clock = rules.host.wires.clock
        if rules.variant == "nft":
            rate = rate_of(self.period)
            cost = UNITS[rate.unit] * (10**9 // SECOND) // rate.times
            return _bucket(lambda: int(clock.now * 10**9), cost, cost * (self.burst or DEFAULT_BURST))
        cost, full = _credits(self.period), _credits(self.period * self.burst & WORD)
        return _bucket(lambda: int(clock.now * TICKS) * CREDITS, cost, full)

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        return f"limit: avg {rate_of(self.period)} burst {self.burst or DEFAULT_BURST}"


def _credits(tenths: int) -> int:
    """What a time is worth in the bucket of iptables-legacy (user2credits)."""
    per_second = TICKS * CREDITS
    if tenths > WORD // per_second:
        return tenths // SECOND * per_second & WORD
    return tenths * per_second // SECOND


def _bucket(inflow: Callable[[], int], cost: int, full: int) -> Test:
    """`inflow` says how much has ever flowed into the bucket, were it never full."""
    level, seen = full, inflow()

    def test(packet: Packet, state: HookState) -> bool:
        nonlocal level, seen
        now = inflow()
        level, seen = min(level + now - seen, full), now
        if level < cost:
            return False
        level -= cost
        return True

    return test
