"""An extension while its options are being read."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from netlab.iptables.extension import Extension
from netlab.iptables.option import Is, Option
from netlab.iptables.words import Place, RuleError
from netlab.names import NetlabError


class Loaded:
    """An extension that is being read: what its options have said so far."""

    __slots__ = ("cls", "options", "place", "said", "values")

    def __init__(self, cls: type[Extension], place: Place) -> None:
        self.cls = cls
        self.place = place
        self.options = _options(cls)
        self.values: dict[str, Any] = {}
        self.said: dict[str, str] = {}

    def build(self) -> Any:
        """The extension.

        Raises:
            RuleError: something is missing.
        """
        cls: Any = self.cls
        try:
            return _built(cls, tuple(self.values.items()))
        except NetlabError as problem:
            raise RuleError(str(problem), self.place) from None

    def begin(self, option: Option, place: Place, negated: Place | None) -> None:
        """An option stands at a place, perhaps behind a `!`.

        Raises:
            RuleError: it cannot be negated, or not be given now.
        """
        shown = option.names[0]
        if negated and not option.negatable:
            raise RuleError(f'{self.cls.name}: option "{shown}" cannot be inverted.', negated)
        if before := self.said.get(option.field):
            problem = "can only be used once" if before == shown else f'cannot be used together with "{before}"'
            raise RuleError(f'{self.cls.name}: option "{shown}" {problem}.', place)
        self.said[option.field] = shown

    def say(self, option: Option, values: Sequence[Any], negated: bool) -> None:
        """What the option says, by the values of its words."""
        said = option.value if not values else values[0] if len(values) == 1 else tuple(values)
        self.values[option.field] = Is(said, negated) if option.negatable else said


@lru_cache(maxsize=4096)
def _built(cls: Any, values: tuple[tuple[str, Any], ...]) -> Extension:
    """An extension, complete. Many rules of a file say the same: they share it."""
    extension: Extension = cls(**dict(values))
    extension.completed()
    return extension


_OPTIONS: dict[type[Extension], dict[str, Option]] = {}


def _options(cls: type[Extension]) -> dict[str, Option]:
    if cls not in _OPTIONS:
        _OPTIONS[cls] = {spelling: option for option in cls.options for spelling in option.names}
    return _OPTIONS[cls]
