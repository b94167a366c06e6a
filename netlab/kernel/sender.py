"""A local process that sends whole packets of its own making: raw(7) with IP_HDRINCL.

What such a socket changes, and so does the simulator for `from:` packets: an id of 0 is filled in (unless DF is set),
so are total length and header checksum; the route is looked up by destination alone, whatever source the packet
claims; a packet longer than the MTU is refused with EMSGSIZE, not cut into fragments.
"""

import socket
import struct

from netlab.kernel.namespaces import Namespace
from netlab.kernel.netlink import Routes
from netlab.packet import Packet

IP_PKTINFO, IP_FREEBIND = 8, 15


class Sender:
    """The raw socket of one host."""

    def __init__(self, namespace: Namespace) -> None:
        self._routes = Routes(namespace)
        with namespace.entered():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        # The socket would also receive protocol 255, and so change what becomes of it: bound to an address that nobody
        # asks for, it does not. What it sends is not bound: see the control message.
        self._socket.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        self._socket.bind(("127.255.255.253", 0))

    def send(self, data: bytes) -> None:
        """Sends a packet.

        Raises:
            OSError: the system call failed, as it does for want of a route.
        """
        unbound = socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=iII", 0, 0, 0)
        self._socket.sendmsg([data], [unbound], 0, (socket.inet_ntoa(data[16:20]), 0))

    def with_source(self, data: bytes) -> bytes:
        """A packet without a source gets the route's preferred one, as from a process that asks first.

        The kernel would fill it in too, but leave the transport checksum as it is, which then is wrong.
        """
        if data[12:16] != bytes(4):
            return data
        source = self._routes.preferred_source(data[16:20])
        return Packet.from_bytes(data).with_(src=int.from_bytes(source, "big")).to_bytes() if source else data

    def close(self) -> None:
        """Closes it."""
        self._socket.close()
        self._routes.close()
