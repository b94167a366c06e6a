"""Frames of our own that cross every link: when they have arrived, so has everything sent before them.

A veth puts a frame into the backlog of the peer's CPU, where frames wait their turn: first in, first out (veth(4),
net/core/dev.c).
"""

import select
import socket
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from netlab.kernel.namespaces import Namespace
from netlab.kernel.outside import ethernet, packet_socket

ETH_P_MARKER: Final = 0x88B5  # IEEE 802 local experimental: no protocol stack answers it
_PATIENCE: Final = 5.0  # seconds for a marker that takes microseconds
_RETRY: Final = 0.002
_SMALLEST: Final = 60


class Plug(NamedTuple):
    """One end of a veth."""

    namespace: Namespace
    device: str
    mac: str


class _Crossing(NamedTuple):
    sender: socket.socket
    device: str
    header: bytes
    receiver: socket.socket


class Markers:
    """Sends a marker over every veth, both ways."""

    def __init__(self, pairs: Iterable[tuple[Plug, Plug]]) -> None:
        """Waits until every link carries frames: a new device takes a moment.

        Raises:
            RuntimeError: one never does.
        """
        self._sockets: dict[int, socket.socket] = {}
        self._number = 0
        self._crossings = [
            _Crossing(
                self._socket(near.namespace),
                near.device,
                ethernet(far.mac, near.mac, ETH_P_MARKER),
                self._socket(far.namespace),
            )
            for pair in pairs
            for near, far in (pair, pair[::-1])
        ]
        deadline = time.monotonic() + _PATIENCE
        for crossing in self._crossings:
            while not self._arrives(crossing, _RETRY):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the link of {crossing.device} carries no frames")

    def _socket(self, namespace: Namespace) -> socket.socket:
        if namespace.fd not in self._sockets:
            self._sockets[namespace.fd] = packet_socket(namespace, ETH_P_MARKER)
        return self._sockets[namespace.fd]

    def cross(self) -> None:
        """Waits until a marker has crossed every link both ways.

        Raises:
            RuntimeError: one did not arrive.
        """
        for crossing in self._crossings:
            if not self._arrives(crossing, _PATIENCE):
                raise RuntimeError(f"a marker frame did not cross the link of {crossing.device}")

    def _arrives(self, crossing: _Crossing, patience: float) -> bool:
        self._number += 1
        frame = crossing.header + self._number.to_bytes(8, "big")
        crossing.sender.sendto(frame, (crossing.device, 0))
        while True:
            try:
                if crossing.receiver.recv(_SMALLEST).startswith(frame):
                    return True
            except BlockingIOError:
                if not select.select([crossing.receiver], [], [], patience)[0]:
                    return False

    def close(self) -> None:
        """Closes its sockets."""
        for one in self._sockets.values():
            one.close()
