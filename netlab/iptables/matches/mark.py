"""The number beside a packet (xt_mark.c), and words for those who read the rules (xt_comment.c)."""

from dataclasses import dataclass
from typing import Final

from netlab.iptables.extension import Match, Rules, Test, match
from netlab.iptables.option import MARK, Is, Kind, Mark, Option
from netlab.iptables.words import quote
from netlab.names import NetlabError

LONGEST_COMMENT: Final = 255  # bytes (XT_MAX_COMMENT_LEN, less the zero at the end)


@match
@dataclass(frozen=True)
class MarkMatch(Match):
    """`-m mark --mark`: the packet's mark, or the bits of it that the mask leaves."""

    name = "mark"
    options = (Option(("--mark",), "mark", (MARK,), negatable=True),)

    mark: Is[Mark] | None = None

    def completed(self) -> None:
        """The mark must be given.

        Raises:
            NetlabError: it is not.
        """
        if self.mark is None:
            raise NetlabError('mark: option "--mark" must be specified')

    def bind(self, rules: Rules) -> Test:
        """Compares."""
        assert self.mark is not None
        (value, mask), negated = self.mark
        return lambda packet, _: (packet.mark & mask == value) is not negated

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        assert self.mark is not None
        return f"mark match {'! ' if self.mark.negated else ''}{self.mark.value}"


def _comment(text: str) -> str:
    if len(text.encode()) > LONGEST_COMMENT:
        raise NetlabError(f"a comment has at most {LONGEST_COMMENT} bytes, this one has {len(text.encode())}")
    return text


@match
@dataclass(frozen=True)
class CommentMatch(Match):
    """`-m comment --comment`: asks nothing."""

    name = "comment"
    options = (Option(("--comment",), "text", (Kind(_comment, quote),)),)

    text: str | None = None

    @property
    def asks(self) -> bool:
        """It does not."""
        return False

    def completed(self) -> None:
        """The comment must be given.

        Raises:
            NetlabError: it is not.
        """
        if self.text is None:
            raise NetlabError('comment: option "--comment" must be specified')

    def bind(self, rules: Rules) -> Test:
        """Every packet is fine."""
        return lambda packet, state: True

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        return f"/* {self.text} */"
