"""What an answer has to look like before anyone asks whether it is right.

A shape reads a learner's value into plain data (exact built-in types and the field's enums), or says in one
sentence why it can't. `...` is the blank that starting cells leave: a value that holds one isn't answered
yet.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol


class Blank(Exception):
    """The answer, or a part of it, is still the `...` of the starting cell; the message names the part."""


class Misfit(Exception):
    """The answer is of the wrong kind; the message says what was expected, in one sentence."""


class PartMisfit(Misfit):
    """A part of the answer is of the wrong kind; the message begins with the part's name."""


class Shape(Protocol):
    """A description of acceptable values."""

    def read(self, value: object) -> object:
        """The value as plain data.

        Raises:
            Blank: it still holds a `...`.
            Misfit: it is something else than this shape.
        """


def describe(value: object) -> str:
    """A value in an error message: short, and by its type where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"


class OneOf:
    """One of some given values; a member of an enum may also be given by name, as in `"PRE_ROUTING"`."""

    def __init__(self, *options: object) -> None:
        self.options = options

    def read(self, value: object) -> object:
        """The option that the value is (see `Shape.read`)."""
        if value is ...:
            raise Blank("it")
        for option in self.options:
            if type(value) is type(option) and value == option:
                return option
            if isinstance(option, Enum) and type(value) is str and value in type(option).__members__:
                return type(option)[value]
        raise Misfit(f"{describe(value)} is not one of {self}")

    def __str__(self) -> str:
        return ", ".join(o.name if isinstance(o, Enum) else repr(o) for o in self.options)


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`, both included."""

    low: int = 0
    high: int = 2**32

    def read(self, value: object) -> int:
        """The number (see `Shape.read`)."""
        if value is ...:
            raise Blank("it")
        if type(value) is not int:
            raise Misfit(f"{describe(value)} is not {self}")
        if not self.low <= value <= self.high:
            raise Misfit(f"{value} is not {self} from {self.low} to {self.high}")
        return value

    def __str__(self) -> str:
        return "a whole number"


@dataclass(frozen=True)
class Maybe:
    """None, or a thing of another shape."""

    other: Shape

    def read(self, value: object) -> object:
        """None, or the value as the other shape reads it (see `Shape.read`)."""
        return None if value is None else self.other.read(value)

    def __str__(self) -> str:
        return f"None or {self.other}"


@dataclass(frozen=True)
class ListOf:
    """A list (or tuple) of things of one shape."""

    item: Shape
    what: str

    def read(self, value: object) -> tuple[object, ...]:
        """The items, each read by the item's shape (see `Shape.read`)."""
        if value is ...:
            raise Blank("it")
        if type(value) not in (list, tuple):
            raise Misfit(f"{describe(value)} is not {self}")
        assert isinstance(value, list | tuple)
        return tuple(read_part(self.item, item, f"item {place}") for place, item in enumerate(value, 1))

    def __str__(self) -> str:
        return f"a list of {self.what}"


class Table:
    """A dict with exactly these keys, a shape for each: a form to fill in."""

    def __init__(self, rows: Mapping[str, Shape]) -> None:
        self.rows = rows

    def read(self, value: object) -> dict[str, object]:
        """Every row, read by its shape (see `Shape.read`)."""
        if value is ...:
            raise Blank("it")
        if type(value) is not dict:
            raise Misfit(f"{describe(value)} is not a dict")
        assert isinstance(value, dict)
        for key in value:
            if key not in self.rows:
                raise Misfit(f"{key!r} is not one of its keys ({', '.join(map(repr, self.rows))})")
        for key in self.rows:
            if key not in value:
                raise Misfit(f"the key {key!r} is missing")
        return {key: read_part(shape, value[key], repr(key)) for key, shape in self.rows.items()}

    def __str__(self) -> str:
        return "a dict with the keys " + ", ".join(map(repr, self.rows))


class Function:
    """A function of the named parameters."""

    def __init__(self, *parameters: str) -> None:
        self.parameters = parameters

    def read(self, value: object) -> Callable[..., Any]:
        """The function itself (see `Shape.read`)."""
        if value is ...:
            raise Blank("it")
        if not callable(value):
            raise Misfit(f"{describe(value)} is not a function")
        try:
            signature = inspect.signature(value)
        except ValueError:  # some built-in functions have none
            return value
        try:
            signature.bind(*self.parameters)
        except TypeError:
            wanted = ", ".join(self.parameters)
            raise Misfit(f"it can't be called with ({wanted})") from None
        return value

    def __str__(self) -> str:
        return f"a function of ({', '.join(self.parameters)})"


def read_part(shape: Shape, value: object, part: str) -> object:
    """A part of a larger answer, with the part's name in front of whatever is wrong with it."""
    try:
        return shape.read(value)
    except Blank:
        raise Blank(part) from None
    except Misfit as misfit:
        raise PartMisfit(f"{part}: {misfit}") from None
