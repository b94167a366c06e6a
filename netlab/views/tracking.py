"""Connection tracking in widgets: a flow's entry step by step, the table as it fills, timeouts, TCP's states.

Each is a `Panel`: what its buttons do can also be done from Python with `press("...")`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import Final

from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.tcp_table import IGNORE, TABLE, Kind
from netlab.conntrack.track import Conntrack
from netlab.conntrack.tuples import Direction, invert
from netlab.draw.conntrack import NAMES, chains, countdown, tcp_diagram
from netlab.draw.flow import FlowStop, flow_stop
from netlab.hooks import HookFunction, HookState
from netlab.host import Host
from netlab.names import ACCEPT, Hook, NetlabError, Priority, TcpState, Verdict
from netlab.packet import Packet
from netlab.views.arrivals import arrival, host_of
from netlab.views.panel import Panel

BEFORE, AFTER, ON_THE_WAY, LAST = "before conntrack", "conntrack has looked", "on the way", "about to be confirmed"
TRANSLATED: Final = "NAT has looked"
OVER: Final = "it is over"

_PLACES: Final[list[tuple[Hook, int, str]]] = [
    (Hook.PRE_ROUTING, Priority.CONNTRACK - 1, BEFORE),
    (Hook.PRE_ROUTING, Priority.CONNTRACK + 1, AFTER),
    (Hook.LOCAL_OUT, Priority.CONNTRACK - 1, BEFORE),
    (Hook.LOCAL_OUT, Priority.CONNTRACK + 1, AFTER),
    (Hook.FORWARD, -(2**31) + 1, ON_THE_WAY),
    (Hook.LOCAL_IN, Priority.CONNTRACK_CONFIRM - 1, LAST),
    (Hook.POST_ROUTING, Priority.CONNTRACK_CONFIRM - 1, LAST),
]

_NAT_PLACES: Final[list[tuple[Hook, int, str]]] = [
    (Hook.PRE_ROUTING, Priority.NAT_DST + 1, TRANSLATED),
    (Hook.LOCAL_OUT, Priority.NAT_DST + 1, TRANSLATED),
]
"""Where sources are translated the stop before the confirmation shows it."""


def _tracker(host: Host) -> Conntrack:
    if host.conntrack is None:
        raise NetlabError(f"{host.name} tracks nothing: make it with conntrack='on'")
    return host.conntrack


def _entries(tracker: Conntrack) -> str:
    count = len(tracker.table)
    return f"The table has {count} {'entry' if count == 1 else 'entries'}"


class EntrySteps(Panel):
    """What becomes of a packet's entry, stop by stop."""

    def __init__(self, host: Host, arrivals: Iterable[tuple[str | None, Packet]]) -> None:
        self._tracker = _tracker(host_of("follow_entry", host))
        self._way: list[tuple[list[FlowStop], int]] = []
        for dev, packet in [arrival("follow_entry", one) for one in arrivals]:
            stops = self._follow(host, dev, packet)
            self._way += [(stops, place) for place in range(len(stops))]
        if not self._way:
            raise NetlabError("follow_entry: there is no packet to follow")
        self.at = 0
        moves = {
            "First": partial(self._go, -len(self._way)), "Back": partial(self._go, -1),
            "Forward": partial(self._go, 1), "Last": partial(self._go, len(self._way)),
        }  # fmt: skip
        super().__init__("A flow's entry", {"Step": moves})

    def _go(self, stops: int) -> None:
        self.at = max(0, min(self.at + stops, len(self._way) - 1))

    def draw(self) -> None:
        """Show the present stop."""
        stops, place = self._way[self.at]
        self.html = flow_stop(stops[place], [stop.place for stop in stops])
        self.story = f"{self.at + 1} of {len(self._way)}: {stops[place].story}"
        self.off = ["First", "Back"] * (self.at == 0) + ["Forward", "Last"] * (self.at == len(self._way) - 1)

    def _follow(self, host: Host, dev: str | None, packet: Packet) -> list[FlowStop]:
        """Put the packet on its way, with an observer between conntrack's functions and the others."""
        stops: list[FlowStop] = []
        last: list[HookState] = []

        def observer(place: str) -> HookFunction:
            def observe(seen: Packet, state: HookState) -> Verdict:
                if state.skb.number == 0:
                    last[:] = [state]
                    stops.append(self._stop(f"{state.hook}: {place}", seen, state))
                return ACCEPT

            return observe

        places = _PLACES + (_NAT_PLACES if host.has_firewall and "nat" in host.firewall.ruleset.tables else [])
        registered = [host.register(hook, observer(place), at, "observer") for hook, at, place in places]
        try:
            trace = host.send(packet) if dev is None else host.receive(dev, packet)
        finally:
            for one in registered:
                host.unregister(one)
        if last:
            dropped = next((one for one in trace.dropped if one.number == 0), None)
            fate = f"It was dropped ({dropped.reason})." if dropped else "It has gone its way."
            end = self._stop(OVER, last[0].skb.packet, last[0])
            left = _after(last[0].skb.ct)
            stops.append(end._replace(story=f"{fate} {left}", original=end.original if end.confirmed else None))
        return stops

    def _stop(self, place: str, packet: Packet, state: HookState) -> FlowStop:
        entry, ctstate = state.skb.ct, state.skb.ctstate
        return FlowStop(
            place,
            str(packet),
            str(ctstate or ""),
            entry.original if entry else None,
            entry.reply if entry else None,
            bool(entry and entry.status & Status.CONFIRMED),
            [str(line) for line in self._tracker.lines()],
            _told(place, entry, state),
        )


def _told(place: str, entry: Entry | None, state: HookState) -> str:
    if place.endswith(BEFORE):
        return "Conntrack's first function, at -200, has not been called yet: the packet belongs to no flow so far."
    if entry is None:
        return f"Conntrack finds the packet {state.skb.ctstate}: it belongs to no flow and begins none."
    known = bool(entry.status & Status.CONFIRMED)
    if place.endswith(AFTER):
        way = "reply" if state.skb.direction is Direction.REPLY else "original"
        if known:
            return f"The table has its tuple, as a {way} tuple: it belongs to that flow, and is {state.skb.ctstate}."
        return "No entry has its tuple, so one is made. It hangs on the packet only: the table does not know it."
    if place.endswith(TRANSLATED):
        return _translated(entry, state)
    if known:
        return "The flow has been in the table since its first packet; nothing needs to be confirmed."
    if place.endswith(LAST):
        told = "All other functions of this hook have let it pass. Conntrack's last function is next."
        return told if _mirrored(entry) else f"{told} The reply tuple is that of an answer to the translated packet."
    return "The entry travels with the packet. Were the packet dropped here, nothing would be left of it."


def _translated(entry: Entry, state: HookState) -> str:
    if entry.status & Status.CONFIRMED:
        return "Its flow is known, so no rule is asked: the packet is translated as the entry's other tuple says."
    changed = "" if _mirrored(entry) else " They have rewritten the reply tuple, and the packet."
    return f"The first packet of a flow: the rules of the table nat have been asked.{changed}"


def _mirrored(entry: Entry) -> bool:
    return entry.reply == invert(entry.original)


def _after(entry: Entry | None) -> str:
    if entry is None:
        return "It never had an entry."
    if entry.status & Status.CONFIRMED:
        return "Its entry is in the table, under both tuples."
    return "Its entry was not confirmed, so it is gone with it: the table has never heard of the flow."


def follow_entry(host: Host, *arrivals: tuple[str | None, Packet]) -> EntrySteps:
    """Send packets through a host that tracks, and step through what becomes of their entries.

    Args:
        host: a host made with `conntrack="on"`.
        arrivals: (interface, packet) for each; None for a packet that a local process sends.

    Raises:
        NetlabError: the host tracks nothing; there is no packet.
    """
    return EntrySteps(host, arrivals)


class TableFilling(Panel):
    """The hash table while flows come."""

    def __init__(self, host: Host, flows: Iterable[tuple[str, Packet]], rows: int) -> None:
        self._host, self._flows, self._rows = host_of("fill_table", host), iter(flows), rows
        self._tracker = _tracker(host)
        self._last = "Nothing has come yet."
        buttons = {f"{count} packet{'s' * (count > 1)}": partial(self._come, count) for count in (1, 10, 100)}
        super().__init__("The hash table", {"Let come": buttons})

    def _come(self, count: int) -> None:
        arrivals = [arrival("fill_table", one) for one in islice(self._flows, count)]
        for dev, packet in arrivals:
            self._host.receive(str(dev), packet)
        seen = self._tracker.statistics
        told = f"{len(arrivals)} packet{'s' * (len(arrivals) != 1)} came. {_entries(self._tracker)}."
        if seen.early_drop:
            told += f" {seen.early_drop} had to make room so far (early_drop)."
        if lost := seen.drop + seen.chaintoolong:
            told += f" {lost} packets were dropped so far."
        self._last = told

    def draw(self) -> None:
        """Show the chains."""
        self.html, self.story = chains(self._tracker, self._rows), self._last


def fill_table(host: Host, flows: Iterable[tuple[str, Packet]], rows: int = 8) -> TableFilling:
    """The first buckets of a host's table with their chains, and buttons that let the next of these packets come.

    Raises:
        NetlabError: the host tracks nothing.
    """
    return TableFilling(host, flows, rows)


class ClockTurning(Panel):
    """Timeouts running down as the clock is moved."""

    def __init__(self, host: Host) -> None:
        self._host, self._tracker = host, _tracker(host_of("turn_clock", host))
        self._gone = ""
        turns = {f"+{seconds} s": partial(self._turn, seconds) for seconds in (1, 10, 60, 3600)}
        super().__init__("Time and timeouts", {"Move the clock": turns})

    def _turn(self, seconds: float) -> None:
        before = len(self._tracker.table)
        self._host.wires.clock.advance(seconds)
        self._host.tick()
        self._tracker.collect()
        gone = before - len(self._tracker.table)
        self._gone = f" {gone} {'entry was' if gone == 1 else 'entries were'} forgotten." if gone else ""

    def draw(self) -> None:
        """Show what every entry has left."""
        self.html = countdown(self._tracker)
        self.story = f"The clock says {self._tracker.now:g} s. {_entries(self._tracker)}.{self._gone}"


def turn_clock(host: Host) -> ClockTurning:
    """How long every entry of a host still lives, and buttons that move its clock.

    Raises:
        NetlabError: the host tracks nothing.
    """
    return ClockTurning(host)


class TcpWalk(Panel):
    """A walk through TCP's states as conntrack has them: the transition table alone, without windows."""

    def __init__(self) -> None:
        self.way = [TcpState.NONE]
        kinds = [kind for kind in Kind if kind is not Kind.NONE]
        self._steps = {
            f"{who}: {NAMES[kind]}": (direction, kind)
            for who, direction in (("client", Direction.ORIGINAL), ("server", Direction.REPLY))
            for kind in kinds
        }
        self._said = "There is no connection yet. Whoever sends first is the client: the original direction."
        groups = {
            f"The {who} sends": {name: partial(self._step, name) for name in self._steps if name.startswith(who)}
            for who in ("client", "server")
        }
        super().__init__("TCP's states", groups | {"Or": {"Start again": self._restart}})

    def _restart(self) -> None:
        self.way = [TcpState.NONE]
        self._said = "There is no connection yet."

    def _step(self, name: str) -> None:
        here = self.way[-1]
        direction, kind = self._steps[name]
        target = TABLE[direction][kind, here]
        if isinstance(target, TcpState):
            self._said = (
                f"{name}: from {here.name} to {target.name}."
                if target is not here
                else f"{name}: it stays {here.name}."
            )
            self.way.append(target)
        elif target == IGNORE:
            self._said = f"{name}: let through in {here.name}, but not believed; the state stays."
        else:
            self._said = f"{name}: INVALID in {here.name}; the state stays."

    def draw(self) -> None:
        """Show the way so far."""
        self.html, self.story = tcp_diagram(self.way), self._said


def walk_tcp() -> TcpWalk:
    """TCP's states to walk through: choose what comes next, and from which side."""
    return TcpWalk()
