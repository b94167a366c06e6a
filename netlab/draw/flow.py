"""What conntrack knows of one packet at one moment, as HTML: the packet, its entry with both tuples, and the table.

An entry that is not confirmed has a broken border: it hangs on the packet, and the table does not know it yet.
"""

from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

from netlab.addresses import format_address
from netlab.conntrack.text import NAMES
from netlab.conntrack.tuples import WITH_PORTS, FlowTuple
from netlab.draw.conntrack import STYLE
from netlab.names import Proto


class FlowStop(NamedTuple):
    """One moment.

    Attributes:
        place: where the packet is, one of the places of its way.
        packet: in words.
        state: what conntrack says of the packet: `NEW`; empty before it has looked.
        original, reply: the tuples of its entry; None where it has none.
        confirmed: the entry stands in the table.
        listed: the table, as `conntrack -L` prints it.
        story: what has happened, in a sentence.
    """

    place: str
    packet: str
    state: str
    original: FlowTuple | None
    reply: FlowTuple | None
    confirmed: bool
    listed: Sequence[str]
    story: str


_COLUMNS: Final[dict[int, tuple[str, str]]] = {Proto.ICMP: ("type and code", "id")}
"""What tells flows apart that have no ports."""


def flow_stop(stop: FlowStop, places: Sequence[str]) -> str:
    """One moment as HTML; `places` is the packet's whole way, of which `stop.place` is marked."""
    here = ' aria-current="step"'
    way = "".join(f"<li{here * (place == stop.place)}>{escape(place)}</li>" for place in places)
    state = (
        f'<span class="chip">{escape(stop.state)}</span>'
        if stop.state
        else '<span class="chip idle">no state yet</span>'
    )
    listed = "\n".join(stop.listed) or "(no entries)"
    return (
        f'<div class="netlab-ct flow"><style>{STYLE}</style><ol class="way">{way}</ol>'
        f"<p><strong>The packet</strong> <code>{escape(stop.packet)}</code> {state}</p>"
        f"{_entry(stop)}<p><strong>The table</strong>, as <code>conntrack -L</code> prints it</p>"
        f'<pre tabindex="0">{escape(listed)}</pre></div>'
    )


def _entry(stop: FlowStop) -> str:
    if stop.original is None or stop.reply is None:
        return '<table class="entry none"><caption>It has no entry.</caption></table>'
    look, caption = (
        ("confirmed", "Its entry, confirmed: it stands in the table.")
        if stop.confirmed
        else ("ghost", "Its entry, not confirmed: it hangs on this packet, and goes where the packet goes.")
    )
    first, second = (
        ("sport", "dport") if stop.original.proto in WITH_PORTS else _COLUMNS.get(stop.original.proto, ("", ""))
    )
    heads = "".join(f"<th scope=col>{head}</th>" for head in ("tuple", "src", "dst", "proto", first, second))
    rows = "".join(
        f"<tr><th scope=row>{name}</th>{_cells(flow, stop.original)}</tr>"
        for name, flow in (("original", stop.original), ("reply", stop.reply))
    )
    return (
        f'<table class="entry {look}"><caption>{caption}</caption><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _cells(flow: FlowTuple, original: FlowTuple) -> str:
    """A tuple's fields: one look for the end that began, another for the other end, a third for what NAT put in."""
    begun, asked = ((original.saddr, original.sport), "one"), ((original.daddr, original.dport), "two")
    expected = (begun, asked) if flow == original else (asked, begun)
    ends = (flow.saddr, flow.sport), (flow.daddr, flow.dport)
    looks = [[look if field == due else "new" for field, due in zip(end, whose, strict=True)]
             for end, (whose, look) in zip(ends, expected, strict=True)]  # fmt: skip
    if flow.proto == Proto.ICMP:
        kind, code, id = flow.icmp
        numbers = [(f"{kind}/{code}", ""), (str(id), "")]
    elif flow.proto not in WITH_PORTS:
        numbers = [("", ""), ("", "")]
    else:
        numbers = [(str(port), look[1]) for (_, port), look in zip(ends, looks, strict=True)]
    cells = [(format_address(address), look[0]) for (address, _), look in zip(ends, looks, strict=True)]
    cells += [(NAMES.get(flow.proto, str(flow.proto)), ""), *numbers]
    return "".join(f'<td class="{look}"><code>{escape(text)}</code></td>' for text, look in cells)
