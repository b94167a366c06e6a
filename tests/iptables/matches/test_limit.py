"""Buckets that let so many packets a second match."""

import pytest

from netlab.host import Host
from netlab.iptables.matches.limit import rate_of
from netlab.iptables.words import RuleError
from tests.iptables.matches.asking import counted, counting, udp

VARIANTS = pytest.mark.parametrize("variant", ["nft", "legacy"])


def burst(host: Host, packets: int) -> int:
    """How many of so many packets at once the rule means."""
    before = counted(host)[0]
    for _ in range(packets):
        host.receive("eth0", udp())
    return counted(host)[0] - before


@VARIANTS
def test_a_full_bucket_empties_and_fills_again(variant: str) -> None:
    host = counting("-m limit --limit 2/second --limit-burst 4", variant=variant)
    assert burst(host, 10) == 4
    host.wires.clock.advance(0.6)
    assert burst(host, 10) == 1
    host.wires.clock.advance(0.4)
    assert burst(host, 10) == 1  # 0.1 s were left over
    host.wires.clock.advance(3600)
    assert burst(host, 10) == 4


@VARIANTS
def test_a_rule_that_stays_keeps_its_bucket_a_new_one_has_a_full_one(variant: str) -> None:
    host = counting("-m limit --limit 1/hour --limit-burst 2", variant=variant)
    assert burst(host, 5) == 2
    host.firewall.restore("*filter\n-A INPUT -j ACCEPT\nCOMMIT\n", noflush=True)
    assert burst(host, 5) == 0
    host.firewall.restore("*mangle\n-A PREROUTING -m limit --limit 1/hour --limit-burst 2\nCOMMIT\n")
    assert burst(host, 5) == 2


def test_nothing_said_is_three_an_hour_after_five() -> None:
    host = counting("-m limit")
    assert burst(host, 9) == 5
    host.wires.clock.advance(1199)
    assert burst(host, 9) == 0
    host.wires.clock.advance(1)
    assert burst(host, 9) == 1


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("5", "5/sec"), ("60/min", "1/sec"), ("61/minute", "61/min"), ("24/d", "1/hour"), ("25/day", "25/day"),
        ("3000/s", "3333/sec"), ("1000000/day", "694/min"), ("5/S", "5/sec"),
    ],
)  # fmt: skip
def test_rates_are_called_by_what_they_come_to(written: str, printed: str) -> None:
    assert f"--limit {printed}\n" in str(counting(f"-m limit --limit {written}").firewall)
    assert str(rate_of(12_000_000)) == "3/hour"


@pytest.mark.parametrize("rate", ["0/s", "5/week", "5/", "x/s", "10001/s", "-1/s"])
def test_rates_that_are_none(rate: str) -> None:
    with pytest.raises(RuleError, match=r"^line 2, column \d+: (bad rate|Rate too fast)"):
        counting(f"-m limit --limit {rate}")


@pytest.mark.parametrize("options", ["--limit 1/day", "--limit 1/s --limit-burst 0", "--limit 1/h --limit-burst 1194"])
def test_what_overflows_the_bucket_of_legacy(options: str) -> None:
    assert burst(counting(f"-m limit {options}"), 6) >= 5
    with pytest.raises(RuleError, match="out of range"):
        counting(f"-m limit {options}", variant="legacy")
