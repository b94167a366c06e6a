"""The recorded answers are still those of the iptables installed here, rule by rule and story by story."""

import json
import shutil
from random import Random
from typing import Any

import pytest

from netlab.kernel.namespaces import KernelUnavailable
from tests.iptables import record

pytestmark = [pytest.mark.kernel, pytest.mark.needs("iptables", "ipset")]

RULES, STORIES = 25, 6


def recorded(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (record.DATA / f"{name}.jsonl").read_text().splitlines()]


@pytest.fixture(autouse=True)
def same_version() -> None:
    """Skips where another iptables is installed: its answers may well differ."""
    path = "/usr/sbin"
    if not all(shutil.which(f"xtables-{variant}-multi", path=path) for variant in record.VARIANTS):
        pytest.skip("iptables is not the one of Debian")
    installed = record.run("nft", ["iptables", "-V"]).stdout.strip()
    if record.VERSION not in installed:
        pytest.skip(f"answers of {record.VERSION} are recorded, {installed} is installed")
    try:
        with record.fresh_namespace():
            pass
    except KernelUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("variant", record.VARIANTS)
def test_rules_are_answered_as_recorded(variant: str, seed: int, whole: bool) -> None:
    rules = recorded("rules")
    assert [(rule["table"], rule["chain"], rule["rule"]) for rule in rules] == list(record.written_rules())
    with record.fresh_namespace(sets=True):
        record.with_user_chains(variant)
        for rule in rules if whole else Random(seed).sample(rules, RULES):
            answer = record.rule_answer(variant, rule["table"], rule["chain"], rule["rule"])
            assert answer == rule[variant], f"[{rule['table']} {rule['chain']}] {rule['rule']}"


@pytest.mark.parametrize("variant", record.VARIANTS)
def test_stories_are_answered_as_recorded(variant: str, seed: int, whole: bool) -> None:
    told = recorded("commands")
    stories = list(record.stories())
    assert [story["story"] for story in told] == [title for title, _ in stories]
    both = list(zip(told, stories, strict=True))
    for story, (title, steps) in both if whole else Random(seed).sample(both, STORIES):
        answers = record.story_answers(variant, steps)
        assert answers == [step[variant] for step in story["steps"]], title
