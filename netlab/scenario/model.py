"""What a scenario is made of: hosts as the file describes them, links, and steps."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import NamedTuple

from netlab.addresses import InterfaceAddress
from netlab.names import NetlabError, Verdict
from netlab.packet import MalformedPacket, Packet

DEFAULT_MTU = 1500  # bytes, of Ethernet
MIN_MTU, MAX_MTU = 68, 65535  # 68: every IPv4 link must carry that much (RFC 791); what the kernel accepts


class ScenarioError(NetlabError):
    """A scenario that is none: the message says what is wrong and where (line and column where it was a file)."""


class QueueAnswer(NamedTuple):
    """What a program that listens to a queue (NFQUEUE) answers to every packet; `mark` is the packet's mark then."""

    verdict: Verdict
    mark: int | None = None

    def __str__(self) -> str:
        return str(self.verdict) if self.mark is None else f"{self.verdict} mark {self.mark:#x}"


@dataclass(frozen=True, slots=True)
class HostSpec:
    """One host as the file describes it. `listen` holds pairs like ("tcp", 80).

    `ipsets` is text as `ipset save` prints it, `iptables` as iptables-save does; `places` says at which line and column
    of the file these texts begin.
    """

    name: str
    interfaces: dict[str, tuple[InterfaceAddress, ...]]
    routes: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    sysctls: dict[str, int] = field(default_factory=dict)
    listen: tuple[tuple[str, int], ...] = ()
    mtu: dict[str, int] = field(default_factory=dict)
    conntrack: str = "auto"
    ipsets: str = ""
    iptables: str = ""
    queues: dict[int, QueueAnswer] = field(default_factory=dict)
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        interfaces = (f"{dev} {', '.join(map(str, addresses)) or '-'}" for dev, addresses in self.interfaces.items())
        said = [
            f"{len(text.splitlines())} lines of {key}" for key in ("ipsets", "iptables") if (text := getattr(self, key))
        ]
        return f"{self.name}: {'; '.join([*interfaces, *said])}"


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


class RunStep(NamedTuple):
    """Run a command on a host: see `netlab.shell` for those that there are."""

    host: str
    command: str

    @property
    def title(self) -> str:
        """What the step does, in one line."""
        return f"{self.host}# {self.command}"


Step = PacketStep | AdvanceStep | RunStep


@dataclass(frozen=True, slots=True, repr=False)
class Scenario:
    """A small world and what happens in it. `links` holds pairs of (host, interface)."""

    hosts: dict[str, HostSpec]
    links: tuple[tuple[tuple[str, str], tuple[str, str]], ...] = ()
    steps: tuple[Step, ...] = ()
    name: str = "scenario"

    def open_interfaces(self) -> Iterator[tuple[str, str]]:
        """The (host, interface) pairs in no link: beyond them is the outside world."""
        linked = {end for link in self.links for end in link}
        for host in self.hosts.values():
            yield from ((host.name, dev) for dev in host.interfaces if (host.name, dev) not in linked)

    def with_rules(self) -> frozenset[str]:
        """The hosts that may have iptables rules: from the start, or once a command has been run."""
        commanded = {step.host for step in self.steps if isinstance(step, RunStep)}
        return frozenset(spec.name for spec in self.hosts.values() if spec.iptables or spec.name in commanded)

    def __str__(self) -> str:
        links = (" - ".join(map(":".join, link)) for link in self.links)
        steps = (f"step {number}: {step.title}" for number, step in enumerate(self.steps))
        return "\n".join([self.name, *map(str, self.hosts.values()), *links, *steps])

    def __repr__(self) -> str:
        return f"<Scenario {self.name}: {', '.join(self.hosts) or 'no hosts'}; {len(self.steps)} steps>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"
