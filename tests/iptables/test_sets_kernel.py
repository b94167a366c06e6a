"""The command ipset beside the real one: random sessions, and every answer compared."""

import re
from random import Random

import pytest

from netlab.iptables.set_command import ipset
from netlab.iptables.sets import Sets
from netlab.kernel.namespaces import KernelUnavailable
from tests.conftest import CI
from tests.iptables import record

pytestmark = [pytest.mark.kernel, pytest.mark.needs("ipset")]

NAMES = ("a", "b", "c", "d")
ELEMENTS = {
    "hash:ip": ("10.0.0.1", "10.0.0.2", "10.0.0.0/30", "10.0.0.1-10.0.0.3", "0.0.0.0", "10.0.0.1,tcp:80", "nonsense"),
    "hash:net": (
        "10.0.0.1", "10.0.0.0/28", "10.1.0.0/27", "10.1.2.3/27", "0.0.0.0/0", "10.0.0.0/33", "10.0.0.1-10.0.0.6",
    ),
    "hash:ip,port": (
        "10.0.0.1,80", "10.0.0.1,tcp:80-82", "10.0.0.2,udp:53", "10.0.0.1,icmp:8/0", "10.0.0.1,icmp:echo-request",
        "10.0.0.1,99:0", "10.0.0.1,99:5", "10.0.0.1", "10.0.0.1,icmp:3/1", "10.0.0.1,gre:0",
    ),
}  # fmt: skip
# What is random in the kernel, or differs with time: the hash's seed and order, the seconds that are left.
NEVER_THE_SAME = re.compile(r"initval 0x\w+|Size in memory: \d+|(?<=timeout )(9\d\d\d|10000)")


def random_command(random: Random) -> str:
    """A line of a session; most of them make sense."""
    one, other = random.choice(NAMES), random.choice(NAMES)
    kind = random.choice(list(ELEMENTS))
    element = random.choice(ELEMENTS[kind])
    exist = random.choice(("", "", " -exist"))
    timeout = random.choice(("", "", " timeout 10000", " timeout 0"))
    if random.random() < 0.55:
        nomatch = " nomatch" if random.random() < 0.2 else ""
        verb = random.choice(("add", "add", "add", "del", "test"))
        return f"{verb} {one} {element}{timeout * (verb == 'add')}{nomatch * (verb != 'del')}{exist * (verb != 'test')}"
    made = random.choice(("", "", " timeout 10000", " timeout 0", " maxelem 3", " comment", " hashsize 100"))
    return random.choice(
        (
            f"create {one} {kind}{made}{exist}", f"create {one} {kind}{made}{exist}", f"flush {one}", f"destroy {one}",
            f"rename {one} {other}", f"swap {one} {other}", f"list {one}", f"list {one} -terse", "list -name", "save",
            f"save {one}", f"create {one} foo:bar", "frobnicate", f"add {one}", f"list {one} {other}",
        )
    )  # fmt: skip


def canonical(text: str) -> list[str]:
    """The lines, members in any order."""
    lines = [NEVER_THE_SAME.sub("-", line).rstrip() for line in text.splitlines()]
    return sorted(line for line in lines if line)


class Machine:
    """Something with sets, on which time stands still."""

    def __init__(self) -> None:
        self.sets = Sets(lambda: 0.5)


@pytest.mark.timeout(600)
def test_random_sessions(seed: int, whole: bool) -> None:
    random = Random(seed)
    for _ in range(40 if whole else 3):
        machine, lines = Machine(), ["create a hash:ip timeout 10000", "create b hash:net", "create c hash:ip,port"]
        lines += [random_command(random) for _ in range(120)]
        try:
            with record.fresh_namespace():
                for number, line in enumerate(lines):
                    real = record.run("", ["ipset", *line.split()])
                    ours = ipset(machine, line)
                    session = "\n".join(lines[: number + 1])
                    assert ours.status == real.status, f"{session}\n{ours}\n{real}"
                    assert canonical(str(ours)) == canonical(f"{real.stdout}\n{real.stderr}"), session
        except KernelUnavailable as error:
            (pytest.fail if CI else pytest.skip)(str(error))
