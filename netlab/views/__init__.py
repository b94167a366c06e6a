"""Widgets for notebooks: pictures that move, with the Python model behind them.

`packet_flow(host)` builds packets and watches their way, `journey(trace)` steps through any trace, `predict(...)` asks
first and shows then. Where widgets are not available each of them is a static picture and a table. `both(scenario)` is
no widget: the simulator's trace and a real kernel's, side by side.

Of connection tracking: `follow_entry(host, ...)` steps through what becomes of a flow's entry, `fill_table` draws the
hash table as it fills, `turn_clock(host)` lets timeouts run down, `walk_tcp()` walks through TCP's states.

Of rules: `walk_rules(host, ...)` steps through those that packets meet, with the call stack and the counters.
"""

from netlab.views.both import Both, both
from netlab.views.journey import Journey, journey
from netlab.views.packet_flow import PacketFlow, packet_flow
from netlab.views.prediction import Prediction, predict
from netlab.views.rules import walk_rules
from netlab.views.tracking import fill_table, follow_entry, turn_clock, walk_tcp

__all__ = [
    "Both", "Journey", "PacketFlow", "Prediction", "both", "fill_table", "follow_entry", "journey", "packet_flow",
    "predict", "turn_clock", "walk_rules", "walk_tcp",
]  # fmt: skip
