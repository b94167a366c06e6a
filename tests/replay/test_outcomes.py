"""Captures sent through a simulated host: the way in, what became of the packets, and how it is told."""

import json
import os
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from netlab import datasets
from netlab.__main__ import main
from netlab.host import Host
from netlab.names import Hook, NetlabError, Verdict
from netlab.packet import Packet
from netlab.replay import Capture, Outcome, Outcomes, replay
from netlab.topology import Network
from tests.replay.files import ETHERNET_IPV4, Record, ethernet, pcap

ROUTER = datasets.path("captures/router.yaml")


@pytest.fixture
def net() -> Network:
    """A client on a link, a router, and the outside world on two other interfaces of it."""
    net = Network()
    net.host("client", {"eth0": "10.0.3.2/24"}, routes=["default via 10.0.3.1"], listen=["udp/53"])
    net.host(
        "router",
        {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24", "eth2": "10.0.3.1/24"},
        sysctls={"net.ipv4.ip_forward": 1},
        listen=["udp/53"],
        mtu={"eth1": 1000},
    )
    net.link("client:eth0", "router:eth2")
    return net


@pytest.fixture
def router(net: Network) -> Host:
    return net.hosts["router"]


def udp(src: str, dst: str, **fields: int | bool | bytes) -> Packet:
    return Packet.udp(src, dst, 5000, 53, b"hello").with_(**fields)


def capture_of(folder: Path, *packets: Packet, pace: float = 0.1) -> Capture:
    records: list[Record] = [
        (1000 + pace * number, ETHERNET_IPV4 + packet.to_bytes()) for number, packet in enumerate(packets)
    ]
    file = folder / "some.pcap"
    file.write_bytes(pcap(records))
    return Capture(file)


def outcomes_of(net: Network, folder: Path, *packets: Packet, into: str | None = None, pace: float = 0.1) -> Outcomes:
    return replay(capture_of(folder, *packets, pace=pace), net, net.hosts["router"], into)


@pytest.mark.parametrize(
    ("packet", "outcome"),
    [
        (udp("10.0.1.2", "10.0.2.2"), Outcome("forwarded by", "eth1")),
        (udp("10.0.2.2", "10.0.1.2"), Outcome("forwarded by", "eth0")),
        (udp("10.0.1.2", "10.0.3.2"), Outcome("forwarded by", "eth2")),
        (udp("10.0.1.2", "10.0.1.1"), Outcome("delivered to", "udp/53")),
        (udp("10.0.1.2", "10.0.2.2", ttl=1), Outcome("dropped", "IP_INHDR")),
        (udp("10.0.1.2", "10.9.9.9"), Outcome("dropped", "IP_INNOROUTES")),
        (udp("10.0.1.2", "10.0.2.2", checksum=1), Outcome("dropped", "IP_CSUM")),
        (udp("10.0.1.2", "10.0.2.2", payload=bytes(1400)), Outcome("forwarded by", "eth1")),
        (udp("10.0.1.2", "10.0.2.2", payload=bytes(1400), df=True), Outcome("dropped", "PKT_TOO_BIG")),
        (udp("10.0.1.2", "10.0.1.1", mf=True), Outcome("noted", "kept until the other fragments come")),
        (udp("10.0.1.1", "10.0.2.2"), Outcome("sent by", "eth1")),
        (udp("10.0.1.1", "10.0.2.1"), Outcome("delivered to", "udp/53")),
        (udp("10.0.1.1", "10.9.9.9"), Outcome("refused", "ENETUNREACH")),
    ],
)
def test_outcomes(net: Network, tmp_path: Path, packet: Packet, outcome: Outcome) -> None:
    outcomes = outcomes_of(net, tmp_path, packet)
    assert outcomes.packets == {outcome: 1}
    assert outcomes.first[outcome].frame == 1
    assert outcomes.first[outcome].packet == str(packet)
    assert str(outcome) in str(outcomes)


@pytest.mark.parametrize(
    ("hook", "verdict", "outcome"),
    [
        (Hook.FORWARD, Verdict.DROP, Outcome("dropped", "NETFILTER_DROP")),
        (Hook.PRE_ROUTING, Verdict.STOLEN, Outcome("stolen", "on PRE_ROUTING")),
        (Hook.POST_ROUTING, Verdict.QUEUE, Outcome("dropped", "NOT_SPECIFIED")),
    ],
)
def test_verdicts(net: Network, router: Host, tmp_path: Path, hook: Hook, verdict: Verdict, outcome: Outcome) -> None:
    router.register(hook, lambda packet, state: verdict)
    assert outcomes_of(net, tmp_path, udp("10.0.1.2", "10.0.2.2")).packets == {outcome: 1}


def test_a_queued_packet(net: Network, router: Host, tmp_path: Path) -> None:
    router.queue(0).bind()
    router.register(Hook.FORWARD, lambda packet, state: Verdict.QUEUE)
    (outcome,) = outcomes_of(net, tmp_path, udp("10.0.1.2", "10.0.2.2")).packets
    assert "queue 0" in str(outcome)


def test_errors_and_answers_of_the_host_are_counted_apart(net: Network, tmp_path: Path) -> None:
    outcomes = outcomes_of(
        net,
        tmp_path,
        udp("10.0.1.2", "10.0.2.2", ttl=1),
        udp("10.0.1.2", "10.0.1.1", dport=99),
        Packet.icmp("10.0.1.2", "10.0.1.1"),
    )
    assert outcomes.caused == {
        "icmp time-exceeded 11/0": 1, "icmp destination-unreachable 3/3": 1, "icmp echo-reply 0/0": 1,
    }  # fmt: skip


def test_time_passes_as_it_did_in_the_capture(net: Network, router: Host, tmp_path: Path) -> None:
    first = udp("10.0.1.2", "10.0.1.1", mf=True)
    outcomes = outcomes_of(net, tmp_path, first, udp("10.0.1.2", "10.0.2.2"), pace=31)
    assert outcomes.seconds == pytest.approx(31)
    assert net.wires.clock.now == pytest.approx(31)
    assert outcomes.caused["dropped: FRAG_REASM_TIMEOUT"] == 1
    assert outcomes.caused["icmp time-exceeded 11/1"] == 1


def test_every_packet_by_the_interface_that_was_named(net: Network, tmp_path: Path) -> None:
    packets = udp("10.0.1.2", "10.0.2.2"), udp("10.0.2.2", "10.0.1.2"), udp("10.0.1.1", "10.0.2.2")
    outcomes = outcomes_of(net, tmp_path, *packets, into="eth0")
    assert outcomes.packets == {
        Outcome("forwarded by", "eth1"): 1, Outcome("forwarded by", "eth0"): 1,
        Outcome("dropped", "IP_LOCAL_SOURCE"): 1,
    }  # fmt: skip


@pytest.mark.parametrize("source", ["10.9.9.9", "10.0.3.2", "0.0.0.0"])
def test_no_open_interface_leads_back(net: Network, tmp_path: Path, source: str) -> None:
    outcomes = outcomes_of(net, tmp_path, udp(source, "10.0.2.2"))
    assert outcomes.skipped == {"no open interface leads back to the source; name one with --into": 1}


def test_the_only_open_interface_takes_everything(tmp_path: Path) -> None:
    net = Network()
    host = net.host("host", {"eth0": "10.0.1.1/24"})
    outcomes = replay(capture_of(tmp_path, udp("10.9.9.9", "10.0.1.1")), net, host)
    assert outcomes.packets == {Outcome("dropped", "NO_SOCKET"): 1}


@pytest.mark.parametrize(
    ("into", "problem"),
    [
        ("eth7", r"^--into: 'eth7' is unknown \(open interfaces of router: eth0, eth1\)$"),
        ("eth2", r"^--into: 'eth2' is on a link \(open interfaces of router: eth0, eth1\)$"),
    ],
)
def test_a_wrong_interface(net: Network, tmp_path: Path, into: str, problem: str) -> None:
    with pytest.raises(NetlabError, match=problem):
        outcomes_of(net, tmp_path, into=into)


def test_a_host_without_open_interfaces(net: Network, tmp_path: Path) -> None:
    with pytest.raises(NetlabError, match=r"^host client has no open interface"):
        replay(capture_of(tmp_path), net, net.hosts["client"])


def test_malformed_packets(net: Network, tmp_path: Path) -> None:
    theirs, mine = udp("10.0.1.2", "10.0.2.2").to_bytes()[:-1], b"\x4f" + udp("10.0.1.1", "10.0.2.2").to_bytes()[1:]
    file = tmp_path / "some.pcap"
    file.write_bytes(pcap([(0, ETHERNET_IPV4 + theirs), (0, ETHERNET_IPV4 + mine)]))
    outcomes = replay(Capture(file), net, net.hosts["router"])
    assert outcomes.packets == {Outcome("dropped", "PKT_TOO_SMALL"): 1}
    assert outcomes.skipped == {"sent by router, but malformed: header length": 1}


def test_a_broken_capture_is_replayed_as_far_as_it_goes(net: Network, tmp_path: Path) -> None:
    file = tmp_path / "some.pcap"
    file.write_bytes(pcap(ethernet(2))[:-1])
    outcomes = replay(Capture(file), net, net.hosts["router"])
    assert outcomes.packets.total() == 1
    assert "broken at byte 87" in str(outcomes.problem)


def test_shown_in_a_notebook(net: Network, tmp_path: Path) -> None:
    outcomes = outcomes_of(net, tmp_path, udp("10.0.1.2", "10.0.2.2"))
    html = outcomes._repr_html_()
    assert ">1</td>" in html
    assert ">forwarded by eth1</td>" in html
    assert "10.0.1.2:5000 &gt; 10.0.2.2:53" in html
    assert repr(outcomes) == "<Outcomes at router: 1 packets>"


# ---------------------------------------------------------------- the command


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(datasets.path("captures/traceroute.pcap")), "--on", f"{ROUTER}:router"]) == 0
    printed = capsys.readouterr()
    lines = [line.split() for line in printed.out.splitlines()]
    assert ["5", "dropped", "IP_INHDR"] in [line[:3] for line in lines]
    assert ["5", "icmp", "time-exceeded", "11/0"] in lines
    assert printed.err == ""


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(datasets.path("captures/ping.pcap")), "--on", f"{ROUTER}:router", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["host"] == "router"
    assert {(one["outcome"], one["detail"], one["packets"]) for one in told["outcomes"]} == {
        ("forwarded by", "eth1", 9), ("forwarded by", "eth0", 9),
        ("noted", "answered by the kernel", 1), ("sent by", "eth0", 1),
    }  # fmt: skip
    assert told["problem"] is None


def test_a_broken_file_is_reported_after_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "broken.pcap"
    file.write_bytes(datasets.path("captures/web.pcap").read_bytes()[:5000])
    assert main(["replay", str(file), "--on", f"{ROUTER}:router"]) != 0
    printed = capsys.readouterr()
    assert "forwarded by eth1" in printed.out
    assert printed.err.startswith(f"netlab: {file}: broken at byte ")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nothing.pcap", "--on", f"{ROUTER}:router"], "nothing.pcap: No such file or directory"),
        ([__file__, "--on", f"{ROUTER}:router"], "neither pcap nor pcapng: it starts with the bytes 22 22 22 43"),
        ([__file__, "--on", "router"], "--on: 'router' is not FILE.yaml:HOST"),
        ([__file__, "--on", f"{ROUTER}:"], "is not FILE.yaml:HOST"),
        ([__file__, "--on", f"{ROUTER}:gateway"], "unknown host 'gateway' (the hosts are router)"),
        ([__file__, "--on", "nothing.yaml:router"], "nothing.yaml: No such file or directory"),
        ([__file__, "--on", f"{ROUTER}:router", "--into", "eth9"], "--into: 'eth9' is unknown"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", *arguments]) != 0
    printed = capsys.readouterr()
    assert problem in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_no_progress_bar_where_nobody_watches() -> None:
    command = [sys.executable, "-m", "netlab", "replay", datasets.path("captures/web.pcap"), "--on", f"{ROUTER}:router"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "forwarded by eth1" in ran.stdout
    assert ran.stderr == ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
def test_a_long_replay_shows_how_far_it_is_on_a_terminal(tmp_path: Path) -> None:
    import fcntl
    import pty
    import termios

    (tmp_path / "long.pcap").write_bytes(pcap(ethernet(60_000)))
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [sys.executable, "-m", "netlab", "replay", tmp_path / "long.pcap", "--on", f"{ROUTER}:router"]
    with subprocess.Popen(command, stderr=terminal, stdout=subprocess.PIPE, text=True) as run:
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # the terminal is gone once the program is
            while read := os.read(ours, 4096):
                shown += read
        assert run.stdout is not None
        assert "60000 packets met router" in run.stdout.read()
    os.close(ours)
    assert "%|" in shown.decode()
