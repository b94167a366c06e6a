"""Hosts and links, the clock they share, and frames that wait their turn."""

from collections.abc import Callable
from typing import Any

import pytest

from netlab.clock import Clock
from netlab.names import ACCEPT, Hook, NetlabError
from netlab.packet import Packet
from netlab.topology import Network
from netlab.trace import Trace


def network() -> Network:
    net = Network()
    net.host("client", {"eth0": "10.0.1.2/24"}, routes=["default via 10.0.1.1"])
    net.host("router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, sysctls={"net.ipv4.ip_forward": 1})
    net.host("server", {"eth0": "10.0.2.2/24"}, routes=["default via 10.0.2.1"], listen=["tcp/80"])
    net.link("client:eth0", "router:eth0")
    net.link("router:eth1", "server:eth0")
    return net


def test_a_handshake_through_a_router() -> None:
    net = network()
    connection = net.hosts["client"].sockets.connect("10.0.2.2", 80)
    assert connection.state == "ESTABLISHED"


def test_a_ping_through_a_router_hook_by_hook() -> None:
    net = network()
    trace = net.hosts["client"].sockets.ping("10.0.2.2")
    assert [(row.number, row.host, str(row.hook)) for row in trace.path] == [
        (0, "client", "LOCAL_OUT"), (0, "client", "POST_ROUTING"),
        (0, "router", "PRE_ROUTING"), (0, "router", "FORWARD"), (0, "router", "POST_ROUTING"),
        (0, "server", "PRE_ROUTING"), (0, "server", "LOCAL_IN"),
        (1, "server", "LOCAL_OUT"), (1, "server", "POST_ROUTING"),
        (1, "router", "PRE_ROUTING"), (1, "router", "FORWARD"), (1, "router", "POST_ROUTING"),
        (1, "client", "PRE_ROUTING"), (1, "client", "LOCAL_IN"),
    ]  # fmt: skip
    assert [(one.number, one.host) for one in trace.delivered] == [(1, "client")]


def test_the_clock_is_shared() -> None:
    net = network()
    trace = net.advance(31)
    assert (len(trace.steps), trace.steps[0].title) == (1, "advance 31 s")
    assert [host.wires.clock.now for host in net.hosts.values()] == [31.0] * 3
    assert repr(net.wires.clock) == "<Clock 31 s>"


def test_traces_of_two_steps_are_two_traces() -> None:
    net = network()
    first = net.hosts["client"].sockets.ping("10.0.2.2")
    length = len(list(first.events))
    second = net.hosts["client"].sockets.ping("10.0.2.2")
    assert len(list(first.events)) == length == len(list(second.events))
    assert {event.number for event in second.events} == {0, 1}  # numbers begin anew


def test_frames_that_go_round_for_ever_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netlab.wires.MAX_FRAMES", 500)
    net = Network()
    for one, other in (("1", "2"), ("2", "1")):
        host = net.host(f"r{one}", {"eth0": f"10.0.0.{one}/24"}, sysctls={"net.ipv4.ip_forward": 1},
                        routes=[f"default via 10.0.0.{other}"])  # fmt: skip
        host.register(Hook.FORWARD, lambda packet, state: (ACCEPT, packet.with_(ttl=64)))
    net.link("r1:eth0", "r2:eth0")
    net.wires.recording = False
    with pytest.raises(NetlabError, match="500 frames in one step: some packets go round and round"):
        net.hosts["r1"].receive("eth0", Packet.udp("10.0.0.9", "9.9.9.9", 1, 2))
    net.wires.recording = True
    assert len(net.advance(1).steps) == 1  # and the world goes on


MISTAKES: list[tuple[Callable[[Network], Any], str]] = [
    (lambda net: net.host("client"), "there is a host 'client' already"),
    (lambda net: net.host("a:b"), "'a:b' is no name for a host"),
    (lambda net: net.host([]), "[] is no name for a host"),  # type: ignore[arg-type]
    (lambda net: net.link("client:eth0", "server:eth0"), "client:eth0 is on a link already"),
    (lambda net: net.link("nobody:eth0", "server:eth0"),
     "unknown host 'nobody' (the hosts are client, router, server)"),
    (lambda net: net.link("client:eth7", "server:eth0"), "unknown interface 'eth7' of host client (it has eth0)"),
    (lambda net: net.link("client:lo", "server:eth0"), "unknown interface 'lo' of host client (it has eth0)"),
    (lambda net: net.link("client", "server"), "unknown interface '' of host client (it has eth0)"),
    (lambda net: net.link(5, "server:eth0"), "unknown host '5'"),  # type: ignore[arg-type]
    (lambda net: Network().link("a:b", "c:d"), "unknown host 'a' (the hosts are none yet)"),
    (lambda net: [net.host("x", {"eth0": "10.9.0.1/24"}), net.link("x:eth0", "x:eth0")],
     "x:eth0 cannot be linked to itself"),
    (lambda net: net.advance(-1), "advance: -1 seconds, a clock only moves forward"),
    (lambda net: net.advance(float("nan")), "advance: nan seconds"),
    (lambda net: net.advance(float("inf")), "advance: inf seconds"),
    (lambda net: net.advance("31"), "advance: '31' seconds"),  # type: ignore[arg-type]
    (lambda net: Clock().advance(None), "advance: None seconds"),  # type: ignore[arg-type]
]  # fmt: skip


@pytest.mark.parametrize(("mistake", "problem"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_one_line_and_changes_nothing(mistake: Callable[[Network], Any], problem: str) -> None:
    net = network()
    with pytest.raises(NetlabError) as refused:
        mistake(net)
    assert str(refused.value).startswith(problem)
    assert "\n" not in str(refused.value)
    assert net.wires.clock.now == 0
    assert net.links == [("client:eth0", "router:eth0"), ("router:eth1", "server:eth0")]
    assert isinstance(net.hosts["client"].sockets.ping("10.0.2.2"), Trace)


def test_a_network_shows_itself() -> None:
    assert repr(network()) == "<Network of client, router, server; 2 links>"
    assert repr(Network()) == "<Network of no hosts; 0 links>"
    net = network()
    net.host("<b>")
    html = net._repr_html_()
    assert "client:eth0" in html
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
