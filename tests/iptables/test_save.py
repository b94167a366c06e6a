"""Rules as iptables-save and `iptables -S` print them."""

import pytest

from netlab.iptables.model import Ruleset, Table
from netlab.iptables.restore import restore
from netlab.iptables.save import list_rules, save
from netlab.iptables.words import RuleError

TEXT = """\
*filter
:INPUT DROP [5:500]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:Mango - [0:0]
:apple - [0:0]
[1:60] -A INPUT -i lo -j ACCEPT
[2:120] -A INPUT -p tcp -m tcp --dport 22 -j apple
[0:0] -A INPUT
[0:0] -A apple -j RETURN
COMMIT
"""


def test_tables_stand_in_the_order_of_iptables_nft() -> None:
    ruleset = Ruleset({name: Table.empty(name) for name in ("filter", "nat", "mangle", "raw", "security")})
    assert [line for line in save(ruleset).splitlines() if line[0] == "*"] == [
        "*mangle", "*security", "*raw", "*filter", "*nat",
    ]  # fmt: skip


def test_what_is_read_is_printed() -> None:
    assert save(restore(TEXT, counters=True), counters=True) == TEXT


def test_users_chains_stand_by_name_capitals_first() -> None:
    text = "*raw\n:b -\n:a -\n:B -\n:10 -\nCOMMIT\n"
    names = [line.split()[0] for line in save(restore(text)).splitlines() if line[0] == ":"]
    assert names == [":PREROUTING", ":OUTPUT", ":10", ":B", ":a", ":b"]


def test_a_table_that_nobody_has_used() -> None:
    assert save(Ruleset()) == ""
    assert save(Ruleset(), table="raw") == "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
    with pytest.raises(RuleError, match="Table `fitler' does not exist"):
        save(Ruleset(), table="fitler")


def test_list_rules() -> None:
    table = restore(TEXT, counters=True).tables["filter"]
    assert list_rules(table).splitlines() == [
        "-P INPUT DROP", "-P FORWARD ACCEPT", "-P OUTPUT ACCEPT", "-N Mango", "-N apple",
        "-A INPUT -i lo -j ACCEPT", "-A INPUT -p tcp -m tcp --dport 22 -j apple", "-A INPUT", "-A apple -j RETURN",
    ]  # fmt: skip
    assert list_rules(table, "INPUT", 2, counters=True) == "-A INPUT -p tcp -m tcp --dport 22 -c 2 120 -j apple"
    assert list_rules(table, "INPUT", counters=True).splitlines()[0] == "-P INPUT DROP -c 5 500"


def test_what_it_shows_of_itself() -> None:
    chain = restore(TEXT, counters=True).tables["filter"].chains["INPUT"]
    assert str(chain).splitlines()[0] == ":INPUT DROP [5:500]"
    assert "DROP" in chain._repr_html_()
