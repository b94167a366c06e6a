"""Pictures and tables of traces: the map's geometry, and what is told at each stop."""

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.draw import Place, Stop, hook_map, journey_table, rails, tell
from netlab.draw.hookmap import LAYOUTS, STYLE, TALL, WIDE, Layout
from netlab.draw.places import EDGES, HOOK_AT, OF_HOOK, edge_name, way
from netlab.host import Host
from netlab.names import Hook, Verdict
from netlab.packet import Packet
from netlab.trace import Passed, Trace
from netlab.workspace import LABS
from tests.journeys import forwarded, looped, martian, queued

SVG = "{http://www.w3.org/2000/svg}"


def router(**options: object) -> Host:
    return Host(
        "router",
        interfaces={"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"},
        sysctls={"net.ipv4.ip_forward": 1},
        **options,
    )


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def marked(svg: str, kind: str) -> dict[str, ET.Element]:
    """The map's elements with that class, by the place or edge that they are."""
    groups = ET.fromstring(svg).iter(f"{SVG}g")
    found = [group for group in groups if kind in group.get("class", "").split()]
    return {group.get("data-place") or group.get("data-edge") or "": group for group in found}


# ---------------------------------------------------------------- the map


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_map_names_every_hook_and_its_chain(layout: Layout) -> None:
    words = texts(hook_map(layout=layout))
    for hook in Hook:
        assert hook.name in words
        assert hook.chain in words


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_map_can_be_read_without_being_seen(layout: Layout) -> None:
    root = ET.fromstring(hook_map(layout=layout))
    assert root.get("role") == "img"
    for hook in Hook:
        assert hook.name in root.get("aria-label", "")


def box(layout: Layout, place: Place) -> tuple[float, float, float, float]:
    (x, y), (width, height) = layout.centres[place], layout.size_of(place)
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_places_are_all_there_within_the_picture_and_apart(layout: Layout) -> None:
    assert set(layout.centres) == set(Place)
    for place in Place:
        left, top, right, bottom = box(layout, place)
        assert left >= 4
        assert top >= 4
        assert right <= layout.size[0] - 4
        assert bottom <= layout.size[1] - 4
    for one, other in combinations(Place, 2):
        a, b = box(layout, one), box(layout, other)
        assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1], f"{one} lies on {other}"


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize("edge", EDGES, ids=edge_name)
def test_edges_are_level_or_upright_and_touch_only_their_own_places(layout: Layout, edge: tuple[Place, Place]) -> None:
    line = layout.line(edge)
    for (x0, y0), (x1, y1) in pairwise(line):
        assert (x0 == x1) != (y0 == y1), "neither level nor upright, or of no length"
        for place in Place:
            left, top, right, bottom = box(layout, place)
            crosses = max(x0, x1) > left and min(x0, x1) < right and max(y0, y1) > top and min(y0, y1) < bottom
            assert not crosses, f"runs through {place}"
    for place, (x, y) in zip(edge, (line[0], line[-1]), strict=True):
        left, top, right, bottom = box(layout, place)
        assert x in (left, right) or y in (top, bottom), f"does not touch {place}"


# The orders of hooks for a packet's four ways, as the kernel has them.
ORDERS = {
    (Place.WIRE_IN, Place.WIRE_OUT): [Hook.PRE_ROUTING, Hook.FORWARD, Hook.POST_ROUTING],
    (Place.WIRE_IN, Place.PROCESS): [Hook.PRE_ROUTING, Hook.LOCAL_IN],
    (Place.PROCESS, Place.WIRE_OUT): [Hook.LOCAL_OUT, Hook.POST_ROUTING],
    (Place.PROCESS, Place.LO): [Hook.LOCAL_OUT, Hook.POST_ROUTING],
    (Place.LO, Place.PROCESS): [Hook.PRE_ROUTING, Hook.LOCAL_IN],
}


@pytest.mark.parametrize(("ends", "hooks"), ORDERS.items(), ids=str)
def test_the_ways_over_the_map_pass_the_hooks_in_the_kernels_order(
    ends: tuple[Place, Place], hooks: list[Hook]
) -> None:
    edges = way(*ends)
    assert edges[0][0] is ends[0]
    assert edges[-1][1] is ends[1]
    assert all(one[1] is other[0] for one, other in pairwise(edges))
    assert [HOOK_AT[end] for _, end in edges if end in HOOK_AT] == hooks


def test_there_is_no_way_back_and_none_to_stay() -> None:
    assert way(Place.WIRE_OUT, Place.WIRE_IN) == ()
    assert way(Place.FORWARD, Place.FORWARD) == ()


def test_a_journey_is_marked_by_more_than_colour() -> None:
    svg = hook_map(looped())
    order = {place: group.find(f"{SVG}g[@class='badge']/{SVG}text") for place, group in marked(svg, "been").items()}
    assert {place: text.text for place, text in order.items() if text is not None} == {
        "local-out": "1",
        "post-routing": "2",
        "pre-routing": "3",
        "local-in": "4",
    }
    assert set(marked(svg, "delivered")) == {"process"}
    gone = re.search(r"\.edge\.gone path \{[^}]*stroke-width: ([\d.]+)", STYLE)
    still = re.search(r"\.edge path \{[^}]*stroke-width: ([\d.]+)", STYLE)
    assert gone
    assert still
    assert float(gone[1]) >= 2 * float(still[1])


def test_a_drop_is_marked_where_it_happened_and_told() -> None:
    svg = hook_map(martian())
    assert set(marked(svg, "drop")) == {"pre-routing"}
    assert "127.0.0.0/8 never comes in by a wire" in (ET.fromstring(svg).get("aria-label") or "")


def test_interfaces_stand_in_the_map_of_a_journey() -> None:
    assert {"eth0", "eth1"} <= set(texts(hook_map(forwarded())))


def test_a_map_of_nothing_is_the_plain_map() -> None:
    assert hook_map(Trace()) == hook_map()


def test_the_map_in_the_lab_is_this_map() -> None:
    assert (LABS / "01_hooks" / "hooks.svg").read_text(encoding="utf-8").rstrip() == hook_map()


def test_a_picture_shows_itself_in_a_notebook_and_is_short_in_a_terminal() -> None:
    picture = hook_map()
    assert "<svg" in picture._repr_html_()
    assert repr(picture).startswith("<SVG picture")


# ---------------------------------------------------------------- readable colours


def colours(name: str) -> tuple[str, str]:
    """A variable's light and dark value."""
    found = re.search(rf"--{name}: light-dark\((#\w{{6}}), (#\w{{6}})\)", STYLE)
    assert found, name
    return found[1], found[2]


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


TEXT = [("ink", "paper"), ("ink", "hook"), ("ink", "lookup"), ("soft", "paper"), ("soft", "hook"), ("soft", "lookup")]
TEXT += [("on-way", "way"), ("on-way", "bad"), ("on-way", "good")]
LINES = [("line", "paper"), ("hook-line", "paper"), ("lookup-line", "paper"), ("way", "paper"), ("bad", "paper")]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back", "least"), [(*pair, 4.5) for pair in TEXT] + [(*pair, 3) for pair in LINES])
def test_the_map_has_enough_contrast(scheme: int, front: str, back: str, least: float) -> None:
    assert contrast(colours(front)[scheme], colours(back)[scheme]) >= least


# ---------------------------------------------------------------- the story


def stops_at(trace: Trace) -> list[tuple[str, str]]:
    return [(stop["place"], stop["title"]) for stop in tell(trace)]


def test_a_forwarded_packet() -> None:
    assert stops_at(forwarded()) == [
        ("wire-in", "In by eth0"),
        ("pre-routing", "PRE_ROUTING"),
        ("route-in", "Route lookup"),
        ("forward", "FORWARD"),
        ("post-routing", "POST_ROUTING"),
        ("wire-out", "Out by eth1"),
    ]


def test_what_the_kernel_changed_is_told_at_the_next_stop() -> None:
    forward = tell(forwarded())[3]
    assert ("changed", "ttl: 64 → 63") in forward["facts"]
    assert "ttl: 64 → 63" in forward["story"]


def test_a_route_lookup_says_why() -> None:
    lookup = tell(forwarded())[2]
    assert ("because", "table local: no route matches") in lookup["facts"]
    assert ("", "table main: /24 is the longest") in lookup["facts"]


def test_the_second_lap_begins_on_lo() -> None:
    stops = tell(looped())
    assert [stop["lap"] for stop in stops] == [1] * 5 + [2] * 4
    assert stops[-1]["order"] == {"local-out": "1", "post-routing": "2", "pre-routing": "3", "local-in": "4"}
    assert stops[-1]["end"] == "delivered"


def test_functions_are_called_one_by_one_and_counted() -> None:
    stops = tell(queued())
    (rail,) = rails(queued()).values()
    assert rail["functions"] == [(-300, "first"), (-150, "second"), (0, "<third>")]
    assert [(stop["function"], stop["pocket"]) for stop in stops] == [
        (-1, ""), (-1, ""), (0, ""), (1, ""), (1, "queue"), (1, "queue"), (1, ""), (2, ""), (2, ""),
    ]  # fmt: skip
    assert stops[-1]["calls"]["router PRE_ROUTING"] == ["ACCEPT", "QUEUE ACCEPT", "DROP"]


def test_the_outcome_of_a_hook_is_not_told_before_its_functions_were_called() -> None:
    entry = tell(queued())[1]
    assert entry["verdict"] == ""
    assert "ttl=64" in dict(entry["facts"])["packet"]


def test_functions_never_called_stand_on_the_rail_when_the_host_is_known() -> None:
    host = router()
    host.register(Hook.PRE_ROUTING, lambda packet, state: Verdict.DROP, -10, "stern")
    host.register(Hook.PRE_ROUTING, lambda packet, state: Verdict.ACCEPT, 10, "late")
    trace = host.receive("eth0", Packet.udp("10.0.1.2", "10.0.2.2", 1, 2))
    (rail,) = rails(trace, {"router": host}).values()
    assert rail["functions"] == [(-10, "stern"), (10, "late")]
    assert tell(trace, {"router": host})[-1]["calls"]["router PRE_ROUTING"] == ["DROP", ""]
    (seen,) = rails(trace).values()
    assert seen["functions"] == [(-10, "stern")]


def test_a_journey_that_goes_on_from_a_queue_begins_at_its_hook() -> None:
    host = router()
    host.register(Hook.FORWARD, lambda packet, state: Verdict.QUEUE, 0, "ask")
    queue = host.queue().bind()
    host.receive("eth0", Packet.udp("10.0.1.2", "10.0.2.2", 1, 2))
    stops = tell(queue.waiting[0].answer(Verdict.REPEAT))
    assert stops[0]["place"] == "forward"


def test_each_packet_is_followed_to_its_end_before_the_next() -> None:
    trace = router().send(Packet.udp("0.0.0.0", "10.0.1.1", 5000, 99))
    numbers = [stop["packet"] for stop in tell(trace)]
    assert set(numbers) == {0, 1}, "a port unreachable is caused by the packet to a closed port"
    assert numbers == sorted(numbers)


def test_a_socket_looks_for_its_packet_behind_local_in() -> None:
    trace = router().receive("eth0", Packet.udp("10.0.1.2", "10.0.1.1", 5000, 99))
    dropped = next(stop for stop in tell(trace) if stop["end"] == "drop")
    assert dropped["place"] == "process"


def test_what_is_no_packet_is_told_too() -> None:
    stops = tell(router().receive("eth0", b"\x45\x00"))
    assert stops[-1]["title"] == "Dropped"


def test_a_table_row_for_every_stop_with_names_escaped() -> None:
    table = journey_table(queued())
    rows = ET.fromstring(table.replace("<br>", "<br/>")).findall("tbody/tr")
    assert [row.get("data-stop") for row in rows] == [str(number) for number in range(len(tell(queued())))]
    assert "&lt;third&gt;" in table
    assert "<third>" not in table


ADDRESSES = ["10.0.1.1", "10.0.2.1", "10.0.1.2", "10.0.2.2", "127.0.0.1", "9.9.9.9", "255.255.255.255", "224.0.0.1"]
packets = st.builds(
    lambda src, dst, ttl, port: Packet.udp(src, dst, 5000, port, ttl=ttl),
    st.sampled_from(ADDRESSES), st.sampled_from(ADDRESSES), st.integers(0, 3), st.sampled_from([53, 99]),
)  # fmt: skip


@given(packet=packets, dev=st.sampled_from(["eth0", "eth1", "lo", None]))
@settings(max_examples=200, deadline=None)
def test_every_journey_is_told_whole(packet: Packet, dev: str | None) -> None:
    host = router(listen=["udp/53"])
    trace = host.receive(dev, packet) if dev else host.send(packet)
    stops = tell(trace, {"router": host})
    assert len(stops) == len(list(trace.events))
    last: dict[int, Stop] = {}
    for stop in stops:
        before = last.get(stop["packet"])
        assert set(stop["via"]) <= set(stop["trail"])
        if before and stop["via"]:
            assert stop["via"][0].startswith(f"{before['place']}>")
            assert stop["via"][-1].endswith(f">{stop['place']}")
        assert stop["story"].endswith((".", "!", "?")) or stop["title"] == "Kernel log"
        last[stop["packet"]] = stop
    for number, stop in last.items():
        entered = [event.hook for event in trace.events if isinstance(event, Passed) and event.number == number]
        assert stop["entered"] == len(entered)
        assert set(stop["order"]) == {OF_HOOK[hook] for hook in entered}
    for layout in (WIDE, TALL):
        ET.fromstring(hook_map(trace, layout=layout))
