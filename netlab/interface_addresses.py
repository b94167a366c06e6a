"""The addresses of a host's interfaces: which come first, which routes they bring, which one a packet is sent from.

Sources: net/ipv4/devinet.c (inet_insert_ifa, inet_select_addr), net/ipv4/fib_frontend.c (fib_add_ifaddr).
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from netlab.addresses import InterfaceAddress, Prefix
from netlab.names import NetlabError
from netlab.route import KERNEL, LOCAL, MAIN, Route, RouteType, Scope


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


class Interfaces:
    """The interfaces of a host by name, `lo` first, with their addresses, primary ones before secondary ones."""

    def __init__(self, names: Iterable[str]) -> None:
        self._addresses: dict[str, tuple[Address, ...]] = dict.fromkeys(("lo", *names), ())
        self._owners: dict[int, list[str]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._addresses)

    def __contains__(self, name: object) -> bool:
        return name in self._addresses

    def __getitem__(self, name: str) -> tuple[Address, ...]:
        """The addresses of an interface.

        Raises:
            NetlabError: there is no such interface.
        """
        if name not in self._addresses:
            raise NetlabError(f"no interface {name!r} (there are {', '.join(self._addresses)})")
        return self._addresses[name]

    def create(self, name: str) -> None:
        """A new interface without addresses.

        Raises:
            NetlabError: there is one of that name.
        """
        if name in self._addresses:
            raise NetlabError(f"interface {name!r} exists already")
        self._addresses[name] = ()

    def owner(self, address: int) -> str | None:
        """The interface that has this very address, the latest of several; None: nobody (inet_lookup_ifaddr_rcu)."""
        owners = self._owners.get(address)
        return owners[-1] if owners else None

    def assign(self, name: str, address: InterfaceAddress) -> None:
        """Give an interface one more address; a further one of a subnet is secondary and comes last.

        Raises:
            NetlabError: unknown interface, or it has this address already.
        """
        own = self[name]
        peers = [a for a in own if a.network == address.network]
        if any(a.address == address.address for a in peers):
            raise NetlabError(f"{name}: {address}: Error: ipv4: Address already assigned.")
        new = Address(address.address, address.length, secondary=bool(peers))
        at = len(own) if peers else sum(not a.secondary for a in own)
        self._addresses[name] = (*own[:at], new, *own[at:])
        self._owners.setdefault(new.address, []).append(name)

    def withdraw(self, name: str, address: InterfaceAddress) -> list[Address]:
        """Take an address away, and with a primary one all secondary ones of its subnet.

        Returns:
            The secondary addresses that went with it, in their order.

        Raises:
            NetlabError: unknown interface, or it does not have this address.
        """
        own = self[name]
        gone = next((a for a in own if (a.address, a.length) == address), None)
        if gone is None:
            raise NetlabError(f"{name}: {address}: Error: ipv4: Address not found.")
        heirs = [a for a in own if a.secondary and a.network == gone.network and not gone.secondary]
        self._addresses[name] = tuple(a for a in own if a is not gone and a not in heirs)
        for lost in (gone, *heirs):
            self._owners[lost.address].remove(name)
        return heirs

    def routes(self, name: str) -> list[Route]:
        """The routes that the addresses of an interface bring; a secondary one only makes itself local."""
        found = []
        for own in self[name]:
            network = own.network
            primary = next(a.address for a in self[name] if a.network == network)
            found.append(_route(name, primary, RouteType.LOCAL, Prefix(own.address, 32)))
            if own.secondary or not network.address or own.length == 32:
                continue
            kind = RouteType.LOCAL if name == "lo" else RouteType.UNICAST
            found.append(_route(name, primary, kind, network))
            if own.length < 31:
                found.append(_route(name, primary, RouteType.BROADCAST, Prefix(network.last, 32)))
        return found

    def select(self, name: str, dst: int = 0, scope: Scope = Scope.GLOBAL, *, localnet: bool = False) -> int:
        """The source address of a packet out of an interface when nothing else says (inet_select_addr).

        Args:
            name: the interface.
            dst: prefer an address whose subnet holds this one (the gateway, for a route with one).
            scope: the address must reach at least that far.
            localnet: route_localnet is on there, which makes 127/8 good for the link.

        Returns:
            The address; 0 when there is none, on no interface.
        """
        nearest = Scope.LINK if localnet else Scope.HOST
        fitting = [a for a in self[name] if not a.secondary and min(a.scope, nearest) <= scope]
        if fitting:
            return next((a for a in fitting if dst and dst in a.network), fitting[0]).address
        others = (a for own in self._addresses.values() for a in own if not a.secondary and a.scope <= scope)
        return next((a.address for a in others), 0)


SCOPES = {RouteType.LOCAL: Scope.HOST, RouteType.BROADCAST: Scope.LINK, RouteType.UNICAST: Scope.LINK}


def _route(dev: str, source: int, kind: RouteType, prefix: Prefix) -> Route:
    return Route(
        prefix=prefix,
        type=kind,
        dev=dev,
        source=source,
        scope=SCOPES[kind],
        table=MAIN if kind is RouteType.UNICAST else LOCAL,
        protocol=KERNEL,
        next_hop_scope=Scope.NOWHERE if kind is RouteType.LOCAL else Scope.HOST,
    )
