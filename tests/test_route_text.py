"""Routes and rules as text. The listings were printed by iproute2 6.1 and net-tools 2.10 on Linux 6.18."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.addresses import InterfaceAddress, Prefix, mask_of, parse_address
from netlab.names import NetlabError
from netlab.net_tools import format_route, parse_route_n
from netlab.route import PROTOCOL_NAMES, Route, RouteType, Rule, RuleAction, Scope
from netlab.route_get import format_route_get
from netlab.route_text import (
    delete_route,
    delete_rule,
    format_routes,
    format_rules,
    parse_route,
    parse_routes,
    parse_rule,
    parse_rules,
)
from netlab.routing import DEFAULT, LOCAL, Fib
from netlab.sysctls import Sysctls

COMMANDS = [
    "unreachable default metric 4278198272",
    "0.0.0.0/8 dev e0",
    "throw 10.5.0.0/16",
    "prohibit 10.6.0.0/16",
    "blackhole 10.7.0.0/16",
    "unreachable 10.8.0.0/16",
    "10.9.0.0/16 via 10.0.1.1",
    "10.10.0.0/16 dev e0 scope host",
    "10.12.0.0/16 dev e0 proto static metric 7 src 10.0.1.1 mtu 1400",
    "10.14.0.0/16 via 10.0.1.2 proto 99 metric 7 tos 0x10",
    "10.14.0.0/16 via inet 10.0.1.3 tos 4",
    "10.18.0.1 via 10.0.1.2",
    "to 10.19.0.0/16 via 0.0.0.0 dev e0",
    "1.2.3.7 via 10.0.77.2 onlink dev e0",
    "unreachable 1.2.3.4",
    "multicast 224.1.0.0/16 dev e0",
    "10.18.0.1 via 10.0.1.2 table 100",
    "default via 10.0.1.2 table default",
]

IP_ROUTE = """\
0.0.0.0/8 dev e0 scope link 
unreachable default metric 4278198272 
unreachable 1.2.3.4 
1.2.3.7 via 10.0.77.2 dev e0 onlink 
10.0.1.0/24 dev e0 proto kernel scope link src 10.0.1.1 
throw 10.5.0.0/16 
prohibit 10.6.0.0/16 
blackhole 10.7.0.0/16 
unreachable 10.8.0.0/16 
10.9.0.0/16 via 10.0.1.1 dev e0 
10.10.0.0/16 dev e0 scope host 
10.12.0.0/16 dev e0 proto static scope link src 10.0.1.1 metric 7 mtu 1400 
10.14.0.0/16 tos 0x10 via 10.0.1.2 dev e0 proto openr metric 7 
10.14.0.0/16 tos 0x04 via 10.0.1.3 dev e0 
10.18.0.1 via 10.0.1.2 dev e0 
10.19.0.0/16 dev e0 
multicast 224.1.0.0/16 dev e0 scope link 
"""  # noqa: W291 - ip ends its lines with a space

LOCAL_TABLE = """\
local 10.0.1.1 dev e0 table local proto kernel scope host src 10.0.1.1 
broadcast 10.0.1.255 dev e0 table local proto kernel scope link src 10.0.1.1 
local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1 
local 127.0.0.1 dev lo table local proto kernel scope host src 127.0.0.1 
broadcast 127.255.255.255 dev lo table local proto kernel scope link src 127.0.0.1 
"""  # noqa: W291

ROUTE_N = """\
Kernel IP routing table
Destination     Gateway         Genmask         Flags Metric Ref    Use Iface
0.0.0.0         0.0.0.0         255.0.0.0       U     0      0        0 e0
0.0.0.0         -               0.0.0.0         !     -16769024 -        0 -
1.2.3.4         -               255.255.255.255 !H    0      -        0 -
1.2.3.7         10.0.77.2       255.255.255.255 UGH   0      0        0 e0
10.0.1.0        0.0.0.0         255.255.255.0   U     0      0        0 e0
10.5.0.0        0.0.0.0         255.255.0.0     U     0      0        0 *
10.6.0.0        -               255.255.0.0     !     0      -        0 -
10.7.0.0        0.0.0.0         255.255.0.0     U     0      0        0 *
10.8.0.0        -               255.255.0.0     !     0      -        0 -
10.9.0.0        10.0.1.1        255.255.0.0     UG    0      0        0 e0
10.10.0.0       0.0.0.0         255.255.0.0     U     0      0        0 e0
10.12.0.0       0.0.0.0         255.255.0.0     U     7      0        0 e0
10.14.0.0       10.0.1.2        255.255.0.0     UG    7      0        0 e0
10.14.0.0       10.0.1.3        255.255.0.0     UG    0      0        0 e0
10.18.0.1       10.0.1.2        255.255.255.255 UGH   0      0        0 e0
10.19.0.0       0.0.0.0         255.255.0.0     U     0      0        0 e0
"""


@pytest.fixture
def fib() -> Fib:
    fib = Fib(["e0"])
    fib.add_address("e0", InterfaceAddress.parse("10.0.1.1/24"))
    for words in COMMANDS:
        fib.add(parse_route(words))
    return fib


# ---------------------------------------------------------------------- listings


def test_ip_route(fib: Fib) -> None:
    assert format_routes(fib) == IP_ROUTE


def test_ip_route_of_one_table(fib: Fib) -> None:
    assert format_routes(fib, LOCAL) == LOCAL_TABLE.replace(" table local", "")
    assert format_routes(fib, DEFAULT) == "default via 10.0.1.2 dev e0 \n"
    with pytest.raises(NetlabError, match="table 77: Error: ipv4: FIB table does not exist"):
        format_routes(fib, 77)


def test_ip_route_of_all_tables(fib: Fib) -> None:
    others = "10.18.0.1 via 10.0.1.2 dev e0 table 100 \ndefault via 10.0.1.2 dev e0 table default \n"
    assert format_routes(fib, None) == others + IP_ROUTE + LOCAL_TABLE


def test_ip_route_is_read_back(fib: Fib) -> None:
    text = format_routes(fib, None)
    routes = parse_routes(text)
    assert routes == [route for table in fib.tables for route in table]
    assert "".join(f"{route} \n" for route in routes) == text
    assert parse_routes("10.0.1.0/24 dev e0 proto kernel scope link src 10.0.1.1 linkdown \n\n")[0].dev == "e0"


def test_route_n(fib: Fib) -> None:
    assert format_route(fib, numeric=True) == ROUTE_N


def test_route_without_n_names_the_default(fib: Fib) -> None:
    lines = format_route(fib, numeric=False).splitlines()
    assert lines[3] == "default         -               0.0.0.0         !     -16769024 -        0 -"


def test_route_n_is_read_back() -> None:
    lines = parse_route_n(ROUTE_N)
    assert len(lines) == len(ROUTE_N.splitlines()) - 2
    assert [line.rejects for line in lines[:3]] == [False, True, True]
    assert lines[3] == (Prefix.parse("1.2.3.7"), parse_address("10.0.77.2"), "UGH", 0, "e0")
    assert parse_route_n(ROUTE_N.replace("0.0.0.0         -     ", "default         -     ")) == lines


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Kernel IP routing table\n", "no line starts with 'Destination'"),
        (
            ROUTE_N + "10.0.0.0 0.0.0.0 255.0.0.0 U 0 0\n",
            "line 19: '10.0.0.0 0.0.0.0 255.0.0.0 U 0 0' has not the eight",
        ),
        (ROUTE_N + "10.0.0 0.0.0.0 255.0.0.0 U 0 0 0 e0\n", "line 19: '10.0.0' is not an IPv4 address"),
    ],
)
def test_route_n_that_is_none(text: str, complaint: str) -> None:
    with pytest.raises(NetlabError) as caught:
        parse_route_n(text)
    assert str(caught.value).startswith(complaint)


RULES = """\
0:	from all lookup local
47:	from all to 10.2.0.0/16 unreachable
48:	from 10.2.0.0/16 blackhole
49:	not from 10.1.0.0/16 lookup 101
50:	from 10.0.0.0/8 to 1.2.3.4 tos 0x10 iif e0 oif e1 lookup main
62:	from 10.2.3.4 lookup 5 proto static
32762:	from all fwmark 0/0x1 lookup 7
32763:	from all fwmark 0x1/0xff lookup 100
32764:	from all lookup 8
32765:	from all fwmark 0x1 lookup 100
32766:	from all lookup main
32767:	from all lookup default
"""


def test_ip_rule() -> None:
    fib = Fib(["e0", "e1"])
    for words in (
        "fwmark 0x1 table 100",
        "fwmark 0 lookup 8",
        "from all fwmark 0x1/0xff table 100",
        "fwmark 0/1 lookup 7",
        "from 10.2.3.4 table 5 priority 62 protocol static",
        "tos 10 to 1.2.3.4 from 10.0.0.0/8 iif e0 oif e1 pref 50",
        "not from 10.1.0.0/16 lookup 101 order 49",
        "blackhole from 10.2.0.0/16 prio 48",
        "unreachable to 10.2.0.0/16 preference 47",
    ):
        fib.add_rule(parse_rule(words))
    assert format_rules(fib) == RULES
    assert "".join(f"{rule}\n" for rule in parse_rules(RULES)) == RULES


# ---------------------------------------------------------------------- there and back

addresses = st.integers(0, 2**32 - 1)
networks = st.builds(lambda a, n: Prefix(a & mask_of(n), n), addresses, st.integers(0, 32))
devices = st.sampled_from(["eth0", "eth0.100", "wlan0", "br-lan"])
numbers = st.integers(0, 2**32 - 1)
tables = st.integers(1, 2**32 - 1)
protocols = st.sampled_from(sorted(PROTOCOL_NAMES)) | st.integers(0, 255)
toses = st.integers(0, 0xFF)

routes = st.builds(
    Route,
    prefix=networks,
    type=st.sampled_from(list(RouteType)),
    gateway=st.none() | st.integers(1, 2**32 - 1),
    dev=st.none() | devices,
    metric=numbers,
    tos=toses,
    table=tables,
    scope=st.sampled_from(list(Scope)),
    protocol=protocols,
    source=st.none() | addresses,
    onlink=st.booleans(),
    mtu=st.none() | numbers,
)


@given(st.lists(routes, max_size=5))
def test_printed_routes_are_read_back(routes: list[Route]) -> None:
    assert parse_routes("".join(f"{route} \n" for route in routes)) == routes


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    mask = draw(numbers)
    action = draw(st.sampled_from(list(RuleAction)))
    return Rule(
        priority=draw(numbers),
        source=draw(networks),
        destination=draw(networks),
        iif=draw(st.none() | devices),
        oif=draw(st.none() | devices),
        mark=draw(numbers),
        mask=mask,
        tos=draw(toses),
        invert=draw(st.booleans()),
        action=action,
        protocol=draw(protocols.filter(lambda number: number != 2)),
        **({"table": draw(tables)} if action is RuleAction.LOOKUP else {}),
    )


@given(st.lists(rules(), max_size=5))
def test_printed_rules_are_read_back(rules: list[Rule]) -> None:
    assert parse_rules("".join(f"{rule}\n" for rule in rules)) == rules


LIKELY = [
    "10.9.0.0/16",
    "via",
    "dev",
    "eth0",
    "metric",
    "7",
    "table",
    "x",
    "10.0.0.1",
    "blackhole",
    "to",
    "src",
    "0x10",
]


@given(st.lists(st.sampled_from(LIKELY), max_size=8).map(" ".join))
def test_any_words_are_understood_or_refused_in_one_line(words: str) -> None:
    for parse in (parse_route, parse_rule):
        complaint = ""
        try:
            parse(words)
        except NetlabError as error:
            complaint = str(error)
        assert "\n" not in complaint


# ---------------------------------------------------------------------- words that are wrong


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("10.9.0.0/16 via 10.0.2.2 metrik 1", "column 26: unknown word 'metrik'"),
        ("10.9.0.0/16 via 10.0.2.300", "column 17: '10.0.2.300' is not an IPv4 address"),
        ("10.9.0.1/16 via 10.0.2.3", "column 1: '10.9.0.1/16': address bits are set behind the /16"),
        ("to 10.9.0.0/33 dev eth0", "column 4: "),
        ("10.9.0.0/16 via 10.0.2.2 metric many", "column 33: 'many' is not a number"),
        ("10.9.0.0/16 via 10.0.2.2 metric -1", "column 33: '-1' is not a number"),
        ("10.9.0.0/16 via 10.0.2.2 table mine", "column 32: 'mine' is not a table's name or number"),
        ("10.9.0.0/16 via 10.0.2.2 scope here", "column 32: 'here' is not global, site, link, host or nowhere"),
        ("10.9.0.0/16 via 10.0.2.2 proto 256", "column 32: '256' is not a routing protocol's name or number"),
        ("10.9.0.0/16 via 10.0.2.2 tos 100", "column 30: '100' is not a type of service"),
        ("10.9.0.0/16 via", "column 13: 'via' needs a value"),
        ("10.9.0.0/16 dev a dev b", "column 19: 'dev' is given twice"),
        ("10.9.0.0/16 nexthop via 10.0.2.2 nexthop via 10.0.2.3", "column 13: routes with several next hops are not"),
        ("10.9.0.0/16 dev eth0 mtu lock 1400", "column 22: 'mtu lock' is not supported"),
        ("via 10.0.2.2", "a route needs a destination"),
        ("", "a route needs a destination"),
    ],
)
def test_wrong_words_of_a_route(words: str, complaint: str) -> None:
    with pytest.raises(NetlabError) as caught:
        parse_route(words)
    assert complaint in str(caught.value)
    assert repr(words) in str(caught.value)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("frm 10.0.0.0/8 table 100", "column 1: unknown word 'frm'"),
        ("from 10.0.0.1/8 table 100", "column 6: '10.0.0.1/8': address bits are set behind the /8"),
        ("fwmark one table 100", "column 8: 'one' is not a mark, or mark/mask"),
        ("fwmark 1 table 0", "column 10: table 0 stands for no table"),
        ("fwmark 1 fwmark 2", "column 10: 'fwmark' is given twice"),
        ("fwmark 1 lookup 7 table 8", "column 19: 'table' is given twice"),
        ("fwmark 1 goto 100", "column 10: unknown word 'goto'"),
        ("table", "column 1: 'table' needs a value"),
    ],
)
def test_wrong_words_of_a_rule(words: str, complaint: str) -> None:
    with pytest.raises(NetlabError) as caught:
        parse_rule(words)
    assert str(caught.value) == f"{words!r}, {complaint}" or complaint in str(caught.value)


def test_a_listing_that_is_none() -> None:
    with pytest.raises(NetlabError, match=r"^line 2: 'hello', column 1: 'hello' is not an IPv4 address"):
        parse_routes("default via 10.0.0.1 \nhello \n")
    with pytest.raises(NetlabError, match=r"^line 1: 'from all' does not start with a priority"):
        parse_rules("from all")


# ---------------------------------------------------------------------- deleting by words


def test_delete_by_words(fib: Fib) -> None:
    fib.add_rule(parse_rule("fwmark 1 table 100"))
    assert delete_route(fib, "10.14.0.0/16 tos 4").gateway == parse_address("10.0.1.3")
    assert delete_route(fib, "local 10.0.1.1").table == LOCAL
    assert delete_rule(fib, "table 100").mark == 1
    with pytest.raises(NetlabError, match="No such process"):
        delete_route(fib, "10.12.0.0/16 metric 8")


# ---------------------------------------------------------------------- ip route get


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ({"dst": "10.9.0.1"}, "10.9.0.1 via 10.0.1.2 dev eth0 src 10.0.1.1 uid 0 \n    cache \n"),
        ({"dst": "10.9.0.1", "mark": 1}, "10.9.0.1 via 10.0.1.2 dev eth0 src 10.0.1.1 mark 1 uid 0 \n    cache \n"),
        ({"dst": "10.9.0.1", "src": "10.0.1.1"}, "10.9.0.1 from 10.0.1.1 via 10.0.1.2 dev eth0 uid 0 \n    cache \n"),
        ({"dst": "10.8.0.1"}, "10.8.0.1 via 10.0.1.2 dev eth0 src 10.0.1.1 uid 0 \n    cache mtu 1400 \n"),
        ({"dst": "10.0.1.1"}, "local 10.0.1.1 dev lo src 10.0.1.1 uid 0 \n    cache <local> \n"),
        ({"dst": "10.0.1.255"}, "broadcast 10.0.1.255 dev eth0 src 10.0.1.1 uid 0 \n    cache <local,brd> \n"),
        ({"dst": "10.9.0.1", "src": "10.0.1.9", "iif": "eth0"},
         "10.9.0.1 from 10.0.1.9 via 10.0.1.2 dev eth0 \n    cache <redirect> iif eth0 \n"),
        ({"dst": "10.0.1.1", "src": "10.0.1.9", "iif": "eth0"},
         "local 10.0.1.1 from 10.0.1.9 dev lo \n    cache <local> iif eth0 \n"),
        ({"dst": "224.0.0.1", "src": "10.0.1.9", "iif": "eth0"},
         "multicast 224.0.0.1 from 10.0.1.9 dev lo rt_offload_failed \n    cache <local,mc> iif eth0 \n"),
        ({"dst": "7.7.7.7"}, "RTNETLINK answers: Network is unreachable"),
        ({"dst": "10.0.1.1", "src": "127.0.0.1", "iif": "eth0"}, "RTNETLINK answers: Invalid argument"),
        ({"dst": "7.7.7.7", "src": "10.0.1.9", "iif": "eth0"}, "RTNETLINK answers: Network is unreachable"),
    ],
)  # fmt: skip
def test_ip_route_get(words: dict[str, str | int], printed: str) -> None:
    fib = Fib(["eth0"])
    fib.add_address("eth0", InterfaceAddress.parse("10.0.1.1/24"))
    fib.add(parse_route("10.9.0.0/16 via 10.0.1.2"))
    fib.add(parse_route("10.8.0.0/16 via 10.0.1.2 mtu 1400"))
    sysctls = Sysctls(["eth0"])
    sysctls.set("net.ipv4.ip_forward", 1)
    numbers = {key: parse_address(str(words[key])) for key in ("dst", "src") if key in words}
    others = {key: value for key, value in words.items() if key not in numbers}
    try:
        text = format_route_get(fib, sysctls, **numbers, **others)  # type: ignore[arg-type]
    except NetlabError as error:
        text = str(error)
    assert text == printed
