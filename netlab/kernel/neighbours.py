"""Next hops that never answer: the kernel asks this program who has their address, and is told that nobody has.

Left to itself the kernel asks by ARP for three seconds, and which of several next hops it gives up first then hangs on
its timers. Here it turns to a program at once (net.ipv4.neigh.DEV.app_solicit, arp(7)), and the answer is to mark the
neighbour as failed. What waits for it is then given up by the same function that the timer calls (neigh_invalidate),
one next hop after the other in the order in which the kernel asked.

Sources: arp(7), rtnetlink(7), net/core/neighbour.c.
"""

import struct
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from netlab.kernel.namespaces import Namespace
from netlab.kernel.netlink import NETLINK_ROUTE, NetlinkSocket, attribute_of, attributes

# Sysctls under net.ipv4.neigh.DEV.
ASK_US: Final = {"app_solicit": 1}
TRUSTING: Final = {"base_reachable_time_ms": 3_600_000}  # who was heard of once is there as long as a scenario takes
_RTNLGRP_NEIGH: Final = 3
_RTM_NEWNEIGH, _RTM_GETNEIGH = 28, 30
_NDMSG: Final = struct.Struct("=BxxxiHBB")  # family, interface, state, flags, type
_NDA_DST: Final = 1
_NUD_FAILED: Final = 0x20
_AF_INET: Final = 2


class Question(NamedTuple):
    """A host, by number, wants the hardware address that a neighbour on an interface has."""

    host: int
    interface: int
    address: bytes


class Neighbours:
    """The questions of all hosts, in order, and the answer to each."""

    def __init__(self, listening: Namespace, hosts: Sequence[Namespace]) -> None:
        """`listening` knows the `hosts` by their place in the sequence (`number_namespace`)."""
        self._questions = NetlinkSocket(listening, NETLINK_ROUTE, (_RTNLGRP_NEIGH,), everywhere=True)
        self._routes = [NetlinkSocket(host, NETLINK_ROUTE) for host in hosts]
        self._waiting: deque[Question] = deque()

    def give_up(self) -> bool:
        """Tells the kernel that nobody has the address asked for first; False where nothing is asked.

        Raises:
            LostEvents: questions were lost.
        """
        for message in self._questions.read():
            if message.type == _RTM_GETNEIGH and message.namespace is not None:
                _, interface, *_ = _NDMSG.unpack_from(message.payload)
                found = attributes(message.payload[_NDMSG.size :])
                self._waiting.append(Question(message.namespace, interface, found[_NDA_DST]))
        if not self._waiting:
            return False
        asked = self._waiting.popleft()
        failed = _NDMSG.pack(_AF_INET, asked.interface, _NUD_FAILED, 0, 0)
        self._routes[asked.host].request(_RTM_NEWNEIGH, failed + attribute_of(_NDA_DST, asked.address))
        return True

    def close(self) -> None:
        """Closes its sockets."""
        for one in (self._questions, *self._routes):
            one.close()
