"""NAT on its hooks (nf_nat_core.c, nf_nat_proto.c).

PRE_ROUTING, LOCAL_OUT   -100  the destination: a rule chooses one for a new flow; that of answers is put back
LOCAL_IN, POST_ROUTING    100  the source, likewise

Only the first packet of a flow is shown to the rules, once for each end. What they choose stands in the entry from then
on, as the tuple of the answers: a packet is made to look like what answers that tuple. A flow for which no rule chose
anything is bound as well, to what it has; if answers to it would be taken for another flow's, its port changes even so.
"""

from collections.abc import Callable, Mapping
from html import escape
from random import Random
from typing import Final, NamedTuple

from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.expectations import Expectation
from netlab.conntrack.ftp import Announcement
from netlab.conntrack.seqadj import SequenceAdjustment
from netlab.conntrack.text import Line, line_of
from netlab.conntrack.track import Conntrack
from netlab.conntrack.tuples import Direction, FlowTuple, invert
from netlab.hooks import Answer, HookFunction, HookState, Registered, understood
from netlab.machine import Machine
from netlab.names import CtState, Hook, Priority, Proto, Verdict
from netlab.nat import ftp
from netlab.nat.choice import Choice
from netlab.nat.ranges import Manip, NatRange
from netlab.nat.translation import translate, translate_error
from netlab.packet import Packet
from netlab.skb import Skb
from netlab.trace import Logged

LOOPBACK: Final = 0x7F000001
REDIRECT: Final = 5


class Place(NamedTuple):
    """Where a function of NAT stands, which end it changes, and what the kernel calls it."""

    manip: Manip
    priority: int
    name: str


PLACES: Final = {
    Hook.PRE_ROUTING: Place(Manip.DESTINATION, Priority.NAT_DST, "nf_nat_ipv4_pre_routing"),
    Hook.LOCAL_IN: Place(Manip.SOURCE, Priority.NAT_SRC, "nf_nat_ipv4_local_in"),
    Hook.LOCAL_OUT: Place(Manip.DESTINATION, Priority.NAT_DST, "nf_nat_ipv4_local_fn"),
    Hook.POST_ROUTING: Place(Manip.SOURCE, Priority.NAT_SRC, "nf_nat_ipv4_out"),
}

# To look up a member of an enum takes ten times as long as a name of this module, and every packet comes this way.
_ACCEPT, _DROP, _RELATED, _NEW = Verdict.ACCEPT, Verdict.DROP, CtState.RELATED, CtState.NEW
_CONFIRMED: Final = int(Status.CONFIRMED)
_CHANGES: Final = {Manip.SOURCE: int(Status.SRC_NAT), Manip.DESTINATION: int(Status.DST_NAT)}
_DONE: Final = {Manip.SOURCE: int(Status.SRC_NAT_DONE), Manip.DESTINATION: int(Status.DST_NAT_DONE)}
# By direction: of an answer it is the other end that changes.
_CHANGED: Final = {
    Manip.SOURCE: (int(Status.SRC_NAT), int(Status.DST_NAT)),
    Manip.DESTINATION: (int(Status.DST_NAT), int(Status.SRC_NAT)),
}
_ANY_CHANGE: Final = Status.SRC_NAT | Status.DST_NAT
_ALL_DONE: Final = Status.SRC_NAT_DONE | Status.DST_NAT_DONE


class Nat:
    """The address translation of one host.

    Attributes:
        random: where a search for a free port begins; another generator makes other choices.
        told: says where it begins instead, for a flow with its new address and its old port; None: at random.
    """

    def __init__(self, host: Machine, tracker: Conntrack) -> None:
        self.host = host
        self.tracker = tracker
        self.random = Random(f"NAT of {host.name}")
        self.told: Callable[[FlowTuple, Manip], int | None] | None = None
        self._choice = Choice(tracker.table, lambda: tracker.now, self._somewhere)
        tracker.rewrite = self._rewrite

    # ---------------------------------------------------------------- what targets do

    def setup(self, skb: Skb, range: NatRange, manip: Manip) -> Verdict:
        """Bind one end of the packet's flow to something within the range: SNAT, DNAT, NETMAP (nf_nat_setup_info).

        The packet itself is translated behind the rules. A flow that was confirmed before is left as it is.
        """
        assert skb.ct is not None
        if range.netmap and range.addresses:
            first, last = range.addresses
            old = skb.packet.saddr if manip is Manip.SOURCE else skb.packet.daddr
            address = first | old & (first ^ last)
            range = range._replace(addresses=(address, address), netmap=False)
        return self.bind(skb.ct, range, manip)

    def masquerade(self, skb: Skb, range: NatRange, dev_out: str) -> Verdict:
        """Bind the source to the address that this host has towards the next hop (nf_nat_masquerade_ipv4)."""
        entry, packet = skb.ct, skb.packet
        assert entry is not None and skb.decision is not None
        if not entry.original.saddr:
            return _ACCEPT  # somebody asks for an address by DHCP
        next_hop = skb.decision.next_hop or packet.daddr
        localnet = self.host.sysctls.conf(dev_out).route_localnet
        address = self.host.fib.select_address(dev_out, next_hop, localnet=localnet)
        if not address:
            self.host.write(Logged(skb.number, self.host.name, f"{dev_out} ate my IP address"))
            return _DROP
        if not entry.status & _CONFIRMED:
            entry.masqueraded_by = dev_out
        return self.bind(entry, range._replace(addresses=(address, address)), Manip.SOURCE)

    def redirect(self, skb: Skb, range: NatRange, hook: Hook, dev_in: str | None) -> Verdict:
        """Bind the destination to this host itself: by the interface's first address, or 127.0.0.1 for what it sends.

        A packet that comes in by an interface without an address is dropped (nf_nat_redirect_ipv4).
        """
        assert skb.ct is not None
        if hook is Hook.LOCAL_OUT:
            address = LOOPBACK
        else:
            own = self.host.fib.addresses(dev_in) if dev_in else ()
            if not own:
                return _DROP
            address = own[0].address
        return self.bind(skb.ct, range._replace(addresses=(address, address)), Manip.DESTINATION)

    def bind(self, entry: Entry, range: NatRange, manip: Manip) -> Verdict:
        """Choose what one end of a new flow becomes, and have its answers known by that."""
        if entry.status & _CONFIRMED:
            return _ACCEPT
        if entry.status & _DONE[manip]:
            return _DROP
        current = invert(entry.reply)
        assert current is not None
        chosen = self._choice.choose(current, range, entry, manip)
        if chosen != current:
            answer = invert(chosen)
            assert answer is not None
            entry.reply = answer
            entry.status |= _CHANGES[manip]
            if entry.helper is not None and entry.sequence is None:
                entry.sequence = SequenceAdjustment()
        entry.status |= _DONE[manip]
        return _ACCEPT

    def _somewhere(self, flow: FlowTuple, manip: Manip, first: int) -> int:
        port = self.told(flow, manip) if self.told else None
        return self.random.getrandbits(16) if port is None else port - first

    # ---------------------------------------------------------------- on the hooks

    def attach(self, rules: Mapping[Hook, HookFunction]) -> list[Registered]:
        """Have packets translated from now on, as the first chain of a nat table does.

        `rules` are asked what to do with a flow's first packet, hook by hook: they answer ACCEPT when they have called
        `setup`, `masquerade` or `redirect`, or have nothing to say. Returns what `Host.unregister` takes. Without
        these functions the packets of translated flows pass as they are.
        """
        return [
            self.host.register(hook, self._function(hook, place.manip, rules.get(hook)), place.priority, place.name)
            for hook, place in PLACES.items()
        ]

    def _function(self, hook: Hook, manip: Manip, rules: HookFunction | None) -> HookFunction:
        done, changed, handle = _DONE[manip], _CHANGED[manip], self._handle
        last = hook is Hook.POST_ROUTING

        def nat(packet: Packet, state: HookState) -> Answer:
            skb = state.skb
            entry, direction = skb.ct, skb.direction
            if entry is None or direction is None:
                return _ACCEPT
            status = entry.status
            settled = status & done and not status & changed[direction] and skb.ctstate is not _RELATED
            if settled and not (last and entry.masqueraded_by):
                return _ACCEPT
            return handle(packet, state, manip, rules, entry, direction)

        return nat

    def _handle(
        self,
        packet: Packet,
        state: HookState,
        manip: Manip,
        rules: HookFunction | None,
        entry: Entry,
        direction: Direction,
    ) -> Answer:
        """Bind the flow if this is its first packet, and translate what is to be translated (nf_nat_inet_fn)."""
        ctstate = state.skb.ctstate
        if ctstate is _RELATED and packet.proto == Proto.ICMP:
            return _error_translated(packet, entry, direction, manip)
        if (ctstate is _NEW or ctstate is _RELATED) and not entry.status & _DONE[manip]:
            if rules is not None:
                reply = understood(rules(packet, state), packet, PLACES[state.hook].name)
                if reply.verdict is not _ACCEPT:
                    return reply
                packet = reply.packet
            if not entry.status & _DONE[manip]:
                self._bind_to_itself(entry, manip)
        elif entry.masqueraded_by is not None and _left_elsewhere(entry, state):
            entry.count(Direction.ORIGINAL, packet.length)
            self.tracker.delete(entry)
            return _DROP
        if not entry.status & _CHANGED[manip][direction]:
            return _ACCEPT, packet
        translated = translate(packet, _target(entry, direction), manip)
        return _DROP if translated is None else (_ACCEPT, translated)

    def _bind_to_itself(self, entry: Entry, manip: Manip) -> None:
        """No rule spoke: the address stays, and the port unless answers were mistaken (nf_nat_alloc_null_binding)."""
        address = entry.reply.daddr if manip is Manip.SOURCE else entry.reply.saddr
        self.bind(entry, NatRange((address, address)), manip)

    # ---------------------------------------------------------------- flows that a helper foresaw

    def _rewrite(self, packet: Packet, found: Announcement, wanted: Expectation) -> Packet | None:
        return ftp.rewrite(packet, found, wanted._replace(begun=self._follow), self.tracker, self.random)

    def _follow(self, entry: Entry, expected: Expectation) -> None:
        """Translate a foreseen flow as the one in which it was announced (nf_nat_follow_master)."""
        announcer = expected.master.tuple(expected.direction.other)
        self.bind(entry, NatRange((announcer.daddr, announcer.daddr)), Manip.SOURCE)
        port = expected.port
        self.bind(entry, NatRange((announcer.saddr, announcer.saddr), (port, port)), Manip.DESTINATION)

    # ---------------------------------------------------------------- showing it

    def lines(self) -> list[Line]:
        """The flows whose packets are changed, as `conntrack -L --any-nat` prints them."""
        now = self.tracker.now
        return [line_of(entry, now) for entry in self.tracker.table if entry.is_snat or entry.is_dnat]

    def __str__(self) -> str:
        return "\n".join(map(str, self.lines()))

    def __repr__(self) -> str:
        return f"<Nat of {self.host.name}: {len(self.lines())} flows translated>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self)) or 'no flow is translated'}</pre>"


def _error_translated(packet: Packet, entry: Entry, direction: Direction, manip: Manip) -> Answer:
    """An ICMP error about a flow's packet. A broken one is dropped, and a redirect that is no longer true."""
    status = entry.status
    if not packet.checksum_ok():
        return _DROP
    if packet.payload[0] == REDIRECT and (status & _ALL_DONE != _ALL_DONE or status & _ANY_CHANGE):
        return _DROP
    if not status & _CHANGED[manip][direction]:
        return _ACCEPT
    translated = translate_error(packet, entry.tuple(direction.other), _target(entry, direction), manip)
    return _DROP if translated is None else (_ACCEPT, translated)


def _target(entry: Entry, direction: Direction) -> FlowTuple:
    """What a packet of that direction is to look like: it is answered by the other direction's packets."""
    target = invert(entry.original if direction is Direction.REPLY else entry.reply)
    assert target is not None
    return target


def _left_elsewhere(entry: Entry, state: HookState) -> bool:
    """A masqueraded flow goes out by another interface than it did: the address it was given is wrong there."""
    return (
        state.hook is Hook.POST_ROUTING
        and state.skb.direction is Direction.ORIGINAL
        and state.dev_out != entry.masqueraded_by
    )
