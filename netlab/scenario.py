"""The scenario file: hosts, links and steps, as text that both worlds understand.

`load` reads YAML in which every scalar is text (no surprises with yes, no, octal or base 60); `from_dict` takes the
same structure from Python and needs no YAML. Anything the schema does not know is an error that says what and where.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from netlab.addresses import InterfaceAddress, format_address, parse_address
from netlab.names import NetlabError, Proto
from netlab.packet import MalformedPacket, Packet, protocol_number
from netlab.route_text import parse_route, parse_rule
from netlab.sockets import parse_socket
from netlab.sysctls import Sysctls
from netlab.yaml_text import Where, read_yaml

T = TypeVar("T")

DEFAULT_MTU = 1500  # bytes, of Ethernet
MIN_MTU, MAX_MTU = 68, 65535  # 68: every IPv4 link must carry that much (RFC 791); what the kernel accepts


class ScenarioError(NetlabError):
    """A scenario that is none: the message says what is wrong and where (line and column where it was a file)."""


@dataclass(frozen=True, slots=True)
class HostSpec:
    """One host as the file describes it. `listen` holds pairs like ("tcp", 80)."""

    name: str
    interfaces: dict[str, tuple[InterfaceAddress, ...]]
    routes: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    sysctls: dict[str, int] = field(default_factory=dict)
    listen: tuple[tuple[str, int], ...] = ()
    mtu: dict[str, int] = field(default_factory=dict)
    conntrack: str = "auto"


class PacketStep(NamedTuple):
    """Send a packet: into an open interface `dev`, or made by a local process of the host (`dev` is None).

    `data` holds the bytes from the IP header on, as they are on the wire: they may be malformed on purpose.
    """

    host: str
    dev: str | None
    data: bytes

    @property
    def title(self) -> str:
        """What the step does, in one line."""
        try:
            shown = str(Packet.from_bytes(self.data))
        except MalformedPacket:
            shown = f"{len(self.data)} bytes"
        return f"{shown} into {self.host}:{self.dev}" if self.dev else f"{shown} from {self.host}"


class AdvanceStep(NamedTuple):
    """Let time pass, in seconds."""

    seconds: float

    @property
    def title(self) -> str:
        """What the step does, in one line."""
        return f"advance {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A small world and what happens in it. `links` holds pairs of (host, interface)."""

    hosts: dict[str, HostSpec]
    links: tuple[tuple[tuple[str, str], tuple[str, str]], ...] = ()
    steps: tuple[PacketStep | AdvanceStep, ...] = ()
    name: str = "scenario"

    def open_interfaces(self) -> Iterator[tuple[str, str]]:
        """The (host, interface) pairs in no link: beyond them is the outside world."""
        linked = {end for link in self.links for end in link}
        for host in self.hosts.values():
            yield from ((host.name, dev) for dev in host.interfaces if (host.name, dev) not in linked)


def load(file: Path | str) -> Scenario:
    """The scenario in that YAML file.

    Raises:
        ScenarioError: it cannot be read, is not YAML, or is no scenario; the message names file, line and column.
    """
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "not UTF-8 text"
        raise ScenarioError(f"{path}: {why}") from None
    return loads(text, str(path))


def loads(text: str, name: str = "scenario") -> Scenario:
    """The scenario in that YAML text; `name` is what errors call it.

    Raises:
        ScenarioError: as for `load`.
    """
    return _Reader(name, where=read_yaml(text, name, ScenarioError)).scenario()


def from_dict(structure: Mapping[str, Any], name: str = "scenario") -> Scenario:
    """The scenario in that structure of dicts, lists and scalars: numbers may be numbers here.

    Raises:
        ScenarioError: it is no scenario; the message names the place, like `hosts.router.sysctls`.
    """
    return _Reader(name, where=Where(structure)).scenario()


class _Reader:
    """Walks the structure against the schema; `where` knows each value and its place in the file."""

    def __init__(self, name: str, where: Where) -> None:
        self.name = name
        self.top = where

    def fail(self, where: Where, problem: str) -> ScenarioError:
        return ScenarioError(f"{self.name}{where.place}: {problem}")

    def fail_key(self, where: Where, problem: str) -> ScenarioError:
        return ScenarioError(f"{self.name}{where.place_of_key}: {problem}")

    def mapping(
        self, where: Where, allowed: Sequence[str] | None = None, later: Sequence[str] = ()
    ) -> dict[str, Where]:
        if not isinstance(where.value, Mapping):
            raise self.fail(where, f"a mapping is expected here, not {where.shown}")
        items = where.items()
        for key, item in items.items():
            if key in later:
                raise self.fail_key(item, f"{key!r} is not supported yet")
            if allowed is not None and key not in allowed:
                raise self.fail_key(item, f"unknown key {key!r} (known here: {', '.join(allowed)})")
        return items

    def sequence(self, where: Where) -> list[Where]:
        if not isinstance(where.value, list | tuple):
            raise self.fail(where, f"a list is expected here, not {where.shown}")
        return where.elements()

    def text(self, where: Where) -> str:
        if not isinstance(where.value, str | int | float):
            raise self.fail(where, f"text is expected here, not {where.shown}")
        return str(where.value)

    def number(self, where: Where, low: int, high: int) -> int:
        text = self.text(where)
        try:
            value = int(text, 0)
        except ValueError:
            raise self.fail(where, f"{text!r} is not a whole number") from None
        if not low <= value <= high:
            raise self.fail(where, f"{value} is not from {low} to {high}")
        return value

    def parse(self, where: Where, reader: Callable[[str], T]) -> T:
        """What `reader` makes of the text; its complaint gets the place."""
        try:
            return reader(self.text(where))
        except ScenarioError:
            raise
        except NetlabError as problem:
            raise self.fail(where, str(problem)) from None

    # ---------------------------------------------------------------- the parts of the file

    def scenario(self) -> Scenario:
        top = self.mapping(self.top, ("hosts", "links", "steps"))
        if "hosts" not in top:
            raise self.fail(self.top, "a scenario needs the key 'hosts'")
        hosts = {name: self.host(name, where) for name, where in self.mapping(top["hosts"]).items()}
        if not hosts:
            raise self.fail(top["hosts"], "a scenario needs at least one host")
        self._refuse_shared_addresses(top["hosts"], hosts)
        links = self.links(top["links"], hosts) if "links" in top else ()
        linked = {end for link in links for end in link}
        steps = self.sequence(top["steps"]) if "steps" in top else []
        return Scenario(hosts, links, tuple(self.step(where, hosts, linked) for where in steps), self.name)

    def host(self, name: str, where: Where) -> HostSpec:
        if not _HOST_NAME.fullmatch(name):
            raise self.fail(where, f"{name!r} is no host name (letters, digits, - and _, at most 32)")
        keys = self.mapping(
            where,
            ("interfaces", "routes", "rules", "sysctls", "listen", "mtu", "conntrack"),
            later=("iptables",),
        )
        conntrack = self.text(keys["conntrack"]) if "conntrack" in keys else "auto"
        if conntrack not in ("auto", "on"):
            raise self.fail(keys["conntrack"], f"conntrack: {conntrack!r} is neither 'auto' nor 'on'")
        interfaces = self.interfaces(keys["interfaces"]) if "interfaces" in keys else {}
        sysctls = self.mapping(keys["sysctls"]) if "sysctls" in keys else {}
        mtu = self.mapping(keys["mtu"], tuple(interfaces)) if "mtu" in keys else {}
        known_sysctls = Sysctls(interfaces)
        values = {}
        for sysctl, item in sysctls.items():
            values[sysctl] = self.number(item, -(2**31), 2**32 - 1)
            try:
                known_sysctls.set(sysctl, values[sysctl])
            except NetlabError as problem:
                raise self.fail(item, str(problem)) from None
        return HostSpec(
            name,
            interfaces,
            self.words(keys, "routes", parse_route),
            self.words(keys, "rules", parse_rule),
            values,
            self.listen(keys["listen"]) if "listen" in keys else (),
            {dev: self.number(item, MIN_MTU, MAX_MTU) for dev, item in mtu.items()},
            conntrack,
        )

    def interfaces(self, where: Where) -> dict[str, tuple[InterfaceAddress, ...]]:
        found: dict[str, tuple[InterfaceAddress, ...]] = {}
        for dev, item in self.mapping(where).items():
            if not _DEV_NAME.fullmatch(dev) or dev in (".", "..", "lo", "all", "default"):
                raise self.fail(
                    item,
                    f"{dev!r} is no name for an interface (at most 15 letters, digits, . - _; lo is there)",
                )
            listed = isinstance(item.value, list | tuple)
            addresses = [
                self.parse(element, InterfaceAddress.parse) for element in (self.sequence(item) if listed else [item])
            ]
            found[dev] = tuple(addresses)
        return found

    def listen(self, where: Where) -> tuple[tuple[str, int], ...]:
        found: list[tuple[str, int]] = []
        for item in self.sequence(where):
            socket = self.parse(item, parse_socket)
            if socket in found:
                raise self.fail(item, f"{self.text(item)} is here twice")
            found.append(socket)
        return tuple(found)

    def words(self, keys: dict[str, Where], key: str, reader: Callable[[str], object]) -> tuple[str, ...]:
        """The lines of `routes` or `rules`, each of which `reader` understands."""
        if key not in keys:
            return ()
        lines = self.sequence(keys[key])
        for line in lines:
            self.parse(line, reader)
        return tuple(self.text(line) for line in lines)

    def links(self, where: Where, hosts: dict[str, HostSpec]) -> tuple[tuple[tuple[str, str], tuple[str, str]], ...]:
        links = []
        taken: set[tuple[str, str]] = set()
        for item in self.sequence(where):
            ends = self.sequence(item)
            if len(ends) != 2:
                raise self.fail(item, f"a link has two ends, not {len(ends)}")
            pair = []
            for end in ends:
                place = self.interface(end, hosts)
                if place in taken:
                    raise self.fail(end, f"{':'.join(place)} is on a link already")
                taken.add(place)
                pair.append(place)
            links.append((pair[0], pair[1]))
        return tuple(links)

    def interface(self, where: Where, hosts: dict[str, HostSpec]) -> tuple[str, str]:
        """`router:eth0` as an interface that exists."""
        text = self.text(where)
        host, colon, dev = text.partition(":")
        if not colon:
            raise self.fail(where, f"{text!r} is not HOST:INTERFACE")
        self.known_host(where, host, hosts)
        if dev not in hosts[host].interfaces:
            known = ", ".join(hosts[host].interfaces) or "none"
            raise self.fail(where, f"unknown interface {dev!r} of host {host} (it has {known})")
        return host, dev

    def known_host(self, where: Where, host: str, hosts: dict[str, HostSpec]) -> None:
        if host not in hosts:
            raise self.fail(where, f"unknown host {host!r} (the hosts are {', '.join(hosts)})")

    def step(self, where: Where, hosts: dict[str, HostSpec], linked: set[tuple[str, str]]) -> PacketStep | AdvanceStep:
        keys = self.mapping(where, ("packet", "advance"), later=("run",))
        if len(keys) != 1:
            raise self.fail(where, "a step is one of 'packet' and 'advance'")
        if "advance" in keys:
            return AdvanceStep(self.parse(keys["advance"], _seconds))
        return self.packet(keys["packet"], hosts, linked)

    def packet(self, where: Where, hosts: dict[str, HostSpec], linked: set[tuple[str, str]]) -> PacketStep:
        keys = self.mapping(where)
        dev: str | None = None
        if ("into" in keys) == ("from" in keys):
            raise self.fail(where, "a packet needs one of 'into' (an open interface) and 'from' (a host)")
        if "into" in keys:
            host, dev = self.interface(keys.pop("into"), hosts)
            if (host, dev) in linked:
                raise self.fail(where, f"{host}:{dev} is on a link: packets come in only by an open interface")
        else:
            place = keys.pop("from")
            host = self.text(place)
            self.known_host(place, host, hosts)
        if "hex" in keys:
            for key, item in keys.items():
                if key != "hex":
                    raise self.fail(item, f"{key!r} and 'hex' cannot both be given")
            return self._fitting(where, PacketStep(host, dev, self.parse(keys["hex"], _hex)), hosts[host])
        fields: dict[str, Any] = {}
        for key, item in keys.items():
            if key not in _PACKET_FIELDS:
                raise self.fail_key(item, f"a packet has no field {key!r} (known: {', '.join(_PACKET_FIELDS)})")
            fields[key] = self.parse(item, _PACKET_FIELDS[key])
        if dev is None:
            fields.setdefault("src", "0.0.0.0")  # the host fills it in: the route's preferred source
        for key in ("src", "dst", "proto"):
            if key not in fields:
                raise self.fail(where, f"a packet needs the field {key!r}")
        try:
            step = PacketStep(host, dev, packet_bytes(fields))
        except NetlabError as problem:
            raise self.fail(where, str(problem)) from None
        return self._fitting(where, step, hosts[host])

    def _fitting(self, where: Where, step: PacketStep, spec: HostSpec) -> PacketStep:
        """A step that can be taken: no frame longer than the MTU ever arrives, no process can send half a header."""
        if step.dev is None:
            try:
                Packet.from_bytes(step.data)
            except MalformedPacket as problem:
                raise self.fail(where, f"no process can send this: {problem}") from None
        else:
            mtu = spec.mtu.get(step.dev, DEFAULT_MTU)
            if len(step.data) > mtu:
                raise self.fail(where, f"{len(step.data)} bytes do not fit the mtu of {mtu} of {spec.name}:{step.dev}")
        return step

    def _refuse_shared_addresses(self, where: Where, hosts: dict[str, HostSpec]) -> None:
        owners: dict[int, str] = {}
        places = self.mapping(where)
        for host in hosts.values():
            for dev, addresses in host.interfaces.items():
                for one in addresses:
                    owner = owners.setdefault(one.address, f"{host.name}:{dev}")
                    if owner != f"{host.name}:{dev}" or addresses.count(one) > 1:
                        place = places[host.name].items()["interfaces"].items()[dev]
                        raise self.fail(place, f"{format_address(one.address)} is an address of {owner} already")


def packet_bytes(fields: Mapping[str, Any]) -> bytes:
    """The bytes of a packet described by the scenario file's fields, defaults filled in.

    Raises:
        NetlabError: fields that the protocol does not have, or values out of range.
    """
    given = dict(fields)
    proto = protocol_number(given.pop("proto"))
    header = {name: given.pop(name) for name in _HEADER_FIELDS if name in given}
    if "ip_options" in given:
        header["options"] = given.pop("ip_options")
    broken = given.pop("checksum", "good")
    if "payload" in given and "payload_hex" in given:
        raise NetlabError("'payload' and 'payload_hex' cannot both be given")
    payload = given.pop("payload_hex", None) or given.pop("payload", "").encode()
    src, dst = given.pop("src"), given.pop("dst")
    later = header.get("frag_offset", 0) > 0  # a later fragment: no transport header, the payload is all there is
    takes = () if later else _TRANSPORT.get(proto, ())
    for name in given:
        if name not in takes:
            kind = "a later fragment" if later else f"a packet of protocol {proto}"
            raise NetlabError(f"{kind} has no field {name!r}")
    if proto == Proto.TCP and not later:
        packet = Packet.tcp(
            src,
            dst,
            given.pop("sport", 0),
            given.pop("dport", 0),
            given.pop("flags", ""),
            payload=payload,
            **given,
        )
    elif proto == Proto.UDP and not later:
        packet = Packet.udp(src, dst, given.get("sport", 0), given.get("dport", 0), payload)
    elif proto == Proto.ICMP and not later:
        given["seq"] = given.pop("icmp_seq", 0)
        packet = Packet.icmp(src, dst, given.pop("type", 8), given.pop("code", 0), payload=payload, **given)
    else:
        packet = Packet.ip(src, dst, proto, payload)
    data = packet.with_(**header).to_bytes()
    return _BREAK[broken](data)


def _bad_ip(data: bytes) -> bytes:
    return data[:10] + bytes([data[10] ^ 0x55]) + data[11:]


def _bad_l4(data: bytes) -> bytes:
    """The transport checksum spoilt, wherever the protocol has it; other protocols have none to spoil."""
    at = {Proto.TCP: 16, Proto.UDP: 6, Proto.ICMP: 2}.get(Proto(data[9])) if data[9] in set(Proto) else None
    if at is None:
        raise NetlabError(f"checksum: protocol {data[9]} has no transport checksum that netlab knows")
    at += (data[0] & 15) * 4
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


_BREAK: dict[str, Callable[[bytes], bytes]] = {"good": bytes, "bad_ip": _bad_ip, "bad_l4": _bad_l4}
_HEADER_FIELDS = ("ttl", "tos", "ip_id", "df", "mf", "frag_offset")
_TRANSPORT: dict[int, tuple[str, ...]] = {
    Proto.TCP: ("sport", "dport", "flags", "seq", "ack", "window", "tcp_options"),
    Proto.UDP: ("sport", "dport"),
    Proto.ICMP: ("type", "code", "id", "icmp_seq"),
}


def _whole(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise NetlabError(f"{text!r} is not a whole number") from None


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise NetlabError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise NetlabError(f"{text!r} is not pairs of hexadecimal digits") from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 10**9:  # also refuses nan
        raise NetlabError(f"{text!r} is not a number of seconds")
    return seconds


def _address(text: str) -> str:
    return format_address(parse_address(text))


def _checksum(text: str) -> str:
    if text not in _BREAK:
        raise NetlabError(f"{text!r} is none of {', '.join(_BREAK)}")
    return text


_PACKET_FIELDS: dict[str, Callable[[str], Any]] = {
    "src": _address, "dst": _address, "proto": protocol_number, "ttl": _whole, "tos": _whole, "ip_id": _whole,
    "df": _flag, "mf": _flag, "frag_offset": _whole, "ip_options": _hex, "sport": _whole, "dport": _whole,
    "flags": str, "seq": _whole, "ack": _whole, "window": _whole, "tcp_options": _hex, "type": _whole,
    "code": _whole, "id": _whole, "icmp_seq": _whole, "payload": str, "payload_hex": _hex, "checksum": _checksum,
}  # fmt: skip

_HOST_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_DEV_NAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")
