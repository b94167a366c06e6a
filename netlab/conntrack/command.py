"""The command `conntrack` of a simulated host: conntrack(8) 1.4.7, with its own words for results and errors.

    print(conntrack(router, "-L -p tcp --state ESTABLISHED"))

Like the real one it knows a protocol's options only after `-p`, and takes numbers as C does: what is none counts as 0.
"""

from collections.abc import Callable, Sequence
from typing import Final, NoReturn, Protocol

from netlab.conntrack.entry import Entry
from netlab.conntrack.events import Event, Statistics
from netlab.conntrack.expect_text import expect_line
from netlab.conntrack.expectations import ExpectStatistics
from netlab.conntrack.options import (
    ADDRESSES,
    EVENTS,
    OPTIONS_OF,
    Call,
    Output,
    Refused,
    c_number,
    each,
    mark_and_mask,
    matches,
    network,
    parse,
)  # fmt: skip
from netlab.conntrack.text import SUMMARY, Line, line_of
from netlab.conntrack.track import Conntrack
from netlab.conntrack.tuples import FlowTuple
from netlab.names import Proto

VERSION: Final = SUMMARY.removesuffix(": ")
_USAGE: Final = """\
Usage: conntrack -L|-G|-D|-U|-E|-F|-C|-S [conntrack|expect] [OPTION ...]

  -L list, -G get one, -D delete, -U update, -E events since the last -E, -F flush, -C count, -S statistics

  -s, -d, -r, -q ADDRESS[/LENGTH]     source, destination; those of the reply
  -p PROTOCOL                         with --sport, --dport, --reply-port-src, --reply-port-dst PORT; for tcp
                                      --state STATE; for icmp --icmp-type, --icmp-code, --icmp-id NUMBER
  -u ASSURED|SEEN_REPLY|...           status
  -m MARK[/MASK], -t SECONDS          mark, timeout; what -U sets
  -n, -g, -j [ADDRESS]                flows with another source, another destination, either
  -e NEW|UPDATES|DESTROY|ALL          of events
  -o extended|id|timestamp            what is printed"""


class Tracked(Protocol):
    """A host, as far as this command needs it."""

    conntrack: Conntrack | None


def conntrack(host: Tracked, line: str | Sequence[str]) -> Output:
    """Run `conntrack` with these arguments on a host.

    `-E` does not wait, as the real one does: it prints what happened since the last `-E`, and ends. A host that tracks
    nothing has an empty table.

    Raises:
        NetlabError: quotation marks that do not end.
    """
    try:
        call = parse(line)
        tracker = host.conntrack
        if call.command == "version":
            return Output(VERSION)
        if call.command == "help":
            return Output(_USAGE)
        if tracker is None:
            return _nothing(call)
        doing = _DOING_EXPECT if call.table == "expect" else _DOING
        if call.command not in doing:
            raise Refused("Invalid commands combination")
        return doing[call.command](tracker, call)
    except Refused as refused:
        return refused.output


def _summary(count: int, done: str, what: str = "flow entries", status: int = 0) -> Output:
    return Output("", f"{SUMMARY}{count} {what} have been {done}.", status)


def _nothing(call: Call) -> Output:
    """What a host prints that tracks nothing."""
    if call.command == "count":
        return Output("0")
    if call.command == "stats":
        return Output(str(ExpectStatistics() if call.table == "expect" else Statistics()))
    if call.command == "flush":
        return _flushed(call)
    if call.command == "get":
        _no_such_entry()
    if call.table == "expect":
        return _summary(0, "shown", "expectation events" if call.command == "events" else "expectations")
    done = {"list": "shown", "delete": "deleted", "update": "updated", "events": "shown"}[call.command]
    status = 1 if call.command in ("delete", "update") else 0
    return _summary(0, done, "flow events" if call.command == "events" else "flow entries", status)


def _flushed(call: Call) -> Output:
    name = "expectation" if call.table == "expect" else "connection tracking"
    return Output("", f"{SUMMARY}{name} table has been emptied.")


def _no_such_entry() -> NoReturn:
    raise Refused("Operation failed: such conntrack doesn't exist", status=1)


def _text(line: Line, call: Call, entry: Entry) -> str:
    if call.flag("extended"):
        line = line.with_(prefix=f"ipv4     2 {line.prefix}")
    if call.flag("id"):
        line = line.with_(extra=line.extra | {"id": str(entry.id)})
    return str(line)


def _meant(tracker: Conntrack, call: Call) -> list[tuple[Entry, Line]]:
    both = zip(tracker.lines(), tracker.table, strict=True)
    return [(entry, line) for line, entry in both if matches(call, entry)]


def _printed(lines: list[str], done: str, status: int = 0) -> Output:
    return _summary(len(lines), done, status=status)._replace(out="\n".join(lines))


def _list(tracker: Conntrack, call: Call) -> Output:
    return _printed([_text(line, call, entry) for entry, line in _meant(tracker, call)], "shown")


def _get(tracker: Conntrack, call: Call) -> Output:
    wanted = _wanted_tuple(call)
    entry = tracker.table.find(wanted, tracker.now)
    if entry is None:
        _no_such_entry()
    if entry.original != wanted:
        return _summary(0, "shown", status=1)
    return _printed([_text(line_of(entry, tracker.now, use=2), call, entry)], "shown")


def _wanted_tuple(call: Call) -> FlowTuple:
    options = call.options
    if call.proto is None:
        raise Refused("You need to supply the `--protonum' option for this command")
    if "src" not in options or "dst" not in options:
        if "reply-src" in options and "reply-dst" in options:
            raise Refused("Operation failed: invalid parameters", status=1)
        raise Refused("you have to specify `--src' and `--dst'")
    needed = OPTIONS_OF.get(call.proto, {})
    if call.proto == Proto.ICMP:
        for option, name in needed.items():
            if name not in options:
                raise Refused(f"You need to supply the `{option}' option for this command")
        ports = c_number(options["id"]), c_number(options["type"]) << 8 | c_number(options["code"])
    elif needed:
        if "sport" not in options or "dport" not in options:
            first, second = [key for key, name in needed.items() if name in ("sport", "dport") and "orig" not in key]
            raise Refused(f"you have to specify `{first}' and `{second}'")
        ports = c_number(options["sport"]), c_number(options["dport"])
    else:
        ports = 0, 0
    return FlowTuple(network(options["src"])[0], network(options["dst"])[0], call.proto, *ports)


def _delete(tracker: Conntrack, call: Call) -> Output:
    lines = []
    for entry, line in _meant(tracker, call):
        tracker.delete(entry, BY)
        lines.append(_text(line, call, entry))
    return _printed(lines, "deleted", status=0 if lines else 1)


BY: Final = "portid=4242 progname=conntrack"
"""Who did it, as events name the program; every program has a number of its own in the kernel."""


def _update(tracker: Conntrack, call: Call) -> Output:
    changes: dict[str, str] = {}
    for name in ("mark", "timeout"):
        if name in call.options:
            changes[name] = call.options.pop(name)
    meant = _meant(tracker, call)
    if changes and meant and not any(name in call.options for name in ADDRESSES):
        problem = "Operation failed: Operation not supported"  # a quirk of 1.4.7: it wants an address
        return Output("", f"{problem}\n{SUMMARY}{problem}", 1)
    lines = []
    for entry, _ in meant:
        if not _change(tracker, entry, changes):
            continue
        lines.append(_text(line_of(entry, tracker.now, use=2), call, entry))
    # Of several entries the real one, too, prints the first only.
    return _summary(len(lines), "updated", status=0 if lines else 1)._replace(out="\n".join(lines[:1]))


def _change(tracker: Conntrack, entry: Entry, changes: dict[str, str]) -> bool:
    """Change an entry as asked; whether it is another one then."""
    if "timeout" in changes:
        entry.expires = tracker.now + c_number(changes["timeout"])
    mark = entry.mark
    if "mark" in changes:
        value, mask = mark_and_mask(changes["mark"])
        mark = mark & ~mask ^ value
    if mark == entry.mark and "timeout" not in changes:
        return False
    tracker.set_mark(entry, mark, BY)
    return True


def _events(tracker: Conntrack, call: Call) -> Output:
    kinds = {kind for word in each(call.options.get("event-mask", "ALL"), EVENTS) for kind in EVENTS[word]}
    told = [event for event in tracker.events if event.kind in kinds and matches(call, event.entry)]
    tracker.events.clear()
    return Output(
        "\n".join(_event(event, call) for event in told), f"{SUMMARY}{len(told)} flow events have been shown."
    )


def _time(seconds: float) -> str:
    return f"[{seconds:.6f}]\t"


def _event(event: Event, call: Call) -> str:
    time = _time(event.time) if call.flag("timestamp") else ""
    line = event.line(id=call.flag("id"))
    return f"{time}{f'[{event.kind}]':>9} {'ipv4     2 ' if call.flag('extended') else ''}{line}"


def _flush(tracker: Conntrack, call: Call) -> Output:
    for entry in list(tracker.table):
        tracker.delete(entry, BY)
    return _flushed(call)


def _flush_expectations(tracker: Conntrack, call: Call) -> Output:
    tracker.expectations.clear()
    return _flushed(call)


def _list_expectations(tracker: Conntrack, call: Call) -> Output:
    now = tracker.now
    prefix = _time(now) if call.flag("timestamp") else ""
    lines = [str(expect_line(one, now, prefix)) for one in tracker.expectations.living(now)]
    return _summary(len(lines), "shown", "expectations")._replace(out="\n".join(lines))


def _expectation_events(tracker: Conntrack, call: Call) -> Output:
    lines = []
    for time, kind, one in tracker.expectation_events:
        prefix = f"{_time(time) if call.flag('timestamp') else ''}{f'[{kind}]':>9} "
        lines.append(str(expect_line(one, time, prefix)))
    tracker.expectation_events.clear()
    return _summary(len(lines), "shown", "expectation events")._replace(out="\n".join(lines))


_Doing = dict[str, Callable[[Conntrack, Call], Output]]

_DOING: Final[_Doing] = {
    "list": _list, "get": _get, "delete": _delete, "update": _update, "events": _events, "flush": _flush,
    "count": lambda tracker, _: Output(str(len(tracker.table))),
    "stats": lambda tracker, _: Output(str(tracker.statistics)),
}  # fmt: skip
_DOING_EXPECT: Final[_Doing] = {
    "list": _list_expectations, "events": _expectation_events, "flush": _flush_expectations,
    "count": lambda tracker, _: Output(str(len(tracker.expectations.living(tracker.now)))),
    "stats": lambda tracker, _: Output(str(tracker.expectations.statistics)),
}  # fmt: skip
