"""Ranges as text: the words of `iptables -L`."""

import pytest

from netlab.nat.ranges import NatRange

LOW, HIGH = 0x0A000201, 0x0A000209


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (NatRange(), ""),
        (NatRange((LOW, LOW)), "10.0.2.1"),
        (NatRange((LOW, HIGH)), "10.0.2.1-10.0.2.9"),
        (NatRange((LOW, LOW), (80, 80)), "10.0.2.1:80"),
        (NatRange(None, (80, 90)), ":80-90"),
        (NatRange((LOW, HIGH), (8080, 8090), base=80), "10.0.2.1-10.0.2.9:8080-8090/80"),
        (NatRange((LOW, LOW), random=True, persistent=True), "10.0.2.1 random persistent"),
        (NatRange(random_fully=True), "random-fully"),
    ],
)
def test_a_range_in_words(wanted: NatRange, text: str) -> None:
    assert str(wanted) == text


@pytest.mark.parametrize("wanted", [NatRange(random=True), NatRange(random_fully=True)])
def test_both_words_for_random_mean_the_same(wanted: NatRange) -> None:
    assert wanted.shuffles
    assert not NatRange().shuffles
