"""The accounts of errors sent: bursts, refills, and what spoils what.

Times are milliseconds; the figures are those measured on Linux 6.18.
"""

from netlab.peers import Peer, Peers

START = 1_000_000.0


def fresh() -> Peer:
    return Peers().of(1, START)


def test_icmp_ratelimit_lets_six_go_at_once_and_then_one_an_interval() -> None:
    peer = fresh()
    assert [peer.allows_icmp(START, 1000) for _ in range(8)] == [True] * 6 + [False] * 2
    assert not peer.allows_icmp(START + 999, 1000)
    assert peer.allows_icmp(START + 1000, 1000)
    assert not peer.allows_icmp(START + 1001, 1000)


def test_the_account_never_holds_more_than_the_burst() -> None:
    peer = fresh()
    later = START + 3_600_000
    assert [peer.allows_icmp(later, 1000) for _ in range(8)] == [True] * 6 + [False] * 2


def test_unreachable_routes_five_at_once_and_then_one_a_second() -> None:
    peer = fresh()
    assert [peer.allows_unreachable(START) for _ in range(7)] == [True] * 5 + [False] * 2
    assert not peer.allows_unreachable(START + 999)
    assert peer.allows_unreachable(START + 1000)


def test_the_first_redirect_goes_at_once_and_each_later_one_after_twice_the_pause() -> None:
    peer, now = fresh(), START
    assert peer.allows_redirect(now)
    for number in range(1, 9):
        pause = 20 << number
        assert not peer.allows_redirect(now + pause)
        now += pause + 1
        assert peer.allows_redirect(now)
    assert not peer.allows_redirect(now + 10_000)  # nine were sent and not heeded


def test_after_a_long_silence_redirects_begin_anew() -> None:
    peer = fresh()
    assert peer.allows_redirect(START)
    assert not peer.allows_redirect(START + 1)
    assert peer.allows_redirect(START + 1 + (20 << 10) + 1)
    assert not peer.allows_redirect(START + 2 + (20 << 10) + 1)


def test_accounts_are_kept_by_address() -> None:
    peers = Peers()
    for _ in range(6):
        peers.of(1, START).allows_icmp(START, 1000)
    assert not peers.of(1, START).allows_icmp(START, 1000)
    assert peers.of(2, START).allows_icmp(START, 1000)
