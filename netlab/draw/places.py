"""The places on the hook map, and which of them a packet can go to next."""

from collections import deque
from enum import StrEnum
from functools import cache
from typing import Final

from netlab.names import Hook


class Place(StrEnum):
    """A place on the map: a hook, a route lookup, or where packets begin and end."""

    WIRE_IN = "wire-in"
    PRE_ROUTING = "pre-routing"
    ROUTE_IN = "route-in"
    LOCAL_IN = "local-in"
    PROCESS = "process"
    ROUTE_OUT = "route-out"
    LOCAL_OUT = "local-out"
    REROUTE = "reroute"
    FORWARD = "forward"
    POST_ROUTING = "post-routing"
    WIRE_OUT = "wire-out"
    LO = "lo"


OF_HOOK: Final[dict[Hook, Place]] = {
    Hook.PRE_ROUTING: Place.PRE_ROUTING,
    Hook.LOCAL_IN: Place.LOCAL_IN,
    Hook.FORWARD: Place.FORWARD,
    Hook.LOCAL_OUT: Place.LOCAL_OUT,
    Hook.POST_ROUTING: Place.POST_ROUTING,
}

HOOK_AT: Final[dict[Place, Hook]] = {place: hook for hook, place in OF_HOOK.items()}

LABELS: Final[dict[Place, tuple[str, str]]] = {
    Place.WIRE_IN: ("in", "from outside"),
    Place.ROUTE_IN: ("route lookup", "for this machine?"),
    Place.PROCESS: ("local processes", "and what the kernel itself sends"),
    Place.ROUTE_OUT: ("route lookup", "which way out?"),
    Place.REROUTE: ("route lookup", "again, if changed"),
    Place.WIRE_OUT: ("out", "to others"),
    Place.LO: ("lo", "loopback"),
} | {place: (hook.name, hook.chain) for place, hook in HOOK_AT.items()}
"""The two lines in each place; on a hook its name and its iptables chain."""

Edge = tuple[Place, Place]

EDGES: Final[tuple[Edge, ...]] = (
    (Place.WIRE_IN, Place.PRE_ROUTING),
    (Place.PRE_ROUTING, Place.ROUTE_IN),
    (Place.ROUTE_IN, Place.LOCAL_IN),
    (Place.LOCAL_IN, Place.PROCESS),
    (Place.ROUTE_IN, Place.FORWARD),
    (Place.FORWARD, Place.POST_ROUTING),
    (Place.PROCESS, Place.ROUTE_OUT),
    (Place.ROUTE_OUT, Place.LOCAL_OUT),
    (Place.LOCAL_OUT, Place.REROUTE),
    (Place.REROUTE, Place.POST_ROUTING),
    (Place.POST_ROUTING, Place.WIRE_OUT),
    (Place.POST_ROUTING, Place.LO),
    (Place.LO, Place.PRE_ROUTING),
)
"""The ways between the places, in the order in which they are drawn."""


def edge_name(edge: Edge) -> str:
    """`pre-routing>route-in`."""
    return f"{edge[0]}>{edge[1]}"


@cache
def way(start: Place, end: Place) -> tuple[Edge, ...]:
    """The shortest way along the edges; empty where there is none, or nowhere to go."""
    came_by: dict[Place, Edge] = {}
    unseen = deque([start])
    while unseen and end not in came_by:
        here = unseen.popleft()
        for edge in EDGES:
            if edge[0] is here and edge[1] not in came_by and edge[1] is not start:
                came_by[edge[1]] = edge
                unseen.append(edge[1])
    edges: list[Edge] = []
    while end in came_by:
        edges.append(came_by[end])
        end = came_by[end][0]
    return tuple(reversed(edges))
