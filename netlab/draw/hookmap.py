"""The hook map: the five hooks, the route lookups between them, and the way that a packet took, as an SVG picture.

There are two layouts of the same map, a wide one and one for narrow screens and high zoom. A layout is data: where each
place is, and over which corners each edge goes; everything else follows from it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from typing import Final

from netlab.draw.places import EDGES, HOOK_AT, LABELS, Edge, Place, edge_name
from netlab.draw.story import Stop, tell
from netlab.trace import Trace

Point = tuple[float, float]
Size = tuple[float, float]

STYLE: Final = files("netlab.draw").joinpath("map.css").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Layout:
    """Where everything is, in SVG units.

    `corners` are the bends of edges that are not straight, `answers` the words beside the two ways out of the input's
    route lookup.
    """

    name: str
    size: Size
    centres: Mapping[Place, Point]
    sizes: Mapping[Place, Size]
    corners: Mapping[Edge, tuple[Point, ...]]
    answers: Mapping[str, Point]
    hook: Size = (130, 46)
    lookup: Size = (128, 46)
    slant: float = 14
    """How far the ends of a route lookup's hexagon stand out."""

    def size_of(self, place: Place) -> Size:
        """Width and height of a place."""
        if place in HOOK_AT:
            return self.hook
        return self.sizes.get(place, self.lookup)

    def line(self, edge: Edge) -> list[Point]:
        """The points of an edge, from the border of one place to the border of the next."""
        start, end = edge
        bends = self.corners.get(edge, ())
        first = self._border(start, bends[0] if bends else self.centres[end])
        last = self._border(end, bends[-1] if bends else self.centres[start])
        return [first, *bends, last]

    def _border(self, place: Place, towards: Point) -> Point:
        """Where a level or upright line towards that point leaves the place."""
        (x, y), (width, height) = self.centres[place], self.size_of(place)
        left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
        if left < towards[0] < right:
            return (towards[0], top if towards[1] < y else bottom)
        return (left if towards[0] < x else right, y)


WIDE: Final = Layout(
    name="wide",
    size=(900, 424),
    centres={
        Place.WIRE_IN: (58, 304), Place.PRE_ROUTING: (195, 304), Place.ROUTE_IN: (352, 304),
        Place.LOCAL_IN: (352, 166), Place.PROCESS: (474, 38), Place.ROUTE_OUT: (596, 102),
        Place.LOCAL_OUT: (596, 170), Place.REROUTE: (596, 238), Place.FORWARD: (508, 304),
        Place.POST_ROUTING: (705, 304), Place.WIRE_OUT: (842, 304), Place.LO: (450, 392),
    },
    sizes={
        Place.WIRE_IN: (100, 46), Place.WIRE_OUT: (100, 46), Place.PROCESS: (384, 46), Place.LO: (104, 40),
    },
    corners={
        (Place.LOCAL_IN, Place.PROCESS): ((352, 100),),
        (Place.PROCESS, Place.ROUTE_OUT): ((596, 70),),
        (Place.REROUTE, Place.POST_ROUTING): ((596, 304),),
        (Place.POST_ROUTING, Place.LO): ((705, 392),),
        (Place.LO, Place.PRE_ROUTING): ((195, 392),),
    },
    answers={"yes": (366, 236), "no": (421, 296)},
)  # fmt: skip

TALL: Final = Layout(
    name="tall",
    size=(320, 592),
    centres={
        Place.WIRE_IN: (80, 516), Place.PRE_ROUTING: (80, 436), Place.ROUTE_IN: (80, 300),
        Place.LOCAL_IN: (80, 166), Place.PROCESS: (160, 32), Place.ROUTE_OUT: (240, 98),
        Place.LOCAL_OUT: (240, 166), Place.REROUTE: (240, 234), Place.FORWARD: (160, 366),
        Place.POST_ROUTING: (240, 436), Place.WIRE_OUT: (240, 516), Place.LO: (160, 566),
    },
    sizes={
        Place.WIRE_IN: (120, 46), Place.WIRE_OUT: (120, 46), Place.PROCESS: (296, 46), Place.LO: (90, 40),
    },
    corners={
        (Place.LOCAL_IN, Place.PROCESS): ((80, 60),),
        (Place.PROCESS, Place.ROUTE_OUT): ((240, 60),),
        (Place.ROUTE_IN, Place.FORWARD): ((160, 300),),
        (Place.FORWARD, Place.POST_ROUTING): ((240, 366),),
        (Place.POST_ROUTING, Place.LO): ((311, 436), (311, 566)),
        (Place.LO, Place.PRE_ROUTING): ((9, 566), (9, 436)),
    },
    answers={"yes": (88, 250), "no": (166, 322)},
)  # fmt: skip

LAYOUTS: Final = (WIDE, TALL)


@dataclass(frozen=True)
class Marks:
    """What is marked on a map: the edges gone, the hooks' order, where the packet is, how it ended, other labels."""

    trail: Collection[str] = ()
    order: Mapping[str, str] = field(default_factory=dict)
    here: str = ""
    end: str = ""
    labels: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, stop: Stop) -> "Marks":
        """The marks that belong to one stop of a journey."""
        return cls(stop["trail"], stop["order"], stop["place"], stop["end"], stop["labels"])


class Picture(str):
    """An SVG picture as text, which shows itself in a notebook."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f'<div style="max-width:56rem">{self}</div>'

    def __repr__(self) -> str:
        return f"<SVG picture, {len(self)} characters>"


def hook_map(trace: Trace | None = None, *, layout: Layout = WIDE) -> Picture:
    """The map of the five hooks; with a trace, the way that its packet 0 took over the first host.

    The picture stands for itself: it brings its own colours for light and dark, and says in words what it shows.
    """
    if trace is None:
        return draw_map(layout, Marks(), _DESCRIPTION, style=True)
    own = [stop for stop in tell(trace) if stop["packet"] == 0]
    if not own:
        return draw_map(layout, Marks(), _DESCRIPTION, style=True)
    stops = [stop for stop in own if stop["host"] == own[0]["host"]]
    hooks = [event.hook.name for event in trace.path if event.number == 0 and event.host == own[0]["host"]]
    told = f"The packet's way over {own[0]['host']}: {', '.join(hooks) or 'no hook'}. {stops[-1]['story']}"
    ends = [stop for stop in stops if stop["end"]]
    return draw_map(layout, Marks.of((ends or stops)[-1]), told, style=True)


_DESCRIPTION = (
    "The ways of a packet through Linux. From the network: PRE_ROUTING, then a route lookup. "
    "For this machine: LOCAL_IN, then a local process. For another one: FORWARD, then POST_ROUTING, then out. "
    "From a local process: a route lookup, LOCAL_OUT, a second lookup if the packet was changed, POST_ROUTING, "
    "then out, or over lo back in to PRE_ROUTING."
)


def draw_map(layout: Layout, marks: Marks, description: str, *, style: bool = False) -> Picture:
    """The map in one layout with these marks. Without `style` the page has to bring `map.css`."""
    width, height = layout.size
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="netlab-map netlab-{layout.name}" role="img" '
        f'viewBox="0 0 {width} {height}" aria-label="{escape(description)}">'
    ]
    if style:
        parts.append(f'<style>{STYLE}</style><rect class="ground" width="{width}" height="{height}" rx="8"/>')
    # The edges gone come last, on top: two edges may share a stretch.
    gone = {edge: edge_name(edge) in marks.trail for edge in EDGES}
    parts += [_edge(layout, edge, gone[edge]) for edge in sorted(EDGES, key=lambda edge: gone[edge])]
    parts += [
        f'<text class="answer" x="{x:g}" y="{y:g}">{escape(word)}</text>' for word, (x, y) in layout.answers.items()
    ]
    parts += [_place(layout, place, marks) for place in layout.centres]
    parts.append("</svg>")
    return Picture("".join(parts))


def _edge(layout: Layout, edge: Edge, gone: bool) -> str:
    points = layout.line(edge)
    (x0, y0), (x1, y1) = points[-2:]
    length = abs(x1 - x0) + abs(y1 - y0)
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    # The arrowhead is drawn, not referred to: a marker's id would clash between two maps on one page.
    base = (x1 - 9 * dx, y1 - 9 * dy)
    head = [(x1, y1), (base[0] - 4.5 * dy, base[1] + 4.5 * dx), (base[0] + 4.5 * dy, base[1] - 4.5 * dx)]
    line = " L".join(f"{x:g} {y:g}" for x, y in [*points[:-1], base])
    return (
        f'<g class="edge{" gone" if gone else ""}" data-edge="{escape(edge_name(edge))}">'
        f'<path d="M{line}"/><polygon points="{" ".join(f"{x:g},{y:g}" for x, y in head)}"/></g>'
    )


def _place(layout: Layout, place: Place, marks: Marks) -> str:
    (x, y), (width, height) = layout.centres[place], layout.size_of(place)
    left, top, right = x - width / 2, y - height / 2, x + width / 2
    kind = "hook" if place in HOOK_AT else "lookup" if place not in layout.sizes else "end"
    if kind == "lookup":
        outline = [
            (left, y), (left + layout.slant, top), (right - layout.slant, top), (right, y),
            (right - layout.slant, y + height / 2), (left + layout.slant, y + height / 2),
        ]  # fmt: skip
        shape = f'<polygon class="shape" points="{" ".join(f"{a:g},{b:g}" for a, b in outline)}"/>'
    else:
        radius = 6 if kind == "hook" else height / 2
        shape = f'<rect class="shape" x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="{radius:g}"/>'
    name, below = marks.labels.get(place, LABELS[place])
    order = marks.order.get(place, "")
    rest = left + (14 if kind == "hook" else 2)  # where a token stands that does not hide the words
    classes = [kind, "been" * bool(order), "here" * (marks.here == place), marks.end * (marks.here == place)]
    return (
        f'<g class="place {" ".join(filter(None, classes))}" data-place="{place}" '
        f'data-label="{escape("|".join(LABELS[place]))}" data-rest="{rest:g} {y + height / 2:g}">{shape}'
        f'<text class="name" x="{x:g}" y="{y - 3:g}">{escape(name)}</text>'
        f'<text class="below" x="{x:g}" y="{y + 13:g}">{escape(below)}</text>'
        f"{_badge(right, top, order)}{_ending(left, top)}</g>"
    )


def _badge(x: float, y: float, text: str) -> str:
    width = 20 + 7 * max(0, len(text) - 1)
    return (
        f'<g class="badge"><rect x="{x - width + 7:g}" y="{y - 11:g}" width="{width:g}" height="20" rx="10"/>'
        f'<text x="{x + 7 - width / 2:g}" y="{y + 3.5:g}">{escape(text)}</text></g>'
    )


def _ending(x: float, y: float) -> str:
    """A cross and a tick, of which the style shows the one that fits the end of the journey."""
    return (
        f'<g class="cross"><circle cx="{x:g}" cy="{y:g}" r="11"/>'
        f'<path d="M{x - 4.5:g} {y - 4.5:g}l9 9m0 -9l-9 9"/></g>'
        f'<g class="tick"><circle cx="{x:g}" cy="{y:g}" r="11"/><path d="M{x - 5:g} {y:g}l3.5 4l6.5 -8"/></g>'
    )
