"""A capture sent through one host of a simulated network, and what became of its packets."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from netlab.host import Host
from netlab.html import html_table
from netlab.names import NetlabError, Verdict
from netlab.packet import ICMP_NAMES, Icmp, MalformedPacket, Packet
from netlab.replay.capture import Capture, CaptureError, Frame
from netlab.topology import Network
from netlab.trace import Delivered, Dropped, Emitted, Logged, Noted, Passed, Refused, Sent, Trace

NOTED = "noted"  # neither forwarded nor delivered nor dropped: the host's own words say what it did with it


class Outcome(NamedTuple):
    """What became of a packet: `forwarded by` an interface, `delivered to` a socket, `dropped` for a reason ..."""

    what: str
    detail: str

    def __str__(self) -> str:
        return self.detail if self.what == NOTED else f"{self.what} {self.detail}"


class First(NamedTuple):
    """The first packet with some outcome: its frame number in the capture, itself, and why it went that way."""

    frame: int
    packet: str
    why: str

    def __str__(self) -> str:
        return f"frame {self.frame}: {self.packet}" + (f" ({self.why})" if self.why else "")


class Outcomes:
    """What became of a capture's packets at one host.

    Attributes:
        host: the host's name.
        packets: how many packets had which outcome.
        first: the first packet of each outcome.
        caused: what the host itself made because of them (errors, answers), what else befell it, and how often.
        skipped: how many frames of the capture were no packets for it, by reason.
        cut: how many packets the capture holds only the beginning of; they were filled up with zeros.
        frames: how many frames were read, of all protocols.
        seconds: the time from the first packet to the last.
        problem: the complaint about a capture that breaks off; None if it was read to its end.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.packets: Counter[Outcome] = Counter()
        self.first: dict[Outcome, First] = {}
        self.caused: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.cut = 0
        self.frames = 0
        self.seconds = 0.0
        self.problem: CaptureError | None = None

    def add(self, frame: Frame, trace: Trace) -> None:
        """Count one packet by the trace of its journey."""
        outcome, why = outcome_of(trace, self.host)
        self.packets[outcome] += 1
        if outcome not in self.first:
            self.first[outcome] = First(frame.number, _text(frame.data), why)
        self.caused.update(_caused(trace, self.host))

    def to_json(self) -> dict[str, Any]:
        """The form that `python -m netlab replay --json` prints."""
        return {
            "host": self.host,
            "frames": self.frames,
            "seconds": round(self.seconds, 6),
            "outcomes": [
                {"outcome": one.what, "detail": one.detail, "packets": count, "first": self.first[one]._asdict()}
                for one, count in self.packets.most_common()
            ],
            "caused": dict(self.caused.most_common()),
            "skipped": dict(self.skipped.most_common()),
            "cut": self.cut,
            "problem": None if self.problem is None else str(self.problem),
        }

    def _sections(self) -> Iterator[tuple[str, list[tuple[int, str, str]]]]:
        """The parts of the table: a title, and rows of a count, what was counted, and an example."""
        yield (
            f"{self.packets.total()} packets met {self.host}",
            [(count, str(one), str(self.first[one])) for one, count in self.packets.most_common()],
        )
        yield f"what {self.host} made or said itself", [(count, what, "") for what, count in self.caused.most_common()]
        cut = [(self.cut, "packets cut by the capture, sent with zeros for the rest", "")] if self.cut else []
        yield (
            f"of {self.frames} frames in the capture, not for {self.host}",
            [(count, what, "") for what, count in self.skipped.most_common()],
        )
        yield "not whole in the capture", cut

    def __str__(self) -> str:
        parts = [(title, rows) for title, rows in self._sections() if rows]
        width = max((len(what) for _, rows in parts for _, what, _ in rows), default=0)
        lines: list[str] = []
        for title, rows in parts:
            lines += ["", title] if lines else [title]
            lines += [f"  {count:>8}  {what:<{width}}  {example}".rstrip() for count, what, example in rows]
        return "\n".join(lines) or "no packets"

    def __repr__(self) -> str:
        return f"<Outcomes at {self.host}: {self.packets.total()} packets>"

    def _repr_html_(self) -> str:
        return "".join(
            html_table(rows, ("count", "what", "the first"), title) for title, rows in self._sections() if rows
        )


def replay(capture: Capture, net: Network, host: Host, into: str | None = None) -> Outcomes:
    """Send a capture's packets through a host of the network, one after the other, at the capture's pace.

    With `into` every packet comes in by that interface. Without it a packet whose source is an address of the host is
    sent by the host itself, out of a raw socket; any other comes in by the host's only open interface or, where it has
    several, by the one that the way back to the packet's source leaves by.

    The clock moves on by the time between the packets, so that rate limits and timeouts see what they would have seen.
    A capture that breaks off is replayed as far as it goes, and `Outcomes.problem` says where it broke.

    Raises:
        NetlabError: `into` is no open interface of the host, or the host has none.
        CaptureError: the file cannot be read, or is no capture, so that not a single frame was there.
    """
    entrance = Entrance(net, host, into)
    outcomes = Outcomes(host.name)
    last = None
    try:
        for frame in capture:
            if last is not None and frame.time > last:
                outcomes.caused.update(_befallen(net.advance(frame.time - last), host.name))
                outcomes.seconds += frame.time - last
            last = max(frame.time, last or 0.0)
            try:
                outcomes.add(frame, entrance.send(frame.data))
            except _NoEntrance as nowhere:
                outcomes.skipped[str(nowhere)] += 1
            except MalformedPacket as problem:
                outcomes.skipped[f"sent by {host.name}, but malformed: {problem.field}"] += 1
    except CaptureError as broken:
        if not capture.frames:
            raise
        outcomes.problem = broken
    outcomes.skipped.update(capture.skipped)
    outcomes.cut, outcomes.frames = capture.cut, capture.frames
    return outcomes


class _NoEntrance(Exception):
    """There is no saying by which interface the packet came; the message is why it was left out."""


class Entrance:
    """How a packet of a capture gets into a host: see `replay`."""

    def __init__(self, net: Network, host: Host, into: str | None) -> None:
        self._host = host
        self._open = [dev for dev in host.mtu if dev != "lo" and (host.name, dev) not in net.wires.peers]
        self._into = into
        known = ", ".join(self._open) or "none"
        if into is not None and into not in self._open:
            what = "is on a link" if (host.name, into) in net.wires.peers else "is unknown"
            raise NetlabError(f"--into: {into!r} {what} (open interfaces of {host.name}: {known})")
        if not self._open:
            raise NetlabError(f"host {host.name} has no open interface for a capture to come in by: all are on links")

    def send(self, data: bytes) -> Trace:
        """Put the packet in, and return all that follows."""
        source = int.from_bytes(data[12:16], "big")
        if self._into is not None:
            return self._host.receive(self._into, data)
        if self._host.owns(source):
            return self._host.send(data)
        return self._host.receive(self._way_back(source), data)

    def _way_back(self, source: int) -> str:
        if len(self._open) == 1:
            return self._open[0]
        route = self._host.fib.lookup(source).route
        if route is None or route.dev not in self._open:
            raise _NoEntrance("no open interface leads back to the source; name one with --into")
        return route.dev


def outcome_of(trace: Trace, host: str) -> tuple[Outcome, str]:
    """What became at that host of the packet that a step sent, and why."""
    own = [event for event in trace.events if event.host == host]
    made_here = any(isinstance(event, Emitted) and event.number == 0 for event in own)
    found: tuple[Outcome, str] | None = None
    for event in own:
        mine = event.number == 0
        if isinstance(event, Dropped) and mine:
            return Outcome("dropped", str(event.reason)), event.why
        if isinstance(event, Refused) and mine:
            return Outcome("refused", event.errno), event.why
        if isinstance(event, Delivered) and mine:
            return Outcome("delivered to", event.socket), ""
        if isinstance(event, Sent) and (mine or event.packet.is_fragment):
            how = "sent by" if made_here else "forwarded by"
            return Outcome(how, event.dev), "" if mine else "in fragments"
        if isinstance(event, Passed) and mine and event.verdict in _KEPT:
            found = Outcome(_KEPT[event.verdict], f"on {event.hook}"), ""
        elif isinstance(event, Noted) and mine:
            found = Outcome(NOTED, event.text), ""
    return found or (Outcome("lost", "without a trace"), "")


_KEPT = {Verdict.STOLEN.name: "stolen", Verdict.QUEUE.name: "queued"}


def _caused(trace: Trace, host: str) -> Iterator[str]:
    """What the host made because of a packet, and what its kernel logged."""
    for event in trace.events:
        if event.host != host:
            continue
        if isinstance(event, Emitted) and event.number:
            message = event.packet.l4
            if isinstance(message, Icmp):
                yield f"icmp {ICMP_NAMES.get(message.type, 'type')} {message.type}/{message.code}"
            else:
                yield f"answers by {event.by}"
        elif isinstance(event, Logged):
            yield "lines in the kernel's log"


def _befallen(trace: Trace, host: str) -> Iterator[str]:
    """What came of time passing: fragments given up, and the errors that say so."""
    yield from _caused(trace, host)
    yield from (f"dropped: {event.reason}" for event in trace.dropped if event.host == host)


def _text(data: bytes) -> str:
    try:
        return str(Packet.from_bytes(data))
    except MalformedPacket as problem:
        return f"{len(data)} bytes, {problem}"
