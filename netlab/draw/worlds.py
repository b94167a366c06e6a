"""Two traces of one scenario side by side, the simulator's and a kernel's: rows, and the rows as an HTML table.

The rows show what `netlab.kernel.compare` compares and nothing else, step by step: the hooks entered, in order, and
then what became of the packets.
"""

from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from enum import Enum
from html import escape
from importlib.resources import files
from itertools import chain, zip_longest
from typing import Any, Final, NamedTuple

from netlab.conntrack.text import Line
from netlab.kernel.compare import BY_CHANCE, Json, by_table, canonical, entries
from netlab.packet import ICMP_NAMES, ICMP_QUERIES, Packet
from netlab.trace import UNKNOWN

STYLE: Final = files("netlab.draw").joinpath("worlds.css").read_text(encoding="utf-8")

SIMULATOR: Final = "netlab's simulator"


class Agreement(Enum):
    """Whether the worlds agree in one row, as it is printed: never by colour alone."""

    SAME = "= same"
    DIFFERS = "≠ differs"
    UNKNOWN = "? unknown"


class Said(NamedTuple):
    """What one world says in a row: what happened, and to which packet."""

    what: str
    packet: str = ""

    def __str__(self) -> str:
        return ": ".join(filter(None, self))


NOTHING: Final = Said("nothing")
_UNKNOWN: Final = Said(UNKNOWN)


class Row(NamedTuple):
    """One thing that happened in one of the worlds, or in both."""

    packet: str
    host: str
    where: str
    simulator: Said
    kernel: Said
    agreement: Agreement


Item = dict[str, Any]
Place = tuple[str, str, str]  # packet, host, where


def rows(simulator: Json, kernel: Json | None) -> list[list[Row]]:
    """The rows of each step, and at the end those of the kernel's log, from traces as `Trace.to_json` gives them.

    Without a trace of the kernel everything on its side is unknown.
    """
    mine = list(canonical(simulator))
    theirs: list[Item] = list(canonical(kernel)) if kernel else [dict.fromkeys(step, UNKNOWN) for step in mine]
    steps = [
        list(chain.from_iterable(_aligned(part, left[part.name], right[part.name]) for part in _PARTS))
        for left, right in zip(mine, theirs, strict=True)
    ]
    log = list(_aligned(_LOG, _lines(simulator["log"]), _lines(kernel["log"]) if kernel else UNKNOWN))
    return [*steps, log]


def rule_rows(simulator: Json, kernel: Json | None) -> list[Row]:
    """A row for each chain and each rule of the tables in use, with the counters that both worlds have at the end."""
    found: list[Row] = []
    for host, printed in simulator.get("counters", {}).items():
        theirs = by_table(kernel.get("counters", {}).get(host, ())) if kernel else {}
        for table, mine in by_table(printed).items():
            by_chance = any(BY_CHANCE.search(line) for line in mine)
            for here, there in zip_longest(mine, theirs.get(table, []), fillvalue=""):
                if not (here or there).startswith((":", "[")):
                    continue
                agreement = Agreement.SAME if here == there else Agreement.DIFFERS
                if by_chance or kernel is None:
                    agreement = Agreement.UNKNOWN
                kernel_says = Said("", there) if kernel else _UNKNOWN
                found.append(Row("", host, table.removeprefix("*"), Said("", here), kernel_says, agreement))
    return found


def entry_rows(simulator: Json, kernel: Json | None) -> list[Row]:
    """A row for each flow that a tracker knows at the end; a timeout may be a second or two off."""
    pairs = entries(simulator, kernel or simulator)
    return [
        Row(
            "",
            pair.host,
            "conntrack",
            _say_entry(pair.simulator),
            _say_entry(pair.kernel) if kernel else _UNKNOWN,
            Agreement.UNKNOWN if kernel is None else Agreement.SAME if pair.same else Agreement.DIFFERS,
        )
        for pair in pairs
    ]


def _say_entry(line: Line | None) -> Said:
    return NOTHING if line is None else Said("", " ".join(str(line).split()))


class _Part(NamedTuple):
    """One part of a step's JSON: what its items are called in a row, and what they say."""

    name: str
    place: Callable[[Item], Place]
    say: Callable[[Item, Item], Said]


def _aligned(part: _Part, mine: Any, theirs: Any) -> Iterator[Row]:
    """The items of both worlds, those that belong together in one row."""
    left, right = _items(mine), _items(theirs)
    if UNKNOWN in (mine, theirs):
        for item in left or right:
            said = part.say(item, {})
            pair = (said, _UNKNOWN) if theirs == UNKNOWN else (_UNKNOWN, said)
            yield Row(*part.place(item), *pair, Agreement.UNKNOWN)
        return
    for one, other in _pairs(left, right, part.place):
        here, there = part.say(one, other) if one else NOTHING, part.say(other, one) if other else NOTHING
        yield Row(*part.place(one or other), here, there, Agreement.SAME if one == other else Agreement.DIFFERS)


def _pairs(left: Sequence[Item], right: Sequence[Item], place: Callable[[Item], Place]) -> Iterator[tuple[Item, Item]]:
    """Both lists in order, with items of the same place beside each other, and {} where one has no partner."""
    matcher = SequenceMatcher(None, [place(item) for item in left], [place(item) for item in right], autojunk=False)
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        if kind == "equal":
            yield from zip(left[start:end], right[other_start:other_end], strict=True)
        else:
            yield from ((item, {}) for item in left[start:end])
            yield from (({}, item) for item in right[other_start:other_end])


def _items(part: Any) -> list[Item]:
    """A part of a step as a list: an errno is one item or none."""
    if part in (None, UNKNOWN):
        return []
    return list(part) if isinstance(part, list) else [{"errno": part}]


def _lines(log: Any) -> Any:
    if log == UNKNOWN:
        return log
    return [{"host": host, "line": line} for host in sorted(log) for line in log[host]]


def _say_passage(row: Item, than: Item) -> Said:
    ways = [f"{way} {row[way]}" for way in ("in", "out") if row[way]]
    state = f" [{row['state']}]" if row["state"] else ""
    ports = row["sport"] is not None
    source, destination = (f"{row[a]}:{row[p]}" if ports else row[a] for a, p in (("src", "sport"), ("dst", "dport")))
    message = ""
    if "type" in row:
        message = f" {ICMP_NAMES.get(row['type'], 'type')} {row['type']}/{row['code']}"
        message += f" id={row['id']}" if row["type"] in ICMP_QUERIES else ""
    packet = f"{source} > {destination} {row['proto']}{message} ttl={row['ttl']}"
    return Said(", ".join([f"{row['verdict']}{state}", *ways]), packet)


def _say_frame(frame: Item, than: Item) -> Said:
    packet = _packet(frame)
    odd = [f"{name}={here}" for name, here, _ in packet.diff(_packet(than))] if than else []
    return Said("", " ".join([str(packet), *odd]))


def _packet(frame: Item) -> Packet:
    return Packet.from_bytes(bytes.fromhex(frame["hex"]))


def _place(where: Callable[[Item], str]) -> Callable[[Item], Place]:
    return lambda item: (str(item["packet"]), item["host"], where(item))


_PARTS: Final = (
    _Part("errno", lambda item: ("0", "", "send"), lambda item, _: Said(f"fails with {item['errno']}")),
    _Part("path", _place(lambda item: str(item["hook"])), _say_passage),
    _Part("out", _place(lambda item: f"out by {item['dev']}"), _say_frame),
    _Part("delivered", _place(lambda item: "socket"), lambda item, _: Said(f"delivered to {item['socket']}")),
    _Part("dropped", _place(lambda item: "dropped"), lambda item, _: Said(str(item["reason"]))),
)
_LOG: Final = _Part("log", lambda item: ("", item["host"], "log"), lambda item, _: Said(item["line"]))


# ---------------------------------------------------------------- showing them


def worlds_table(titles: Sequence[str], steps: Sequence[Sequence[Row]], caption: str, kernel: str) -> str:
    """The rows as an HTML table with its style: a group for each step, a title for each group.

    `caption` and `kernel` (the heading of the right column) are plain text.
    """
    columns = ("packet", "host", "where", SIMULATOR, "agree?", kernel)
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    groups = "".join(
        f'<tbody><tr><th scope="rowgroup" colspan="{len(columns)}">{escape(title)}</th></tr>'
        f"{''.join(map(_html, group))}</tbody>"
        for title, group in zip(titles, steps, strict=True)
        if group
    )
    return (
        f'<style>{STYLE}</style><div class="netlab-worlds" role="region" aria-label="Both worlds" tabindex="0">'
        f"<p>{escape(caption)}</p>"
        f"<table><thead><tr>{head}</tr></thead>{groups}</table></div>"
    )


def _html(row: Row) -> str:
    cells = [
        f"<td>{escape(row.packet)}</td>", f"<td>{escape(row.host)}</td>", f'<th scope="row">{escape(row.where)}</th>',
        _cell(row.simulator), f'<td class="agrees">{row.agreement.value}</td>', _cell(row.kernel),
    ]  # fmt: skip
    return f'<tr class="{row.agreement.name.lower()}">{"".join(cells)}</tr>'


def _cell(said: Said) -> str:
    packet = f"<code>{escape(said.packet)}</code>" if said.packet else ""
    return f"<td>{escape(said.what)}{packet}</td>"


def worlds_text(titles: Sequence[str], steps: Sequence[Sequence[Row]]) -> str:
    """The rows for a terminal: what both say is printed once."""
    lines = []
    for title, group in zip(titles, steps, strict=True):
        if not group:
            continue
        lines.append(title)
        width = max(len(_place_of(row)) for row in group)
        for row in group:
            start = f"  {row.agreement.value[0]} {_place_of(row):<{width}}  "
            if row.agreement is Agreement.SAME:
                lines.append(f"{start}{row.simulator}")
            else:
                lines.append(f"{start}simulator: {row.simulator}")
                lines.append(f"{'':<{len(start)}}kernel:    {row.kernel}")
    return "\n".join(lines)


def _place_of(row: Row) -> str:
    return " ".join(filter(None, [f"#{row.packet}" * bool(row.packet), row.host, row.where]))
