"""Time that passes for tracked connections alone: `--age`.

The kernel's clock cannot be moved. What a connection or an expectation has left to live can: ctnetlink lowers it, as
`conntrack -U --timeout` does, and deletes what would be over, which is counted and told to listeners as when the
kernel itself clears it away. Whatever else has a clock stands still; where something of the kind is running, the step
is refused.

ctnetlink counts in whole seconds and rounds down: an entry read as 119 s was given 120 s a moment ago.

Sources: nf_conntrack_netlink.c, nf_conntrack_proto_udp.c, inet_fragment.c, icmp.c, conntrack(8).
"""

import re
import socket
import struct
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final, NamedTuple

from netlab.kernel.namespaces import Namespace
from netlab.kernel.netlink import NETLINK_NETFILTER, NetlinkSocket, attribute_of, attributes
from netlab.names import Hook, NetlabError
from netlab.scenario import AdvanceStep, HostSpec, RunStep, Scenario
from netlab.trace import Aged, Event, Passed

LONG: Final = 5  # seconds: a shorter `advance` is waited for
STREAM: Final = (
    3  # seconds that are waited for if there are flows of UDP: from two on they are streams, which nobody can age
)
_TICKS: Final = 0.01  # seconds in which the kernel's clock surely ticks, so that no entry was refreshed this very tick
_DATAGRAMS: Final = frozenset((17, 136))  # UDP and UDP-Lite

_NEW, _GET, _DELETE = 0, 1, 2
_NFGENMSG: Final = struct.pack(">BBH", socket.AF_INET, 0, 0)
_NESTED: Final = 0x8000
_TUPLE_ORIG, _TUPLE_PROTO, _PROTO_NUM = 1, 2, 1


class _Kind(NamedTuple):
    """What ctnetlink calls a kind of thing, the attributes that name one of them, and that of its timeout."""

    subsystem: int
    names: tuple[int, ...]
    timeout: int


_CONNECTIONS: Final = _Kind(1 << 8, (_TUPLE_ORIG,), 7)
_EXPECTATIONS: Final = _Kind(2 << 8, (2, 3, 1), 4)  # tuple, mask, master

_COUNTS_TIME: Final = re.compile(r"(?:-m|--match) (limit|hashlimit|recent|time)\b")
_TIMES_OUT: Final = re.compile(r"^.*\b(?:create|add)\b.*\btimeout\b", re.MULTILINE)
_LISTEN: Final = "0A"


class CannotAge(NetlabError):
    """Something in the scenario has a clock that cannot be moved."""


def is_aged(step: object) -> bool:
    """Whether that step is one that aging stands in for."""
    return isinstance(step, AdvanceStep) and step.seconds >= LONG


def check(scenario: Scenario) -> None:
    """Whether it is possible with what the scenario asks for.

    Raises:
        CannotAge: it is not; the message says why.
    """
    if not any(map(is_aged, scenario.steps)):
        return
    for step in scenario.steps:
        if isinstance(step, AdvanceStep) and not float(step.seconds).is_integer():
            raise CannotAge(
                f"{scenario.name}: {step.title}: with --age only whole seconds can pass, as ctnetlink counts"
            )
    for spec in scenario.hosts.values():
        commands = [step.command for step in scenario.steps if isinstance(step, RunStep) and step.host == spec.name]
        for clock in _clocks(spec, commands):
            raise CannotAge(f"{scenario.name}: host {spec.name}: --age cannot move the clock of {clock}")


def _clocks(spec: HostSpec, commands: Iterable[str]) -> Iterator[str]:
    if spec.sysctls.get("net.ipv4.icmp_ratelimit") and spec.sysctls.get("net.ipv4.icmp_ratemask", 1):
        yield "net.ipv4.icmp_ratelimit"
    if found := _COUNTS_TIME.search("\n".join([spec.iptables, *commands])):
        yield f"the match {found[1]}"
    if _TIMES_OUT.search("\n".join([spec.ipsets, *commands])):
        yield "sets whose members time out"


def redirectors(events: Iterable[Event]) -> Iterator[str]:
    """The hosts that sent packets back out the way they came: when the next redirect is due, their clocks say."""
    for event in events:
        if isinstance(event, Passed) and event.hook is Hook.FORWARD and event.dev_in == event.dev_out:
            yield event.host


def _running(namespace: Namespace) -> str:
    """What is running in that namespace by a clock that cannot be moved; empty where there is nothing."""
    with namespace.entered():
        net = Path("/proc/thread-self/net")
        fragments = re.search(r"^FRAG: inuse [1-9]", (net / "sockstat").read_text(), re.MULTILINE)
        sockets = (net / "tcp").read_text().splitlines()[1:]
    if fragments:
        return "fragments that wait for the rest of their packet"
    if any(line.split()[3] != _LISTEN for line in sockets):
        return "its own TCP connections"
    return ""


def advance(hosts: Mapping[str, Namespace], seconds: int, redirected: Container[str]) -> Iterator[Aged]:
    """Lets so many seconds pass for the connections of all hosts, and says what that did to each host's.

    `redirected` are the hosts that have had reason to send redirects.

    Raises:
        CannotAge: something else is running there by a clock.
    """
    for name, namespace in hosts.items():
        if clock := _running(namespace) or ("the redirects it sends" if name in redirected else ""):
            raise CannotAge(f"host {name}: --age cannot move the clock of {clock}")
    time.sleep(_TICKS)
    with ExitStack() as held:
        tables = {name: held.enter_context(closing(_Table(namespace))) for name, namespace in hosts.items()}
        waited = STREAM if any(table.has_datagrams() for table in tables.values()) else 0
        if waited:
            time.sleep(waited)
            for table in tables.values():
                table.read()
        for name, table in tables.items():
            yield Aged(0, name, seconds, waited, *table.age(seconds - waited))


class _Table:
    """The connections and expectations of one namespace; reading them walks the table of the whole machine."""

    def __init__(self, namespace: Namespace) -> None:
        self._socket = NetlinkSocket(namespace, NETLINK_NETFILTER)
        self.read()

    def read(self) -> None:
        """Reads all of them; expectations come first, as those of a connection go with it."""
        self._found = {kind: self._all(kind) for kind in (_EXPECTATIONS, _CONNECTIONS)}

    def has_datagrams(self) -> bool:
        """Whether one of the connections is UDP's."""
        return not _DATAGRAMS.isdisjoint(_protocol(found[_TUPLE_ORIG]) for found in self._found[_CONNECTIONS])

    def age(self, seconds: int) -> tuple[int, int]:
        """How many were made older by so much, and how many were over."""
        lowered = over = 0
        for kind, things in self._found.items():
            for found in things:
                left = int.from_bytes(found[kind.timeout], "big") + 1 - seconds
                name = b"".join(attribute_of(part | _NESTED, found[part]) for part in kind.names)
                if left > 0:
                    value = attribute_of(kind.timeout, left.to_bytes(4, "big"))
                    self._socket.request(kind.subsystem | _NEW, _NFGENMSG + name + value)
                    lowered += 1
                else:
                    self._socket.request(kind.subsystem | _DELETE, _NFGENMSG + name)
                    over += 1
        return lowered, over

    def _all(self, kind: _Kind) -> list[dict[int, bytes]]:
        answers = self._socket.dump(kind.subsystem | _GET, _NFGENMSG)
        return [attributes(answer[len(_NFGENMSG) :]) for answer in answers]

    def close(self) -> None:
        self._socket.close()


def _protocol(nested: bytes) -> int:
    return attributes(attributes(nested)[_TUPLE_PROTO])[_PROTO_NUM][0]
