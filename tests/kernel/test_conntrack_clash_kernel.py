"""Two first packets of one flow, both on their way before either is confirmed: in the kernel, and in the simulator.

They meet in a queue: each has begun an entry at -200, then waits on FORWARD, and only what leaves POST_ROUTING is
confirmed.
"""

import re
import struct
import subprocess
from contextlib import closing
from typing import Any

import pytest

from netlab import QUEUE
from netlab.conntrack.text import parse_lines
from netlab.host import Host
from netlab.kernel.namespaces import KernelUnavailable, Namespace
from netlab.kernel.netlink import NETLINK_NETFILTER, NetlinkSocket, attributes
from netlab.kernel.network import Network
from netlab.names import Hook, Verdict
from netlab.packet import Packet, checksum
from netlab.scenario import from_dict
from netlab.trace import Sent
from tests.conftest import CI

pytestmark = [pytest.mark.kernel, pytest.mark.needs("ip", "nft", "conntrack", "iptables")]

C, S = "10.0.1.2", "10.0.2.2"
ROUTER: dict[str, Any] = {
    "interfaces": {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"},
    "sysctls": {"net.ipv4.ip_forward": 1, "net.netfilter.nf_conntrack_acct": 1},
}
Seen = tuple[list[list[str]], list[str], dict[str, int]]
"""The frames after each verdict, the entries at the end, and what `conntrack -S` counted."""


def lite() -> bytes:
    """A UDP-Lite header whose checksum is right to the tracker, which takes it for UDP's."""
    head = struct.pack(">HHHH", 4000, 53, 8, 0)
    pseudo = Packet.udp(C, S, 0, 0).to_bytes()[12:20] + struct.pack(">HH", 17, len(head))
    return head[:6] + checksum(pseudo + head).to_bytes(2, "big")


SYN = "eth0", Packet.tcp(C, S, 4000, 80, "S", seq=1)
PAIRS = {
    "UDP": [("eth0", Packet.udp(C, S, 4000, 53, "a")), ("eth0", Packet.udp(C, S, 4000, 53, "bb"))],
    "UDP from both sides": [("eth0", Packet.udp(C, S, 4000, 53)), ("eth1", Packet.udp(S, C, 53, 4000))],
    "TCP": [SYN, SYN],
    "TCP from both sides": [SYN, ("eth1", Packet.tcp(S, C, 80, 4000, "S", seq=9))],
    "ICMP": [("eth0", Packet.icmp(C, S, id=4, seq=1)), ("eth0", Packet.icmp(C, S, id=4, seq=2))],
    "ICMP from both sides": [("eth0", Packet.icmp(C, S, id=4)), ("eth1", Packet.icmp(S, C, id=4))],
    "GRE": [("eth0", Packet.ip(C, S, 47, bytes(8)))] * 2,
    "UDP-Lite": [("eth0", Packet.ip(C, S, 136, lite()))] * 2,
    "another protocol": [("eth0", Packet.ip(C, S, 99, "x"))] * 2,
    "another protocol from both sides": [("eth0", Packet.ip(C, S, 99)), ("eth1", Packet.ip(S, C, 99))],
}


class Queue:
    """A listener to queue 0 that answers when it is told to (nfnetlink_queue.h)."""

    SUBSYSTEM, PACKET, VERDICT, CONFIG = 3 << 8, 0, 1, 2

    def __init__(self, namespace: Namespace) -> None:
        self.socket = NetlinkSocket(namespace, NETLINK_NETFILTER)
        self.ask(self.CONFIG, struct.pack("=HHBxH", 8, 1, 1, 0))  # bind
        self.ask(self.CONFIG, struct.pack("=HH", 9, 2) + struct.pack(">IB3x", 0xFFFF, 2))  # copy whole packets

    def ask(self, kind: int, attribute: bytes) -> None:
        self.socket.request(self.SUBSYSTEM | kind, struct.pack(">BBH", 0, 0, 0) + attribute)

    def waiting(self) -> list[int]:
        messages = [one.payload for one in self.socket.read() if one.type == self.SUBSYSTEM | self.PACKET]
        return [struct.unpack_from(">I", attributes(payload[4:])[1])[0] for payload in messages]

    def accept(self, number: int) -> None:
        self.ask(self.VERDICT, struct.pack("=HH", 12, 2) + struct.pack(">II", Verdict.ACCEPT, number))


def counted(text: str) -> dict[str, int]:
    """The sums of all processors, without what is 0."""
    sums: dict[str, int] = {}
    for name, count in re.findall(r"(\w+)=(\d+)", text):
        sums[name] = sums.get(name, 0) + int(count)
    return {name: count for name, count in sums.items() if count and name != "cpu"}


def entries(text: str) -> list[str]:
    return sorted(str(line.with_(timeout=None)) for line in parse_lines(text))


def in_the_kernel(packets: list[tuple[str, Packet]], order: tuple[int, ...]) -> Seen:
    try:
        network = Network(from_dict({"hosts": {"r": ROUTER | {"conntrack": "on"}}, "steps": [{"advance": 0}]}))
    except KernelUnavailable as error:
        (pytest.fail if CI else pytest.skip)(str(error))
    with closing(network):
        namespace = network.machines["r"].namespace

        def run(*words: str) -> str:
            with namespace.entered():
                return subprocess.run(words, capture_output=True, text=True, check=True).stdout

        run("iptables", "-A", "FORWARD", "-j", "NFQUEUE", "--queue-num", "0")
        queue = Queue(namespace)
        for dev, packet in packets:
            network.outside.send("r", dev, packet.to_bytes())
        numbers = queue.waiting()
        assert len(numbers) == len(packets)
        frames = []
        for place in order:
            queue.accept(numbers[place])
            frames.append([str(Packet.from_bytes(frame.data)) for frame in network.outside.frames()])
        queue.socket.close()
        return frames, entries(run("conntrack", "-L")), counted(run("conntrack", "-S"))


def in_the_simulator(packets: list[tuple[str, Packet]], order: tuple[int, ...]) -> Seen:
    router = Host("r", ROUTER["interfaces"], sysctls=ROUTER["sysctls"], conntrack="on")
    router.register(Hook.FORWARD, lambda packet, state: QUEUE)
    waiting = router.queue(0).bind().waiting
    for dev, packet in packets:
        router.receive(dev, packet)
    queued = list(waiting)
    frames = []
    for place in order:
        trace = queued[place].answer(Verdict.ACCEPT)
        frames.append([str(event.packet) for event in trace.events if isinstance(event, Sent)])
    assert router.conntrack
    return frames, entries(str(router.conntrack)), counted(str(router.conntrack.statistics))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("pair", PAIRS)
def test_both_worlds_settle_it_alike(pair: str, order: tuple[int, ...]) -> None:
    assert in_the_simulator(PAIRS[pair], order) == in_the_kernel(PAIRS[pair], order)
