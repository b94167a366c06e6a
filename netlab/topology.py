"""Hosts and the links between them."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from netlab.host import Host
from netlab.names import NetlabError
from netlab.trace import Trace
from netlab.wires import End, Wires


class Network:
    """Several hosts, their links, and the clock they share.

        net = Network()
        client = net.host("client", {"eth0": "10.0.1.2/24"}, routes=["default via 10.0.1.1"])
        server = net.host("server", {"eth0": "10.0.1.1/24"}, listen=["tcp/80"])
        net.link("client:eth0", "server:eth0")
        client.sockets.connect("10.0.1.1", 80)

    An interface in no link is open: beyond it lies the outside world, where every next hop answers.
    """

    def __init__(self) -> None:
        self.wires = Wires()
        self.hosts: dict[str, Host] = {}
        self.links: list[tuple[str, str]] = []

    def host(self, name: str, interfaces: Mapping[str, str | Iterable[str]] | None = None, **options: Any) -> Host:
        """A new host; `options` as for `Host`.

        Raises:
            NetlabError: the name is taken, or as for `Host`.
        """
        if isinstance(name, str) and name in self.hosts:
            raise NetlabError(f"there is a host {name!r} already")
        self.hosts[name] = made = Host(name, interfaces, wires=self.wires, **options)
        return made

    def link(self, one: str, other: str) -> None:
        """Put a cable between two interfaces, like `client:eth0` and `server:eth0`.

        Raises:
            NetlabError: no such host or interface, or it is on a link already.
        """
        self.wires.connect(self._end(one), self._end(other))
        self.links.append((one, other))

    def advance(self, seconds: float) -> Trace:
        """Let time pass, and everything happen that falls due.

        Raises:
            NetlabError: backwards.
        """
        with self.wires.step("advance {:g} s", seconds) as trace:
            self.wires.clock.advance(seconds)
            for host in self.hosts.values():
                host.tick()
        return trace

    def _end(self, text: str) -> End:
        name, _, dev = str(text).partition(":")
        if name not in self.hosts:
            raise NetlabError(f"unknown host {name!r} (the hosts are {', '.join(self.hosts) or 'none yet'})")
        host = self.hosts[name]
        if dev not in host.mtu or dev == "lo":
            known = ", ".join(known for known in host.mtu if known != "lo") or "none"
            raise NetlabError(f"unknown interface {dev!r} of host {name} (it has {known})")
        return End(host, dev)

    def __repr__(self) -> str:
        return f"<Network of {', '.join(self.hosts) or 'no hosts'}; {len(self.links)} links>"

    def _repr_html_(self) -> str:
        rows = "".join(f"<li>{escape(repr(host))}</li>" for host in self.hosts.values())
        links = "".join(f"<li>{escape(one)} — {escape(other)}</li>" for one, other in self.links)
        return f"<p>Hosts</p><ul>{rows}</ul><p>Links</p><ul>{links or '<li>none</li>'}</ul>"
