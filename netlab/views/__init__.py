"""Widgets for notebooks: pictures that move, with the Python model behind them.

`packet_flow(host)` builds packets and watches their way, `journey(trace)` steps through any trace, `predict(...)` asks
first and shows then. Where widgets are not available each of them is a static picture and a table. `both(scenario)` is
no widget: the simulator's trace and a real kernel's, side by side.
"""

from netlab.views.both import Both, both
from netlab.views.journey import Journey, journey
from netlab.views.packet_flow import PacketFlow, packet_flow
from netlab.views.prediction import Prediction, predict

__all__ = ["Both", "Journey", "PacketFlow", "Prediction", "both", "journey", "packet_flow", "predict"]
