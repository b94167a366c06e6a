"""The walk of a packet over rules, rule by rule: which were asked, which mean it, where the walk comes back to.

A trace tells only of rules that mean the packet. The others follow from it: rules are asked in their order.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from netlab.trace import Event, Ruled

Back = tuple[tuple[str, int], ...]
"""The jumps that wait for a return, the oldest first: the chain and the number of the rule that jumped."""


class Asked(NamedTuple):
    """One rule asked, or the end of a chain.

    Attributes:
        table: the table's name.
        base: the chain on the hook, where the walk over this table began.
        chain: the chain of the rule.
        rule: its number; None for the end of the chain.
        verdict: what the rule decides, as in `Ruled`; empty where it does not mean the packet.
        back: the call stack while it is asked.
        event: what the trace says of the rule; of one that does not mean the packet, what it says next.
    """

    table: str
    base: str
    chain: str
    rule: int | None
    verdict: str
    back: Back
    event: Ruled


class CallStack:
    """Follows the jumps and returns of one packet's walks; between two walks it is empty."""

    def __init__(self) -> None:
        self.back: Back = ()
        self.base = ""
        """The chain that the present walk began in; empty between two walks."""

    def follow(self, event: Ruled) -> Back:
        """The stack while this rule is asked; what its verdict does to the stack is done then."""
        here = self.back
        self.base = self.base or event.chain
        match event.verdict.split()[0]:
            case "JUMP" if event.rule is not None:
                self.back = (*here, (event.chain, event.rule))
            case "RETURN":
                self.back = here[:-1]
            case "GOTO" | "CONTINUE":
                pass
            case _:
                self.back, self.base = (), ""
        return here


def asked(events: Iterable[Event], size: Callable[[str, str], int]) -> Iterator[Asked]:
    """Every rule asked, in order, out of one packet's events on one host.

    Args:
        events: the events.
        size: how many rules a chain has, by its table's name and its own.
    """
    stack = CallStack()
    chain, first = "", 1  # the rule that is asked next
    for event in events:
        if not isinstance(event, Ruled):
            continue
        if not stack.base:
            chain, first = event.chain, 1
        base = stack.base or event.chain
        back = stack.follow(event)
        for number in range(first, event.rule or size(event.table, chain) + 1):
            yield Asked(event.table, base, chain, number, "", back, event)
        yield Asked(event.table, base, event.chain, event.rule, event.verdict, back, event)
        match event.verdict.split():
            case ["JUMP" | "GOTO", called]:
                chain, first = called, 1
            case ["CONTINUE"] if event.rule is not None:
                first = event.rule + 1
            case ["RETURN"] if back:
                chain, first = back[-1][0], back[-1][1] + 1
            case ["RETURN"]:
                first = size(event.table, chain) + 1  # nobody waits for it: the policy decides at once
