"""What a campaign has touched, so that agreement over nothing cannot look good."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from netlab.conntrack.text import parse_line
from netlab.names import protocol_name
from netlab.trace import Aged, Delivered, Dropped, Logged, Passed, Refused, Sent, Trace

Coverage = Counter[tuple[str, str]]

_MATCH = re.compile(r" -m (\S+)")
_TARGET = re.compile(r" -[jg] ([A-Z]+)\b")
LONG_JOURNEY = 12  # hooks; packets that go round are told apart no further


def covered(trace: Trace) -> Coverage:
    """How often each hook sequence, drop reason, ICMP message, errno and socket occurs, as (kind, name)."""
    found: Coverage = Counter()
    for step in trace.steps:
        journeys: dict[int, list[str]] = {}
        if aged := [event for event in step.events if isinstance(event, Aged)]:
            found["connections after a pause", "living"] += sum(event.lowered for event in aged)
            found["connections after a pause", "over"] += sum(event.over for event in aged)
            continue
        tracked = any(isinstance(event, Passed) and event.state for event in step.events)
        found["packets", "on a host that tracks" if tracked else "untracked"] += 1
        for event in step.events:
            if isinstance(event, Passed):
                journeys.setdefault(event.number, []).append(event.hook.name)
                if event.state:
                    found["states", event.state] += 1
            elif isinstance(event, Sent):
                row = event.packet.l4
                name = type(row).__name__.lower() if row else "fragment or other protocol"
                found["frames out", name] += 1
            elif isinstance(event, Dropped):
                found["drop reasons", event.reason] += 1
            elif isinstance(event, Refused):
                found["errno of local sends", event.errno] += 1
            elif isinstance(event, Delivered):
                found["sockets", event.socket] += 1
            elif isinstance(event, Logged):
                found["log lines", " ".join(event.line.split()[1:3])] += 1
            if isinstance(event, Passed) and event.hook.name == "LOCAL_OUT" and event.packet.proto == 1:
                message = event.row()
                found["ICMP made by hosts", f"{message.get('type')}/{message.get('code')}"] += 1
        for hooks in journeys.values():
            more = " ..." if len(hooks) > LONG_JOURNEY else ""
            found["hook sequences", " ".join(hooks[:LONG_JOURNEY]) + more] += 1
    for line in (parse_line(text) for lines in trace.conntrack.values() for text in lines):
        counted = " with counters" if line.counters else ""
        found["connections at the end", f"{line.state or protocol_name(line.original.proto)}{counted}"] += 1
    for rules in trace.counters.values():
        found["packets", "under rules"] += len(trace.steps)
        found += _rules_used(rules)
    return found


def _rules_used(lines: Iterable[str]) -> Coverage:
    """The matches and targets of the rules that have meant a packet."""
    found: Coverage = Counter()
    for line in lines:
        if line.startswith("[") and not line.startswith("[0:0]"):
            found.update(("matches that meant a packet", name) for name in _MATCH.findall(line))
            found.update(("targets reached", name) for name in _TARGET.findall(line))
    return found


def table(coverage: Mapping[tuple[str, str], int]) -> str:
    """The coverage as text, a line a kind."""
    kinds = sorted({kind for kind, _ in coverage})
    lines = []
    for kind in kinds:
        items = sorted(((count, name) for (k, name), count in coverage.items() if k == kind), reverse=True)
        lines.append(f"{kind} ({len(items)}): " + ", ".join(f"{name} {count}" for count, name in items))
    return "\n".join(lines)
