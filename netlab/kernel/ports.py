"""Ports that NAT chooses at random: which one the kernel took where the simulator took another.

Only what may differ is taken for such a choice. Where a source's port had to change, both worlds have left it, for
ports of the same class: below 512, below 1024, or above (nf_nat_l4proto_unique_tuple in net/netfilter/nf_nat_core.c).
Where the rules name a range, both have taken a port out of it; and what a rule names alone is no range. A pair that has
been seen once holds in both directions until a NEW packet takes a port again: then the flow that had it was lost before
it was confirmed, or is over. The entries compared at the end tell which flow has which.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from netlab.addresses import format_address
from netlab.conntrack.text import Line
from netlab.conntrack.tuples import FlowTuple
from netlab.names import PROTOCOL_NAMES, Proto
from netlab.packet import ICMP_QUERIES, OFFSET, MalformedPacket, Packet
from netlab.scenario import RunStep, Scenario

Row = Mapping[str, Any]

_RANGE = re.compile(r"--to-(?:source|destination) \S*?:(\d+)(?:-(\d+))?|--to-ports (\d+)(?:-(\d+))?")
_OF_SOURCE = re.compile(r"-j (SNAT|MASQUERADE)\b")
_AT_RANDOM = re.compile(r"--random\b")
_CONFIRMING: Final = frozenset({"LOCAL_IN", "POST_ROUTING"})
_CHECKSUM_AT: Final = {Proto.TCP: 16, Proto.UDP: 6, Proto.ICMP: 2}


class Flow(NamedTuple):
    """One direction of a flow. Of echoes both ports are their id."""

    proto: int
    src: str
    sport: int
    dst: str
    dport: int

    @property
    def reversed(self) -> "Flow":
        return Flow(self.proto, self.dst, self.dport, self.src, self.sport)

    @property
    def source(self) -> tuple[str, int]:
        """Who sends: the address and the port."""
        return self.src, self.sport


class Ports:
    """The flows of one scenario that have other ports in the kernel than in the simulator.

    `rules` is the text of all rules.
    """

    def __init__(self, rules: str) -> None:
        self._ranges = _ranges_in(rules)
        self._of_sources = _ranges_in("\n".join(line for line in rules.splitlines() if _OF_SOURCE.search(line)))
        self._at_random = _AT_RANDOM.search(rules) is not None
        self._simulated: dict[Flow, Flow] = {}
        self._real: dict[Flow, Flow] = {}
        self._differ = False
        self._ids: set[tuple[int, int]] = set()  # of echoes
        self._lost: dict[Flow, Flow] = {}  # what only a packet had that was lost in this step

    def __bool__(self) -> bool:
        """Whether any port has differed."""
        return self._differ

    def learn(self, simulated: Sequence[Row], real: Sequence[Row]) -> None:
        """Take note of the choices that the paths of one step show, in the simulator and in the kernel."""
        confirmed = {
            (row["packet"], row["host"])
            for row in simulated
            if row["hook"] in _CONFIRMING and row["verdict"] == "ACCEPT"
        }
        before: dict[tuple[int, str], Flow] = {}
        self._lost.clear()
        for mine, theirs in zip(simulated, real, strict=False):
            one, other = flow_of(mine), flow_of(theirs)
            if one is None or other is None or mine["hook"] != theirs["hook"]:
                continue
            place = mine["packet"], mine["host"]
            was = before.get(place)
            before[place] = one
            chosen = was is not None and was.source != one.source and mine["state"] == theirs["state"] == "NEW"
            if one != other and (self._simulated.get(other) == one or not self._may_differ(one, other, was)):
                continue
            self._differ |= one != other
            if place not in confirmed:
                self._lost[other] = one
                continue
            if chosen:
                self._forget(one, other)
            if one != other:
                self._pair(one, other)

    def _pair(self, one: Flow, other: Flow) -> None:
        if one in self._real or other in self._simulated:
            return
        # Where answers look like what they answer: what comes in is taken for an answer, what is seen first is none.
        ways = (one, other), (one.reversed, other.reversed)
        for mine, theirs in reversed(ways):
            self._real.setdefault(mine, theirs)
        for mine, theirs in ways:
            self._simulated.setdefault(theirs, mine)
        if one.proto == Proto.ICMP:
            self._ids.add((one.sport, other.sport))

    def _forget(self, one: Flow, other: Flow) -> None:
        for mine in (one, one.reversed):
            if gone := self._real.pop(mine, None):
                self._simulated.pop(gone, None)
        for theirs in (other, other.reversed):
            if stale := self._simulated.pop(theirs, None):
                self._real.pop(stale, None)

    def _may_differ(self, one: Flow, other: Flow, before: Flow | None) -> bool:
        if (one.proto, one.src, one.dst) != (other.proto, other.src, other.dst):
            return False
        was = before.sport if before else None
        if one.proto == Proto.ICMP:  # every id is as good as another
            if was is None:  # it stands for both ends, and so is seen as soon as either is translated
                return (one.sport, other.sport) in self._ids
            return self._at_random or was not in (one.sport, other.sport)
        return self._is_choice(one.sport, other.sport, was) and (
            one.dport == other.dport or self._from_a_range(one.dport, other.dport)
        )

    def _is_choice(self, mine: int, theirs: int, before: int | None) -> bool:
        """Whether a source's port may have become either of these."""
        if mine == theirs or self._from_a_range(mine, theirs):
            return True
        if before is None or any((mine in one) != (theirs in one) for one in self._of_sources):
            return False
        left = self._at_random or before not in (mine, theirs)
        return left and _class_of(mine) == _class_of(theirs) == _class_of(before)

    def _from_a_range(self, mine: int, theirs: int) -> bool:
        return any(mine in one and theirs in one for one in self._ranges)

    # ---------------------------------------------------------------- from one world to the other

    def simulated_rows(self, rows: Sequence[Row]) -> list[Row]:
        """Rows of the kernel's path with the simulator's ports."""
        return [self._simulated_row(row) for row in rows]

    def _simulated_flow(self, flow: Flow) -> Flow:
        return _other(flow, self._simulated, self._real)

    def _real_flow(self, flow: Flow) -> Flow:
        return _other(flow, self._real, self._simulated)

    def _simulated_row(self, row: Row) -> Row:
        flow = flow_of(row)
        if flow is None or (mine := self._lost.get(flow) or self._simulated_flow(flow)) == flow:
            return row
        changed = {"id": mine.sport} if flow.proto == Proto.ICMP else {"sport": mine.sport, "dport": mine.dport}
        return {**row, **changed}

    def simulated_packet(self, packet: Packet) -> Packet:
        """A packet of the kernel's with the simulator's ports, also in what it quotes."""
        return _translated(packet, self._simulated_flow)

    def real_frame(self, data: bytes) -> bytes:
        """A frame meant for the simulator with the kernel's ports; what is no packet stays as it is."""
        if not self:
            return data
        try:
            packet = Packet.from_bytes(data)
        except MalformedPacket:
            return data
        other = self.real_packet(packet)
        return data if other is packet else other.to_bytes()

    def real_packet(self, packet: Packet) -> Packet:
        """A packet meant for the simulator with the kernel's ports, also in what it quotes."""
        return _translated(packet, self._real_flow)

    def simulated_entry(self, line: Line) -> Line:
        """An entry of the kernel's with the simulator's ports."""
        sent = self._simulated_tuple(_turned(line.reply))
        return line.with_(original=self._simulated_tuple(line.original), reply=_turned(sent))

    def _simulated_tuple(self, flow: FlowTuple) -> FlowTuple:
        proto, icmp = flow.proto, flow.proto == Proto.ICMP
        src, dst = format_address(flow.saddr), format_address(flow.daddr)
        mine = self._simulated_flow(Flow(proto, src, flow.sport, dst, flow.sport if icmp else flow.dport))
        return flow._replace(sport=mine.sport) if icmp else flow._replace(sport=mine.sport, dport=mine.dport)


def _other(flow: Flow, there: Mapping[Flow, Flow], back: Mapping[Flow, Flow]) -> Flow:
    """The flow in the other world. One that stands where another stands there gets the place that is free for it."""
    if flow in there:
        return there[flow]
    while flow in back:
        flow = back[flow]
    return flow


def _turned(flow: FlowTuple) -> FlowTuple:
    """The tuple with its ends exchanged; what else there is stays as it is (of ICMP the id, type and code)."""
    flow = flow._replace(saddr=flow.daddr, daddr=flow.saddr)
    return flow if flow.proto == Proto.ICMP else flow._replace(sport=flow.dport, dport=flow.sport)


def rules_of(scenario: Scenario) -> str:
    """The text of all rules that there are, or will be."""
    commands = [step.command for step in scenario.steps if isinstance(step, RunStep)]
    return "\n".join([*(spec.iptables for spec in scenario.hosts.values()), *commands])


def _ranges_in(rules: str) -> list[range]:
    """The ports, of which each may be alone, that rules turn packets to."""
    found = [[int(number) for number in numbers if number] for numbers in _RANGE.findall(rules)]
    return [range(numbers[0], numbers[-1] + 1) for numbers in found]


def _class_of(port: int) -> int:
    return 0 if port < 512 else 1 if port < 1024 else 2


def flow_of(row: Row) -> Flow | None:
    """The flow of a row of a path; None where the packet shows none, as a fragment does not."""
    proto = PROTOCOL_NAMES.get(row["proto"], 0)
    if proto == Proto.ICMP:
        ports = (row["id"], row["id"]) if row.get("type") in ICMP_QUERIES else (None, None)
    else:
        ports = row["sport"], row["dport"]
    sport, dport = ports
    if sport is None or dport is None:
        return None
    return Flow(proto, row["src"], sport, row["dst"], dport)


def _translated(packet: Packet, other_of: Callable[[Flow], Flow]) -> Packet:
    """The packet with the ports that its flow has in the other world, and a checksum that is as right as it was."""
    if quoted := packet.quoted:
        inner = _translated(quoted, other_of)
        if inner is quoted:
            return packet
        message = packet.payload[:8] + inner.to_bytes()
        return packet._replace(payload=_adjusted(packet.payload, message, _CHECKSUM_AT[Proto.ICMP]))
    payload, icmp = packet.payload, packet.proto == Proto.ICMP
    if packet.frag & OFFSET or packet.proto not in _CHECKSUM_AT or len(payload) < 8:
        return packet
    if icmp and payload[0] not in ICMP_QUERIES:
        return packet
    ports = (payload[4:6], payload[4:6]) if icmp else (payload[:2], payload[2:4])
    sport, dport = (int.from_bytes(one, "big") for one in ports)
    flow = Flow(packet.proto, packet.src, sport, packet.dst, dport)
    if (other := other_of(flow)) == flow:
        return packet
    if icmp:
        changed = payload[:4] + other.sport.to_bytes(2, "big") + payload[6:]
    else:
        changed = other.sport.to_bytes(2, "big") + other.dport.to_bytes(2, "big") + payload[4:]
    return packet._replace(payload=_adjusted(payload, changed, _CHECKSUM_AT[Proto(packet.proto)]))


def _adjusted(before: bytes, after: bytes, at: int) -> bytes:
    """The changed payload, its checksum (which stands at `at`) changed by as much (RFC 1624)."""
    check = int.from_bytes(before[at : at + 2], "big")
    if len(after) < at + 2 or (at == _CHECKSUM_AT[Proto.UDP] and not check):
        return after  # quoted in part, or none was sent
    total = ~check & 0xFFFF
    for place in range(0, len(before) - 1, 2):
        old, new = (int.from_bytes(one[place : place + 2], "big") for one in (before, after))
        total += (~old & 0xFFFF) + new
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    check = ~total & 0xFFFF
    if at == _CHECKSUM_AT[Proto.UDP]:
        check = check or 0xFFFF
    return after[:at] + check.to_bytes(2, "big") + after[at + 2 :]
