"""The journey of a trace, stop by stop: forward and back over the hook map and along the functions on each hook."""

from collections.abc import Iterable

from netlab.draw import hook_map, journey_table
from netlab.host import Host
from netlab.names import NetlabError
from netlab.trace import Trace
from netlab.views.widget import Player, module


class Journey(Player):
    """Steps through a trace."""

    _esm = module("dom.js", "player.js", "journey.js")

    def __init__(self, trace: Trace, hosts: Iterable[Host] = ()) -> None:
        self.trace = trace
        super().__init__()
        self.play(trace, hosts)

    def static_html(self) -> str:
        return hook_map(self.trace)._repr_html_() + journey_table(self.trace)

    def __str__(self) -> str:
        return str(self.trace)


def journey(trace: Trace, *hosts: Host) -> Journey:
    """A picture that steps through any trace: `journey(router.receive("eth0", packet))`.

    Args:
        trace: of the simulator or of the real kernel.
        hosts: the hosts that the trace comes from. With them the rails also show hook functions that were never called.

    Raises:
        NetlabError: it is no trace.
    """
    if not isinstance(trace, Trace):
        raise NetlabError(f"journey shows a Trace, as receive and send return it, not {type(trace).__name__}")
    return Journey(trace, hosts)
