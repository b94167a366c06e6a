"""Connection tracking to be looked at: TCP's states, the hash table with its chains, timeouts running down.

`tcp_states()` is drawn from the very table that the tracker uses; a notebook's reader walks it by choosing what comes
next. `chains(tracker)` draws the buckets, `countdown(tracker)` the time that entries have left. Only HTML and SVG, no
script: a state is chosen with radio buttons, so that the keyboard and screen readers can do it too.
"""

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from importlib.resources import files
from itertools import count, pairwise
from math import hypot
from typing import Final

from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.tcp_table import IGNORE, INVALID, TABLE, Kind
from netlab.conntrack.text import explain, line_of
from netlab.conntrack.track import Conntrack
from netlab.conntrack.tuples import Direction, FlowTuple
from netlab.draw.hookmap import STYLE as MAP_STYLE
from netlab.names import NetlabError, TcpState

STYLE: Final = MAP_STYLE + files("netlab.draw").joinpath("conntrack.css").read_text(encoding="utf-8")

Point = tuple[float, float]

# ---------------------------------------------------------------- TCP's states

CENTRES: Final[Mapping[TcpState, Point]] = {
    TcpState.NONE: (70, 170), TcpState.SYN_SENT: (230, 60), TcpState.SYN_SENT2: (230, 280),
    TcpState.SYN_RECV: (400, 170), TcpState.ESTABLISHED: (550, 110), TcpState.FIN_WAIT: (550, 250),
    TcpState.CLOSE_WAIT: (685, 110), TcpState.LAST_ACK: (685, 250), TcpState.TIME_WAIT: (850, 180),
    TcpState.CLOSE: (400, 370),
}  # fmt: skip
WIDTH, HEIGHT, BOX = 920, 410, (116, 36)
BEND: Final = 0.12
"""How far an arrow's middle is off the straight line, as a part of its length."""
BENDS: Final[Mapping[tuple[TcpState, TcpState], float]] = {
    (TcpState.NONE, TcpState.ESTABLISHED): -0.12, (TcpState.TIME_WAIT, TcpState.SYN_SENT): 0.3,
    (TcpState.TIME_WAIT, TcpState.CLOSE): -0.28, (TcpState.LAST_ACK, TcpState.CLOSE): -0.12,
    (TcpState.CLOSE_WAIT, TcpState.CLOSE): 0.2,
}  # fmt: skip
"""Where another state is in the way."""

NAMES: Final = {
    Kind.SYN: "SYN", Kind.SYN_ACK: "SYN-ACK", Kind.FIN: "FIN", Kind.ACK: "ACK", Kind.RST: "RST",
    Kind.NONE: "a segment without any of these flags",
}  # fmt: skip
FROM: Final = {Direction.ORIGINAL: "from the one who began", Direction.REPLY: "from the one who answers"}

_prefixes = count(1)


def steps_from(state: TcpState) -> Iterator[tuple[Direction, Kind, TcpState | str]]:
    """Everything that can come in that state, and where the transition table leads."""
    for direction, table in TABLE.items():
        for kind in Kind:
            yield direction, kind, table[kind, state]


def tcp_states(path: Iterable[TcpState | str] = (TcpState.NONE,)) -> str:
    """The diagram of TCP's states as conntrack has them, as HTML; `path` is the way so far, its last state the present.

    Below the picture stands what may come next; choosing it goes there. The picture shows the transition table alone:
    window checks may still make a segment INVALID.

    Raises:
        NetlabError: there is no such state.
    """
    way = [_state(one) for one in path] or [TcpState.NONE]
    name = f"netlab-tcp-{next(_prefixes)}"
    shown = "".join(
        f"#{name}-{state.name}:checked ~ .{state.name} {{display: block}}"
        f"#{name}-{state.name}:checked ~ svg .at-{state.name} .shape {{stroke: var(--way); stroke-width: 4}}"
        f"#{name}-{state.name}:checked ~ svg .from-{state.name} .leads {{stroke: var(--way); opacity: 1}}"
        f"#{name}-{state.name}:checked ~ svg .from-{state.name} .tip {{fill: var(--way); opacity: 1}}"
        for state in TcpState
    )
    radios = "".join(
        f'<input type="radio" name="{name}" id="{name}-{state.name}"{" checked" * (state is way[-1])}>'
        f'<label for="{name}-{state.name}">{state.name}</label> '
        for state in TcpState
    )
    panels = "".join(_panel(state, name) for state in TcpState)
    # The radio buttons are siblings of picture and panels: so that CSS can show what belongs to the one chosen.
    return f'<div class="netlab-ct"><style>{STYLE}{shown}</style>{radios}{_states_picture(way)}{panels}</div>'


def tcp_diagram(way: list[TcpState]) -> str:
    """The picture alone, as HTML: the way so far is marked, and the arrows that lead on from its last state."""
    here = way[-1].name
    shown = (
        f".walk-{here} .at-{here} .shape {{stroke: var(--way); stroke-width: 4}}"
        f".walk-{here} .from-{here} .leads {{stroke: var(--way); opacity: 1}}"
        f".walk-{here} .from-{here} .tip {{fill: var(--way); opacity: 1}}"
    )
    return f'<div class="netlab-ct walk-{here}"><style>{STYLE}{shown}</style>{_states_picture(way)}</div>'


def _state(value: TcpState | str) -> TcpState:
    if isinstance(value, TcpState):
        return value
    if value not in TcpState.__members__:
        raise NetlabError(f"unknown TCP state {value!r} (there are {', '.join(TcpState.__members__)})")
    return TcpState[value]


def _panel(state: TcpState, name: str) -> str:
    lines = []
    quiet: dict[str, list[str]] = {IGNORE: [], INVALID: []}
    for direction, kind, target in steps_from(state):
        said = f"{NAMES[kind]} {FROM[direction]}"
        if isinstance(target, TcpState):
            stays = " (it stays)" if target is state else ""
            lines.append(f'<li>{said}: <label for="{name}-{target.name}">{target.name}</label>{stays}</li>')
        else:
            quiet[target].append(said)
    if quiet[IGNORE]:
        lines.append(f"<li>let through, but not believed: {', '.join(quiet[IGNORE])}</li>")
    if quiet[INVALID]:
        lines.append(f"<li>INVALID: {', '.join(quiet[INVALID])}</li>")
    return f'<div class="panel {state.name}"><strong>In {state.name}</strong><ul>{"".join(lines)}</ul></div>'


def _states_picture(way: list[TcpState]) -> str:
    edges = sorted(
        {(state, target) for state in TcpState for _, _, target in steps_from(state)
         if isinstance(target, TcpState) and target is not state}
    )  # fmt: skip
    walked = set(pairwise(way))
    told = f"TCP's states in connection tracking. The way: {', '.join(state.name for state in way)}."
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="netlab-map netlab-states" role="img" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" aria-label="{escape(told)}">'
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}" rx="8"/>'
    ]
    parts += [_arrow(*edge, walked=edge in walked) for edge in edges]
    parts += [_box(state, been=state in way) for state in TcpState]
    return "".join([*parts, "</svg>"])


def _arrow(start: TcpState, end: TcpState, *, walked: bool) -> str:
    """A slightly bent line: two states that lead to each other have two of them."""
    (x0, y0), (x1, y1) = CENTRES[start], CENTRES[end]
    length = hypot(x1 - x0, y1 - y0)
    bend = BENDS.get((start, end), BEND) * length
    middle = (x0 + x1) / 2 - bend * (y1 - y0) / length, (y0 + y1) / 2 + bend * (x1 - x0) / length
    ax, ay = _border(start, middle)
    bx, by = _border(end, middle)
    reach = hypot(bx - middle[0], by - middle[1]) or 1
    dx, dy = (bx - middle[0]) / reach, (by - middle[1]) / reach
    tip = [(bx, by), (bx - 9 * dx - 4 * dy, by - 9 * dy + 4 * dx), (bx - 9 * dx + 4 * dy, by - 9 * dy - 4 * dx)]
    return (
        f'<g class="from-{start.name}{" walked" * walked}" data-edge="{start.name}&gt;{end.name}">'
        f'<path class="leads" d="M{ax:.1f} {ay:.1f}Q{middle[0]:.1f} {middle[1]:.1f} {bx:.1f} {by:.1f}"/>'
        f'<polygon class="tip" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in tip)}"/></g>'
    )


def _border(state: TcpState, towards: Point) -> Point:
    """Where the line from a state's centre to that point leaves its box."""
    x, y = CENTRES[state]
    dx, dy = towards[0] - x, towards[1] - y
    scale = min(BOX[0] / 2 / abs(dx) if dx else 9, BOX[1] / 2 / abs(dy) if dy else 9)
    return x + dx * scale, y + dy * scale


def _box(state: TcpState, *, been: bool) -> str:
    (x, y), (width, height) = CENTRES[state], BOX
    return (
        f'<g class="place hook at-{state.name}{" been" * been}">'
        f'<rect class="shape" x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width}" height="{height}" rx="6"/>'
        f'<text class="name" x="{x:g}" y="{y + 4:g}">{state.name}</text></g>'
    )


# ---------------------------------------------------------------- the hash table

ROWS: Final = 16
ROW, CELL, GAP, LEFT = 30, 150, 12, 90
LONGEST: Final = 5
"""So many tuples of a chain are drawn; the rest is counted."""


def chains(tracker: Conntrack, rows: int = ROWS) -> str:
    """The first buckets of the table with their chains, as HTML, and how full the whole of it is.

    Every entry is there twice: its original tuple has a solid border, its reply's a dashed one; ASSURED is filled.
    """
    table = tracker.table
    found = table.chains()
    highest = tracker.host.sysctls.get("net.netfilter.nf_conntrack_max")
    shown = range(min(rows, table.buckets))
    entries = {flow: entry for entry in table for flow in (entry.original, entry.reply)}
    height = ROW * len(shown) + 16
    told = f"The first {len(shown)} of {table.buckets} buckets: " + "; ".join(
        f"bucket {bucket}: {len(found.get(bucket, ()))} tuples" for bucket in shown
    )
    picture = "".join(_chain(bucket, found.get(bucket, []), entries) for bucket in shown)
    width = LEFT + LONGEST * (CELL + GAP) + 100
    lengths: dict[int, int] = {}
    for chain in found.values():
        lengths[len(chain)] = lengths.get(len(chain), 0) + 1
    if empty := table.buckets - len(found):
        lengths[0] = empty
    spread = "".join(
        f"<tr><th scope=row>{length}</th><td>{number:,}</td></tr>" for length, number in sorted(lengths.items())
    )
    return (
        f'<div class="netlab-ct"><style>{STYLE}</style>'
        f"<p>{len(table):,} entries of at most {highest:,} (nf_conntrack_max), {2 * len(table):,} tuples in "
        f"{table.buckets:,} buckets (nf_conntrack_buckets).</p>"
        f'<svg xmlns="http://www.w3.org/2000/svg" class="netlab-map" role="img" viewBox="0 0 {width} {height}" '
        f'aria-label="{escape(told)}"><rect class="ground" width="{width}" height="{height}" rx="8"/>{picture}</svg>'
        "<table><caption>How long the chains are</caption><thead><tr><th scope=col>tuples</th>"
        f"<th scope=col>buckets</th></tr></thead><tbody>{spread}</tbody></table></div>"
    )


def _chain(bucket: int, chain: list[FlowTuple], entries: Mapping[FlowTuple, Entry]) -> str:
    y = 8 + ROW * (bucket + 0.5)
    parts = [
        f'<g data-bucket="{bucket}"><rect class="index shape" x="8" y="{y - 11:g}" width="60" height="22" rx="3"/>'
        f'<text class="small" x="38" y="{y + 4:g}">{bucket}</text>'
    ]
    for place, flow in enumerate(chain[:LONGEST]):
        entry, x = entries[flow], LEFT + place * (CELL + GAP)
        classes = ["tuple", "assured" * bool(entry.status & Status.ASSURED), "reply" * (flow != entry.original)]
        parts.append(
            f'<path class="leads" d="M{x - GAP - 10 * (not place):g} {y:g}H{x:g}"/>'
            f'<rect class="{" ".join(filter(None, classes))}" x="{x}" y="{y - 11:g}" width="{CELL}" height="22" rx="3">'
            f"<title>{escape(str(flow))}</title></rect>"
            f'<text class="small" x="{x + CELL / 2:g}" y="{y + 4:g}">{escape(_short(flow))}</text>'
        )
    if len(chain) > LONGEST:
        x = LEFT + LONGEST * (CELL + GAP)
        parts.append(f'<text class="small left" x="{x}" y="{y + 4:g}">and {len(chain) - LONGEST} more</text>')
    return "".join([*parts, "</g>"])


def _short(flow: FlowTuple) -> str:
    """A tuple in few letters: the last numbers of both addresses, and what tells flows apart."""
    return f"{str(flow).split()[0]} .{flow.saddr & 0xFF}:{flow.sport} > .{flow.daddr & 0xFF}:{flow.dport}"


# ---------------------------------------------------------------- entries and time


def countdown(tracker: Conntrack, *later: float) -> str:
    """How many seconds every entry has left, as HTML: now, and so many seconds later if no packet comes.

    Raises:
        NetlabError: a time that is past.
    """
    if any(seconds < 0 for seconds in later):
        raise NetlabError("countdown: the clock only moves forward")
    now = tracker.now
    moments = (0, *later)
    heads = "".join(f"<th scope=col>{'now' if not one else f'{one:g} s later'}</th>" for one in moments)
    rows = "".join(
        f"<tr><th scope=row><code>{escape(_who(entry, now))}</code></th>"
        + "".join(f"<td>{_left(entry, now + moment)}</td>" for moment in moments)
        + "</tr>"
        for entry in tracker.table
    )
    return (
        f'<div class="netlab-ct"><style>{STYLE}</style><table><caption>Seconds until an entry is forgotten, at '
        f"{now:g} s</caption><thead><tr><th scope=col>entry</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _who(entry: Entry, now: float) -> str:
    line = line_of(entry, now)
    return " ".join([str(entry.original), *([line.state] if line.state else []), *(f"[{one}]" for one in line.flags)])


def _left(entry: Entry, now: float) -> str:
    left = entry.expires - now
    if left <= 0:
        return "gone"
    return f'{left:g} <meter min="0" max="{max(left, 120):g}" value="{left:g}" aria-hidden="true"></meter>'


def entry_card(entry: Entry, now: float) -> str:
    """One entry, explained field by field, as HTML."""
    rows = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td><code>{escape(text)}</code></td><td>{escape(why)}</td></tr>"
        for name, text, why in explain(line_of(entry, now))
    )
    return (
        f'<div class="netlab-ct"><style>{STYLE}</style><table><caption><code>{escape(str(line_of(entry, now)))}</code>'
        f"</caption><tbody>{rows}</tbody></table></div>"
    )
