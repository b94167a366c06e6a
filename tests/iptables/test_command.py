"""The command line: stories in order, against what the real iptables answered to each step."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.iptables.check import check
from netlab.iptables.command import command
from netlab.iptables.extension import Variant
from netlab.iptables.model import Ruleset
from netlab.iptables.save import save
from netlab.names import NetlabError
from tests.iptables.corpus import recorded

OTHERWISE = {
    "rename": "a base chain, and the name of a target, are refused as iptables-legacy does",
    "restore: COMMIT twice": "nothing is half loaded",
    "restore: a mistake in the second table": "nothing is half loaded",
    "restore --noflush with other commands": "iptables-nft crashes",
    "restore --verbose": "it tells nothing",
    "restore: a quote that does not end": "it is refused",
    "help": "there is none",
}
"""Stories in which netlab goes its own way somewhere; its outputs are compared in all others."""
OTHERWISE_IN_LEGACY = {
    "flush and zero": "-Z of a rule that is not there",
    "restore: odd chain names": "it has more of them",
}
"""More stories in which netlab does not do as iptables-legacy does."""
BETTER_SAID = re.compile(
    r"RULE_APPEND failed|CHAIN_\w+ failed|need \]|line \d+ (policy|chain name|table name) |line \d+ failed$|inhibited|"
    r"invalid portrange|Can't open|unrecognized option|Unknown arguments|Chain '\w+' does not exist\nError occurred|"
    r"packet counter not numeric\nError|Invalid target name `ACCEPT|argument `COMMIT\r|also requires|"
    r"unknown protocol \"-|^Try |wait-interval|option requires an argument|invalid option"
)
"""Messages that say less than netlab's."""


class Rules:
    """Rules that are in force nowhere, but checked as if they were."""

    def __init__(self, variant: Variant = "nft") -> None:
        self.variant = variant
        self.ruleset = Ruleset()

    def replace(self, ruleset: Ruleset) -> None:
        check(ruleset, self.variant)
        self.ruleset = ruleset


def plain(text: str) -> str:
    """Without blank lines, and the comments that tell the time."""
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


def steps(story: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for step in story["steps"]:
        if step["command"].startswith("iptables"):
            yield step, step["nft"]


STORIES = [story for story in recorded("commands") if story["story"] not in OTHERWISE]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story["story"])
def test_a_story_goes_as_with_iptables(story: dict[str, Any]) -> None:
    rules = Rules()
    for step, answer in steps(story):
        line = step["command"]
        output = command(rules, line, step.get("stdin", ""))
        refused = {"status": output.status, "said": output.err}
        assert (output.status != 0) == (answer["status"] != 0), f"{line}: {refused}, not {answer}"
        assert plain(output.out) == plain(answer.get("stdout", "")), line
        theirs = answer.get("stderr", "")
        if not BETTER_SAID.search(theirs.strip()) and "Warning" not in theirs:
            assert (output.status, plain(output.err)) == (answer["status"], plain(theirs)), line


def test_every_story_that_goes_otherwise_is_there() -> None:
    told = {story["story"] for story in recorded("commands")}
    assert OTHERWISE.keys() <= told
    assert OTHERWISE_IN_LEGACY.keys() <= told


@pytest.mark.parametrize(
    "story", [story for story in STORIES if story["story"] not in OTHERWISE_IN_LEGACY], ids=lambda story: story["story"]
)
def test_iptables_legacy_does_and_refuses_the_same(story: dict[str, Any]) -> None:
    rules = Rules("legacy")
    for step in story["steps"]:
        if step["command"].startswith("iptables"):
            output = command(rules, step["command"], step.get("stdin", ""))
            assert (output.status != 0) == (step["legacy"]["status"] != 0), step["command"]
            assert "nf_tables" not in str(output), step["command"]


def test_what_the_kernel_refuses_has_the_status_of_each_iptables() -> None:
    line = "iptables -A INPUT -j DNAT --to-destination 10.0.0.1"
    assert [command(Rules(variant), line).status for variant in ("nft", "legacy")] == [4, 1]


def test_help_names_what_there_is_and_the_options_of_what_is_named() -> None:
    told = command(Rules(), "iptables -A INPUT -p tcp --dport 80 -m conntrack -j REJECT -h")
    assert told.status == 0
    for word in ("--in-interface", "connlimit", "MASQUERADE", "[!] --ctstate", "--reject-with", "[!] --dport"):
        assert word in told.out
    assert "--reject-with" not in command(Rules(), "iptables --help").out
    assert "--noflush" in command(Rules(), "iptables-restore -h").out


def test_neither_files_are_touched_nor_programs_started() -> None:
    for line in ("iptables-save -f x", "iptables-save -M x", "iptables-restore --modprobe=x", "iptables-restore x"):
        output = command(Rules(), line)
        assert output.status == 1, line
        assert "netlab " in output.err, line


# ---------------------------------------------------------------- what netlab alone says


def test_what_the_kernel_refuses_is_said_in_words() -> None:
    rules = Rules()
    output = command(rules, "iptables -A INPUT -j MASQUERADE")
    assert output.status == 4
    assert output.err == "iptables v1.8.9 (nf_tables): MASQUERADE may stand in nat only, not in table filter"
    assert save(rules.ruleset) == ""


def test_a_refused_file_changes_nothing() -> None:
    rules = Rules()
    command(rules, "iptables -A INPUT -p gre -j ACCEPT")
    before = rules.ruleset
    output = command(
        rules, "iptables-restore", "*filter\n-A INPUT -p tcp -j ACCEPT\n-A INPUT -j SNAT --to 1.1.1.1\nCOMMIT\n"
    )
    assert output.status == 4
    assert "line 3: SNAT may stand in nat only" in output.err
    assert rules.ruleset is before


def test_restore_only_to_test() -> None:
    rules = Rules()
    assert command(rules, "iptables-restore --test", "*filter\n-A INPUT -j DROP\nCOMMIT\n").status == 0
    assert save(rules.ruleset) == ""


def test_rules_that_stay_are_the_same_rules() -> None:
    rules = Rules()
    command(rules, "iptables -A INPUT -m limit --limit 1/s -j ACCEPT")
    (first,) = rules.ruleset.tables["filter"].rules()
    command(rules, "iptables -I INPUT -j LOG")
    command(rules, "iptables -t nat -A POSTROUTING -j MASQUERADE")
    assert first in list(rules.ruleset.tables["filter"].rules())


def test_listing_changes_nothing() -> None:
    rules = Rules()
    for line in ("iptables -L", "iptables -S", "iptables -t nat -L -n", "iptables-save -t raw", "iptables -V"):
        assert command(rules, line).status == 0
    assert rules.ruleset.tables == {}


@pytest.mark.parametrize("line", ["iptables -A INPUT -m comment --comment 'x", "ip6tables -L", ""])
def test_what_is_no_command(line: str) -> None:
    with pytest.raises(NetlabError):
        command(Rules(), line)


@pytest.mark.parametrize("name", ["iptables-nft", "/usr/sbin/iptables", "iptables-legacy"])
def test_other_names_of_the_same(name: str) -> None:
    rules = Rules()
    assert command(rules, [name, "-A", "INPUT", "-j", "DROP"]).status == 0
    assert "-A INPUT -j DROP" in command(rules, f"{name}-save").out


LINES = st.lists(
    st.sampled_from(sorted({step["command"] for story in recorded("commands") for step in story["steps"]}))
    | st.text(max_size=8).map(lambda text: f"iptables -A INPUT {text}")
    | st.from_regex(r"iptables(-save|-restore)?( -[A-Z])?( \w{1,5}| 9{1,5000}| -[a-z-]{1,9}){0,4}", fullmatch=True),
    max_size=8,
)


@given(LINES)
def test_whatever_is_typed_is_done_or_refused(lines: list[str]) -> None:
    rules = Rules()
    for line in lines:
        before = save(rules.ruleset, counters=True)
        try:
            output = command(rules, line, "*filter\n:OWN - [0:0]\n-A OWN -j LOG\nCOMMIT\n")
        except NetlabError:
            assert not line.startswith("iptables ") or line.count('"') % 2 or "'" in line or "\\" in line
            continue
        assert (output.status != 0) == bool(output.err)
        if output.status:
            assert save(rules.ruleset, counters=True) == before


def test_a_chain_that_jumps_to_itself_can_be_renamed() -> None:
    rules = Rules()
    for line in ("-N a", "-A a -j a", "-E a b"):
        assert command(rules, f"iptables {line}").status == 0
    assert "-A b -j b" in save(rules.ruleset)
