"""No bytes make connection tracking raise; the longer run is `python -m benchmarks.fuzz_conntrack`."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.fuzz_conntrack import conversation, one_input
from netlab.host import Host
from netlab.names import CtState
from netlab.packet import Packet
from tests.conftest import CI

ROOT = Path(__file__).resolve().parent.parent
C, S = "10.0.1.2", "10.0.2.2"


@given(st.binary(max_size=400))
@example(b"")
def test_no_conversation_of_random_bytes_raises(data: bytes) -> None:
    one_input(data)


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """TCP of two ends whose header fields are random, so that more of them pass the first checks."""
    parts = []
    for _ in range(draw(st.integers(1, 12))):
        side, flags = draw(st.integers(0, 1)), draw(st.integers(0, 63))
        seq, ack = draw(st.integers(0, 300)), draw(st.integers(0, 300))
        options = draw(st.binary(max_size=8))
        options += bytes(-len(options) % 4)
        words = seq.to_bytes(4, "big") + ack.to_bytes(4, "big") + bytes([(20 + len(options)) << 2, flags])
        payload = words + draw(st.binary(min_size=2, max_size=2)) + bytes(4) + options + draw(st.binary(max_size=20))
        parts.append(bytes([0x40 | side, len(payload)]) + payload)
    return b"".join(parts)


@given(conversations())
def test_no_conversation_of_random_segments_raises(data: bytes) -> None:
    assert all(isinstance(packet, Packet) and packet.flags is not None for _, packet in conversation(data))
    one_input(data)


def state_of(*packets: Packet) -> CtState | None:
    router = Host("r", {"r0": "10.0.1.1/24", "r1": "10.0.2.1/24"}, sysctls={"net.ipv4.ip_forward": 1}, conntrack="on")
    return [router.receive("r0", packet) for packet in packets][-1].path[0].state


@pytest.mark.parametrize(
    ("packet", "state"),
    [
        (Packet.ip(C, S, 6, bytes(19)), CtState.INVALID),
        (Packet.ip(C, S, 1, b"\x08\0\0"), CtState.INVALID),
        (Packet.tcp(C, S, 1, 80, "SF"), CtState.INVALID),
        (Packet.tcp(C, S, 1, 80, "FSRPAU"), CtState.INVALID),
        (Packet.tcp(C, S, 0, 0, "S"), CtState.NEW),
        (Packet.udp(C, S, 0, 0), CtState.NEW),
        (Packet.tcp(C, S, 4000, 80, "PA", seq=77, ack=99, payload="mid-flow"), CtState.NEW),
        (Packet.from_bytes(Packet.tcp(C, S, 1, 80, "S").to_bytes()[:-1] + b"!"), CtState.INVALID),
    ],
)
def test_bad_input_gets_the_state_that_the_kernel_gives(packet: Packet, state: CtState) -> None:
    assert state_of(packet) is state


SAMPLE, WHOLE = 20_000, 1_000_000
"""Inputs: in `make test`, and in `make full`, which takes some minutes for them."""


@pytest.mark.timeout(3600)
def test_no_input_that_is_steered_by_what_it_reaches_raises(seed: int, whole: bool, tmp_path: Path) -> None:
    if not find_spec("atheris"):
        (pytest.fail if CI else pytest.skip)("atheris is not installed here: make setup")
    runs = WHOLE if whole else SAMPLE
    command = [sys.executable, "-m", "benchmarks.fuzz_conntrack", f"-runs={runs}", f"-seed={seed or 1}"]
    command.append(f"-artifact_prefix={tmp_path}/")  # an input that fails is written there
    ran = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    failed = [file.read_bytes() for file in tmp_path.iterdir()]
    assert ran.returncode == 0, f"{failed}\n{ran.stderr[-2000:]}"
    assert f"Done {runs} runs" in ran.stderr
