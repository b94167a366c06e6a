"""Every so-manieth packet, and packets by chance."""

import pytest

from netlab.iptables.words import RuleError
from tests.iptables.matches.asking import counted, counting, udp


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        ("--every 3 --packet 0", [0, 3, 6, 9]), ("--every 3 --packet 2", [2, 5, 8]),
        ("--every 1 --packet 0", range(10)),
        ("! --every 2 --packet 0", [1, 3, 5, 7, 9]), ("--every 100 --packet 7", [7]),
    ],
)  # fmt: skip
def test_every_so_manieth(options: str, meant: list[int]) -> None:
    host = counting(f"-m statistic --mode nth {options}")
    found = []
    for number in range(10):
        before = counted(host)
        host.receive("eth0", udp())
        if counted(host) != before:
            found.append(number)
    assert found == list(meant)


def test_chance_is_about_right_and_the_same_in_every_run() -> None:
    counts = []
    for _ in range(2):
        host = counting(
            *(f"-m statistic --mode random {one}" for one in ("--probability 0.25", "! --probability 0.25"))
        )
        for _ in range(400):
            host.receive("eth0", udp())
        counts.append(counted(host))
    assert counts[0] == counts[1]
    assert abs(counts[0][0] - 100) < 50
    assert abs(counts[0][1] - 300) < 50


def test_sure_things() -> None:
    host = counting(*(f"-m statistic --mode random --probability {one}" for one in ("0", "1", "1e-10")))
    for _ in range(50):
        host.receive("eth0", udp())
    assert counted(host) == [0, 50, 0]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--mode nth --every 3", 'also requires "--packet"'),
        ("--mode nth --every 3 --packet 3", "0 <= p <= n-1"),
        ("--mode nth --every 0 --packet 0", "not a number from 1"),
        ("--mode random", "--probability alone"),
        ("--mode random --probability 0.5 --every 2 --packet 0", "--probability alone"),
        ("--mode nth --probability 0.5", "--every and --packet"),
        ("--mode random --probability 1.1", "not a number from 0 to 1"),
        ("--mode random --probability nan", "not a number from 0 to 1"),
        ("--probability 0.5", '"--mode" must be specified'),
        ("--mode foo", "'foo' is none of random, nth"),
    ],
)
def test_refused(options: str, complaint: str) -> None:
    with pytest.raises(RuleError, match=complaint):
        counting(f"-m statistic {options}")
