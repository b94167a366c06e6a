"""Longest prefix match: routing tables, the search through them by rule, and a decision that can explain itself.

Tables are plain dicts, one for each prefix length. A decision keeps the tables as its lookup saw them (the Fib works on
copies after the next change), so it can say at any later time why the winner won.
Sources: fib_trie.c (fib_table_lookup, fib_table_insert) and fib_rules.c in net/ipv4, include/net/ip_fib.h (fib_lookup).
"""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final, NamedTuple

from netlab.addresses import Prefix, format_address, mask_of
from netlab.html import html_table
from netlab.names import NetlabError
from netlab.route import (
    DEFAULT,
    ERRNO_OF_ACTION,
    ERRNO_OF_TYPE,
    LEGACY_TOS,
    LOCAL,
    MAIN,
    Route,
    RouteType,
    Rule,
    RuleAction,
    Scope,
    table_name,
)

Step = tuple[int, dict[int, tuple[Route, ...]]]
"""A netmask and the networks of that length: address -> its routes, the preferred one first."""


class RouteTable:
    """One routing table: the routes of each network by the network's address, a dict for each prefix length.

    `table.add(route)` is what remains of `ip route add` once the Fib has checked the route.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._networks: dict[int, dict[int, tuple[Route, ...]]] = {}

    def add(self, route: Route, *, exclusive: bool = True) -> None:
        """Insert where the kernel keeps it within its network: by higher tos, lower metric, age.

        Args:
            route: what `Fib.add` has checked.
            exclusive: refuse a second route to the same network with the same tos and metric, as `ip route add`
                does; the routes that come with addresses may stand side by side.

        Raises:
            NetlabError: `File exists`.
        """
        networks = self._networks.setdefault(route.prefix.length, {})
        present = networks.get(route.prefix.address, ())
        if exclusive:
            twin = next((r for r in present if preference(r) == preference(route)), None)
            if twin:
                raise NetlabError(
                    f"{route}: RTNETLINK answers: File exists (table {table_name(self.number)} has {twin})"
                )
        elif route in present:
            return
        networks[route.prefix.address] = tuple(sorted((*present, route), key=preference))

    def remove(self, route: Route) -> None:
        """Take out exactly this route."""
        networks = self._networks[route.prefix.length]
        rest = tuple(r for r in networks[route.prefix.address] if r != route)
        if rest:
            networks[route.prefix.address] = rest
        else:
            del networks[route.prefix.address]
            if not networks:
                del self._networks[route.prefix.length]

    def at(self, prefix: Prefix) -> tuple[Route, ...]:
        """The routes to exactly this network, the preferred one first."""
        return self._networks.get(prefix.length, {}).get(prefix.address, ())

    def steps(self) -> list[Step]:
        """What a lookup goes through: the longest prefixes first."""
        return [(mask_of(length), self._networks[length]) for length in sorted(self._networks, reverse=True)]

    def copy(self) -> "RouteTable":
        """The same routes; changes to one table do not show in the other."""
        twin = RouteTable(self.number)
        twin._networks = {length: dict(networks) for length, networks in self._networks.items()}
        return twin

    def __len__(self) -> int:
        return sum(len(routes) for networks in self._networks.values() for routes in networks.values())

    def __iter__(self) -> Iterator[Route]:
        """In the order of `ip route show`: by address, then the longer prefix, then by preference."""
        places = sorted((address, -length) for length, networks in self._networks.items() for address in networks)
        for address, negative in places:
            yield from self._networks[-negative][address]

    def __str__(self) -> str:
        return "\n".join(route.words(show_table=False) for route in self)

    def __repr__(self) -> str:
        return f"<RouteTable {table_name(self.number)}: {len(self)} routes>"

    def _repr_html_(self) -> str:
        return html_table(map(cells, self), COLUMNS, f"Routing table {table_name(self.number)}")


COLUMNS: Final = ("destination", "type", "gateway", "interface", "metric", "preferred source")


def cells(route: Route) -> tuple[str, ...]:
    """A route as a row of a table in a notebook."""
    gateway = "on the link" if route.gateway is None else format_address(route.gateway)
    return (
        str(route.prefix),
        str(route.type),
        "" if route.dev is None else gateway,
        route.dev or "",
        str(route.metric),
        "" if route.source is None else format_address(route.source),
    )


def preference(route: Route) -> tuple[int, int]:
    """What orders the routes of one network: the higher tos, then the lower metric."""
    return -route.tos, route.metric


class Question(NamedTuple):
    """What is looked up (struct flowi4)."""

    dst: int
    src: int
    iif: str | None
    oif: str | None
    mark: int
    tos: int


class Search(NamedTuple):
    """One leg of a lookup: a rule and the steps through its table."""

    rule: Rule | None
    """None: no rule of anyone's own is in force, and the leg is one of the kernel's two."""
    table: int
    steps: Sequence[Step]
    matches_all: bool
    """The rule need not be asked."""


class Decision:
    """What a lookup found: the winning route, or the error that the kernel gives instead, and why.

    Attributes:
        route: the winner; None when there is none or it refuses (see `refused_by`).
        errno: `ENETUNREACH` no route, `EHOSTUNREACH` unreachable, `EACCES` prohibit, `EINVAL` blackhole; None: success.
        rule: the rule that decided; None when no rule did.
        refused_by: the blackhole, unreachable or prohibit route that decided, if one did.
    """

    __slots__ = ("_plan", "errno", "question", "refused_by", "route", "rule")

    def __init__(
        self,
        route: Route | None,
        errno: str | None,
        rule: Rule | None,
        refused_by: Route | None,
        question: Question,
        plan: "Plan",
    ) -> None:
        self.route = route
        self.errno = errno
        self.rule = rule
        self.refused_by = refused_by
        self.question = question
        self._plan = plan

    @property
    def table(self) -> str | None:
        """The name of the table with the deciding route; None when no route decided."""
        decider = self.route or self.refused_by
        return table_name(decider.table) if decider else None

    @property
    def kernel_table(self) -> str | None:
        """The table that `ip route get` names: main instead of local as long as the kernel keeps both in one."""
        if self.route is None or (self._plan.merged and self.route.table == LOCAL):
            return "main"
        return self.table

    @property
    def next_hop(self) -> int | None:
        """Whose MAC address the frame gets: the gateway's, or the destination's own; None without a route."""
        if self.route is None:
            return None
        return self.question.dst if self.route.hop is None else self.route.hop

    @property
    def why(self) -> tuple[str, ...]:
        """The reasons in plain words, a line each: rules tried, prefixes that matched, what lost and by what."""
        return tuple(self._plan.explain(self))

    def __str__(self) -> str:
        dst = format_address(self.question.dst)
        if self.route:
            return f"{dst}: {self.route}"
        by = f" ({self.refused_by or self.rule})" if self.refused_by or self.rule else ""
        return f"{dst}: {self.errno}{by}"

    def __repr__(self) -> str:
        return f"<Decision {self}>"

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{escape(line)}</li>" for line in self.why)
        return f"<p><code>{escape(str(self))}</code></p><ul>{lines}</ul>"


class Plan:
    """Rules and tables as they are between two changes, ready to be searched.

    Until the first rule is added or deleted the kernel keeps `local` and `main` in one trie and searches them together:
    then a longer prefix in main beats a shorter one in local (127.5.0.0/16 against 127.0.0.0/8).
    """

    def __init__(self, rules: Sequence[Rule], tables: dict[int, RouteTable], custom_rules: bool) -> None:
        self.merged = not custom_rules
        self.rule_of_table = {rule.table: rule for rule in rules}
        self._steps = {number: table.steps() for number, table in tables.items()}
        if self.merged:
            both = self._steps[LOCAL] + self._steps[MAIN]
            both.sort(key=lambda step: step[0], reverse=True)  # stable: local stays before main at equal length
            self._steps[LOCAL] = self._steps[MAIN] = both
            self.searches = [Search(None, number, self.steps(number), True) for number in (MAIN, DEFAULT)]
        else:
            self.searches = [Search(rule, rule.table, self.steps(rule.table), rule.matches_all) for rule in rules]

    def steps(self, table: int) -> Sequence[Step]:
        """The way through one table, which for local and main is one way as long as they are searched together."""
        return self._steps.get(table, ())

    def decide(self, question: Question, scope: int = Scope.GLOBAL) -> Decision:
        """Search rule by rule (fib_lookup); a throw route and an empty-handed table send on to the next."""
        dst, src, iif, oif, mark, tos = question
        for rule, _, steps, matches_all in self.searches:
            if rule is not None:
                if not (matches_all or rule.matches(dst, src, iif or "lo", oif, mark, tos)):
                    continue
                if rule.action is not RuleAction.LOOKUP:
                    return Decision(None, ERRNO_OF_ACTION[rule.action], rule, None, question, self)
            route = search(steps, dst, oif, tos, scope)
            if route is None or route.type is RouteType.THROW:
                continue
            decider = rule or self.rule_of_table[route.table]
            if route.type in ERRNO_OF_TYPE:
                return Decision(None, ERRNO_OF_TYPE[route.type], decider, route, question, self)
            return Decision(route, None, decider, None, question, self)
        return Decision(None, "ENETUNREACH", None, None, question, self)

    def explain(self, decision: Decision) -> Iterator[str]:
        """Walk the same way again, in words."""
        dst, src, iif, oif, mark, tos = decision.question
        for rule, table, steps, _ in self.searches:
            if rule is None:
                heading = "tables local and main, searched as one" if table == MAIN else "table default"
            else:
                heading = f"rule {rule.priority} ({rule.words()})"
                if not rule.matches(dst, src, iif or "lo", oif, mark, tos):
                    yield f"{heading}: passed over, {rule.misfit(dst, src, iif or 'lo', oif, mark, tos)}"
                    continue
                if rule.action is not RuleAction.LOOKUP:
                    yield f"{heading}: applies, and its answer is {decision.errno}"
                    return
            candidates = [route for mask, networks in steps for route in networks.get(dst & mask, ())]
            if not candidates:
                yield f"{heading}: no prefix contains {format_address(dst)}"
                continue
            winner = search(steps, dst, oif, tos)
            routes = "1 route matches" if len(candidates) == 1 else f"{len(candidates)} routes match"
            yield f"{heading}: {routes} {format_address(dst)}"
            yield from (f"  {route}: {verdict(route, winner, oif, tos)}" for route in candidates)
            if winner is not None and winner.type is not RouteType.THROW:
                return
        yield "no rule led to a route: ENETUNREACH"


def search(
    steps: Sequence[Step], dst: int, oif: str | None = None, tos: int = 0, scope: int = Scope.GLOBAL
) -> Route | None:
    """Longest prefix, then the order within the network (fib_table_lookup). Refusing routes care for no `oif`."""
    for mask, networks in steps:
        for route in networks.get(dst & mask, ()):
            if (
                (not route.tos or route.tos == tos & LEGACY_TOS)
                and route.scope >= scope
                and (oif is None or route.dev == oif or route.dev is None)
            ):
                return route
    return None


def verdict(route: Route, winner: Route | None, oif: str | None, tos: int) -> str:
    """Why one of several matching routes won or lost, in words."""
    length = route.prefix.length
    if route is winner:
        if route.type is RouteType.THROW:
            return f"wins (/{length}), and throw means: go on with the next rule"
        errno = ERRNO_OF_TYPE.get(route.type)
        return f"wins (/{length})" + (f", and its answer is {errno}" if errno else "")
    if route.tos and route.tos != tos & LEGACY_TOS:
        return f"only for tos 0x{route.tos:02x}, the packet has 0x{tos:02x}"
    if oif is not None and route.dev not in (oif, None):
        return f"leaves by {route.dev}, the sender is bound to {oif}"
    if winner is None:
        return "not usable"
    if winner.prefix.length != length:
        return f"loses by length, /{length} is shorter than /{winner.prefix.length}"
    if winner.table != route.table:
        return f"loses, table {table_name(winner.table)} comes before {table_name(route.table)}"
    if winner.tos != route.tos:
        return "loses to the route made for this tos"
    if winner.metric != route.metric:
        return f"loses by metric, {route.metric} is more than {winner.metric}"
    return "loses, it was added later"
