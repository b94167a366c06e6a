"""TCP in conntrack: the table as the kernel was measured to have it, and the windows."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab import Host, Packet, simulate
from netlab.conntrack.tcp_table import TABLE, Kind, kind_of, well_formed
from netlab.conntrack.tcp_window import is_before
from netlab.conntrack.tuples import Direction
from netlab.kernel.fuzz.transitions import ALL, CELLS, UNREACHABLE, Cell, name_of, summary
from netlab.names import TcpState
from netlab.packet import Tcp
from tests.conntrack_cells import OPENING, REACHABLE, measured, outcome, router, same, scenario_of, segments

WRAP = 0xFFFFFFFF
MEASURED = measured()


# ---------------------------------------------------------------- the table


def test_the_table_is_whole() -> None:
    for direction in Direction:
        assert TABLE[direction].keys() == {(kind, state) for kind in Kind for state in TcpState}
    assert len(ALL) == 120
    assert len(REACHABLE) == 95


def test_every_reachable_cell_has_been_measured() -> None:
    assert MEASURED.keys() == {name_of(cell) for cell in REACHABLE}


@pytest.mark.parametrize("cell", REACHABLE, ids=name_of)
def test_a_cell_is_what_the_kernel_does(cell: Cell) -> None:
    found = outcome(cell, simulate.run(scenario_of(cell)).to_json())
    assert same(found, MEASURED[name_of(cell)]), f"simulator: {found}\nkernel:    {MEASURED[name_of(cell)]}"


@pytest.mark.parametrize("flags", range(256))
def test_segments_without_the_four_flags_never_reach_the_table(flags: int) -> None:
    """The check that keeps 20 cells out of reach."""
    segment = (
        Packet.tcp("10.0.1.2", "10.0.2.2", 1, 2, "")
        ._replace(payload=bytes([0, 1, 0, 2, *[0] * 8, 0x50, flags, *[0] * 6]))
        .l4
    )
    assert isinstance(segment, Tcp)
    assert not (well_formed(segment) and kind_of(segment.flags) is Kind.NONE)


def test_an_entry_never_stays_in_none() -> None:
    """The check that keeps 5 cells out of reach: what begins a connection leads out of NONE."""
    begins = [TABLE[Direction.ORIGINAL][kind, TcpState.NONE] for kind in Kind]
    assert TcpState.NONE not in begins
    assert {cell for cell in UNREACHABLE if cell[0] is Direction.REPLY and cell[1] is not Kind.NONE} == {
        (Direction.REPLY, kind, TcpState.NONE) for kind in Kind if kind is not Kind.NONE
    }


def test_the_summary_names_what_was_missed() -> None:
    missed = REACHABLE[7]
    text = summary({(CELLS, name_of(cell)): 1 for cell in REACHABLE if cell != missed})
    assert text.startswith(f"cells of TCP's table: 94 of 95 reached, not {name_of(missed)}\n")
    assert "20 more cannot be: a segment without" in text
    assert "5 more cannot be: only an entry" in text


# ---------------------------------------------------------------- windows


class Talk:
    """A connection through a tracking router, said segment by segment."""

    def __init__(self, shift: int = 0, **sysctls: int) -> None:
        names = {f"net.netfilter.nf_conntrack_{name}": value for name, value in sysctls.items()}
        self.host = Host(
            "router",
            {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"},
            sysctls={"net.ipv4.ip_forward": 1, **names},
            conntrack="on",
        )
        self.shift = shift

    def say(self, side: int, flags: str, seq: int, ack: int = 0, length: int = 0, **fields: Any) -> str | None:
        """One segment, as --ctstate has it."""
        ends, ports = ("10.0.1.2", "10.0.2.2")[:: 1 - 2 * side], (4000, 80)[:: 1 - 2 * side]
        ack = ack + self.shift & WRAP if "A" in flags else 0
        packet = Packet.tcp(*ends, *ports, flags, seq=seq + self.shift & WRAP, ack=ack, payload=bytes(length), **fields)
        return self.host.receive(f"eth{side}", packet).path[0].state

    def open(self, window: int = 65535, options: tuple[bytes, bytes] = (b"", b"")) -> "Talk":
        """The handshake: the client counts from 100, the server from 500."""
        self.say(0, "S", 100, window=window, tcp_options=options[0])
        self.say(1, "SA", 500, 101, window=window, tcp_options=options[1])
        self.say(0, "A", 101, 501, window=window)
        self.say(1, "A", 501, 101, window=window)
        return self

    @property
    def entry(self) -> Any:
        (entry,) = self.host.conntrack.table if self.host.conntrack else ()
        return entry


def scale(shift: int) -> bytes:
    return bytes([3, 3, shift, 1])


@pytest.mark.parametrize(
    ("seq", "length", "state"),
    [
        (101, 1000, "ESTABLISHED"),  # all that the window takes
        (1100, 1, "ESTABLISHED"),  # its last byte
        (1102, 1, "ESTABLISHED"),  # a little beyond it: tolerated, up to one window more
        (2102, 1, "INVALID"),
        (100, 1, "ESTABLISHED"),  # a keepalive
        (101 - 70000, 1, "ESTABLISHED"),  # old: passes, and teaches nothing
        (101 + (1 << 31), 1, "INVALID"),
    ],
)
def test_data_must_fit_what_the_receiver_takes(seq: int, length: int, state: str) -> None:
    assert Talk().open(1000).say(0, "PA", seq, 501, length) == state


@pytest.mark.parametrize(
    ("ack", "state"),
    [
        (501, "ESTABLISHED"),
        (502, "INVALID"),  # of what nobody sent
        (501 - 65000, "ESTABLISHED"),
        (501 - 66001, "ESTABLISHED"),
        (501 + (1 << 31), "INVALID"),
    ],
)
def test_an_acknowledgement_must_be_for_what_was_sent(ack: int, state: str) -> None:
    assert Talk().open().say(0, "A", 101, ack) == state


def test_liberal_lets_all_data_pass() -> None:
    assert Talk(tcp_be_liberal=1).open(1000).say(0, "PA", 900000, 501, 5) == "ESTABLISHED"


@pytest.mark.parametrize(
    ("scales", "reach"),
    [
        ((7, 7), 1000 << 7),
        ((14, 14), 1000 << 14),
        ((15, 15), 1000 << 14),
        ((7, None), 1000),
        ((None, 7), 1000),
        ((0, 0), 1000),
    ],
)
def test_windows_are_scaled_if_both_sides_say_so(scales: tuple[int | None, int | None], reach: int) -> None:
    first, second = (b"" if shift is None else scale(shift) for shift in scales)
    for beyond, state in ((0, "ESTABLISHED"), (2 * reach + 10, "INVALID")):
        talk = Talk().open(1000, (first, second))
        assert talk.say(0, "PA", 101 + beyond + (reach - 1 if not beyond else 0), 501, 1) == state


def test_a_reset_must_stand_exactly_where_the_acknowledgements_have_come_to() -> None:
    for seq, after in ((101, TcpState.CLOSE), (600, TcpState.ESTABLISHED)):
        talk = Talk().open()
        assert talk.say(0, "R", seq) == "ESTABLISHED"
        assert talk.entry.protocol.state is after
    assert Talk().open().say(0, "R", 50) == "INVALID"
    assert Talk(tcp_ignore_invalid_rst=1).open().say(0, "R", 50) == "ESTABLISHED"


SEGMENT = st.tuples(
    st.sampled_from((0, 1)),
    st.sampled_from(("S", "SA", "A", "PA", "FA", "R", "RA")),
    st.sampled_from((99, 100, 101, 106, 500, 501, 506, 1101, 70000, 1 << 31)),
    st.sampled_from((100, 101, 106, 501, 506, 70000)),
    st.sampled_from((0, 0, 5, 1000)),
    st.sampled_from((0, 1, 1000, 65535)),
)


@given(st.lists(SEGMENT, max_size=8), st.integers(1, WRAP))
def test_only_differences_of_sequence_numbers_count(said: list[Any], shift: int) -> None:
    """Numbers go round at 2**32: the same conversation anywhere on the circle is the same.

    A reset's sequence or acknowledgement number of 0 is a special case, so resets stay out of it.
    """
    here, there = Talk().open(), Talk(shift).open()
    for side, flags, seq, ack, length, window in said:
        if "R" not in flags:
            assert here.say(side, flags, seq, ack, length, window=window) == there.say(
                side, flags, seq, ack, length, window=window
            )
    assert here.entry.protocol.state is there.entry.protocol.state
    assert (here.entry.status, here.entry.expires) == (there.entry.status, there.entry.expires)


@given(st.lists(SEGMENT, max_size=8))
def test_liberal_lets_every_plain_segment_of_a_connection_pass(said: list[Any]) -> None:
    talk = Talk(tcp_be_liberal=1).open()
    for side, flags, seq, ack, length, window in said:
        if flags in ("A", "PA"):
            assert talk.say(side, flags, seq, ack, length, window=window) == "ESTABLISHED"


@given(st.integers(0, WRAP), st.integers(0, WRAP))
def test_before_is_an_order_on_half_the_circle(one: int, other: int) -> None:
    assert not is_before(one, one)
    if one != other and (one - other) & WRAP != 1 << 31:
        assert is_before(one, other) != is_before(other, one)


@given(st.binary(max_size=60), st.integers(0, 1))
def test_no_bytes_bring_the_tracker_down(data: bytes, side: int) -> None:
    talk = Talk().open()
    packet = Packet.ip("10.0.1.2", "10.0.2.2", 6, (4000).to_bytes(2, "big") + (80).to_bytes(2, "big") + data)
    assert talk.host.receive("eth0", packet).path[0].state in ("ESTABLISHED", "INVALID")


@given(st.binary(max_size=40))
def test_no_options_bring_the_tracker_down(options: bytes) -> None:
    options = options[: len(options) & ~3]
    talk = Talk()
    assert talk.say(0, "S", 100, tcp_options=options) == "NEW"
    assert talk.say(1, "SA", 500, 101, tcp_options=options) == "ESTABLISHED"
    assert talk.say(0, "A", 101, 501, tcp_options=options) in ("ESTABLISHED", "INVALID")


def test_the_same_segment_again_and_again_lowers_the_timeout() -> None:
    steps = list(segments(*OPENING)) + list(segments(*OPENING))[-1:] * 3
    trace = simulate.run(router(steps, tcp_max_retrans=3)).to_json()
    assert " 300 ESTABLISHED" in trace["conntrack"]["router"][0]
    trace = simulate.run(router(steps[:-1], tcp_max_retrans=3)).to_json()
    assert " 432000 ESTABLISHED" in trace["conntrack"]["router"][0]
