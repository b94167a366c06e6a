"""A simulator that is told what the kernel has left to chance. A simulator that chooses otherwise stands in for one."""

import copy
import json
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from netlab import simulate
from netlab.kernel.choices import compare_told
from netlab.kernel.compare import compare
from netlab.kernel.ports import Ports, rules_of
from netlab.packet import Packet
from netlab.scenario import HostSpec, PacketStep, Scenario, loads
from netlab.simulate import build, follow

MACHINE = """
hosts:
  router:
    interfaces: {eth0: [10.0.1.1/24], eth1: [10.0.2.1/24]}
    routes: [default via 10.0.2.9]
    sysctls: {net.ipv4.ip_forward: 1}
    iptables: |
      *nat
      RULES
      COMMIT
steps: []
"""
SNAT = "-A POSTROUTING -o eth1 -p udp -j SNAT --to-source 10.0.2.1:3000-3006"
MASQUERADE = "-A POSTROUTING -o eth1 -j MASQUERADE --random"
DNAT = "-A PREROUTING -i eth0 -p udp -j DNAT --to-destination 10.0.2.2:53-1000 --random"
BOTH = f"{DNAT}\n      {SNAT} --random"
HAIRPIN = "-A POSTROUTING -p udp -j SNAT --to-source 203.0.113.77:3000-3006"


def scenario(rules: str, *packets: tuple[str, Packet]) -> Scenario:
    machine: HostSpec = loads(MACHINE.replace("RULES", rules)).hosts["router"]
    return Scenario({"router": machine}, steps=tuple(PacketStep("router", dev, one.to_bytes()) for dev, one in packets))


def kernel_like(one: Scenario, seed: int) -> Any:
    """What a kernel with other luck says, to which packets are sent as netlab sends them to the real one."""
    mine = simulate.run(one).to_json()
    net, ports = build(one), Ports(rules_of(one))
    net.hosts["router"].nat().random = Random(seed)
    trace, steps = None, []
    for step, known in zip(one.steps, mine["steps"], strict=True):
        assert isinstance(step, PacketStep)
        trace = follow(net, [step._replace(data=ports.real_frame(step.data))])
        steps += trace.to_json()["steps"]
        ports.learn(known["path"], steps[-1]["path"])
    assert trace is not None
    return trace.to_json() | {"steps": steps}


def client(host: int, sport: int = 4000) -> tuple[str, Packet]:
    return "eth0", Packet.udp(f"10.0.1.{host}", "10.0.2.2", sport, 53, b"data")


def answer(to: str, dport: int) -> tuple[str, Packet]:
    return "eth1", Packet.udp("10.0.2.2", to, 53, dport, b"data")


@pytest.mark.parametrize("rules", [SNAT, MASQUERADE, DNAT, BOTH, HAIRPIN])
@pytest.mark.parametrize("seed", range(20))
def test_other_luck_is_no_difference(rules: str, seed: int) -> None:
    source = "203.0.113.77" if rules is HAIRPIN else "10.0.2.1"
    answers = [answer(source, port) for port in range(3000, 3007)]
    one = scenario(rules, *map(client, range(2, 8)), *answers, client(2), client(9), client(10))
    mine = simulate.run(one).to_json()
    found = compare_told(one, mine, kernel_like(one, seed))
    assert found, str(found)


def test_both_ends_out_of_one_range_cannot_be_paired() -> None:
    """For this there is a second way of comparing."""
    _, lost = answer("203.0.113.77", 3001)
    quoted = Packet.udp("203.0.113.77", "10.0.2.2", 3001, 53).to_bytes()
    error = Packet.icmp("10.0.2.2", "203.0.113.77", 11, 0, payload=quoted)
    one = scenario(HAIRPIN, client(2), ("eth1", lost), ("eth1", error))
    mine = simulate.run(one).to_json()
    theirs = [kernel_like(one, seed) for seed in range(30)]
    assert not all(compare(mine, other) for other in theirs)
    assert all(compare_told(one, mine, other) for other in theirs)


@pytest.mark.parametrize("wrong", [2999, 3007, 4000])
def test_a_port_outside_the_range_is_a_difference(wrong: int) -> None:
    one = scenario(HAIRPIN, client(2), client(3))
    mine = simulate.run(one).to_json()
    assert not compare_told(one, mine, _with_port(mine, wrong))


def test_a_port_that_is_taken_is_a_difference() -> None:
    one = scenario(HAIRPIN, client(2), client(3))
    mine = simulate.run(one).to_json()
    first, second = (step["path"][-1]["sport"] for step in mine["steps"])
    assert first != second
    assert not compare_told(one, mine, _with_port(mine, first))


def test_what_else_differs_stays_a_difference() -> None:
    one = scenario(HAIRPIN, client(2), client(3))
    theirs = kernel_like(one, 1)
    assert compare_told(one, simulate.run(one).to_json(), theirs)
    theirs["steps"][1]["path"][0]["ttl"] += 1
    assert not compare_told(one, simulate.run(one).to_json(), theirs)


def _with_port(trace: Mapping[str, Any], port: int) -> Any:
    """The trace, in which the second packet got another source port."""
    other = copy.deepcopy(dict(trace))
    row = other["steps"][1]["path"][-1]
    old = row["sport"]
    row["sport"] = port
    (frame,) = other["steps"][1]["out"]
    packet = Packet.from_bytes(bytes.fromhex(frame["hex"]))
    changed = Packet.udp(packet.src, packet.dst, port, packet.dport or 0, b"data")
    frame["hex"] = packet._replace(payload=changed.payload).to_bytes().hex()
    entries = json.dumps(other["conntrack"]).replace(f"dport={old} ", f"dport={port} ")
    return other | {"conntrack": json.loads(entries)}
