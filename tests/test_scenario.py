"""Scenario files: what they mean, and what a mistake in them looks like."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.addresses import InterfaceAddress
from netlab.kernel.fuzz.shrink import to_yaml
from netlab.names import Verdict
from netlab.packet import Packet
from netlab.scenario import (
    AdvanceStep,
    PacketStep,
    QueueAnswer,
    RunStep,
    Scenario,
    ScenarioError,
    from_dict,
    load,
    loads,
)

MACHINE = """\
hosts:
  router:
    interfaces: {eth0: 10.0.1.1/24, eth1: 10.0.2.1/24}
    routes: ["10.9.0.0/16 via 10.0.2.2 metric 100", "blackhole 10.8.0.0/16"]
    rules: ["fwmark 0x1 table 100"]
    sysctls: {net.ipv4.ip_forward: 1, net.ipv4.conf.all.rp_filter: 1}
    conntrack: auto
steps:
  - packet: {into: "router:eth0", src: 10.0.1.2, dst: 10.0.2.2, proto: tcp, sport: 4000, dport: 80, flags: S, seq: 100}
  - packet: {from: router, dst: 10.0.1.2, proto: icmp, type: 8, id: 42}
  - packet: {into: "router:eth0", hex: "45000014000000004006"}
  - advance: 31
"""

CONVERSATION = """\
hosts:
  client: {interfaces: {eth0: 10.0.1.2/24}, routes: ["default via 10.0.1.1"]}
  server: {interfaces: {eth0: 10.0.1.1/24}, listen: [tcp/80, udp/53]}
links: [["client:eth0", "server:eth0"]]
steps:
  - packet: {from: client, dst: 10.0.1.1, proto: udp, sport: 5000, dport: 53, payload: hello}
"""


def address(text: str) -> InterfaceAddress:
    return InterfaceAddress.parse(text)


def packet_of(step: Any) -> Packet:
    assert isinstance(step, PacketStep)
    return Packet.from_bytes(step.data)


# ---------------------------------------------------------------- what a file means


def test_one_machine_under_test() -> None:
    scenario = loads(MACHINE)
    (router,) = scenario.hosts.values()
    assert router.interfaces == {"eth0": (address("10.0.1.1/24"),), "eth1": (address("10.0.2.1/24"),)}
    assert router.routes == ("10.9.0.0/16 via 10.0.2.2 metric 100", "blackhole 10.8.0.0/16")
    assert router.rules == ("fwmark 0x1 table 100",)
    assert router.sysctls == {"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.rp_filter": 1}
    assert list(scenario.open_interfaces()) == [("router", "eth0"), ("router", "eth1")]
    syn, echo, raw, advance = scenario.steps
    assert packet_of(syn) == Packet.tcp("10.0.1.2", "10.0.2.2", 4000, 80, "S", seq=100)
    assert packet_of(echo) == Packet.icmp("0.0.0.0", "10.0.1.2", 8, id=42)
    assert raw == PacketStep("router", "eth0", bytes.fromhex("45000014000000004006"))
    assert advance == AdvanceStep(31.0)
    assert [step.title for step in scenario.steps] == [
        "10.0.1.2:4000 > 10.0.2.2:80 tcp S ttl=64 into router:eth0",
        "0.0.0.0 > 10.0.1.2 icmp echo-request 8/0 id=42 ttl=64 from router",
        "10 bytes into router:eth0",
        "advance 31 s",
    ]


def test_two_hosts_and_a_link() -> None:
    scenario = loads(CONVERSATION, "talk.yaml")
    assert scenario.name == "talk.yaml"
    assert scenario.links == ((("client", "eth0"), ("server", "eth0")),)
    assert scenario.hosts["server"].listen == (("tcp", 80), ("udp", 53))
    assert list(scenario.open_interfaces()) == []
    assert packet_of(scenario.steps[0]).payload[8:] == b"hello"


def test_a_file_is_read_and_its_name_kept(tmp_path: Path) -> None:
    file = tmp_path / "machine.yaml"
    file.write_text(MACHINE)
    assert load(file) == load(str(file)) == Scenario(**{**_parts(loads(MACHINE)), "name": str(file)})


def _parts(scenario: Scenario) -> dict[str, Any]:
    return {name: getattr(scenario, name) for name in ("hosts", "links", "steps", "name")}


def test_every_scalar_is_text_whatever_yaml_would_make_of_it() -> None:
    text = """\
hosts:
  no: {interfaces: {on: 10.0.0.1/24}}
steps:
  - packet: {from: no, dst: 10.0.0.2, proto: udp, payload: 0777}
  - packet: {from: no, dst: 10.0.0.2, proto: udp, payload: yes}
  - packet: {from: no, dst: 10.0.0.2, proto: udp, payload: 1:30}
  - packet: {from: no, dst: 10.0.0.2, proto: udp, payload: ~}
"""
    scenario = loads(text)
    assert list(scenario.open_interfaces()) == [("no", "on")]
    assert [packet_of(step).payload[8:] for step in scenario.steps] == [b"0777", b"yes", b"1:30", b"~"]


FULL_TCP = (
    "src: 1.2.3.4, dst: 5.6.7.8, proto: tcp, ttl: 3, tos: 0x10, ip_id: 9, df: true, ip_options: '94040000', "
    "sport: 1, dport: 2, flags: SA, seq: 5, ack: 6, window: 7, tcp_options: '01', payload_hex: '0a0b'"
)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("src: 1.2.3.4, dst: 5.6.7.8, proto: udp", Packet.udp("1.2.3.4", "5.6.7.8", 0, 0)),
        ("src: 1.2.3.4, dst: 5.6.7.8, proto: 17", Packet.udp("1.2.3.4", "5.6.7.8", 0, 0)),
        ("src: 1.2.3.4, dst: 5.6.7.8, proto: tcp", Packet.tcp("1.2.3.4", "5.6.7.8", 0, 0, "")),
        ("src: 1.2.3.4, dst: 5.6.7.8, proto: icmp", Packet.icmp("1.2.3.4", "5.6.7.8")),
        ("src: 1.2.3.4, dst: 5.6.7.8, proto: icmp, type: 3, code: 1, icmp_seq: 7",
         Packet.icmp("1.2.3.4", "5.6.7.8", 3, 1, seq=7)),
        ("src: 1.2.3.4, dst: 5.6.7.8, proto: gre, payload: x", Packet.ip("1.2.3.4", "5.6.7.8", 47, b"x")),
        ("src: 1.2.3.4, dst: 5.6.7.8, proto: 253", Packet.ip("1.2.3.4", "5.6.7.8", 253)),
        (FULL_TCP, Packet.tcp("1.2.3.4", "5.6.7.8", 1, 2, "SA", seq=5, ack=6, window=7, tcp_options=b"\1",
                              payload=b"\n\x0b", ttl=3, tos=16, ip_id=9, df=True, options=b"\x94\4\0\0")),
        ("src: 1.2.3.4, dst: 5.6.7.8, proto: udp, mf: true", Packet.udp("1.2.3.4", "5.6.7.8", 0, 0, mf=True)),
        ("src: 1.2.3.4, dst: 5.6.7.8, proto: udp, frag_offset: 8, payload: x",
         Packet.ip("1.2.3.4", "5.6.7.8", 17, b"x", frag_offset=8)),
    ],
    ids=["udp", "17", "tcp", "icmp", "icmp 3/1", "gre", "253", "all of tcp", "first fragment", "later fragment"],
)  # fmt: skip
def test_the_fields_of_a_packet(fields: str, expected: Packet) -> None:
    scenario = loads(f"hosts: {{r: {{interfaces: {{e: 10.0.0.1/24}}}}}}\nsteps: [packet: {{into: 'r:e', {fields}}}]")
    assert packet_of(scenario.steps[0]) == expected


@pytest.mark.parametrize("proto", ["udp", "tcp", "icmp"])
@pytest.mark.parametrize(("checksum", "ip_ok", "l4_ok"), [("good", 1, 1), ("bad_ip", 0, 1), ("bad_l4", 1, 0)])
def test_checksums_are_spoilt_on_demand(proto: str, checksum: str, ip_ok: int, l4_ok: int) -> None:
    scenario = from_dict({
        "hosts": {"r": {"interfaces": {"e": "10.0.0.1/24"}}},
        "steps": [{"packet": {"into": "r:e", "src": "1.1.1.1", "dst": "2.2.2.2", "proto": proto, "checksum": checksum,
                              "ip_options": "94040000"}}],
    })  # fmt: skip
    packet = packet_of(scenario.steps[0])
    assert (packet.checksum is None, packet.checksum_ok()) == (bool(ip_ok), bool(l4_ok))


# ---------------------------------------------------------------- from Python


def test_a_structure_means_the_same_as_the_file_and_may_hold_numbers() -> None:
    structure = {
        "hosts": {
            "client": {"interfaces": {"eth0": "10.0.1.2/24"}, "routes": ("default via 10.0.1.1",)},
            "server": {"interfaces": {"eth0": ["10.0.1.1/24"]}, "listen": ["tcp/80", "udp/53"]},
        },
        "links": [("client:eth0", "server:eth0")],
        "steps": [{"packet": {"from": "client", "dst": "10.0.1.1", "proto": 17, "sport": 5000, "dport": 53,
                              "payload": "hello", "df": False}}],
    }  # fmt: skip
    assert from_dict(structure) == loads(CONVERSATION)


@pytest.mark.parametrize(
    ("structure", "problem"),
    [
        ({}, "scenario: a scenario needs the key 'hosts'"),
        ([], "scenario: a mapping is expected here, not a list"),
        (None, "scenario: a mapping is expected here, not nothing"),
        ({"hosts": {}}, "scenario at hosts: a scenario needs at least one host"),
        ({"hosts": {"r": None}}, "scenario at hosts.r: a mapping is expected here, not nothing"),
        ({"hosts": {"r": {"mtu": {"eth0": 1500}}}}, "scenario at hosts.r.mtu.eth0: unknown key 'eth0'"),
        ({"hosts": {"r": {"listen": [80]}}}, "scenario at hosts.r.listen[0]: '80' is not a socket"),
        ({"hosts": {"r": {"sysctls": {"net.ipv4.ip_forward": 1.5}}}},
         "scenario at hosts.r.sysctls.net.ipv4.ip_forward: '1.5' is not a whole number"),
        ({"hosts": {"r": {"interfaces": {"e": "10.0.0.1"}}}, "steps": [{"packet": {"from": "r", "dst": b"1.1.1.1"}}]},
         "scenario at steps[0].packet.dst: text is expected here, not b'1.1.1.1'"),
    ],
    ids=range(9),
)  # fmt: skip
def test_a_mistake_in_a_structure_names_its_path(structure: Any, problem: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        from_dict(structure)
    assert str(refused.value).startswith(problem)


# ---------------------------------------------------------------- mistakes, with line and column

ROUTER = "hosts:\n  r: {interfaces: {e0: 10.0.1.1/24, e1: 10.0.2.1/24}}\n"
LINKED = "hosts:\n  a: {interfaces: {e: 10.0.0.1/24}}\n  b: {interfaces: {e: 10.0.0.2/24}}\n"
UDP = "src: 1.1.1.1, dst: 2.2.2.2, proto: udp"


def host(line: str) -> str:
    return f"hosts:\n  r:\n    interfaces: {{e0: 10.0.1.1/24}}\n    {line}\n"


def step(fields: str) -> str:
    return f"{ROUTER}steps:\n  - packet: {{{fields}}}\n"


MISTAKES = [
    # not YAML, or not one document of it
    ("", ":1:1: the file is empty"),
    ("# nothing\n", ":1:1: the file is empty"),
    ("hosts: [", ":1:9: this is not YAML: "),
    ("hosts:\n\tr: {}", ":2:1: this is not YAML: found character '\\t' that cannot start any token"),
    ("a:\n  b: 1\n c: 2", ":3:2: this is not YAML: the line is indented neither like the ones above"),
    ("a: 'b' c", ":1:8: this is not YAML: expected <block end>"),
    ("a: 'b", ":1:6: this is not YAML: found unexpected end of stream"),
    ("a: 1\n---\nb: 2", ":2:1: this is not YAML: but found another document"),
    ("a: \0", ": this is not YAML: unacceptable character #x0000"),
    ("[" * 100 + "]" * 100, ":1:22: nested too deeply for a scenario"),
    ("{a: " * 2000, ": nested too deeply for a scenario"),
    ("#" * 1_000_001, ": 1000001 characters, more than the 1000000 that a scenario may have"),
    ("hosts: &x {r: {}}\nlinks: *x", ":1:8: aliases are not supported, write it out"),
    ("&a [*a]", ":1:1: aliases are not supported"),
    ("hosts: {r: {}}\nhosts: {s: {}}", ":2:1: the key 'hosts' is here twice"),
    ("? [a]\n: b", ":1:3: a key must be text"),
    # the parts of the file
    ("just text", ":1:1: a mapping is expected here, not 'just text'"),
    ("- a list", ":1:1: a mapping is expected here, not a list"),
    ("links: []", ":1:1: a scenario needs the key 'hosts'"),
    ("host: {r: {}}", ":1:1: unknown key 'host' (known here: hosts, links, steps)"),
    ("hosts: {}", ":1:8: a scenario needs at least one host"),
    ("hosts: []", ":1:8: a mapping is expected here, not a list"),
    ("hosts: {r: }", ":1:11: a mapping is expected here, not nothing"),
    ("hosts: {a b: {}}", ":1:14: 'a b' is no host name"),
    # a host
    (host("colour: red"), ":4:5: unknown key 'colour' (known here: interfaces, routes,"),
    (host("iptables: [a]"), ":4:15: text is expected here, not a list"),
    (host("iptables: '-A INPUT -M /bin/sh'"), ":4:15: -M would have iptables start a program"),
    (host("iptables: '-A INPUT \"-vM/bin/sh\"'"), ":4:15: -vM would have iptables start a program"),
    (host("iptables: '-A INPUT --modp=/bin/sh'"), ":4:15: --modp would have iptables start a program"),
    (host("queues: {a: ACCEPT}"), ":4:17: 'a' is not a whole number"),
    (host("queues: {65536: ACCEPT}"), ":4:21: 65536 is not from 0 to 65535"),
    (host("queues: {0: STOLEN}"), ":4:17: 'STOLEN' is none of ACCEPT, DROP, REPEAT, with or without a mark"),
    (host("queues: {0: ACCEPT 1}"), ":4:17: 'ACCEPT 1' is none of ACCEPT, DROP, REPEAT"),
    (host("queues: {0: ACCEPT mark x}"), ":4:17: 'x' is not a whole number"),
    (host("queues: {0: REPEAT}"), ":4:17: REPEAT without a mark asks the same rule again and again"),
    (host("conntrack: maybe"), ":4:16: conntrack: 'maybe' is neither 'auto' nor 'on'"),
    (host("routes: default"), ":4:13: a list is expected here, not 'default'"),
    (host("routes: [default via nowhere]"), ":4:14: "),
    (host("rules: [fwmark x table 5]"), ":4:13: "),
    (host("sysctls: {net.ipv4.ip_forwrd: 1}"), ":4:35: unknown sysctl 'net.ipv4.ip_forwrd'; did you mean"),
    (host("sysctls: {net.ipv4.ip_forward: on}"), ":4:36: 'on' is not a whole number"),
    (host("sysctls: {net.ipv4.ip_default_ttl: 0}"), ":4:40: net.ipv4.ip_default_ttl: 0 is not between 1 and 255"),
    (host("listen: [tcp/0]"), ":4:14: 'tcp/0' is not a socket like tcp/80 or udp/53"),
    (host("listen: [tcp/80, tcp/80]"), ":4:22: tcp/80 is here twice"),
    (host("mtu: {e9: 1500}"), ":4:11: unknown key 'e9' (known here: e0)"),
    (host("mtu: {e0: 67}"), ":4:15: 67 is not from 68 to 65535"),
    ("hosts: {r: {interfaces: {lo: 10.0.0.1/24}}}", ":1:30: 'lo' is no name for an interface"),
    ("hosts: {r: {interfaces: {e: 10.0.0.1/33}}}", ":1:29: '10.0.0.1/33': '33' is neither a prefix length"),
    ("hosts: {r: {interfaces: {e: [10.0.0.1/24, 10.0.0.1/24]}}}", ":1:29: 10.0.0.1 is an address of r:e already"),
    ("hosts: {r: {interfaces: {e: 10.0.0.1/24, f: 10.0.0.1/8}}}", ":1:45: 10.0.0.1 is an address of r:e already"),
    ("hosts:\n  r: {interfaces: {e: 10.0.0.1}}\n  s: {interfaces: {f: 10.0.0.1}}",
     ":3:23: 10.0.0.1 is an address of r:e already"),
    # links
    (LINKED + "links: [[a:e]]", ":4:9: a link has two ends, not 1"),
    (LINKED + "links: [a:e]", ":4:9: a list is expected here, not 'a:e'"),
    (LINKED + 'links: [["a:e", "c:e"]]', ":4:17: unknown host 'c' (the hosts are a, b)"),
    (LINKED + 'links: [["a:e", "b:f"]]', ":4:17: unknown interface 'f' of host b (it has e)"),
    (LINKED + 'links: [["a:e", "b"]]', ":4:17: 'b' is not HOST:INTERFACE"),
    (LINKED + 'links: [["a:e", "a:e"]]', ":4:17: a:e is on a link already"),
    (LINKED + 'links: [["a:e", "b:e"]]\nsteps: [packet: {into: "a:e", ' + UDP + "}]",
     ":5:17: a:e is on a link: packets come in only by an open interface"),
    # steps
    (ROUTER + "steps: {}", ":3:8: a list is expected here, not a mapping"),
    (ROUTER + "steps: [run: ls]", ":3:14: a mapping is expected here, not 'ls'"),
    (ROUTER + "steps: [run: {host: r}]", ":3:14: a command needs the key 'command'"),
    (ROUTER + "steps: [run: {host: s, command: ip}]", ":3:21: unknown host 's' (the hosts are r)"),
    (ROUTER + "steps: [run: {host: r, command: ls}]", ":3:33: unknown command 'ls' (a host has conntrack, ip,"),
    (ROUTER + "steps: [run: {host: r, command: 'ip netns exec x ls'}]", ":3:33: 'ip netns exec x ls': of ip, hosts"),
    (ROUTER + "steps: [run: {host: r, command: \"iptables -A '\"}]", ":3:33: \"iptables -A '\": no closing quotation"),
    (ROUTER + "steps: [run: {host: r, command: iptables -M x -L}]", ":3:33: iptables -M: a scenario's commands"),
    (ROUTER + "steps: [run: {host: r, command: ipset save -f /tmp/x}]", ":3:33: ipset -f: a scenario's commands"),
    (ROUTER + "steps: [run: {host: r, command: sysctl net.ipv4.ip_forward}]", ":3:33: 'sysctl net.ipv4"),
    (ROUTER + "steps: [run: {host: r, command: sysctl -w a=b}]", ":3:33: sysctl: 'a=b' is not NAME=NUMBER"),
    (ROUTER + "steps: [wait: 3]", ":3:9: unknown key 'wait' (known here: packet, advance, run)"),
    (ROUTER + "steps: [{}]", ":3:9: a step is one of 'packet', 'advance' and 'run'"),
    (ROUTER + "steps: [{advance: 1, packet: {}}]", ":3:9: a step is one of 'packet', 'advance' and 'run'"),
    (ROUTER + "steps: [advance: -1]", ":3:18: '-1' is not a number of seconds"),
    (ROUTER + "steps: [advance: nan]", ":3:18: 'nan' is not a number of seconds"),
    (ROUTER + "steps: [advance: soon]", ":3:18: 'soon' is not a number of seconds"),
    # packets
    (step(UDP), ":4:13: a packet needs one of 'into' (an open interface) and 'from' (a host)"),
    (step("into: 'r:e0', from: r, " + UDP), ":4:13: a packet needs one of"),
    (step("from: s, " + UDP), ":4:20: unknown host 's' (the hosts are r)"),
    (step("into: r, " + UDP), ":4:20: 'r' is not HOST:INTERFACE"),
    (step("into: 'r:e7', " + UDP), ":4:20: unknown interface 'e7' of host r (it has e0, e1)"),
    (step("into: 'r:e0', dst: 1.1.1.1, proto: udp"), ":4:13: a packet needs the field 'src'"),
    (step("from: r, proto: udp"), ":4:13: a packet needs the field 'dst'"),
    (step("from: r, dst: 1.1.1.1"), ":4:13: a packet needs the field 'proto'"),
    (step("from: r, colour: red, " + UDP), ":4:23: a packet has no field 'colour' (known: src, dst,"),
    (step("from: r, src: 1.1.1, dst: 2.2.2.2, proto: udp"), ":4:28: '1.1.1' is not an IPv4 address"),
    (step("from: r, dst: 2.2.2.2, proto: tpc"), ":4:44: unknown protocol 'tpc'"),
    (step("from: r, ttl: 1e3, " + UDP), ":4:28: '1e3' is not a whole number"),
    (step("from: r, df: maybe, " + UDP), ":4:27: 'maybe' is neither true nor false"),
    (step("from: r, ttl: 256, " + UDP), ":4:13: ttl: 256 is not a number from 0 to 255"),
    (step("from: r, sport: 65536, " + UDP), ":4:13: sport: 65536 is not a number from 0 to 65535"),
    (step("from: r, flags: S, " + UDP), ":4:13: a packet of protocol 17 has no field 'flags'"),
    (step("from: r, dst: 2.2.2.2, proto: tcp, flags: X"), ":4:13: flags: 'X' in 'X' is none of FSRPAUEC"),
    (step("from: r, frag_offset: 7, dst: 2.2.2.2, proto: 99"), ":4:13: frag_offset: 7 is not a multiple of 8"),
    (step("from: r, frag_offset: 8, sport: 1, " + UDP), ":4:13: a later fragment has no field 'sport'"),
    (step("from: r, payload: a, payload_hex: '00', " + UDP), ":4:13: 'payload' and 'payload_hex' cannot both"),
    (step("from: r, payload_hex: xyz, " + UDP), ":4:36: 'xyz' is not pairs of hexadecimal digits"),
    (step("from: r, checksum: wrong, " + UDP), ":4:33: 'wrong' is none of good, bad_ip, bad_l4"),
    (step("from: r, checksum: bad_l4, dst: 2.2.2.2, proto: 99"), ":4:13: checksum: protocol 99 has no transport"),
    (step("from: r, hex: '45', dst: 2.2.2.2"), ":4:39: 'dst' and 'hex' cannot both be given"),
    (step("from: r, hex: '4'"), ":4:28: '4' is not pairs of hexadecimal digits"),
    (step("from: r, hex: '45'"), ":4:13: no process can send this: header: 1 bytes"),
    (step("into: 'r:e0', hex: '" + "00" * 1501 + "'"), ":4:13: 1501 bytes do not fit the mtu of 1500 of r:e0"),
    (step("into: [], " + UDP), ":4:20: text is expected here, not a list"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_names_line_and_column(text: str, problem: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        loads(text, "my.yaml")
    assert str(refused.value).startswith(f"my.yaml{problem}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file or directory"), (b"\xff\xfe", "not UTF-8 text"), ("directory", "Is a directory")],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: Any, problem: str) -> None:
    file = tmp_path / "my.yaml"
    if content == "directory":
        file.mkdir()
    elif content:
        file.write_bytes(content)
    with pytest.raises(ScenarioError) as refused:
        load(file)
    assert str(refused.value) == f"{file}: {problem}"


@given(st.text(alphabet="{}[]:,-&*!|>'\"%@` \n#ahostsrlink0123.", max_size=60))
def test_any_text_is_a_scenario_or_refused_in_one_line(text: str) -> None:
    try:
        loads(text)
    except ScenarioError as refused:
        message = str(refused)
    else:
        return
    assert message.startswith("scenario:")
    assert "\n" not in message


TREES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["hosts", "links", "steps", "r", "interfaces", "packet", "from", "e"]), inner)
    ),
    max_leaves=8,
)


@given(TREES)
def test_any_structure_is_a_scenario_or_refused(structure: Any) -> None:
    try:
        scenario = from_dict(structure)
    except ScenarioError:
        return
    assert scenario.hosts


# ---------------------------------------------------------------- rules

RULES = """\
hosts:
  router:
    interfaces: {eth0: 10.0.1.1/24}
    ipsets: |
      create friends hash:ip
      add friends 10.0.1.2
    iptables: |

      *filter
      :INPUT DROP [0:0]
      -A INPUT -m set --match-set friends src -j NFQUEUE --queue-num 5
      COMMIT
    queues: {0: ACCEPT, 5: REPEAT mark 0x10, 6: DROP}
steps:
  - run: {host: router, command: "iptables -A INPUT -j ACCEPT"}
"""


def test_rules_sets_queues_and_commands() -> None:
    scenario = loads(RULES)
    router = scenario.hosts["router"]
    assert router.ipsets == "create friends hash:ip\nadd friends 10.0.1.2\n"
    assert router.iptables.splitlines()[2] == ":INPUT DROP [0:0]"
    assert router.queues == {
        0: QueueAnswer(Verdict.ACCEPT),
        5: QueueAnswer(Verdict.REPEAT, 16),
        6: QueueAnswer(Verdict.DROP),
    }
    assert scenario.steps == (RunStep("router", "iptables -A INPUT -j ACCEPT"),)
    assert scenario.steps[0].title == "router# iptables -A INPUT -j ACCEPT"
    assert loads(to_yaml(scenario)) == scenario


def test_where_the_text_of_rules_begins_in_the_file() -> None:
    places = loads(RULES).hosts["router"].places
    assert places == {"ipsets": (5, 7), "iptables": (8, 7)}
    assert RULES.splitlines()[places["iptables"][0] + 1][places["iptables"][1] - 1 :] == ":INPUT DROP [0:0]"
    quoted = loads("hosts: {r: {iptables: '*filter'}}").hosts["r"]
    assert (quoted.iptables, quoted.places) == ("*filter", {})
    assert from_dict({"hosts": {"r": {"iptables": "*filter"}}}).hosts["r"] == quoted


def test_a_scenario_shows_what_there_is_and_what_happens() -> None:
    scenario = loads(
        'hosts:\n  a: {interfaces: {eth0: 10.0.0.1/24}, iptables: "*filter\\nCOMMIT"}\n'
        "  b: {interfaces: {eth0: 10.0.0.2/24}}\n"
        'links: [["a:eth0", "b:eth0"]]\nsteps: [{advance: 5}]\n'
    )
    assert repr(scenario) == "<Scenario scenario: a, b; 1 steps>"
    assert str(scenario).splitlines() == [
        "scenario",
        "a: eth0 10.0.0.1/24; 2 lines of iptables",
        "b: eth0 10.0.0.2/24",
        "a:eth0 - b:eth0",
        "step 0: advance 5 s",
    ]
    assert "a:eth0 - b:eth0" in scenario._repr_html_()


@pytest.mark.parametrize("text", [None, b"hosts: {}", 5])
def test_what_is_no_text_is_no_scenario(text: Any) -> None:
    with pytest.raises(ScenarioError, match="YAML text"):
        loads(text)
