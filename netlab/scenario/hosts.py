"""A host of the file."""

import re
from collections.abc import Callable
from typing import Final

from netlab.addresses import InterfaceAddress
from netlab.names import NetlabError, Verdict
from netlab.route_text import parse_route, parse_rule
from netlab.scenario.model import MAX_MTU, MIN_MTU, HostSpec, QueueAnswer
from netlab.scenario.schema import Schema
from netlab.shell import STARTS_A_PROGRAM
from netlab.sockets import parse_socket
from netlab.sysctls import Sysctls
from netlab.yaml_text import Where

_HOST_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_DEV_NAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_KEYS: Final = (
    "interfaces", "routes", "rules", "sysctls", "listen", "mtu", "conntrack", "ipsets", "iptables", "queues",
)  # fmt: skip
_ANSWERS: Final = {"ACCEPT": Verdict.ACCEPT, "DROP": Verdict.DROP, "REPEAT": Verdict.REPEAT}


class HostReader(Schema):
    """Reads what stands under a host's name."""

    def host(self, name: str, where: Where) -> HostSpec:
        """The host of that name."""
        if not _HOST_NAME.fullmatch(name):
            raise self.fail(where, f"{name!r} is no host name (letters, digits, - and _, at most 32)")
        keys = self.mapping(where, _KEYS)
        conntrack = self.text(keys["conntrack"]) if "conntrack" in keys else "auto"
        if conntrack not in ("auto", "on"):
            raise self.fail(keys["conntrack"], f"conntrack: {conntrack!r} is neither 'auto' nor 'on'")
        interfaces = self.interfaces(keys["interfaces"]) if "interfaces" in keys else {}
        mtu = self.mapping(keys["mtu"], tuple(interfaces)) if "mtu" in keys else {}
        texts = {key: self.rules_text(keys[key]) for key in ("ipsets", "iptables") if key in keys}
        return HostSpec(
            name,
            interfaces,
            self.words(keys, "routes", parse_route),
            self.words(keys, "rules", parse_rule),
            self.sysctls(keys["sysctls"], interfaces) if "sysctls" in keys else {},
            self.listen(keys["listen"]) if "listen" in keys else (),
            {dev: self.number(item, MIN_MTU, MAX_MTU) for dev, item in mtu.items()},
            conntrack,
            queues=self.queues(keys["queues"]) if "queues" in keys else {},
            places={key: place for key in texts if (place := keys[key].inner_place)},
            **texts,
        )

    def interfaces(self, where: Where) -> dict[str, tuple[InterfaceAddress, ...]]:
        """Addresses by interface."""
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

    def sysctls(self, where: Where, interfaces: dict[str, tuple[InterfaceAddress, ...]]) -> dict[str, int]:
        """Settings that the kernel has and takes."""
        known = Sysctls(interfaces)
        values = {}
        for sysctl, item in self.mapping(where).items():
            values[sysctl] = self.number(item, -(2**31), 2**32 - 1)
            try:
                known.set(sysctl, values[sysctl])
            except NetlabError as problem:
                raise self.fail(item, str(problem)) from None
        return values

    def listen(self, where: Where) -> tuple[tuple[str, int], ...]:
        """Sockets like `tcp/80`."""
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

    def rules_text(self, where: Where) -> str:
        """Text for iptables-restore or ipset restore, which those read who run the scenario."""
        text = self.text(where)
        if found := STARTS_A_PROGRAM.search(re.sub(r"[\"'\\]", "", text)):
            raise self.fail(where, f"{found[0]} would have iptables start a program: a scenario may not")
        return text

    def queues(self, where: Where) -> dict[int, QueueAnswer]:
        """What the programs that listen to queues answer: `{0: ACCEPT, 5: REPEAT mark 0x1}`."""
        found = {}
        for key, item in self.mapping(where).items():
            words = self.text(item).split()
            match words:
                case [verdict]:
                    mark = None
                case [verdict, "mark", number]:
                    mark = self.in_range(item, number, 0, 2**32 - 1)
                case _:
                    verdict = ""
            if verdict not in _ANSWERS:
                raise self.fail(item, f"{self.text(item)!r} is none of {', '.join(_ANSWERS)}, with or without a mark")
            if verdict == "REPEAT" and mark is None:
                raise self.fail(item, "REPEAT without a mark asks the same rule again and again: REPEAT mark 0x1")
            found[self.in_range(item, key, 0, 65535)] = QueueAnswer(_ANSWERS[verdict], mark)
        return found
