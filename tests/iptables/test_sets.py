"""ipset: members, lookups, the command, the match `set` and the target `SET`."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.host import Host
from netlab.iptables.set_command import ipset, restore
from netlab.iptables.set_members import ICMP_CODES, Member, SetError, members
from netlab.iptables.sets import TYPES, IpSet, Sets
from netlab.iptables.words import RuleError
from netlab.packet import OFFSET, Packet
from netlab.trace import Sent

CLIENT, SERVER = "10.0.1.2", "10.0.2.2"


class Clock:
    """Time moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def a_set(kind: str = "hash:ip", **options: object) -> tuple[IpSet, Clock]:
    clock = Clock()
    return IpSet("one", TYPES[kind], clock, **options), clock  # type: ignore[arg-type]


def add(chosen: IpSet, *texts: str, **options: object) -> IpSet:
    for text in texts:
        for member in members(chosen.type.name, text):
            chosen.add(member, **options)  # type: ignore[arg-type]
    return chosen


# ---------------------------------------------------------------- members


@pytest.mark.parametrize(
    ("kind", "text", "printed"),
    [
        ("hash:ip", "10.0.0.1", ["10.0.0.1"]),
        ("hash:ip", "10.0.0.1/30", ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"]),
        ("hash:ip", "10.0.1.3-10.0.1.1", ["10.0.1.1", "10.0.1.2", "10.0.1.3"]),
        ("hash:net", "10.1.2.3/16", ["10.1.0.0/16"]),
        ("hash:net", "10.1.2.3", ["10.1.2.3"]),
        ("hash:net", "1.2.3.0-1.2.3.9", ["1.2.3.0/29", "1.2.3.8/31"]),
        ("hash:ip,port", "10.0.0.1,80", ["10.0.0.1,tcp:80"]),
        ("hash:ip,port", "10.0.0.1,udp:53-54", ["10.0.0.1,udp:53", "10.0.0.1,udp:54"]),
        ("hash:ip,port", "10.0.0.0/31,6:22", ["10.0.0.0,tcp:22", "10.0.0.1,tcp:22"]),
        ("hash:ip,port", "10.0.0.1,icmp:8/0", ["10.0.0.1,icmp:echo-request"]),
        ("hash:ip,port", "10.0.0.1,icmp:ping", ["10.0.0.1,icmp:echo-request"]),
        ("hash:ip,port", "10.0.0.1,icmp:3/8", ["10.0.0.1,icmp:3/8"]),
        ("hash:ip,port", "10.0.0.1,47:0", ["10.0.0.1,gre:0"]),
        ("hash:ip,port", "10.0.0.1,99:0", ["10.0.0.1,99:0"]),
    ],
)
def test_what_a_word_means(kind: str, text: str, printed: list[str]) -> None:
    assert [str(member) for member in members(kind, text)] == printed


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        ("hash:ip", "300.1.1.1", "cannot parse 300.1.1.1: resolving to IPv4 address failed"),
        ("hash:ip", "10.0.0.0/33", "'33' is out of range 0-32"),
        ("hash:ip", "10.0.0.1,tcp:80", "Elem separator in 10.0.0.1,tcp:80, but settype hash:ip supports none"),
        ("hash:ip,port", "10.0.0.1", "Second element is missing from 10.0.0.1"),
        ("hash:ip,port", "10.0.0.1,99:5", "can be used with pseudo port value 0 only"),
        ("hash:ip,port", "10.0.0.1,gopher:5", "cannot parse 'gopher' as a protocol"),
        ("hash:ip,port", "10.0.0.1,0:0", "Invalid protocol"),
        ("hash:ip,port", "10.0.0.1,tcp:65536", "as a tcp port"),
        ("hash:ip,port", "10.0.0.1,icmp:any", "Cannot parse any as an ICMP type/code"),
        ("hash:ip,port", "10.0.0.1,58:0", "family inet6"),
    ],
)
def test_words_that_mean_nothing(kind: str, text: str, problem: str) -> None:
    with pytest.raises(SetError, match=problem):
        list(members(kind, text))


@given(number=st.sampled_from(sorted(ICMP_CODES.values())))
def test_icmp_comes_back_by_its_first_name(number: int) -> None:
    (back,) = members("hash:ip,port", str(Member(1, 32, 1, number)))
    assert back.port == number


# ---------------------------------------------------------------- one set

NETWORKS = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 32), st.booleans())


@given(networks=st.lists(NETWORKS, max_size=12), address=st.integers(0, 2**32 - 1), near=st.booleans())
def test_the_longest_network_decides(networks: list[tuple[int, int, bool]], address: int, near: bool) -> None:
    chosen, _ = a_set("hash:net")
    held: dict[str, bool] = {}
    for base, length, nomatch in networks:
        network = ip_network((base, length), strict=False)
        add(chosen, str(network), nomatch=nomatch, exist=True)
        held[str(network)] = nomatch
    if near and networks:
        address = networks[0][0]
    around = [name for name in held if ip_address(address) in ip_network(name)]
    best = max(around, key=lambda name: ip_network(name).prefixlen, default=None)
    found = chosen.find(Member(address))
    assert (found is None) is (best is None)
    if found is not None and best is not None:
        assert found.nomatch is held[best]


def test_a_network_is_tested_as_itself() -> None:
    chosen = add(a_set("hash:net")[0], "10.0.0.0/8")
    assert chosen.find(Member(0x0A000000, 8))
    assert not chosen.find(Member(0x0A000000, 9))
    assert chosen.find(Member(0x0A010203))


def test_members_come_once_and_go_once() -> None:
    chosen = add(a_set()[0], "10.0.0.1")
    with pytest.raises(SetError, match="it's already added"):
        add(chosen, "10.0.0.1")
    add(chosen, "10.0.0.1", exist=True)
    chosen.delete(Member(0x0A000001))
    with pytest.raises(SetError, match="it's not added"):
        chosen.delete(Member(0x0A000001))
    chosen.delete(Member(0x0A000001), exist=True)
    assert chosen.living() == {}


def test_a_set_has_its_bounds() -> None:
    full = add(a_set(maxelem=2)[0], "10.0.0.1", "10.0.0.2")
    for text, problem in (("10.0.0.3", "Hash is full"), ("0.0.0.0", "Null-valued"), ("10.0.0.0/0", "CIDR parameter")):
        with pytest.raises(SetError, match=problem):
            add(full, text)
    with pytest.raises(SetError, match="without timeout support"):
        add(full, "10.0.0.1", timeout=3, exist=True)
    with pytest.raises(SetError, match="without comment support"):
        add(full, "10.0.0.1", comment="x", exist=True)


def test_time_goes_by() -> None:
    chosen, clock = a_set(timeout=30)
    add(chosen, "10.0.0.1")
    add(chosen, "10.0.0.2", timeout=5)
    add(chosen, "10.0.0.3", timeout=0)
    assert list(chosen.members()) == ["10.0.0.1 timeout 30", "10.0.0.2 timeout 5", "10.0.0.3 timeout 0"]
    clock.now += 5
    assert list(chosen.members()) == ["10.0.0.1 timeout 25", "10.0.0.3 timeout 0"]
    assert chosen.held(Member(0x0A000002)) is None
    add(chosen, "10.0.0.2")
    add(chosen, "10.0.0.1", timeout=100, exist=True)
    clock.now += 60
    assert list(chosen.members()) == ["10.0.0.3 timeout 0", "10.0.0.1 timeout 40"] or list(chosen.members()) == [
        "10.0.0.1 timeout 40", "10.0.0.3 timeout 0",
    ]  # fmt: skip


# ---------------------------------------------------------------- packets in sets


def packets() -> Iterator[tuple[Packet, str | None]]:
    """Packets, and what their source and destination port are to a set of hash:ip,port."""
    tcp = Packet.tcp(CLIENT, SERVER, 4000, 80)
    yield tcp, "10.0.1.2,tcp:80"
    yield Packet.udp(CLIENT, SERVER, 4000, 53), "10.0.1.2,udp:53"
    yield Packet.icmp(CLIENT, SERVER, 3, 1, payload=bytes(28)), "10.0.1.2,icmp:host-unreachable"
    yield Packet.ip(CLIENT, SERVER, 99, b"x"), "10.0.1.2,99:0"
    yield Packet.ip(CLIENT, SERVER, 99, b"x")._replace(frag=1), "10.0.1.2,99:0"
    yield Packet.ip(CLIENT, SERVER, 136, b"\0\1\0\2\0\0\0\0"), "10.0.1.2,udplite:2"
    yield tcp._replace(frag=5 & OFFSET), None
    yield tcp._replace(payload=tcp.payload[:19]), None
    yield Packet.ip(CLIENT, SERVER, 0, b"x"), None


@pytest.mark.parametrize(("packet", "expected"), list(packets()))
def test_what_a_packet_is_to_a_set(packet: Packet, expected: str | None) -> None:
    chosen = a_set("hash:ip,port")[0]
    member = chosen.member_of(packet, (True, False))
    assert (str(member) if member else None) == expected
    assert chosen.member_of(packet, (True,)) is None


def test_exceptions() -> None:
    chosen = add(add(a_set("hash:net")[0], "10.0.0.0/8"), "10.0.1.0/24", nomatch=True)
    from_client, from_server = Packet.udp(CLIENT, SERVER, 1, 2), Packet.udp(SERVER, CLIENT, 2, 1)
    answers = [
        chosen.matches(packet, (True,), return_nomatch=asks)
        for packet in (from_client, from_server)
        for asks in (False, True)
    ]
    assert answers == [False, True, True, False]


def test_networks_are_added_as_small_as_there_are() -> None:
    chosen, _ = a_set("hash:net")
    packet = Packet.udp(CLIENT, SERVER, 1, 2)
    chosen.add_from(packet, (True,))
    assert [str(one) for one in chosen.living()] == ["10.0.1.2"]
    chosen.elements.clear()
    add(chosen, "10.9.0.0/16", "10.9.9.0/24")
    chosen.add_from(packet, (True,))
    assert [str(one) for one in chosen.living()] == ["10.9.0.0/16", "10.9.9.0/24", "10.0.1.0/24"]
    chosen.delete_from(packet, (True,))
    assert len(chosen.living()) == 2


# ---------------------------------------------------------------- the command


class Machine:
    """Something with sets."""

    def __init__(self) -> None:
        self.sets = Sets(Clock())


def said(machine: Machine, line: str, stdin: str = "") -> str:
    return str(ipset(machine, line, stdin))


def test_a_session() -> None:
    one = Machine()
    assert said(one, "create blocked hash:ip timeout 300 maxelem 10 hashsize 100 initval 0x1") == ""
    assert said(one, "add blocked 10.0.0.7 timeout 20") == ""
    assert said(one, "test blocked 10.0.0.7") == "Warning: 10.0.0.7 is in set blocked."
    absent = ipset(one, "test blocked 10.0.0.8")
    assert (absent.err, absent.status) == ("10.0.0.8 is NOT in set blocked.", 1)
    assert said(one, "save") == (
        "create blocked hash:ip family inet hashsize 128 maxelem 10 timeout 300 bucketsize 12 initval 0x00000001\n"
        "add blocked 10.0.0.7 timeout 20"
    )
    assert said(one, "list blocked").splitlines() == [
        "Name: blocked", "Type: hash:ip", "Revision: 6",
        "Header: family inet hashsize 128 maxelem 10 timeout 300 bucketsize 12 initval 0x00000001",
        "Size in memory: 280", "References: 0", "Number of entries: 1", "Members:", "10.0.0.7 timeout 20",
    ]  # fmt: skip
    assert said(one, "list -n") == "blocked"
    assert said(one, "flush") == said(one, "destroy blocked") == said(one, "save") == ""


@pytest.mark.parametrize(
    ("line", "problem", "status"),
    [
        ("", "No command specified.", 2),
        ("frobnicate", "No command specified: unknown argument frobnicate", 2),
        ("create", "Missing mandatory argument to command create", 2),
        ("create x", "Missing second mandatory argument to command create", 2),
        ("create x foo:bar", "Syntax error: typename 'foo:bar' is unknown", 1),
        ("create x hash:ip counters", "netlab's sets do not have `counters'", 2),
        ("create x hash:ip colour", "Unknown argument: `colour'", 2),
        ("create x list:set", "netlab has no sets of type 'list:set', only hash:ip, hash:net, hash:ip,port", 1),
        ("create x hash:ip timeout", "Missing mandatory argument of option `timeout'", 2),
        ("create x hash:ip timeout 2147484", "Syntax error: '2147484' is out of range 0-2147483", 1),
        ("create x hash:ip timeout 5 timeout 6", "Syntax error: timeout already specified", 1),
        ("create x hash:ip family inet6", "netlab has no sets of family inet6, only inet", 1),
        ("create x hash:ip family inet9", "Syntax error: unknown inet family inet9", 1),
        (f"create {'x' * 32} hash:ip", f"Syntax error: setname '{'x' * 32}' is longer than 31 characters", 1),
        ("create a hash:ip", "Set cannot be created: set with the same name already exists", 1),
        ("create a hash:net -exist", "Set cannot be created: set with the same name already exists", 1),
        ("add nope 10.0.0.1", "The set with the given name does not exist", 1),
        ("add a 10.0.0.1 nomatch", "Unknown argument: `nomatch'", 2),
        ("add a 10.0.0.1 bogus", "Unknown argument: `bogus'", 2),
        ("del n 10.0.0.0/8 timeout 5", "Unknown argument: `timeout'", 2),
        ("rename a n", "Set cannot be renamed: a set with the new name already exists", 1),
        ("swap a n", "The sets cannot be swapped: their type does not match", 1),
        ("swap a nope", "Sets cannot be swapped: the second set does not exist", 1),
        ("list a b", "Unknown argument b", 2),
    ],
)
def test_refusals_are_those_of_the_real_command(line: str, problem: str, status: int) -> None:
    one = Machine()
    for setup in ("create a hash:ip", "create n hash:net"):
        assert said(one, setup) == ""
    answer = ipset(one, line)
    assert (answer.err.splitlines()[0], answer.status) == (f"ipset v7.17: {problem}", status)
    assert ("Try `ipset help'" in answer.err) is (status == 2)
    assert said(one, "list -n") == "a\nn"


def test_what_is_saved_is_restored() -> None:
    one, other = Machine(), Machine()
    for line in (
        "create a hash:ip comment", 'add a 10.0.0.1 comment "two words"', "create n hash:net timeout 0",
        "add n 10.0.0.0/8 nomatch timeout 9", "create p hash:ip,port", "add p 10.0.0.1,udp:domain",
    ):  # fmt: skip
        assert said(one, line) == ""
    saved = said(one, "save")
    assert said(other, "restore", saved) == ""
    assert said(other, "save") == saved
    assert said(other, "restore -exist", f"# again\n\n{saved}\nCOMMIT\n") == ""
    assert said(other, "restore", saved).startswith("ipset v7.17: Error in line 1: Set cannot be created")


def test_a_broken_text_changes_nothing_and_says_where() -> None:
    one = Machine()
    text = "create a hash:ip\nadd a 10.0.0.1\n  add a nonsense\n"
    with pytest.raises(SetError, match=r"line 3, column 3: Syntax error: cannot parse nonsense") as caught:
        restore(one.sets, text)
    assert caught.value.place == (3, 3)
    assert said(one, "save") == ""


def test_old_names_of_commands_and_types() -> None:
    one = Machine()
    for line in ("-N x iphash", "-A x 10.0.0.1", "-T x 10.0.0.1", "-D x 10.0.0.1", "-N y nethash", "-E x z", "-X z"):
        assert ipset(one, line).status == 0, line
    assert said(one, "-S").startswith("create y hash:net ")
    assert said(one, "-q create y hash:ip") == ""


# ---------------------------------------------------------------- rules

RULES = """*filter
-A FORWARD -m set --match-set blocked src -j DROP
-A FORWARD -p udp -j SET --add-set seen src,dst --timeout 9
COMMIT
"""


def router() -> Host:
    host = Host("r", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, sysctls={"net.ipv4.ip_forward": 1})
    restore(host.sets, "create blocked hash:ip\ncreate open hash:ip\ncreate seen hash:ip,port timeout 60\n")
    host.firewall.restore(RULES)
    return host


def passes(host: Host) -> bool:
    trace = host.receive("eth0", Packet.udp(CLIENT, SERVER, 4000, 53))
    return any(isinstance(event, Sent) for event in trace.events)


def test_rules_ask_and_write() -> None:
    host = router()
    assert passes(host)
    assert list(host.sets["seen"].members()) == ["10.0.1.2,udp:53 timeout 9"]
    ipset(host, f"add blocked {CLIENT}")
    assert not passes(host)
    ipset(host, "swap blocked open")
    assert passes(host)


def test_a_set_that_rules_name_stays() -> None:
    host = router()
    assert "References: 1" in str(ipset(host, "list blocked"))
    assert "in use by a kernel component" in ipset(host, "destroy blocked").err
    assert "in use by a kernel component" in ipset(host, "destroy").err
    assert "in use by another system" in ipset(host, "rename blocked closed").err
    host.firewall.restore("*filter\nCOMMIT\n")
    assert ipset(host, "destroy").status == 0


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("-m set --match-set nope src", "Set nope doesn't exist"),
        ("-j SET --add-set nope src", "Set nope doesn't exist"),
        ("-m set --match-set blocked up", "'src' or 'dst'"),
        ("-m set --match-set blocked src,dst,src,dst,src,dst,src", "more src/dst options than 6"),
        ("-m set", "You must specify `--match-set'"),
        (f"-m set --match-set {'x' * 32} src", "too long"),
        ("-j SET", "You must specify either"),
        ("-j SET --del-set blocked src --exist", "can be used with `--add-set' only"),
        ("-j SET --del-set blocked src --timeout 4", "can be used with `--add-set' only"),
    ],
)
def test_rules_that_are_refused_leave_the_old_ones(rule: str, problem: str) -> None:
    host = router()
    before = host.firewall.save()
    with pytest.raises(RuleError, match=problem):
        host.firewall.restore(f"*filter\n-A FORWARD {rule}\nCOMMIT\n")
    assert host.firewall.save() == before


def test_sets_show_themselves() -> None:
    host = router()
    assert repr(host.sets) == "<Sets: blocked, open, seen>"
    assert repr(host.sets["open"]) == "<IpSet open hash:ip: 0 members>"
    assert str(host.sets).startswith("create blocked hash:ip ")
    assert host.sets["open"]._repr_html_().startswith("<pre>Name: open")
    assert host.sets._repr_html_().startswith("<pre>create blocked")
