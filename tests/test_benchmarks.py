"""The benchmarks run, and the engine is about as fast as it has to be."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import engine, make_capture, rules
from netlab.host import Host
from netlab.packet import Packet
from netlab.replay import Capture

ROOT = Path(__file__).resolve().parent.parent
SLACK = 0.8
"""Under the tests' load a ratio swings by some per cent; a real regression is worse than that."""


def test_the_capture_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        make_capture.write(tmp_path / name, make_capture.traffic(2000, seed))
    one, same, other = ((tmp_path / name).read_bytes() for name in ("one", "same", "other"))
    assert one == same != other


def test_the_capture_holds_whole_packets_of_every_kind(tmp_path: Path) -> None:
    make_capture.main([str(tmp_path / "some.pcap"), "--packets", "5000"])
    frames = list(Capture(tmp_path / "some.pcap"))
    packets = [Packet.from_bytes(frame.data) for frame in frames]
    assert len(packets) == 5000
    assert all(packet.checksum is None and packet.checksum_ok() for packet in packets)
    assert [frame.time for frame in frames] == sorted(frame.time for frame in frames)
    kinds = Counter(packet.proto for packet in packets)
    assert kinds.keys() == {1, 6, 17}
    sources_of_syns = Counter(packet.src for packet in packets if packet.flags == "S")
    assert len(sources_of_syns) > 100  # those of the flood are made up
    assert all(packet.src.startswith(("10.1.", "10.2.")) for packet in packets)


def test_the_benchmark_prints_rates_and_ratios() -> None:
    command = [sys.executable, "-m", "benchmarks.engine", "--packets", "1200", "--chunk", "300"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    rows = dict(re.findall(r"^(\S.*?) +[\d,]+ +([\d.]+)", ran.stdout, re.MULTILINE))
    assert list(rows) == [contender.name for contender in engine.CONTENDERS]
    scapy, traced, untraced = map(float, rows.values())
    assert scapy == 1
    assert 1 < traced < untraced


def test_the_benchmark_of_rules_prints_rates_and_ratios() -> None:
    command = [sys.executable, "-m", "benchmarks.rules", "--packets", "600", "--chunk", "300"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    rows = dict(re.findall(r"^(\S.*?) +[\d,]+ +([\d.]+)", ran.stdout, re.MULTILINE))
    assert list(rows) == [contender.name for contender in rules.CONTENDERS]
    assert all(float(ratio) > 1 for ratio in list(rows.values())[1:])


@pytest.mark.parametrize("count", [rules.FEW, rules.MANY])
@pytest.mark.parametrize("text", [rules.usual_rules, rules.ports_first])
def test_the_rules_measured_are_as_many_as_is_said_and_all_packets_pass(
    tmp_path: Path, text: Callable[[int], str], count: int
) -> None:
    router = Host("router", iptables=text(count))
    assert len(router.firewall.ruleset.tables["filter"].chains["FORWARD"].rules) == count
    make_capture.main([str(tmp_path / "some.pcap"), "--packets", "1000"])
    assert next(engine.forwarded(tmp_path / "some.pcap", 1000, iptables=text(count))) == 1000


def test_too_few_packets_are_refused() -> None:
    with pytest.raises(SystemExit):
        engine.main(["--packets", "100"])


@pytest.mark.slow
def test_the_engine_is_as_many_times_as_fast_as_scapy_as_it_has_to_be(tmp_path: Path) -> None:
    capture = tmp_path / "some.pcap"
    make_capture.write(capture, make_capture.traffic(make_capture.PACKETS, make_capture.SEED))
    found = engine.ratios(engine.measure(capture, make_capture.PACKETS, engine.CHUNK))
    for name, _, wanted in engine.CONTENDERS:
        assert wanted is None or found[name] >= SLACK * wanted, f"{name}: {found[name]:.1f} times as fast as scapy"


@pytest.mark.slow
def test_a_thousand_rules_take_little_longer_than_twenty(tmp_path: Path) -> None:
    capture = tmp_path / "some.pcap"
    make_capture.write(capture, make_capture.traffic(12_000, make_capture.SEED))
    contenders = rules.CONTENDERS[1:]
    found = engine.ratios(engine.measure(capture, 12_000, 2000, contenders))
    for contender in contenders:
        assert found[contender.name] >= SLACK / rules.SLOWER, f"{contender.name}: {found[contender.name]:.2f}"
