"""What rules see of conntrack: states, status, directions, addresses, ports, time left, the mark."""

import pytest

from netlab.host import Host
from netlab.iptables.words import RuleError
from netlab.packet import Packet
from tests.iptables.matches.asking import counted, counting, tcp, udp
from tests.iptables.targets.rig import CLIENT, SERVER, load

QUESTION, ANSWER = udp(4000, 53), Packet.udp(SERVER, CLIENT, 53, 4000)


def asked(*options: str, chain: str = "FORWARD", variant: str = "nft") -> list[int]:
    """How many of a question, its repetition and two answers each of these means."""
    host = counting(*(f"-m conntrack {one}" for one in options), chain=chain, variant=variant)
    for dev, packet in (("eth0", QUESTION), ("eth0", QUESTION), ("eth1", ANSWER), ("eth1", ANSWER)):
        host.receive(dev, packet)
    return counted(host)


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_states_status_and_directions(variant: str) -> None:
    wanted = {
        "--ctstate NEW": 2, "--ctstate ESTABLISHED": 2, "--ctstate NEW,ESTABLISHED": 4, "! --ctstate NEW": 2,
        "--ctstate INVALID": 0, "--ctstate DNAT": 0, "! --ctstate SNAT,DNAT": 4, "--ctstate UNTRACKED": 0,
        "--ctstatus CONFIRMED": 3, "--ctstatus SEEN_REPLY": 2, "! --ctstatus SEEN_REPLY,ASSURED": 2,
        "--ctstatus NONE": 0, "! --ctstatus NONE": 4, "--ctdir ORIGINAL": 2, "--ctdir REPLY": 2,
        "--ctproto udp": 4, "! --ctproto udp": 0, "--ctproto 6": 0,
    }  # fmt: skip
    assert dict(zip(wanted, asked(*wanted, variant=variant), strict=True)) == wanted


def test_addresses_and_ports_are_those_of_the_flow() -> None:
    wanted = {
        f"--ctorigsrc {CLIENT}": 4, f"--ctreplsrc {SERVER}": 4, "--ctorigdst 10.0.2.0/24": 4,
        "--ctrepldst 10.0.2.0/24": 0, "! --ctrepldst 10.0.2.0/255.255.255.0": 4, "--ctorigsrcport 4000": 4,
        "--ctorigdstport 50:60": 4, "--ctreplsrcport 53": 4, "! --ctrepldstport 4000": 0,
        # A mask with holes is forgotten: the whole address is compared.
        "--ctorigsrc 10.0.9.2/255.255.0.255": 0,
    }  # fmt: skip
    assert dict(zip(wanted, asked(*wanted), strict=True)) == wanted


def test_a_flow_that_is_not_yet_in_the_table_has_no_time_left() -> None:
    assert asked("--ctexpire 0", "--ctexpire 29:30", "! --ctexpire 0:100") == [1, 3, 0]


def test_of_what_is_invalid_only_the_state_is_asked() -> None:
    options = ("--ctstate INVALID", "--ctstate INVALID --ctproto udp", "--ctproto tcp", "! --ctproto udp")
    host = counting(*(f"-m conntrack {one}" for one in options), "-m state --state INVALID")
    host.receive("eth0", tcp(flags="SA"))
    assert counted(host) == [1, 1, 0, 0, 1]


def test_what_no_rule_tracks_is_untracked() -> None:
    host = counting("-m conntrack --ctstate UNTRACKED", "-m state ! --state INVALID", "-m connmark ! --mark 1")
    load(host, "*raw\n-A PREROUTING -j CT --notrack\nCOMMIT\n")
    host.receive("eth0", QUESTION)
    assert counted(host) == [1, 1, 0]


def test_translated_flows_have_the_state_of_their_translation() -> None:
    host = counting("-m conntrack --ctstate DNAT", "-m conntrack --ctstate SNAT,DNAT --ctdir REPLY", chain="FORWARD")
    load(host, "*nat\n-A PREROUTING -p udp -j DNAT --to-destination 10.0.2.9\nCOMMIT\n")
    host.receive("eth0", QUESTION)
    host.receive("eth1", Packet.udp("10.0.2.9", CLIENT, 53, 4000))
    assert counted(host) == [2, 1]


def test_marks_of_flows() -> None:
    host = counting("-m connmark --mark 5", "-m connmark --mark 0x1/0x3", "-m connmark ! --mark 5", chain="POSTROUTING")
    host.receive("eth0", QUESTION)
    assert host.conntrack is not None
    (entry,) = host.conntrack.table
    host.conntrack.set_mark(entry, 5)
    host.receive("eth1", ANSWER)
    assert counted(host) == [1, 1, 1]


@pytest.mark.parametrize("match", ["conntrack --ctstate NEW", "state --state NEW", "connmark --mark 1"])
def test_they_switch_conntrack_on_and_off(match: str) -> None:
    host: Host = counting(f"-m {match}")
    assert "nf_conntrack_in" in str(host.hooks)
    host.firewall.restore("*mangle\nCOMMIT\n")
    assert "nf_conntrack_in" not in str(host.hooks)


@pytest.mark.parametrize(
    ("match", "complaint"),
    [
        ("-m conntrack", "At least one option is required"),
        ("-m conntrack --ctstate NEW,FOO", "'FOO' is none of INVALID, NEW, RELATED"),
        ("-m conntrack --ctstate NEW,", "'' is none of"),
        ("-m conntrack ! --ctdir REPLY", "cannot be inverted"),
        ("-m conntrack --ctdir ORIG", "'ORIG' is none of ORIGINAL, REPLY"),
        ("-m state --state SNAT", "'SNAT' is none of"),
        ("-m state", "must be specified"),
        ("-m connmark --mark 1/x", "'x' is not a number"),
    ],
)
def test_refused(match: str, complaint: str) -> None:
    with pytest.raises(RuleError, match=complaint):
        counting(match)
