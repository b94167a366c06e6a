from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.addresses import InterfaceAddress, Prefix, format_address, mask_of, parse_address
from netlab.names import NetlabError
from netlab.route_output import OutputDecision, route_output
from netlab.route_text import format_routes, parse_route, parse_rule
from netlab.routing import CACHE_LIMIT, LOCAL, MAIN, Decision, Fib, Route, RouteTable, RouteType, Scope
from netlab.sysctls import Sysctls

ADDRESS = parse_address


def host(*commands: str) -> Fib:
    """A router with eth0 10.0.1.1/24, eth1 10.0.2.1/24, and these routes and rules in the words of `ip ... add`."""
    fib = Fib(["eth0", "eth1"])
    fib.add_address("eth0", InterfaceAddress.parse("10.0.1.1/24"))
    fib.add_address("eth1", InterfaceAddress.parse("10.0.2.1/24"))
    for command in commands:
        thing, _, words = command.partition(" ")
        _ = fib.add(parse_route(words)) if thing == "route" else fib.add_rule(parse_rule(words))
    return fib


def winner(decision: Decision) -> str:
    """The route that won, or the error."""
    return str(decision.route) if decision.route else str(decision.errno)


# ---------------------------------------------------------------------- who wins


def test_the_longest_prefix_wins_even_with_the_worse_metric() -> None:
    fib = host("route 10.9.0.0/25 via 10.0.1.2 metric 500", "route 10.9.0.0/24 via 10.0.2.2 metric 1")
    assert winner(fib.lookup(ADDRESS("10.9.0.1"))) == "10.9.0.0/25 via 10.0.1.2 dev eth0 metric 500"
    assert winner(fib.lookup(ADDRESS("10.9.0.200"))) == "10.9.0.0/24 via 10.0.2.2 dev eth1 metric 1"


def test_among_equal_prefixes_the_lowest_metric_wins() -> None:
    fib = host("route 10.9.0.0/16 via 10.0.1.2 metric 200", "route 10.9.0.0/16 via 10.0.2.2 metric 100")
    assert winner(fib.lookup(ADDRESS("10.9.0.1"))) == "10.9.0.0/16 via 10.0.2.2 dev eth1 metric 100"


def test_a_route_for_the_tos_comes_before_one_for_all() -> None:
    fib = host("route 10.9.0.0/16 via 10.0.1.2", "route 10.9.0.0/16 via 10.0.2.2 tos 0x10 metric 9")
    assert winner(fib.lookup(ADDRESS("10.9.0.1"))) == "10.9.0.0/16 via 10.0.1.2 dev eth0"
    assert winner(fib.lookup(ADDRESS("10.9.0.1"), tos=0x10)) == "10.9.0.0/16 tos 0x10 via 10.0.2.2 dev eth1 metric 9"


def test_a_32_in_main_loses_to_the_local_address() -> None:
    fib = host("route 10.0.1.1 via 10.0.2.2")
    decision = fib.lookup(ADDRESS("10.0.1.1"))
    assert decision.route
    assert (decision.route.type, decision.table) == (RouteType.LOCAL, "local")


def test_local_and_main_are_one_until_a_rule_is_added_or_deleted() -> None:
    fib = host("route 127.5.0.0/16 via 10.0.1.2")
    assert fib.lookup(ADDRESS("127.5.0.1")).table == "main"
    fib.add_rule(parse_rule("fwmark 7 table 7"))
    assert fib.lookup(ADDRESS("127.5.0.1")).table == "local"
    fib.delete_rule(mark=7, mask=0xFFFFFFFF)
    assert fib.lookup(ADDRESS("127.5.0.1")).table == "local"


@pytest.mark.parametrize(
    ("kind", "errno"),
    [("unreachable", "EHOSTUNREACH"), ("prohibit", "EACCES"), ("blackhole", "EINVAL"), ("throw", "ENETUNREACH")],
)
def test_routes_that_refuse(kind: str, errno: str) -> None:
    decision = host(f"route {kind} 10.9.0.0/16").lookup(ADDRESS("10.9.0.1"))
    assert (decision.errno, decision.route) == (errno, None)
    assert str(decision.refused_by) == (f"{kind} 10.9.0.0/16" if kind != "throw" else "None")


def test_throw_goes_on_with_the_next_rule() -> None:
    fib = host("route throw 10.9.0.0/16 table 7", "route 10.9.0.0/16 via 10.0.1.2", "rule table 7")
    assert winner(fib.lookup(ADDRESS("10.9.0.1"))) == "10.9.0.0/16 via 10.0.1.2 dev eth0"


def test_no_route() -> None:
    decision = host().lookup(ADDRESS("8.8.8.8"))
    assert (decision.errno, decision.rule, decision.table, decision.next_hop) == ("ENETUNREACH", None, None, None)


def test_a_bound_sender_takes_a_shorter_prefix_by_its_own_interface() -> None:
    fib = host("route 10.9.0.0/16 via 10.0.1.2", "route default via 10.0.2.2")
    assert fib.lookup(ADDRESS("10.9.0.1"), oif="eth1").next_hop == ADDRESS("10.0.2.2")


def test_next_hop_is_the_gateway_or_the_destination() -> None:
    fib = host("route 10.9.0.0/16 via 10.0.1.2")
    assert fib.lookup(ADDRESS("10.9.0.1")).next_hop == ADDRESS("10.0.1.2")
    assert fib.lookup(ADDRESS("10.0.1.77")).next_hop == ADDRESS("10.0.1.77")


def test_a_gateway_that_is_our_own_address_changes_nothing() -> None:
    fib = host("route 10.9.0.0/16 via 10.0.1.1")
    assert fib.lookup(ADDRESS("10.9.0.1")).next_hop == ADDRESS("10.9.0.1")


prefixes = st.builds(
    lambda address, length: Prefix(address & mask_of(length), length),
    st.integers(0x0A000000, 0x0A00FFFF),
    st.integers(0, 32),
)


@given(st.lists(st.tuples(prefixes, st.integers(0, 3)), max_size=30), st.integers(0x0A000000, 0x0A00FFFF))
def test_the_winner_is_the_longest_then_the_lowest(found: list[tuple[Prefix, int]], dst: int) -> None:
    table = RouteTable(MAIN)
    fib = Fib(["eth0"])
    for prefix, metric in dict.fromkeys(found):
        route = Route(prefix=prefix, dev="eth0", metric=metric, scope=Scope.LINK)
        table.add(route)
        fib.add(route)
    matching = [route for route in table if dst in route.prefix]
    best = max(matching, key=lambda route: (route.prefix.length, -route.metric), default=None)
    assert fib.lookup(dst).route == best


@given(st.lists(st.tuples(prefixes, st.integers(0, 3)), max_size=20, unique=True), st.data())
def test_adding_and_deleting_leaves_no_trace(found: list[tuple[Prefix, int]], data: st.DataObject) -> None:
    fib = Fib(["eth0"])
    before = format_routes(fib, None)
    for prefix, metric in found:
        fib.add(Route(prefix=prefix, dev="eth0", metric=metric, scope=Scope.LINK))
    for prefix, metric in data.draw(st.permutations(found)):
        fib.delete(prefix, metric=metric)
    assert format_routes(fib, None) == before
    assert fib.table(MAIN).steps() == []


# ---------------------------------------------------------------------- rules


def test_rules_come_before_prefixes() -> None:
    fib = host("route default via 10.0.2.2 table 100", "route 10.9.0.0/16 via 10.0.1.2", "rule fwmark 1 table 100")
    assert fib.lookup(ADDRESS("10.9.0.1"), mark=1).next_hop == ADDRESS("10.0.2.2")
    assert fib.lookup(ADDRESS("10.9.0.1"), mark=2).next_hop == ADDRESS("10.0.1.2")


@pytest.mark.parametrize(
    ("words", "matching", "other"),
    [
        ("from 10.5.0.0/16", {"src": ADDRESS("10.5.1.1")}, {"src": ADDRESS("10.6.1.1")}),
        ("to 10.9.0.0/16", {}, {"dst": ADDRESS("10.10.0.1")}),
        ("iif eth0", {"iif": "eth0"}, {"iif": "eth1"}),
        ("iif lo", {}, {"iif": "eth0"}),
        ("oif eth1", {"oif": "eth1"}, {"oif": "eth0"}),
        ("fwmark 0x1", {"mark": 1}, {"mark": 3}),
        ("fwmark 0x1/0x1", {"mark": 3}, {"mark": 2}),
        ("fwmark 0", {"mark": 5}, None),
        ("tos 0x10", {"tos": 0x10 | 0xE0}, {"tos": 0x08}),
        ("not fwmark 0x1", {"mark": 2}, {"mark": 1}),
    ],
)
def test_what_a_rule_matches(words: str, matching: dict[str, object], other: dict[str, object] | None) -> None:
    fib = host("route unreachable default table 100", f"rule {words} table 100")

    def refused(packet: dict[str, object]) -> bool:
        asked: dict[str, object] = {"dst": ADDRESS("10.9.0.1"), **packet}
        lookup: Callable[..., Decision] = fib.lookup
        return lookup(**asked).errno == "EHOSTUNREACH"

    assert refused(matching)
    assert other is None or not refused(other)


@pytest.mark.parametrize(
    ("action", "errno"), [("unreachable", "ENETUNREACH"), ("prohibit", "EACCES"), ("blackhole", "EINVAL")]
)
def test_rules_that_refuse(action: str, errno: str) -> None:
    decision = host(f"rule from 10.5.0.0/16 {action}").lookup(ADDRESS("10.0.1.2"), src=ADDRESS("10.5.0.1"))
    assert decision.errno == errno
    assert decision.rule
    assert decision.rule.action == action


def test_the_kernel_numbers_rules_downward() -> None:
    fib = host("rule fwmark 1 table 7", "rule fwmark 2 table 7", "rule fwmark 3 table 7 priority 40000")
    assert [rule.priority for rule in fib.rules] == [0, 32764, 32765, 32766, 32767, 40000]


def test_the_same_rule_twice() -> None:
    fib = host("rule fwmark 1 table 7 priority 9")
    with pytest.raises(NetlabError, match="File exists"):
        fib.add_rule(parse_rule("not fwmark 1 table 7 priority 9"))
    fib.add_rule(parse_rule("fwmark 1 table 7 priority 10"))


def test_a_rule_for_an_interface_that_is_not_there() -> None:
    with pytest.raises(NetlabError, match="no interface 'eth7'"):
        host("rule iif eth7 table 7")


def test_deleting_a_rule_that_is_not_there() -> None:
    with pytest.raises(NetlabError, match="No such file or directory"):
        host().delete_rule(priority=9)


def test_without_the_rule_for_main_nothing_is_found_there() -> None:
    fib = host()
    fib.delete_rule(priority=32766)
    assert fib.lookup(ADDRESS("10.0.1.2")).errno == "ENETUNREACH"


# ---------------------------------------------------------------------- why


def test_why() -> None:
    fib = host(
        "route 10.9.0.0/16 via 10.0.2.2 metric 100",
        "route 10.9.0.0/16 via 10.0.2.3 metric 200",
        "route default via 10.0.1.2",
        "rule fwmark 1 table 100",
    )
    assert fib.lookup(ADDRESS("10.9.0.1")).why == (
        "rule 0 (from all lookup local): no prefix contains 10.9.0.1",
        "rule 32765 (from all fwmark 0x1 lookup 100): passed over, the packet's mark is 0",
        "rule 32766 (from all lookup main): 3 routes match 10.9.0.1",
        "  10.9.0.0/16 via 10.0.2.2 dev eth1 metric 100: wins (/16)",
        "  10.9.0.0/16 via 10.0.2.3 dev eth1 metric 200: loses by metric, 200 is more than 100",
        "  default via 10.0.1.2 dev eth0: loses by length, /0 is shorter than /16",
    )


@pytest.mark.parametrize(
    ("rule", "packet", "reason"),
    [
        ("from 10.5.0.0/16", {"src": ADDRESS("10.6.0.1")}, "the source is 10.6.0.1"),
        ("to 10.5.0.0/16", {}, "the destination is 10.9.0.1"),
        ("iif eth0", {"iif": "eth1"}, "the packet came in by eth1"),
        ("iif eth0", {}, "the packet was made here (iif lo)"),
        ("oif eth0", {}, "the sender is bound to no interface"),
        ("oif eth0", {"oif": "eth1"}, "the sender is bound to eth1"),
        ("tos 0x10", {"tos": 8}, "the packet's tos is 0x08"),
        ("not fwmark 1", {"mark": 1}, "the packet is one of those that `not` leaves out"),
    ],
)
def test_why_a_rule_is_passed_over(rule: str, packet: dict[str, object], reason: str) -> None:
    lookup: Callable[..., Decision] = host(f"rule {rule} table 100").lookup
    assert any(line.endswith(f"passed over, {reason}") for line in lookup(ADDRESS("10.9.0.1"), **packet).why)


def test_why_of_refusals_and_of_other_losers() -> None:
    fib = host("route unreachable 10.9.0.0/24", "route 10.9.0.0/24 via 10.0.1.2 tos 0x10", "route throw 10.8.0.0/16")
    reasons = "\n".join(fib.lookup(ADDRESS("10.9.0.1")).why)
    assert "unreachable 10.9.0.0/24: wins (/24), and its answer is EHOSTUNREACH" in reasons
    assert "only for tos 0x10, the packet has 0x00" in reasons
    reasons = "\n".join(fib.lookup(ADDRESS("10.8.0.1")).why)
    assert "throw 10.8.0.0/16: wins (/16), and throw means: go on with the next rule" in reasons
    assert reasons.endswith("no rule led to a route: ENETUNREACH")
    assert "leaves by eth0, the sender is bound to eth1" in "\n".join(fib.lookup(ADDRESS("10.0.1.9"), oif="eth1").why)


def test_why_tells_of_the_tables_as_they_were() -> None:
    fib = host("route 10.9.0.0/16 via 10.0.2.2")
    decision = fib.lookup(ADDRESS("10.9.0.1"))
    before = decision.why
    fib.add(parse_route("10.9.0.0/24 via 10.0.1.2"))
    fib.add_rule(parse_rule("unreachable priority 1"))
    assert decision.why == before
    assert fib.lookup(ADDRESS("10.9.0.1")).errno == "ENETUNREACH"


def test_a_lookup_is_remembered_until_something_changes() -> None:
    fib = host()
    first = fib.lookup(ADDRESS("10.0.1.9"))
    assert fib.lookup(ADDRESS("10.0.1.9")) is first
    fib.add(parse_route("10.9.0.0/24 via 10.0.1.2"))
    assert fib.lookup(ADDRESS("10.0.1.9")) is not first


def test_the_memory_of_lookups_is_bounded() -> None:
    fib = host("route default via 10.0.1.2")
    for dst in range(CACHE_LIMIT + 10):
        fib.lookup(dst)
    assert len(fib._cache) <= CACHE_LIMIT


# ---------------------------------------------------------------------- addresses and the routes they bring


@pytest.mark.parametrize(
    ("address", "routes"),
    [
        (
            "10.5.0.1/24",
            [
                "10.5.0.0/24 dev eth0 proto kernel scope link src 10.5.0.1",
                "local 10.5.0.1 dev eth0 table local proto kernel scope host src 10.5.0.1",
                "broadcast 10.5.0.255 dev eth0 table local proto kernel scope link src 10.5.0.1",
            ],
        ),
        (
            "10.5.0.1/31",
            [
                "10.5.0.0/31 dev eth0 proto kernel scope link src 10.5.0.1",
                "local 10.5.0.1 dev eth0 table local proto kernel scope host src 10.5.0.1",
            ],
        ),
        ("10.5.0.1/32", ["local 10.5.0.1 dev eth0 table local proto kernel scope host src 10.5.0.1"]),
    ],
)
def test_routes_of_an_address(address: str, routes: list[str]) -> None:
    fib, empty = Fib(["eth0"]), format_routes(Fib(["eth0"]), None)
    fib.add_address("eth0", InterfaceAddress.parse(address))
    added = [line.rstrip() for line in format_routes(fib, None).splitlines() if line not in empty]
    assert added == routes
    fib.remove_address("eth0", InterfaceAddress.parse(address))
    assert format_routes(fib, None) == empty


def test_a_second_address_of_a_subnet_is_secondary() -> None:
    fib = host()
    fib.add_address("eth0", InterfaceAddress.parse("10.0.1.5/24"))
    assert [(format_address(a.address), a.secondary) for a in fib.addresses("eth0")] == [
        ("10.0.1.1", False),
        ("10.0.1.5", True),
    ]
    local = fib.lookup(ADDRESS("10.0.1.5")).route
    assert str(local) == "local 10.0.1.5 dev eth0 table local proto kernel scope host src 10.0.1.1"
    fib.remove_address("eth0", InterfaceAddress.parse("10.0.1.1/24"))
    assert fib.addresses("eth0") == ()


def test_promoted_secondaries_take_over() -> None:
    fib = host()
    fib.add_address("eth0", InterfaceAddress.parse("10.0.1.5/24"))
    fib.remove_address("eth0", InterfaceAddress.parse("10.0.1.1/24"), promote=True)
    assert winner(fib.lookup(ADDRESS("10.0.1.9"))) == "10.0.1.0/24 dev eth0 proto kernel scope link src 10.0.1.5"
    assert fib.owner(ADDRESS("10.0.1.1")) is None


def test_without_addresses_an_interface_keeps_no_route() -> None:
    fib = host("route 10.9.0.0/16 via 10.0.1.2", "route 10.8.0.0/16 via 10.0.2.2")
    fib.remove_address("eth0", InterfaceAddress.parse("10.0.1.1/24"))
    assert [str(route.prefix) for route in fib.table(MAIN)] == ["10.0.2.0/24", "10.8.0.0/16"]


def test_of_two_interfaces_with_one_address_the_latest_owns_it() -> None:
    fib, address = host(), InterfaceAddress.parse("10.0.1.1/32")
    fib.add_address("eth1", address)
    assert fib.owner(address.address) == "eth1"
    fib.remove_address("eth1", address)
    assert fib.owner(address.address) == "eth0"


def test_address_errors() -> None:
    fib = host()
    with pytest.raises(NetlabError, match="Address already assigned"):
        fib.add_address("eth0", InterfaceAddress.parse("10.0.1.1/24"))
    with pytest.raises(NetlabError, match="Address not found"):
        fib.remove_address("eth0", InterfaceAddress.parse("10.0.1.9/24"))
    with pytest.raises(NetlabError, match=r"no interface 'eth7' \(there are lo, eth0, eth1\)"):
        fib.add_address("eth7", InterfaceAddress.parse("10.0.1.9/24"))
    with pytest.raises(NetlabError, match="'eth1' exists already"):
        fib.add_interface("eth1")


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("10.0.1.1", "local"),
        ("10.0.1.255", "broadcast"),
        ("10.0.1.9", "unicast"),
        ("9.9.9.9", "unicast"),
        ("127.3.4.5", "local"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("0.0.0.0", "broadcast"),
    ],
)
def test_address_types(address: str, kind: str) -> None:
    assert host().address_type(ADDRESS(address)) == kind


# ---------------------------------------------------------------------- adding and deleting routes


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("10.9.0.0/16 via 10.0.9.9", "Error: Nexthop has invalid gateway."),
        ("10.9.0.0/16 via 10.0.1.255", "Error: Nexthop has invalid gateway."),
        ("10.9.0.0/16 via 10.0.1.2 dev eth1", "Error: Nexthop has invalid gateway."),
        ("10.9.0.0/16 via 10.0.1.1 dev eth1 onlink", "Error: Nexthop has invalid gateway."),
        ("10.9.0.0/16 via 10.0.9.9 onlink", "Error: Nexthop device required for onlink."),
        ("10.9.0.0/16 via 10.0.9.9 dev eth0 onlink scope link", "Error: Nexthop has invalid scope."),
        ("10.9.0.0/16 dev eth0 onlink", "PERVASIVE and ONLINK can not be set."),
        ("10.9.0.0/16 via 10.0.1.2 scope host", "Error: Route with host scope can not have a gateway."),
        ("local 10.9.0.0/16 dev eth0 scope link", "Error: Invalid scope."),
        ("10.9.0.0/16 dev eth0 scope nowhere", "Error: Invalid scope."),
        ("10.9.0.0/16", "RTNETLINK answers: No such device"),
        ("local 10.9.0.0/16", "RTNETLINK answers: No such device"),
        ("10.9.0.0/16 dev eth7", 'Cannot find device "eth7"'),
        ("10.9.0.0/16 dev eth0 src 10.9.9.9", "Error: Invalid prefsrc address."),
        ("10.9.0.0/16 dev eth0 tos 0x11", "Error: Invalid dsfield (tos): ECN bits must be 0."),
        ("blackhole 10.9.0.0/16 dev eth0", "can not be specified for this route type."),
        ("10.0.1.0/24 via 10.0.2.2", "RTNETLINK answers: File exists"),
    ],
)
def test_what_the_kernel_refuses(words: str, complaint: str) -> None:
    with pytest.raises(NetlabError) as caught:
        host(f"route {words}")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_route_gets_its_interface_from_the_gateway() -> None:
    fib = host()
    assert fib.add(parse_route("10.9.0.0/16 via 10.0.2.2")).dev == "eth1"
    assert 100 not in fib
    assert fib.add(parse_route("10.9.0.0/16 via 10.77.0.1 dev eth0 onlink table 100")).dev == "eth0"
    assert 100 in fib


def test_delete() -> None:
    fib = host("route 10.9.0.0/16 via 10.0.1.2 metric 1", "route 10.9.0.0/16 via 10.0.2.2 metric 2")
    network = Prefix.parse("10.9.0.0/16")
    assert fib.delete(network, dev="eth1").metric == 2
    assert fib.delete(network).metric == 1
    with pytest.raises(NetlabError, match=r"10\.9\.0\.0/16 in table main: RTNETLINK answers: No such process"):
        fib.delete(network)


def test_a_route_over_a_link_that_is_down_still_wins() -> None:
    fib = host("route 10.9.0.0/16 via 10.0.1.2 metric 1", "route 10.9.0.0/16 via 10.0.2.2 metric 2")
    fib.set_carrier("eth0", False)
    assert fib.lookup(ADDRESS("10.9.0.1")).next_hop == ADDRESS("10.0.1.2")
    assert "10.9.0.0/16 via 10.0.1.2 dev eth0 metric 1 linkdown \n" in format_routes(fib)
    fib.set_carrier("eth0", True)
    assert "linkdown" not in format_routes(fib)
    with pytest.raises(NetlabError, match="no interface 'eth7'"):
        fib.set_carrier("eth7", False)


# ---------------------------------------------------------------------- packets made here


@pytest.mark.parametrize(
    ("asked", "outcome"),
    [
        ({"dst": "10.0.1.9"}, "10.0.1.9 dev eth0 src 10.0.1.1"),
        ({"dst": "10.9.0.1"}, "10.9.0.1 via 10.0.2.2 dev eth1 src 10.0.2.1"),
        ({"dst": "10.9.0.1", "src": "10.0.1.1"}, "10.9.0.1 via 10.0.2.2 dev eth1 src 10.0.1.1"),
        ({"dst": "10.8.0.1"}, "10.8.0.1 via 10.0.2.2 dev eth1 src 10.0.1.1"),
        ({"dst": "10.0.1.1"}, "local 10.0.1.1 dev lo src 10.0.1.1"),
        ({"dst": "127.0.0.1"}, "local 127.0.0.1 dev lo src 127.0.0.1"),
        ({"dst": "127.3.3.3"}, "local 127.3.3.3 dev lo src 127.0.0.1"),
        ({"dst": "0.0.0.0"}, "local 127.0.0.1 dev lo src 127.0.0.1"),
        ({"dst": "10.0.1.255"}, "broadcast 10.0.1.255 dev eth0 src 10.0.1.1"),
        ({"dst": "255.255.255.255"}, "255.255.255.255: ENETUNREACH"),
        ({"dst": "255.255.255.255", "oif": "eth1"}, "broadcast 255.255.255.255 dev eth1 src 10.0.2.1"),
        ({"dst": "255.255.255.255", "src": "10.0.1.1"}, "broadcast 255.255.255.255 dev eth0 src 10.0.1.1"),
        ({"dst": "224.0.0.9", "oif": "eth1"}, "multicast 224.0.0.9 dev eth1 src 10.0.2.1"),
        ({"dst": "8.8.8.8"}, "8.8.8.8: ENETUNREACH"),
        ({"dst": "8.8.8.8", "oif": "eth0"}, "8.8.8.8 dev eth0 src 10.0.1.1"),
        ({"dst": "10.0.1.9", "src": "10.0.1.7"}, "10.0.1.9: ENETUNREACH"),
        ({"dst": "10.0.1.9", "src": "224.0.0.1"}, "10.0.1.9: EINVAL"),
        ({"dst": "10.0.1.9", "src": "127.0.0.1"}, "10.0.1.9: EINVAL"),
        ({"dst": "10.7.0.1"}, "10.7.0.1: EACCES"),
    ],
)
def test_output(asked: dict[str, str], outcome: str) -> None:
    fib = host(
        "route 10.9.0.0/16 via 10.0.2.2", "route 10.8.0.0/16 via 10.0.2.2 src 10.0.1.1", "route prohibit 10.7.0.0/16"
    )
    output = route_output(
        fib,
        Sysctls(["eth0", "eth1"]),
        dst=ADDRESS(asked["dst"]),
        src=ADDRESS(asked["src"]) if "src" in asked else 0,
        oif=asked.get("oif"),
    )
    assert str(output) == outcome
    assert repr(output) == f"<OutputDecision {outcome}>"
    assert asked["dst"] in output._repr_html_() or asked["dst"] == "0.0.0.0"


def test_route_localnet_lets_127_out() -> None:
    sysctls = Sysctls(["eth0", "eth1"])
    sysctls.set("net.ipv4.conf.eth0.route_localnet", 1)
    output = route_output(host(), sysctls, dst=ADDRESS("10.0.1.9"), src=ADDRESS("127.0.0.1"))
    assert (output.dev, output.errno) == ("eth0", None)


def test_what_is_special_about_broadcast() -> None:
    def output(dst: str) -> OutputDecision:
        return route_output(host(), Sysctls(["eth0", "eth1"]), dst=ADDRESS(dst))

    assert output("10.0.1.255").comes_back
    assert output("10.0.1.255").next_hop is None
    assert not output("10.0.1.9").comes_back
    assert output("10.0.1.9").next_hop == ADDRESS("10.0.1.9")


def test_an_interface_without_addresses_borrows_one() -> None:
    fib = Fib(["eth0", "eth1"])
    fib.add_address("eth1", InterfaceAddress.parse("10.0.2.1/24"))
    fib.add(parse_route("10.9.0.0/16 dev eth0"))
    assert fib.select_address("eth0") == ADDRESS("10.0.2.1")
    assert Fib(["eth0"]).select_address("eth0") == 0


def test_of_several_subnets_the_gateways_own_gives_the_source() -> None:
    fib = host()
    fib.add_address("eth0", InterfaceAddress.parse("10.4.0.1/24"))
    route = fib.add(parse_route("10.9.0.0/16 via 10.4.0.2"))
    assert fib.source_of(route) == ADDRESS("10.4.0.1")
    assert fib.source_of(replace(route, source=7)) == 7


# ---------------------------------------------------------------------- showing


def test_shows_itself() -> None:
    fib = host("route default via 10.0.1.2", "route blackhole 10.8.0.0/16")
    assert "blackhole 10.8.0.0/16" in str(fib)
    assert "default via 10.0.1.2" in fib._repr_html_()
    assert repr(fib) == "<Fib: 3 rules, 11 routes>"
    assert repr(fib.table(LOCAL)) == "<RouteTable local: 7 routes>"
    table = fib.table(MAIN)
    assert str(table).splitlines()[0] == "default via 10.0.1.2 dev eth0"
    assert ">10.0.1.2</td>" in table._repr_html_()
    assert ">on the link</td>" in table._repr_html_()
    route, rule = next(iter(table)), fib.rules[0]
    assert (repr(route), repr(rule)) == ("<Route default via 10.0.1.2 dev eth0>", "<Rule 0: from all lookup local>")
    assert (str(route) in route._repr_html_()) is (str(rule) in rule._repr_html_()) is True
    decision = fib.lookup(ADDRESS("10.9.0.1"))
    assert repr(decision) == "<Decision 10.9.0.1: default via 10.0.1.2 dev eth0>"
    assert "<li>" in decision._repr_html_()
    assert str(fib.lookup(ADDRESS("10.8.0.1"))) == "10.8.0.1: EINVAL (blackhole 10.8.0.0/16)"
