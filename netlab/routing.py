"""The routing of one host: its interfaces' addresses, its tables, its rules, and what may be added to them.

The Fib is the kernel's Forwarding Information Base: rules are tried by priority, each names a table, in a table the
longest matching prefix wins, then the lowest metric. Sources: net/ipv4/fib_semantics.c (what `ip route add` checks),
fib_frontend.c (the routes that addresses bring), fib_rules.c, net/core/fib_rules.c, devinet.c.
"""

from collections.abc import Iterable
from dataclasses import replace
from html import escape
from typing import Final

from netlab.addresses import InterfaceAddress, Prefix
from netlab.interface_addresses import Address, Interfaces
from netlab.names import NetlabError
from netlab.route import (
    BOOT,
    DEFAULT,
    DEFAULT_RULES,
    EVERYWHERE,
    KERNEL,
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
from netlab.route_lookup import Decision, Plan, Question, RouteTable, search

__all__ = [
    "BOOT", "DEFAULT", "KERNEL", "LOCAL", "MAIN", "Address", "Decision", "Fib", "Route", "RouteTable",
    "RouteType", "Rule", "RuleAction", "Scope", "table_name",
]  # fmt: skip

LOOPBACK: Final = 0x7F000001
LIMITED_BROADCAST: Final = 0xFFFFFFFF
_new = tuple.__new__  # a NamedTuple's own constructor costs twice as much
CACHE_LIMIT: Final = 65536
"""Lookups remembered between two changes; past it the memory is emptied and fills again."""
LEAST_SCOPE: Final = {RouteType.LOCAL: Scope.HOST, RouteType.BROADCAST: Scope.LINK}
"""The widest scope that a route of a type may have (fib_props)."""


class Fib:
    """Interfaces' addresses, routing tables and rules of one host.

    Args:
        interfaces: names besides `lo`, which is always there with 127.0.0.1/8.

    >>> host = Fib(["eth0"])
    >>> host.add_address("eth0", InterfaceAddress.parse("10.0.1.1/24"))     # ip address add 10.0.1.1/24 dev eth0
    >>> print(host.lookup(0x0A000109))                                      # ip route get 10.0.1.9
    10.0.1.9: 10.0.1.0/24 dev eth0 proto kernel scope link src 10.0.1.1
    """

    def __init__(self, interfaces: Iterable[str] = ()) -> None:
        self._interfaces = Interfaces(interfaces)
        self._tables = {number: RouteTable(number) for number in (LOCAL, MAIN)}
        self._rules: tuple[Rule, ...] = DEFAULT_RULES
        self.custom_rules = False
        """Some rule has been added or deleted, at any time: local and main are separate from then on."""
        self.custom_local_routes = False
        """Some route of type local has been added by hand, at any time."""
        self._without_carrier: set[str] = set()
        self._plan: Plan | None = None
        self.version = 0
        """Counts the changes, so that who remembers a decision knows when to forget it."""
        self._cache: dict[Question | tuple[int, int, str | None, str | None, int, int], Decision] = {}
        self.add_address("lo", InterfaceAddress(LOOPBACK, 8))

    # ------------------------------------------------------------------ looking up

    def lookup(
        self,
        dst: int,
        *,
        src: int = 0,
        iif: str | None = None,
        oif: str | None = None,
        mark: int = 0,
        tos: int = 0,
    ) -> Decision:
        """Which route a packet takes, and why.

        Args:
            dst, src: addresses as integers.
            iif: the interface it came in by; None for a packet made here (rules then see `lo`).
            oif: the interface that a local sender is bound to.
            mark: the packet's mark (SO_MARK, or what a mangle rule set).
            tos: the type-of-service byte.
        """
        decision = self._cache.get((dst, src, iif, oif, mark, tos))
        if decision is None:
            if len(self._cache) >= CACHE_LIMIT:
                self._cache.clear()
            question = _new(Question, (dst, src, iif, oif, mark, tos))
            decision = self._cache[question] = self.plan.decide(question)
        return decision

    @property
    def plan(self) -> Plan:
        """Rules and tables as they are now, ready to be searched."""
        if self._plan is None:
            self._plan = Plan(self._rules, self._tables, self.custom_rules)
        return self._plan

    def address_type(self, address: int, dev: str | None = None) -> RouteType:
        """What an address is to this host: local, broadcast, multicast or unicast (inet_addr_type).

        With `dev`, what it is on that interface: the routes of others do not count (inet_dev_addr_type).
        """
        if address in (0, LIMITED_BROADCAST):
            return RouteType.BROADCAST
        if address >> 28 == 0xE:
            return RouteType.MULTICAST
        route = search(self.plan.steps(LOCAL), address)
        if route is None or route.refuses or dev not in (None, route.dev):
            return RouteType.UNICAST
        return route.type

    # ------------------------------------------------------------------ interfaces and their addresses

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Names in the order in which they were made, `lo` first."""
        return tuple(self._interfaces)

    def add_interface(self, name: str) -> None:
        """A new interface, up and without an address.

        Raises:
            NetlabError: there is one of that name.
        """
        self._interfaces.create(name)

    def addresses(self, dev: str) -> tuple[Address, ...]:
        """The addresses of an interface, primary ones first, as `ip address` lists them.

        Raises:
            NetlabError: there is no such interface.
        """
        return self._interfaces[dev]

    def owner(self, address: int) -> str | None:
        """The interface that has this very address; None if it is nobody's."""
        return self._interfaces.owner(address)

    def device_of(self, address: int) -> str | None:
        """The interface of an address that is local here by whatever route; None if it is not (__ip_dev_find)."""
        return self.owner(address) or self._local_by_route(address, LOCAL)

    def add_address(self, dev: str, address: InterfaceAddress) -> None:
        """`ip address add ADDRESS dev DEV`, with the routes that the kernel makes of it (fib_add_ifaddr).

        Raises:
            NetlabError: unknown interface, or the interface has this address already.
        """
        before = self._interfaces.routes(dev)
        self._interfaces.assign(dev, address)
        for route in self._interfaces.routes(dev):
            # Another address that is the broadcast address of a first one is not local, and gets no connected route.
            if route not in before and self._valid_source(route):
                self._change()
                self._tables[route.table].add(route, exclusive=False)

    def remove_address(self, dev: str, address: InterfaceAddress, *, promote: bool = False) -> None:
        """`ip address del ADDRESS dev DEV`: what it brought goes, and so do routes that prefer it as their source.

        Args:
            dev: the interface.
            address: the address with its length.
            promote: promote_secondaries is on: the next address of the subnet takes over; else they all go.

        Raises:
            NetlabError: the interface does not have this address.
        """
        before, own = self._interfaces.routes(dev), self.addresses(dev)
        heirs = self._interfaces.withdraw(dev, address)
        after = self._interfaces.routes(dev)
        self._change()
        for route in before:
            if route not in after and route in self._tables[route.table].at(route.prefix):
                self._tables[route.table].remove(route)
        for heir in heirs if promote else ():
            self.add_address(dev, InterfaceAddress(heir.address, heir.length))
        lost = {a.address for a in own} - {a.address for a in self.addresses(dev)}
        for route in [route for table in self._tables.values() for route in table]:
            # Only in main: fib_sync_down_addr() passes over the other tables.
            orphan = route.table == MAIN and route.source in lost and not self._local_by_route(route.source or 0, LOCAL)
            if orphan or (route.dev == dev and not self.addresses(dev)):
                self._change()
                self._tables[route.table].remove(route)

    def select_address(self, dev: str, dst: int = 0, scope: Scope = Scope.GLOBAL, *, localnet: bool = False) -> int:
        """The source address of a packet out of an interface when nothing else says (see `Interfaces.select`)."""
        return self._interfaces.select(dev, dst, scope, localnet=localnet)

    def source_of(self, route: Route, *, localnet: bool = False) -> int:
        """The source address of a local packet that takes this route (fib_result_prefsrc); 0: there is none."""
        if route.source is not None:
            return route.source
        return self.select_address(route.dev or "lo", route.gateway or 0, route.scope, localnet=localnet)

    # ------------------------------------------------------------------ routes

    def table(self, number: int) -> RouteTable:
        """A routing table by its number; an empty one where nothing was ever added."""
        return self._tables.get(number, RouteTable(number))

    def set_carrier(self, dev: str, on: bool) -> None:
        """Plug the cable of an interface in or out. Without it the routes are marked `linkdown`, and win as before.

        Raises:
            NetlabError: there is no such interface.
        """
        self.addresses(dev)
        (self._without_carrier.discard if on else self._without_carrier.add)(dev)

    def is_linkdown(self, route: Route) -> bool:
        """Whether `ip route` marks it: its interface has no carrier, and it leads out of this host."""
        return route.dev in self._without_carrier and route.next_hop_scope is not Scope.NOWHERE

    def __contains__(self, number: int) -> bool:
        """Whether a table exists: local and main always, another from its first route on."""
        return number in self._tables

    @property
    def tables(self) -> tuple[RouteTable, ...]:
        """All tables, in the order of `ip route show table all`."""
        return tuple(self._tables[number] for number in sorted(self._tables, key=lambda n: n & 255))

    def add(self, route: Route) -> Route:
        """`ip route add`: check as the kernel does, work out the interface, insert.

        Returns:
            The route as it stands in the table.

        Raises:
            NetlabError: in the words of the ip command: `Nexthop has invalid gateway.`, `File exists` and so on.
        """
        route = self._resolve(route)
        self._change()
        self._tables.setdefault(route.table, RouteTable(route.table)).add(route)
        self.custom_local_routes |= route.type is RouteType.LOCAL
        return route

    def _resolve(self, route: Route) -> Route:
        """The route with its interface and next-hop scope; or the kernel's complaint (fib_create_info)."""

        def refuse(complaint: str) -> NetlabError:
            return NetlabError(f"{route}: {complaint}")

        if route.dev is not None and route.dev not in self._interfaces:
            raise refuse(f'Cannot find device "{route.dev}"')
        if route.tos & 3:
            raise refuse("Error: Invalid dsfield (tos): ECN bits must be 0.")
        if route.scope > Scope.HOST or route.scope < LEAST_SCOPE.get(route.type, Scope.GLOBAL):
            raise refuse("Error: Invalid scope.")
        if route.refuses:
            if route.gateway is not None or route.dev is not None:
                raise refuse("Error: Gateway, device and multipath can not be specified for this route type.")
        elif route.scope is Scope.HOST:
            if route.gateway is not None:
                raise refuse("Error: Route with host scope can not have a gateway.")
            if route.dev is None:
                raise refuse("RTNETLINK answers: No such device")
            route = replace(route, next_hop_scope=Scope.NOWHERE)
        elif route.gateway is None:
            if route.onlink:
                raise refuse("Error: Invalid flags for nexthop - PERVASIVE and ONLINK can not be set.")
            if route.dev is None:
                raise refuse("RTNETLINK answers: No such device")
            route = replace(route, next_hop_scope=Scope.HOST)
        elif route.onlink:
            if route.scope >= Scope.LINK:
                raise refuse("Error: Nexthop has invalid scope.")
            if route.dev is None:
                raise refuse("Error: Nexthop device required for onlink.")
            if self.address_type(route.gateway) is not RouteType.UNICAST:
                raise refuse("Error: Nexthop has invalid gateway.")
            route = replace(route, next_hop_scope=Scope.LINK)
        else:
            towards = self._towards_gateway(route)
            if towards is None or towards.type not in (RouteType.UNICAST, RouteType.LOCAL):
                raise refuse("Error: Nexthop has invalid gateway.")
            route = replace(route, dev=towards.dev, next_hop_scope=towards.scope)
        if not (route.refuses or self._valid_source(route)):
            raise refuse("Error: Invalid prefsrc address.")
        return route

    def _towards_gateway(self, route: Route) -> Route | None:
        """How the gateway is reached: nearer than the destination, so on the link, or an address of our own."""
        gateway, nearer = route.gateway or 0, max(Scope.LINK, route.scope + 1)
        if route.table != MAIN and route.table in self._tables:
            found = search(self.plan.steps(route.table), gateway, route.dev, scope=nearer)
            if found and not found.refuses:
                return found
        return self.plan.decide(Question(gateway, 0, None, route.dev, 0, 0), nearer).route

    def _valid_source(self, route: Route) -> bool:
        """A preferred source must be an address of our own, or the one that this route makes so (fib_valid_prefsrc)."""
        itself = route.type is RouteType.LOCAL and route.source == route.prefix.address
        return not route.source or itself or self._local_by_route(route.source, route.table) is not None

    def _local_by_route(self, address: int, table: int) -> str | None:
        """The interface of the route that makes an address one of our own, in this table or in table local."""
        for number in {LOCAL if table == MAIN else table, LOCAL} & self._tables.keys():
            found = search(self.plan.steps(number), address)
            if found and found.type is RouteType.LOCAL:
                return found.dev
        return None

    def delete(self, prefix: Prefix, *, table: int = MAIN, tos: int = 0, **given: object) -> Route:
        """`ip route del`: the first route to the network that has everything that was given.

        Args:
            given: further fields of Route that must agree: type, gateway, dev, metric, scope, protocol, source.

        Raises:
            NetlabError: `No such process`, the kernel's words for: there is no such route.
        """
        for route in self.table(table).at(prefix):
            if route.tos == tos and all(getattr(route, name) == value for name, value in given.items()):
                self._change()
                self._tables[table].remove(route)
                return route
        raise NetlabError(f"{prefix} in table {table_name(table)}: RTNETLINK answers: No such process")

    # ------------------------------------------------------------------ rules

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in the order in which they are tried."""
        return self._rules

    def add_rule(self, rule: Rule) -> Rule:
        """`ip rule add`; without a priority the kernel takes the one before the second rule's.

        Returns:
            The rule as it stands in the list.

        Raises:
            NetlabError: `File exists`, an interface that is not there, or a tos that the kernel refuses.
        """
        for name in (rule.iif, rule.oif):
            if name is not None:
                self.addresses(name)
        if rule.tos & ~LEGACY_TOS:
            why = "Invalid dsfield (tos): ECN bits must be 0." if rule.tos & 3 else "Invalid tos."
            raise NetlabError(f"{rule.words()}: Error: {why}")
        if rule.priority is None:
            second = self._rules[1].priority if len(self._rules) > 1 else 0
            rule = replace(rule, priority=max((second or 0) - 1, 0))
        if any(rule.repeats(present) for present in self._rules):
            raise NetlabError(f"{rule.words()}: RTNETLINK answers: File exists")
        self._rules = tuple(sorted((*self._rules, rule), key=lambda r: r.priority or 0))
        self.custom_rules = True
        self._change()
        return rule

    def delete_rule(self, **given: object) -> Rule:
        """`ip rule del`: the first rule that has everything that was given (fields of Rule).

        Raises:
            NetlabError: `No such file or directory`, the kernel's words for: there is no such rule.
        """
        # What is zero is left open, and the word `not` is not compared (rule_find).
        given = {n: v for n, v in given.items() if n == "priority" or (v not in (0, EVERYWHERE) and n != "invert")}
        if "table" in given:
            given.setdefault("action", RuleAction.LOOKUP)
        for rule in self._rules:
            if all(getattr(rule, name) == value for name, value in given.items()):
                self._rules = tuple(r for r in self._rules if r is not rule)
                self.custom_rules = True
                self._change()
                return rule
        raise NetlabError("RTNETLINK answers: No such file or directory: no rule like that")

    # ------------------------------------------------------------------ showing

    def __str__(self) -> str:
        """The rules, and every table but local."""
        rules = "\n".join(str(rule) for rule in self._rules)
        routes = "\n".join(str(route) for table in self.tables if table.number != LOCAL for route in table)
        return f"{rules}\n{routes}"

    def __repr__(self) -> str:
        return f"<Fib: {len(self._rules)} rules, {sum(len(t) for t in self.tables)} routes>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    # ------------------------------------------------------------------ inside

    def _change(self) -> None:
        """Forget what was looked up. Decisions made so far keep the tables they saw: from here on work on copies."""
        self._plan = None
        self.version += 1
        if self._cache:
            self._tables = {number: table.copy() for number, table in self._tables.items()}
            self._cache.clear()
