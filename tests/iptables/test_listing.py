"""`iptables -L` as the real one prints it, letter by letter."""

import pytest

from netlab.iptables.listing import Columns, described, list_table
from netlab.iptables.model import Counters, Table
from netlab.iptables.restore import restore
from netlab.names import NetlabError
from tests.iptables.corpus import PRINTED_OTHERWISE, excused, load, recorded

BARE, FULL = Columns(), Columns(numeric=True, verbose=True, exact=True, line_numbers=True)
OTHERWISE = PRINTED_OTHERWISE | {
    r"-s 0\.0\.0\.0 |-d 10\.0\.0\.0/0\.0\.255\.0": "names of networks, from /etc/networks",
    r"-j NOTRACK": "it is CT to iptables-nft when it lists",
    r"-i é": "padded by bytes, not letters",
}


def table(*lines: str) -> Table:
    return restore("\n".join(["*filter", ":OWN - [0:0]", *lines, "COMMIT", ""]), counters=True).tables["filter"]


@pytest.mark.parametrize(("name", "columns"), [("L", BARE), ("Lnv", FULL)])
def test_every_recorded_rule_is_listed_as_iptables_lists_it(name: str, columns: Columns) -> None:
    asked, wrong = 0, []
    for record in recorded("rules"):
        rule, answer = record["rule"], record["nft"]
        if answer["status"] or excused(rule, OTHERWISE):
            continue
        try:
            rules = load(record["table"], record["chain"], rule, "nft")
        except NetlabError:
            continue
        chains = Table.empty(record["table"])
        chain = chains.chains[next(iter(chains.chains))]
        chain.rules = rules
        got = list_table(chains, columns, chain.name).splitlines()[2:]
        asked += 1
        if got != answer[name]:
            wrong.append(f"{rule}\n  {got}\n  {answer[name]}")
    assert not wrong, "\n".join(wrong)
    assert asked > 1_400


def test_the_heading_of_a_users_chain_counts_who_jumps_there() -> None:
    text = list_table(table("-A INPUT -j OWN", "-A FORWARD -g OWN"), BARE, "OWN")
    assert text.splitlines()[0] == "Chain OWN (2 references)"


def test_one_rule_alone() -> None:
    text = list_table(table("-A INPUT -p tcp", "-A INPUT -p udp -j DROP"), Columns(line_numbers=True), "INPUT", 2)
    assert text == "2    DROP       udp  --  anywhere             anywhere            "


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (99_999, "99999"),
        (100_000, " 100K"),
        (9_999_499, "9999K"),
        (9_999_500, "  10M"),
        (10**13, "  10T"),
        (2**64 - 1, "   0K"),
    ],
)
def test_long_counters(number: int, shown: str) -> None:
    chains = table("-A INPUT -j DROP")
    chains.chains["INPUT"].rules[0].counters = Counters(number, number)
    line = list_table(chains, Columns(verbose=True), "INPUT").splitlines()[2]
    assert line.startswith(f"{shown} {shown} DROP ")
    assert f"{number:8} {number:8} DROP" in list_table(chains, Columns(verbose=True, exact=True), "INPUT")


def test_a_rule_as_v_describes_it() -> None:
    (rule,) = table("-A INPUT -s 10.0.0.1 -p tcp --dport 80 -i eth0 -j DROP").chains["INPUT"].rules
    assert described(rule) == "DROP  tcp opt -- in eth0 out *  10.0.0.1  -> 0.0.0.0/0   tcp dpt:80"
