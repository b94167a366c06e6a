"""Connection tracking on its hooks: a packet meets its flow, and a new flow is confirmed last (nf_conntrack_core.c).

PRE_ROUTING, LOCAL_OUT   -400  fragments are put together
                         -300  a rule may choose a helper for the flow that this packet begins
                         -200  the packet meets its flow, or begins one
LOCAL_IN, POST_ROUTING   last  its helper reads it; a new flow enters the table: a packet dropped on the way leaves none
"""

from collections import deque
from html import escape
from typing import TYPE_CHECKING

from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.events import KEPT, Event, Kind, Statistics
from netlab.conntrack.expectations import LIFETIME, Expectation, ExpectationKey, Expectations
from netlab.conntrack.ftp import HELPERS, Announcement, Partial
from netlab.conntrack.protocols import Outcome, Protocols
from netlab.conntrack.table import ConntrackTable, direction_of
from netlab.conntrack.tcp import Mark, TcpTrack
from netlab.conntrack.text import Line, frame, line_of
from netlab.conntrack.timeouts import PREFIX
from netlab.conntrack.tuples import Direction, FlowTuple, invert, shared, tuple_of
from netlab.hooks import HookState
from netlab.machine import Machine
from netlab.names import CtState, Hook, Proto, Verdict
from netlab.packet import ICMP_ERRORS, Icmp, Packet, Tcp
from netlab.skb import Skb
from netlab.trace import Logged

if TYPE_CHECKING:
    import pandas


class Conntrack:
    """The tracker of one host.

    Attributes:
        table: the confirmed flows.
        expectations: the flows foreseen.
        statistics: what `conntrack -S` counts.
        events: the latest, as `conntrack -E` tells them.
    """

    def __init__(self, host: Machine) -> None:
        self.host = host
        self.table = ConntrackTable(host.sysctls.get(f"{PREFIX}buckets"), self._gone)
        self.expectations = Expectations()
        self.statistics = Statistics()
        self.events: deque[Event] = deque(maxlen=KEPT)
        self._protocols = Protocols(host.sysctls)
        self._untold: set[Entry] = set()  # changed, and no listener was told yet
        self._last_id = 0
        self._by = ""

    @property
    def now(self) -> float:
        """Seconds of the host's clock."""
        return self.host.wires.clock.now

    # ---------------------------------------------------------------- hook functions

    def track(self, packet: Packet, state: HookState) -> Verdict:
        """The packet meets its flow (nf_conntrack_in)."""
        skb = state.skb
        if skb.ctstate is not None and (skb.ct is not None or skb.ctstate is CtState.UNTRACKED):
            return Verdict.ACCEPT  # it came over lo, and was met on its way out; or a rule said not to
        skb.ctstate = CtState.INVALID
        skb.summed = self._protocols.checks(state.hook)
        if packet.proto == Proto.ICMP and (verdict := self._look_at_icmp(packet, skb, state.hook)) is not None:
            return verdict
        flow = tuple_of(packet)
        outcome: Outcome | None = Outcome.INVALID
        if flow is not None:
            outcome = self._meet(flow, packet, skb, state.hook)
            if outcome is Outcome.REPEAT:  # an old entry made way for a new connection
                outcome = self._meet(flow, packet, skb, state.hook)
        if outcome is Outcome.INVALID:
            self.statistics.invalid += 1
            skb.ct, skb.ctstate = None, CtState.INVALID
        return Verdict.DROP if outcome is None else Verdict.ACCEPT

    def confirm(self, packet: Packet, state: HookState) -> Verdict:
        """The helper reads the packet, a new flow enters the table, listeners are told (nf_confirm)."""
        skb = state.skb
        entry = skb.ct
        if entry is None:
            return Verdict.ACCEPT
        if entry.helper is not None and not self._is_let_through(packet, skb, entry):
            return Verdict.DROP
        if not entry.status & (Status.CONFIRMED | Status.DYING):
            if skb.direction is Direction.REPLY:
                return Verdict.ACCEPT  # an error about a packet that got no further: it begins no flow
            return self._insert(entry, skb)
        if self._untold and entry in self._untold:
            self._untold.discard(entry)
            self._tell(Kind.UPDATE, entry)
        return Verdict.ACCEPT

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
        return Verdict.ACCEPT

    def _meet(self, flow: FlowTuple, packet: Packet, skb: Skb, hook: Hook) -> Outcome | None:
        """Find or begin the packet's flow, and let the protocol judge it; None: the table is full."""
        now = self.now
        entry = self.table.find(flow, now)
        if entry is None:
            flow = FlowTuple(*map(shared, flow))
            reply = invert(flow)
            if reply is None:
                return Outcome.INVALID
            if not self._has_room(flow, skb, now):
                return None
            entry = self._begin(flow, reply, skb, now)
            direction = Direction.ORIGINAL
        else:
            direction = direction_of(entry, flow)
        skb.ct, skb.direction, skb.ctstate = entry, direction, ctstate_of(entry, direction)
        before = entry.status, entry.state
        outcome = self._protocols.judge(entry, packet, direction, hook, now)
        if outcome is Outcome.INVALID:
            return outcome
        if outcome is not Outcome.PASS and outcome is not Outcome.REPEAT:
            entry.count(direction, packet.length)
        if outcome is Outcome.REPEAT or outcome is Outcome.CLOSE:
            if entry.status & Status.CONFIRMED:
                self.table.remove(entry)
            return outcome
        if direction is Direction.REPLY:
            entry.status |= Status.SEEN_REPLY
        if before != (entry.status, entry.state) and entry.status & Status.CONFIRMED:
            self._untold.add(entry)
        return outcome

    def _begin(self, flow: FlowTuple, reply: FlowTuple, skb: Skb, now: float) -> Entry:
        """A new flow, not confirmed yet (init_conntrack)."""
        self._last_id += 1
        entry = Entry(flow, reply, self._last_id)
        if self.host.sysctls.get(f"{PREFIX}acct"):
            entry.counters = [0, 0, 0, 0]
        master = self.expectations.take(flow, now) if self.expectations else None
        if master is not None:
            entry.status |= Status.EXPECTED
            entry.master, entry.mark = master, master.mark
        elif skb.helper:
            entry.status |= Status.HELPER
            entry.helper = HELPERS[skb.helper]()
        return entry

    def _insert(self, entry: Entry, skb: Skb) -> Verdict:
        """A new flow enters the table, unless somebody else took its tuple while this packet was on its way."""
        now = self.now
        for flow in (entry.original, entry.reply):
            winner = self.table.find(flow, now)
            if winner is not None:
                return self._resolve(entry, winner, skb)
        entry.status |= Status.CONFIRMED
        entry.expires += now
        self.table.insert(entry)
        self._tell(Kind.NEW, entry)
        return Verdict.ACCEPT

    def _resolve(self, entry: Entry, winner: Entry, skb: Skb) -> Verdict:
        """Two first packets of one flow: TCP's second is lost, any other joins the winner (nf_ct_resolve_clash)."""
        same = (entry.original, entry.reply) == (winner.original, winner.reply)
        if same and entry.original.proto != Proto.TCP:
            self.statistics.clash_resolve += 1
            skb.ct = winner
            return Verdict.ACCEPT
        self.statistics.insert_failed += 1
        return Verdict.DROP

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
        skb.ct, skb.direction, skb.ctstate = entry, direction, CtState.RELATED
        return True

    def _has_room(self, flow: FlowTuple, skb: Skb, now: float) -> bool:
        """Whether one more entry may be made; a full table first looks for some to give up."""
        highest = self.host.sysctls.get(f"{PREFIX}max")
        if len(self.table) < highest or not highest:
            return True
        buckets = self.host.sysctls.get(f"{PREFIX}buckets")
        if buckets != self.table.buckets:
            self.table.resize(buckets)
        dropped = self.table.early_drop(flow, now)
        self.statistics.early_drop += dropped
        if dropped:
            return True
        self.statistics.drop += 1
        self.host.write(Logged(skb.number, self.host.name, "nf_conntrack: nf_conntrack: table full, dropping packet"))
        return False

    # ---------------------------------------------------------------- helpers

    def _is_let_through(self, packet: Packet, skb: Skb, entry: Entry) -> bool:
        """Let the flow's helper read the packet; whether the packet may go on."""
        segment = packet.l4
        if skb.ctstate is not CtState.ESTABLISHED or skb.direction is None or not isinstance(segment, Tcp):
            return True
        assert entry.helper is not None
        found = entry.helper.listen(segment, skb.direction)
        if found is None:
            return True
        self.host.note(skb, f"{entry.helper.name} helper: {found}")
        return not isinstance(found, Partial) and self._expect(found, entry, skb.direction)

    def _expect(self, found: Announcement, entry: Entry, direction: Direction) -> bool:
        """Foresee an announced connection; False where it cannot be waited for, and its announcement is dropped."""
        speaker, other = entry.tuple(direction), entry.tuple(direction.other)
        if found.address not in (None, speaker.saddr):
            return True  # someone else's address: not believed (the module's parameter `loose` is 0)
        key = ExpectationKey(other.saddr, other.daddr, Proto.TCP, found.port)
        assert entry.helper is not None
        wanted = Expectation(key, entry, self.now + LIFETIME, entry.helper.name)
        return self.expectations.add(wanted, self.host.sysctls.get(f"{PREFIX}expect_max"))

    # ---------------------------------------------------------------- telling

    def _gone(self, entry: Entry) -> None:
        """An entry left the table."""
        self._untold.discard(entry)
        self.expectations.forget(entry)
        self._tell(Kind.DESTROY, entry, self._by)

    def _tell(self, kind: Kind, entry: Entry, by: str = "") -> None:
        self.events.append(Event.of(kind, entry, self.now, by))


def ctstate_of(entry: Entry, direction: Direction) -> CtState:
    """What rules see as `--ctstate` for a packet of that flow and direction."""
    if direction is Direction.REPLY or entry.status & Status.SEEN_REPLY:
        return CtState.ESTABLISHED
    return CtState.RELATED if entry.status & Status.EXPECTED else CtState.NEW


def notrack(packet: Packet, state: HookState) -> Verdict:
    """A hook function for -300: this packet is not to be tracked, as the target `CT --notrack` has it in table raw."""
    state.skb.ctstate = CtState.UNTRACKED
    return Verdict.ACCEPT
