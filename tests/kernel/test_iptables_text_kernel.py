"""What netlab prints, the real iptables loads and prints the same; and the other way round. For every extension."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from random import Random

import pytest

from netlab.iptables.check import check
from netlab.iptables.extension import MATCHES, TARGETS, Extension, Variant
from netlab.iptables.model import TABLES
from netlab.iptables.restore import restore
from netlab.iptables.save import save
from netlab.iptables.words import RuleError
from netlab.kernel.namespaces import Namespace, require
from tests.iptables.corpus import DATA, MORE_LENIENT, PRINTED_OTHERWISE, excused
from tests.iptables.random_rules import random_rule

pytestmark = [pytest.mark.kernel, pytest.mark.needs("iptables", "ipset")]

EXTENSIONS = [*MATCHES.values(), *TARGETS.values()]
RULES = 12
NOT_HERE = {
    r"--helper": "modules of helpers may not be there",
    r"--match-set (?!(blocked|nets|services) )|--(add|del)-set (?!(blocked|nets|services) )": "sets that are not there",
}
PLACES = [(table, hook.chain) for table, chains in TABLES.items() for hook in chains]


@cache
def environment() -> dict[str, str]:
    """iptables-legacy's lock is a file of the whole machine; this one is ours."""
    lock = os.memfd_create("xtables.lock")
    return os.environ | {"XTABLES_LOCKFILE": f"/proc/{os.getpid()}/fd/{lock}", "LC_ALL": "C"}


def real(command: str, variant: Variant, *options: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    program = require(command.replace("iptables", f"iptables-{variant}"), "iptables")
    return subprocess.run(
        [program, *options], input=stdin, capture_output=True, text=True, env=environment(), timeout=60, check=False
    )


@contextmanager
def with_sets(make: Callable[[], AbstractContextManager[Namespace]]) -> Iterator[None]:
    with make() as namespace, namespace.entered():
        subprocess.run([require("ipset", "ipset"), "restore"], input=(DATA / "sets.txt").read_bytes(), check=True)
        yield


def random_place(random: Random, rule: str, variant: Variant) -> tuple[str, str] | None:
    """A table and a chain where netlab takes the rule."""
    for table, chain in random.sample(PLACES, len(PLACES)):
        try:
            check(restore(f"*{table}\n-A {chain} {rule}\nCOMMIT\n"), variant)
        except RuleError:
            continue
        return table, chain
    return None


def random_rules(random: Random, extension: type[Extension], variant: Variant) -> Iterator[tuple[str, str, str]]:
    """Rules that netlab takes, each with a table and a chain where it does."""
    left, reasons = RULES, NOT_HERE | MORE_LENIENT | PRINTED_OTHERWISE
    while left:
        rule = random_rule(random, extension)
        if not excused(rule, reasons) and (place := random_place(random, rule, variant)):
            left -= 1
            yield *place, rule


@pytest.mark.parametrize("variant", ["nft", "legacy"])
@pytest.mark.parametrize("extension", EXTENSIONS, ids=lambda extension: extension.name)
def test_what_netlab_prints_is_loaded_and_printed_the_same(
    extension: type[Extension],
    variant: Variant,
    seed: int,
    kernel_namespaces: Callable[[], AbstractContextManager[Namespace]],
) -> None:
    random = Random(f"{seed} {extension.name} {variant}")
    wrong = []
    with with_sets(kernel_namespaces):
        for table, chain, rule in random_rules(random, extension, variant):
            ours = f"*{table}\n-A {chain} {rule}\nCOMMIT\n"
            done = real("iptables-restore", variant, stdin=ours)
            if done.returncode:
                wrong.append(f"{table} {chain}: {rule}: refused: {done.stderr.strip()}")
                continue
            printed = real("iptables-save", variant, "-t", table).stdout
            theirs = "".join(f"{line}\n" for line in printed.splitlines() if not line.startswith("#"))
            if theirs != save(restore(ours), table=table):
                wrong.append(f"{table} {chain}: {rule}: printed {[x for x in theirs.splitlines() if x[:2] == '-A']}")
            elif save(restore(theirs), table=table) != theirs:
                wrong.append(f"{table} {chain}: {rule}: read back otherwise")
    assert not wrong, "\n".join(wrong)
