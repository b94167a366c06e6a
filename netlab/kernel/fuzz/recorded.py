"""Scenarios about the rule sets of datasets/rulesets: the gateway they were made for, and packets of which they speak.

They are loaded as they are, but for one thing: their hashlimit lets a sender speak again after a second, and the
kernel's clock runs on while the simulator's stands. It becomes an hour here. All other rates give a token in twenty
seconds at best, and no scenario takes as long.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Final

from netlab.addresses import InterfaceAddress, format_address, mask_of, parse_address
from netlab.datasets import DATASETS
from netlab.iptables.extension import Variant
from netlab.iptables.option import PROTOCOLS
from netlab.kernel.fuzz.answers import CLIENT_PORTS, Talk
from netlab.kernel.fuzz.machines import HOST, RATEMASK, Interfaces
from netlab.kernel.fuzz.rulesets import MATCHES, Ground
from netlab.names import Proto
from netlab.packet import Packet
from netlab.scenario import HostSpec, PacketStep, Scenario

RULESETS: Final = DATASETS / "rulesets"
SOFTWARE: Final = ("fail2ban", "firewalld", "libvirt", "shorewall", "ufw")
FILES: Final = {"nft": "{}.rules", "legacy": "{}.legacy.rules"}

OUTSIDE, INSIDE, GUESTS = "eth0", "eth1", "virbr0"
INTERFACES: Final[Interfaces] = {
    OUTSIDE: (InterfaceAddress.parse("203.0.113.2/24"),),
    INSIDE: (InterfaceAddress.parse("192.168.1.1/24"),),
    GUESTS: (InterfaceAddress.parse("192.168.122.1/24"),),
}
STRANGERS: Final = tuple(map(parse_address, ("8.8.8.8", "198.51.100.9", "203.0.113.1", "203.0.113.7")))
NEIGHBOURS: Final = tuple(map(parse_address, ("192.168.1.10", "192.168.1.20", "192.168.122.20")))
EVERYBODY: Final = tuple(map(parse_address, ("255.255.255.255", "192.168.1.255", "203.0.113.255", "224.0.0.1")))
OTHER_PORTS: Final = (7777, 9, 40000)
AMANDA: Final = 10080  # its port
FEW: Final = 4
LISTEN: Final = (("udp", 53), ("udp", 68), ("udp", 137), ("udp", 7777))

_ADDRESS: Final = re.compile(r"(-s|-d|--to-destination|^add \S+) (\d+\.\d+\.\d+\.\d+)(?:/(\d+))?", re.MULTILINE)
_PORTS: Final = re.compile(r"--(sport|dport|sports|dports|ctorigdstport) (\S+)|--to-destination \S+:(\d+)")
_SAID: Final = re.compile(r"(?<!! )(--?[\w-]+) (\S+)")
_FLAGS: Final = re.compile(r"--tcp-flags \S+ (\S+)")
_SECOND: Final = re.compile(r"(--hashlimit-upto \d+)/sec")
_HEARD_ONLY: Final = re.compile(r"-A OUTPUT .*--dport (\d+) .*--helper (?:snmp|netbios-ns)")
"""What these two make of the machine's own broadcasts, and of translated packets, netlab leaves out."""


def gateway(name: str, variant: Variant = "nft") -> HostSpec:
    """The machine with the rules and sets of that software, as it has loaded them by that iptables."""
    sets = RULESETS / f"{name}.sets"
    devs = INTERFACES if name == "libvirt" else {dev: INTERFACES[dev] for dev in (OUTSIDE, INSIDE)}
    quiet = {f"net.ipv4.conf.{place}.send_redirects": 0 for place in ("all", *devs)}
    return HostSpec(
        HOST,
        devs,
        ("default via 203.0.113.1",),
        (),
        {"net.ipv4.ip_forward": 1, RATEMASK: 0, **quiet},
        LISTEN,
        ipsets=sets.read_text(encoding="utf-8") if sets.exists() else "",
        iptables=(RULESETS / FILES[variant].format(name)).read_text(encoding="utf-8"),
    )


def recorded(random: Random, name: str, variant: Variant, packets: int) -> Scenario:
    """That machine, and packets to and from the addresses and ports that its rules mention."""
    spec = gateway(name, variant)
    spec = replace(spec, iptables=_SECOND.sub(r"\1/hour", spec.iptables))
    mentioned = tuple(_hosts(spec.iptables + spec.ipsets))
    inside = tuple(one for one in mentioned if one >> 16 == NEIGHBOURS[0] >> 16)
    others = tuple(one for one in mentioned if one not in inside and one >> 28 < 14)
    behind = {OUTSIDE: (*STRANGERS, *others), INSIDE: (*NEIGHBOURS, *inside), GUESTS: NEIGHBOURS[2:]}
    # A few who speak often: what rules remember of somebody comes up.
    speakers = {dev: random.sample(hosts, min(FEW, len(hosts))) for dev, hosts in behind.items()}
    own = tuple(one.address for addresses in spec.interfaces.values() for one in addresses)
    near = (*STRANGERS, *NEIGHBOURS * 2, *mentioned, *EVERYBODY)
    ground = Ground(random, own, near, tuple(spec.interfaces), MATCHES)
    scenario = Scenario({HOST: spec})
    talk = TalkOfRules(random, scenario, ground, speakers)
    return replace(scenario, steps=tuple(talk.steps(packets)), name=f"{name}, {variant}")


class TalkOfRules(Talk):
    """Packets of which many are made for one of a few rules, so that it means them if it comes to see them."""

    def __init__(
        self, random: Random, scenario: Scenario, ground: Ground, speakers: Mapping[str, Sequence[int]]
    ) -> None:
        rules = scenario.hosts[HOST].iptables
        unsent = {int(port) for port in _HEARD_ONLY.findall(rules)}
        lines = [line for line in rules.splitlines() if line.startswith("-A") and not unsent & set(_ports(line))]
        self._themes = random.sample(lines, min(FEW, len(lines)))
        self._ground = ground
        ports = sorted(set(_ports(rules)) - unsent)
        super().__init__(random, scenario, {HOST: ground}, ports=[*ports, *OTHER_PORTS], speakers=speakers)

    def _opening(self) -> PacketStep:
        random = self._random
        if random.random() < 0.5:
            return super()._opening()
        rule = random.choice(self._themes)
        said = dict(_SAID.findall(rule))
        devs = self._ground.devs
        dev = said["-i"] if said.get("-i") in devs else random.choice(devs)
        packet = self._meant(rule, said).with_(dst=self._target(said), ttl=64)
        if said.get("-i") == "lo" or random.random() < (0.4 if "-o" in said else 0.1):
            source = random.choice(("0.0.0.0", *map(format_address, self._ground.own)))
            return PacketStep(HOST, None, self._dressed(packet.with_(src=source)).to_bytes())
        source = next(map(format_address, _hosts(rule, "-s")), format_address(random.choice(self._speakers[dev])))
        return PacketStep(HOST, dev, self._dressed(packet.with_(src=source)).to_bytes())

    def _dressed(self, packet: Packet) -> Packet:
        """Amanda's answers say something: the kernel logs few of its helper's complaints about empty ones."""
        if packet.proto == Proto.UDP and packet.sport == AMANDA and not packet.payload[8:]:
            packet = Packet.udp(packet.src, packet.dst, AMANDA, packet.dport or 0, b"data").with_(ttl=packet.ttl)
        return super()._dressed(packet)

    def _meant(self, rule: str, said: Mapping[str, str]) -> Packet:
        """A packet of the protocol, to the ports, with the flags of which the rule speaks."""
        random = self._random
        proto = PROTOCOLS[said.get("-p") or random.choice(("tcp", "udp", "icmp"))]
        sport = random.choice(list(_ports(rule, "sport")) or CLIENT_PORTS)
        dport = random.choice(list(_ports(rule)) or self._ports)
        if proto == Proto.TCP:
            flags = _FLAGS.search(rule)
            letters = "".join(flag[0] for flag in flags[1].split(",") if flag != "NONE") if flags else "S"
            return Packet.tcp("0.0.0.0", "0.0.0.0", sport, dport, letters)
        if proto == Proto.UDP:
            return Packet.udp("0.0.0.0", "0.0.0.0", sport, dport, random.randbytes(20))
        if proto == Proto.ICMP:
            kind = int(said.get("--icmp-type", 8))
            quoted = Packet.udp("203.0.113.2", "8.8.8.8", sport, dport).to_bytes()
            return Packet.icmp("0.0.0.0", "0.0.0.0", kind, 0, payload=quoted)
        return Packet.ip("0.0.0.0", "0.0.0.0", proto, bytes(12))

    def _target(self, said: Mapping[str, str]) -> str:
        """Somebody to whom a packet goes that the rule means."""
        random, ground = self._random, self._ground
        if "-d" in said:
            return next(map(format_address, _hosts(f"-d {said['-d']}")))
        if said.get("-o") in ground.devs:
            return format_address(random.choice(self._speakers[said["-o"]]))
        kind = said.get("--dst-type")
        some = {"LOCAL": ground.own, "BROADCAST": EVERYBODY[:3], "MULTICAST": EVERYBODY[3:]}.get(kind or "")
        return format_address(random.choice(some)) if some else ground.address()


def _hosts(text: str, option: str = "") -> Iterator[int]:
    """A host of every network of which the text speaks, or of those behind that option."""
    for place, address, length in dict.fromkeys(_ADDRESS.findall(text)):
        first, bits = parse_address(address), int(length or 32)
        if place.startswith(option):
            yield first if bits == 32 else (first & mask_of(bits)) + 7


def _ports(text: str, which: str = "") -> Iterator[int]:
    """The ports of which the text speaks; of a range the ends. `sport`: only those of sources."""
    for kind, words, target in _PORTS.findall(text):
        if (which or kind) == kind:
            yield from (int(end) for part in (words or target).split(",") for end in part.split(":") if end)
