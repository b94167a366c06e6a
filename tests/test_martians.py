"""The locks that a received packet has to pass. What the kernel does was asked in namespaces: tests/kernel."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.addresses import InterfaceAddress, parse_address
from netlab.martians import IGMP, InputDecision, InputKind, route_input
from netlab.names import DropReason, NetlabError
from netlab.route_text import parse_route, parse_rule
from netlab.routing import Fib
from netlab.sysctls import CONF, Sysctls, conf_name

OWN, INSIDE, BEYOND, STRANGER = "10.0.1.1", "10.0.1.7", "10.0.2.7", "1.2.3.4"


class Router:
    """eth0 10.0.1.1/24, eth1 10.0.2.1/24, eth2 without an address; it forwards."""

    def __init__(self, *routes: str, **settings: int) -> None:
        devices = ["eth0", "eth1", "eth2"]
        self.fib = Fib(devices)
        self.fib.add_address("eth0", InterfaceAddress.parse("10.0.1.1/24"))
        self.fib.add_address("eth1", InterfaceAddress.parse("10.0.2.1/24"))
        for route in routes:
            self.fib.add(parse_route(route))
        self.sysctls = Sysctls(devices)
        self.sysctls.set("net.ipv4.ip_forward", 1)
        for key, value in settings.items():
            self.sysctls.set(conf_name("eth0", key), value)

    def receives(self, src: str, dst: str, iif: str = "eth0", mark: int = 0, protocol: int = 17) -> InputDecision:
        return route_input(
            self.fib,
            self.sysctls,
            src=parse_address(src),
            dst=parse_address(dst),
            iif=iif,
            mark=mark,
            protocol=protocol,
        )


def test_the_ordinary_ways() -> None:
    router = Router()
    assert router.receives(INSIDE, OWN).kind is InputKind.LOCAL
    assert router.receives(INSIDE, BEYOND).kind is InputKind.FORWARD
    assert router.receives(INSIDE, "10.0.1.255").kind is InputKind.BROADCAST
    assert router.receives(INSIDE, "255.255.255.255").kind is InputKind.BROADCAST
    assert router.receives("0.0.0.0", "255.255.255.255").kind is InputKind.BROADCAST  # DHCP
    assert router.receives(INSIDE, "224.0.0.1").kind is InputKind.MULTICAST
    assert all(router.receives(INSIDE, dst).passes for dst in (OWN, BEYOND, "224.0.0.1"))


@pytest.mark.parametrize(
    ("src", "dst", "reason"),
    [
        ("127.0.0.1", OWN, "IP_LOCALNET"),
        ("127.0.0.1", BEYOND, "IP_LOCALNET"),
        (INSIDE, "127.0.0.1", "IP_LOCALNET"),
        (OWN, OWN, "IP_LOCAL_SOURCE"),
        ("10.0.2.1", BEYOND, "IP_LOCAL_SOURCE"),
        ("0.0.0.0", OWN, "IP_INVALID_SOURCE"),
        ("224.0.0.5", OWN, "IP_INVALID_SOURCE"),
        ("255.255.255.255", OWN, "IP_INVALID_SOURCE"),
        ("224.0.0.5", "224.0.0.1", "IP_INVALID_SOURCE"),
        ("127.0.0.1", "224.0.0.1", "IP_LOCALNET"),
        (INSIDE, "0.0.0.0", "IP_INVALID_DEST"),
        (INSIDE, "224.0.0.9", "NOT_SPECIFIED"),
    ],
)
def test_martians_with_everything_at_its_default(src: str, dst: str, reason: str) -> None:
    decision = Router().receives(src, dst)
    assert (decision.kind, decision.reason) == (InputKind.DROP, DropReason(reason))
    assert decision.lock
    assert reason in str(decision)


def test_what_is_no_martian() -> None:
    assert Router().receives("240.0.0.1", BEYOND).kind is InputKind.FORWARD
    assert Router().receives("0.0.0.9", BEYOND).kind is InputKind.FORWARD
    # Without rp_filter nobody looks the source up, so a subnet's broadcast address passes as one.
    assert Router(rp_filter=0).receives("10.0.2.255", BEYOND).kind is InputKind.FORWARD
    assert Router(rp_filter=2).receives("10.0.2.255", BEYOND).reason == "IP_INVALID_SOURCE"


@pytest.mark.parametrize(
    ("src", "iif", "passes"),
    [
        (INSIDE, "eth0", (True, True, True)),
        (BEYOND, "eth0", (True, False, True)),  # the way back is by eth1
        (STRANGER, "eth0", (True, False, False)),  # there is no way back
        (STRANGER, "eth2", (True, False, False)),
        (INSIDE, "eth2", (True, False, False)),  # an interface without addresses: loose is strict there
    ],
)
def test_rp_filter(src: str, iif: str, passes: tuple[bool, bool, bool]) -> None:
    for value in (0, 1, 2):
        router = Router()
        router.sysctls.set("net.ipv4.conf.all.rp_filter", value)
        decision = router.receives(src, OWN, iif)
        assert decision.passes is passes[value]
        assert decision.reason in (None, DropReason.IP_RPFILTER)


def test_strict_passes_a_stranger_by_the_interface_of_the_default_route() -> None:
    router = Router("default via 10.0.1.254", rp_filter=1)
    assert router.receives(STRANGER, OWN).kind is InputKind.LOCAL


def test_loose_lets_an_inside_address_in_from_outside() -> None:
    assert Router("default via 10.0.1.254", rp_filter=2).receives(BEYOND, OWN).kind is InputKind.LOCAL


@pytest.mark.parametrize(("rp_filter", "reason"), [(0, None), (1, "IP_RPFILTER"), (2, None)])
def test_accept_local_opens_the_lock_for_own_addresses_unless_rp_filter_is_strict(
    rp_filter: int, reason: str | None
) -> None:
    assert Router(accept_local=1, rp_filter=rp_filter).receives("10.0.2.1", OWN).reason == reason


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
@pytest.mark.parametrize("accept_local", [0, 1])
@pytest.mark.parametrize("route_localnet", [0, 1])
def test_source_127_needs_three_keys(rp_filter: int, accept_local: int, route_localnet: int) -> None:
    router = Router(rp_filter=rp_filter, accept_local=accept_local, route_localnet=route_localnet)
    expected = bool(route_localnet and accept_local and rp_filter != 1)
    assert router.receives("127.0.0.1", OWN).passes is expected


def test_destination_127_needs_one_key() -> None:
    for rp_filter in (0, 1, 2):
        assert Router(rp_filter=rp_filter, route_localnet=1).receives(INSIDE, "127.0.0.1").kind is InputKind.LOCAL


def test_any_own_rule_or_local_route_makes_the_source_be_looked_up() -> None:
    source = "127.3.3.3"  # no interface has it, but table local knows it
    assert Router(route_localnet=1).receives(source, OWN).passes
    router = Router(route_localnet=1)
    router.fib.add_rule(parse_rule("fwmark 9 table 9"))
    assert router.receives(source, OWN).reason == "IP_LOCAL_SOURCE"
    router = Router("local 10.77.0.0/16 dev lo", route_localnet=1)
    assert router.receives(source, OWN).reason == "IP_LOCAL_SOURCE"


def test_src_valid_mark_looks_the_source_up_with_the_mark() -> None:
    def router(**settings: int) -> Router:
        made = Router("10.0.2.0/24 dev eth0 table 9", **settings)
        made.fib.add_rule(parse_rule("fwmark 9 table 9"))
        return made

    assert not router(rp_filter=1).receives(BEYOND, OWN, mark=9).passes
    assert router(rp_filter=1, src_valid_mark=1).receives(BEYOND, OWN, mark=9).passes


@pytest.mark.parametrize(
    ("route", "reason", "icmp"),
    [
        ("unreachable 10.9.0.0/16", "NOT_SPECIFIED", (3, 1)),
        ("prohibit 10.9.0.0/16", "NOT_SPECIFIED", (3, 13)),
        ("blackhole 10.9.0.0/16", "NOT_SPECIFIED", None),
        ("throw 10.9.0.0/16", "IP_INNOROUTES", (3, 0)),
    ],
)
def test_no_way_on(route: str, reason: str, icmp: tuple[int, int] | None) -> None:
    decision = Router(route).receives(INSIDE, "10.9.0.1")
    assert (decision.kind, decision.reason, decision.icmp) == (InputKind.UNREACHABLE, reason, icmp)


@pytest.mark.parametrize("dst", [BEYOND, "10.9.0.1", "8.8.8.8"])
def test_a_host_that_does_not_forward_says_nothing(dst: str) -> None:
    router = Router("unreachable 10.9.0.0/16")
    router.sysctls.set("net.ipv4.ip_forward", 0)
    decision = router.receives(INSIDE, dst)
    assert (decision.kind, decision.reason, decision.icmp) == (InputKind.UNREACHABLE, "IP_INADDRERRORS", None)


def test_the_interface_it_came_in_by_decides_about_forwarding() -> None:
    assert Router(forwarding=0).receives(INSIDE, BEYOND).reason == "IP_INADDRERRORS"
    assert Router(forwarding=0).receives(BEYOND, INSIDE, "eth1").kind is InputKind.FORWARD


def test_redirects() -> None:
    route = "10.9.0.0/16 via 10.0.1.254"
    assert Router(route).receives(INSIDE, "10.9.0.1").do_redirect
    assert not Router(route).receives(INSIDE, BEYOND).do_redirect
    assert not Router(route).receives(STRANGER, "10.9.0.1").do_redirect  # not a neighbour
    router = Router(route, send_redirects=0)
    router.sysctls.set("net.ipv4.conf.all.send_redirects", 0)
    assert not router.receives(INSIDE, "10.9.0.1").do_redirect


def test_without_shared_media_sender_and_gateway_must_share_a_subnet() -> None:
    router = Router("10.9.0.0/16 via 10.4.0.9 dev eth0 onlink", shared_media=0)
    router.sysctls.set("net.ipv4.conf.all.shared_media", 0)
    assert not router.receives(INSIDE, "10.9.0.1").do_redirect
    router = Router("10.9.0.0/16 via 10.0.1.254", shared_media=0)
    router.sysctls.set("net.ipv4.conf.all.shared_media", 0)
    assert router.receives(INSIDE, "10.9.0.1").do_redirect


def test_the_log() -> None:
    router = Router(log_martians=1, rp_filter=1)
    assert router.receives("127.0.0.1", OWN).log == ("IPv4: martian source 10.0.1.1 from 127.0.0.1, on dev eth0",)
    assert router.receives(BEYOND, OWN).log == ("IPv4: martian source 10.0.1.1 from 10.0.2.7, on dev eth0",)
    assert router.receives(INSIDE, "127.0.0.1").log == ("IPv4: martian destination 127.0.0.1 from 10.0.1.7, dev eth0",)
    assert router.receives(INSIDE, "8.8.8.8").log == ()
    assert Router().receives("127.0.0.1", OWN).log == ()


def test_multicast_from_nowhere() -> None:
    router = Router()
    assert router.receives("0.0.0.0", "224.0.0.1").passes
    report = route_input(
        router.fib,
        router.sysctls,
        src=0,
        dst=parse_address("239.1.1.1"),
        iif="eth0",
        protocol=IGMP,
        groups=frozenset({parse_address("239.1.1.1")}),
    )
    assert report.passes


def test_a_route_of_type_multicast_forwards_nothing() -> None:
    decision = Router("multicast 10.9.0.0/16 dev eth1", log_martians=1).receives(INSIDE, "10.9.0.1")
    assert (decision.kind, decision.reason) == (InputKind.DROP, "IP_INVALID_DEST")
    assert decision.log


def test_unknown_interface() -> None:
    with pytest.raises(NetlabError, match="no interface 'eth9'"):
        Router().receives(INSIDE, OWN, "eth9")


def test_shows_itself() -> None:
    decision = Router().receives(INSIDE, BEYOND)
    assert str(decision).startswith("forward")
    assert "10.0.2.0/24" in decision._repr_html_()
    html = Router(rp_filter=1).receives(BEYOND, OWN)._repr_html_()
    assert "rp_filter=1: the way back to 10.0.2.7 is by eth1, not eth0" in html


words = st.sampled_from([OWN, INSIDE, BEYOND, STRANGER, "127.0.0.1", "10.0.2.1", "10.9.0.1", "240.0.0.1"])
settings = st.fixed_dictionaries({}, optional=dict.fromkeys(sorted(CONF), st.integers(0, 2)))


@given(words, words, settings)
def test_each_lock_only_ever_opens(src: str, dst: str, given_settings: dict[str, int]) -> None:
    """accept_local=1 and route_localnet=1 let more in, never less; a log line comes with a drop only."""
    closed = Router(**given_settings).receives(src, dst)
    opened = Router(**{**given_settings, "accept_local": 1, "route_localnet": 1}).receives(src, dst)
    if closed.passes:
        assert opened.passes
        assert not closed.log
    else:
        assert closed.lock
