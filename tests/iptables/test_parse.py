"""One rule read as iptables reads it: against what the real iptables made of it, and what only netlab says."""

import string
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.iptables.base import Base
from netlab.iptables.call import COMMANDS, Call
from netlab.iptables.catalogue import UNSUPPORTED_MATCHES, UNSUPPORTED_TARGETS
from netlab.iptables.extension import MATCHES, TARGETS, Variant
from netlab.iptables.model import Jump
from netlab.iptables.option import Is, Masked
from netlab.iptables.parse import parse
from netlab.iptables.words import Place, RuleError, quote, split
from netlab.names import NetlabError
from tests.iptables.corpus import MORE_LENIENT, PRINTED_OTHERWISE, STRICTER, excused, load, recorded
from tests.iptables.random_rules import random_rule, randoms


def read(text: str) -> Call:
    return parse(list(split(text)))


def refused(text: str) -> RuleError:
    with pytest.raises(RuleError) as error:
        read(text)
    return error.value


# ---------------------------------------------------------------- what the real one made of it


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_every_recorded_rule_is_taken_or_refused_and_printed_as_iptables_does(variant: Variant) -> None:
    same, wrong = 0, []
    for record in recorded("rules"):
        answer, rule = record[variant], record["rule"]
        got: list[str] | None
        try:
            got = [
                f"-A {record['chain']} {one}".rstrip() for one in load(record["table"], record["chain"], rule, variant)
            ]
        except NetlabError as problem:
            if "not supported by netlab" in str(problem):
                continue
            got = None
        except (ValueError, KeyError):  # shlex, and a table that there is not
            assert answer["status"], rule
            continue
        want = answer["save"] if answer["status"] == 0 else None
        reasons = STRICTER if got is None else MORE_LENIENT if want is None else PRINTED_OTHERWISE
        if got == want:
            same += 1
        elif not excused(rule, reasons):
            wrong.append(f"{record['table']} {record['chain']} {rule}: {got}, not {want}")
    assert not wrong, "\n".join(wrong)
    assert same > 2_300


def test_every_excuse_is_needed() -> None:
    rules = [record["rule"] for record in recorded("rules")]
    for reasons in (STRICTER, MORE_LENIENT, PRINTED_OTHERWISE):
        for pattern in reasons:
            assert any(excused(rule, {pattern: ""}) for rule in rules), pattern


# ---------------------------------------------------------------- reading


def test_what_stands_without_m() -> None:
    (rule,) = read("-A FORWARD ! -s 10.1.2.3/255.0.255.0 -d 10.0.0.0/8 -i eth+ ! -o lo -p 6 ! -f").rules
    assert rule.base == Base(
        source=Is(Masked(0x0A000200, 0xFF00FF00), True),
        destination=Is(Masked(0x0A000000, 0xFF000000)),
        dev_in=Is("eth+"),
        dev_out=Is("lo", True),
        proto=Is(6),
        fragment=Is(True, True),
    )
    assert str(rule) == "! -s 10.0.2.0/255.0.255.0 -d 10.0.0.0/8 -i eth+ ! -o lo -p tcp ! -f"


def test_several_addresses_make_several_rules() -> None:
    rules = read("-A INPUT -s 10.0.0.1,10.0.0.2 -d 1.1.1.1,2.2.2.2 -j ACCEPT").rules
    assert [str(rule) for rule in rules] == [
        f"-s {source}/32 -d {to}/32 -j ACCEPT" for source in ("10.0.0.1", "10.0.0.2") for to in ("1.1.1.1", "2.2.2.2")
    ]
    assert len({id(rule.counters) for rule in rules}) == 4


def test_blanks_in_front_of_addresses_do_not_count() -> None:
    both = read('-A INPUT -s " 10.0.0.1,\t10.0.0.2"').rules
    assert [str(rule) for rule in both] == ["-s 10.0.0.1/32", "-s 10.0.0.2/32"]
    assert refused('-A INPUT -s "10.0.0.1 ,10.0.0.2"').problem.startswith("host/network `10.0.0.1 ' not found")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("-p tcp --dport 80", "-p tcp -m tcp --dport 80"),
        ("--dport 80", None),
        ("-p icmp --dport 80", None),
        ("-p tcp -m tcp --dport=80", "-p tcp -m tcp --dport 80"),
        ("-p tcp --dpo 80", "-p tcp -m tcp --dport 80"),
        ("-p tcp --s 80", None),  # --source, --src, --sport ...
        ("-p tcp -mtcp --dport 80", "-p tcp -m tcp --dport 80"),
        (
            "-p udp --dport 53 -m comment --comment x --sport 1",
            "-p udp -m udp --sport 1 --dport 53 -m comment --comment x",
        ),
        ("-m connmark --mark 1 -m mark --mark 2", "-m connmark --mark 0x1 -m mark --mark 0x2"),
        ("-p all -i + -s 0/0", ""),
        ("-j ACCEPT -p tcp --syn", "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT"),
    ],
)
def test_options_as_getopt_reads_them(text: str, meant: str | None) -> None:
    if meant is None:
        assert "unknown option" in refused(f"-A INPUT {text}").problem
    else:
        assert str(read(f"-A INPUT {text}").rules[0]) == meant


def test_a_protocols_match_is_loaded_once() -> None:
    matches = read("-A INPUT -p tcp --dport 80 --sport 90").rules[0].matches
    assert [match.name for match in matches] == ["", "tcp"]


def test_jump_and_goto() -> None:
    assert read("-A INPUT -j LATER").rules[0].target == Jump("LATER")
    assert read("-A INPUT -g LATER").rules[0].target == Jump("LATER", goto=True)
    assert read("-A INPUT -g ACCEPT").rules[0].target == Jump("ACCEPT", goto=True)


@pytest.mark.parametrize("text", ["-c 5 7", "-c 5,7", "--set-counters 5 7"])
def test_counters(text: str) -> None:
    counters = read(f"-A INPUT {text} -j ACCEPT").rules[0].counters
    assert (counters.packets, counters.bytes) == (5, 7)


@pytest.mark.parametrize(
    ("text", "command", "chain", "number", "name"),
    [
        ("-I INPUT 3 -j ACCEPT", "insert", "INPUT", 3, None),
        ("--insert INPUT -j ACCEPT", "insert", "INPUT", None, None),
        ("-AINPUT", "append", "INPUT", None, None),
        ("-D INPUT 2", "delete", "INPUT", 2, None),
        ("-F", "flush", None, None, None),
        ("-nvL INPUT 4", "list", "INPUT", 4, None),
        ("-P INPUT DROP", "policy", "INPUT", None, "DROP"),
        ("-E old new", "rename-chain", "old", None, "new"),
        ("--new own", "new-chain", "own", None, None),
    ],
)
def test_commands(text: str, command: str, chain: str | None, number: int | None, name: str | None) -> None:
    call = read(text)
    assert (call.command, call.chain, call.number, call.name) == (command, chain, number, name)


# ---------------------------------------------------------------- refusing


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("-A INPUT -s example.org -j DROP", 13, "host/network `example.org' not found: netlab asks no name server"),
        ("-A INPUT -s 10.0.0.0/33", 13, "invalid mask `33' specified"),
        ("-A INPUT ! -s 1.1.1.1,2.2.2.2", 15, "! not allowed with multiple source or destination IP addresses"),
        ("-A INPUT -p nonsense", 13, 'unknown protocol "nonsense" specified'),
        ("-A INPUT ! -p all", 15, "rule would never match protocol"),
        ("-A INPUT -p tcp -p udp", 17, "multiple -p flags not allowed"),
        ("-A INPUT -j ACCEPT -g OWN", 20, "multiple -j flags not allowed"),
        ("-A INPUT -i abcdefghijklmnop", 13, "interface name `abcdefghijklmnop' must be shorter than IFNAMSIZ (15)"),
        ("-A INPUT -o eth0", 10, "Can't use -o with INPUT"),
        ("-A POSTROUTING -i eth0", 16, "Can't use -i with POSTROUTING"),
        ("-A INPUT ! ! -p tcp", 12, "multiple consecutive ! not allowed"),
        ("-A INPUT !", 10, "nothing appropriate following !"),
        ("-A INPUT ! -j DROP", 10, "cannot have ! before -j"),
        ("-A INPUT -m comment ! --comment x", 21, 'comment: option "--comment" cannot be inverted.'),
        ("-A INPUT -m limit --limit 1/s --limit 2/s", 31, 'limit: option "--limit" can only be used once.'),
        ("-A INPUT extra", 10, "Bad argument `extra'"),
        ("-A INPUT -j", 10, 'option "-j" requires an argument'),
        ("-A INPUT -p tcp --tcp-flags SYN", 17, "--tcp-flags requires 2 args."),
        ("-A INPUT -m cunntrack --ctstate NEW", 13, "Couldn't load match `cunntrack':No such file or directory"),
        ("-A INPUT -m conntrack --ctst NEW", 23, 'unknown option "--ctst"'),
        ("-A INPUT -m string --string x", 13, "match `string' is not supported by netlab"),
        ("-A INPUT -m hashlimit --hashlimit-above 5kb/s", 41, "'5kb/s': netlab limits packets, not bytes"),
        ("-A INPUT -p sctp --dport 5", 10, "match `sctp' is not supported by netlab"),
        ("-A INPUT -j TPROXY --on-port 1", 13, "target `TPROXY' is not supported by netlab"),
        ("-A INPUT -m set --match-set x src --bytes-gt 5", 35, "option `--bytes-gt' is not supported by netlab"),
        ("-A INPUT -ieth0", 10, "iptables 1.8.9 takes all of `-ieth0' for the value: put a blank before the value"),
        (
            "-A INPUT --source=1.1.1.1",
            10,
            "iptables 1.8.9 takes all of `--source=1.1.1.1' for the value: put a blank before the value",
        ),
        ("-A INPUT -c 5", 13, "-c requires packet and byte counter"),
        ("-A INPUT -c 5 x", 15, "-c byte counter not numeric"),
        ("-D INPUT 1 -j DROP", 12, "Illegal option `-j' with this command"),
        ("-L -A INPUT", 4, "Cannot use -A with -L"),
        ("-R INPUT -j DROP", 1, "-R requires a rule number"),
        ("-I INPUT 0 -j DROP", 10, "Invalid rule number `0'"),
        ("-n", 1, "no command specified"),
        ('-A INPUT -m comment --comment "never', 31, "quotation marks that do not end"),
    ],
)
def test_mistakes_are_named_with_their_place(text: str, column: int, problem: str) -> None:
    error = refused(text)
    assert (error.place, error.problem) == (Place(1, column), problem)
    assert str(error) == f"line 1, column {column}: {problem}"


def test_what_is_said_not_to_be_supported_is_not() -> None:
    assert not UNSUPPORTED_MATCHES & MATCHES.keys()
    assert not UNSUPPORTED_TARGETS & TARGETS.keys()


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('a "b c" d', ["a", "b c", "d"]),
        ('--comment "say \\"hi\\" \\\\"', ["--comment", 'say "hi" \\']),
        ("it's here", ["it's", "here"]),
        ('pre"fix"', ["prefix"]),
        ('a"b c"d', ["ab c", "d"]),
        ('x ""', ["x", ""]),
        ("a\\ b", ["a\\", "b"]),
        ("a\tb", ["a", "b"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert [word.text for word in split(text)] == words


@given(st.text(alphabet=st.characters(exclude_characters="\n", exclude_categories=["Cs"])))
def test_a_quoted_text_comes_back(text: str) -> None:
    assert [word.text for word in split(f"a {quote(text)} b")] == ["a", text, "b"]


# ---------------------------------------------------------------- anything at all


@given(randoms())
def test_what_is_printed_reads_the_same(random: Random) -> None:
    rule = random_rule(random)
    again = read(f"-A OWN {rule}").rules[0]
    assert str(again) == rule
    assert again.says(read(f"-A OWN {again}").rules[0])


OPTIONS = {word for match in MATCHES.values() for option in match.options for word in option.names}
OTHERS = [
    "-A",
    "-m",
    "-j",
    "-p",
    "-s",
    "-c",
    "-I",
    "-D",
    "-L",
    "!",
    "INPUT",
    "tcp",
    "80",
    "1.1.1.1",
    "=",
    "--",
    "-",
    "0x",
    "-1",
]
WORDS = st.sampled_from([*sorted(OPTIONS), *sorted(MATCHES), *sorted(TARGETS), *OTHERS])


@given(st.lists(WORDS | st.text(alphabet=string.printable + "é€\x00", max_size=6), max_size=12))
def test_rubbish_is_refused_and_nothing_else(words: list[str]) -> None:
    try:
        assert read(" ".join(words)).command in {*COMMANDS, ""}
    except RuleError as error:
        place = error.place
        assert place is not None and place.line == 1
