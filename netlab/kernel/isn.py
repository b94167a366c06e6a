"""Initial sequence numbers: the simulator's are predictable, the kernel's are random.

A scenario's acknowledgements count from the number with which the simulator's listener would have begun. On the kernel
they are moved to count from the number that the real listener did begin with, so that a conversation can be written
down once for both worlds.
"""

from collections import Counter

from netlab.packet import MalformedPacket, Packet, Tcp
from netlab.sockets import initial_number

SYN, ACK = 2, 16
WRAP = 0xFFFFFFFF

Flow = tuple[str, int, int, int, int]


class InitialNumbers:
    """What the listeners of all hosts have begun with."""

    def __init__(self) -> None:
        self._real: dict[Flow, int] = {}
        self._assumed: dict[Flow, int] = {}
        self._begun: Counter[str] = Counter()

    def learn(self, host: str, packet: Packet) -> None:
        """Takes note of a SYN-ACK that left a host."""
        segment = packet.l4
        if not isinstance(segment, Tcp) or segment.flags & (SYN | ACK) != SYN | ACK:
            return
        flow = host, packet.daddr, segment.dport, packet.saddr, segment.sport
        if self._real.get(flow) != segment.seq:
            self._begun[host] += 1
            self._real[flow], self._assumed[flow] = segment.seq, initial_number(self._begun[host])

    def translate(self, host: str, data: bytes) -> bytes:
        """A packet for a host, its acknowledgement counted from the real number."""
        try:
            packet = Packet.from_bytes(data)
        except MalformedPacket:
            return data
        segment = packet.l4
        if not isinstance(segment, Tcp) or not segment.flags & ACK:
            return data
        flow = host, packet.saddr, segment.sport, packet.daddr, segment.dport
        if flow not in self._real:
            return data
        ack = segment.ack - self._assumed[flow] + self._real[flow] & WRAP
        return packet.with_(ack=ack).to_bytes()
