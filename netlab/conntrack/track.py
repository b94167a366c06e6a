"""Connection tracking on its hooks: a packet meets its flow, and a new flow is confirmed last (nf_conntrack_core.c).

PRE_ROUTING, LOCAL_OUT   -400  fragments are put together
                         -200  the packet meets its flow, or begins one
LOCAL_IN, POST_ROUTING   last  a new flow enters the table: a packet dropped on the way leaves none
"""

from enum import Enum

from netlab.conntrack import tcp, timeouts
from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.table import ConntrackTable, direction_of
from netlab.conntrack.timeouts import PREFIX
from netlab.conntrack.tuples import GRE, QUESTIONS, UDPLITE, Direction, FlowTuple, invert, tuple_of
from netlab.hooks import HookState
from netlab.machine import Machine
from netlab.names import CtState, Hook, Proto, Verdict
from netlab.packet import ICMP_ERRORS, Icmp, Packet, Tcp, Udp, udplite_checksum_ok
from netlab.skb import Skb
from netlab.trace import Logged

HIGHEST_ICMP = 18
UDPLITE_HEADER = 8  # bytes
STREAM_AFTER = 2  # seconds: UDP both ways for longer than that is a stream


class Outcome(Enum):
    """What the protocol's own rules say of a packet."""

    ACCEPT = "accept"
    INVALID = "invalid"
    REPEAT = "repeat"


class Conntrack:
    """The tracker of one host."""

    def __init__(self, host: Machine) -> None:
        self.host = host
        self.table = ConntrackTable(host.sysctls.get(f"{PREFIX}buckets"))
        self._last_id = 0
        self._settings: tcp.Settings | None = None
        self._settings_for = -1

    # ---------------------------------------------------------------- hook functions

    def track(self, packet: Packet, state: HookState) -> Verdict:
        """The packet meets its flow (nf_conntrack_in)."""
        skb = state.skb
        if skb.ctstate is not None and (skb.ct is not None or skb.ctstate is CtState.UNTRACKED):
            return Verdict.ACCEPT  # it came over lo, and was met on its way out; or a rule said not to
        skb.ctstate = CtState.INVALID
        skb.summed = self._checks(state.hook)
        if packet.proto == Proto.ICMP:
            if not self._icmp_is_sound(packet, state.hook):
                return Verdict.ACCEPT
            message = packet.l4
            assert isinstance(message, Icmp)
            if message.type in ICMP_ERRORS:
                self._relate(packet, skb)
                return Verdict.ACCEPT
        flow = tuple_of(packet)
        if flow is None:
            return Verdict.ACCEPT
        for _ in range(2):  # the second time after an old entry made way for a new connection
            outcome = self._meet(flow, packet, skb, state.hook)
            if outcome is not Outcome.REPEAT:
                break
        if outcome is Outcome.INVALID:
            skb.ct, skb.ctstate = None, CtState.INVALID
        return Verdict.DROP if outcome is None else Verdict.ACCEPT

    def confirm(self, packet: Packet, state: HookState) -> Verdict:
        """A new flow enters the table (__nf_conntrack_confirm)."""
        entry = state.skb.ct
        if state.skb.direction is Direction.REPLY:
            return Verdict.ACCEPT  # an answer, or an error about a packet that got no further: neither begins a flow
        if entry is None or entry.status & (Status.CONFIRMED | Status.DYING):
            return Verdict.ACCEPT
        now = self.host.wires.clock.now
        if any(self.table.find(flow, now) for flow in (entry.original, entry.reply)):
            return Verdict.DROP  # somebody else took the tuple while this packet was on its way
        entry.status |= Status.CONFIRMED
        entry.expires += now
        self.table.insert(entry)
        return Verdict.ACCEPT

    # ---------------------------------------------------------------- a packet and its flow

    def _meet(self, flow: FlowTuple, packet: Packet, skb: Skb, hook: Hook) -> Outcome | None:
        """Find or begin the packet's flow, and let the protocol judge it; None: the table is full."""
        now = self.host.wires.clock.now
        entry = self.table.find(flow, now)
        if entry is None:
            reply = invert(flow)
            if reply is None:
                return Outcome.INVALID
            if not self._has_room(flow, skb, now):
                return None
            self._last_id += 1
            entry = Entry(flow, reply, self._last_id)
            direction = Direction.ORIGINAL
        else:
            direction = direction_of(entry, flow)
        skb.ct, skb.direction, skb.ctstate = entry, direction, ctstate_of(entry, direction)
        outcome = self._judge(entry, packet, direction, hook, now)
        if outcome is Outcome.ACCEPT and direction is Direction.REPLY:
            entry.status |= Status.SEEN_REPLY
        return outcome

    def _judge(self, entry: Entry, packet: Packet, direction: Direction, hook: Hook, now: float) -> Outcome:
        get = self.host.sysctls.get
        if packet.proto == Proto.TCP:
            return self._judge_tcp(entry, packet, direction, hook, now)
        if packet.proto == Proto.UDP:
            return self._judge_udp(entry, packet, hook, now)
        if packet.proto == Proto.ICMP:
            if not entry.status & Status.CONFIRMED and packet.payload[0] not in QUESTIONS:
                return Outcome.INVALID
            entry.refresh(get(timeouts.ICMP), now)
            return Outcome.ACCEPT
        if packet.proto == UDPLITE:
            if not self._is_sound_udplite(packet, hook):
                return Outcome.INVALID
            self._once_answered(entry, timeouts.UDP, timeouts.UDP_STREAM, now)
        elif packet.proto == GRE:
            self._once_answered(entry, timeouts.GRE, timeouts.GRE_STREAM, now)
        else:
            entry.refresh(get(timeouts.GENERIC), now)
        return Outcome.ACCEPT

    def _once_answered(self, entry: Entry, before: str, after: str, now: float) -> None:
        """The rule of UDP-Lite and GRE: a flow that was answered is ASSURED, and lives for another timeout."""
        if entry.status & Status.SEEN_REPLY:
            entry.refresh(self.host.sysctls.get(after), now)
            entry.status |= Status.ASSURED
        else:
            entry.refresh(self.host.sysctls.get(before), now)

    def _judge_tcp(self, entry: Entry, packet: Packet, direction: Direction, hook: Hook, now: float) -> Outcome:
        segment = packet.l4
        if not isinstance(segment, Tcp) or self._checksum_is_wrong(packet, hook) or not tcp.well_formed(segment):
            return Outcome.INVALID
        settings = self._tcp_settings()
        if not entry.status & Status.CONFIRMED:
            entry.protocol = tcp.begin(segment, settings)
            if entry.protocol is None:
                return Outcome.INVALID
        judgement = tcp.judge(entry, segment, direction, settings, now)
        if judgement in (tcp.Judgement.REOPEN, tcp.Judgement.CLOSE) and entry.status & Status.CONFIRMED:
            self.table.remove(entry)
        return _OUTCOME[judgement]

    def _judge_udp(self, entry: Entry, packet: Packet, hook: Hook, now: float) -> Outcome:
        datagram = packet.l4
        if not isinstance(datagram, Udp) or not 8 <= datagram.length <= len(packet.payload):
            return Outcome.INVALID
        if self._checksum_is_wrong(packet, hook):
            return Outcome.INVALID
        get = self.host.sysctls.get
        if not entry.status & Status.CONFIRMED:
            entry.protocol = now + STREAM_AFTER
        if entry.status & Status.SEEN_REPLY and now > entry.protocol:
            entry.refresh(get(timeouts.UDP_STREAM), now)
            entry.status |= Status.ASSURED
        else:
            entry.refresh(get(timeouts.UDP), now)
        return Outcome.ACCEPT

    def _is_sound_udplite(self, packet: Packet, hook: Hook) -> bool:
        """Whether UDP-Lite says how much its checksum covers, and the checksum is there, and right (RFC 3828).

        Right as the kernel reckons it, with UDP's number for its own in the pseudo header (udplite_error): a checksum
        as the RFC has it is wrong to the tracker.
        """
        if len(packet.payload) < UDPLITE_HEADER:
            return False
        coverage = int.from_bytes(packet.payload[4:6], "big") or len(packet.payload)
        if not UDPLITE_HEADER <= coverage <= len(packet.payload) or packet.payload[6:8] == bytes(2):
            return False
        return not self._checks(hook) or udplite_checksum_ok(packet._replace(proto=Proto.UDP), coverage)

    def _icmp_is_sound(self, packet: Packet, hook: Hook) -> bool:
        message = packet.l4
        if not isinstance(message, Icmp) or message.type > HIGHEST_ICMP:
            return False
        return not self._checksum_is_wrong(packet, hook)

    def _relate(self, packet: Packet, skb: Skb) -> None:
        """An ICMP error belongs to the flow of the packet it quotes (nf_conntrack_inet_error)."""
        quoted = packet.quoted
        inner = tuple_of(quoted) if quoted else None
        wanted = invert(inner) if inner else None
        entry = self.table.find(wanted, self.host.wires.clock.now) if wanted else None
        if entry is None or wanted is None:
            return
        direction = direction_of(entry, wanted)
        if packet.daddr != entry.tuple(direction).daddr:
            return  # it is addressed to somebody else than who sent the quoted packet
        skb.ct, skb.direction, skb.ctstate = entry, direction, CtState.RELATED

    def _checksum_is_wrong(self, packet: Packet, hook: Hook) -> bool:
        return self._checks(hook) and not packet.checksum_ok()

    def _checks(self, hook: Hook) -> bool:
        """Whether checksums are looked at: of what comes in, while nf_conntrack_checksum is on."""
        return hook is Hook.PRE_ROUTING and bool(self.host.sysctls.get(f"{PREFIX}checksum"))

    def _has_room(self, flow: FlowTuple, skb: Skb, now: float) -> bool:
        """Whether one more entry may be made; a full table first looks for one to give up."""
        if len(self.table) < self.host.sysctls.get(f"{PREFIX}max"):
            return True
        if self.table.early_drop(flow, now):
            return True
        self.host.write(Logged(skb.number, self.host.name, "nf_conntrack: nf_conntrack: table full, dropping packet"))
        return False

    def _tcp_settings(self) -> tcp.Settings:
        sysctls = self.host.sysctls
        if self._settings is None or self._settings_for != sysctls.version:
            lifetimes = {name: sysctls.get(sysctl) for name, sysctl in timeouts.TCP.items()}
            self._settings = tcp.Settings(
                lifetimes | {"SYN_SENT2": timeouts.SYN_SENT2},
                loose=sysctls.get(f"{PREFIX}tcp_loose"),
                liberal=sysctls.get(f"{PREFIX}tcp_be_liberal"),
                max_retrans=sysctls.get(f"{PREFIX}tcp_max_retrans"),
                ignore_invalid_rst=sysctls.get(f"{PREFIX}tcp_ignore_invalid_rst"),
            )
            self._settings_for = sysctls.version
        return self._settings


_OUTCOME = {
    tcp.Judgement.ACCEPT: Outcome.ACCEPT,
    tcp.Judgement.CLOSE: Outcome.ACCEPT,
    tcp.Judgement.INVALID: Outcome.INVALID,
    tcp.Judgement.REOPEN: Outcome.REPEAT,
}


def ctstate_of(entry: Entry, direction: Direction) -> CtState:
    """What rules see as `--ctstate` for a packet of that flow and direction."""
    if direction is Direction.REPLY or entry.status & Status.SEEN_REPLY:
        return CtState.ESTABLISHED
    return CtState.RELATED if entry.status & Status.EXPECTED else CtState.NEW
