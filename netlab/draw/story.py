"""A trace told stop by stop: where the packet is, how it came there, what is decided, and why.

This is the whole model behind the pictures: each stop holds everything that a picture shows at that moment, so that
going back is as easy as going on, and a picture has nothing to work out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypedDict

from netlab.draw.places import LABELS, OF_HOOK, Place, edge_name, way
from netlab.draw.rulewalk import CallStack
from netlab.draw.telling import Fact, Said, capital, named, packet_fact, say_called, say_ruled, sentence
from netlab.hooks import Registered
from netlab.names import Hook, World
from netlab.packet import Packet
from netlab.trace import (
    Aged,
    Called,
    Delivered,
    Dropped,
    Emitted,
    Event,
    Logged,
    Noted,
    Passed,
    Ran,
    Received,
    Refused,
    Routed,
    Ruled,
    Sent,
    Trace,
)


class Stop(TypedDict):
    """One stop of a journey, as plain data (it is sent to the browser as it is)."""

    step: int
    packet: int
    host: str
    place: str
    via: list[str]
    """The edges from the stop before to this one: what a token moves along."""
    trail: list[str]
    """Every edge that this packet has gone so far, on this host."""
    order: dict[str, str]
    """Place of each hook entered so far -> when: `1`, or `1, 4` where it was entered twice."""
    entered: int
    """How many hooks it entered so far."""
    labels: dict[str, tuple[str, str]]
    """The two lines in a place, where they are other than on the empty map."""
    lap: int
    title: str
    story: str
    facts: list[Fact]
    verdict: str
    end: str
    """`drop`, `delivered`, `sent` or `stolen` where the packet's journey over this host ends here, else empty."""
    rail: str
    """The key of the rail of functions on this hook; empty where there is none."""
    function: int
    """The position on the rail of the function that is called here; -1: none."""
    pocket: str
    """`queue` while the packet waits for a program in userspace, else empty."""
    calls: dict[str, list[str]]
    """Rail -> for each of its functions the verdicts it gave so far, separated by blanks."""


class Rail(TypedDict):
    """The functions on one hook of one host, in the order of their calls."""

    host: str
    hook: str
    functions: list[tuple[int, str]]
    """Priority and name."""


class HookOwner(Protocol):
    """A host, as far as its hook functions go."""

    @property
    def hooks(self) -> "HookTable": ...


class HookTable(Protocol):
    """The functions on the hooks of a host."""

    def on(self, hook: Hook) -> tuple[Registered, ...]: ...


def rails(trace: Trace, hosts: Mapping[str, HookOwner] | None = None) -> dict[str, Rail]:
    """The rails of all hooks on which functions were called; with `hosts` also the functions never called."""
    found: dict[str, Rail] = {}
    for event in trace.events:
        if isinstance(event, Passed) and hosts and event.host in hosts:
            functions = [(entry.priority, entry.name) for entry in hosts[event.host].hooks.on(event.hook)]
            if functions:
                found.setdefault(_key(event), Rail(host=event.host, hook=event.hook.name, functions=functions))
        elif isinstance(event, Called):
            rail = found.setdefault(_key(event), Rail(host=event.host, hook=event.hook.name, functions=[]))
            if (event.priority, event.function) not in rail["functions"]:
                rail["functions"].append((event.priority, event.function))
                rail["functions"].sort(key=lambda function: function[0])
    return found


def tell(trace: Trace, hosts: Mapping[str, HookOwner] | None = None) -> list[Stop]:
    """Every stop of every packet of the trace: step by step, and within a step one packet's journey after the other."""
    teller = _Teller(rails(trace, hosts), known=hosts is not None or trace.world is World.SIMULATOR)
    for number, step in enumerate(trace.steps):
        teller.step = number
        events = sorted(step.events, key=lambda event: event.number)
        for at, event in enumerate(events):
            teller.hear(event, events[at + 1 :])
    return teller.stops


def _key(event: Passed | Called) -> str:
    return f"{event.host} {event.hook}"


@dataclass(slots=True)
class _Visit:
    """One packet's way over one host so far."""

    place: Place | None = None
    trail: list[str] = field(default_factory=list)
    order: dict[str, str] = field(default_factory=dict)
    packet: Packet | None = None
    entered: int = 0
    accepted: bool = False
    """The hook entered last let it pass."""
    labels: dict[str, tuple[str, str]] = field(default_factory=dict)
    lap: int = 1
    rail: str = ""
    function: int = -1
    asking: bool = False
    """The function is walking over rules, and has not answered yet."""
    waits: bool = False
    rules: CallStack = field(default_factory=CallStack)


class _Teller:
    def __init__(self, rails: dict[str, Rail], *, known: bool) -> None:
        self.stops: list[Stop] = []
        self.known = known  # whether a hook without calls is known to have no functions
        self.rails = rails
        self.calls = {key: [""] * len(rail["functions"]) for key, rail in rails.items()}
        self.step = 0
        self.visits: dict[tuple[int, str], _Visit] = {}

    def hear(self, event: Event, later: list[Event]) -> None:
        """Add the stop that this event makes."""
        key = event.number, event.host
        if isinstance(event, Emitted) or key not in self.visits:
            name, below = LABELS[Place.PROCESS]
            self.visits[key] = _Visit(labels={Place.PROCESS: (f"{name} of {event.host}", below)})
        visit = self.visits[key]
        before = visit.place
        visit.place = self._place(event, visit, later)
        stays = before in (None, visit.place) or isinstance(event, Called)
        edges = () if stays or before is None else way(before, visit.place)
        visit.trail += [name for edge in edges if (name := edge_name(edge)) not in visit.trail]
        if isinstance(event, Received) and visit.entered:
            visit.lap += 1
        if isinstance(event, Received | Sent) and visit.place is not Place.LO:
            visit.labels[visit.place] = LABELS[visit.place][0], event.dev
        self._walk_rail(event, visit, later)
        if isinstance(event, Passed):
            visit.entered += 1
            visit.accepted = event.verdict == "ACCEPT"
            seen = visit.order.get(visit.place)
            visit.order[visit.place] = f"{seen}, {visit.entered}" if seen else str(visit.entered)
        said = self._changed_since(visit, event, self._say(event, visit, later), later)
        self.stops.append(
            Stop(
                step=self.step,
                packet=event.number,
                host=event.host,
                place=visit.place,
                via=[edge_name(edge) for edge in edges],
                trail=list(visit.trail),
                order=dict(visit.order),
                entered=visit.entered,
                labels=dict(visit.labels),
                lap=visit.lap,
                title=said.title,
                story=said.story,
                facts=said.facts,
                verdict=said.verdict,
                end=said.end,
                rail=visit.rail,
                function=visit.function,
                pocket="queue" if visit.waits and not isinstance(event, Called) else "",
                calls={key: list(calls) for key, calls in self.calls.items()},
            )
        )

    def _place(self, event: Event, visit: _Visit, later: list[Event]) -> Place:
        match event:
            case Received():
                return Place.LO if event.dev == "lo" else Place.WIRE_IN
            case Sent():
                return Place.LO if event.dev == "lo" else Place.WIRE_OUT
            case Emitted() | Delivered():
                return Place.PROCESS
            case Passed() | Called():
                return OF_HOOK[event.hook]
            case Routed():
                return _LOOKUP_AFTER.get(visit.place, visit.place or Place.ROUTE_OUT)
            case Ruled() | Logged() if visit.place:
                return visit.place
        if visit.place is Place.LOCAL_IN and visit.accepted and not visit.waits:
            return Place.PROCESS
        if visit.place:
            return visit.place
        # A journey that goes on from a queue begins in the middle: at the hook it is about to go on with.
        ahead = (OF_HOOK[one.hook] for one in later if isinstance(one, Passed | Called) and one.number == event.number)
        return next(ahead, Place.PROCESS)

    def _walk_rail(self, event: Event, visit: _Visit, later: list[Event]) -> None:
        """Keep `rail`, `function` and `waits` of the visit, and the calls counted."""
        if isinstance(event, Passed | Called):
            rail = self.rails.get(_key(event))
            if isinstance(event, Passed) or not visit.rail:
                visit.rail, visit.function, visit.asking = _key(event) if rail else "", -1, False
            visit.waits = False
            if isinstance(event, Called) and rail:
                self._step_to(event, visit, rail)
                calls = self.calls[visit.rail]
                calls[visit.function] = f"{calls[visit.function]} {event.verdict}".strip()
                visit.asking, visit.waits = False, event.verdict == "QUEUE"
        elif isinstance(event, Ruled) and visit.rail:
            # The trace tells of rules before it tells what the function that walks over them answers.
            walker = next((one for one in later if isinstance(one, Called) and _same_packet(one, event)), None)
            if walker and _key(walker) == visit.rail:
                self._step_to(walker, visit, self.rails[visit.rail])
                visit.asking = True
        elif isinstance(event, Received | Emitted | Sent | Delivered | Routed):
            visit.rail, visit.function, visit.asking, visit.waits = "", -1, False, False

    @staticmethod
    def _step_to(event: Called, visit: _Visit, rail: Rail) -> None:
        if not visit.asking:
            visit.function = _position(rail["functions"], (event.priority, event.function), visit.function + 1)

    def _say(self, event: Event, visit: _Visit, later: list[Event]) -> Said:
        match event:
            case Emitted():
                return Said(f"Made by {event.by}", f"{named(event.by)} makes the packet.", [packet_fact(event.packet)])
            case Received(dev="lo"):
                story = (
                    "The packet leaves by lo, the loopback interface, and at once comes back in by it: a second lap."
                )
                return Said("Out by lo, and back in", story, [packet_fact(event.packet), ("in by", "lo")])
            case Received():
                story = f"A frame arrives on {event.dev}."
                return Said(f"In by {event.dev}", story, [packet_fact(event.packet), ("in by", event.dev)])
            case Passed():
                return self._say_passed(event, later)
            case Called():
                return say_called(event)
            case Ruled():
                return say_ruled(event, visit.rules.follow(event))
            case Routed():
                why = [("because" if not at else "", line) for at, line in enumerate(event.decision.why)]
                story = f"The route lookup finds: {event.decision}."
                return Said("Route lookup", story, [packet_fact(event.packet), ("route", str(event.decision)), *why])
            case Sent(dev="lo"):
                story = "The packet leaves by lo, the loopback interface: what goes out there comes straight back in."
                return Said("Out by lo", story, [packet_fact(event.packet), ("out by", "lo")])
            case Sent():
                facts = [packet_fact(event.packet), ("out by", event.dev)]
                facts += [("frame sent to", f"the hardware address of {event.next_hop}")] if event.next_hop else []
                story = f"The packet leaves by {event.dev}" + (
                    f", in a frame for {event.next_hop}." if event.next_hop else "."
                )
                return Said(f"Out by {event.dev}", story, facts, end="sent")
            case Delivered():
                story = f"The packet has arrived: {event.socket} takes it."
                facts = [packet_fact(event.packet), ("delivered to", event.socket)]
                return Said("Delivered", story, facts, end="delivered")
            case Dropped():
                facts = [packet_fact(event.packet), ("drop reason", str(event.reason))]
                facts += [("because", event.why)] if event.why else []
                story = f"The packet ends here: {event.why or event.reason}."
                return Said("Dropped", story, facts, verdict="DROP", end="drop")
            case Refused():
                facts = [("errno", event.errno)] + ([("because", event.why)] if event.why else [])
                return Said("Send fails", f"The process that sent it is told {event.errno}.", facts)
            case Noted():
                facts = [packet_fact(visit.packet)] if visit.packet else []
                short = capital(event.text) if len(event.text) < 40 else "Note"
                return Said("In the queue" if visit.waits else short, sentence(event.text), facts)
            case Logged():
                return Said("Kernel log", f"The kernel logs: {event.line}", [("log", event.line)])
            case Ran():
                return Said("A command", f"The command has run: {event}.", [("exit status", str(event.status))])
            case Aged():
                return Said("Time passes", sentence(str(event)), [])

    def _changed_since(self, visit: _Visit, event: Event, said: Said, later: list[Event]) -> Said:
        """What is said, with what the kernel itself changed in the packet since the stop before."""
        packet = getattr(event, "packet", None)
        if isinstance(event, Called | Ruled):
            visit.packet = event.after  # its own changes are told already
            return said
        if isinstance(event, Passed) and (calls := _calls_of(event, later)):
            packet = calls[0].before
        before, visit.packet = visit.packet, packet or visit.packet
        if before is None or packet is None or before == packet:
            return said
        changes = [f"{name}: {old} → {new}" for name, old, new in before.diff(packet)]
        facts = [said.facts[0], *(("changed", change) for change in changes), *said.facts[1:]]
        return said._replace(story=f"{said.story} On the way here it was changed, {', '.join(changes)}.", facts=facts)

    def _say_passed(self, event: Passed, later: list[Event]) -> Said:
        facts = [packet_fact(event.packet), ("iptables chain", event.hook.chain)]
        facts += [("in by", event.dev_in)] if event.dev_in else []
        facts += [("out by", event.dev_out)] if event.dev_out else []
        facts += [("conntrack", event.state)] if event.state else []
        calls = _calls_of(event, later)
        title = event.hook.name
        if calls:
            # The event's packet and verdict are those at the end of the hook: that is not yet told here.
            facts[0] = packet_fact(calls[0].before)
            count = len(self.rails[_key(event)]["functions"]) if _key(event) in self.rails else len(calls)
            waiting = "one function waits" if count == 1 else f"{count} functions wait"
            return Said(title, f"The packet enters {title}, where {waiting} for it.", facts)
        story = f"The packet enters {title}; " + (
            f"no function is registered there: {event.verdict}." if self.known else f"the outcome is {event.verdict}."
        )
        return Said(title, story, facts, verdict=event.verdict)


_LOOKUP_AFTER: dict[Place | None, Place] = {
    None: Place.ROUTE_OUT,
    Place.PROCESS: Place.ROUTE_OUT,
    Place.WIRE_IN: Place.ROUTE_IN,
    Place.LO: Place.ROUTE_IN,
    Place.PRE_ROUTING: Place.ROUTE_IN,
    Place.LOCAL_OUT: Place.REROUTE,
}
"""Which of the lookups on the map it is, by where the packet was before."""


def _calls_of(passed: Passed, later: list[Event]) -> list[Called]:
    """The functions called during that passage."""
    calls = []
    for event in later:
        if event.number != passed.number or event.host != passed.host:
            continue
        if isinstance(event, Passed):
            break
        if isinstance(event, Called) and event.hook is passed.hook:
            calls.append(event)
    return calls


def _same_packet(one: Called, other: Ruled) -> bool:
    return (one.number, one.host) == (other.number, other.host)


def _position(functions: list[tuple[int, str]], function: tuple[int, str], after: int) -> int:
    """Where the function stands on its rail: behind the one before it, else (called again) wherever it is."""
    try:
        return functions.index(function, after)
    except ValueError:
        return functions.index(function)
