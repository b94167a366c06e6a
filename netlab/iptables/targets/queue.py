"""`NFQUEUE`: set the packet aside for a program. Source: xt_NFQUEUE.c."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from netlab.hooks import HookState, queue_to
from netlab.iptables.extension import Action, Rules, Target, target
from netlab.iptables.option import Kind, Option, Span, c_number, number
from netlab.names import NetlabError
from netlab.packet import Packet

FIRST: Final = Span(0, 0)


def _balance(text: str) -> Span:
    first, colon, last = text.partition(":")
    low, high = c_number(first), c_number(last)
    if not colon or low is None or high is None or max(low, high) > 0xFFFF:
        raise NetlabError(f'Bad range "{text}"')
    if low >= high:
        raise NetlabError(f"{low} should be less than {high}")
    if high - low == 0xFFFF:
        raise NetlabError(f"{text}: one queue more than the kernel can balance between")
    return Span(low, high)


def _one_queue(text: str) -> Span:
    queue = number(16).parse(text)
    return Span(queue, queue)


@target
@dataclass(frozen=True)
class Nfqueue(Target):
    """`-j NFQUEUE --queue-num 1`: the packet waits for a program. Without one it is dropped; with `--queue-bypass`
    it is accepted.

    Between several queues its two addresses choose, the same for both ways of a flow (the kernel's hash has a random
    seed, this one has not); with `--queue-cpu-fanout` the processor does, and here there is one.
    """

    name = "NFQUEUE"
    options = (
        Option(("--queue-num",), "queues", (Kind(_one_queue),)),
        Option(("--queue-balance",), "queues", (Kind(_balance),)),
        Option(("--queue-bypass",), "bypass"),
        Option(("--queue-cpu-fanout",), "cpu_fanout"),
    )

    queues: Span = FIRST
    bypass: bool = False
    cpu_fanout: bool = False

    def completed(self) -> None:
        """To fan out takes several queues.

        Raises:
            NetlabError: there is one.
        """
        if self.cpu_fanout and self.queues.low == self.queues.high:
            raise NetlabError('NFQUEUE: option "--queue-cpu-fanout" also requires "--queue-balance"')

    def bind(self, rules: Rules) -> Action:
        """Queue it."""
        verdicts = [
            queue_to(queue, bypass=self.bypass)
            for queue in range(self.queues.low, self.queues.low + 1 if self.cpu_fanout else self.queues.high + 1)
        ]

        def act(packet: Packet, state: HookState) -> int:
            return verdicts[(packet.saddr ^ packet.daddr ^ packet.proto) % len(verdicts)]

        return act

    def words(self) -> Iterator[str]:
        """The queue is always told."""
        low, high = self.queues
        yield from ("--queue-num", str(low)) if low == high else ("--queue-balance", f"{low}:{high}")
        yield from ["--queue-bypass"] * self.bypass + ["--queue-cpu-fanout"] * self.cpu_fanout

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`."""
        return "NFQUEUE " + " ".join(word.removeprefix("--queue-") for word in self.words())
