"""The routing of one host: its interfaces' addresses, its tables, its rules, and what may be added to them.

The Fib is the kernel's Forwarding Information Base: rules are tried by priority, each names a table, in a table the
longest matching prefix wins, then the lowest metric. Sources: net/ipv4/fib_semantics.c (what `ip route add` checks),
fib_frontend.c (the routes that addresses bring), fib_rules.c, net/core/fib_rules.c, devinet.c.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from html import escape
from typing import Final, NamedTuple

from netlab.addresses import InterfaceAddress, Prefix
from netlab.names import NetlabError
from netlab.route import (
    BOOT,
    DEFAULT,
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
CACHE_LIMIT: Final = 65536
"""Lookups remembered between two changes; past it the memory is emptied and fills again."""
LEAST_SCOPE: Final = {RouteType.LOCAL: Scope.HOST, RouteType.BROADCAST: Scope.LINK}
"""The widest scope that a route of a type may have (fib_props)."""


class Address(NamedTuple):
    """An address of an interface as the kernel keeps it."""

    address: int
    length: int
    secondary: bool
    """Not the first of its subnet: it brings no connected route and is never chosen as a source by itself."""

    @property
    def network(self) -> Prefix:
        """The on-link network."""
        return InterfaceAddress(self.address, self.length).network

    @property
    def scope(self) -> Scope:
        """`host` for 127/8, else `global`, as `ip address add` sets it."""
        return Scope.HOST if self.address >> 24 == 127 else Scope.GLOBAL


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
        self._addresses: dict[str, tuple[Address, ...]] = dict.fromkeys(("lo", *interfaces), ())
        self._owners: dict[int, str] = {}
        self._tables = {number: RouteTable(number) for number in (LOCAL, MAIN)}
        self._rules: tuple[Rule, ...] = (
            Rule(priority=0, table=LOCAL, protocol=KERNEL), Rule(priority=32766, table=MAIN, protocol=KERNEL), Rule(priority=32767, table=DEFAULT, protocol=KERNEL),
        )  # fmt: skip
        self.custom_rules = False
        """Some rule has been added or deleted, at any time: local and main are separate from then on."""
        self.custom_local_routes = False
        """Some route of type local has been added by hand, at any time."""
        self._plan: Plan | None = None
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
            question = Question(dst, src, iif, oif, mark, tos)
            decision = self._cache[question] = self.plan.decide(question)
        return decision

    @property
    def plan(self) -> Plan:
        """Rules and tables as they are now, ready to be searched."""
        if self._plan is None:
            self._plan = Plan(self._rules, self._tables, self.custom_rules)
        return self._plan

    def address_type(self, address: int) -> RouteType:
        """What an address is to this host: local, broadcast, multicast or unicast (inet_addr_type)."""
        if address in (0, LIMITED_BROADCAST):
            return RouteType.BROADCAST
        if address >> 28 == 0xE:
            return RouteType.MULTICAST
        route = search(self.plan.steps(LOCAL), address)
        return RouteType.UNICAST if route is None or route.refuses else route.type

    # ------------------------------------------------------------------ interfaces and their addresses

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Names in the order in which they were made, `lo` first."""
        return tuple(self._addresses)

    def add_interface(self, name: str) -> None:
        """A new interface, up and without an address.

        Raises:
            NetlabError: there is one of that name.
        """
        if name in self._addresses:
            raise NetlabError(f"interface {name!r} exists already")
        self._addresses[name] = ()

    def addresses(self, dev: str) -> tuple[Address, ...]:
        """The addresses of an interface, primary ones first, as `ip address` lists them.

        Raises:
            NetlabError: there is no such interface.
        """
        self._require(dev)
        return self._addresses[dev]

    def owner(self, address: int) -> str | None:
        """The interface that has this very address; None if it is nobody's (inet_lookup_ifaddr_rcu)."""
        return self._owners.get(address)

    def device_of(self, address: int) -> str | None:
        """The interface of an address that is local here by whatever route; None if it is not (__ip_dev_find)."""
        return self.owner(address) or self._local_by_route(address, LOCAL)

    def add_address(self, dev: str, address: InterfaceAddress) -> None:
        """`ip address add ADDRESS dev DEV`, with the routes that the kernel makes of it (fib_add_ifaddr).

        Raises:
            NetlabError: unknown interface, or the interface has this address already.
        """
        self._require(dev)
        own = self._addresses[dev]
        peers = [a for a in own if a.network == address.network]
        if any(a.address == address.address for a in peers):
            raise NetlabError(f"{dev}: {address}: Error: ipv4: Address already assigned.")
        new = Address(address.address, address.length, secondary=bool(peers))
        at = len(own) if new.secondary else sum(not a.secondary for a in own)
        self._set_addresses(dev, (*own[:at], new, *own[at:]))

    def remove_address(self, dev: str, address: InterfaceAddress, *, promote: bool = False) -> None:
        """`ip address del ADDRESS dev DEV`: what it brought goes, and so do routes that prefer it as their source.

        Args:
            dev: the interface.
            address: the address with its length.
            promote: promote_secondaries is on: the next address of the subnet takes over; else they all go.

        Raises:
            NetlabError: the interface does not have this address.
        """
        self._require(dev)
        own = self._addresses[dev]
        gone = next((a for a in own if (a.address, a.length) == address), None)
        if gone is None:
            raise NetlabError(f"{dev}: {address}: Error: ipv4: Address not found.")
        heirs = [a for a in own if a.secondary and a.network == gone.network and not gone.secondary]
        self._set_addresses(dev, tuple(a for a in own if a is not gone and a not in heirs))
        for heir in heirs if promote else ():
            self.add_address(dev, InterfaceAddress(heir.address, heir.length))
        lost = {a.address for a in own} - {a.address for a in self._addresses[dev]}
        for route in [route for table in self._tables.values() for route in table]:
            # Only in main: fib_sync_down_addr() passes over the other tables.
            orphan = (
                route.table == MAIN and route.source in lost and self._local_by_route(route.source or 0, LOCAL) is None
            )
            if orphan or (route.dev == dev and not self._addresses[dev]):
                self._change()
                self._tables[route.table].remove(route)

    def _set_addresses(self, dev: str, addresses: tuple[Address, ...]) -> None:
        """Give an interface its addresses, and the tables the routes that come and go with them."""
        before = list(self._routes_of_addresses(dev))
        self._addresses[dev] = addresses
        after = list(self._routes_of_addresses(dev))
        self._owners = {a.address: name for name, own in reversed(self._addresses.items()) for a in own}
        self._change()
        for route in before:
            table = self._tables[route.table]
            if route not in after and route in table.at(route.prefix):
                table.remove(route)
        for route in after:
            # A second address that is the broadcast address of a first one is not local, and gets no other route.
            itself = route.type is RouteType.LOCAL and route.prefix.address == route.source
            if route not in before and (itself or self._local_by_route(route.source or 0, LOCAL)):
                self._change()
                self._tables[route.table].add(route, exclusive=False)

    def _routes_of_addresses(self, dev: str) -> Iterator[Route]:
        """The routes that the addresses of an interface bring; a secondary one only makes itself local."""

        def route(kind: RouteType, prefix: Prefix, scope: Scope) -> Route:
            near = Scope.NOWHERE if scope is Scope.HOST else Scope.HOST
            table = MAIN if kind is RouteType.UNICAST else LOCAL
            return Route(
                prefix=prefix, type=kind, dev=dev, scope=scope, table=table, protocol=KERNEL, source=primary.address,
                next_hop_scope=near,
            )  # fmt: skip

        for own in self._addresses[dev]:
            network = own.network
            primary = next(a for a in self._addresses[dev] if a.network == network)
            yield route(RouteType.LOCAL, Prefix(own.address, 32), Scope.HOST)
            if own.secondary or not network.address or own.length == 32:
                continue
            if dev == "lo":
                yield route(RouteType.LOCAL, network, Scope.HOST)
            else:
                yield route(RouteType.UNICAST, network, Scope.LINK)
            if own.length < 31:
                yield route(RouteType.BROADCAST, Prefix(network.last, 32), Scope.LINK)

    def select_address(self, dev: str, dst: int = 0, scope: Scope = Scope.GLOBAL, *, localnet: bool = False) -> int:
        """The source address that a packet out of `dev` gets when nothing else says (inet_select_addr); 0: there is none.

        Args:
            dst: prefer an address whose subnet holds this one (the gateway, for a route with one).
            scope: the address must reach at least that far.
            localnet: route_localnet is on there, which makes 127/8 good for the link.
        """
        nearest = Scope.LINK if localnet else Scope.HOST
        fitting = [a for a in self._addresses[dev] if not a.secondary and min(a.scope, nearest) <= scope]
        if fitting:
            return next((a for a in fitting if dst and dst in a.network), fitting[0]).address
        others = (a for own in self._addresses.values() for a in own if not a.secondary and a.scope <= scope)
        return next((a.address for a in others), 0)

    def source_of(self, route: Route, *, localnet: bool = False) -> int:
        """The source address of a local packet that takes this route (fib_result_prefsrc); 0: there is none."""
        if route.source is not None:
            return route.source
        return self.select_address(route.dev or "lo", route.gateway or 0, route.scope, localnet=localnet)

    # ------------------------------------------------------------------ routes

    def table(self, number: int) -> RouteTable:
        """A routing table by its number; an empty one where nothing was ever added."""
        return self._tables.get(number) or RouteTable(number)

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
        """The route with its interface and next-hop scope, or the kernel's complaint (fib_create_info, fib_check_nh)."""

        def refuse(complaint: str) -> NetlabError:
            return NetlabError(f"{route}: {complaint}")

        if route.dev is not None and route.dev not in self._addresses:
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
        if not route.refuses and route.source and self._local_by_route(route.source, route.table) is None:
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
                self._require(name)
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

    def _require(self, dev: str) -> None:
        if dev not in self._addresses:
            raise NetlabError(f"no interface {dev!r} (there are {', '.join(self._addresses)})")

    def _change(self) -> None:
        """Forget what was looked up. Decisions made so far keep the tables they saw: from here on work on copies."""
        if self._plan is not None:
            self._tables = {number: table.copy() for number, table in self._tables.items()}
            self._plan = None
            self._cache.clear()
