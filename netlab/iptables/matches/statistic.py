"""Some of the packets: each by chance, or every so-manieth (xt_statistic.c)."""

from dataclasses import dataclass
from typing import Final

from netlab.hooks import HookState
from netlab.iptables.extension import Match, Rules, Test, match
from netlab.iptables.option import Is, Kind, Option, choice, number
from netlab.names import NetlabError
from netlab.packet import Packet

CERTAIN: Final = 1 << 31  # a chance is a number of so many parts


def _chance(text: str) -> int:
    """A number from 0 to 1 in CERTAIN-ths."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise NetlabError(f"{text!r} is not a number from 0 to 1")
    return int(value * CERTAIN + 0.5)


@match
@dataclass(frozen=True)
class StatisticMatch(Match):
    """`-m statistic --mode random --probability 0.1`, or `--mode nth --every 10 --packet 0`.

    Of `every` packets that come to the rule it means the one number `packet`, counted from 0.
    """

    name = "statistic"
    options = (
        Option(("--mode",), "mode", (choice({"random": "random", "nth": "nth"}),)),
        Option(
            ("--probability",), "probability", (Kind(_chance, lambda parts: f"{parts / CERTAIN:.11f}"),), negatable=True
        ),
        Option(("--every",), "every", (number(32, low=1),), negatable=True),
        Option(("--packet",), "packet", (number(32),)),
    )

    mode: str | None = None
    probability: Is[int] | None = None
    every: Is[int] | None = None
    packet: int | None = None

    def completed(self) -> None:
        """Each mode has its own options.

        Raises:
            NetlabError: one is missing, or belongs to the other mode.
        """
        if self.mode is None:
            raise NetlabError('statistic: option "--mode" must be specified')
        if self.every is not None and self.packet is None:
            raise NetlabError('statistic: option "--every" also requires "--packet"')
        if self.mode == "random":
            if self.probability is None or self.every or self.packet is not None:
                raise NetlabError("statistic: --probability alone must be specified when using random mode")
            return
        if self.every is None or self.packet is None or self.probability:
            raise NetlabError("statistic: --every and --packet must be specified when using nth mode")
        if self.packet >= self.every.value:
            raise NetlabError("statistic: the --packet p must be 0 <= p <= n-1")

    def bind(self, rules: Rules) -> Test:
        """By chance is by the generator of the host's rules: the same packets meet the same luck in every run."""
        if self.probability:
            chance, negated = self.probability
            random = rules.random
            return lambda packet, state: (random.getrandbits(31) < chance) is not negated
        assert self.every is not None and self.packet is not None
        every, other = self.every
        turn = self.packet  # so many packets before the next one that is meant

        def test(packet: Packet, state: HookState) -> bool:
            nonlocal turn
            meant, turn = not turn, (turn - 1) % every
            return meant is not other

        return test

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        text = " ".join(self.words()).replace("--", "")
        return f"statistic {text if self.packet else text.removesuffix(' packet 0')}"
