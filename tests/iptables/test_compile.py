"""Compiled chains and walked chains say the same: verdicts, packets, counters, entries, and what rules remember."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab import simulate
from netlab.conntrack.text import line_of
from netlab.hooks import HookState
from netlab.host import Host
from netlab.iptables.extension import Variant
from netlab.kernel.fuzz.machines import Features
from netlab.kernel.fuzz.ruled import ruled
from netlab.names import Hook, Verdict
from netlab.packet import Packet
from netlab.shell import run_command
from tests.iptables.random_rules import randoms
from tests.iptables.targets.rig import CLIENT, SERVER, router

VARIANTS: tuple[Variant, ...] = ("nft", "legacy")
LAST = 2**31 - 1
variants = st.sampled_from(VARIANTS)


class Watch:
    """Writes down each packet that gets to the end of a hook, and what is known of it there."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.seen: list[object] = []
        for hook in Hook:
            host.register(hook, self.see, LAST, "watch")

    def see(self, packet: Packet, state: HookState) -> Verdict:
        skb = state.skb
        self.seen.append((state.hook, state.dev_in, state.dev_out, packet.to_bytes(), packet.mark, skb.ctstate))
        return Verdict.ACCEPT

    def left(self) -> dict[str, object]:
        """All that can be told of the host afterwards."""
        host = self.host
        now = host.wires.clock.now
        return {
            "packets": self.seen,
            "counters": host.firewall.save(counters=True),
            "entries": [str(line_of(entry, now)) for entry in host.conntrack.table] if host.conntrack else [],
            "sets": str(run_command(host, "ipset save")),
            "chance": host.firewall.random.random(),
        }


def compiled(host: Host) -> Host:
    """The host when nobody reads along."""
    host.wires.recording = False
    return host


def check_source(host: Host) -> None:
    """The source of each table can be read, and has every chain in it."""
    for name, table in host.firewall.ruleset.tables.items():
        source = host.firewall.source(name)
        compile(source, name, "exec")
        for chain in table.chains:
            assert f"{name}:{chain}, {len(table.chains[chain].rules)} rules" in source


@settings(max_examples=25, deadline=None)
@given(randoms(), variants)
def test_random_rules_and_packets(random: Random, variant: Variant) -> None:
    scenario = ruled(random, Features(), 25)
    told = []
    for recording in (True, False):
        net = simulate.build(scenario, variant)
        net.wires.recording = recording
        (host,) = net.hosts.values()
        watch = Watch(host)
        for step in scenario.steps:
            simulate.take(net, step)
        told.append(watch.left())
        check_source(host)
    assert told[0] == told[1]


# ---------------------------------------------------------------- rules that an index serves

ADDRESSES = (CLIENT, SERVER, "10.0.1.3", "10.0.2.3")
WANTED = (
    [f"-p {proto} -m {proto} --{end} {port}" for proto in ("tcp", "udp") for end in ("dport",) for port in (53, 80)],
    [f"-p tcp -m tcp --sport {port}" for port in (53, 80, 81, 82)],
    [f"! -p tcp -m tcp --dport {port}" for port in (53, 80)],
    [f"-d {address}" for address in ADDRESSES],
    [f"-s {address}/255.255.0.255" for address in ADDRESSES],
    [f"-d {address}/31" for address in ADDRESSES],
)
WHAT_THEN = (
    "", "-j ACCEPT", "-j RETURN", "-j MARK --set-xmark 0x1/0x1", "-j MARK --set-xmark 0x2/0x2", "-j one", "-j two",
    "-g one", "-g two", "-m mark --mark 0x1 -j DROP", "-m mark --mark 0x2/0x2", "-j TTL --ttl-dec 1", "-j DROP",
    "-m ttl --ttl-lt 63 -j RETURN", "-j TOS --set-tos 0x10/0xff", "-m tos --tos 0x10/0xff -m mark ! --mark 0x1",
    "-m statistic --mode nth --every 2 --packet 0 -j RETURN", "-m conntrack --ctstate NEW -j MARK --set-xmark 0x4/0x4",
)  # fmt: skip


def indexed(random: Random, variant: Variant) -> str:
    """Three chains of runs, of which each asks for one field."""
    lines = ["*mangle", ":PREROUTING ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":one - [0:0]", ":two - [0:0]"]
    for chain, fewer in (("PREROUTING", ()), ("FORWARD", ()), ("one", ("one",)), ("two", ("one", "two"))):
        allowed = [then for then in WHAT_THEN if not then.endswith(tuple(f" {name}" for name in fewer))]
        for _ in range(random.randrange(1, 4)):
            wanted = random.choice([one for one in WANTED if variant == "nft" or "!" not in one[0]])
            lines += [
                f"-A {chain} {random.choice(wanted)} {random.choice(allowed)}" for _ in range(random.randrange(1, 9))
            ]
    return "\n".join([*lines, "COMMIT", ""])


def random_packet(random: Random) -> Packet:
    source, to = (random.choice(ADDRESSES) for _ in range(2))
    ports = [random.choice((53, 80, 81, 4000)) for _ in range(2)]
    packet = random.choice(
        (
            Packet.tcp(source, to, *ports, "S"),
            Packet.udp(source, to, *ports, b"data"),
            Packet.udp(source, to, *ports, b"sctp?").with_(proto=132),
            Packet.icmp(source, to, 8, 0),
        )
    ).with_(ttl=random.choice((64, 63, 3)))
    if random.random() < 0.1:
        return packet._replace(payload=packet.payload[: random.randrange(9)])
    return packet.with_(frag_offset=8) if random.random() < 0.05 else packet


@settings(max_examples=80, deadline=None)
@given(randoms(), variants)
def test_runs_of_rules_that_ask_for_one_field(random: Random, variant: Variant) -> None:
    rules = indexed(random, variant)
    packets = [random_packet(random) for _ in range(15)]
    told = []
    for recording in (True, False):
        host = router(variant=variant)
        host.wires.recording = recording
        host.firewall.restore(rules)
        watch = Watch(host)
        for packet in packets:
            host.receive("eth0", packet)
        told.append(watch.left())
        check_source(host)
    assert told[0] == told[1]


# ---------------------------------------------------------------- what the text of rules could do to that of functions


@pytest.mark.parametrize(
    "name", ['a"""', "\\x", "\\N{a}", "a'b", '";1/0;"', "\\", "é漢", "#", "a\x01", "{0}", "_", "chain"]
)
def test_a_chain_may_be_called_anything(name: str) -> None:
    written = name.replace("\\", "\\\\").replace('"', '\\"')
    host = compiled(router(f':"{written}" - [0:0]', f'-A FORWARD -j "{written}"', f'-A "{written}" -j DROP'))
    host.receive("eth0", Packet.udp(CLIENT, SERVER, 4000, 53))
    rules = list(host.firewall.ruleset.tables["filter"].rules())
    assert name in host.firewall.ruleset.tables["filter"].chains
    assert [rule.counters.packets for rule in rules] == [1, 1]
    compile(host.firewall.source("filter"), "filter", "exec")


@pytest.mark.parametrize("jump", ["-j", "-g"])
def test_jumps_deeper_than_python_calls(jump: str) -> None:
    last = 1500
    chains = [f":c{number} - [0:0]" for number in range(last + 1)]
    jumps = [f"-A c{number} {jump} c{number + 1}" for number in range(last)]
    host = compiled(router(*chains, "-A FORWARD -j c0", *jumps, f"-A c{last} -j DROP", variant="legacy"))
    watch = Watch(host)
    host.receive("eth0", Packet.udp(CLIENT, SERVER, 4000, 53))
    assert {rule.counters.packets for rule in host.firewall.ruleset.tables["filter"].rules()} == {1}
    assert [seen[0] for seen in watch.seen] == [Hook.PRE_ROUTING]  # type: ignore[index]


def test_the_source_shows_an_index() -> None:
    host = router(*(f"-A FORWARD -p tcp -m tcp --dport {port} -j ACCEPT" for port in range(1, 1001)))
    assert "# rules 1 to 1000" in host.firewall.source("filter")
