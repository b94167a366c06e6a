"""What is said of packets before conntrack sees them: `CT`, `NOTRACK`; and `TRACE`. Sources: xt_CT.c, xt_TRACE.c."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from netlab.conntrack.ftp import HELPERS
from netlab.conntrack.unread import UNREAD
from netlab.hooks import HookState
from netlab.iptables.extension import Action, Rules, Target, Use, target
from netlab.iptables.option import TEXT, Kind, Option, protocol_of
from netlab.names import CtState, NetlabError, Proto
from netlab.packet import Packet

RAW: Final = frozenset({"raw"})


def _left_out(text: str) -> NoReturn:
    raise NetlabError("netlab has no zones, no filters for events and no policies for timeouts")


MORE_LEFT_OUT: Final = ("--ctevents", "--expevents", "--timeout")
LEFT_OUT: Final = Kind(_left_out)

READS: Final = dict.fromkeys(HELPERS, (Proto.TCP,)) | {name: one.protocols for name, one in UNREAD.items()}
"""The protocols that each helper reads; only those of `HELPERS` do read in netlab, the others are names."""


def untrack(packet: Packet, state: HookState) -> None:
    """This packet is not to be tracked, unless it was met or spoken of before."""
    skb = state.skb
    if skb.ctstate is None and skb.helper is None:
        skb.ctstate = CtState.UNTRACKED


@target
@dataclass(frozen=True)
class Ct(Target):
    """`-j CT --notrack`: no connection is made of this packet; `--helper ftp`: the one it begins is read by a helper.

    The first rule that says anything of a packet has its way.
    """

    name = "CT"
    tables = RAW
    options = (
        Option(("--notrack",), "notrack"),
        Option(("--helper",), "helper", (TEXT,)),
        Option(("--zone", "--zone-orig", "--zone-reply", *MORE_LEFT_OUT), "left_out", (LEFT_OUT,)),
    )

    notrack: bool = False
    helper: str | None = None
    left_out: str | None = None

    @property
    def needs_conntrack(self) -> bool:
        """What says that nothing is to be tracked does not switch tracking on."""
        return not self.notrack

    def check(self, use: Use) -> None:
        """A helper reads one protocol.

        Raises:
            NetlabError: there is no such helper for what stands behind -p.
        """
        if self.helper is None or self.notrack:
            return
        if self.helper not in READS:
            raise NetlabError(f"CT: no such helper {self.helper!r} (there is {', '.join(READS)})")
        if use.protocol not in READS[self.helper]:
            needed = " or ".join(f"-p {protocol_of(one)}" for one in READS[self.helper])
            raise NetlabError(f"CT: --helper {self.helper} needs {needed}")

    def bind(self, rules: Rules) -> Action:
        """Say it, and go on."""
        if self.notrack:
            return untrack
        helper = self.helper or ""

        def assign(packet: Packet, state: HookState) -> None:
            skb = state.skb
            if skb.ctstate is None and skb.helper is None:
                skb.helper = helper

        return assign

    def words(self) -> Iterator[str]:
        """Without what was left at its default."""
        if self.notrack:
            yield "--notrack"
        if self.helper is not None:
            yield from ("--helper", self.helper)

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`."""
        return " ".join(["CT", *(word.removeprefix("--") for word in self.words())])


@target
@dataclass(frozen=True)
class Notrack(Target):
    """`-j NOTRACK`, the old name of `-j CT --notrack`."""

    name = "NOTRACK"
    tables = RAW

    def bind(self, rules: Rules) -> Action:
        """Say it, and go on."""
        return untrack

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`."""
        return "NOTRACK"


@target
@dataclass(frozen=True)
class Trace(Target):
    """`-j TRACE`: from here on every rule that means this packet is told of. Here all are, of all packets: see a trace.

    iptables-legacy knows it in the table raw only.
    """

    name = "TRACE"

    def check(self, use: Use) -> None:
        """The old kind is bound to one table.

        Raises:
            NetlabError: it stands in another.
        """
        if use.variant == "legacy" and use.table != "raw":
            raise NetlabError("TRACE: only in table raw")

    def listed(self, numeric: bool = True) -> str:
        """`iptables -L` has no words for it."""
        return ""

    def bind(self, rules: Rules) -> Action:
        """Mark it, and go on."""

        def act(packet: Packet, state: HookState) -> None:
            state.skb.traced = True

        return act
