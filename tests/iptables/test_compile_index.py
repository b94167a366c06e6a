"""What is compiled answers as the walk over the rules does: same packets out, same counters, same entries."""

from random import Random
from typing import Any

import pytest

from netlab.addresses import InterfaceAddress
from netlab.hooks import HookState
from netlab.host import Host
from netlab.iptables.set_command import restore as restore_sets
from netlab.kernel.fuzz.machines import Interfaces
from netlab.kernel.fuzz.rulesets import Ground, random_ruleset, random_sets
from netlab.names import Hook, Verdict
from netlab.packet import Packet

INTERFACES: dict[str, Any] = {"r0": "10.0.1.1/24", "r1": "10.0.2.1/24"}
ADDRESSES = ("10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.2.1", "10.0.2.2", "10.0.2.3", "10.9.9.9")
IN_RUNS = (
    "-p tcp -m tcp --dport {port}", "-p tcp -m tcp --dport {port} --syn", "-p udp -m udp --dport {port}",
    "-p tcp -m conntrack --ctstate NEW -m tcp --dport {port}",
    "-p tcp -m state --state ESTABLISHED,NEW -m tcp --dport {port}",
    "-p tcp -m limit --limit 1/hour --limit-burst 3 -m tcp --dport {port}",
    "-p udp -m statistic --mode nth --every 2 --packet 0 -m udp --dport {port}",
    "-p tcp -m conntrack ! --ctstate NEW -m tcp --dport {port} --tcp-flags SYN,ACK ACK",
    "-p tcp -m recent --set -m tcp --dport {port}", "-p tcp -m mark --mark 0x1 -m tcp --sport {port}",
    "-p tcp -m conntrack --ctstate ESTABLISHED,UNTRACKED -m tcp --dport {port}",
    "-s 10.0.1.{low} -p tcp -m tcp --dport {port}", "-d 10.0.2.{low}", "-p tcp -m tcp --dport {port} --tcp-option 3",
)  # fmt: skip
ENDS = ("-j ACCEPT", "-j ACCEPT", "-j RETURN", "-j DROP", "-j MARK --set-xmark 0x1/0x1", "-j more", "-g more", "")


def many_rules(random: Random) -> str:
    """Rules one after the other of which each asks for one value of the same field."""
    table = random.choice(("mangle", "mangle", "filter"))
    rules = []
    for chain in ("FORWARD", "FORWARD", "more"):
        asked = [random.choice(IN_RUNS)] if random.random() < 0.6 else random.choices(IN_RUNS, k=4)
        for _ in range(random.choice((3, 4, 8, 16))):
            match = random.choice(asked).format(port=random.randrange(20, 28), low=random.randrange(4))
            ends = [
                end
                for end in ENDS
                if ("MARK" not in end or table == "mangle") and ("more" not in end or chain != "more")
            ]
            rules.append(f"-A {chain} {match} {random.choice(ends)}".rstrip())
    return "\n".join([f"*{table}", ":FORWARD ACCEPT [0:0]", ":more - [0:0]", *rules, "COMMIT", ""])


def some_packet(random: Random) -> tuple[str, Packet]:
    source, destination = random.sample(ADDRESSES, 2)
    header: dict[str, Any] = {"ttl": random.choice((64, 64, 2)), "tos": random.choice((0, 0x10))}
    sport, dport = (random.choice((*range(20, 28), 53, 80, 4000)) for _ in range(2))
    payload = bytes(random.choice((0, 5, 500)))
    kind = random.randrange(10)
    if kind < 6:
        flags = random.choice(("S", "S", "SA", "A", "A", "FA", "R", ""))
        options = random.choice((b"", b"\3\3\7\1"))
        packet = Packet.tcp(source, destination, sport, dport, flags, tcp_options=options, payload=payload, **header)
    elif kind < 8:
        packet = Packet.udp(source, destination, sport, dport, payload, **header)
    elif kind < 9:
        packet = Packet.icmp(source, destination, random.choice((0, 8, 8, 13)), **header)
    else:
        packet = Packet.ip(
            source, destination, random.choice((6, 17, 1, 47, 132)), bytes(random.randrange(12)), **header
        )
    return "r0" if source.startswith("10.0.1.") else "r1", packet


def journal(rules: str, sets: str, packets: list[tuple[str, Packet]], variant: str, *, walked: bool) -> list[object]:
    """All that leaves the router, and after each packet the counters and entries."""
    router = Host("r", INTERFACES, sysctls={"net.ipv4.ip_forward": 1}, variant=variant)  # type: ignore[arg-type]
    restore_sets(router.sets, sets)
    router.firewall.restore(rules)
    router.wires.recording = walked
    told: list[object] = []

    def tell(packet: Packet, state: HookState) -> Verdict:
        told.append((state.hook, state.dev_in, state.dev_out, packet, state.skb.ctstate))
        return Verdict.ACCEPT

    for hook in Hook:
        router.register(hook, tell, 2**31 - 2)
    for dev, packet in packets:
        router.receive(dev, packet)
        router.wires.clock.advance(0.1)
        told += [router.firewall.save(counters=True), str(router.conntrack)]
    return told


@pytest.mark.parametrize("variant", ["nft", "legacy"])
@pytest.mark.parametrize("seed", range(30))
def test_compiled_rules_answer_as_the_walk_does(seed: int, variant: str) -> None:
    random = Random(seed)
    interfaces: Interfaces = {dev: (InterfaceAddress.parse(address),) for dev, address in INTERFACES.items()}
    ground = Ground.of(random, interfaces)
    rules, sets = (random_ruleset(ground), random_sets(ground)) if seed % 2 else (many_rules(random), "")
    packets = [some_packet(random) for _ in range(60)]
    walked, compiled = (journal(rules, sets, packets, variant, walked=walked) for walked in (True, False))
    assert compiled == walked


def test_a_match_that_remembers_is_asked_in_front_of_an_index_too() -> None:
    match = "-A FORWARD -p tcp -m limit --limit 1/hour --limit-burst 2 -m tcp --dport"
    rules = ["*filter", ":FORWARD ACCEPT", *(f"{match} {port} -j DROP" for port in range(20, 28)), "COMMIT", ""]
    packets = [("r0", Packet.tcp("10.0.1.2", "10.0.2.2", 4000, port)) for port in (80, 80, 20, 21)]
    walked, compiled = (journal("\n".join(rules), "", packets, "nft", walked=walked) for walked in (True, False))
    assert compiled == walked
    assert "[1:40]" not in str(compiled[-2])  # the tokens were gone when a packet came that they were kept for
