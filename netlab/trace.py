"""The record of a packet's journey: what both worlds, the simulator and the real kernel, give back.

A `Trace` is a list of steps (one for each packet sent, clock moved, command run); a step is a list of events in the
order in which they happened. Every event names the host and the packet's number: 0 is the step's own packet, 1, 2 ...
are those it caused (errors, answers, redirects, fragments), and a packet keeps its number from host to host.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from netlab.names import Hook, World, protocol_name
from netlab.packet import Icmp, Packet

if TYPE_CHECKING:
    import pandas

UNKNOWN = "unknown"  # what a world cannot know; None means that there is none
PARTS = {
    "dropped": "what was dropped and why",
    "delivered": "what sockets took",
    "log": "the lines of its log",
}
"""What a world may not be able to see, in words."""


class Explained(Protocol):
    """A decision that can say why it was taken; `str()` of it is the decision in one line."""

    @property
    def why(self) -> Iterable[str]: ...


class Received(NamedTuple):
    """A frame came in by an interface, before any hook."""

    number: int
    host: str
    dev: str
    packet: Packet

    def __str__(self) -> str:
        return f"received on {self.dev}: {self.packet}"


class Emitted(NamedTuple):
    """A local process, or the kernel itself, made a packet, before any hook."""

    number: int
    host: str
    packet: Packet
    by: str

    def __str__(self) -> str:
        return f"made by {self.by}: {self.packet}"


@dataclass(slots=True, eq=False)
class Passed:
    """One hook entered. `packet` is as it left the hook (on a drop: as it was then), so is `state`.

    `state` is what conntrack says of the packet: None without conntrack. `verdict` is the hook's outcome.
    """

    number: int
    host: str
    hook: Hook
    dev_in: str | None
    dev_out: str | None
    packet: Packet
    verdict: str = UNKNOWN
    state: str | None = None

    def row(self) -> dict[str, Any]:
        """The row of `path` that the JSON form has for it."""
        packet = self.packet
        row: dict[str, Any] = {
            "packet": self.number, "host": self.host, "hook": self.hook.name, "state": self.state,
            "verdict": self.verdict, "in": self.dev_in, "out": self.dev_out, "src": packet.src, "dst": packet.dst,
            "proto": protocol_name(packet.proto), "sport": packet.sport, "dport": packet.dport, "ttl": packet.ttl,
        }  # fmt: skip
        message = packet.l4
        if isinstance(message, Icmp):
            row |= {"type": message.type, "code": message.code, "id": message.id}
        return row

    def __str__(self) -> str:
        ways = [f"in {self.dev_in}"] * bool(self.dev_in) + [f"out {self.dev_out}"] * bool(self.dev_out)
        state = f" [{self.state}]" if self.state else ""
        return f"{self.hook} ({', '.join(ways)}){state}: {self.verdict}"


class Called(NamedTuple):
    """One hook function was called. `note` says what went wrong in it, or what it waits for."""

    number: int
    host: str
    hook: Hook
    priority: int
    function: str
    verdict: str
    before: Packet
    after: Packet
    note: str = ""

    def __str__(self) -> str:
        changes = ", ".join(f"{name} {old} -> {new}" for name, old, new in self.before.diff(self.after))
        text = f"{self.function} at {self.priority}: {self.verdict}"
        return text + (f" [{changes}]" if changes else "") + (f" ({self.note})" if self.note else "")


class Ruled(NamedTuple):
    """A rule meant the packet, a chain ended or a policy decided, as `iptables -j TRACE` tells it.

    `rule` counts from 1 within its chain; None where the chain ended: there a chain on a hook has its policy decide.
    `text` is the rule as iptables-save prints it.
    """

    number: int
    host: str
    table: str
    chain: str
    rule: int | None
    verdict: str
    before: Packet
    after: Packet
    text: str = ""

    def __str__(self) -> str:
        chain = f"{self.table}:{self.chain}"
        changes = ", ".join(f"{name} {old} -> {new}" for name, old, new in self.before.diff(self.after))
        if self.rule is None:
            return f"{chain}:return" if self.verdict == "RETURN" else f"{chain}:policy {self.verdict}"
        return f"{chain}:rule:{self.rule} {self.verdict}  {self.text}".rstrip() + (f" [{changes}]" if changes else "")


class Routed(NamedTuple):
    """A route was looked up."""

    number: int
    host: str
    packet: Packet
    decision: Explained

    def __str__(self) -> str:
        return f"routing: {self.decision}"


class Sent(NamedTuple):
    """A frame left by an interface.

    `next_hop` is the address whose hardware address it was sent to, `peer` the interface at the other end of the link
    (`server:eth0`): None on an open interface, beyond which lies the outside world.
    """

    number: int
    host: str
    dev: str
    packet: Packet
    next_hop: str | None = None
    peer: str | None = None

    def __str__(self) -> str:
        to = f" to {self.next_hop}" if self.next_hop else ""
        return f"sent on {self.dev}{to}{f' at {self.peer}' if self.peer else ''}: {self.packet}"


class Delivered(NamedTuple):
    """A socket took the packet; `socket` is `tcp/80`, `udp/53`, or what answers for the kernel itself (`icmp`)."""

    number: int
    host: str
    socket: str
    packet: Packet

    def __str__(self) -> str:
        return f"delivered to {self.socket}"


class Dropped(NamedTuple):
    """The packet ended here. `reason` is the kernel's name for why, `why` the same in plain words.

    `packet` is None for bytes that are no packet.
    """

    number: int
    host: str
    reason: str
    packet: Packet | None
    why: str = ""

    def __str__(self) -> str:
        return f"dropped: {self.reason}" + (f", {self.why}" if self.why else "")


class Refused(NamedTuple):
    """The local sender's system call failed with that errno's name."""

    number: int
    host: str
    errno: str
    why: str = ""

    def __str__(self) -> str:
        return f"send failed: {self.errno}" + (f", {self.why}" if self.why else "")


class Noted(NamedTuple):
    """Anything else worth telling: a fragment kept for reassembly, a packet handed to a queue."""

    number: int
    host: str
    text: str

    def __str__(self) -> str:
        return self.text


class Logged(NamedTuple):
    """A line of the kernel's log."""

    number: int
    host: str
    line: str

    def __str__(self) -> str:
        return f"log: {self.line}"


class Ran(NamedTuple):
    """A command was run on a host: its exit status, 0 when it has done what it was told, and what it printed."""

    number: int
    host: str
    status: int
    printed: str

    def __str__(self) -> str:
        return (
            "\n".join([f"exit status {self.status}"] * bool(self.status) + [self.printed] * bool(self.printed))
            or "done"
        )


class Aged(NamedTuple):
    """On the real kernel: time that passed for tracked connections alone (`--age`).

    Of the `seconds`, so many were `waited` for; as many connections and expectations as `lowered` were made older by
    the rest, and `over` were deleted, since their time was over.
    """

    number: int
    host: str
    seconds: int
    waited: int
    lowered: int
    over: int

    def row(self) -> dict[str, Any]:
        """The row of `aged` that the JSON form has for it."""
        return {"host": self.host} | {name: getattr(self, name) for name in ("seconds", "waited", "lowered", "over")}

    def __str__(self) -> str:
        waited = f" (but for {self.waited} s, which passed for all)" if self.waited else ""
        text = f"{self.seconds} s passed for tracked connections alone{waited}"
        return f"{text}: {self.lowered} made older, {self.over} over"


Event = (
    Received
    | Emitted
    | Passed
    | Called
    | Ruled
    | Routed
    | Sent
    | Delivered
    | Dropped
    | Refused
    | Noted
    | Logged
    | Ran
    | Aged
)


class Step:
    """One thing done in a scenario, and all that came of it.

    `title` is a format for `about`, put together when somebody asks: most steps of a long run nobody looks at.
    """

    __slots__ = ("_about", "_title", "events")

    def __init__(self, title: str, *about: object) -> None:
        self._title = title
        self._about = about
        self.events: list[Event] = []

    @property
    def title(self) -> str:
        """What was done, in one line."""
        return self._title.format(*self._about) if self._about else self._title

    def __repr__(self) -> str:
        return f"<Step: {self.title}; {len(self.events)} events>"

    def to_json(self, number: int) -> dict[str, Any]:
        """This step in the JSON form that both worlds share; `out` holds the frames that left for the outside."""
        events = self.events
        row: dict[str, Any] = {
            "step": number,
            "path": [e.row() for e in events if isinstance(e, Passed)],
            "out": [
                {"packet": e.number, "host": e.host, "dev": e.dev, "hex": e.packet.to_bytes().hex()}
                for e in events
                if isinstance(e, Sent) and e.peer is None
            ],
            "delivered": [
                {"packet": e.number, "host": e.host, "socket": e.socket} for e in events if isinstance(e, Delivered)
            ],
            "dropped": [
                {"packet": e.number, "host": e.host, "reason": str(e.reason)} for e in events if isinstance(e, Dropped)
            ],
            "errno": next((e.errno for e in events if isinstance(e, Refused)), None),
            "status": next((e.status for e in events if isinstance(e, Ran)), None),
        }
        if aged := [e.row() for e in events if isinstance(e, Aged)]:
            row["aged"] = aged
        return row


@dataclass(slots=True, repr=False)
class Trace:
    """All steps of a run, in one of the two worlds. `kernel` is the kernel's release where it is the real one.

    `unknown` names the parts that this world could not see; in the JSON form they are the string "unknown".
    `conntrack` holds, by host, the connections it tracks at the end, as `conntrack -L` prints them; `counters` its
    rules with what they have counted, as `iptables-save -c` prints them; `silent` names the hosts whose LOG rules
    write lines that this world cannot see. `iptables` says which of the two iptables there are: nft or legacy.
    """

    steps: list[Step] = field(default_factory=list)
    world: World = World.SIMULATOR
    kernel: str | None = None
    unknown: tuple[str, ...] = ()
    conntrack: dict[str, list[str]] = field(default_factory=dict)
    counters: dict[str, list[str]] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    iptables: str = "nft"

    @property
    def events(self) -> Iterator[Event]:
        """Every event of every step."""
        return (event for step in self.steps for event in step.events)

    @property
    def path(self) -> list[Passed]:
        """The hooks entered, in order, with what happened there."""
        return [event for event in self.events if isinstance(event, Passed)]

    @property
    def hooks(self) -> list[Hook]:
        """The hooks that the steps' own packets entered, in order (not those of errors and answers)."""
        return [event.hook for event in self.path if event.number == 0]

    @property
    def out(self) -> list[Sent]:
        """The frames that left the hosts."""
        return [event for event in self.events if isinstance(event, Sent)]

    @property
    def delivered(self) -> list[Delivered]:
        """What arrived in sockets."""
        return [event for event in self.events if isinstance(event, Delivered)]

    @property
    def dropped(self) -> list[Dropped]:
        """What was dropped, and why."""
        return [event for event in self.events if isinstance(event, Dropped)]

    @property
    def errno(self) -> str | None:
        """The errno's name with which the first failing local send failed; None when none failed."""
        return next((event.errno for event in self.events if isinstance(event, Refused)), None)

    @property
    def log(self) -> dict[str, list[str]]:
        """The lines of the kernel's log, by host."""
        lines: dict[str, list[str]] = {}
        for event in self.events:
            if isinstance(event, Logged):
                lines.setdefault(event.host, []).append(event.line)
        return lines

    def to_json(self) -> dict[str, Any]:
        """The form that `python -m netlab run --json` prints, the same for both worlds."""
        steps = [step.to_json(number) for number, step in enumerate(self.steps)]
        for step in steps:
            step |= {part: UNKNOWN for part in self.unknown if part in step}
        return {
            "world": self.world.value,
            "kernel": self.kernel,
            "steps": steps,
            "iptables": self.iptables,
            "conntrack": self.conntrack,
            "counters": self.counters,
            "log": UNKNOWN if "log" in self.unknown else self._log_as_known(),
        }

    def _log_as_known(self) -> dict[str, list[str]]:
        """The log, with the word for unknown behind it where LOG rules may have written more."""
        log = self.log
        return log | {host: [*log.get(host, []), UNKNOWN] for host in self.silent}

    def frame(self) -> "pandas.DataFrame":
        """One row an event as a pandas frame: step, packet, host, event, hook, verdict, src, dst, ..., text."""
        import pandas

        return pandas.DataFrame(
            [_frame_row(number, event) for number, step in enumerate(self.steps) for event in step.events],
            columns=_COLUMNS,
        )

    def text(self) -> str:
        """The whole journey, a line an event, for a terminal; at its end the connections tracked."""
        lines: list[str] = []
        for number, step in enumerate(self.steps):
            lines.append(f"step {number}: {step.title}")
            width = max((len(event.host) for event in step.events), default=0)
            lines += [
                f"  #{event.number} {event.host:<{width}}  {_INDENT[type(event)]}{event}" for event in step.events
            ]
        for host, entries in self.conntrack.items():
            lines += [f"conntrack of {host}:{'' if entries else ' nothing'}", *(f"  {entry}" for entry in entries)]
        for host, rules in self.counters.items():
            lines += [f"rules of {host}:", *(f"  {rule}" for rule in rules)]
        return "\n".join([*lines, *self._unseen()])

    def _unseen(self) -> Iterator[str]:
        """What this world could not see, in sentences."""
        if self.unknown:
            yield f"unknown here: {', '.join(PARTS[name] for name in self.unknown)}"
        for host in self.silent:
            yield f"unknown here: the lines that LOG rules of {host} have written"

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        done = self.steps[0].title if len(self.steps) == 1 else f"{len(self.steps)} steps"
        return f"<Trace, {self.world.value}: {done}; {sum(len(step.events) for step in self.steps)} events>"

    def _repr_html_(self) -> str:
        parts = []
        for number, step in enumerate(self.steps):
            rows = "".join(_table_row(event) for event in step.events)
            head = "".join(
                f'<th scope="col" {_LEFT}>{name}</th>' for name in ("packet", "host", "event", "what happened")
            )
            parts.append(
                f"<table><caption {_LEFT}>step {number}: {escape(step.title)}</caption>"
                f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
            )
        for host, entries in self.conntrack.items():
            parts.append(f"<p>conntrack of {escape(host)}</p><pre>{escape(chr(10).join(entries)) or 'nothing'}</pre>")
        for host, rules in self.counters.items():
            parts.append(f"<p>rules of {escape(host)}</p><pre>{escape(chr(10).join(rules))}</pre>")
        parts += [f"<p>{escape(sentence)}</p>" for sentence in self._unseen()]
        return "".join(parts)


_LEFT = 'style="text-align:left"'  # JupyterLab by itself puts what stands in tables to the right


def _table_row(event: Event) -> str:
    kind = type(event)
    cells = (str(event.number), escape(event.host), kind.__name__.lower(), escape(str(event)))
    *first, last = cells
    indent = f"text-align:left;padding-left:{0.5 + len(_INDENT[kind]) / 2}em"
    return f'<tr>{"".join(f"<td {_LEFT}>{cell}</td>" for cell in first)}<td style="{indent}">{last}</td></tr>'


_INDENT: dict[type, str] = dict.fromkeys((Received, Emitted, Sent, Delivered, Dropped, Refused, Logged, Ran, Aged), "")
_INDENT |= {Passed: "", Called: "    ", Ruled: "        ", Routed: "", Noted: "    "}

_COLUMNS = [
    "step", "packet", "host", "event", "hook", "function", "verdict", "in", "out",
    "src", "dst", "proto", "sport", "dport", "ttl", "text",
]  # fmt: skip


def _frame_row(step: int, event: Event) -> dict[str, Any]:
    row: dict[str, Any] = {
        "step": step,
        "packet": event.number,
        "host": event.host,
        "event": type(event).__name__,
    }
    packet = getattr(event, "after", None) or getattr(event, "packet", None)
    if isinstance(packet, Packet):
        row |= {"src": packet.src, "dst": packet.dst, "proto": protocol_name(packet.proto), "ttl": packet.ttl}
        row |= {"sport": packet.sport, "dport": packet.dport}
    if isinstance(event, Passed):
        row |= {"hook": event.hook.name, "verdict": event.verdict, "in": event.dev_in, "out": event.dev_out}
    elif isinstance(event, Called):
        row |= {"hook": event.hook.name, "function": event.function, "verdict": event.verdict}
    elif isinstance(event, Ruled):
        row |= {"function": f"{event.table}:{event.chain}", "verdict": event.verdict}
    elif isinstance(event, Received):
        row["in"] = event.dev
    elif isinstance(event, Sent):
        row["out"] = event.dev
    return row | {"text": str(event)}
