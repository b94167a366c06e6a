"""A picture with buttons under it: what they do is done in Python, and the browser only shows what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from traitlets import List, Unicode

from netlab.names import NetlabError
from netlab.views.widget import View, module

Buttons = Mapping[str, Callable[[], None]]
"""What stands on a button, and what it does."""


class Panel(View):
    """`html` is the picture, `story` says what has just happened, `off` names the buttons that do nothing now."""

    _esm = module("dom.js", "panel.js")
    label = Unicode().tag(sync=True)
    groups: List[list[Any]] = List().tag(sync=True)
    html = Unicode().tag(sync=True)
    story = Unicode().tag(sync=True)
    off: List[str] = List(Unicode()).tag(sync=True)

    def __init__(self, label: str, groups: Mapping[str, Buttons]) -> None:
        self._do = {name: do for buttons in groups.values() for name, do in buttons.items()}
        super().__init__(label=label, groups=[[legend, list(buttons)] for legend, buttons in groups.items()])
        self.on_msg(self._hear)
        self.draw()

    def draw(self) -> None:
        """Work out the picture, the story and which buttons are off."""
        raise NotImplementedError

    def press(self, name: str) -> None:
        """Press a button, as somebody in the browser does; one that is off does nothing.

        Raises:
            NetlabError: there is no such button.
        """
        if name not in self._do:
            raise NetlabError(f"{self.label}: there is no button {name!r} (there are {', '.join(self._do)})")
        if name not in self.off:
            with self.hold_sync():
                self._do[name]()
                self.draw()

    def _hear(self, _: object, message: dict[str, Any], __: object) -> None:
        if message.get("do") == "press" and message.get("name") in self._do:
            self.press(message["name"])

    def static_html(self) -> str:
        return f"<p>{escape(self.story)}</p>{self.html}"

    def __str__(self) -> str:
        return f"{self.label}: {self.story}"
