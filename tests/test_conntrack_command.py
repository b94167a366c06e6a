"""The command `conntrack` on a simulated host, against what the real one printed (conntrack_commands.txt)."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.conntrack.command import Output, conntrack
from netlab.conntrack.entry import Status
from netlab.conntrack.text import parse_lines
from netlab.host import Host
from netlab.names import NetlabError
from netlab.packet import Packet

C, S = "10.0.1.2", "10.0.2.2"
MEASURED = Path(__file__).with_name("conntrack_commands.txt").read_text(encoding="utf-8")
ANSWERS = [block.partition("\n")[::2] for block in re.split(r"^\$ ", MEASURED, flags=re.MULTILINE)[1:]]


def router_with_flows(**sysctls: int) -> Host:
    names = {f"net.netfilter.nf_conntrack_{name}": value for name, value in sysctls.items()}
    addresses = {"r0": "10.0.1.1/24", "r1": "10.0.2.1/24"}
    router = Host("r", addresses, sysctls={"net.ipv4.ip_forward": 1, **names}, conntrack="on")
    router.receive("r0", Packet.udp(C, S, 1111, 53))
    router.receive("r0", Packet.tcp(C, S, 4000, 80, "S", seq=1))
    router.receive("r1", Packet.tcp(S, C, 80, 4000, "SA", seq=1, ack=2))
    router.receive("r0", Packet.tcp(C, S, 4000, 80, "A", seq=2, ack=2))
    router.receive("r0", Packet.icmp(C, S, 8, id=42))
    return router


@pytest.fixture
def router() -> Host:
    return router_with_flows()


def comparable(text: str) -> list[str]:
    """Without what differs from run to run: ids, the order in the table, and the second that passed on the way."""
    text = re.sub(r"(use=\d+) id=\d+$", r"\1 id=N", text, flags=re.MULTILINE)
    text = re.sub(r"^(ipv4 +2 +)?(\w+ +\d+) \d+", r"\1\2 T", text, flags=re.MULTILINE)
    return sorted(line.rstrip() for line in text.strip().splitlines())


def test_every_command_prints_what_the_real_one_prints() -> None:
    router = router_with_flows()
    assert len(ANSWERS) > 55
    for command, answer in ANSWERS:  # one after the other: some of them change the table
        mine, real = (comparable(text) for text in (str(conntrack(router, command)), answer))
        assert mine == real, command


@pytest.mark.parametrize(
    ("command", "status", "stream"),
    [
        ("-L", 0, "out"),
        ("-C", 0, "out"),
        ("-L -u SNAT", 2, "err"),
        ("-G -p tcp -s 10.0.1.2 -d 10.0.2.2 --sport 4009 --dport 80", 1, "err"),
        ("-G -p tcp -s 10.0.2.2 -d 10.0.1.2 --sport 80 --dport 4000", 1, "err"),
        ("-U -p sctp -s 1.1.1.1 --mark 7", 1, "err"),
        ("-D -p udp --dport 99", 1, "err"),
        ("-L -p udp --dport 99", 0, "err"),
        ("-F", 0, "err"),
        ("-L -s rubbish", 2, "err"),
        ("-L -r 10.0.0.0/8", 2, "err"),
    ],
)
def test_streams_and_exit_status_are_the_real_ones(router: Host, command: str, status: int, stream: str) -> None:
    output = conntrack(router, command)
    assert output.status == status
    assert bool(output.out) == (stream == "out")


@pytest.mark.parametrize(
    "command", ["-L -pudp", "-L --proto udp", "-L -p UDP --dport=53", "--dump -p 17", ["-L", "-p", "17"]]
)
def test_options_may_be_spelled_in_every_way(router: Host, command: str | list[str]) -> None:
    assert len(parse_lines(conntrack(router, command).out)) == 1


def test_a_mark_is_written_under_its_mask_and_found_again(router: Host) -> None:
    assert conntrack(router, "-U -p udp -s 10.0.1.2 --mark 8").status == 0
    assert " mark=11 " in conntrack(router, "-U -p udp -s 10.0.1.2 --mark 0x3/0x1").out
    assert conntrack(router, "-U -p udp -s 10.0.1.2 --mark 11").status == 1  # it has it already
    assert len(parse_lines(conntrack(router, "-L -m 1/1").out)) == 1
    assert conntrack(router, "-L -m 12").out == ""


def test_events_are_told_once_and_chosen_by_mask(router: Host) -> None:
    told = conntrack(router, "-E -p tcp")
    kinds = [line.split("]")[0].strip(" [") for line in told.out.splitlines()]
    assert kinds == ["NEW", "UPDATE", "UPDATE"]
    assert told.err.endswith("3 flow events have been shown.")
    assert conntrack(router, "-E").out == ""
    conntrack(router, "-D -p icmp")
    assert conntrack(router, "-E -e NEW").out == ""
    conntrack(router, "-D -p tcp")
    line = conntrack(router, "-E -e DESTROY -o timestamp,id,extended").out
    assert re.fullmatch(
        r"\[0\.000000\]\t\[DESTROY\] ipv4     2 tcp      6 432000 ESTABLISHED .* \[ASSURED\] id=\d+ \[USERSPACE\] "
        r"portid=\d+ progname=conntrack",
        line,
    )


def test_a_host_that_tracks_nothing_has_an_empty_table() -> None:
    idle = Host("idle", {"eth0": "10.0.0.1/24"})
    assert conntrack(idle, "-C").out == "0"
    assert conntrack(idle, "-L").err.endswith("0 flow entries have been shown.")
    assert conntrack(idle, "-S").out.startswith("cpu=0   \tfound=0")
    assert conntrack(idle, "-F").err.endswith("has been emptied.")
    assert conntrack(idle, "-L expect").err.endswith("0 expectations have been shown.")
    assert conntrack(idle, "-G -p tcp -s 1.1.1.1 -d 2.2.2.2 --sport 1 --dport 2").status == 1
    assert [conntrack(idle, line).status for line in ("-L", "-D -s 1.1.1.1", "-U -s 1.1.1.1 -m 5")] == [0, 1, 1]


@pytest.mark.parametrize("line", ["", "-h", "--help", "-p tcp -h"])
def test_help(line: str) -> None:
    told = conntrack(Host("idle", {"eth0": "10.0.0.1/24"}), line)
    assert told.status == 0
    assert "--reply-port-src" in told.out


@pytest.mark.parametrize(
    ("command", "column"),
    [
        ("conntrack -L -p tcp --sate ESTABLISHED", 21),
        ("-L  -s rubbish", 5),
        ("-L -p udp 'x y' -o id", 11),
        ("-L -o id,foo", 4),
        ("-L -C", 4),
        ("-C -p tcp", 4),
        ("-L foo", 4),
        (["-L", "-p", "foo"], 4),
        ("-L -p tcp", None),
    ],
)
def test_a_refused_word_has_a_column(router: Host, command: str | list[str], column: int | None) -> None:
    output = conntrack(router, command)
    assert output.column == column
    assert (f"column {column}" in output._repr_html_()) == (column is not None) == (output.status == 2)


def test_translated_flows_are_chosen_by_status_and_address(router: Host) -> None:
    assert router.conntrack
    flows = {entry.original.proto: entry for entry in router.conntrack.table}
    for proto, status, changes in ((17, Status.SRC_NAT, {"daddr": 7, "dport": 9}), (6, Status.DST_NAT, {"saddr": 8})):
        router.conntrack.table.remove(flows[proto])
        flows[proto].status = Status.CONFIRMED | status
        flows[proto].reply = flows[proto].reply._replace(**changes)
        router.conntrack.table.insert(flows[proto])
    shown = {
        command: [line.proto for line in parse_lines(conntrack(router, f"-L {command}").out)]
        for command in (
            "-n", "-g", "-j", "-n -g", "-p udp --src-nat", "-n 0.0.0.7", "-n0.0.0.8", "--src-nat=0.0.0.7:9",
            "-n 0.0.0.7:1", "-g 0.0.0.8", "-j 0.0.0.8", "-j 0.0.0.9", "-n -p icmp",
        )
    }  # fmt: skip
    assert shown == {
        "-n": [17], "-g": [6], "-j": [17, 6], "-n -g": [], "-p udp --src-nat": [17], "-n 0.0.0.7": [17],
        "-n0.0.0.8": [], "--src-nat=0.0.0.7:9": [17], "-n 0.0.0.7:1": [], "-g 0.0.0.8": [6], "-j 0.0.0.8": [6],
        "-j 0.0.0.9": [], "-n -p icmp": [],
    }  # fmt: skip
    assert "Invalid IP address" in conntrack(router, "-L -n nonsense").err


def test_all_events_and_stamps_that_nobody_keeps(router: Host) -> None:
    assert len(conntrack(router, "-E -e ALL -o ktimestamp").out.splitlines()) == 5
    assert conntrack(router, "-L -o ktimestamp,timestamp").out == conntrack(router, "-L").out


def test_what_is_left_out_is_said(router: Host) -> None:
    assert "netlab's conntrack does not have `-z'" in conntrack(router, "-L -z").err
    assert "netlab's conntrack does not have `xml'" in conntrack(router, "-L -o extended,xml").err
    assert "netlab's conntrack does not have the table `dying'" in conntrack(router, "-L dying").err


def test_quotation_marks_that_do_not_end_are_the_users_mistake(router: Host) -> None:
    with pytest.raises(NetlabError, match="no closing quotation"):
        conntrack(router, "-L -s '10.0")


def test_the_output_shows_itself(router: Host) -> None:
    output = conntrack(router, "-C")
    assert str(output) == "3" and output._repr_html_() == "<pre>3</pre>"


LINE = """
    -L -G -D -U -E -F -C -S -V expect conntrack -p tcp udp icmp gre 99 -s -d 10.0.1.2 10.0.0.0/8 --sport --dport 80
    -u ASSURED UNREPLIED -m 1/1 --state ESTABLISHED -o id,extended --icmp-type 8 -t 5 -e NEW = --sport=4000
"""
WORDS = st.sampled_from(LINE.split())


@given(st.lists(WORDS | st.text(max_size=5), max_size=9))
def test_no_words_make_it_stumble(words: list[str]) -> None:
    output = conntrack(router_with_flows(), words)
    assert isinstance(output, Output) and output.status in (0, 1, 2)
