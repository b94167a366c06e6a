"""The match `set`, and the words that name a set (xt_set.c)."""

from dataclasses import dataclass
from typing import Final

from netlab.hooks import HookState
from netlab.iptables.extension import Match, Rules, Test, match
from netlab.iptables.option import Is, Kind, Option
from netlab.names import NetlabError
from netlab.packet import Packet

LONGEST_NAME: Final = 31  # letters
MOST_SIDES: Final = 6
SIDES: Final = {"src": True, "dst": False}


def _name(text: str) -> str:
    if len(text) > LONGEST_NAME:
        raise NetlabError(f"setname `{text}' too long, max {LONGEST_NAME} characters.")
    return text


def _sides(text: str) -> tuple[bool, ...]:
    words = text.split(",")
    if len(words) > MOST_SIDES:
        raise NetlabError(f"Can't be more src/dst options than {MOST_SIDES}.")
    if any(word not in SIDES for word in words):
        raise NetlabError("You must specify (the comma separated list of) 'src' or 'dst'.")
    return tuple(SIDES[word] for word in words)


def _format_sides(sides: tuple[bool, ...]) -> str:
    return ",".join("src" if source else "dst" for source in sides)


SET: Final = (Kind(_name), Kind(_sides, _format_sides))
"""What names a set: its name, and of each part of its members whether it is the packet's source or destination."""

Named = tuple[str, tuple[bool, ...]]


@match
@dataclass(frozen=True)
class SetMatch(Match):
    """`-m set --match-set blocked src`: is it in the set? With `--return-nomatch`: is it in as an exception?"""

    name = "set"
    options = (
        Option(("--match-set", "--set"), "match_set", SET, negatable=True),
        Option(("--return-nomatch",), "return_nomatch"),
    )

    match_set: Is[Named] | None = None
    return_nomatch: bool | None = None

    @property
    def sets(self) -> tuple[str, ...]:
        """The one that it names."""
        return (self.match_set.value[0],) if self.match_set else ()

    def completed(self) -> None:
        """It must name a set.

        Raises:
            NetlabError: it does not.
        """
        if self.match_set is None:
            raise NetlabError("You must specify `--match-set' with proper arguments")

    def bind(self, rules: Rules) -> Test:
        """Look it up by name for every packet, since sets can be swapped."""
        assert self.match_set is not None
        (name, sides), negated = self.match_set
        sets, exceptions = rules.sets, bool(self.return_nomatch)

        def test(packet: Packet, state: HookState) -> bool:
            return sets[name].matches(packet, sides, return_nomatch=exceptions) is not negated

        return test

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`: those of iptables-save without the dashes."""
        return " ".join(word.removeprefix("--") for word in self.words())
