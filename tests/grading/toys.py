"""A toy exercise for the tests of the grading machinery: which of two numbers is larger?"""

from netlab.grading import Exercise, Function, Kind, Level, Misconception, Probe, Story, Whole, Wrong, calling


def answer_90_1(a, b):
    """The larger of two numbers."""
    if a > b:
        return a
    return b


def always_the_first(a, b):
    return a


def always_the_second(a, b):
    return b


def the_smaller(a, b):
    return min(a, b)


def pairs(draw):
    numbers = [(draw.randint(0, 9), draw.randint(0, 9)) for _ in range(40)]
    return [Probe(f"the numbers {a} and {b}", (a, b), size=a + b) for a, b in numbers]


LARGER = Exercise(
    id="90.1",
    title="the larger of two",
    kind=Kind.CODE,
    level=Level.CORE,
    points=2,
    expects=Function("a", "b"),
    reference=answer_90_1,
    probes=pairs,
    observe=calling(Whole(), lambda a, b: f"{a} beside {b}"),
    sibling=lambda: Story("the larger of 30 and 40 is 40", "30 beside 40"),
    right=(max,),
    wrong=(Wrong("z1", always_the_first), Wrong("z2", always_the_second), Wrong("z3", the_smaller)),
)

CATALOGUE = {
    key: Misconception(key, belief, f"About {belief}.")
    for key, belief in {"z1": "the first wins", "z2": "the second wins", "z3": "less is more"}.items()
}
