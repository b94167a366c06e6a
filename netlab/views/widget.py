"""What all widgets share: their JavaScript and CSS out of this folder, a journey in them, and a static form."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from anywidget import AnyWidget
from traitlets import Dict, Int, List, Unicode

from netlab.draw import TALL, WIDE, draw_map, journey_table, rails, tell
from netlab.draw.hookmap import STYLE, Marks
from netlab.host import Host
from netlab.trace import Trace


def module(*names: str) -> str:
    """One ES module out of these files: the browser gets it as text, so its parts cannot import one another."""
    return "\n".join(_text(name) for name in names)


def _text(name: str) -> str:
    return files("netlab.views").joinpath(name).read_text(encoding="utf-8")


LOOK = STYLE + _text("views.css")

MAPS = "".join(draw_map(layout, Marks(), "") for layout in (WIDE, TALL))
"""Both layouts of the hook map, of which the style shows the one that fits."""


class View(AnyWidget):
    """A widget that is also a static page: `text/html` for where there is no widget, `text/plain` for a terminal."""

    _css = LOOK

    def static_html(self) -> str:
        """What is shown where widgets are not available."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        return {**data, "text/html": self.static_html(), "text/plain": str(self)}, metadata

    def __str__(self) -> str:
        return f"<{type(self).__name__}>"


class Player(View):
    """A widget with a journey in it. Everything a stop shows is worked out here; the browser only shows it."""

    maps = Unicode(MAPS).tag(sync=True)
    title = Unicode().tag(sync=True)
    stops: List[dict[str, Any]] = List(Dict()).tag(sync=True)
    rails: Dict[str, Any] = Dict().tag(sync=True)
    table = Unicode().tag(sync=True)
    at = Int(0, min=0).tag(sync=True)
    """The stop shown, counted from 0."""

    def play(self, trace: Trace, hosts: Iterable[Host] = ()) -> None:
        """Put this trace in, at its first stop."""
        owners = {host.name: host for host in hosts}
        with self.hold_sync():
            self.title = "; then ".join(step.title for step in trace.steps)
            self.rails, self.table = dict(rails(trace, owners)), journey_table(trace, owners)
            self.at = 0
            self.stops = [dict(stop) for stop in tell(trace, owners)]
