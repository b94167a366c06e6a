"""Helpers that netlab has by name only: every lifetime here is what Linux 6.18 gave the very same flows."""

import os
import time
from collections.abc import Iterator

import pytest

from netlab import Host, Packet, simulate
from netlab.addresses import InterfaceAddress
from netlab.conntrack.text import parse_line
from netlab.conntrack.unread import UNREAD
from netlab.iptables.words import RuleError
from netlab.kernel.compare import compare
from netlab.kernel.namespaces import KernelUnavailable
from netlab.kernel.worker import Worker
from netlab.names import Proto
from netlab.scenario import HostSpec, PacketStep, Scenario
from netlab.trace import Logged, Noted
from tests.conftest import CI

PORTS = {
    "amanda": 10080, "irc": 6667, "netbios-ns": 137, "pptp": 1723, "Q.931": 1720, "RAS": 1719, "sane": 6566,
    "sip": 5060, "snmp": 161, "tftp": 69,
}  # fmt: skip
RULES = "\n".join([
    "*raw",
    ":PREROUTING ACCEPT [0:0]",
    *(
        f"-A PREROUTING -p {proto} -m {proto} --dport {PORTS[name]} -j CT --helper {name}"
        for name, one in UNREAD.items()
        for proto in one.protocols
    ),
    "COMMIT\n",
])  # fmt: skip
SPEC = HostSpec(
    "router",
    {f"r{n}": (InterfaceAddress.parse(f"10.0.{n + 1}.1/24"),) for n in range(2)},
    sysctls={"net.ipv4.ip_forward": 1, "net.ipv4.icmp_ratemask": 0},
    iptables=RULES,
)
C, S = "10.0.1.2", "10.0.2.2"


def asked(name: str, sport: int, data: bytes) -> PacketStep:
    return PacketStep("router", "r0", Packet.udp(C, S, sport, PORTS[name], data).to_bytes())


def answered(name: str, sport: int, data: bytes) -> PacketStep:
    return PacketStep("router", "r1", Packet.udp(S, C, PORTS[name], sport, data).to_bytes())


def complained(name: str, sport: int, by_server: bool) -> PacketStep:
    """An ICMP error about one of the flow's packets."""
    if by_server:
        quoted = Packet.udp(C, S, sport, PORTS[name]).to_bytes()
        return PacketStep("router", "r1", Packet.icmp(S, C, 3, 3, payload=quoted).to_bytes())
    quoted = Packet.udp(S, C, PORTS[name], sport).to_bytes()
    return PacketStep("router", "r0", Packet.icmp(C, S, 3, 3, payload=quoted).to_bytes())


def talk(name: str, sport: int, data: bytes) -> Iterator[PacketStep]:
    """A handshake, and something said by both."""
    port = PORTS[name]
    for out, flags, seq, ack, said in (
        (True, "S", 100, 0, b""),
        (False, "SA", 300, 101, b""),
        (True, "A", 101, 301, b""),
        (True, "PA", 101, 301, data),
        (False, "PA", 301, 101 + len(data), data),
    ):
        ends = (C, S, sport, port) if out else (S, C, port, sport)
        segment = Packet.tcp(*ends, flags, seq=seq, ack=ack, payload=said)
        yield PacketStep("router", "r0" if out else "r1", segment.to_bytes())


def seconds(*steps: PacketStep) -> int:
    """How long the flow of these packets lives."""
    (line,) = simulate.run(Scenario({"router": SPEC}, steps=steps)).conntrack["router"]
    return parse_line(line).timeout


@pytest.mark.parametrize(
    ("name", "question", "answer", "lives"),
    [
        ("amanda", b"", b"", 300),
        ("amanda", b"x", b"x", 300),
        ("amanda", b"x", None, 30),
        ("sip", b"", b"", 30),
        ("sip", b"", b"x", 3600),
        ("sip", b"x", None, 3600),
        ("sip", b"x", b"", 30),
        ("tftp", b"x", b"x", 30),
        ("netbios-ns", b"x", b"x", 30),
    ],
)
def test_what_two_of_them_do_with_any_packet(name: str, question: bytes, answer: bytes | None, lives: int) -> None:
    answers = [answered(name, 2000, answer)] if answer is not None else []
    assert seconds(asked(name, 2000, question), *answers) == lives


def test_errors_are_heard_too() -> None:
    assert seconds(asked("sip", 2000, b""), answered("sip", 2000, b""), complained("sip", 2000, False)) == 3600
    assert seconds(asked("sip", 2000, b""), answered("sip", 2000, b""), complained("sip", 2000, True)) == 30


def test_flows_carry_the_name_and_the_trace_says_that_nobody_reads() -> None:
    host = Host("router", {"r0": "10.0.1.1/24", "r1": "10.0.2.1/24"}, iptables=RULES)
    host.sysctls.set("net.ipv4.ip_forward", 1)
    trace = host.receive("r0", Packet.udp(C, S, 2000, 69, b"\0\1file"))
    assert [event.text for event in trace.events if isinstance(event, Noted)] == [
        "tftp helper: netlab does not read what is said, and foresees nothing"
    ]
    assert host.conntrack
    assert "helper=tftp" in str(host.conntrack)
    assert not host.conntrack.expectations


def tunnel() -> list[PacketStep]:
    """A tunnel in GRE, and between the same two hosts the control connection, which is refused."""
    refused = Packet.tcp(S, C, 1723, 4000, "RA", ack=1)
    return [
        PacketStep("router", "r0", Packet.ip(C, S, 47, bytes(12)).to_bytes()),
        PacketStep("router", "r0", Packet.tcp(C, S, 4000, 1723, "S").to_bytes()),
        PacketStep("router", "r1", refused.to_bytes()),
    ]


def test_a_tunnel_ends_with_its_control_connection() -> None:
    before, after = (simulate.run(Scenario({"router": SPEC}, steps=tuple(steps))) for steps in (tunnel()[:2], tunnel()))
    assert [parse_line(line).original.proto for line in before.conntrack["router"]] == [47, Proto.TCP]
    assert after.conntrack["router"] == []


def test_amanda_complains_of_an_empty_answer() -> None:
    trace = simulate.run(Scenario({"router": SPEC}, steps=(asked("amanda", 9, b""), answered("amanda", 9, b""))))
    assert [event.line for event in trace.events if isinstance(event, Logged)] == ["amanda_help: skblen = 28"]


@pytest.mark.parametrize(
    ("protocol", "name", "complaint"),
    [
        ("-p tcp", "tftp", "CT: --helper tftp needs -p udp"),
        ("-p icmp", "sip", "CT: --helper sip needs -p tcp or -p udp"),
        ("", "irc", "CT: --helper irc needs -p tcp"),
        ("! -p udp", "tftp", "CT: --helper tftp needs -p udp"),
        ("-p udp", "SIP", "CT: no such helper 'SIP' \\(there is ftp, amanda, irc"),
    ],
)
def test_refused(protocol: str, name: str, complaint: str) -> None:
    with pytest.raises(RuleError, match=complaint):
        Host("h", {}, iptables=f"*raw\n-A PREROUTING {protocol} -j CT --helper {name}\nCOMMIT\n")


@pytest.mark.kernel
@pytest.mark.needs("iptables-nft")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees drops")
def test_the_kernel_does_the_same() -> None:
    steps = tunnel()
    for name, one in UNREAD.items():
        for number, data in enumerate((b"", b"\0", bytes(30), b"\xff" * 30, b"a" * 30)):
            if Proto.TCP in one.protocols:
                steps += talk(name, 3000 + number, data)
            if Proto.UDP in one.protocols:
                sport = 2000 + 10 * number
                steps += [asked(name, sport, data), answered(name, sport, data or b"x")]
                steps += [asked(name, sport + 1, b""), answered(name, sport + 1, b"x"), asked(name, sport + 1, data)]
                steps += [
                    asked(name, sport + 2, data),
                    answered(name, sport + 2, b"x"),
                    complained(name, sport + 2, True),
                ]
                steps += [
                    asked(name, sport + 3, b""),
                    answered(name, sport + 3, b"x"),
                    complained(name, sport + 3, False),
                ]
    scenario = Scenario({"router": SPEC}, steps=tuple(steps))
    with Worker() as worker:
        try:
            began = time.monotonic()
            kernel = worker.run(scenario)
            late = time.monotonic() - began
        except KernelUnavailable as error:
            (pytest.fail if CI else pytest.skip)(str(error))
    found = compare(simulate.run(scenario).to_json(), kernel.to_json(), late=late)
    assert found, str(found)
    assert len(kernel.conntrack["router"]) == sum(
        5 * (4 * (Proto.UDP in u.protocols) + (Proto.TCP in u.protocols)) for u in UNREAD.values()
    )
