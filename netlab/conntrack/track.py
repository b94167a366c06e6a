"""Connection tracking on its hooks: a packet meets its flow, and a new flow is confirmed last (nf_conntrack_core.c).

PRE_ROUTING, LOCAL_OUT   -400  fragments are put together
                         -300  a rule may choose a helper for the flow that this packet begins
                         -200  the packet meets its flow, or begins one
LOCAL_IN, POST_ROUTING   last  its helper reads it; a new flow enters the table: a packet dropped on the way leaves none
"""

from collections import deque
from collections.abc import Callable
from html import escape
from random import Random
from typing import TYPE_CHECKING, Final

from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.events import KEPT, Event, Kind, Statistics
from netlab.conntrack.expectations import LIFETIME, Expectation, ExpectationKey, Expectations
from netlab.conntrack.ftp import HELPERS, Announcement, Partial
from netlab.conntrack.ordinary import Ordinary
from netlab.conntrack.protocols import Outcome, Protocols
from netlab.conntrack.table import ConntrackTable, direction_of
from netlab.conntrack.tcp_track import Mark, TcpTrack
from netlab.conntrack.text import Line, frame, line_of
from netlab.conntrack.timeouts import PREFIX, TCP
from netlab.conntrack.tuples import Direction, FlowTuple, invert, tuple_of
from netlab.conntrack.unread import UNREAD, Unread
from netlab.hooks import HookFunction, HookState
from netlab.machine import Machine
from netlab.names import CtState, Hook, Proto, TcpState, Verdict
from netlab.packet import ICMP_ERRORS, Icmp, Packet, Tcp
from netlab.skb import Skb
from netlab.trace import Logged

if TYPE_CHECKING:
    import pandas

CHAIN_LIMITS: Final = 51, 81
"""Tuples: a chain that is longer than a number drawn from these takes no more; each new flow draws anew."""
EXCLUSIVE: Final = (Proto.TCP, Proto.ICMP)
"""Of these protocols two flows never share a tuple: what comes second is lost."""
_ACCT, _MAX, _BUCKETS = f"{PREFIX}acct", f"{PREFIX}max", f"{PREFIX}buckets"
NAT_DONE: Final = Status.SRC_NAT_DONE | Status.DST_NAT_DONE


# To look up a member of an enum takes six times as long as a name of this module, and every packet comes this way.
_REPEAT, _INVALID, _PASS, _CLOSE = Outcome.REPEAT, Outcome.INVALID, Outcome.PASS, Outcome.CLOSE
_ACCEPT, _DROP, _ICMP = Verdict.ACCEPT, Verdict.DROP, Proto.ICMP
_INVALID_STATE, _UNTRACKED, _ESTABLISHED = CtState.INVALID, CtState.UNTRACKED, CtState.ESTABLISHED
_NEW, _RELATED = CtState.NEW, CtState.RELATED
_ORIGINAL, _REPLY = Direction.ORIGINAL, Direction.REPLY
_SETTLED = Status.CONFIRMED | Status.DYING


class Conntrack:
    """The tracker of one host.

    Attributes:
        table: the confirmed flows.
        expectations: the flows foreseen.
        statistics: what `conntrack -S` counts.
        events: the latest, as `conntrack -E` tells them.
        expectation_events: likewise, as `conntrack -E expect` does: when, what, of which.
        track: the hook function with which a packet meets its flow (nf_conntrack_in).
        rewrite: changes an announcement where addresses are translated, and foresees what it then announces; None in
            its answer: the packet is dropped. It is NAT that puts it there (nf_nat_ftp_hook).
    """

    def __init__(self, host: Machine) -> None:
        self.host = host
        self.table = ConntrackTable(host.sysctls.get(_BUCKETS), self._gone)
        self.expectations = Expectations(self._tell_of_expectation)
        self.expectation_events: deque[tuple[float, str, Expectation]] = deque(maxlen=KEPT)
        self.statistics = Statistics()
        self.events: deque[Event] = deque(maxlen=KEPT)
        self._protocols = Protocols(host.sysctls)
        self.rewrite: Callable[[Packet, Announcement, Expectation], Packet | None] | None = None
        self._untold: set[Entry] = set()  # changed, and no listener was told yet
        ordinary = Ordinary(self.table, self._protocols, host.sysctls, host.wires.clock, self._untold, self._track)
        self.track: HookFunction = ordinary.track
        self._last_id = 0
        self._random = Random(host.name)
        self._by = ""

    @property
    def now(self) -> float:
        """Seconds of the host's clock."""
        return self.host.wires.clock.now

    # ---------------------------------------------------------------- hook functions

    def _track(self, packet: Packet, state: HookState) -> Verdict:
        """What `track` does with all packets but the ordinary segments of known flows."""
        skb = state.skb
        if skb.ctstate is not None and (skb.ct is not None or skb.ctstate is _UNTRACKED):
            return _ACCEPT  # it came over lo, and was met on its way out; or a rule said not to
        skb.ctstate = _INVALID_STATE
        skb.about_untracked = skb.about_untracked and packet.proto == _ICMP  # of an error it is not forgotten
        skb.summed = self._protocols.checks(state.hook)
        if packet.proto == _ICMP and (verdict := self._look_at_icmp(packet, skb, state.hook)) is not None:
            return verdict
        flow = tuple_of(packet)
        outcome: Outcome | None = _INVALID
        if flow is not None:
            outcome = self._meet(flow, packet, skb, state.hook)
            if outcome is _REPEAT:  # an old entry made way for a new connection
                outcome = self._meet(flow, packet, skb, state.hook)
        if outcome is _INVALID:
            self.statistics.invalid += 1
            skb.ct, skb.ctstate = None, _INVALID_STATE
        return _DROP if outcome is None else _ACCEPT

    def confirm(self, packet: Packet, state: HookState) -> Verdict | tuple[Verdict, Packet]:
        """The helper reads the packet, a new flow enters the table, listeners are told (nf_confirm)."""
        skb = state.skb
        entry = skb.ct
        if entry is None:
            return _ACCEPT
        if entry.helper is None and entry.sequence is None:
            settled = entry.status & _SETTLED and entry not in self._untold
            return _ACCEPT if settled else self._confirm(entry, skb)
        helped = self._help(packet, entry, state)
        return _DROP if helped is None else (self._confirm(entry, skb), helped)

    def _confirm(self, entry: Entry, skb: Skb) -> Verdict:
        """Enter a new flow into the table; tell of one that changed."""
        if not entry.status & _SETTLED:
            if skb.direction is _REPLY:
                return _ACCEPT  # an error about a packet that got no further: it begins no flow
            return self._insert(entry, skb)
        if entry in self._untold:
            self._untold.discard(entry)
            self._tell(Kind.UPDATE, entry)
        return _ACCEPT

    # ---------------------------------------------------------------- what a user sees and does

    def resume(self) -> None:
        """Tracking begins, maybe again: what passed since is not known, so no window is too small (nf_ct_tcp_fixup)."""
        for entry in self.table:
            if isinstance(entry.protocol, TcpTrack):
                for side in (entry.protocol.original, entry.protocol.reply):
                    side.marks |= Mark.LIBERAL

    def collect(self) -> list[Entry]:
        """Forget all that is late: what the kernel's garbage collection does now and then. Returns the entries."""
        self.expectations.living(self.now)
        return self.table.expire(self.now)

    def lines(self) -> list[Line]:
        """The living entries, as `conntrack -L` prints them."""
        self.collect()
        users: dict[Entry, int] = {}
        for entry in self.table:
            if entry.master:
                users[entry.master] = users.get(entry.master, 1) + 1
        return [line_of(entry, self.now, use=users.get(entry, 1)) for entry in self.table]

    def frame(self) -> "pandas.DataFrame":
        """The living entries as a pandas frame."""
        return frame(self.lines())

    def delete(self, entry: Entry, by: str = "") -> None:
        """Forget an entry, as `conntrack -D` has it done; `by` says for whom."""
        self._by = by
        self.table.remove(entry)
        self._by = ""

    def set_mark(self, entry: Entry, mark: int, by: str = "") -> None:
        """Write the entry's mark, as `conntrack -U` and the target CONNMARK do."""
        entry.mark = mark
        self._tell(Kind.UPDATE, entry, by)

    def set_closing(self, entry: Entry) -> None:
        """A reset is sent in the flow's name: what of it still comes, comes late (nf_conntrack_tcp_set_closing)."""
        track = entry.protocol
        if not isinstance(track, TcpTrack) or not entry.status & Status.CONFIRMED:
            return
        before, track.state = track.state, TcpState.CLOSE
        if before is not TcpState.CLOSE:
            entry.refresh(self.host.sysctls.get(TCP["CLOSE"]), self.now)
            self._untold.add(entry)

    def __str__(self) -> str:
        return "\n".join(map(str, self.lines()))

    def __repr__(self) -> str:
        return f"<Conntrack of {self.host.name}: {len(self.table)} entries>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self)) or 'no entries'}</pre>"

    # ---------------------------------------------------------------- a packet and its flow

    def _look_at_icmp(self, packet: Packet, skb: Skb, hook: Hook) -> Verdict | None:
        """Broken messages are INVALID, and errors belong to other flows; None: this message has a flow of its own."""
        message = packet.l4
        if not self._protocols.icmp_is_sound(packet, hook):
            self.statistics.error += 1
        elif not isinstance(message, Icmp) or message.type not in ICMP_ERRORS:
            return None
        elif not self._relate(packet, skb):
            self.statistics.error += 1
        return _ACCEPT

    def _meet(self, flow: FlowTuple, packet: Packet, skb: Skb, hook: Hook) -> Outcome | None:
        """Find or begin the packet's flow, and let the protocol judge it; None: the table is full."""
        now = self.now
        entry = self.table.find(flow, now)
        if entry is None:
            flow = flow.kept()
            reply = invert(flow)
            if reply is None:
                return _INVALID
            if not self._has_room(flow, skb, now):
                return None
            entry = self._begin(flow, reply, skb, now)
            direction = _ORIGINAL
        else:
            direction = direction_of(entry, flow)
        skb.ct, skb.direction, skb.ctstate = entry, direction, ctstate_of(entry, direction)
        known = entry.status & Status.CONFIRMED
        before = (entry.status, entry.state) if known else None
        outcome = self._protocols.judge(entry, packet, direction, hook, now)
        if outcome is _INVALID:
            return outcome
        if outcome is not _PASS and outcome is not _REPEAT:
            entry.count(direction, packet.length)
        if outcome is _REPEAT or outcome is _CLOSE:
            if entry.status & Status.CONFIRMED:
                self.table.remove(entry)
            if outcome is _CLOSE and direction is _REPLY:
                entry.status |= Status.SEEN_REPLY  # rules on its further way see the flow, though it is forgotten
            return outcome
        if direction is _REPLY:
            entry.status |= Status.SEEN_REPLY
        if known and before != (entry.status, entry.state):
            self._untold.add(entry)
        return outcome

    def _begin(self, flow: FlowTuple, reply: FlowTuple, skb: Skb, now: float) -> Entry:
        """A new flow, not confirmed yet (init_conntrack)."""
        self._last_id += 1
        entry = Entry(flow, reply, self._last_id)
        if self.host.sysctls.get(_ACCT):
            entry.counters = [0, 0, 0, 0]
        expected = self.expectations.take(flow, now) if self.expectations else None
        if expected is not None:
            entry.status |= Status.EXPECTED
            entry.master, entry.mark = expected.master, expected.master.mark
            if expected.begun:
                expected.begun(entry, expected)
        elif skb.helper:
            entry.status |= Status.HELPER
            entry.helper = UNREAD.get(skb.helper) or HELPERS[skb.helper]()
        return entry

    def _insert(self, entry: Entry, skb: Skb) -> Verdict:
        """A new flow enters the table, unless somebody else took its tuple while this packet was on its way."""
        now = self.now
        for flow in (entry.original, entry.reply):
            winner = self.table.find(flow, now)
            if winner is not None:
                return self._resolve(entry, winner, skb)
        self._resize()
        longest = self.table.longest_chain(entry)
        if longest > CHAIN_LIMITS[0] and longest > self._random.randrange(*CHAIN_LIMITS):
            self.statistics.chaintoolong += 1
            self.statistics.insert_failed += 1
            return _DROP
        entry.status |= Status.CONFIRMED
        entry.expires += now
        self.table.insert(entry)
        self._tell(Kind.NEW, entry)
        return _ACCEPT

    def _resolve(self, entry: Entry, winner: Entry, skb: Skb) -> Verdict:
        """Somebody else's entry has one of the tuples, or both (nf_ct_resolve_clash).

        Two first packets of one flow were on their way at once: the second joins the flow of the first. Where NAT made
        two flows of them, the second one's entry is kept for a second and for answers only.
        """
        if entry.original.proto not in EXCLUSIVE:
            same = {entry.original, entry.reply} == {winner.original, winner.reply}
            untouched = entry.original == winner.original and not winner.status & NAT_DONE
            if same or untouched:
                self.statistics.clash_resolve += 1
                if entry.counters:
                    winner.count(_ORIGINAL, entry.counters[1])
                skb.ct = winner
                return _ACCEPT
            if self.table.find(entry.reply, self.now) is None:
                self.statistics.clash_resolve += 1
                entry.status |= Status.CONFIRMED | Status.FIXED_TIMEOUT | Status.NAT_CLASH
                entry.expires = self.now + 1
                self.table.insert(entry, by_reply_only=True)
                return _ACCEPT
        self.statistics.drop += 1
        self.statistics.insert_failed += 1
        return _DROP

    def _relate(self, packet: Packet, skb: Skb) -> bool:
        """An ICMP error belongs to the flow of the packet it quotes, if that is known (nf_conntrack_inet_error)."""
        quoted = packet.quoted
        inner = tuple_of(quoted) if quoted else None
        wanted = invert(inner) if inner else None
        entry = self.table.find(wanted, self.now) if wanted else None
        if entry is None or wanted is None:
            return False
        direction = direction_of(entry, wanted)
        if packet.daddr != entry.tuple(direction).daddr:
            return False  # it is addressed to somebody else than who sent the quoted packet
        skb.ct, skb.direction, skb.ctstate = entry, direction, _RELATED
        return True

    def _has_room(self, flow: FlowTuple, skb: Skb, now: float) -> bool:
        """Whether one more entry may be made; a full table first looks for some to give up."""
        highest = self.host.sysctls.get(_MAX)
        if len(self.table) < highest or not highest:
            return True
        self._resize()
        dropped = self.table.early_drop(flow, now)
        self.statistics.early_drop += dropped
        if dropped:
            return True
        self.statistics.drop += 1
        self.host.write(Logged(skb.number, self.host.name, "nf_conntrack: nf_conntrack: table full, dropping packet"))
        return False

    def _resize(self) -> None:
        """Have as many buckets as the sysctl says by now."""
        buckets = self.host.sysctls.get(_BUCKETS)
        if buckets != self.table.buckets:
            self.table.resize(buckets)

    # ---------------------------------------------------------------- helpers

    def _help(self, packet: Packet, entry: Entry, state: HookState) -> Packet | None:
        """Let the flow's helper read the packet, and set right its sequence numbers; None: it may not go on."""
        skb = state.skb
        assert skb.direction is not None
        if skb.ctstate is _RELATED and skb.direction is _REPLY:
            return packet
        # Numbers that this very packet makes wrong behind it are right in itself.
        adjusting = entry.status & Status.SEQ_ADJUST and state.dev_in != "lo"
        read = self._read(packet, skb, entry)
        if not adjusting or read is None:
            return read
        assert entry.sequence is not None
        adjusted = entry.sequence.adjust(read, skb.direction)
        self.statistics.drop += adjusted is None
        return adjusted

    def _read(self, packet: Packet, skb: Skb, entry: Entry) -> Packet | None:
        """Let the flow's helper read the packet: what it makes of it; None: the packet may not go on."""
        segment, helper = packet.l4, entry.helper
        if isinstance(helper, Unread):
            helper.listen(packet, skb, entry, self.host)
            return packet
        if helper is None or skb.ctstate is not _ESTABLISHED or not isinstance(segment, Tcp):
            return packet
        assert skb.direction is not None
        found = helper.listen(segment, skb.direction)
        if found is None:
            return packet
        self.host.note(skb, f"{helper.name} helper: {found}")
        return None if isinstance(found, Partial) else self._announced(packet, found, entry, skb.direction)

    def _announced(self, packet: Packet, found: Announcement, entry: Entry, direction: Direction) -> Packet | None:
        """Foresee an announced connection; None where it cannot be waited for, and its announcement is dropped."""
        speaker, other = entry.tuple(direction), entry.tuple(direction.other)
        if found.address not in (None, speaker.saddr):
            return packet  # someone else's address: not believed (the module's parameter `loose` is 0)
        key = ExpectationKey(other.saddr, other.daddr, Proto.TCP, found.port)
        assert entry.helper is not None
        wanted = Expectation(key, entry, self.now + LIFETIME, entry.helper.name, direction.other, found.port)
        if self.rewrite and (entry.is_snat or entry.is_dnat):
            return self.rewrite(packet, found, wanted)
        return packet if self.expect(wanted) else None

    def expect(self, wanted: Expectation) -> bool:
        """Wait for a flow; False where that cannot be (nf_ct_expect_related)."""
        return self.expectations.add(wanted, self.host.sysctls.get(f"{PREFIX}expect_max"))

    # ---------------------------------------------------------------- telling

    def _gone(self, entry: Entry) -> None:
        """An entry left the table."""
        self._untold.discard(entry)
        self.expectations.forget(entry)
        self._tell(Kind.DESTROY, entry, self._by)
        if isinstance(entry.helper, Unread):
            entry.helper.end(entry, self.table, self.now)

    def _tell_of_expectation(self, kind: str, one: Expectation) -> None:
        self.expectation_events.append((self.now, kind, one))

    def _tell(self, kind: Kind, entry: Entry, by: str = "") -> None:
        self.events.append(Event.of(kind, entry, self.now, by))


def ctstate_of(entry: Entry, direction: Direction) -> CtState:
    """What rules see as `--ctstate` for a packet of that flow and direction."""
    if direction is _REPLY or entry.status & Status.SEEN_REPLY:
        return _ESTABLISHED
    return _RELATED if entry.status & Status.EXPECTED else _NEW


def notrack(packet: Packet, state: HookState) -> Verdict:
    """A hook function for -300: this packet is not to be tracked, as the target `CT --notrack` has it in table raw."""
    state.skb.ctstate = _UNTRACKED
    return _ACCEPT
