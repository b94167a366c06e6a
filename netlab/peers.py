"""How often one host troubles another with errors: the kernel's memory of its peers (`struct inet_peer`).

Three limits share one bucket of tokens a peer, counted in milliseconds of elapsed time: `inet_peer_xrlim_allow`
(icmp_ratelimit), `ip_error` (unreachable routes) and `ip_rt_send_redirect`, all of net/ipv4.
"""

from dataclasses import dataclass
from typing import Final

XRLIM_BURST: Final = 6  # so many errors may follow one another before icmp_ratelimit bites
ERROR_COST, ERROR_BURST = 1000, 5000  # ms; net.ipv4.route.error_cost and error_burst, of the whole machine
REDIRECT_LOAD: Final = 20  # ms: the pause after a redirect, doubled with every further one
REDIRECT_NUMBER: Final = 9  # so many redirects unheeded, and no more are sent
REDIRECT_SILENCE: Final = REDIRECT_LOAD << REDIRECT_NUMBER + 1  # ms without redirects, and counting begins anew
LONG_AGO: Final = 60_000  # ms before now: where a new peer's account starts, so that it is full


@dataclass(slots=True)
class Peer:
    """One account: tokens, when they were last counted (ms), and redirects sent."""

    last: float
    tokens: float = 0.0
    redirects: int = 0

    def allows_icmp(self, now: float, interval: int) -> bool:
        """Whether net.ipv4.icmp_ratelimit (`interval`, ms) lets another error go.

        0 is no limit, but it empties the account that the other two limits share.
        """
        return (now == self.last and not interval) or self._take(now, interval, XRLIM_BURST * interval)

    def allows_unreachable(self, now: float) -> bool:
        """Whether another "no way on" may be told."""
        return self._take(now, ERROR_COST, ERROR_BURST)

    def allows_redirect(self, now: float) -> bool:
        """Whether another redirect may be sent."""
        if now > self.last + REDIRECT_SILENCE:
            self.tokens, self.redirects = 0.0, 0
        if self.redirects >= REDIRECT_NUMBER:
            self.last = now
            return False
        if self.redirects and now <= self.last + (REDIRECT_LOAD << self.redirects):
            return False
        self.last = now
        self.redirects += 1
        return True

    def _take(self, now: float, cost: float, full: float) -> bool:
        self.tokens = min(full, self.tokens + now - self.last)
        self.last = now
        if self.tokens < cost:
            return False
        self.tokens -= cost
        return True


class Peers:
    """The accounts of one host, by the other's address."""

    def __init__(self) -> None:
        self._peers: dict[int, Peer] = {}

    def of(self, address: int, now: float) -> Peer:
        """That peer's account at `now` (ms), opened if it is new."""
        return self._peers.setdefault(address, Peer(now - LONG_AGO))
