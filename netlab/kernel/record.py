"""From what the probes saw in one step to the step's record: packets numbered, hooks with their verdicts, in order.

The kernel has no numbers for packets, only buffers. A buffer keeps its identity from hook to hook, over `lo` and over
a veth into the next host; a packet that a host makes starts in LOCAL_OUT, always. What a host copies or cuts into
fragments is recognised by the header fields that a link does not change.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from netlab.kernel.listeners import Datagram
from netlab.kernel.outside import Frame
from netlab.kernel.probes import Event, Kind
from netlab.names import DropReason, Hook, Proto, Verdict, protocol_name
from netlab.packet import OFFSET, MalformedPacket, Packet, Tcp
from netlab.trace import UNKNOWN, Delivered, Dropped, Logged, Passed, Sent
from netlab.trace import Event as TraceEvent

Identity = tuple[int, int, int, int, int]
Bytes = tuple[int, int]  # of a datagram: the first, and the one behind the last

# The low bits of the connection tracking word (enum ip_conntrack_info); two numbers a state, one for each direction.
_STATES = {0: "ESTABLISHED", 1: "RELATED", 2: "NEW", 3: "ESTABLISHED", 4: "RELATED", 7: "UNTRACKED"}
_UNTRACKED = 7
_NO_FLOW = frozenset({1, 4})  # an error about a packet that is not tracked: related, but to no flow

# The second line about a martian tells the MAC addresses, which are the harness's own.
_LINK_HEADER = "ll header:"


def as_packet(data: bytes) -> Packet:
    """A packet from bytes of which the end may be missing (the probes see what lies in one piece of memory)."""
    header = data[:60].ljust(60, b"\0")
    length = max(20, (header[0] & 15) * 4)
    return Packet(
        saddr=int.from_bytes(header[12:16], "big"),
        daddr=int.from_bytes(header[16:20], "big"),
        proto=header[9],
        payload=data[length : max(length, int.from_bytes(header[2:4], "big"))],
        ttl=header[8],
        tos=header[1],
        ip_id=int.from_bytes(header[4:6], "big"),
        frag=int.from_bytes(header[6:8], "big"),
        options=data[20:length],
    )


def _identity(packet: Packet) -> Identity:
    """What copies and fragments have in common, and what a link does not change."""
    return packet.saddr, packet.daddr, packet.proto, packet.ip_id, packet.ttl


def _bytes(frag: int, length: int) -> Bytes:
    """Which bytes of a datagram one with this fragment field and length has, its header counted with them."""
    offset = (frag & OFFSET) * 8
    return offset, offset + length


def _whole(leaving: Mapping[Bytes, Passed], here: Bytes) -> tuple[Bytes, Passed] | None:
    """Of what has gone to an interface, that which a frame is, or is a piece of."""
    if here in leaving:
        return here, leaving[here]
    first, end = here
    # The last one has it where none seems to: a packet may have been changed on its way.
    around = [bytes_ for bytes_ in leaving if bytes_[0] <= first and end <= bytes_[1]] or list(leaving)[-1:]
    return (around[-1], leaving[around[-1]]) if around else None


@dataclass(slots=True)
class Recorder:
    """Turns the events of one step into the trace's.

    `hosts` names the namespaces by cookie, `devices` gives each host's interfaces by number, `listening` the sockets
    (like "tcp/80") by host, `peers` the other end (like "server:eth0") of interfaces on links, `tracked` the hosts that
    track connections whatever their rules say, `ruled` those with rules, which may switch that on. `undecided` is the
    verdict of a hook that a packet was neither seen to leave nor dropped in; `sees_states`: the events tell of
    connection tracking.
    """

    hosts: Mapping[int, str]
    devices: Mapping[str, Mapping[int, str]]
    listening: Mapping[str, frozenset[str]]
    peers: Mapping[tuple[str, str], str]
    tracked: frozenset[str]
    ruled: frozenset[str]
    undecided: str
    sees_states: bool = True
    events: list[TraceEvent] = field(default_factory=list)
    received: list[Datagram] = field(default_factory=list)
    _last: dict[int, Passed] = field(default_factory=dict)  # the hook a buffer was in last
    _tracks: dict[int, bool | None] = field(default_factory=dict)  # whether the host tracked when it came in there
    _met: set[int] = field(default_factory=set)  # the buffers that have been past conntrack there
    _waited: set[int] = field(default_factory=set)  # the buffers that programs had to answer for there
    _leaving: dict[tuple[str, str, Identity], dict[Bytes, Passed]] = field(default_factory=dict)  # by way out
    _gone: set[tuple[str, str, Identity, Bytes]] = field(default_factory=set)  # of those, what has been seen outside
    _flying: dict[tuple[Identity, int], int] = field(default_factory=dict)  # the numbers of those, by what they are
    _pieces: dict[tuple[Identity, int], int] = field(default_factory=dict)  # fragments that have a number
    _dropped: list[Passed] = field(default_factory=list)  # the hooks that dropped packets were in last
    _next: int = 0

    def add(self, events: Iterable[Event]) -> None:
        """Takes in what the probes saw."""
        for event in events:
            if event.kind is Kind.ENTERED:
                self._enter(event)
            elif event.kind is Kind.MET:
                self._met.add(event.skb)
            elif event.kind is Kind.LEFT:
                self._leave(event)
            elif event.kind is Kind.DROPPED:
                self._drop(event)
            elif not event.text.startswith(_LINK_HEADER):
                self._log(event.text)

    def add_frames(self, frames: Iterable[Frame]) -> None:
        """Takes in what left by interfaces; each frame stands in the record behind the POST_ROUTING it came through."""
        for host, dev, data in frames:
            packet = Packet.from_bytes(data)
            way, here = (host, dev, _identity(packet)), _bytes(packet.frag, packet.length)
            found = _whole(self._leaving.get(way, {}), here)
            if found is None and packet.is_fragment and (sender := self._way_of_rewritten(way, here)):
                way, found = sender, (here, self._leaving[sender][here])
                packet = packet.with_(ttl=way[2][-1])
            if found is None:
                number = self._new_number()
                self.events.append(Sent(number, host, dev, packet, None, self.peers.get((host, dev))))
                continue
            whole, passed = found
            self._gone.add((*way, whole))
            number = passed.number
            # One that is no fragment is whole, whatever its size: a helper may have changed that behind the last probe.
            if packet.is_fragment and (packet.frag != passed.packet.frag or here != whole):
                number = self._piece(packet)
            at = next(n for n, event in enumerate(self.events) if event is passed) + 1
            while at < len(self.events) and isinstance(self.events[at], Sent):
                at += 1
            self.events.insert(at, Sent(number, host, dev, packet, None, self.peers.get((host, dev))))

    def _way_of_rewritten(self, way: tuple[str, str, Identity], here: Bytes) -> tuple[str, str, Identity] | None:
        """Whence a fragment came in whose lifetime the receiver has lowered, in the same buffer, before it was read."""
        return next(
            (
                sender
                for sender, leaving in self._leaving.items()
                if (*sender[:2], *sender[2][:-1]) == (*way[:2], *way[2][:-1])
                and here in leaving
                and (*sender, here) not in self._gone
            ),
            None,
        )

    def queues_are_answered(self) -> None:
        """To be called before programs answer for what waits in queues: that has entered a hook and is there still."""
        self._waited.update(skb for skb, passed in self._last.items() if passed.verdict == self.undecided)

    def awaits(self, places: Container[tuple[str, str]]) -> bool:
        """Whether something is on its way out by one of these (host, interface) and neither left nor was dropped.

        So it is while the kernel asks who has the next hop's address.
        """
        dropped = {event.number for event in self.events if isinstance(event, Dropped)}
        return any(
            way[:2] in places and (*way, here) not in self._gone and passed.number not in dropped
            for way, leaving in self._leaving.items()
            for here, passed in leaving.items()
        )

    def _log(self, line: str) -> None:
        """A line of the kernel's log names no namespace: it belongs to the host that had a packet last."""
        last = next((event for event in reversed(self.events) if isinstance(event, Passed)), None)
        number, host = (last.number, last.host) if last else (0, next(iter(self.hosts.values())))
        self.events.append(Logged(number, host, line))

    def _new_number(self) -> int:
        self._next += 1
        return self._next - 1

    def _enter(self, event: Event) -> None:
        packet = as_packet(event.data)
        number = self._number(event, packet)
        host = self.hosts[event.namespace]
        devices = self.devices[host]
        passed = Passed(
            number,
            host,
            event.hook,
            devices.get(event.in_index),
            devices.get(event.out_index),
            packet,
            self.undecided,
            self._state(event) if event.tracking else None,
        )
        self._tracks[event.skb] = self._tracking(host) if event.tracks is None else event.tracks
        begins = event.hook in (Hook.PRE_ROUTING, Hook.LOCAL_OUT)
        if begins:
            self._waited.discard(event.skb)
        if begins and host in self.ruled:
            self._met.discard(event.skb)
        else:
            self._met.add(event.skb)
        self._last[event.skb] = passed
        self.events.append(passed)

    def _number(self, event: Event, packet: Packet) -> int:
        """A packet's number: an old one if the buffer, or failing that the packet, has been seen before."""
        if event.hook is Hook.PRE_ROUTING:
            number = self._flying.get((_identity(packet), packet.frag))
            if number is not None:
                return number
            if packet.is_fragment and self._next:
                return self._piece(packet)
        elif event.hook is not Hook.LOCAL_OUT:
            if last := self._last.get(event.skb):
                return last.number
            for passed in reversed(
                self._last.values()
            ):  # the host hears its own broadcast: a copy of it goes out first
                if passed.packet == packet:
                    return passed.number
        return self._new_number()

    def _piece(self, packet: Packet) -> int:
        key = _identity(packet), packet.frag
        if key not in self._pieces:
            self._pieces[key] = self._new_number()
        return self._pieces[key]

    def _leave(self, event: Event) -> None:
        passed = self._last[event.skb]
        passed.packet = as_packet(event.data)
        self._met.add(event.skb)
        passed.state = self._state(event)
        passed.verdict = Verdict.ACCEPT.name
        if passed.hook is Hook.POST_ROUTING and passed.dev_out:
            way = passed.host, passed.dev_out, _identity(passed.packet)
            here = _bytes(passed.packet.frag, int.from_bytes(event.data[2:4], "big"))
            self._leaving.setdefault(way, {})[here] = passed
            self._flying[_identity(passed.packet), passed.packet.frag] = passed.number

    def _tracking(self, host: str) -> bool | None:
        """Whether a host tracks connections, as far as the scenario says so."""
        return True if host in self.tracked else None if host in self.ruled else False

    def _state(self, event: Event) -> str | None:
        """What conntrack says of a packet now: of INVALID ones nothing is left to be seen but that they have met it."""
        tracks = self._tracks.get(event.skb, False)
        if not self.sees_states:
            return None if tracks is False else UNKNOWN
        if event.tracking in _NO_FLOW:
            return "INVALID"
        if event.tracking:
            return _STATES[event.tracking & 7]
        return UNKNOWN if tracks is None else "INVALID" if tracks else None

    def _state_when_dropped(self, event: Event, passed: Passed) -> str | None:
        """The same; in front of conntrack a packet has what it came with over `lo`, or what a rule said of it."""
        if event.skb in self._met:
            return self._state(event)
        untracked = event.tracking & 7 == _UNTRACKED
        return _STATES[_UNTRACKED] if untracked and passed.state is None else passed.state

    def _drop(self, event: Event) -> None:
        passed = self._last.get(event.skb)
        if passed:
            self._dropped.append(passed)
        if passed is None and event.namespace not in self.hosts:
            return
        host = passed.host if passed else self.hosts[event.namespace]
        if passed is not None:
            # Who cuts a packet up that came in pieces uses its buffer for the first of them.
            cut = as_packet(event.data).is_fragment and as_packet(event.data).frag != passed.packet.frag
            number = self._dropped_piece(host, event.data) if cut else passed.number
            if (verdict := self._verdict_of_drop(event, passed)) is not None:
                passed.packet, passed.state = as_packet(event.data), self._state_when_dropped(event, passed)
                passed.verdict = verdict
        elif self._was_kept(host, as_packet(event.data)):
            return
        else:
            number = self._dropped_piece(host, event.data)
        packet: Packet | None = as_packet(event.data)
        if passed is None:
            try:
                packet = Packet.from_bytes(event.data)
            except MalformedPacket:
                packet = None
        self.events.append(Dropped(number, host, event.text, packet))

    def _verdict_of_drop(self, event: Event, passed: Passed) -> str | None:
        """What a hook must have said of a packet that was dropped in it; None where it was dropped behind the hook."""
        if event.text == DropReason.NETFILTER_DROP:
            return Verdict.DROP.name
        if event.text != DropReason.NOT_SPECIFIED or passed.host not in self.ruled:
            return None
        # Conntrack confirms behind the last probe. What has waited it drops without a reason, as sockets do.
        waited = event.skb in self._waited
        if passed.verdict == self.undecided:
            return (Verdict.DROP if waited else Verdict.QUEUE).name
        return UNKNOWN if waited and passed.hook in (Hook.LOCAL_IN, Hook.POST_ROUTING) else None

    def _dropped_piece(self, host: str, data: bytes) -> int:
        """The number of what was never seen as a whole: a fragment made on the way out, or what no hook was shown."""
        packet = as_packet(data)
        if packet.is_fragment:
            for way, leaving in self._leaving.items():
                if way[0] == host and way[2] == _identity(packet):
                    found = _whole(leaving, _bytes(packet.frag, int.from_bytes(data[2:4], "big")))
                    if found:
                        self._gone.add((*way, found[0]))
                        return self._piece(packet)
        return self._new_number()

    def _was_kept(self, host: str, packet: Packet) -> bool:
        """Whether a listener's socket had this from an earlier step, and throws it away now with all else it kept."""
        socket = f"{protocol_name(packet.proto)}/{packet.dport}"
        flying = (_identity(packet), packet.frag) in self._flying
        return bool(self._next) and packet.proto == Proto.TCP and socket in self.listening.get(host, ()) and not flying

    def close(self) -> list[TraceEvent]:
        """The whole step, once nothing more can come, with what sockets have taken."""
        if self.undecided == UNKNOWN:
            self._doubt()
        out: list[TraceEvent] = []
        for event in self.events:
            out.append(event)
            if isinstance(event, Passed) and event.hook is Hook.LOCAL_IN and (socket := self._taker(event)):
                out.append(Delivered(event.number, event.host, socket, event.packet))
        return out

    def _doubt(self) -> None:
        """Who sees no drops does not know what conntrack, behind the last probe, has made of what never went out."""
        for way, leaving in self._leaving.items():
            if way[0] in self.tracked | self.ruled and way[1] != "lo":
                for here, passed in leaving.items():
                    if (*way, here) not in self._gone:
                        passed.verdict = UNKNOWN

    def _taker(self, passed: Passed) -> str | None:
        """The socket that took a packet: UDP's is asked; TCP's took what was not dropped, of SYNs what it answered."""
        packet = passed.packet
        socket = f"{protocol_name(packet.proto)}/{packet.dport}"
        if socket not in self.listening.get(passed.host, ()) or any(passed is one for one in self._dropped):
            return None
        if packet.proto == Proto.UDP:
            datagram = Datagram(passed.host, socket, packet.saddr, packet.sport or 0)
            if datagram not in self.received:
                return None
            self.received.remove(datagram)
        elif packet.flags == "S" and not any(_answers(event, passed) for event in self.events):
            return None
        return socket


def _answers(event: TraceEvent, passed: Passed) -> bool:
    """Whether this is the SYN-ACK that answers that SYN; NAT may have given back the sender's own address and port."""
    if not isinstance(event, Passed) or event.hook is not Hook.LOCAL_OUT or event.host != passed.host:
        return False
    answer, asked = event.packet.l4, passed.packet.l4
    if not isinstance(answer, Tcp) or not isinstance(asked, Tcp) or event.packet.flags != "SA":
        return False
    return (answer.sport, answer.ack) == (asked.dport, asked.seq + 1 & 0xFFFFFFFF)
