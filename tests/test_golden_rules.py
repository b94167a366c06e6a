"""The recorded random rule sets: every match and target that the fuzzer's rules are made of, with both iptables."""

import re
from collections.abc import Iterator
from typing import Final

import pytest

from netlab.kernel.fuzz import rulesets
from netlab.kernel.golden import recorded, scenarios
from netlab.scenario import PacketStep

RULES: Final = {name: scenario for name, scenario in scenarios() if name.startswith("rules_")}
BY_VARIANT: Final = {
    "nft": {name for name in RULES if not name.endswith("_legacy")},
    "legacy": {name for name in RULES if name.endswith("_legacy")},
}
CHOICE: Final = re.compile(r"\{([^{}]*)\}")
EXTENSION: Final = re.compile(r"-m \w+|-j [A-Z]+")
OPTION: Final = re.compile(r"(?<= )-f\b|--?[a-z][a-z-]+")
FILLED_IN: Final = frozenset({"address", "host", "network", "port", "ports", "dev"})

PATTERNS: Final = (
    *rulesets.MATCHES,
    *rulesets.SLOW,
    *(one.pattern for one in (*rulesets.IN_PLACES, *rulesets.TARGETS)),
)


def texts(pattern: str) -> Iterator[str]:
    """All that a pattern may mean, each list with one member."""
    found = CHOICE.search(pattern)
    if found is None:
        yield pattern
        return
    inside = found[1]
    choices = ("", "! ") if inside == "!" else ("X",) if inside in FILLED_IN else inside.removeprefix("+").split("|")
    for one in choices:
        yield from texts(pattern[: found.start()] + one + pattern[found.end() :])


POSSIBLE: Final = [text for pattern in PATTERNS for text in texts(pattern)]
BY_CHANCE: Final = {"--random"}
"""What no two runs of a kernel do alike, so that no recording could hold it: tests/test_choices.py is about that."""


@pytest.mark.parametrize(("variant", "number"), [("nft", 60), ("legacy", 25)])
def test_there_are_enough(variant: str, number: int) -> None:
    assert len(BY_VARIANT[variant]) >= number
    packets = [sum(isinstance(step, PacketStep) for step in RULES[name].steps) for name in BY_VARIANT[variant]]
    assert sum(packets) >= 18 * number


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_every_option_of_the_fuzzer_is_written(variant: str) -> None:
    wanted = {word for text in POSSIBLE for word in OPTION.findall(text)}
    written = "\n".join(spec.iptables for name in BY_VARIANT[variant] for spec in RULES[name].hosts.values())
    assert len(wanted) > 90
    assert wanted - set(OPTION.findall(written)) == BY_CHANCE


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_every_match_and_target_of_the_fuzzer_has_meant_a_packet(variant: str) -> None:
    wanted = {name for text in POSSIBLE for name in EXTENSION.findall(text)}
    traces = recorded()
    counted = {
        name
        for scenario in BY_VARIANT[variant]
        for lines in traces[scenario]["counters"].values()
        for line in lines
        if line.startswith("[") and not line.startswith("[0:0]")
        for name in EXTENSION.findall(line)
    }
    assert len(wanted) > 40
    assert not wanted - counted
