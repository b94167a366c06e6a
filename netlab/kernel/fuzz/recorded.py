"""Scenarios about the rule sets of datasets/rulesets: the gateway they were made for, and packets of which they speak.

They are loaded as they are, but for one thing: their hashlimit lets a sender speak again after a second, and the
kernel's clock runs on while the simulator's stands. It becomes an hour here. All other rates give a token in twenty
seconds at best, and no scenario takes as long.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Final

from netlab.addresses import InterfaceAddress, mask_of, parse_address
from netlab.datasets import DATASETS
from netlab.iptables.extension import Variant
from netlab.kernel.fuzz.answers import Talk
from netlab.kernel.fuzz.machines import HOST, RATEMASK, Interfaces
from netlab.kernel.fuzz.rulesets import MATCHES, Ground
from netlab.scenario import HostSpec, Scenario

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
LISTEN: Final = (("udp", 53), ("udp", 68), ("udp", 137), ("udp", 7777))

_ADDRESS: Final = re.compile(r"(?:-s|-d|--to-destination|^add \S+) (\d+\.\d+\.\d+\.\d+)(?:/(\d+))?", re.MULTILINE)
_PORTS: Final = re.compile(r"--(?:sport|dport|sports|dports|ctorigdstport) (\S+)|--to-destination \S+:(\d+)")
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
    mentioned = tuple(sorted(_addresses(spec.iptables + spec.ipsets)))
    inside = tuple(one for one in mentioned if one >> 16 == NEIGHBOURS[0] >> 16)
    others = tuple(one for one in mentioned if one not in inside and one >> 28 < 14)
    speakers = {
        OUTSIDE: (*STRANGERS, *others),
        INSIDE: (*NEIGHBOURS, *inside),
        GUESTS: (*NEIGHBOURS[2:], *inside),
    }
    own = tuple(one.address for addresses in spec.interfaces.values() for one in addresses)
    near = (*STRANGERS, *NEIGHBOURS * 2, *mentioned, *EVERYBODY)
    ground = Ground(random, own, near, tuple(spec.interfaces), MATCHES)
    ports = [*sorted(_ports(spec.iptables)), *OTHER_PORTS]
    scenario = Scenario({HOST: spec})
    talk = Talk(random, scenario, {HOST: ground}, ports=ports, speakers=speakers)
    return replace(scenario, steps=tuple(talk.steps(packets)), name=f"{name}, {variant}")


def _addresses(text: str) -> Iterator[int]:
    """A host of every network of which the text speaks."""
    for address, length in set(_ADDRESS.findall(text)):
        first, bits = parse_address(address), int(length or 32)
        yield first if bits == 32 else (first & mask_of(bits)) + 7


def _ports(text: str) -> set[int]:
    """The ports of which the text speaks; of a range the ends."""
    found = {
        int(end) for one in _PORTS.findall(text) for part in "".join(one).split(",") for end in part.split(":") if end
    }
    return found - {int(port) for port in _HEARD_ONLY.findall(text)}
