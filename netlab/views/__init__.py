"""Widgets for notebooks: pictures that move, with the Python model behind them.

`packet_flow(host)` builds packets and watches their way, `journey(trace)` steps through any trace, `predict(...)` asks
first and shows then. Where widgets are not available each of them is a static picture and a table.
"""

from netlab.views.journey import Journey, journey
from netlab.views.packet_flow import PacketFlow, packet_flow
from netlab.views.prediction import Prediction, predict

__all__ = ["Journey", "PacketFlow", "Prediction", "journey", "packet_flow", "predict"]
