"""Programs that listen to queues (NFQUEUE) and answer every packet the same (nfnetlink_queue).

Sources: include/uapi/linux/netfilter/nfnetlink_queue.h, net/netfilter/nfnetlink_queue.c.
"""

import socket
import struct
from collections.abc import Mapping
from typing import Final

from netlab.hooks import MAX_REPEATS
from netlab.kernel.namespaces import Namespace
from netlab.kernel.netlink import NETLINK_NETFILTER, NetlinkSocket, attribute_of, attributes
from netlab.names import NetlabError, Verdict
from netlab.scenario import QueueAnswer

_SUBSYSTEM: Final = 3 << 8  # NFNL_SUBSYS_QUEUE
_PACKET, _VERDICT, _CONFIGURE = _SUBSYSTEM, _SUBSYSTEM | 1, _SUBSYSTEM | 2
_COMMAND, _PARAMETERS = 1, 2
_BIND: Final = 1
_COPY_NOTHING: Final = struct.pack(">IB", 0, 1)  # NFQNL_COPY_META: what is in the packet does not matter
_PACKET_HEADER, _VERDICT_HEADER, _MARK = 1, 2, 3
_NFGENMSG: Final = struct.Struct(">BBH")


class QueueListeners:
    """The listeners of one host."""

    def __init__(self, host: str, namespace: Namespace, queues: Mapping[int, QueueAnswer]) -> None:
        self._host = host
        self._queues = queues
        self._sockets = {number: NetlinkSocket(namespace, NETLINK_NETFILTER) for number in queues}
        bind = attribute_of(_COMMAND, struct.pack(">BxH", _BIND, socket.AF_INET))
        for number, one in self._sockets.items():
            head = _NFGENMSG.pack(socket.AF_INET, 0, number)
            one.request(_CONFIGURE, head + bind)
            one.request(_CONFIGURE, head + attribute_of(_PARAMETERS, _COPY_NOTHING))

    def serve(self) -> list[Verdict]:
        """Answers all packets that wait; gives what was answered.

        Raises:
            NetlabError: a packet comes round and round.
        """
        return [answer for number, one in self._sockets.items() for answer in self._serve(number, one)]

    def _serve(self, number: int, one: NetlinkSocket) -> list[Verdict]:
        answer = self._queues[number]
        head = _NFGENMSG.pack(socket.AF_INET, 0, number)
        mark = b"" if answer.mark is None else attribute_of(_MARK, struct.pack(">I", answer.mark))
        answered = 0
        for message in one.read():
            if message.type != _PACKET:
                continue
            answered += 1
            if answer.verdict is Verdict.REPEAT and answered > MAX_REPEATS:
                raise NetlabError(
                    f"host {self._host}: queue {number} answers {answer}, and the packet comes back every time: a rule "
                    "in front must let packets with the mark pass"
                )
            packet_id = attributes(message.payload[_NFGENMSG.size :])[_PACKET_HEADER][:4]
            verdict = attribute_of(_VERDICT_HEADER, struct.pack(">I", answer.verdict) + packet_id)
            one.send(_VERDICT, head + verdict + mark)
        return [answer.verdict] * answered

    def close(self) -> None:
        """Stops listening."""
        for one in self._sockets.values():
            one.close()
