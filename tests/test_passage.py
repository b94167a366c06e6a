"""Ordinary packets, taken through in one piece, end as they do on the way through `ip_input` and `ip_output`."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.datasets import path
from netlab.hooks import Answer, HookState, queue_to
from netlab.host import Host
from netlab.names import Hook, NetlabError, Verdict
from netlab.packet import DF, MF, Packet
from netlab.passage import Passage
from netlab.replay import Capture
from netlab.topology import Network

RULES = """*mangle
:PREROUTING ACCEPT
:FORWARD ACCEPT
-A PREROUTING -p udp -m udp --dport 7 -j TTL --ttl-set 1
-A PREROUTING -p udp -m udp --dport 8 -j MARK --set-mark 1
-A FORWARD -p udp -m udp --dport 9 -j TOS --set-tos 0x10
COMMIT
*nat
:PREROUTING ACCEPT
:POSTROUTING ACCEPT
-A PREROUTING -p udp -m udp --dport 10 -j DNAT --to-destination 10.0.1.1:53
-A POSTROUTING -p tcp -j MASQUERADE
COMMIT
*filter
:FORWARD ACCEPT
-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A FORWARD -p udp -m udp --dport 11 -j REJECT
-A FORWARD -p udp -m udp --dport 12 -j DROP
-A FORWARD -p udp -m udp --dport 13 -j NFQUEUE --queue-num 1
COMMIT
"""
PORTS = range(7, 15)
HOSTS = ("10.0.1.1", "10.0.1.2", "10.0.1.9", "10.0.2.1", "10.0.2.2", "10.0.3.9", "10.9.9.9", "10.0.2.255", "127.0.0.1")
"""Ends on both links, the router's own, one that nobody has, one behind a gateway, one without a route."""


class Lab:
    """A router between two machines, which write down what comes out of it."""

    def __init__(self, rules: str) -> None:
        network = Network()
        sysctls = {"net.ipv4.ip_forward": 1, "net.netfilter.nf_conntrack_acct": 1}
        routes = ["10.0.3.0/24 via 10.0.2.2", "10.0.4.0/24 via 10.0.1.9"]
        interfaces = {"r0": "10.0.1.1/24", "r1": "10.0.2.1/24"}
        self.router = network.host("r", interfaces, sysctls=sysctls, routes=routes, iptables=rules, mtu={"r1": 1000})
        self.out: list[tuple[str, str, bytes]] = []
        self.seen: list[tuple[Hook, str | None, str | None, bytes]] = []
        for end, address in (("a", "10.0.1.2/24"), ("b", "10.0.2.2/24")):
            host = network.host(end, {"e0": address}, routes=[f"default via {address[:-4]}1"])
            host.register(Hook.PRE_ROUTING, self.writing(end))
        network.link("a:e0", "r:r0")
        network.link("b:e0", "r:r1")
        for hook in Hook:
            self.router.register(hook, self.look, -1000)
        self.network = network

    def writing(self, end: str) -> Callable[[Packet, HookState], Answer]:
        def write(packet: Packet, state: HookState) -> Answer:
            self.out.append((end, state.hook.name, packet.to_bytes()))
            return Verdict.ACCEPT

        return write

    def look(self, packet: Packet, state: HookState) -> Answer:
        """On every hook of the router; some packets it changes, queues or drops."""
        self.seen.append((state.hook, state.dev_in, state.dev_out, packet.to_bytes()))
        match packet.tos, state.hook:
            case 0x20, Hook.PRE_ROUTING:
                return Verdict.ACCEPT, packet.with_(dst="10.0.2.2")
            case 0x24, Hook.FORWARD:
                return Verdict.DROP
            case 0x28, Hook.FORWARD:
                return queue_to(5, bypass=True)
            case 0x2C, Hook.POST_ROUTING:
                return Verdict.ACCEPT, packet.with_(payload=bytes(1200))
            case 0x30, Hook.POST_ROUTING:
                raise ValueError("a mistake")
        return Verdict.ACCEPT


def journal(frames: list[tuple[str, bytes]], rules: str) -> Iterator[object]:
    """What came out, which hooks saw it, the rules' counters, and all entries."""
    lab = Lab(rules)
    router = lab.router
    router.wires.recording = False
    for dev, frame in frames:
        router.receive(dev, frame)
        router.wires.clock.advance(0.001)
        yield lab.out.copy(), lab.seen.copy()
        yield router.firewall.save(counters=True), str(router.conntrack)
    if router.conntrack:
        yield [str(event) for event in router.conntrack.events], router.conntrack.statistics


def both_ways(frames: list[tuple[str, bytes]], rules: str) -> int:
    """Hold the two against each other; how many packets were taken through in one piece."""
    taken, take = 0, Passage.take

    def counted(passage: Passage, dev: str, data: Packet | bytes) -> bool:
        nonlocal taken
        found = take(passage, dev, data)
        taken += found
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Passage, "take", counted)
        one = list(journal(frames, rules))
        patch.setattr(Passage, "take", lambda *_: False)
        other = list(journal(frames, rules))
    assert one == other
    return taken


@st.composite
def some_frames(draw: st.DrawFn) -> tuple[str, bytes]:
    """Mostly ordinary packets, each with something that may not be so."""
    header: dict[str, Any] = {
        "ttl": draw(st.sampled_from([64, 64, 2, 1, 0])),
        "tos": draw(st.sampled_from([0, 0, 0, 0x20, 0x24, 0x28, 0x2C, 0x30])),
        "options": draw(st.sampled_from([b"", b"", b"", b"\1\1\1\1", b"\7\7\4\0\0\0\0\0", b"\x94\4\0\0"])),
        "df": draw(st.booleans()),
    }
    ends = draw(st.sampled_from(HOSTS)), draw(st.sampled_from(HOSTS))
    payload = bytes(draw(st.sampled_from([0, 3, 100, 960, 1100])))
    port = draw(st.sampled_from(PORTS))
    packet = draw(
        st.sampled_from(
            [
                Packet.udp(*ends, 4000, port, payload, **header),
                Packet.tcp(*ends, 4000, port, "S", payload=payload, **header),
                Packet.icmp(*ends, payload=payload, **header),
            ]
        )
    )
    if draw(st.integers(0, 9)) == 0:
        packet = packet._replace(frag=draw(st.sampled_from([MF, DF | MF, 100])))
    data = packet.to_bytes()
    if draw(st.integers(0, 9)) == 0:  # bytes changed, or missing, or too many
        at = draw(st.integers(0, len(data) - 1))
        data = draw(st.sampled_from([data[:at] + b"\x42" + data[at + 1 :], data[:at], data + b"\0"]))
    return draw(st.sampled_from(["r0", "r1"])), data


@given(st.lists(some_frames(), min_size=1, max_size=8), st.sampled_from(["", RULES]))
def test_packets_of_all_kinds(frames: list[tuple[str, bytes]], rules: str) -> None:
    both_ways(frames, rules)


@pytest.mark.parametrize("rules", ["", RULES])
@pytest.mark.parametrize("name", ["web", "scan", "dns", "ping", "traceroute"])
def test_captures(name: str, rules: str) -> None:
    packets = [Packet.from_bytes(frame.data) for frame in Capture(path(f"captures/{name}.pcap"))]
    frames = [("r0" if packet.src.startswith("10.0.1.") else "r1", packet.to_bytes()) for packet in packets]
    assert both_ways(frames, rules) > len(frames) / 3


def test_an_interface_that_is_not_there_is_refused_as_ever() -> None:
    router = Host("r", {"r0": "10.0.1.1/24"})
    router.wires.recording = False
    with pytest.raises(NetlabError, match="unknown interface 'r9'"):
        router.receive("r9", Packet.udp("10.0.1.2", "10.0.2.2", 1, 2).to_bytes())
