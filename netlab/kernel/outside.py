"""The far ends of open interfaces: frames put in and read out by packet sockets in a namespace without addresses.

Sources: packet(7), veth(4). A veth hands a frame to its peer within the sender's own system call and in order, so a
marker frame that has crossed tells that everything sent before it has been worked off.
"""

import select
import socket
from collections.abc import Mapping
from typing import Final, NamedTuple

from netlab.kernel.namespaces import Namespace
from netlab.kernel.netlink import enlarge

ETH_P_IP: Final = 0x0800
ETH_P_MARKER: Final = 0x88B5  # IEEE 802 local experimental: no protocol stack answers it
ETH_P_ALL: Final = 0x0003
PACKET_OUTGOING: Final = 4
SOL_PACKET: Final = 263
PACKET_IGNORE_OUTGOING: Final = 23
_LARGEST: Final = 1 << 17
_HEADER: Final = 14
_PATIENCE: Final = 5.0  # seconds for a marker that takes microseconds


class Port(NamedTuple):
    """An open interface: which host's, and the names and MACs of both ends."""

    host: str
    dev: str
    device: str
    near_mac: str
    far_mac: str

    def frame(self, ethertype: int, payload: bytes) -> bytes:
        """An Ethernet frame to the host's end. It is addressed to the host alone, whatever the packet's destination."""
        macs = self.near_mac + self.far_mac
        return bytes.fromhex(macs.replace(":", "")) + ethertype.to_bytes(2, "big") + payload


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
            Port(
                host,
                dev,
                f"far{n}",
                f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}",
                f"02:00:00:ff:{n >> 8:02x}:{n & 255:02x}",
            )
            for n, (host, dev) in enumerate(open_interfaces)
        ]
        self._by_place = {(port.host, port.dev): port for port in self.ports}
        self._by_device = {port.device: port for port in self.ports}
        self._markers: dict[str, socket.socket] = {}

    def attach(self, hosts: Mapping[str, Namespace]) -> None:
        """Opens the sockets, once all devices exist."""
        self._socket = _packet_socket(self.namespace, ETH_P_IP)
        self._marker = _packet_socket(self.namespace, ETH_P_MARKER)
        for host in {port.host for port in self.ports}:
            self._markers[host] = _packet_socket(hosts[host], ETH_P_MARKER)

    def send(self, host: str, dev: str, data: bytes) -> None:
        """Puts a packet into an open interface."""
        port = self._by_place[host, dev]
        self._socket.sendto(port.frame(ETH_P_IP, data), (port.device, 0))

    def frames(self) -> list[Frame]:
        """What left by open interfaces since the last call, in order."""
        frames = []
        while True:
            try:
                data, place = self._socket.recvfrom(_LARGEST)
            except BlockingIOError:
                return frames
            port = self._by_device[place[0]]
            frames.append(Frame(port.host, port.dev, data[_HEADER:]))

    def settle(self) -> None:
        """Waits until a marker has crossed every open interface in both directions.

        Raises:
            RuntimeError: a marker did not arrive.
        """
        for port in self.ports:
            self._marker.sendto(port.frame(ETH_P_MARKER, b"in"), (port.device, 0))
        for host, here in self._markers.items():
            for port in self.ports:
                if port.host == host:
                    _receive(here)
                    here.sendto(port.frame(ETH_P_MARKER, b"out"), (port.dev, 0))
        for _ in self.ports:
            _receive(self._marker)

    def close(self) -> None:
        """Closes everything that holds the namespace."""
        for one in (self._socket, self._marker, *self._markers.values()):
            one.close()
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
        frames = []
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


def _packet_socket(namespace: Namespace, ethertype: int) -> socket.socket:
    """A socket that sees every frame of one type that arrives in a namespace, and can send any frame there."""
    with namespace.entered():
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
    made.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    enlarge(made)
    made.setblocking(False)
    return made


def _receive(marker: socket.socket) -> None:
    try:
        marker.recv(_LARGEST)
    except BlockingIOError:
        if not select.select([marker], [], [], _PATIENCE)[0]:
            raise RuntimeError(
                "a marker frame did not cross its link: the namespace's links are not up"
            ) from None
        marker.recv(_LARGEST)
