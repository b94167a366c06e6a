"""Real sockets inside the namespaces: a UDP socket takes what comes, a TCP socket accepts, reads and closes."""

import contextlib
import socket
from typing import Final, NamedTuple

from netlab.addresses import parse_address
from netlab.kernel.namespaces import Namespace

_LARGEST: Final = 1 << 16
TCP_QUICKACK: Final = 12


class Datagram(NamedTuple):
    """What a UDP socket of a host received, told by its sender."""

    host: str
    socket: str
    saddr: int
    sport: int


class Listeners:
    """The sockets of one host, and the program that serves them."""

    def __init__(self, host: str, namespace: Namespace, listen: tuple[tuple[str, int], ...]) -> None:
        self._host = host
        self._udp: list[tuple[str, socket.socket]] = []
        self._tcp: list[socket.socket] = []
        self._accepted: list[socket.socket] = []
        with namespace.entered():
            for proto, port in listen:
                kind = socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM
                opened = socket.socket(socket.AF_INET, kind)
                opened.setblocking(False)
                opened.bind(("", port))
                if proto == "udp":
                    self._udp.append((f"udp/{port}", opened))
                else:
                    opened.listen(128)
                    self._tcp.append(opened)

    def serve(self) -> list[Datagram]:
        """Does what is to be done, without waiting; gives the datagrams that came."""
        received = []
        for name, one in self._udp:
            with contextlib.suppress(BlockingIOError):
                while True:
                    _, (address, port) = one.recvfrom(_LARGEST)
                    received.append(Datagram(self._host, name, parse_address(address), port))
        for one in self._tcp:
            with contextlib.suppress(BlockingIOError):
                while True:
                    connection, _ = one.accept()
                    connection.setblocking(False)
                    self._accepted.append(connection)
        self._accepted = [one for one in self._accepted if not self._finished(one)]
        return received

    @staticmethod
    def _finished(connection: socket.socket) -> bool:
        """Reads what is there; closes when the peer has closed, or reset."""
        try:
            while connection.recv(_LARGEST):
                # Acknowledge at once: a delayed acknowledgement would come in some later step.
                connection.setsockopt(socket.IPPROTO_TCP, TCP_QUICKACK, 1)
        except BlockingIOError:
            return False
        except ConnectionError:
            pass
        connection.close()
        return True

    def close(self) -> None:
        """Closes all sockets."""
        for one in (*self._tcp, *self._accepted, *(udp for _, udp in self._udp)):
            one.close()
