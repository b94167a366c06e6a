"""Random scenarios about one match: a router whose chains are full of rules that only count, and packets for it."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Final

from netlab.addresses import InterfaceAddress, outside_mac
from netlab.iptables.model import TABLES
from netlab.kernel.fuzz.answers import Talk
from netlab.kernel.fuzz.machines import HOST, RATEMASK
from netlab.kernel.fuzz.rulesets import Ground
from netlab.names import Hook
from netlab.packet import Packet
from netlab.scenario import AdvanceStep, HostSpec, PacketStep, Scenario, Step

FLAGS: Final = "{{+FIN|SYN|RST|PSH|ACK|URG}|{+SYN|ACK|FIN}|ALL|NONE|SYN}"
STATES: Final = "INVALID|NEW|RELATED|ESTABLISHED|UNTRACKED"
TYPES: Final = "UNSPEC|UNICAST|LOCAL|BROADCAST|ANYCAST|MULTICAST|BLACKHOLE|UNREACHABLE|PROHIBIT|THROW"
RANGE: Final = "{{ports}|{ports}|:{port}|{port}:|0:65535}"
MARK: Final = "{0|1|2|3|0x1/0x3|0/1|7/0xf|0x1ff/0xff|1/0}"

PATTERNS: Final[dict[str, str]] = {
    "tcp": f"-p tcp -m tcp{{| {{!}}--sport {RANGE}}}{{| {{!}}--dport {RANGE}}}{{|| {{!}}--tcp-flags {FLAGS} {FLAGS}"
    "| {!}--syn}{||| {!}--tcp-option {1|2|3|4|8|255}}",
    "udp": f"-p udp -m udp{{| {{!}}--sport {RANGE}}}{{| {{!}}--dport {RANGE}}}",
    "icmp": "-p icmp -m icmp {!}--icmp-type {any|0|3|5|8|11|13|255|{3|8|11}/{0|1|3|13}|echo-request|redirect}",
    "multiport": "-p {tcp|udp|udplite|tcp|udp} -m multiport {!}--{s|d|}ports "
    "{{+{port}|{port}|53|80|7777}|0:1023|{+21|1024:65535|443}|{port}}",
    "mark": f"-m mark {{!}}--mark {MARK}",
    "connmark": f"-m connmark {{!}}--mark {MARK}",
    "comment": '-m comment --comment {plain|"two words"|"it\'s \\"quoted\\""}',
    "state": f"-m state {{!}}--state {{+{STATES}}}",
    "conntrack": f"-m conntrack{{| {{!}}--ctstate {{+{STATES}|SNAT|DNAT}}}}{{|| {{!}}--ctproto {{tcp|udp|icmp|47|99}}}}"
    "{||| {!}--ct{orig|repl}src {network}}{||| {!}--ct{orig|repl}dst {network}}"
    f"{{||| {{!}}--ct{{orig|repl}}{{src|dst}}port {RANGE}}}"
    "{|| {!}--ctstatus {NONE|{+EXPECTED|SEEN_REPLY|ASSURED|CONFIRMED}}}"
    "{||| {!}--ctexpire {0|45:2000000|0:20|400000:}} --ctdir {ORIGINAL|REPLY}",
    "limit": "-m limit --limit {1/hour|3/hour|5/day} --limit-burst {1|2|5|20}",
    "hashlimit": "-m hashlimit --hashlimit-{upto|above} {1|3|20}/hour --hashlimit-burst {1|2|5|20}"
    "{|| --hashlimit-mode {+srcip|srcport|dstip|dstport}} --hashlimit-name {one|two|three|four|five}"
    "{|| --hashlimit-srcmask {0|8|24}}{|| --hashlimit-dstmask {0|16|24}}"
    # Of a full table (eight times its size) the kernel tells its log, at a rate that all namespaces share.
    "{|| --hashlimit-htable-size {64|100}}",
    "statistic": "-m statistic --mode {nth {!}--every {1 --packet 0|2 --packet {0|1}|7 --packet {0|3|6}}"
    "|random {!}--probability {0|1}}",
    "addrtype": f"-m addrtype{{ {{!}}--src-type {{+{TYPES}}}|}} {{!}}--dst-type {{+{TYPES}}}{{limited}}",
    "iprange": "-m iprange {!}--{src|dst}-range {{address}|{address}-{address}|10.0.1.0-10.0.1.9|0.0.0.0-10.0.2.255}",
    "mac": f"-m mac {{!}}--mac-source {{{outside_mac(HOST, 'eth0')}|{outside_mac(HOST, 'eth1')}|02:00:00:00:00:01}}",
    "ttl": "-m ttl {{!}--ttl-eq|--ttl-lt|--ttl-gt} {0|1|2|5|63|64|65|254|255}",
    "length": "-m length {!}--length {20|28|40|41:99|100:|:60|0:65535|900:1000|5:1}",
    "tos": "-m tos {!}--tos {0|0x10|0x04|0xff|0x00/0x10|0x1c/0xfc|0x10/0x3f|0x11/0x10|Minimize-Cost}",
    "dscp": "-m dscp {!}--dscp{ {0|1|4|7|63}|-class {CS0|CS1|AF11|EF}}",
    "rpfilter": "-m rpfilter{| --loose}{| --validmark}{| --accept-local}{| --invert}",
    "recent": "-m recent {!}--{set|rcheck{| --seconds 3600}{| --hitcount {0|1|2|5|40}}{| --rttl}|remove"
    "|update{| --seconds 3600{| --reap}}{| --hitcount {1|2|5|40}}{| --rttl}}{| --name {one|two|three}}"
    "{|| --mask {255.255.255.0|0.0.0.0|255.0.255.0}} --r{source|dest}",
    "connlimit": "-m connlimit {!}--connlimit-{above|upto} {0|1|2|5} --connlimit-mask {0|8|24|32}"
    " --connlimit-{s|d}addr",
    "pkttype": "-m pkttype {!}--pkt-type {unicast|broadcast|multicast|otherhost}",
}  # fmt: skip
"""For each match what its rules look like, in the notation of the fuzzer's rule sets."""

RULES: Final = 12  # in each chain
TICKS: Final = 0.012  # seconds: three ticks of the kernel's clock, within one of which it does not count anew
OTHER_ROUTES: Final = ("10.9.0.0/16 via 10.0.1.3", "blackhole 10.9.1.0/24", "local 10.8.0.0/16 dev lo")
TRACKING: Final = ("state", "conntrack", "connmark", "connlimit", "mark")
"""Matches whose scenarios have connections tracked: no fragments for them, which are put together before."""
ENTERING: Final = frozenset({Hook.PRE_ROUTING, Hook.LOCAL_IN, Hook.FORWARD})
LEAVING: Final = frozenset({Hook.FORWARD, Hook.LOCAL_OUT, Hook.POST_ROUTING})
HOOKS: Final = {"mac": ENTERING, "rpfilter": frozenset({Hook.PRE_ROUTING})}


def scenario_about(match: str, seed: object, packets: int) -> Scenario:
    """A router with random rules of that match, and random packets."""
    random = Random(f"{match}/{seed}")
    interfaces = {f"eth{n}": (InterfaceAddress.parse(f"10.0.{n + 1}.1/24"),) for n in range(2)}
    ground = Ground.of(random, interfaces)
    sysctls = {"net.ipv4.ip_forward": 1, RATEMASK: 0}
    sysctls |= {f"net.ipv4.conf.{place}.send_redirects": 0 for place in ("all", *interfaces)}
    if random.random() < 0.3:
        sysctls["net.ipv4.conf.all.rp_filter"] = random.choice((1, 2))
    routes = ["default via 10.0.2.2", *random.choice(((), OTHER_ROUTES))]
    tracked = match in TRACKING or random.random() < 0.3
    spec = HostSpec(HOST, interfaces, tuple(routes), (), sysctls, (("udp", 53), ("udp", 7777)))
    spec = replace(spec, conntrack="on" if tracked else "auto", iptables=_rules(ground, match))
    scenario = Scenario({HOST: spec}, name=f"{match}/{seed}")
    return replace(scenario, steps=tuple(_steps(random, scenario, ground, packets, slowly=match == "connlimit")))


def _rules(ground: Ground, match: str) -> str:
    lines = ["*mangle", *(f":{hook.chain} ACCEPT [0:0]" for hook in TABLES["mangle"])]
    marks = "-A PREROUTING {-s {network} |}-j {MARK|CONNMARK} --set-xmark {1|2|7}/0xffffffff"
    lines += [ground.fill(marks) for _ in range(2) if match in ("mark", "connmark", "rpfilter")]
    for hook in TABLES["mangle"]:
        if hook in HOOKS.get(match, Hook):
            limits = ["", "", *[" --limit-iface-in"] * (hook in ENTERING), *[" --limit-iface-out"] * (hook in LEAVING)]
            pattern = PATTERNS[match].replace("{limited}", "{" + "|".join(limits) + "}")
            lines += [f"-A {hook.chain} {ground.fill(pattern)}" for _ in range(RULES)]
    return "\n".join([*lines, "COMMIT", ""])


def _steps(random: Random, scenario: Scenario, ground: Ground, count: int, *, slowly: bool) -> Iterator[Step]:
    fragments = scenario.hosts[HOST].conntrack == "auto"
    for step in Talk(random, scenario, {HOST: ground}).steps(count):
        if slowly:
            yield AdvanceStep(TICKS)
        yield _spoiled(random, step, fragments=fragments) if random.random() < 0.15 else step


def _spoiled(random: Random, step: PacketStep, *, fragments: bool) -> PacketStep:
    """The packet cut short, as a fragment, with other options of TCP, or from or to somebody special."""
    packet = Packet.from_bytes(step.data)
    chance = random.random()
    if chance < 0.4:
        cut = random.choice((0, 1, 2, 3, 4, 7, 8, 12, 13, 14, 19, 20, 21, 24))
        packet = packet._replace(payload=packet.payload[:cut])
    elif chance < 0.65 and packet.proto == 6 and len(packet.payload) >= 20:
        length = random.choice((4, 5, 5, 6, 8, 15))
        options = bytes(random.choice((0, 1, 1, 2, 3, 4, 8, 255)) for _ in range(random.randrange(41)))
        header = packet.payload[:12] + bytes([length << 4]) + packet.payload[13:20]
        packet = packet._replace(payload=header + options)
    elif chance < 0.8 and fragments and step.dev:
        packet = packet.with_(df=False, mf=random.random() < 0.5, frag_offset=8 * random.choice((0, 1, 1, 2, 100)))
    elif step.dev:
        source = random.choice(("0.0.0.0", packet.src, packet.src, "10.0.1.1", "10.8.0.1", "10.9.1.1", "1.2.3.4"))
        target = random.choice(("255.255.255.255", "224.0.0.1", "10.0.2.255", packet.dst, "10.8.0.1", "10.9.1.1"))
        packet = packet.with_(src=source, dst=target)
    return step._replace(data=packet.to_bytes())
