"""The walk over a structure whose values know their places: what is expected, and what is said if it is not there."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from netlab.names import NetlabError
from netlab.scenario.model import ScenarioError
from netlab.yaml_text import Where

T = TypeVar("T")


class Schema:
    """Reads values that `Where` holds; `name` is what errors call the file."""

    def __init__(self, name: str) -> None:
        self.name = name

    def fail(self, where: Where, problem: str) -> ScenarioError:
        """The error that this value is wrong."""
        return ScenarioError(f"{self.name}{where.place}: {problem}")

    def fail_key(self, where: Where, problem: str) -> ScenarioError:
        """The error that the key in front of this value is wrong."""
        return ScenarioError(f"{self.name}{where.place_of_key}: {problem}")

    def mapping(self, where: Where, allowed: Sequence[str] | None = None) -> dict[str, Where]:
        """What a mapping holds, by key."""
        if not isinstance(where.value, Mapping):
            raise self.fail(where, f"a mapping is expected here, not {where.shown}")
        items = where.items()
        for key, item in items.items():
            if allowed is not None and key not in allowed:
                raise self.fail_key(item, f"unknown key {key!r} (known here: {', '.join(allowed)})")
        return items

    def sequence(self, where: Where) -> list[Where]:
        """What a list holds."""
        if not isinstance(where.value, list | tuple):
            raise self.fail(where, f"a list is expected here, not {where.shown}")
        return where.elements()

    def text(self, where: Where) -> str:
        """A scalar as text."""
        if not isinstance(where.value, str | int | float):
            raise self.fail(where, f"text is expected here, not {where.shown}")
        return str(where.value)

    def number(self, where: Where, low: int, high: int) -> int:
        """A scalar as a whole number."""
        return self.in_range(where, self.text(where), low, high)

    def in_range(self, where: Where, text: str, low: int, high: int) -> int:
        """That text, which stands at or in front of a value, as a whole number."""
        try:
            value = int(text, 0)
        except ValueError:
            raise self.fail(where, f"{text!r} is not a whole number") from None
        if not low <= value <= high:
            raise self.fail(where, f"{value} is not from {low} to {high}")
        return value

    def parse(self, where: Where, reader: Callable[[str], T]) -> T:
        """What `reader` makes of the text; its complaint gets the place."""
        try:
            return reader(self.text(where))
        except ScenarioError:
            raise
        except NetlabError as problem:
            raise self.fail(where, str(problem)) from None

    def known_host(self, where: Where, host: str, hosts: Mapping[str, object]) -> None:
        """Refuses the name of a host that is none."""
        if host not in hosts:
            raise self.fail(where, f"unknown host {host!r} (the hosts are {', '.join(hosts)})")
