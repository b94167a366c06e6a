"""Slightly wrong versions of a reference answer, made by machine: a judge that lets one pass is too kind.

A function is changed in one place of its syntax tree; a value in one of its leaves, or in the order or
number of its items. Nothing is random: the same reference always has the same mutants, under the same names.
"""

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, NamedTuple


class Mutant(NamedTuple):
    """A changed answer, and what was changed, as in `line 3: == becomes !=`."""

    name: str
    answer: object


def mutants(reference: object) -> list[Mutant]:
    """Every mutant of a reference that isn't the reference itself."""
    if inspect.isfunction(reference):
        return [Mutant(name, compiled(tree, reference)) for name, tree in changed_functions(reference)]
    return [Mutant(name, value) for name, value in changed_values(reference) if value != reference]


# --- values -------------------------------------------------------------------------------------------------


def changed_values(value: object, where: str = "") -> Iterator[tuple[str, object]]:
    """The value with one thing changed, each with its name; `where` is the path to it."""
    at = f"{where}: " if where else ""
    if isinstance(value, dict):
        leaves = list(value.values())
        for key, part in value.items():
            others = [other for other in leaves if type(other) is type(part) and other != part]
            for other in others[:1]:
                yield f"{at}[{key!r}] becomes {other!r}", value | {key: other}
            for name, changed in changed_values(part, f"{where}[{key!r}]"):
                yield name, value | {key: changed}
    elif isinstance(value, list | tuple):
        items = list(value)
        for place, part in enumerate(items):
            before, after = items[:place], items[place + 1 :]
            yield f"{at}item {place + 1} is missing", before + after
            yield f"{at}item {place + 1} stands twice", [*before, part, part, *after]
            if after:
                yield (
                    f"{at}items {place + 1} and {place + 2} change places",
                    [*before, after[0], part, *after[1:]],
                )
            for name, changed in changed_values(part, f"{where}[{place}]"):
                yield name, [*before, changed, *after]
    else:
        for changed in neighbours(value):
            yield f"{at}{value!r} becomes {changed!r}", changed


def neighbours(value: object) -> Iterator[object]:
    """Values that are next to a plain value."""
    if isinstance(value, Enum):
        members = list(type(value))
        yield members[(members.index(value) + 1) % len(members)]
        yield members[(members.index(value) - 1) % len(members)]
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
        yield value - 1
    elif isinstance(value, str):
        yield value + "0"


# --- functions ----------------------------------------------------------------------------------------------

COMPARISONS: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
}
OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
# Names whose confusion is a mistake that people make.
TWINS = [("src", "dst"), ("saddr", "daddr"), ("sport", "dport"), ("dev_in", "dev_out"), ("ACCEPT", "DROP")]
CONFUSED = {name: other for pair in TWINS for name, other in (pair, pair[::-1])} | {
    "QUEUE": "ACCEPT",
    "STOLEN": "ACCEPT",
    "REPEAT": "ACCEPT",
    "PRE_ROUTING": "LOCAL_IN",
    "LOCAL_IN": "FORWARD",
    "FORWARD": "LOCAL_IN",
    "LOCAL_OUT": "POST_ROUTING",
    "POST_ROUTING": "LOCAL_OUT",
}


def changed_functions(function: Callable[..., object]) -> Iterator[tuple[str, ast.Module]]:
    """The function's syntax tree with one node changed, for every node and every way to change it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    if ast.get_docstring(definition):
        del definition.body[0]
    for place, node in enumerate(ast.walk(tree)):
        for name, change in changes(node):
            mutant = copy.deepcopy(tree)
            target = next(n for at, n in enumerate(ast.walk(mutant)) if at == place)
            change(target)
            yield f"line {getattr(node, 'lineno', '?')}: {name}", ast.fix_missing_locations(mutant)


Change = Callable[[Any], None]


def changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """The ways to change one node, each with a name."""
    match node:
        case ast.Compare(ops=[comparison]):
            for swapped in COMPARISONS[type(comparison)]:
                yield f"{sign(type(comparison))} becomes {sign(swapped)}", assign("ops", [swapped()])
        case ast.BoolOp(op=ast.And()):
            yield "and becomes or", assign("op", ast.Or())
        case ast.BoolOp(op=ast.Or()):
            yield "or becomes and", assign("op", ast.And())
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATIONS:
            other = OPERATIONS[type(op)]
            yield f"{sign(type(op))} becomes {sign(other)}", assign("op", other())
        case ast.Constant(value=value):
            for neighbour in neighbours(value):
                yield f"{value!r} becomes {neighbour!r}", assign("value", neighbour)
        case ast.Attribute(attr=name) if name in CONFUSED:
            yield f".{name} becomes .{CONFUSED[name]}", assign("attr", CONFUSED[name])
        case ast.Name(id=name) if name in CONFUSED:
            yield f"{name} becomes {CONFUSED[name]}", assign("id", CONFUSED[name])
        case ast.If() | ast.IfExp() | ast.While():
            yield "the condition never holds", assign("test", ast.Constant(False))
            if not isinstance(node, ast.While):
                yield "the condition always holds", assign("test", ast.Constant(True))
        case ast.List(elts=items) | ast.Tuple(elts=items) if isinstance(node.ctx, ast.Load):
            for place in range(len(items)):
                yield f"item {place + 1} is missing", remove("elts", place)
        case _:
            pass
    body = getattr(node, "body", None)
    if isinstance(body, list) and not isinstance(node, ast.Module):
        for place, statement in enumerate(body):
            yield f"without `{first_line(statement)}`", replace("body", place, ast.Pass)


def assign(field: str, value: object) -> Change:
    """Set a field of the node."""
    return lambda node: setattr(node, field, value)


def remove(field: str, place: int) -> Change:
    """Remove an item from a list of the node."""
    return lambda node: getattr(node, field).pop(place)


def replace(field: str, place: int, make: Callable[[], ast.AST]) -> Change:
    """Replace an item in a list of the node."""
    return lambda node: getattr(node, field).__setitem__(place, make())


def sign(operator: type[ast.AST]) -> str:
    """An operator's name in lower case: `noteq`."""
    return operator.__name__.lower()


def first_line(statement: ast.stmt) -> str:
    """A statement's first line of source."""
    return ast.unparse(statement).partition("\n")[0]


def compiled(tree: ast.Module, original: Any) -> object:
    """The mutant as a function with the original's globals."""
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    namespace: dict[str, object] = {}
    exec(compile(tree, f"<mutant of {definition.name}>", "exec"), dict(original.__globals__), namespace)
    return namespace[definition.name]
