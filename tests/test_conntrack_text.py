"""Entries as text: what conntrack and /proc printed is read and printed again, byte by byte."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.conntrack.text import (
    ConntrackTextError,
    Line,
    explain,
    frame,
    line_of,
    parse_line,
    parse_lines,
    proc_line,
)  # fmt: skip
from netlab.conntrack.tuples import FlowTuple
from netlab.host import Host
from netlab.names import TcpState
from netlab.packet import Packet

PRINTED = [
    line
    for line in Path(__file__).with_name("conntrack_printed.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
TCP = (
    "tcp      6 431999 ESTABLISHED src=10.0.1.2 dst=10.0.1.1 sport=4000 dport=80 src=10.0.2.2 dst=10.0.2.1 "
    "sport=8080 dport=4000 [ASSURED] mark=0 use=1"
)


@pytest.mark.parametrize("line", PRINTED)
def test_what_was_printed_is_read_and_printed_again(line: str) -> None:
    assert str(parse_line(line)) == line


def test_all_forms_are_among_them() -> None:
    assert len(PRINTED) > 90
    for form in ("ipv4     2 tcp", "[NEW]", "[USERSPACE]", "packets=", "stream_timeout=", "helper=ftp", "srckey=0x0"):
        assert any(form in line for line in PRINTED), form


numbers = st.integers(0, 2**32 - 1)
ports = st.integers(0, 0xFFFF)


@st.composite
def lines(draw: st.DrawFn) -> Line:
    proto = draw(st.sampled_from([1, 6, 17, 47, 99, 136]))
    without_ports = proto == 99
    both = [
        FlowTuple(draw(numbers), draw(numbers), proto, *((0, 0) if without_ports else (draw(ports), draw(ports))))
        for _ in range(2)
    ]
    counted = st.tuples(numbers, numbers)
    return Line(
        proto,
        draw(st.none() | numbers),
        draw(st.sampled_from(TcpState)).name if proto == 6 else None,
        *both,
        draw(st.frozensets(st.sampled_from(["UNREPLIED", "ASSURED"]))),
        draw(st.dictionaries(st.sampled_from(["mark", "use", "id", "zone", "helper"]), numbers.map(str))),
        draw(st.none() | st.tuples(counted, counted)),
        draw(st.sampled_from(["", "ipv4     2 ", "    [NEW] ", "[1795424588.076407]\t [UPDATE] ipv4     2 "])),
    )


@given(lines())
def test_any_entry_is_printed_and_read_again(line: Line) -> None:
    assert parse_line(str(line)) == line


CUT_SHORT = st.builds(lambda line, at: line[:at], st.sampled_from(PRINTED), st.integers(0, 200))


@given(st.text(max_size=80) | CUT_SHORT)
def test_any_other_text_is_an_error_with_its_column(text: str) -> None:
    with suppress(ConntrackTextError):
        assert isinstance(parse_line(text), Line)
        return
    with pytest.raises(ConntrackTextError, match=r"^column \d+: "):
        parse_line(text)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("tcp 6 9 ESTABLISHED src=10.0.1.2 dst=10.0.1 sport=1", "column 34: '10.0.1' "),
        ("tcp      6 431999 ESTABLISCHED src=1.1.1.1", "column 19: 'ESTABLISCHED' is no TCP state"),
        ("udp      6 3 src=1.1.1.1", "column 1: protocol 6 is not 'udp'"),
        ("tcp      x", "column 10: 'x' is not a protocol's number"),
        ("tcp      6 5 CLOSE src=1.1.1.1 dst=2.2.2.2 sport=70000 dport=1", "column 44: sport=70000 is not a number"),
        ("tcp      6 5 CLOSE src=1.1.1.1 dst=2.2.2.2 dport=1", "column 44: sport= is expected, not 'dport=1'"),
        ("udp      17 29 src=1.1.1.1", "column 27: the line ends where dst= is expected"),
        (TCP + " rubbish", f"column {len(TCP) + 2}: 'rubbish' is no field"),
        ("", "column 1: the line ends where a protocol's name is expected"),
    ],
)
def test_a_broken_line_gives_its_column(line: str, problem: str) -> None:
    with pytest.raises(ConntrackTextError) as raised:
        parse_line(line)
    assert str(raised.value).startswith(problem)


def test_a_whole_output_is_read_and_a_broken_line_gives_its_number_too() -> None:
    summary = "conntrack v1.4.7 (conntrack-tools): 1 flow entries have been shown."
    assert [str(line) for line in parse_lines(f"{TCP}\n\n{summary}\n")] == [TCP]
    with pytest.raises(ConntrackTextError, match="line 2, column 8: the line ends"):
        parse_lines(f"{TCP}\nrubbish")


def test_a_frame_has_a_row_for_every_entry() -> None:
    table = frame(parse_lines("\n".join([TCP, *PRINTED])))
    assert len(table) == 1 + len(PRINTED)
    first = table.iloc[0]
    assert (first["proto"], first["state"], first["sport"], first["reply sport"]) == ("tcp", "ESTABLISHED", 4000, 8080)
    assert first["flags"] == "ASSURED"
    assert {"packets", "reply bytes", "type", "srckey"} <= set(table.columns)


def test_a_frame_of_nothing_has_its_columns() -> None:
    addresses = ["src", "dst", "sport", "dport"]
    assert list(frame([])) == [
        "proto",
        "timeout",
        "state",
        *addresses,
        *(f"reply {name}" for name in addresses),
        "flags",
    ]


def test_a_connection_over_ipv6_is_refused_by_its_name() -> None:
    v6 = (
        "ipv6     10 tcp      6 9 ESTABLISHED src=::1 dst=::1 sport=1 dport=2 src=::1 dst=::1 sport=2 dport=1 [ASSURED]"
    )
    with pytest.raises(ConntrackTextError, match=r"line 2, column 1: a connection over IPv6, which netlab leaves out"):
        parse_lines(f"{TCP}\n{v6}\n")


def test_every_field_is_explained() -> None:
    told = {name: (text, why) for name, text, why in explain(parse_line(TCP))}
    assert list(told) == ["protocol", "timeout", "TCP state", "original", "reply", "assured", "mark", "use"]
    assert all(why for _, why in told.values())
    assert "NAT" in told["reply"][1]
    page = parse_line(TCP)._repr_html_()
    assert all(text in page for text, _ in told.values())


def test_entries_of_a_host_in_both_forms() -> None:
    router = Host("r", {"r0": "10.0.1.1/24", "r1": "10.0.2.1/24"}, sysctls={"net.ipv4.ip_forward": 1}, conntrack="on")
    router.receive("r0", Packet.tcp("10.0.1.2", "10.0.2.2", 4000, 80, "S"))
    router.receive("r0", Packet.ip("10.0.1.2", "10.0.2.2", 47, b"\0\0\x08\0"))
    assert router.conntrack
    tcp, gre = router.conntrack.table
    assert str(line_of(tcp, 0)) == (
        "tcp      6 120 SYN_SENT src=10.0.1.2 dst=10.0.2.2 sport=4000 dport=80 [UNREPLIED] src=10.0.2.2 dst=10.0.1.2 "
        "sport=80 dport=4000 mark=0 use=1"
    )
    assert proc_line(gre, 1) == (
        "ipv4     2 gre      47 29 timeout=30, stream_timeout=180 src=10.0.1.2 dst=10.0.2.2 srckey=0x0 dstkey=0x0 "
        "[UNREPLIED] src=10.0.2.2 dst=10.0.1.2 srckey=0x0 dstkey=0x0 mark=0 zone=0 use=2"
    )
    assert str(parse_line(proc_line(tcp, 0))) == proc_line(tcp, 0)
    assert list(router.conntrack.frame()["proto"]) == ["tcp", "gre"]
