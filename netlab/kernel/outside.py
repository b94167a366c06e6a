"""The far ends of open interfaces: frames put in and read out by packet sockets in a namespace without addresses.

Sources: packet(7), veth(4).
"""

import socket
from functools import cache
from typing import Final, NamedTuple

from netlab.addresses import mac_address, outside_mac
from netlab.kernel.namespaces import Namespace
from netlab.kernel.netlink import enlarge

ETH_P_IP: Final = 0x0800
ETH_P_ALL: Final = 0x0003
PACKET_OUTGOING: Final = 4
SOL_PACKET: Final = 263
PACKET_IGNORE_OUTGOING: Final = 23
_LARGEST: Final = 1 << 17
_HEADER: Final = 14


class Port(NamedTuple):
    """An open interface: which host's, and the names and MACs of both ends."""

    host: str
    dev: str
    device: str
    near_mac: str
    far_mac: str


class Frame(NamedTuple):
    """A packet that left a host by an open interface, from the IP header on."""

    host: str
    dev: str
    data: bytes


class Outside:
    """The namespace beyond all open interfaces of a scenario."""

    def __init__(self, open_interfaces: list[tuple[str, str]]) -> None:
        self.namespace = Namespace()
        self.ports = [
            Port(host, dev, f"far{n}", mac_address(host, dev), outside_mac(host, dev))
            for n, (host, dev) in enumerate(open_interfaces)
        ]
        self._by_place = {(port.host, port.dev): port for port in self.ports}
        self._by_device = {port.device: port for port in self.ports}
        self._socket = packet_socket(self.namespace, ETH_P_IP)

    def send(self, host: str, dev: str, data: bytes) -> None:
        """Puts a packet into an open interface, addressed to the host alone, whatever the packet's destination."""
        port = self._by_place[host, dev]
        self._socket.sendto(ethernet(port.near_mac, port.far_mac, ETH_P_IP) + data, (port.device, 0))

    def frames(self) -> list[Frame]:
        """What left by open interfaces since the last call, in order."""
        frames: list[Frame] = []
        while True:
            try:
                data, place = self._socket.recvfrom(_LARGEST)
            except BlockingIOError:
                return frames
            port = self._by_device[place[0]]
            frames.append(Frame(port.host, port.dev, data[_HEADER:]))

    def close(self) -> None:
        """Closes everything that holds the namespace."""
        self._socket.close()
        self.namespace.close()


class Tap:
    """Sees what a host sends by an interface that is on a link."""

    def __init__(self, host: str, dev: str, namespace: Namespace) -> None:
        self._place = host, dev
        with namespace.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.bind((dev, ETH_P_ALL))
        enlarge(self._socket)
        self._socket.setblocking(False)

    def frames(self) -> list[Frame]:
        """The packets sent since the last call."""
        frames: list[Frame] = []
        while True:
            try:
                data, (_, ethertype, kind, _, _) = self._socket.recvfrom(_LARGEST)
            except BlockingIOError:
                return frames
            if kind == PACKET_OUTGOING and ethertype == ETH_P_IP:
                frames.append(Frame(*self._place, data[_HEADER:]))

    def close(self) -> None:
        """Closes it."""
        self._socket.close()


def packet_socket(namespace: Namespace, ethertype: int) -> socket.socket:
    """A socket that sees every frame of one type that arrives in a namespace, and can send any frame there."""
    with namespace.entered():
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
    made.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    enlarge(made)
    made.setblocking(False)
    return made


@cache
def ethernet(destination: str, source: str, ethertype: int) -> bytes:
    """An Ethernet header."""
    return bytes.fromhex((destination + source).replace(":", "")) + ethertype.to_bytes(2, "big")
