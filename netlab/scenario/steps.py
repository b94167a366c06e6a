"""A step of the file."""

from collections.abc import Callable, Container, Mapping
from typing import Any

from netlab.names import NetlabError
from netlab.packet import MalformedPacket, Packet
from netlab.scenario.model import DEFAULT_MTU, AdvanceStep, HostSpec, PacketStep, RunStep, Step
from netlab.scenario.packets import PACKET_FIELDS, hex_bytes, packet_bytes
from netlab.scenario.schema import Schema
from netlab.shell import parse_command
from netlab.yaml_text import Where

End = tuple[str, str]


class StepReader(Schema):
    """Reads the steps. `interface` reads a place like `router:eth0`; `linked` are those that are on a link."""

    def __init__(
        self,
        name: str,
        hosts: Mapping[str, HostSpec],
        linked: Container[End],
        interface: Callable[[Where, Mapping[str, HostSpec]], End],
    ) -> None:
        super().__init__(name)
        self._hosts = hosts
        self._linked = linked
        self._interface = interface

    def step(self, where: Where) -> Step:
        """One of a packet, time that passes, and a command."""
        keys = self.mapping(where, tuple(self._KINDS))
        if len(keys) != 1:
            raise self.fail(where, "a step is one of 'packet', 'advance' and 'run'")
        ((kind, item),) = keys.items()
        return self._KINDS[kind](self, item)

    def advance(self, where: Where) -> AdvanceStep:
        """Seconds."""
        return AdvanceStep(self.parse(where, _seconds))

    def run(self, where: Where) -> RunStep:
        """A command and its host."""
        keys = self.mapping(where, ("host", "command"))
        for key in ("host", "command"):
            if key not in keys:
                raise self.fail(where, f"a command needs the key {key!r}")
        host = self.text(keys["host"])
        self.known_host(keys["host"], host, self._hosts)
        self.parse(keys["command"], parse_command)
        return RunStep(host, self.text(keys["command"]))

    def packet(self, where: Where) -> PacketStep:
        """A packet and where it starts."""
        keys = self.mapping(where)
        dev: str | None = None
        if ("into" in keys) == ("from" in keys):
            raise self.fail(where, "a packet needs one of 'into' (an open interface) and 'from' (a host)")
        if "into" in keys:
            host, dev = self._interface(keys.pop("into"), self._hosts)
            if (host, dev) in self._linked:
                raise self.fail(where, f"{host}:{dev} is on a link: packets come in only by an open interface")
        else:
            place = keys.pop("from")
            host = self.text(place)
            self.known_host(place, host, self._hosts)
        if "hex" in keys:
            for key, item in keys.items():
                if key != "hex":
                    raise self.fail(item, f"{key!r} and 'hex' cannot both be given")
            return self._fitting(where, PacketStep(host, dev, self.parse(keys["hex"], hex_bytes)))
        fields: dict[str, Any] = {}
        for key, item in keys.items():
            if key not in PACKET_FIELDS:
                raise self.fail_key(item, f"a packet has no field {key!r} (known: {', '.join(PACKET_FIELDS)})")
            fields[key] = self.parse(item, PACKET_FIELDS[key])
        if dev is None:
            fields.setdefault("src", "0.0.0.0")  # the host fills it in: the route's preferred source
        for key in ("src", "dst", "proto"):
            if key not in fields:
                raise self.fail(where, f"a packet needs the field {key!r}")
        try:
            step = PacketStep(host, dev, packet_bytes(fields))
        except NetlabError as problem:
            raise self.fail(where, str(problem)) from None
        return self._fitting(where, step)

    def _fitting(self, where: Where, step: PacketStep) -> PacketStep:
        """A step that can be taken: no frame longer than the MTU ever arrives, no process can send half a header."""
        if step.dev is None:
            try:
                Packet.from_bytes(step.data)
            except MalformedPacket as problem:
                raise self.fail(where, f"no process can send this: {problem}") from None
        else:
            mtu = self._hosts[step.host].mtu.get(step.dev, DEFAULT_MTU)
            if len(step.data) > mtu:
                raise self.fail(where, f"{len(step.data)} bytes do not fit the mtu of {mtu} of {step.host}:{step.dev}")
        return step

    _KINDS: Mapping[str, Callable[["StepReader", Where], Step]] = {"packet": packet, "advance": advance, "run": run}


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 10**9:  # also refuses nan
        raise NetlabError(f"{text!r} is not a number of seconds")
    return seconds
