"""The verdicts that need no module: `-j ACCEPT`, `-j DROP`, `-j RETURN` (the standard target of x_tables)."""

from dataclasses import dataclass

from netlab.iptables.extension import Action, Rules, Target, target
from netlab.names import Verdict


@target
@dataclass(frozen=True)
class Accept(Target):
    """The end of this table's chains for the packet, and on to what else stands on the hook."""

    name = "ACCEPT"

    def bind(self, rules: Rules) -> Action:
        """Always the same verdict."""
        return lambda packet, state: Verdict.ACCEPT


@target
@dataclass(frozen=True)
class Drop(Target):
    """The end of the packet, and nobody is told."""

    name = "DROP"

    def bind(self, rules: Rules) -> Action:
        """Always the same verdict."""
        return lambda packet, state: Verdict.DROP


@target
@dataclass(frozen=True)
class Return(Target):
    """Back to behind the jump that led into this chain; in a chain on a hook its policy decides. The engine does it."""

    name = "RETURN"

    def bind(self, rules: Rules) -> Action:
        """Never called.

        Raises:
            NotImplementedError: it was called.
        """
        raise NotImplementedError("the engine returns by itself")
