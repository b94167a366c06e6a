"""A walk over a host's rules, rule by rule, with the call stack of chains and the counters."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from netlab.draw.rules import Line, RuleStop, rule_stop
from netlab.draw.rulewalk import Asked, asked
from netlab.draw.telling import say_ruled
from netlab.host import Host
from netlab.iptables.model import Table
from netlab.names import NetlabError
from netlab.packet import Packet
from netlab.trace import Trace
from netlab.views.arrivals import arrival, host_of
from netlab.views.panel import Buttons, Panel

_Counts = dict[str, dict[Line, tuple[int, int]]]


class RuleWalk(Panel):
    """The rules that packets meet: `at` is the number of the rule shown, counted from 0."""

    def __init__(self, host: Host, arrivals: Iterable[tuple[str | None, Packet]]) -> None:
        self._stops: list[RuleStop] = []
        host = host_of("walk_rules", host)
        for dev, packet in [arrival("walk_rules", one) for one in arrivals]:
            counts = _counters(host)
            trace = host.send(packet) if dev is None else host.receive(dev, packet)
            self._stops += _follow(host, trace, counts)
        if not self._stops:
            raise NetlabError(f"walk_rules: no packet meets a rule of {host.name}")
        self.at = 0
        moves: Buttons = {
            "First": partial(self._go, -len(self._stops)), "Back": partial(self._go, -1),
            "Forward": partial(self._go, 1), "To the next rule that means it": self._next_hit,
            "Last": partial(self._go, len(self._stops)),
        }  # fmt: skip
        super().__init__("A walk over rules", {"Step": moves})

    def _go(self, stops: int) -> None:
        self.at = max(0, min(self.at + stops, len(self._stops) - 1))

    def _next_hit(self) -> None:
        self._go(1)
        while not self._stops[self.at].asked.verdict:
            self._go(1)

    def draw(self) -> None:
        """Show the present rule."""
        stop, last = self._stops[self.at], len(self._stops) - 1
        self.html = rule_stop(stop)
        self.story = f"{self.at + 1} of {last + 1}: {_told(stop)}"
        ahead = ["Forward", "To the next rule that means it", "Last"]
        self.off = ["First", "Back"] * (self.at == 0) + ahead * (self.at == last)


def _counters(host: Host) -> _Counts:
    """Packets and bytes of every rule and policy at this moment."""
    found: _Counts = {}
    for table in host.firewall.ruleset.tables.values():
        lines = found[table.name] = {}
        for chain in table.chains.values():
            if chain.policy is not None:
                lines[chain.name, None] = chain.counters.packets, chain.counters.bytes
            for number, rule in enumerate(chain.rules, 1):
                lines[chain.name, number] = rule.counters.packets, rule.counters.bytes
    return found


def _follow(host: Host, trace: Trace, counts: _Counts) -> list[RuleStop]:
    """Every rule that the step's own packet meets on the host; `counts` is kept up to date."""
    events = [event for event in trace.events if event.number == 0 and event.host == host.name]
    tables = host.firewall.ruleset.tables
    met = list(asked(events, lambda table, chain: len(tables[table].chains[chain].rules)))
    starts = [place for place, one in enumerate(met) if place == 0 or _over(met[place - 1])]
    way = [f"{met[start].table}:{met[start].base}" for start in starts]
    stops, at, said = [], -1, dict[Line, str]()
    for place, one in enumerate(met):
        if place in starts:
            at, said = at + 1, {}
        line = one.chain, one.rule
        said = said | {line: one.verdict}
        if one.verdict and _counts(one, tables[one.table]):
            packets, octets = counts[one.table][line]
            counts[one.table] = counts[one.table] | {line: (packets + 1, octets + one.event.before.length)}
        stops.append(RuleStop(tables[one.table], way, at, one, said, counts[one.table]))
    return stops


def _over(one: Asked) -> bool:
    """Whether the walk over this table ends here."""
    return bool(one.verdict) and one.verdict.split()[0] not in ("JUMP", "GOTO", "RETURN", "CONTINUE")


def _counts(one: Asked, table: Table) -> bool:
    return one.rule is not None or (_over(one) and table.chains[one.chain].counted)


def _told(stop: RuleStop) -> str:
    one = stop.asked
    if not one.verdict:
        return f"Rule {one.rule} of {one.table}:{one.chain} does not mean the packet: on to the next."
    story = say_ruled(one.event, one.back).story
    more = _over(one) and stop.at < len(stop.way) - 1
    return (
        f"{story} That is the answer of {one.table}:{one.base} alone: other chains are still to come."
        if more
        else story
    )


def walk_rules(host: Host, *arrivals: tuple[str | None, Packet]) -> RuleWalk:
    """Send packets through a host that has rules, and step through the rules that they meet.

    Args:
        host: a host made with `iptables="..."`.
        arrivals: (interface, packet) for each; None for a packet that a local process sends.

    Raises:
        NetlabError: no packet meets a rule.
    """
    return RuleWalk(host, arrivals)
