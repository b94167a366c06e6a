"""What the kernel refuses about rules as a whole, and where the mistake stands."""

import pytest

from netlab.iptables.check import check, hooks_leading_to
from netlab.iptables.extension import Variant
from netlab.iptables.restore import restore
from netlab.iptables.words import Place, RuleError
from netlab.names import Hook
from tests.iptables.corpus import MORE_LENIENT, STRICTER, excused, load, recorded


def refused(*lines: str, table: str = "filter", variant: Variant = "nft") -> RuleError:
    text = "\n".join([f"*{table}", *lines, "COMMIT", ""])
    with pytest.raises(RuleError) as error:
        check(restore(text), variant)
    return error.value


def taken(*lines: str, table: str = "filter", variant: Variant = "nft") -> bool:
    check(restore("\n".join([f"*{table}", *lines, "COMMIT", ""])), variant)
    return True


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_every_extension_is_taken_where_iptables_takes_it(variant: Variant) -> None:
    asked, wrong = 0, []
    for record in recorded("matrix"):
        rule, answer = record["rule"], record[variant]
        if excused(rule, MORE_LENIENT | STRICTER):
            continue
        for place, accepted in [(p, True) for p in answer["accepted"]] + [(p, False) for p in answer["refused"]]:
            try:
                load(*place.split(), rule, variant)
                ours = True
            except RuleError as problem:
                if "not supported by netlab" in str(problem):
                    continue
                ours = False
            asked += 1
            if ours is not accepted:
                wrong.append(f"{place} {rule}: {answer['refused'].get(place, 'accepted')}")
    assert not wrong, "\n".join(wrong)
    assert asked > 1_500


# ---------------------------------------------------------------- jumps


CIRCLE = (":A - [0:0]", ":B - [0:0]", "-A A -j B", "-A B -j A")


@pytest.mark.parametrize("goto", ["-j", "-g"])
def test_a_loop_is_refused_once_a_hook_leads_there(goto: str) -> None:
    assert taken(*CIRCLE)
    error = refused(*CIRCLE[:3], f"-A B {goto} A", "-A INPUT -p tcp -j A")
    assert error.problem == "a loop of jumps: A -> B -> A"
    assert error.place == Place(5, 9)


def test_a_chain_that_jumps_to_itself() -> None:
    assert refused(":A - [0:0]", "-A INPUT -j A", "-A A -g A").problem == "a loop of jumps: A -> A"


def test_how_deep_jumps_may_go() -> None:
    def chain(depth: int) -> list[str]:
        names = [f"C{number:02}" for number in range(depth)]
        lines = [f":{name} - [0:0]" for name in names]
        return [*lines, *(f"-A {one} -j {two}" for one, two in zip(["INPUT", *names], names, strict=False))]

    assert taken(*chain(15))
    assert refused(*chain(16)).problem == "more than 15 jumps in a row"
    assert taken(*chain(300), variant="legacy")


def test_many_ways_to_the_same_chains_take_no_time() -> None:
    names = [f"C{number:02}" for number in range(14)]
    lines = [f":{name} - [0:0]" for name in names]
    for one, two in zip(["INPUT", *names], names, strict=False):
        lines += [f"-A {one} -p {proto} -j {two}" for proto in range(1, 40)]
    assert taken(*lines)


def test_a_jump_to_nowhere_and_to_a_base_chain() -> None:
    error = refused("-A INPUT -p tcp -j NEVER")
    assert (error.problem, error.place) == ("Chain 'NEVER' does not exist", Place(2, 20))
    assert "no rule may lead to it" in refused("-A INPUT -j FORWARD").problem


def test_the_hooks_that_lead_to_a_chain() -> None:
    lines = ":A - [0:0]\n:B - [0:0]\n:C - [0:0]\n-A INPUT -j A\n-A A -g B\n-A OUTPUT -j B\n"
    hooks = hooks_leading_to(restore(f"*filter\n{lines}COMMIT\n").tables["filter"])
    assert hooks["A"] == {Hook.LOCAL_IN}
    assert hooks["B"] == {Hook.LOCAL_IN, Hook.LOCAL_OUT}
    assert hooks["C"] == set()


def test_what_may_not_stand_behind_a_hook_is_found_through_jumps() -> None:
    lines = ":A - [0:0]", ":B - [0:0]", "-A A -j B", "-A B -m mac --mac-source 02:00:00:00:00:01 -j DROP"
    assert taken(*lines, "-A INPUT -j A")
    error = refused(*lines, "-A OUTPUT -j A")
    assert "not behind OUTPUT" in error.problem
    assert error.place == Place(5, 9)


# ---------------------------------------------------------------- rules


@pytest.mark.parametrize(
    ("table", "rule", "place", "problem"),
    [
        ("filter", "-A INPUT -p tcp -j SNAT --to-source 1.1.1.1", Place(2, 20), "SNAT may stand in nat only"),
        ("nat", "-A PREROUTING -p tcp -j MASQUERADE", Place(2, 25), "MASQUERADE may stand behind POSTROUTING only"),
        ("nat", "-A POSTROUTING -j DROP", Place(2, 19), "the use of DROP is therefore inhibited"),
        ("filter", "-A INPUT -m tcp --dport 80", Place(2, 13), "TCP match requires '-p tcp'"),
        ("filter", "-A INPUT -p udp -m tcp --dport 80", Place(2, 20), "TCP match requires '-p tcp'"),
        ("filter", "-A INPUT -p tcp -m icmp --icmp-type 8", Place(2, 20), "ICMP match requires '-p icmp'"),
        ("filter", "-A INPUT -m multiport --dports 1,2", Place(2, 13), "multiport needs"),
        ("filter", "-A INPUT -p udp -j REJECT --reject-with tcp-reset", Place(2, 20), "tcp"),
        ("filter", "-A INPUT ! -s 0.0.0.0/0", Place(2, 1), "no packet has an address outside 0.0.0.0/0"),
    ],
)
def test_mistakes_are_named_with_their_place(table: str, rule: str, place: Place, problem: str) -> None:
    error = refused(rule, table=table)
    assert problem in error.problem
    assert error.place == place


def test_a_negated_protocol_satisfies_nftables_alone() -> None:
    rule = "-A INPUT ! -p tcp -m tcp --dport 80 -j DROP"
    assert taken(rule)
    assert "requires" in refused(rule, variant="legacy").problem


def test_a_policy_of_drop_in_nat_loads() -> None:
    assert taken(":PREROUTING DROP [0:0]", table="nat")


@pytest.mark.parametrize(
    ("rules", "legacy_takes_it"),
    [
        ("-A PREROUTING -j ACCEPT\n-A PREROUTING -j MASQUERADE", True),
        ("-A PREROUTING -s 1.1.1.1 -j ACCEPT\n-A PREROUTING -j MASQUERADE", False),
        ("-A PREROUTING -j RETURN\n-A PREROUTING -j a\n-A a -j a", True),
        ("-A PREROUTING -m comment --comment x -j RETURN\n-A PREROUTING -j a\n-A a -j a", False),
        ("-A PREROUTING -j a\n-A a -j RETURN\n-A a -j MASQUERADE", True),
        ("-A PREROUTING -j a\n-A a -g b\n-A b -j ACCEPT\n-A b -g a", True),
    ],
)
def test_legacy_sees_what_is_never_reached(rules: str, legacy_takes_it: bool) -> None:
    ruleset = restore(f"*nat\n:a -\n:b -\n{rules}\nCOMMIT\n")
    with pytest.raises(RuleError):
        check(ruleset)
    if legacy_takes_it:
        check(ruleset, "legacy")
    else:
        with pytest.raises(RuleError):
            check(ruleset, "legacy")
