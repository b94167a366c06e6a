"""hashlimit: a bucket for each source, destination or port. What the kernel's module was seen to do."""

import pytest

from netlab import Host, Packet
from netlab.iptables.words import RuleError


def gateway(*rules: str, variant: str = "nft") -> Host:
    text = "\n".join(["*filter", ":INPUT ACCEPT [0:0]", *(f"-A INPUT {rule}" for rule in rules), "COMMIT", ""])
    return Host("h", {"eth0": "10.0.1.1/24"}, iptables=text, variant=variant)  # type: ignore[arg-type]


def udp(last: int = 2, sport: int = 4000, dport: int = 53) -> Packet:
    return Packet.udp(f"10.0.1.{last}", "10.0.1.1", sport, dport)


def counted(host: Host) -> list[int]:
    """Packets that each rule has counted."""
    lines = host.firewall.save(counters=True).splitlines()
    return [int(line[1:].partition(":")[0]) for line in lines if " -A " in line]


ONE_EACH = "-m hashlimit --hashlimit-upto 1/min --hashlimit-burst 3 --hashlimit-mode srcip --hashlimit-name a"


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_every_source_has_a_bucket(variant: str) -> None:
    host = gateway(ONE_EACH, variant=variant)
    for last in (2, 2, 2, 2, 2, 3):
        host.receive("eth0", udp(last))
    assert counted(host) == [4]


def test_it_fills_again_and_is_forgotten_when_nobody_takes() -> None:
    host = gateway(ONE_EACH)
    for _ in range(5):
        host.receive("eth0", udp())
    for seconds, sent, meant in ((59, 1, 3), (1, 2, 4), (61, 5, 7)):
        host.wires.clock.advance(seconds)
        for _ in range(sent):
            host.receive("eth0", udp())
        assert counted(host) == [meant]


def test_above_is_its_negation() -> None:
    above = ONE_EACH.replace("--hashlimit-upto", "--hashlimit-above")
    for rule in (above, ONE_EACH.replace("--hashlimit-upto", "! --hashlimit-upto")):
        host = gateway(rule)
        for _ in range(5):
            host.receive("eth0", udp())
        assert counted(host) == [2]
        assert above in host.firewall.save()


def test_masks_and_ports_make_the_bucket() -> None:
    hour = "-m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 1"
    host = gateway(
        f"{hour} --hashlimit-name all",
        f"{hour} --hashlimit-mode srcip --hashlimit-name net --hashlimit-srcmask 31",
        f"{hour} --hashlimit-mode dstport --hashlimit-name to",
        f"{hour} --hashlimit-mode srcip,srcport --hashlimit-name from",
    )
    for packet in (udp(2), udp(3), udp(4), udp(4, dport=54), udp(4, sport=1)):
        host.receive("eth0", packet)
    assert counted(host) == [1, 2, 2, 4]


def test_rules_of_one_name_share_its_table() -> None:
    host = gateway(ONE_EACH, ONE_EACH)
    for _ in range(4):
        host.receive("eth0", udp())
    assert counted(host) == [2, 1]


def test_too_many_buckets_and_too_short_a_header() -> None:
    rule = "-m hashlimit --hashlimit-upto 1/hour --hashlimit-mode srcip --hashlimit-name few"
    host = gateway(f"{rule} --hashlimit-htable-size 1 --hashlimit-htable-max 2", "-j ACCEPT")
    for last in (2, 3, 4):
        host.receive("eth0", udp(last))
    assert counted(host) == [2, 2]
    host = gateway(rule.replace("srcip", "dstport"), "-j ACCEPT")
    host.receive("eth0", Packet.ip("10.0.1.2", "10.0.1.1", 17, b"\0\1\0"))
    host.receive("eth0", Packet.ip("10.0.1.2", "10.0.1.1", 47, b""))
    assert counted(host) == [1, 1]


@pytest.mark.parametrize(
    ("options", "column", "complaint"),
    [
        ("--hashlimit-upto 1/s", 13, 'option "--hashlimit-name" must be specified'),
        ("--hashlimit-name a", 13, "You have to specify --hashlimit"),
        ("--hashlimit-upto 1/w --hashlimit-name a", 40, 'bad rate "1/w"'),
        ("--hashlimit-upto 1000001/s --hashlimit-name a", 40, 'Rate too fast "1000001/s"'),
        ("--hashlimit-upto 5kb/s --hashlimit-name a", 40, "limits packets, not bytes"),
        ("--hashlimit-upto 1/s --hashlimit-burst 0 --hashlimit-name a", 62, "not a number from 1 to 1000000"),
        ("--hashlimit-upto 1/s --hashlimit-mode src --hashlimit-name a", 61, "'src' is none of srcip, srcport"),
        ("--hashlimit-upto 1/s --hashlimit-name a/b", 13, "no name for a file"),
        ("--hashlimit-upto 1/s --hashlimit-name a --hashlimit-srcmask 33", 13, "32 are the most"),
        ("--hashlimit-upto 1/s --hashlimit-name a --hashlimit-htable-expire 0", 13, "are not 0"),
        ("--hashlimit-upto 1/day --hashlimit-name a", 13, "hashlimit 1/day with a burst of 5 is out of range"),
        ("--hashlimit-upto 1/s --hashlimit-name a --hashlimit-rate-match", 63, "not supported by netlab"),
    ],
)
def test_refused(options: str, column: int, complaint: str) -> None:
    with pytest.raises(RuleError) as caught:
        Host("h", {}).firewall.restore(f"*filter\n-A INPUT -m hashlimit {options}\nCOMMIT\n")
    assert complaint in caught.value.problem
    assert caught.value.place is not None
    assert tuple(caught.value.place) == (2, column)


@pytest.mark.parametrize(
    ("given", "printed"),
    [
        ("--hashlimit 60/m", "1/sec --hashlimit-burst 5 --hashlimit-name a --hashlimit-htable-expire 60000"),
        ("--hashlimit 24/day", "1/hour --hashlimit-burst 5 --hashlimit-name a --hashlimit-htable-expire 86400000"),
        ("--hashlimit 3000/s", "3003/sec --hashlimit-burst 5 --hashlimit-name a"),
        ("--hashlimit 70000/day", "70000/day --hashlimit-burst 5 --hashlimit-name a"),
        (
            "--hashlimit 5/m --hashlimit-mode dstport,srcip",
            "5/min --hashlimit-burst 5 --hashlimit-mode srcip,dstport --hashlimit-name a",
        ),
        (
            "--hashlimit 5/m --hashlimit-htable-size 4294967295",
            "5/min --hashlimit-burst 5 --hashlimit-name a --hashlimit-htable-size 1048576",
        ),
    ],
)
def test_printed(given: str, printed: str) -> None:
    host = gateway(f"-m hashlimit {given} --hashlimit-name a")
    assert f"-A INPUT -m hashlimit --hashlimit-upto {printed}\n" in host.firewall.save()
