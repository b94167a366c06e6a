"""Netlink messages as bytes: attributes read and written, a socket that fails loudly when it loses something.

Sources: netlink(7), include/uapi/linux/netlink.h, nfnetlink.h, net_namespace.h.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from netlab.kernel.namespaces import Namespace
from netlab.names import NetlabError

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
SOL_NETLINK: Final = 270
NETLINK_ADD_MEMBERSHIP, NETLINK_LISTEN_ALL_NSID = 1, 8
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
RTM_NEWNSID, RTM_GETROUTE = 88, 26
RTA_DST, RTA_PREFSRC = 1, 7
NETNSA_NSID, NETNSA_FD = 1, 3
SO_RCVBUFFORCE: Final = 33
_RECEIVE_BUFFER: Final = 64 << 20
_LARGEST: Final = 1 << 18
_HEADER: Final = struct.Struct("=IHHII")
_NESTED_BITS: Final = 0xC000


class LostEvents(NetlabError):
    """The kernel had more to tell than the buffer could hold, so the run cannot be trusted."""


class Message(NamedTuple):
    """One netlink message: its type, its payload, and the number of the namespace it came from (None: this one)."""

    type: int
    payload: bytes
    namespace: int | None


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes in these bytes by type; a nested one holds bytes to be read the same way."""
    found = {}
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            break
        found[kind & ~_NESTED_BITS] = data[at + 4 : at + length]
        at += length + 3 & ~3
    return found


def attribute(kind: int, value: int) -> bytes:
    """One attribute with a 32 bit number."""
    return struct.pack("=HHI", 8, kind, value)


def attribute_of(kind: int, value: bytes) -> bytes:
    """One attribute with these bytes, which may be attributes themselves."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def enlarge(one: socket.socket) -> None:
    """Gives a socket a large receive buffer; who is not root gets what net.core.rmem_max allows (socket(7))."""
    try:
        one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except PermissionError:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)


class NetlinkSocket:
    """A netlink socket that belongs to multicast groups, with `everywhere` those of all numbered namespaces."""

    def __init__(
        self, namespace: Namespace, protocol: int, groups: tuple[int, ...] = (), *, everywhere: bool = False
    ) -> None:
        with namespace.entered():
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._socket.bind((0, 0))
        enlarge(self._socket)
        if everywhere:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, 1)
        for group in groups:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)

    def send(self, kind: int, payload: bytes) -> None:
        """Tells the kernel something, and waits for no answer."""
        self._socket.send(_HEADER.pack(_HEADER.size + len(payload), kind, NLM_F_REQUEST, 1, 0) + payload)

    def dump(self, kind: int, payload: bytes) -> Iterator[bytes]:
        """Asks for everything of a kind: the payload of each answer.

        Raises:
            OSError: the kernel refused.
        """
        self._socket.send(_HEADER.pack(_HEADER.size + len(payload), kind, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + payload)
        for message in self.read():
            if message.type == NLMSG_DONE:
                return
            if message.type == NLMSG_ERROR:
                code = -struct.unpack_from("=i", message.payload)[0]
                raise OSError(code, errno.errorcode.get(code, str(code)))
            yield message.payload

    def read(self) -> Iterator[Message]:
        """The messages that are there.

        Raises:
            LostEvents: some were lost (ENOBUFS).
        """
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(_LARGEST, 64, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise LostEvents("netlink messages were lost") from None
                raise
            namespace = next((struct.unpack("=i", value)[0] for _, _, value in ancillary), None)
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, _, _, _ = _HEADER.unpack_from(data, at)
                yield Message(kind, data[at + _HEADER.size : at + length], namespace)
                at += length + 3 & ~3

    def request(self, kind: int, payload: bytes) -> bytes:
        """Asks for something, and waits for the answer: its payload.

        Raises:
            OSError: the kernel refused.
        """
        self._socket.send(_HEADER.pack(_HEADER.size + len(payload), kind, NLM_F_REQUEST | NLM_F_ACK, 1, 0) + payload)
        answer = b""
        while True:
            data = self._socket.recv(_LARGEST)
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, _, _, _ = _HEADER.unpack_from(data, at)
                body = data[at + _HEADER.size : at + length]
                at += length + 3 & ~3
                if kind != NLMSG_ERROR:
                    answer = body
                elif code := struct.unpack_from("=i", body)[0]:
                    raise OSError(-code, errno.errorcode.get(-code, str(-code)))
                else:
                    return answer

    def close(self) -> None:
        """Closes it."""
        self._socket.close()


def number_namespace(where: Namespace, namespace: Namespace, number: int) -> None:
    """Gives a namespace a number by which sockets in another one know it."""
    route = NetlinkSocket(where, NETLINK_ROUTE)
    payload = struct.pack("=B3x", 0) + attribute(NETNSA_NSID, number) + attribute(NETNSA_FD, namespace.fd)
    try:
        route.request(RTM_NEWNSID, payload)
    finally:
        route.close()


class Routes:
    """The routing of a namespace, asked as `ip route get` does it."""

    def __init__(self, namespace: Namespace) -> None:
        self._socket = NetlinkSocket(namespace, NETLINK_ROUTE)

    def preferred_source(self, destination: bytes) -> bytes:
        """The source address that a packet to this address gets, four bytes; none where there is no route."""
        question = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0)
        try:
            answer = self._socket.request(RTM_GETROUTE, question + struct.pack("=HH", 8, RTA_DST) + destination)
        except OSError:
            return b""
        return attributes(answer[len(question) :]).get(RTA_PREFSRC, b"")

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()
