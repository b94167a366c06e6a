"""IP options against the real kernel: the same packets into both worlds, every frame and every hook's options compared.

Stricter than `netlab compare`: the options at each hook, and the header that an ICMP error quotes with its checksum.
"""

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from netlab import simulate
from netlab.kernel.namespaces import KernelUnavailable
from netlab.kernel.worker import Worker
from netlab.packet import MF, Packet
from netlab.scenario import Scenario, from_dict
from tests.conftest import CI
from tests.kernel.option_journeys import NO_REDIRECTS, QUIET, Generator, into, journey, router

pytestmark = [pytest.mark.kernel, pytest.mark.needs("ip")]

MACHINES, MACHINES_WHOLE, PACKETS = 6, 120, 60

SENDER, ROUTER, BEYOND = "10.0.1.2", "10.0.1.1", "10.0.2.2"
RECORD = "070b04" + "00" * 9
TIMES = "440c05010000000000000000"
THROUGH = "8307040a00020500"
"""A loose source route, by the router to 10.0.2.5."""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as one:
        yield one


def differences(worker: Worker, scenario: Scenario) -> list[str]:
    """Where the worlds disagree, as text; empty when they agree in every step."""
    try:
        kernel = worker.run(scenario)
    except KernelUnavailable as error:
        (pytest.fail if CI else pytest.skip)(str(error))
    found = []
    for here, there in zip(simulate.run(scenario).steps, kernel.steps, strict=True):
        mine, theirs = journey(here), journey(there)
        if mine != theirs:
            lines = [f"  simulator {line}" for line in mine if line not in theirs]
            lines += [f"  kernel    {line}" for line in theirs if line not in mine]
            found.append("\n".join([here.title, *lines]))
    return found


def test_random_options(worker: Worker, seed: int, whole: bool) -> None:
    """Valid and broken option strings to, through and past a router, with answers and errors."""
    ends: Counter[str] = Counter()
    found: list[str] = []
    for machine in range(MACHINES_WHOLE if whole else MACHINES):
        scenario = Generator(Random(f"options {seed} {machine}")).scenario(PACKETS)
        found += [f"machine {machine}: {text}" for text in differences(worker, scenario)]
        for step in simulate.run(scenario).steps:
            ends.update(line.rpartition(" ")[2] for line in journey(step) if "dropped" in line)
            ends.update(path.hook.name for path in step.events if hasattr(path, "hook"))
    assert not found, "\n".join([f"{len(found)} differences, seed {seed}", *found[:5]])
    # Agreement over nothing would prove nothing.
    assert {"IP_INHDR", "NOT_SPECIFIED", "NO_SOCKET", "FORWARD", "LOCAL_IN", "LOCAL_OUT"} <= set(ends)


def udp(dst: str, options: str, size: int = 8, src: str = SENDER, **header: Any) -> Packet:
    return Packet.udp(src, dst, 1, 2, bytes(size), ip_id=1, options=bytes.fromhex(options), **header)


def echo(dst: str, options: str, size: int = 8, src: str = SENDER, ip_id: int = 1) -> Packet:
    return Packet.icmp(src, dst, 8, id=42, payload=bytes(size), ip_id=ip_id, options=bytes.fromhex(options))


def cut(packet: Packet) -> list[Packet]:
    """Fragments that each have all the options."""
    starts = range(0, len(packet.payload), 64)
    return [
        packet._replace(payload=packet.payload[at : at + 64], frag=at // 8 | (0 if at == starts[-1] else MF))
        for at in starts
    ]


def one(steps: list[Any], **more: Any) -> dict[str, Any]:
    """A scenario with one router; packets among the steps go into its eth0."""
    return {
        "hosts": {"r": router(**more)},
        "steps": [into(step) if isinstance(step, Packet) else step for step in steps],
    }


def sent(packet: Packet, host: str = "r") -> dict[str, Any]:
    return {"packet": {"from": host, "hex": packet.to_bytes().hex()}}


def line(packets: list[Packet]) -> dict[str, Any]:
    """Three machines in a row, a - r - b, with links; `a` sends."""
    end = {"net.ipv4.icmp_ratemask": 0}
    return {
        "hosts": {
            "a": {"interfaces": {"eth0": "10.0.1.2/24"}, "routes": ["default via 10.0.1.1"], "sysctls": end},
            "r": router(),
            "b": {
                "interfaces": {"eth0": "10.0.2.2/24", "eth1": "10.0.3.1/24"},
                "routes": ["default via 10.0.2.1"],
                "sysctls": QUIET,
            },
        },
        "links": [["a:eth0", "r:eth0"], ["r:eth1", "b:eth0"]],
        "steps": [sent(packet, "a") for packet in packets],
    }


GATEWAY = {"routes": ["192.168.77.0/24 via 10.0.2.9"]}
LONG_RECORD, LONG_TIMES = "071304" + "00" * 17, "442405{}" + "00" * 32
TWO_PARTS = echo(ROUTER, RECORD, 200, ip_id=77)

SITUATIONS = {
    "a redirect quotes the sender's checksum, counted down": one(
        [udp("10.0.1.7", RECORD), udp("10.0.1.7", TIMES, src="10.0.1.5"), udp("10.0.1.7", "0100ff00", src="10.0.1.6")]
    ),
    "no redirect for a source route": one(
        [udp("10.0.1.7", THROUGH, src="10.0.1.3"), udp(ROUTER, "8307040a00010700", src="10.0.1.4")]
    ),
    "strict, and the next hop is behind a gateway": one(
        [udp(ROUTER, "890704c0a84d0100"), udp(ROUTER, "890704c0a84d0100", ttl=1), udp(ROUTER, "830704c0a84d0100")],
        **GATEWAY,
    ),
    "a source route beside others": one(
        [udp(ROUTER, THROUGH[:14] + TIMES), udp(ROUTER, "890704" + "0a000205" + "070704000000" + "000000")]
    ),
    "errors about a packet that follows its source route": one(
        [udp(ROUTER, THROUGH, 700, df=True), udp(ROUTER, THROUGH, 700), udp(ROUTER, "830704c0a8010100")],
        mtu={"eth1": 600},
    ),
    "reassembled: the first fragment's options, a new checksum": one(
        [*cut(TWO_PARTS), *cut(echo(ROUTER, RECORD + TIMES, 200, ip_id=78))[::-1], *cut(udp(ROUTER, RECORD, 200))[::-1]]
    ),
    "given up: the first fragment as it is": one(
        [cut(TWO_PARTS)[0], {"advance": "2"}], sysctls={"net.ipv4.ipfrag_time": 1}
    ),
    "cut, and cut once more": one(
        [
            udp(BEYOND, RECORD + "94040000", 1000, mf=True),
            udp(BEYOND, RECORD + "94040000", 1000).with_(frag_offset=800),
            echo(ROUTER, RECORD + TIMES, 1200),
            echo(ROUTER, RECORD + TIMES, 1200, src=BEYOND),
        ],
        mtu={"eth1": 600},
    ),
    "over lo": one(
        [
            sent(udp(ROUTER, RECORD, src=ROUTER)),
            sent(udp("10.0.2.1", TIMES, src=ROUTER)),
            sent(echo(ROUTER, RECORD, src=ROUTER)),
            sent(udp(ROUTER, "8307040a00020100", src=ROUTER)),
            sent(echo(ROUTER, "8307080a00020100", src=ROUTER)),
            sent(udp(ROUTER, "0a40ffff", src=ROUTER)),
        ]
    ),
    "a connection keeps the options of its SYN": one(
        [
            Packet.tcp(SENDER, ROUTER, 1000 + number, 80, "S", seq=1000, options=bytes.fromhex(options))
            for number, options in enumerate(
                (RECORD, TIMES, "830b0c0a0002050a00020600", "9404000082040000", "07090400")
            )
        ],
        listen=["tcp/80"],
    ),
    "no room for the quotation": one([udp(ROUTER, RECORD + TIMES + "01" * 16, 0)], mtu={"eth0": 68}),
    "across three machines": line(
        [
            echo(BEYOND, LONG_RECORD),
            *(echo(BEYOND, LONG_TIMES.format(flag)) for flag in ("00", "01", "03")),
            udp(BEYOND, LONG_RECORD),
            udp(ROUTER, "8307040a00020200"),
            echo(ROUTER, "8307040a00020200"),
        ]
    ),
    "nobody answers there": line(
        [
            udp("10.0.2.9", LONG_RECORD),
            udp("10.0.2.9", LONG_TIMES.format("01")),
            udp("10.0.2.9", RECORD),
            udp("10.0.1.9", RECORD),
            udp(ROUTER, "8307040a00020900"),
        ]
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_situations(situation: str, worker: Worker) -> None:
    found = differences(worker, from_dict(SITUATIONS[situation]))
    assert not found, "\n".join(found)


def test_log_lines(worker: Worker) -> None:
    """Only a source route that is refused is logged, and only with log_martians."""
    logged = {"net.ipv4.conf.all.log_martians": 1, "net.ipv4.conf.eth0.accept_source_route": 0}
    packets = [udp(ROUTER, THROUGH), udp(BEYOND, THROUGH), udp(BEYOND, RECORD)]
    scenario = from_dict(one(packets, sysctls=NO_REDIRECTS | logged))
    assert worker.run(scenario).log == simulate.run(scenario).log
    assert simulate.run(scenario).log == {
        "r": [f"IPv4: source route option {SENDER} -> {dst}" for dst in (ROUTER, BEYOND)]
    }
