"""Random rule sets: every match and target that netlab knows, biased towards the packets that a campaign sends.

What depends on real time or is random in the kernel is left out, or asked for so that it does not matter: a limit that
refills once an hour, `--update` with an hour.

Rules are written as patterns: of `{a|b|c}` one is taken, of `{+a|b|c}` some with commas between; `{!}` is a `!` now and
then, and `{address}` and the like are filled in with what there is around the machine.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

from netlab.addresses import InterfaceAddress, format_address
from netlab.iptables.model import TABLES
from netlab.kernel.fuzz.machines import OUTSIDE, Interfaces
from netlab.names import Hook

PORTS: Final = (21, 22, 53, 80, 80, 443, 7777, 8080)
MASKS: Final = ("/8", "/16", "/24", "/24", "/25", "/31", "/32", "", "/255.0.255.0", "/0.0.0.3")
USER_CHAINS: Final = ("one", "two", "three")

_CHOICE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Ground:
    """What rules can be about: the machine's addresses, hosts around it, and its interfaces."""

    random: Random
    own: tuple[int, ...]
    near: tuple[int, ...]
    devs: tuple[str, ...]
    matches: tuple[str, ...]

    @classmethod
    def of(cls, random: Random, interfaces: Interfaces) -> "Ground":
        """The ground around these interfaces."""
        ones = [one for addresses in interfaces.values() for one in addresses]
        near = [host for one in ones for host in hosts_beside(one)]
        matches = (*MATCHES, *SLOW * 2) if random.random() < 0.04 else MATCHES
        return cls(random, tuple(one.address for one in ones), (*near, *OUTSIDE), tuple(interfaces), matches)

    def fill(self, pattern: str) -> str:
        """One of the texts that a pattern means."""
        while "{" in pattern:
            pattern = _CHOICE.sub(lambda found: self._chosen(found[1]), pattern)
        return pattern

    def address(self) -> str:
        """A host's address, often one of the machine itself."""
        return format_address(self.random.choice(self.random.choice((self.own or self.near, self.near, self.near))))

    def host(self) -> str:
        """The address of a host around it."""
        return format_address(self.random.choice(self.near))

    def port(self) -> str:
        """A port, mostly one that packets have."""
        return str(self.random.choice((*PORTS, *PORTS, 1, 1023, 1024, 40000, 65535)))

    def _chosen(self, inside: str) -> str:
        random = self.random
        if inside == "!":
            return "! " if random.random() < 0.2 else ""
        if inside in _FILLED:
            return _FILLED[inside](self)
        if inside.startswith("+"):
            several = inside[1:].split("|")
            return ",".join(random.sample(several, random.randrange(1, len(several) + 1)))
        return random.choice(inside.split("|"))


_FILLED: Final[Mapping[str, Callable[[Ground], str]]] = {
    "address": Ground.address,
    "host": Ground.host,
    "network": lambda ground: ground.address() + ground.random.choice(MASKS),
    "port": Ground.port,
    "ports": lambda ground: ground.random.choice((ground.port(), ground.port(), "21:80", "1024:65535", "0:1023")),
    "dev": lambda ground: ground.random.choice((*ground.devs, "lo", "eth+", "+")),
}


def hosts_beside(one: InterfaceAddress) -> list[int]:
    """Two hosts in that network beside the machine, if it has room for them."""
    network = one.network
    inside = range(network.address + 1, network.last)
    return [host for host in inside[1:4] if host != one.address][:2]


FLAGS: Final = "{+FIN|SYN|RST|PSH|ACK|URG}"
STATES: Final = "{+NEW|ESTABLISHED|RELATED|INVALID|UNTRACKED"
KINDS: Final = "{+UNICAST|LOCAL|BROADCAST|MULTICAST|BLACKHOLE|UNREACHABLE|PROHIBIT}"
ICMP_TYPES: Final = "{echo-request|echo-reply|any|3|3/1|3/3|11|8/0|destination-unreachable|5}"

MATCHES: Final = (
    "{{!}-s {network}|{!}-d {network}|-s {network} -d {network}|}",
    "{{!}-s {network}|{!}-d {network}|-s {network} -d {network}|}",
    "-p tcp -m tcp {!}--dport {ports}",
    "-p tcp -m tcp {!}--sport {ports} {!}--dport {ports}",
    f"-p tcp -m tcp {{!}}--tcp-flags {FLAGS} {FLAGS}",
    "-p tcp -m tcp {!}{--syn|--tcp-option {2|3|4|8}}",
    "-p udp -m udp {!}--{d|s}port {ports}",
    "-p udp -m udp --sport {ports} {!}--dport {ports}",
    f"-p icmp -m icmp {{!}}--icmp-type {ICMP_TYPES}",
    "{!}-p {tcp|udp|icmp|47|136|50}",
    "-p {tcp|udp|udplite} -m multiport {!}--{s|d|}ports {+80|53|7777|21:443|1024:65535|0}",
    f"-m conntrack {{!}}--ctstate {STATES}}}",
    f"-m conntrack {{!}}--ctstate {STATES}|SNAT|DNAT}}",
    "-m conntrack {!}--ctstatus {NONE|{+EXPECTED|SEEN_REPLY|ASSURED|CONFIRMED}}",
    "-m conntrack --ctdir {ORIGINAL|REPLY}",
    "-m conntrack {!}--ctproto {tcp|udp|icmp|47}",
    "-m conntrack {!}--ct{orig|repl}{src|dst} {network}",
    "-m conntrack {!}--ct{orig|repl}{src|dst}port {ports}",
    "-m conntrack {!}--ctexpire {45:2000000|0:20}",
    f"-m state {{!}}--state {STATES}}}",
    "-m {mark|connmark} {!}--mark {0x1|0x1/0x3|0x0|0x2|7/0xf}",
    '-m comment --comment {plain|"two words"}',
    "-m limit --limit 1/hour --limit-burst {1|2|5|20}",
    "-m statistic --mode nth --every {2 --packet 0|2 --packet 1|3 --packet 2|5 --packet 0}",
    f"-m addrtype {{!}}--{{src|dst}}-type {KINDS}",
    "-m iprange {!}--{src|dst}-range {10.0.1.0-10.0.1.9|10.0.0.0-10.0.2.255|0.0.0.0-255.255.255.255}",
    "-m ttl --ttl-{eq|lt|gt} {1|2|63|64}",
    "-m length {!}--length {40|28:100|0:60|1000:65535}",
    "-m tos {!}--tos {0x00|0x10|0x00/0x10|0x1c/0xfc}",
    "-m dscp {!}--dscp {0x00|0x04|0x07}",
    "-m recent --{set|rcheck|update --seconds 3600|rcheck --hitcount 2|remove} --name {list|DEFAULT} --r{source|dest}",
    "-m set {!}--match-set {addresses|networks} {src|dst}",
    "-m set {!}--match-set services {src|dst},{src|dst}",
    "-m pkttype {!}--pkt-type {unicast|broadcast|multicast}",
)
"""Matches that may stand in every table and chain."""

SLOW: Final = ("-m connlimit --connlimit-{above|upto} {0|1|2} --connlimit-mask {0|24|32} --connlimit-{s|d}addr",)
"""Those that have each packet wait on the kernel, so that they stand in few rule sets."""


class Allowed(NamedTuple):
    """A pattern, and where it may stand."""

    tables: frozenset[str]
    hooks: frozenset[Hook]
    pattern: str


ALL: Final = frozenset(TABLES)
FILTERING: Final = ALL - {"nat"}
EVERYWHERE: Final = frozenset(Hook)
FORWARDED: Final = frozenset({Hook.LOCAL_IN, Hook.FORWARD, Hook.LOCAL_OUT})
ENTERING: Final = frozenset({Hook.PRE_ROUTING, Hook.LOCAL_IN, Hook.FORWARD})
LEAVING: Final = frozenset({Hook.FORWARD, Hook.LOCAL_OUT, Hook.POST_ROUTING})
SOURCES: Final = frozenset({Hook.POST_ROUTING, Hook.LOCAL_IN})
DESTINATIONS: Final = frozenset({Hook.PRE_ROUTING, Hook.LOCAL_OUT})
FIRST: Final = frozenset({Hook.PRE_ROUTING})
RAW, MANGLE, NAT, FILTER = (frozenset({table}) for table in ("raw", "mangle", "nat", "filter"))

IN_PLACES: Final = (
    Allowed(ALL, ENTERING, "{!}-i {dev}"),
    Allowed(ALL, LEAVING, "{!}-o {dev}"),
    Allowed(RAW | MANGLE, FIRST, "-m rpfilter{| --loose| --validmark| --accept-local| --invert}"),
    Allowed(ALL, EVERYWHERE, "{!}-f"),
)  # fmt: skip
"""Matches that may stand in some only."""

TARGETS: Final = (
    Allowed(ALL, EVERYWHERE, "-j ACCEPT"),
    Allowed(FILTERING, EVERYWHERE, "-j DROP"),
    Allowed(ALL, EVERYWHERE, "-j RETURN"),
    Allowed(ALL, EVERYWHERE, ""),
    Allowed(FILTER, FORWARDED, "-j REJECT --reject-with icmp-{net|host|port|proto}-unreachable"),
    Allowed(FILTER, FORWARDED, "-j REJECT --reject-with icmp-{net|host|admin}-prohibited"),
    Allowed(FILTER, FORWARDED, "-p tcp -j REJECT --reject-with tcp-reset"),
    Allowed(ALL, EVERYWHERE, "-j LOG --log-prefix {seen|here}"),
    Allowed(ALL, EVERYWHERE, "-j NFLOG --nflog-group 3"),
    Allowed(FILTERING, EVERYWHERE, "-j NFQUEUE --queue-num {0|5|99}{| --queue-bypass}"),
    Allowed(MANGLE, EVERYWHERE, "-j MARK --set-xmark {0x1/0xffffffff|0x2/0x3|0x0/0x1}"),
    Allowed(MANGLE, EVERYWHERE, "-j CONNMARK {--save-mark|--restore-mark|--set-xmark 0x1/0xffffffff}"),
    Allowed(MANGLE, EVERYWHERE, "-j TTL --ttl-{set 5|set 1|inc 1|dec 1|dec 63}"),
    Allowed(MANGLE, EVERYWHERE, "-j {TOS --set-tos {0x10|0x04/0x3f}|DSCP --set-dscp {0x04|0x2e}}"),
    Allowed(MANGLE, LEAVING, "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS {--set-mss 1000|--clamp-mss-to-pmtu}"),
    Allowed(RAW, EVERYWHERE, "-j CT --notrack"),
    Allowed(RAW, EVERYWHERE, "-p tcp -m tcp --dport 21 -j CT --helper ftp"),
    Allowed(RAW, EVERYWHERE, "-j TRACE"),
    Allowed(ALL, EVERYWHERE, "-j SET --{add|del}-set addresses {src|dst}"),
    Allowed(NAT, SOURCES, "-j SNAT --to-source {address}"),
    Allowed(NAT, SOURCES, "-p {tcp|udp} -j SNAT --to-source {address}{:{port}|}{| --persistent}"),
    Allowed(NAT, SOURCES, "-p {tcp|udp} -j SNAT --to-source 203.0.113.77:3000-3006{| --persistent}{|| --random}"),
    Allowed(NAT, SOURCES, "-p {tcp|udp} -j SNAT --to-source {address}:3000-3006{|| --random}"),
    Allowed(NAT, SOURCES, "-j SNAT --to-source {address}{|| --random}"),
    Allowed(NAT, frozenset({Hook.POST_ROUTING}), "-j MASQUERADE{|| --random}"),
    Allowed(NAT, frozenset({Hook.POST_ROUTING}), "-p {tcp|udp} -j MASQUERADE --to-ports 2000-2010{|| --random}"),
    Allowed(NAT, DESTINATIONS, "-j DNAT --to-destination {address}"),
    Allowed(NAT, DESTINATIONS, "-p {tcp|udp} -j DNAT --to-destination {address}:{port}"),
    Allowed(NAT, DESTINATIONS, "-p {tcp|udp} -j DNAT --to-destination {address}:{21-80|7770-7779}{|| --random}"),
    Allowed(NAT, DESTINATIONS, "-p {tcp|udp} -j REDIRECT --to-ports 7770-7779{|| --random}"),
    Allowed(NAT, DESTINATIONS, "{-j REDIRECT|-p {tcp|udp} -j REDIRECT --to-ports {53|7777|8080}}"),
    Allowed(NAT, EVERYWHERE, "-j NETMAP --to {10.0.1.0/24|10.0.2.0/28|192.168.7.0/24}"),
)
TRANSLATING: Final = 4
"""So many times as likely as others is what translates, in the table nat."""


def random_ruleset(ground: Ground) -> str:
    """Text for iptables-restore: one to five tables."""
    random = ground.random
    tables = random.sample(list(TABLES), random.choice((1, 1, 2, 2, 3, 5)))
    if random.random() < 0.5 and "nat" not in tables:
        tables.append("nat")
    return "\n".join(line for table in tables for line in _table(ground, table)) + "\n"


def _table(ground: Ground, table: str) -> list[str]:
    random = ground.random
    hooks = [hook for hook in TABLES[table] if random.random() < 0.7] or [next(iter(TABLES[table]))]
    heads, rules = [f"*{table}"], []
    for hook in hooks:
        policy = "DROP" if table in FILTERING and random.random() < 0.06 else "ACCEPT"
        heads.append(f":{hook.chain} {policy} [0:0]")
        users = [f"{hook.chain.lower()}-{name}" for name in USER_CHAINS[: random.choice((0, 0, 1, 2, 3))]]
        heads += [f":{user} - [0:0]" for user in users]
        for at, chain in enumerate((hook.chain, *users)):
            # A chain jumps only to those behind it, so that there are no loops.
            count = random.choice((1, 1, 2, 3, 5))
            rules += [f"-A {chain} {_rule(ground, table, hook, users[at:])}" for _ in range(count)]
    return [*heads, *rules, "COMMIT"]


def _rule(ground: Ground, table: str, hook: Hook, users: list[str]) -> str:
    random = ground.random
    chosen = random.sample(ground.matches, random.choice((0, 1, 1, 1, 2, 2, 3)))
    for one in IN_PLACES:
        if table in one.tables and hook in one.hooks and random.random() < 0.1:
            chosen.append(one.pattern)
    if users and random.random() < 0.35:
        chosen.append(f"-{random.choice('jjjg')} {random.choice(users)}")
    else:
        allowed = [one for one in TARGETS if table in one.tables and hook in one.hooks]
        weights = [TRANSLATING if one.tables is NAT else 1 for one in allowed]
        chosen.append(random.choices(allowed, weights)[0].pattern)
    words = [ground.fill(one) for one in chosen]
    # A rule has one protocol and one source: what the target asks for goes before what was chosen to match.
    kept = [
        word
        for at, word in enumerate(words)
        if not any(
            option in word and any(option in later for later in words[at + 1 :]) for option in ("-p ", "-s ", "-d ")
        )
    ]
    return " ".join(word for word in kept if word)


def random_sets(ground: Ground) -> str:
    """Text for `ipset restore`: the sets that rules name."""
    random = ground.random
    lines = [
        "create addresses hash:ip family inet hashsize 1024 maxelem 65536",
        "create networks hash:net family inet hashsize 1024 maxelem 65536",
        "create services hash:ip,port family inet hashsize 1024 maxelem 65536",
    ]
    patterns = (
        "addresses {address}",
        "networks {{host}/32|10.0.1.0/24|10.9.0.0/16|8.0.0.0/7}",
        "services {address},{tcp|udp}:{port}",
    )
    filled = {ground.fill(random.choice(patterns)) for _ in range(random.randrange(9))}
    return "\n".join([*lines, *(f"add {one}" for one in sorted(filled))]) + "\n"
