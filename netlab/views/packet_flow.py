"""The packet-flow widget: build a packet, predict its hooks, lock the prediction, watch its way through a host."""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

from traitlets import Dict, List, Unicode

from netlab.addresses import format_address, parse_address
from netlab.draw import hook_map, journey_table
from netlab.host import Host
from netlab.names import Hook, NetlabError, Proto, protocol_name
from netlab.packet import Packet
from netlab.trace import Trace
from netlab.views.arrivals import host_of
from netlab.views.widget import Player, module

HERE = "here"
"""As a source: a process on this host, which lets the host choose its address."""

PROTOCOLS = {
    "udp": "UDP, to port 53 (a DNS query)",
    "tcp": "TCP, to port 80 (a connection's first packet)",
    "icmp": "ICMP echo request (a ping)",
}


class Built(NamedTuple):
    """A packet and where it begins: `dev` is the interface it comes in by, None for a local process."""

    packet: Packet
    dev: str | None

    def __str__(self) -> str:
        packet = self.packet
        source = packet.src if packet.saddr else "this machine"
        target = packet.dst if packet.dport is None else f"{packet.dst}:{packet.dport}"
        begins = f"comes in by {self.dev}" if self.dev else "made by a local process"
        return f"{protocol_name(packet.proto)} {source} > {target}, {begins}"


class PacketFlow(Player):
    """Its `stage` is `build`, `predict` or `watch`; every step of it can also be taken from Python."""

    _esm = module("dom.js", "player.js", "packet_flow.js")
    host = Unicode().tag(sync=True)
    sources: List[list[str]] = List().tag(sync=True)
    destinations: List[list[str]] = List().tag(sync=True)
    protocols: List[list[str]] = List().tag(sync=True)
    ways: List[list[str]] = List().tag(sync=True)
    hooks: List[str] = List([hook.name for hook in Hook]).tag(sync=True)
    wants = Unicode("prediction").tag(sync=True)

    stage = Unicode("build").tag(sync=True)
    problem: Dict[str, str] = Dict().tag(sync=True)
    packet = Unicode().tag(sync=True)
    prediction: List[str] = List(Unicode()).tag(sync=True)
    passed: List[str] = List(Unicode()).tag(sync=True)
    remark = Unicode().tag(sync=True)

    def __init__(self, router: Host, *, predict: bool = True) -> None:
        self.router = router
        self.trace: Trace | None = None
        self._built: Built | None = None
        own, beyond = _places(router)
        super().__init__(
            host=router.name,
            sources=[[HERE, f"this machine, {router.name}"], *beyond],
            destinations=[*own, *beyond],
            protocols=[[name, text] for name, text in PROTOCOLS.items()],
            ways=[[dev, f"comes in by {dev}"] for dev in _devices(router)] + [[HERE, "made by a local process"]],
            wants="prediction" if predict else "nothing",
        )
        self.on_msg(self._hear)

    def build(self, src: str, dst: str, proto: str = "udp", way: str | None = None) -> None:
        """Choose the packet.

        Args:
            src: `here` for a local process that lets the host choose, or an address.
            dst: an address.
            proto: `udp`, `tcp` or `icmp`.
            way: the interface it comes in by, or `here`; by default the side the source address is on.

        Raises:
            NetlabError: one of them makes no sense; `problem` names the field and says why.
        """
        self._built = None
        self.problem = {}
        source = "0.0.0.0" if src == HERE else self._address("src", src)
        built = Built(_packet(proto, source, self._address("dst", dst)), self._way(source, way))
        with self.hold_sync():
            self._built = built
            self.packet = str(built)
            self.stage = "predict"
        if self.wants != "prediction":
            self.lock(None)

    def lock(self, prediction: list[str] | None) -> None:
        """Lock a prediction, hook by hook, or None for "I don't know"; then the packet goes on its way.

        Raises:
            NetlabError: there is no packet to predict for, or no such hook.
        """
        if self._built is None or self.stage != "predict":
            raise NetlabError("first build a packet, then predict its way")
        guess = None if prediction is None else [Hook.parse(name) for name in prediction]
        trace = self._go(*self._built)
        passed = [event.hook for event in trace.path if event.number == 0 and event.host == self.router.name]
        self.trace = trace
        with self.hold_sync():
            self.prediction = [hook.name for hook in guess or ()]
            self.passed = [hook.name for hook in passed]
            self.remark = _remark(guess, passed) if self.wants == "prediction" else ""
            self.play(trace, [self.router])
            self.stage = "watch"

    def again(self) -> None:
        """Back to building, for another packet."""
        self._built = None
        with self.hold_sync():
            self.prediction, self.passed, self.remark, self.stops = [], [], "", []
            self.stage = "build"

    def _go(self, packet: Packet, dev: str | None) -> Trace:
        """Put the packet on its way; where a real program would wait for an answer, one does."""
        if dev is not None:
            return self.router.receive(dev, packet)
        waits = packet.proto in (Proto.ICMP, Proto.TCP) and not packet.saddr
        if not waits or self.router.fib.lookup(packet.daddr).route is None:
            return self.router.send(packet)
        if packet.proto == Proto.ICMP:
            return self.router.sockets.ping(packet.dst)
        with self.router.wires.step(f"{self.host} connects to {packet.dst}:{packet.dport}") as trace:
            self.router.sockets.connect(packet.dst, packet.dport or 0)
        return trace

    def _address(self, field: str, text: str) -> str:
        try:
            return format_address(parse_address(text.strip()))
        except NetlabError:
            example = "four numbers from 0 to 255 with dots between, like 10.0.1.2"
            raise self._wrong(field, f"{text.strip()!r} is not an IPv4 address: it is {example}") from None

    def _way(self, source: str, way: str | None) -> str | None:
        if way is None:
            if source == "0.0.0.0" or self.router.owns(parse_address(source)):
                return None
            route = self.router.fib.lookup(parse_address(source)).route
            return route.dev if route else next(iter(_devices(self.router)), None)
        if way == HERE:
            return None
        if way not in _devices(self.router):
            raise self._wrong("way", f"{self.router.name} has no interface {way!r}")
        return way

    def _wrong(self, field: str, message: str) -> NetlabError:
        self.problem = {"field": field, "message": message}
        return NetlabError(message)

    def _hear(self, _: object, message: dict[str, Any], __: object) -> None:
        try:
            match message:
                case {"do": "build", "src": str(src), "dst": str(dst), "proto": str(proto)}:
                    self.build(src, dst, proto, message.get("way"))
                case {"do": "lock"}:
                    self.lock(message.get("prediction"))
                case {"do": "again"}:
                    self.again()
        except NetlabError as error:
            # The field's own message is already there; anything else belongs to the whole form.
            self.problem = self.problem or {"field": "form", "message": str(error)}

    def static_html(self) -> str:
        if self.trace is None:
            return hook_map()._repr_html_() + f"<p>The way of packets through {escape(self.host)}.</p>"
        return hook_map(self.trace)._repr_html_() + journey_table(self.trace)

    def __str__(self) -> str:
        return str(self.trace) if self.trace else f"<packet flow through {self.host}>"


def _remark(guess: list[Hook] | None, passed: list[Hook]) -> str:
    way = ", ".join(hook.name for hook in passed) or "no hook at all"
    if guess is None:
        return f"The packet's hooks: {way}."
    if guess == passed:
        return f"As you predicted: {way}."
    parted = next((n for n, (a, b) in enumerate(zip(guess, passed, strict=False)) if a is not b), None)
    where = parted if parted is not None else min(len(guess), len(passed))
    return f"The packet's hooks: {way}. Your prediction and its way part at number {where + 1}."


def _packet(proto: str, src: str, dst: str) -> Packet:
    match proto:
        case "udp":
            return Packet.udp(src, dst, 40000, 53)
        case "tcp":
            return Packet.tcp(src, dst, 40000, 80)
        case "icmp":
            return Packet.icmp(src, dst, id=1, seq=1)
    raise NetlabError(f"protocol {proto!r}: choose one of {', '.join(PROTOCOLS)}")


def _devices(router: Host) -> list[str]:
    return [dev for dev in router.mtu if dev != "lo"]


def _places(router: Host) -> tuple[list[list[str]], list[list[str]]]:
    """What can be chosen by name, as (address, label): the host's own addresses, and a neighbour on each side."""
    own, beyond = [], []
    for dev in _devices(router):
        for one in router.fib.addresses(dev):
            own.append([format_address(one.address), f"this machine's {dev}"])
            if one.length <= 30:
                first = one.network.address + 1
                neighbour = first if first != one.address else first + 1
                beyond.append([format_address(neighbour), f"a machine on {dev}'s side"])
    return [*own, ["127.0.0.1", "this machine's loopback"]], beyond


def packet_flow(router: Host, *, predict: bool = True) -> PacketFlow:
    """A picture that moves: build a packet, predict which hooks it passes, lock that, and step through its way.

    Args:
        router: the host it goes through; what happens to its state there stays.
        predict: ask for a prediction before each packet; without it, free play.

    Raises:
        NetlabError: it is no host.
    """
    return PacketFlow(host_of("packet_flow", router), predict=predict)
