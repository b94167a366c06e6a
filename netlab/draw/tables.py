"""The journey of a trace as an HTML table: what every picture of it shows, to be read."""

from collections.abc import Mapping
from html import escape

from netlab.draw.story import HookOwner, Stop, tell
from netlab.trace import Trace

COLUMNS = ("step", "where", "what happens", "verdict", "the packet then", "packet", "host")
REASONS = ("because", "", "rule", "call stack")
"""The facts that stand under what happens."""


def journey_table(trace: Trace, hosts: Mapping[str, HookOwner] | None = None) -> str:
    """A row for each stop of the journey, in order; `packet` counts the step's own packet as 0."""
    head = "".join(f'<th scope="col" style="text-align:left">{column}</th>' for column in COLUMNS)
    rows = "".join(_row(number, stop) for number, stop in enumerate(tell(trace, hosts)))
    title = escape("; then ".join(step.title for step in trace.steps))
    return f"<table><caption>{title}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(number: int, stop: Stop) -> str:
    reasons = "".join(f"<br><small>{escape(text)}</small>" for name, text in stop["facts"] if name in REASONS)
    packet = dict(stop["facts"]).get("packet", "")
    cells = (
        escape(stop["title"]), escape(stop["story"]) + reasons, escape(stop["verdict"]),
        f"<code>{escape(packet)}</code>" if packet else "", str(stop["packet"]), escape(stop["host"]),
    )  # fmt: skip
    columns = "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells)
    return f'<tr data-stop="{number}"><th scope="row">{number + 1}</th>{columns}</tr>'
