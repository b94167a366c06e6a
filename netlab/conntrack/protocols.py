"""What each protocol's own rules say of a packet of a flow: is it sound, and how long does the flow live now?

Sources: nf_conntrack_proto_udp.c, _icmp.c, _gre.c, _generic.c; TCP's rules are in `netlab.conntrack.tcp`.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final

from netlab.conntrack import tcp, timeouts
from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.tcp_table import well_formed
from netlab.conntrack.tcp_track import Segment, Settings
from netlab.conntrack.timeouts import PREFIX
from netlab.conntrack.tuples import GRE, QUESTIONS, UDPLITE, Direction
from netlab.names import Hook, Proto
from netlab.packet import Icmp, Packet, Tcp, Udp, checksum, udplite_checksum_ok
from netlab.sysctls import Sysctls

HIGHEST_ICMP: Final = 18
ICMPV6: Final = 58
UDP_HEADER: Final = 8  # bytes, of UDP-Lite too
STREAM_AFTER: Final = 2  # seconds: UDP both ways for longer than that is a stream


class Outcome(Enum):
    """What the protocol's own rules say of a packet."""

    ACCEPT = "accept"
    PASS = "pass"
    """It passes, and is not believed: neither timeout nor counters move."""
    INVALID = "invalid"
    CLOSE = "close"
    """It passes, and the flow ends."""
    REPEAT = "repeat"
    """Its flow is of the past, and a new one may begin."""


# To look up a member of an enum takes six times as long as a name of this module, and every packet comes this way.
_ACCEPT, _INVALID = Outcome.ACCEPT, Outcome.INVALID
_PRE_ROUTING, _TCP, _UDP = Hook.PRE_ROUTING, Proto.TCP, Proto.UDP
_CHECKSUM: Final = f"{PREFIX}checksum"


class Protocols:
    """The protocols' rules, with one host's settings."""

    def __init__(self, sysctls: Sysctls) -> None:
        self._sysctls = sysctls
        self._settings: Settings | None = None
        self._settings_for = -1
        self._rules: dict[int, Callable[[Entry, Packet, Direction, Hook, float], Outcome]] = {
            _TCP: self._tcp, _UDP: self._udp, Proto.ICMP: self._icmp, UDPLITE: self._udplite, GRE: self._gre,
            ICMPV6: self._icmpv6,
        }  # fmt: skip

    def judge(self, entry: Entry, packet: Packet, direction: Direction, hook: Hook, now: float) -> Outcome:
        """Take one packet of a flow: move its state on, and set its timeout."""
        return self._rules.get(packet.proto, self._generic)(entry, packet, direction, hook, now)

    def icmp_is_sound(self, packet: Packet, hook: Hook) -> bool:
        """Whether an ICMP message is whole, of a known type, and came with a right checksum."""
        message = packet.l4
        return isinstance(message, Icmp) and message.type <= HIGHEST_ICMP and not self._checksum_is_wrong(packet, hook)

    def _tcp(self, entry: Entry, packet: Packet, direction: Direction, hook: Hook, now: float) -> Outcome:
        header = packet.l4
        if not isinstance(header, Tcp) or self._checksum_is_wrong(packet, hook) or not well_formed(header):
            return _INVALID
        segment = Segment(header)
        settings = self.tcp_settings()
        if not entry.status & Status.CONFIRMED:
            entry.protocol = tcp.begin(segment, settings)
            if entry.protocol is None:
                return _INVALID
        return _OUTCOME[tcp.judge(entry, segment, direction, settings, now)]

    def _udp(self, entry: Entry, packet: Packet, direction: Direction, hook: Hook, now: float) -> Outcome:
        datagram = packet.l4
        if not isinstance(datagram, Udp) or not UDP_HEADER <= datagram.length <= len(packet.payload):
            return _INVALID
        if self._checksum_is_wrong(packet, hook):
            return _INVALID
        if not entry.status & Status.CONFIRMED:
            entry.protocol = now + STREAM_AFTER
        if entry.status & Status.SEEN_REPLY and now > entry.protocol:
            entry.refresh(self._sysctls.get(timeouts.UDP_STREAM), now)
            entry.status |= Status.ASSURED
        else:
            entry.refresh(self._sysctls.get(timeouts.UDP), now)
        return _ACCEPT

    def _udplite(self, entry: Entry, packet: Packet, direction: Direction, hook: Hook, now: float) -> Outcome:
        if not self._is_sound_udplite(packet, hook):
            return _INVALID
        get = self._sysctls.get
        return _once_answered(entry, get(timeouts.UDP), get(timeouts.UDP_STREAM), now)

    def _is_sound_udplite(self, packet: Packet, hook: Hook) -> bool:
        """Whether UDP-Lite says how much its checksum covers, and the checksum is there, and right (RFC 3828).

        Right as the kernel reckons it, with UDP's number for its own in the pseudo header (udplite_error): a checksum
        as the RFC has it is wrong to the tracker.
        """
        if len(packet.payload) < UDP_HEADER:
            return False
        coverage = int.from_bytes(packet.payload[4:6], "big") or len(packet.payload)
        if not UDP_HEADER <= coverage <= len(packet.payload) or packet.payload[6:8] == bytes(2):
            return False
        return not self.checks(hook) or udplite_checksum_ok(packet._replace(proto=_UDP), coverage)

    def _gre(self, entry: Entry, packet: Packet, direction: Direction, hook: Hook, now: float) -> Outcome:
        if not entry.status & Status.CONFIRMED:  # the flow keeps the timeouts that it began with
            entry.protocol = self._sysctls.get(timeouts.GRE), self._sysctls.get(timeouts.GRE_STREAM)
        before, after = entry.protocol
        return _once_answered(entry, before, after, now)

    def _icmp(self, entry: Entry, packet: Packet, direction: Direction, hook: Hook, now: float) -> Outcome:
        if not entry.status & Status.CONFIRMED and packet.payload[0] not in QUESTIONS:
            return _INVALID
        entry.refresh(self._sysctls.get(timeouts.ICMP), now)
        return _ACCEPT

    def _icmpv6(self, entry: Entry, packet: Packet, direction: Direction, hook: Hook, now: float) -> Outcome:
        """ICMPv6 has no business in IPv4 (nf_conntrack_icmpv6_packet)."""
        return _INVALID

    def _generic(self, entry: Entry, packet: Packet, direction: Direction, hook: Hook, now: float) -> Outcome:
        entry.refresh(self._sysctls.get(timeouts.GENERIC), now)
        return _ACCEPT

    def _checksum_is_wrong(self, packet: Packet, hook: Hook) -> bool:
        return self.checks(hook) and not sums_up(packet)

    def checks(self, hook: Hook) -> bool:
        """Whether checksums are looked at: of what comes in, while nf_conntrack_checksum is on."""
        return hook is _PRE_ROUTING and bool(self._sysctls.get(_CHECKSUM))

    def tcp_settings(self) -> Settings:
        """What TCP's sysctls say now."""
        sysctls = self._sysctls
        if self._settings is None or self._settings_for != sysctls.version:
            lifetimes = {name: sysctls.get(sysctl) for name, sysctl in timeouts.TCP.items()}
            self._settings = Settings(
                lifetimes | {"SYN_SENT2": timeouts.SYN_SENT2},
                loose=sysctls.get(f"{PREFIX}tcp_loose"),
                liberal=sysctls.get(f"{PREFIX}tcp_be_liberal"),
                max_retrans=sysctls.get(f"{PREFIX}tcp_max_retrans"),
                ignore_invalid_rst=sysctls.get(f"{PREFIX}tcp_ignore_invalid_rst"),
                checksum=sysctls.get(_CHECKSUM),
            )
            self._settings_for = sysctls.version
        return self._settings


def sums_up(packet: Packet) -> bool:
    """Whether a whole packet's checksum is right as the tracker sums it (nf_ip_checksum).

    All that is there counts, also behind the end that UDP's header tells; a message of zeros alone, as some echo
    replies are, is right here, and to nobody else (RFC 1071).
    """
    data, proto = packet.payload, packet.proto
    if proto in (_TCP, _UDP):
        if proto == _UDP and data[6:8] == bytes(2):
            return True  # its sender left it out
        total = int.from_bytes(data, "big") % 0xFFFF << (len(data) & 1) * 8  # a last odd byte counts as a word's first
        return not (total + packet.saddr + packet.daddr + proto + len(data)) % 0xFFFF
    return not checksum(data) or not any(data)


def _once_answered(entry: Entry, before: int, after: int, now: float) -> Outcome:
    """The rule of UDP-Lite and GRE: a flow that was answered is ASSURED, and lives for another timeout."""
    if entry.status & Status.SEEN_REPLY:
        entry.refresh(after, now)
        entry.status |= Status.ASSURED
    else:
        entry.refresh(before, now)
    return _ACCEPT


_OUTCOME: Final = {
    tcp.Judgement.ACCEPT: _ACCEPT,
    tcp.Judgement.PASS: Outcome.PASS,
    tcp.Judgement.CLOSE: Outcome.CLOSE,
    tcp.Judgement.INVALID: _INVALID,
    tcp.Judgement.REOPEN: Outcome.REPEAT,
}
