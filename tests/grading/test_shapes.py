"""Shapes read answers into plain data, or say what is wrong."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.grading.shapes import Blank, Function, ListOf, Maybe, Misfit, OneOf, Table, Whole
from netlab.names import Hook

HOOKS = ListOf(OneOf(*Hook), "hooks")


@pytest.mark.parametrize(
    ("shape", "value", "plain"),
    [
        (HOOKS, [Hook.PRE_ROUTING, "LOCAL_IN"], (Hook.PRE_ROUTING, Hook.LOCAL_IN)),
        (HOOKS, ("NF_IP_FORWARD", "NF_INET_LOCAL_OUT"), (Hook.FORWARD, Hook.LOCAL_OUT)),
        (HOOKS, [], ()),
        (OneOf("lo", "eth0"), "lo", "lo"),
        (OneOf(None, 1), None, None),
        (Whole(1, 3), 3, 3),
        (Maybe(Whole()), None, None),
        (Table({"a": Whole()}), {"a": 1}, {"a": 1}),
    ],
)
def test_reads(shape, value, plain):
    assert shape.read(value) == plain
    assert type(shape.read(value)) is type(plain)


@pytest.mark.parametrize(
    ("shape", "value", "says"),
    [
        (HOOKS, [Hook.FORWARD, "INPUT"], "item 2: 'INPUT' is not one of PRE_ROUTING, LOCAL_IN, FORWARD"),
        (HOOKS, [0], "item 1: 0 is not one of"),
        (HOOKS, "FORWARD", "'FORWARD' is not a list of hooks"),
        (Whole(1, 3), 4, "4 is not a whole number from 1 to 3"),
        (Whole(), True, "True is not a whole number"),
        (Whole(), 1.0, "1.0 is not a whole number"),
        (Table({"a": Whole()}), {"b": 1}, "'b' is not one of its keys ('a')"),
        (Table({"a": Whole(), "b": Whole()}), {"a": 1}, "the key 'b' is missing"),
        (Table({"a": Whole()}), {"a": "x"}, "'a': 'x' is not a whole number"),
        (Function("packet", "state"), 5, "5 is not a function"),
        (OneOf("lo"), "x" * 100, "a str is not one of 'lo'"),
    ],
)
def test_refuses_in_one_sentence(shape, value, says):
    with pytest.raises(Misfit) as refusal:
        shape.read(value)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("shape", "value", "part"),
    [
        (HOOKS, ..., "it"),
        (HOOKS, [Hook.FORWARD, ...], "item 2"),
        (Table({"a": Whole(), "b": Whole()}), {"a": 1, "b": ...}, "'b'"),
        (Function("a"), ..., "it"),
    ],
)
def test_blanks_are_named(shape, value, part):
    with pytest.raises(Blank) as blank:
        shape.read(value)
    assert str(blank.value) == part


class EqualToEverything:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class Text(str):
    pass


@pytest.mark.parametrize("shape", [OneOf("lo", "eth0"), Whole(), HOOKS, Table({"a": Whole()})], ids=str)
@pytest.mark.parametrize("value", [EqualToEverything(), Text("lo")], ids=["equal to everything", "a str subclass"])
def test_look_alikes_are_refused(shape, value):
    with pytest.raises(Misfit):
        shape.read(value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(anything)
def test_any_value_is_read_or_refused(value):
    for shape in (OneOf("lo"), Whole(), HOOKS, Table({"a": Whole()}), Maybe(Whole()), Function("a")):
        with suppress(Misfit, Blank):
            shape.read(value)
