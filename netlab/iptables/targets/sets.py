"""The target `SET` (xt_set.c)."""

from dataclasses import dataclass
from typing import Final

from netlab.hooks import HookState
from netlab.iptables.extension import Action, Rules, Target, target
from netlab.iptables.matches.sets import SET, Named
from netlab.iptables.option import Kind, Option, number
from netlab.names import NetlabError
from netlab.packet import Packet

NO_TIMEOUT: Final = 0xFFFFFFFF  # what the kernel takes for none
LONGEST_TIMEOUT: Final = 2147483  # seconds; what is longer is cut to that


def _seconds(text: str) -> int:
    seconds = number(32).parse(text)
    if seconds == NO_TIMEOUT:
        raise NetlabError(f"Invalid value for option --timeout or out of range 0-{NO_TIMEOUT - 1}")
    return seconds


@target
@dataclass(frozen=True)
class Set(Target):
    """`-j SET --add-set seen src --exist --timeout 60`, `--del-set seen src`: write into sets, and go on.

    One that is in stays as it is, unless `--exist` says to hold it anew.
    """

    name = "SET"
    options = (
        Option(("--add-set",), "add_set", SET),
        Option(("--exist",), "exist"),
        Option(("--timeout",), "timeout", (Kind(_seconds),)),
        Option(("--del-set",), "del_set", SET),
    )

    add_set: Named | None = None
    exist: bool | None = None
    timeout: int | None = None
    del_set: Named | None = None

    @property
    def sets(self) -> tuple[str, ...]:
        """Those that it names."""
        return tuple(named[0] for named in (self.add_set, self.del_set) if named)

    def completed(self) -> None:
        """There must be something to do; options of adding need a set to add to.

        Raises:
            NetlabError: it is not so.
        """
        if self.add_set is None:
            if self.exist:
                raise NetlabError("Flag `--exist' can be used with `--add-set' only")
            if self.timeout is not None:
                raise NetlabError("Option `--timeout' can be used with `--add-set' only")
            if self.del_set is None:
                raise NetlabError("You must specify either `--add-set' or `--del-set'")

    def bind(self, rules: Rules) -> Action:
        """Look the sets up by name for every packet, since they can be swapped."""
        sets, exist = rules.sets, bool(self.exist)
        timeout = None if self.timeout is None else min(self.timeout, LONGEST_TIMEOUT)

        def act(packet: Packet, state: HookState) -> None:
            if self.add_set:
                name, sides = self.add_set
                sets[name].add_from(packet, sides, timeout=timeout, exist=exist)
            if self.del_set:
                name, sides = self.del_set
                sets[name].delete_from(packet, sides)

        return act

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`: those of iptables-save without the dashes."""
        return " ".join(word.removeprefix("--") for word in self.words())
