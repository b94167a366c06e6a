"""Answers that are rules for iptables: read as iptables-restore reads them, judged by what packets meet."""

from dataclasses import dataclass

from netlab.grading.shapes import Blank, Misfit, PartMisfit, describe
from netlab.iptables.check import check
from netlab.iptables.restore import restore
from netlab.names import NetlabError


@dataclass(frozen=True)
class RulesText:
    """The text of rules, as iptables-restore takes it; `most` is how many rules it may have."""

    most: int = 40

    def read(self, value: object) -> str:
        """The text (see `Shape.read`)."""
        if value is ... or (type(value) is str and "..." in value):
            raise Blank("it")
        if type(value) is not str:
            raise Misfit(f"{describe(value)} is not {self}")
        try:
            ruleset = restore(value)
            check(ruleset, "nft")
        except NetlabError as problem:
            raise PartMisfit(str(problem)) from None
        rules = [rule for table in ruleset.tables.values() for rule in table.rules()]
        if named := {name for rule in rules for name in rule.sets}:
            raise PartMisfit(f"there is no set {min(named)}")
        if len(rules) > self.most:
            raise PartMisfit(f"there are {len(rules)} rules, at most {self.most} are asked for")
        return value

    def __str__(self) -> str:
        return "the text of rules, as iptables-save prints it"
