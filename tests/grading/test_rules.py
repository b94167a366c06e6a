"""The shape of an answer that is rules."""

import pytest

from netlab.grading.rules import RulesText
from netlab.grading.shapes import Blank, Misfit

GOOD = "\n*filter\n:FORWARD DROP\n# a remark\n-A FORWARD -p tcp --dport 80 -j ACCEPT\nCOMMIT\n"


def test_rules_are_taken_as_they_are() -> None:
    assert RulesText().read(GOOD) == GOOD


@pytest.mark.parametrize("blank", [..., "*filter\n# ... your rules\nCOMMIT\n"])
def test_what_the_starting_cell_leaves_is_blank(blank: object) -> None:
    with pytest.raises(Blank):
        RulesText().read(blank)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (7, "7 is not the text of rules"),
        (GOOD.replace("tcp", "tpc"), 'line 5, column 15: unknown protocol "tpc" specified'),
        (GOOD.replace("ACCEPT", "web"), "Chain 'web' does not exist"),
        (GOOD.replace("COMMIT\n", ""), "COMMIT expected"),
        ("*nat\n-A PREROUTING -j MASQUERADE\nCOMMIT\n", "line 2"),
        (GOOD.replace("-p tcp --dport 80", "-m set --match-set office src"), "there is no set office"),
        (GOOD.replace("-A", "-A FORWARD\n" * 40 + "-A"), "there are 41 rules, at most 40 are asked for"),
    ],
)
def test_what_iptables_would_refuse_is_refused_with_its_place(answer: object, says: str) -> None:
    with pytest.raises(Misfit) as error:
        RulesText().read(answer)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
