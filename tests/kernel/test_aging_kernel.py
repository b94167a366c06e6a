"""`--age`: connections and expectations grow older on the kernel, and nobody waits; what cannot is refused."""

import os
import subprocess
import time
from contextlib import closing

import pytest

from netlab import simulate
from netlab.kernel import aging
from netlab.kernel.aging import CannotAge
from netlab.kernel.compare import compare
from netlab.kernel.conntrack import Entries
from netlab.kernel.network import Network
from netlab.kernel.worker import Worker
from netlab.packet import Packet
from netlab.scenario import Scenario, loads
from netlab.trace import Aged

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.needs("ip", "nft", "conntrack"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root sees drop reasons"),
]

ROUTER = """
hosts:
  router:
    interfaces: {eth0: 10.0.1.1/24, eth1: 10.0.2.1/24}
    sysctls: {net.ipv4.ip_forward: 1, net.ipv4.icmp_ratemask: 0}
    conntrack: on
"""
SYN = (
    'packet: {into: "router:eth0", src: 10.0.1.2, dst: 10.0.2.2, proto: tcp, sport: 4000, dport: 80, flags: S, seq: 1}'
)
PIECE = 'packet: {into: "router:eth0", src: 10.0.1.2, dst: 10.0.2.2, proto: udp, sport: 1, dport: 2, mf: true}'
BACK = 'packet: {into: "router:eth0", src: 10.0.1.2, dst: 10.0.1.9, proto: udp, sport: 1, dport: 2}'


def scenario(*steps: str, hosts: str = ROUTER) -> Scenario:
    return loads(hosts + "steps:\n" + "".join(f"  - {step}\n" for step in steps))


def test_days_pass_in_no_time() -> None:
    one = scenario(SYN, "advance: 117", "advance: 5", SYN, "advance: 500000", SYN)
    began = time.monotonic()
    with Worker() as worker:
        trace = worker.run(one, age=True)
    assert time.monotonic() - began < 5
    assert compare(simulate.run(one).to_json(), trace.to_json())
    aged = [event for event in trace.events if isinstance(event, Aged)]
    assert [(event.seconds, event.waited, event.lowered, event.over) for event in aged] == [
        (117, 0, 1, 0),
        (5, 0, 0, 1),
        (500000, 0, 0, 1),
    ]
    assert trace.to_json()["steps"][1]["aged"] == [
        {"host": "router", "seconds": 117, "waited": 0, "lowered": 1, "over": 0}
    ]
    assert "117 s passed for tracked connections alone: 1 made older, 0 over" in str(trace)


@pytest.mark.parametrize(
    ("steps", "hosts", "why"),
    [
        ((PIECE, "advance: 20"), ROUTER, "fragments that wait"),
        ((BACK, "advance: 20"), ROUTER, "redirects"),
        (("advance: 20.5",), ROUTER, "whole seconds"),
        (("advance: 0.5", "advance: 20"), ROUTER, "whole seconds"),
        (("advance: 20",), ROUTER.replace("ratemask: 0", "ratelimit: 1000"), "icmp_ratelimit"),
        (
            (SYN.replace("10.0.2.2", "10.0.1.1"), "advance: 20"),
            ROUTER.replace("conntrack: on", "listen: [tcp/80]"),
            "its own TCP connections",
        ),
    ],
    ids=["fragments", "redirects", "fraction", "earlier fraction", "ratelimit", "sockets"],
)
def test_other_clocks_are_refused(steps: tuple[str, ...], hosts: str, why: str) -> None:
    with Worker() as worker, pytest.raises(CannotAge, match=why):
        worker.run(scenario(*steps, hosts=hosts), age=True)


def test_short_pauses_are_waited_for() -> None:
    with Worker() as worker:
        trace = worker.run(scenario(SYN, "advance: 1.5"), age=True)
    assert not any(isinstance(event, Aged) for event in trace.events)


def ftp(seconds: int) -> tuple[list[int], list[str]]:
    """What is left to live of an expectation after so long, and the entries after its data connection was tried."""
    helper = """table ip ftp {
        ct helper ftp { type "ftp" protocol tcp; }
        chain chosen { type filter hook prerouting priority -150; tcp dport 21 ct helper set "ftp"; }
    }"""
    with closing(Network(scenario(SYN))) as network:
        router = network.machines["router"].namespace
        with router.entered():
            subprocess.run(["nft", "-f", "-"], input=helper, text=True, check=True)

        def say(
            side: int, flags: str, seq: int, ack: int, data: bytes = b"", ports: tuple[int, int] = (4000, 21)
        ) -> None:
            ends = ("10.0.1.2", "10.0.2.2")
            packet = Packet.tcp(
                ends[side], ends[1 - side], ports[side], ports[1 - side], flags, seq=seq, ack=ack, payload=data
            )
            network.outside.send("router", f"eth{side}", packet.to_bytes())

        say(0, "S", 100, 0)
        say(1, "SA", 500, 101)
        say(0, "A", 101, 501)
        say(0, "PA", 101, 501, b"USER me\r\n")
        say(0, "PA", 110, 501, b"PORT 10,0,1,2,20,1\r\n")
        list(aging.advance({"router": router}, seconds, ()))
        time.sleep(0.02)  # until the kernel's clock has ticked
        with router.entered():
            done = subprocess.run(["conntrack", "-L", "expect"], capture_output=True, text=True, check=True)
        left = [int(line.split()[0]) for line in done.stdout.splitlines()]
        say(1, "S", 900, 0, ports=(5121, 20))
        with closing(Entries(router)) as table:
            return left, [str(line.original.dport) for line in table.lines()]


@pytest.mark.parametrize(("seconds", "left"), [(100, [199]), (297, [2]), (301, [])])
def test_expectations_grow_older(seconds: int, left: list[int]) -> None:
    with Worker() as worker:
        found, ports = worker.call(ftp, seconds)
    assert found == left
    assert "5121" in ports
