"""Rules, sets and commands inside a namespace, by the programs that an administrator uses: iptables, ipset, ip.

Whatever they are given has been read before (`netlab.shell`), so that they neither touch files nor start programs.
"""

import os
import re
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from netlab.iptables.extension import Variant
from netlab.kernel.namespaces import Namespace, require
from netlab.names import NetlabError
from netlab.scenario import HostSpec
from netlab.trace import Ran

LOG_SWITCH: Final = Path("/proc/sys/net/netfilter/nf_log_all_netns")
_PACKAGES: Final = {"conntrack": "conntrack", "ip": "iproute2", "ipset": "ipset", "iptables": "iptables"}
_LINE_NUMBER = re.compile(r"\bline:? (\d+)|:(\d+): ")


@cache
def _environment() -> dict[str, str]:
    """Theirs: the lock that all iptables-legacy of a machine share is one of our own here, and nowhere on disk."""
    lock = os.memfd_create("xtables.lock")
    return os.environ | {"XTABLES_LOCKFILE": f"/proc/{os.getpid()}/fd/{lock}", "LC_ALL": "C"}


class Rules:
    """The rules of one host."""

    def __init__(self, spec: HostSpec, namespace: Namespace, variant: Variant, scenario: str) -> None:
        self._spec = spec
        self._namespace = namespace
        self._variant = variant
        self._scenario = scenario

    def load(self) -> None:
        """Loads the sets, then the rules, that the scenario starts with.

        Raises:
            NetlabError: the kernel or the program refuses one; the message quotes it.
            KernelUnavailable: a program is missing.
        """
        if self._spec.ipsets:
            self._restore("ipsets", [require("ipset", "ipset"), "restore"])
        if self._spec.iptables:
            self._restore("iptables", [require(f"iptables-{self._variant}-restore", "iptables")])

    def _restore(self, what: str, command: Sequence[str]) -> None:
        done = self._call(command, getattr(self._spec, what))
        if not done.returncode:
            return
        complaint = " ".join(done.stderr.split())
        place = ""
        if (line := _LINE_NUMBER.search(complaint)) and what in self._spec.places:
            number = int(line[1] or line[2]) + self._spec.places[what][0] - 1
            place = f":{number}"
        raise NetlabError(f"{self._scenario}{place}: host {self._spec.name}: {complaint}")

    def _call(self, command: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
        with self._namespace.entered():
            return subprocess.run(command, input=text, capture_output=True, text=True, check=False, env=_environment())

    def counters(self) -> list[str]:
        """The rules with what they have counted, as `iptables-save -c` prints them without its comments.

        Raises:
            NetlabError: the program failed.
        """
        done = self._call([require(f"iptables-{self._variant}-save", "iptables"), "-c"])
        if done.returncode:
            raise NetlabError(f"host {self._spec.name}: {' '.join(done.stderr.split())}")
        return [line for line in done.stdout.splitlines() if line and not line.startswith("#")]

    def run(self, words: Sequence[str]) -> Ran:
        """Runs a command as its words say, iptables being the one that this run is about."""
        name = words[0]
        program = f"iptables-{self._variant}" if name == "iptables" else name
        done = self._call([require(program, _PACKAGES[name]), *words[1:]])
        printed = "\n".join(text.strip("\n") for text in (done.stdout, done.stderr) if text.strip())
        return Ran(0, self._spec.name, done.returncode, printed)


def logs_are_seen() -> bool:
    """Whether LOG rules of namespaces write to the kernel's log: only if the whole machine says so."""
    try:
        return LOG_SWITCH.read_text().strip() == "1"
    except OSError:
        return False
