"""Pictures and tables of traces as SVG and HTML strings; the standard library only.

`hook_map()` is the five hooks and the ways between them, `hook_map(trace)` the way that a packet took;
`journey_table(trace)` is the same journey as a table; `tell(trace)` tells it stop by stop, for whoever draws it.
"""

from netlab.draw.hookmap import TALL, WIDE, Layout, Picture, draw_map, hook_map
from netlab.draw.places import Place
from netlab.draw.story import Rail, Stop, rails, tell
from netlab.draw.tables import journey_table

__all__ = [
    "TALL", "WIDE", "Layout", "Picture", "Place", "Rail", "Stop", "draw_map", "hook_map", "journey_table",
    "rails", "tell",
]  # fmt: skip
