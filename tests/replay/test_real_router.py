"""The simulated router against a real one: captures that were recorded on both of its sides.

Every frame that a real router let in by one interface goes into the simulated one, and what the simulated one sends is
compared byte by byte, from the IP header on, with what the real one sent.
"""

import pytest

from netlab import datasets
from netlab.addresses import parse_address
from netlab.packet import Icmp, Packet
from netlab.replay import Capture
from netlab.scenario import load
from netlab.simulate import build
from netlab.topology import Network

SCENES = ("web", "dns", "ping", "traceroute", "scan")
OWN = {"eth0": parse_address("10.0.1.1"), "eth1": parse_address("10.0.2.1")}
SIDE = {"eth0": "{}.pcap", "eth1": "{}.eth1.pcap"}
CLIENT, SERVER = parse_address("10.0.1.2"), parse_address("10.0.2.2")
FROM = {"eth0": CLIENT, "eth1": SERVER}
"""Who sends what comes in by an interface."""


@pytest.fixture
def net() -> Network:
    return build(load(datasets.path("captures/router.yaml")))


def recorded(scene: str, side: str) -> list[Packet]:
    """The packets that passed the real router's interface, in both directions."""
    capture = Capture(datasets.path(f"captures/{SIDE[side].format(scene)}"))
    return [Packet.from_bytes(frame.data) for frame in capture]


@pytest.mark.parametrize(("into", "by"), [("eth0", "eth1"), ("eth1", "eth0")])
@pytest.mark.parametrize("scene", SCENES)
def test_every_frame_comes_out_as_it_came_out_of_the_real_router(net: Network, scene: str, into: str, by: str) -> None:
    router = net.hosts["router"]
    arrived = [packet for packet in recorded(scene, into) if packet.saddr == FROM[into]]
    left = [packet.to_bytes() for packet in recorded(scene, by) if packet.saddr == FROM[into]]
    simulated = [
        frame.packet.to_bytes()
        for packet in arrived
        for frame in router.receive(into, packet).out
        if frame.dev == by and frame.packet.saddr == FROM[into]
    ]
    assert left
    assert simulated == left


def test_the_router_reports_expired_packets_as_the_real_one_did(net: Network) -> None:
    router = net.hosts["router"]
    frames = recorded("traceroute", "eth0")
    real = [packet for packet in frames if packet.saddr == OWN["eth0"]]
    simulated = [
        frame.packet
        for packet in frames
        if packet.saddr == CLIENT
        for frame in router.receive("eth0", packet).out
        if frame.dev == "eth0"
    ]
    assert len(real) == 5
    assert all(isinstance(packet.l4, Icmp) and packet.l4.type == 11 for packet in real)
    # The id of a packet that the kernel makes is its own choice; netlab has no opinion on it.
    assert [p.with_(ip_id=0) for p in simulated] == [p.with_(ip_id=0) for p in real]


def test_the_router_answers_a_ping_as_the_real_one_did(net: Network) -> None:
    router = net.hosts["router"]
    frames = recorded("ping", "eth0")
    (request,) = (packet for packet in frames if packet.daddr == OWN["eth0"])
    (real,) = (packet for packet in frames if packet.saddr == OWN["eth0"])
    (simulated,) = router.receive("eth0", request).out
    assert simulated.packet.with_(ip_id=0) == real.with_(ip_id=0)
