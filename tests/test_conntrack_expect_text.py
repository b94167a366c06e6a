"""Expectations as `conntrack -L expect` and `-E expect` print them; the texts are what the real one printed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.conntrack.command import conntrack
from netlab.conntrack.expect_text import parse_expect_line, parse_expect_lines
from netlab.conntrack.text import ConntrackTextError
from netlab.host import Host
from netlab.names import NetlabError
from tests.test_conntrack_ftp import C, Conversation, S, data_syn

LISTED = (
    "299 proto=6 src=10.0.2.2 dst=10.0.1.2 sport=0 dport=5121 mask-src=255.255.255.255 mask-dst=255.255.255.255 "
    "sport=0 dport=65535 master-src=10.0.1.2 master-dst=10.0.2.2 sport=4000 dport=21 class=0 helper=ftp"
)
TOLD = [f"[1795434496.596426]\t    [NEW] 300{LISTED[3:]}", f"[1795434496.676455]\t[DESTROY] {LISTED}"]


@pytest.fixture
def router() -> Host:
    """One that foresees a data connection to port 5121 of the client."""
    made = Host("r", {"r0": "10.0.1.1/24", "r1": "10.0.2.1/24"}, sysctls={"net.ipv4.ip_forward": 1})
    made.assign_helper("ftp")
    control = Conversation(made, port=4000)
    control.say(0, b"USER a\r\n")
    control.say(0, b"PORT 10,0,1,2,20,1\r\n")
    made.wires.clock.advance(1)
    return made


@pytest.mark.parametrize("text", [LISTED, *TOLD])
def test_what_the_real_one_printed_is_read_and_printed_again(text: str) -> None:
    line = parse_expect_line(text)
    assert str(line) == text
    assert (line.flow.dport, line.master.sport, line.helper, line.mask.sport) == (5121, 4000, "ftp", 0)


def test_the_command_prints_the_same(router: Host) -> None:
    listed = conntrack(router, "-L expect -o id,extended")
    assert listed.out == LISTED and listed.err.endswith("1 expectations have been shown.")
    assert conntrack(router, "-L expect -o timestamp").out == f"[1.000000]\t{LISTED}"
    assert [str(line) for line in parse_expect_lines(str(listed))] == [LISTED]


def test_events_tell_of_the_beginning_and_of_the_end(router: Host) -> None:
    data_syn(router, S, C, 5121)
    told = conntrack(router, "-E expect")
    assert told.out.splitlines() == [line.split("\t")[1] for line in TOLD]
    assert told.err.endswith("2 expectation events have been shown.")
    assert conntrack(router, "-E expect -o timestamp").out == ""


def test_what_is_flushed_or_too_old_is_told_too(router: Host) -> None:
    conntrack(router, "-F expect")
    assert conntrack(router, "-E expect").out.splitlines()[1].startswith("[DESTROY] 299 ")
    control = Conversation(router, port=4001)
    control.say(0, b"USER a\r\n")
    control.say(0, b"PORT 10,0,1,2,20,2\r\n")
    router.wires.clock.advance(301)
    assert conntrack(router, "-L expect").out == ""
    assert [line[:14] for line in conntrack(router, "-E expect").out.splitlines()] == [
        "    [NEW] 300 ",
        "[DESTROY] 0 pr",
    ]


@pytest.mark.parametrize("command", ["-L expect -p tcp", "-E expect -e NEW", "-E expect -m 1"])
def test_filters_are_not_for_expectations(router: Host, command: str) -> None:
    refused = conntrack(router, command)
    assert refused.status == 2 and "Illegal option" in refused.err and refused.column


@pytest.mark.parametrize(
    ("old", "new", "column"),
    [
        ("299 ", "x ", 1), ("proto=6", "proto=999", 5), ("src=10.0.2.2", "src=10.0.2", 13), ("mask-src", "mask", 58),
        ("class=0 ", "", 188), (" helper=ftp", "", 195), ("helper=ftp", "helper=ftp more", 207),
    ],
)  # fmt: skip
def test_a_broken_line_has_a_column(old: str, new: str, column: int) -> None:
    with pytest.raises(ConntrackTextError, match=f"^line 2, column {column}: "):
        parse_expect_lines(f"{LISTED}\n{LISTED.replace(old, new, 1)}")


@given(st.text(alphabet=st.sampled_from("proto=0123456789. srcdmask-helpftp\t[]NEW"), max_size=60))
def test_any_other_text_is_an_error(text: str) -> None:
    with pytest.raises(NetlabError, match="column"):
        parse_expect_line(text)
