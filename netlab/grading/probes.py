"""Ways to put a probe to an answer that many exercises share."""

from collections.abc import Callable
from functools import partial
from typing import Any

from netlab.grading.exercise import Probe, Seen
from netlab.grading.shapes import Shape

Observe = Callable[[Any, Probe], Seen]


def calling(returns: Shape, journey: Callable[..., object] | None = None) -> Observe:
    """Call the answer, a function, with the probe's inputs.

    Args:
        returns: the shape of its result.
        journey: what to show for the same inputs: what the packet really did.
    """

    def observe(answer: Callable[..., object], probe: Probe) -> Seen:
        facts = returns.read(answer(*probe.inputs))
        return Seen(facts, partial(journey, *probe.inputs) if journey else None)

    return observe


def looking_up(journey: Callable[[Any], object] | None = None) -> Observe:
    """Look the probe's input up in the answer, a dict; `journey` shows what the packet really did."""

    def observe(answer: dict[Any, object], probe: Probe) -> Seen:
        (key,) = probe.inputs
        return Seen(answer[key], partial(journey, key) if journey else None)

    return observe
