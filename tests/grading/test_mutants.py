"""Mutants differ from their reference, and only in one place."""

from netlab.grading.mutants import mutants
from netlab.names import Hook


def answer(a, b):
    """Docstrings are left alone."""
    total = a + 1
    if a < b and b != 3:
        return [total, b]
    return "none"


def test_functions():
    made = {mutant.name: mutant.answer for mutant in mutants(answer)}
    assert any("lt becomes gte" in name for name in made)
    assert any("and becomes or" in name for name in made)
    assert any("1 becomes 2" in name for name in made)
    assert any("item 1 is missing" in name for name in made)
    assert any("without `total = a + 1`" in name for name in made)
    assert not any("Docstrings" in name for name in made)
    flipped = next(mutant for name, mutant in made.items() if "lt becomes gte" in name)
    assert answer(1, 2) == [2, 2]
    assert flipped(1, 2) == "none"


def test_values():
    made = [mutant.answer for mutant in mutants({"a": [Hook.FORWARD, Hook.LOCAL_IN], "b": True, "n": 3})]
    assert {"a": [Hook.LOCAL_IN, Hook.FORWARD], "b": True, "n": 3} in made
    assert {"a": [Hook.FORWARD], "b": True, "n": 3} in made
    assert {"a": [Hook.FORWARD, Hook.LOCAL_IN], "b": False, "n": 3} in made
    assert {"a": [Hook.FORWARD, Hook.LOCAL_IN], "b": True, "n": 4} in made


def test_names_and_order_never_change():
    assert [mutant.name for mutant in mutants(answer)] == [mutant.name for mutant in mutants(answer)]
