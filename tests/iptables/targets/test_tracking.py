"""CT, NOTRACK and TRACE."""

import pytest

from netlab.iptables.words import RuleError
from netlab.packet import Packet
from netlab.trace import Passed
from tests.iptables.targets.rig import CLIENT, SERVER, all_of, load, router

UDP = Packet.udp(CLIENT, SERVER, 4000, 53)
FTP = Packet.tcp(CLIENT, SERVER, 4000, 21, "S")


@pytest.mark.parametrize("target", ["CT --notrack", "NOTRACK"])
def test_what_is_not_to_be_tracked(target: str) -> None:
    host = router(f"-A PREROUTING -p udp -j {target}", table="raw", conntrack="on")
    assert {event.state for event in all_of(host.receive("eth0", UDP), Passed)} == {"UNTRACKED"}
    host.receive("eth0", FTP)
    assert host.conntrack is not None
    assert [entry.original.proto for entry in host.conntrack.table] == [6]


def test_to_say_so_tracks_nothing_else() -> None:
    host = router("-A PREROUTING -p udp -j NOTRACK", table="raw")
    host.receive("eth0", FTP)
    assert host.conntrack is None or len(host.conntrack.table) == 0


@pytest.mark.parametrize(
    ("rules", "helper"),
    [
        (["-p tcp --dport 21 -j CT --helper ftp"], "ftp"),
        (["-j CT", "-p tcp --dport 21 -j CT --helper ftp"], None),
        (["-p tcp --dport 21 -j CT --helper ftp", "-j NOTRACK"], "ftp"),
    ],
)
def test_a_helper_is_chosen_by_the_first_rule_that_says_anything(rules: list[str], helper: str | None) -> None:
    host = router(*(f"-A PREROUTING {rule}" for rule in rules), table="raw")
    host.receive("eth0", FTP)
    assert host.conntrack is not None
    (entry,) = host.conntrack.table
    assert (entry.helper.name if entry.helper else None) == helper


def test_trace_marks_the_packet() -> None:
    host = router("-A PREROUTING -p udp -j TRACE", table="raw")
    seen = []
    host.register("FORWARD", lambda packet, state: (seen.append(state.skb.traced), 1)[1])
    host.receive("eth0", UDP)
    host.receive("eth0", FTP)
    assert seen == [True, False]


@pytest.mark.parametrize(
    ("rule", "table", "problem"),
    [
        ("-j CT --notrack", "filter", "raw"),
        ("-j CT --helper ftp", "raw", "needs -p tcp"),
        ("-p udp -j CT --helper ftp", "raw", "needs -p tcp"),
        ("-p tcp -j CT --helper gopher", "raw", "no such helper 'gopher'"),
        ("-j CT --zone 5", "raw", "no zones"),
        ("-j CT --ctevents new", "raw", "no filters for events"),
        ("-j NOTRACK", "mangle", "raw"),
    ],
)
def test_nonsense_and_what_is_left_out_is_refused(rule: str, table: str, problem: str) -> None:
    with pytest.raises(RuleError, match=problem):
        router(f"-A PREROUTING {rule}" if table != "filter" else f"-A INPUT {rule}", table=table)


def test_trace_stands_in_raw_only_for_the_old_iptables() -> None:
    load(router(variant="nft"), "*mangle\n-A FORWARD -j TRACE\nCOMMIT\n")
    with pytest.raises(RuleError, match="only in table raw"):
        load(router(variant="legacy"), "*mangle\n-A FORWARD -j TRACE\nCOMMIT\n")
