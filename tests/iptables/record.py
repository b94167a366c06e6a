"""Asks the real iptables, nft and legacy, what it makes of the rules and commands in data/; writes the answers down.

Run it as root: `python tests/iptables/record.py [rules] [commands] [matrix]`. It works in network namespaces of its own
and needs the Debian packages iptables, at the pinned version, and ipset. A recorded date is `-`.
"""

import contextlib
import itertools
import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from netlab.kernel.namespaces import Namespace

VERSION: Final = "1.8.9"
DATA: Final = Path(__file__).parent / "data"
VARIANTS: Final = ("nft", "legacy")
CHAINS: Final = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
USER_CHAINS: Final = ("USER", "OTHER")
LOCK: Final = f"{tempfile.gettempdir()}/netlab-record-xtables.lock"
"""iptables-legacy of other namespaces does not have to wait for us, nor we for it."""
DATE: Final = re.compile(r"on \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}$", re.MULTILINE)
ALTERNATIVES: Final = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Answer:
    """What one command said."""

    status: int
    stdout: str
    stderr: str

    def record(self) -> dict[str, Any]:
        """As JSON, what is empty left out."""
        return {"status": self.status} | {k: v for k in ("stdout", "stderr") if (v := getattr(self, k))}


def run(variant: str, arguments: list[str], stdin: str = "") -> Answer:
    """Runs `iptables`, `iptables-save`, `iptables-restore` or another program under the name a user calls it by."""
    program = f"xtables-{variant}-multi" if arguments[0].startswith("iptables") else arguments[0]
    done = subprocess.run(
        arguments,
        check=False,
        executable=f"/usr/sbin/{program}",
        input=stdin.encode(),
        capture_output=True,
        env={"PATH": "/usr/sbin:/usr/bin", "XTABLES_LOCKFILE": LOCK},
        timeout=60,
    )
    texts = [DATE.sub("on -", text.decode(errors="replace")) for text in (done.stdout, done.stderr)]
    return Answer(done.returncode, *texts)


@contextlib.contextmanager
def fresh_namespace(sets: bool = False) -> Iterator[None]:
    """A network namespace with nothing in it, or with the ipsets of sets.txt."""
    namespace = Namespace()
    try:
        with namespace.entered():
            if sets:
                run("", ["ipset", "restore"], (DATA / "sets.txt").read_text())
            yield
    finally:
        namespace.close()


def expanded(line: str) -> Iterator[str]:
    """The line once for each combination of its {a|b}, in reading order."""
    parts = ALTERNATIVES.split(line)
    for choice in itertools.product(*(part.split("|") for part in parts[1::2])):
        yield "".join(itertools.chain(*itertools.zip_longest(parts[::2], choice, fillvalue="")))


def written_rules() -> Iterator[tuple[str, str, str]]:
    """(table, chain, rule) of every line in rules.txt."""
    table = chain = ""
    for line in (DATA / "rules.txt").read_text().splitlines():
        if line.startswith("["):
            table, chain = line.strip("[]").split()
        elif line and not line.startswith("#"):
            for rule in expanded(line):
                yield table, chain, rule


def with_user_chains(variant: str) -> None:
    for table, chain in itertools.product(CHAINS, USER_CHAINS):
        run(variant, ["iptables", "-t", table, "-N", chain])


def appended(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("-A")]


def rule_answer(variant: str, table: str, chain: str, rule: str) -> dict[str, Any]:
    """What appending the rule says, how it is printed, and whether iptables-restore agrees."""
    iptables = ["iptables", "-t", table]
    answer = run(variant, [*iptables, "-A", chain, *shlex.split(rule)])
    record = answer.record()
    restored = run(variant, ["iptables-restore", "--noflush"], f"*{table}\n-A {chain} {rule}\nCOMMIT\n")
    if answer.status:
        record["restore"] = restored.record()
        if restored.status == 0:
            record["restore"]["save"] = appended(run(variant, ["iptables-save", "-t", table]).stdout)
    else:
        save = appended(run(variant, ["iptables-save", "-t", table]).stdout)
        half = len(save) // 2
        if restored.status or save[:half] != save[half:]:
            record["restore"] = restored.record() | {"save": save[half:]}
        record["save"] = save[:half] if not restored.status else save
        listed = appended(run(variant, [*iptables, "-S", chain]).stdout)
        if listed != save:
            record["S"] = listed[: len(record["save"])]
        for name, options in (("L", []), ("Lnv", ["-n", "-v", "-x", "--line-numbers"])):
            lines = run(variant, [*iptables, "-L", chain, *options]).stdout.splitlines()
            record[name] = lines[2 : 2 + len(record["save"])]
    run(variant, [*iptables, "-F"])
    return record


def record_rules() -> Iterator[dict[str, Any]]:
    """Every rule of rules.txt with the answers of both."""
    answers: dict[str, list[dict[str, Any]]] = {}
    for variant in VARIANTS:
        with fresh_namespace(sets=True):
            with_user_chains(variant)
            answers[variant] = [rule_answer(variant, *rule) for rule in written_rules()]
    for (table, chain, rule), *both in zip(written_rules(), *answers.values(), strict=True):
        yield {"table": table, "chain": chain, "rule": rule} | dict(zip(VARIANTS, both, strict=True))


def record_matrix() -> Iterator[dict[str, Any]]:
    """Every match and target of matrix.txt in every chain of every table: what both say when it is not accepted."""
    examples = [line for line in (DATA / "matrix.txt").read_text().splitlines() if line and not line.startswith("#")]
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for variant in VARIANTS:
        with fresh_namespace(sets=True):
            with_user_chains(variant)
            for rule, (table, chains) in itertools.product(examples, CHAINS.items()):
                for chain in (*chains, "USER"):
                    answer = run(variant, ["iptables", "-t", table, "-A", chain, *shlex.split(rule)])
                    found.setdefault((rule, variant), {})[f"{table} {chain}"] = answer.record()
                run(variant, ["iptables", "-t", table, "-F"])
    for rule in examples:
        record: dict[str, Any] = {"rule": rule}
        for variant in VARIANTS:
            answers = found[rule, variant]
            record[variant] = {
                "accepted": [place for place, answer in answers.items() if answer["status"] == 0],
                "refused": {place: answer for place, answer in answers.items() if answer["status"]},
            }
        yield record


def stories() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(title, steps) of commands.txt; a step is a command and what it reads from its standard input."""
    title, steps = "", list[tuple[str, str]]()
    for line in (DATA / "commands.txt").read_text().splitlines():
        if line.startswith("## "):
            if steps:
                yield title, steps
            title, steps = line[3:], []
        elif line.startswith("| ") or line == "|":
            command, stdin = steps[-1]
            steps[-1] = command, stdin + line[2:].replace("\\r", "\r") + "\n"
        elif line and not line.startswith("# "):
            steps.append((line, ""))
    yield title, steps


def story_answers(variant: str, steps: list[tuple[str, str]]) -> list[dict[str, Any]]:
    with fresh_namespace(sets=any("set" in command for command, _ in steps)):
        return [run(variant, shlex.split(command), stdin).record() for command, stdin in steps]


def record_commands() -> Iterator[dict[str, Any]]:
    """Every story of commands.txt, each in a namespace of its own, step by step."""
    for title, steps in stories():
        both = [story_answers(variant, steps) for variant in VARIANTS]
        yield {
            "story": title,
            "steps": [
                {"command": command} | ({"stdin": stdin} if stdin else {}) | dict(zip(VARIANTS, answers, strict=True))
                for (command, stdin), *answers in zip(steps, *both, strict=True)
            ],
        }


RECORDERS: Final = {"rules": record_rules, "commands": record_commands, "matrix": record_matrix}


def main(names: list[str]) -> None:
    """Records what is named, or everything."""
    for variant in VARIANTS:
        if VERSION not in run(variant, ["iptables", "-V"]).stdout:
            sys.exit(f"these answers are those of iptables {VERSION}; another version is installed")
    for name in names or RECORDERS:
        lines = [json.dumps(record, ensure_ascii=False) for record in RECORDERS[name]()]
        (DATA / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
        print(f"{name}: {len(lines)}")


if __name__ == "__main__":
    main(sys.argv[1:])
