"""Tables of addresses: written, asked, shared, forgotten."""

import pytest

from netlab.host import Host
from netlab.iptables.words import RuleError
from netlab.names import NetlabError
from netlab.packet import Packet
from tests.iptables.matches.asking import counted, counting, udp


def answers(host: Host, *packets: Packet) -> list[list[int]]:
    """What each rule has counted after each packet."""
    found = []
    for packet in packets:
        host.receive("eth0", packet)
        found.append(counted(host))
    return found


def test_one_rule_writes_what_others_ask() -> None:
    host = counting("-m recent --rcheck --name a", "-m recent --set --name a", "-m recent ! --rcheck --name b")
    assert answers(host, udp(), udp()) == [[0, 1, 1], [1, 2, 2]]
    assert "src=10.0.1.2 ttl: 64 last_seen: 4294892296 oldest_pkt: 2 4294892296, 4294892296" in str(
        host.firewall.recent["a"]
    )


def test_seconds_and_hits() -> None:
    host = counting("-m recent --rcheck --seconds 10 --hitcount 2", "-m recent --set")
    assert answers(host, udp(), udp(), udp())[-1] == [1, 3]
    host.wires.clock.advance(11)
    assert answers(host, udp(), udp(), udp()) == [[1, 4], [1, 5], [2, 6]]


def test_update_writes_down_what_it_matches() -> None:
    host = counting("-m recent --update --seconds 10", "-m recent --set --name other")
    host.firewall.recent["DEFAULT"].write("+10.0.1.2")
    for _ in range(3):
        host.wires.clock.advance(9)
        host.receive("eth0", udp())
    host.wires.clock.advance(11)
    host.receive("eth0", udp())
    assert counted(host) == [3, 4]


def test_removed_ones_are_unknown() -> None:
    host = counting("-m recent --remove", "-m recent ! --rcheck", "-m recent --set")
    assert answers(host, udp(), udp(), udp()) == [[0, 1, 1], [1, 2, 2], [2, 3, 3]]


def test_a_table_has_the_mask_of_the_rule_that_made_it() -> None:
    rules = "-m recent --set --mask 255.255.255.0", "-m recent --rcheck"
    both = udp(), Packet.udp("10.0.1.9", "10.0.2.2", 1, 2)
    assert answers(counting(*rules), *both) == [[1, 1], [2, 2]]
    assert answers(counting(*rules[::-1]), *both) == [[0, 1], [0, 2]]


def test_destinations() -> None:
    host = counting("-m recent --rcheck --rdest", "-m recent --rcheck --rsource")
    host.firewall.recent["DEFAULT"].write("+10.0.2.2")
    assert answers(host, udp()) == [[1, 0]]


def test_the_ttl_is_that_from_before_forwarding() -> None:
    host = counting("-m recent --set --name t", chain="PREROUTING")
    host.firewall.restore("*mangle\n-A FORWARD -m recent --rcheck --rttl --name t\nCOMMIT\n", noflush=True)
    host.receive("eth0", udp(ttl=9))
    assert counted(host) == [1, 1]
    host.firewall.recent["t"].visitors[0x0A000102].ttl = 8
    host.firewall.restore("*mangle\n-A FORWARD -m recent --rcheck --rttl --name t\nCOMMIT\n")
    host.receive("eth0", udp(ttl=9))
    assert counted(host) == [0]


def test_a_table_holds_a_hundred_addresses() -> None:
    host = counting("-m recent --set")
    for number in range(1, 111):
        host.receive("eth0", Packet.udp(f"10.0.1.{number}", "10.0.2.2", 1, 2))
    table = host.firewall.recent["DEFAULT"]
    assert len(table.visitors) == 100
    assert table.find(0x0A00010A) is None
    assert table.find(0x0A00010B) is not None


def test_reaping_forgets_the_oldest_that_is_too_old() -> None:
    host = counting("-m recent --rcheck --seconds 5 --reap", "-m recent --set")
    host.receive("eth0", Packet.udp("10.0.1.3", "10.0.2.2", 1, 2))
    host.receive("eth0", udp())
    host.wires.clock.advance(9)
    host.receive("eth0", udp())
    assert [format(address, "x") for address in host.firewall.recent["DEFAULT"].visitors] == ["a000102"]


def test_tables_end_with_the_last_rule_that_names_them() -> None:
    host = counting("-m recent --set --name a")
    host.receive("eth0", udp())
    host.firewall.restore("*filter\n-A INPUT -m recent --rcheck --name a\nCOMMIT\n", noflush=True)
    host.firewall.restore("*mangle\nCOMMIT\n")
    assert len(host.firewall.recent["a"].visitors) == 1
    host.firewall.restore("*filter\nCOMMIT\n")
    with pytest.raises(NetlabError, match="no rule of router uses a table 'a'"):
        host.firewall.recent["a"]


def test_a_rule_that_counts_further_empties_the_table() -> None:
    host = counting("-m recent --set --name a")
    host.receive("eth0", udp())
    host.firewall.restore("*filter\n-A INPUT -m recent --rcheck --name a --hitcount 33\nCOMMIT\n", noflush=True)
    assert not host.firewall.recent["a"].visitors


def test_the_file_is_written_too() -> None:
    host = counting("-m recent --rcheck --name a")
    table = host.firewall.recent["a"]
    table.write("+10.0.1.2\n")
    assert answers(host, udp()) == [[1]]
    table.write("-10.0.1.2")
    table.write("+10.0.1.9")
    assert answers(host, udp()) == [[1]]
    table.write("/")
    assert not table.visitors
    for wrong in ("10.0.1.2", "", "+x"):
        with pytest.raises(NetlabError):
            table.write(wrong)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--name a", "you must specify one of"), ("--set --rcheck", "cannot be used together"),
        ("--rcheck --reap", 'also requires "--seconds"'), ("--set --rttl", 'cannot be used together with "--set"'),
        ("--set --seconds 5", "takes neither"), ("--remove --hitcount 5", "takes neither"),
        ("--rcheck --hitcount 65536", "65535 are the most"), ("--rcheck --seconds 0", "not a number from 1"),
        ("--set --name a/b", "no name for a file"), ('--set --name ""', "no name for a file"),
    ],
)  # fmt: skip
def test_refused(options: str, complaint: str) -> None:
    with pytest.raises(RuleError, match=complaint):
        counting(f"-m recent {options}")
