"""One moment of a walk over rules, as HTML: the table's chains with their counters, the rule asked, the call stack."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Final, NamedTuple

from netlab.draw.rulewalk import Asked
from netlab.iptables.model import Chain, Table

STYLE: Final = files("netlab.draw").joinpath("rules.css").read_text(encoding="utf-8")

Line = tuple[str, int | None]
"""A rule's chain and number; None for the chain's end."""
Counts = Mapping[Line, tuple[int, int]]
"""Packets and bytes of rules and of policies."""


class RuleStop(NamedTuple):
    """One moment.

    Attributes:
        table: the table that is walked over.
        way: the hook functions made of rules that this packet meets, as `filter:FORWARD`; `at` is which of them it is.
        asked: the rule that is asked, or the end of a chain.
        said: what the lines of this table said to this packet so far; empty for those that do not mean it.
        counts: the table's counters now.
    """

    table: Table
    way: Sequence[str]
    at: int
    asked: Asked
    said: Mapping[Line, str]
    counts: Counts


def rule_stop(stop: RuleStop) -> str:
    """One moment as HTML."""
    here = ' aria-current="step"'
    way = "".join(f"<li{here * (place == stop.at)}>{escape(name)}</li>" for place, name in enumerate(stop.way))
    asked = stop.asked
    waiting = [f"{chain}, rule {number}" for chain, number in asked.back]
    stack = "".join(f"<li>{escape(line)}</li>" for line in waiting) + f"<li{here}>{escape(asked.chain)}</li>"
    chains = [stop.table.chains[asked.base], *(one for one in stop.table.chains.values() if one.hook is None)]
    return (
        f'<div class="netlab-rules"><style>{STYLE}</style><ol class="way" aria-label="Chains on the way">{way}</ol>'
        f"<p><strong>The packet</strong> <code>{escape(str(asked.event.before))}</code></p>{_change(asked)}"
        f'<p><strong>Call stack</strong>: {_waits(asked)}</p><ol class="stack" aria-label="Call stack">{stack}</ol>'
        f'<div class="chains" tabindex="0" role="group" aria-label="The chains of {escape(stop.table.name)}">'
        f"{''.join(_chain(stop, chain) for chain in chains)}</div></div>"
    )


def _waits(asked: Asked) -> str:
    if not asked.back:
        return "no chain waits for a return."
    chain, number = asked.back[-1]
    return f"a return goes on behind rule {number} of {escape(chain)}."


def _change(asked: Asked) -> str:
    if not asked.verdict or asked.event.before == asked.event.after:
        return ""
    return f"<p><strong>Changed to</strong> <code>{escape(str(asked.event.after))}</code></p>"


def _chain(stop: RuleStop, chain: Chain) -> str:
    kind = f"on {chain.hook}" if chain.hook is not None else "user chain"
    head = "".join(f'<th scope="col"{look}>{text}</th>' for text, look in _COLUMNS)
    rows = [
        _row(stop, (chain.name, number), str(number), f"<code>{escape(str(rule))}</code>")
        for number, rule in enumerate(chain.rules, 1)
    ]
    end = "back to the caller" if chain.policy is None else f"policy {chain.policy}"
    rows.append(_row(stop, (chain.name, None), "end", end))
    return (
        f"<table><caption><strong>{escape(stop.table.name)}:{escape(chain.name)}</strong>, {kind}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


_COLUMNS: Final = [
    ("rule", ' class="number"'), ("packets", ' class="number"'), ("bytes", ' class="number"'),
    ("what it says", ""), ("to this packet", ""),
]  # fmt: skip


def _row(stop: RuleStop, line: Line, number: str, text: str) -> str:
    asked = stop.asked
    said = stop.said.get(line)
    here = ' aria-current="step"' * (line == (asked.chain, asked.rule))
    look = "idle" if said is None else "means" if said else "no"
    shown = "" if said is None else said or "does not mean it"
    counts = stop.counts.get(line)
    numbers = "".join(f'<td class="number">{"" if counts is None else value}</td>' for value in counts or ("", ""))
    kind = f"said {said.split()[0].lower()}" if said else "said"
    return (
        f'<tr class="{look}"{here}><th scope="row" class="number">{number}</th>{numbers}'
        f'<td class="rule">{text}</td><td class="{kind}">{escape(shown)}</td></tr>'
    )
