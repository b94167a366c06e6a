"""LOG and NFLOG: the line, field by field.

A kernel prints such lines for its first network namespace only, so what is compared here are lines that kernels printed
elsewhere and people published. Public addresses in them were replaced, and `MAC=` is left out where it had a value.
"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.addresses import mac_address, outside_mac
from netlab.iptables.log_line import Asks, Circumstances, Frame, log_line
from netlab.iptables.words import RuleError
from netlab.packet import DF, Packet, parse_flags
from netlab.trace import Noted
from tests.iptables.targets.rig import CLIENT, INSIDE, OUTSIDE, SERVER, all_of, log, router

PUBLISHED = (
    "IN=eno1 OUT= SRC=192.0.2.176 DST=10.95.194.221 LEN=95 TOS=0x00 PREC=0x20 TTL=43 ID=34216 DF PROTO=TCP SPT=443 "
    "DPT=47998 WINDOW=16386 RES=0x00 ACK PSH URGP=0 ",
    "IN=ppp0 OUT= MAC= SRC=192.168.2.113 DST=192.168.0.223 LEN=492 TOS=0x00 PREC=0x00 TTL=240 ID=39184 PROTO=ICMP "
    "TYPE=3 CODE=3 [SRC=192.168.0.223 DST=192.168.2.113 LEN=464 TOS=0x00 PREC=0x00 TTL=52 ID=58665 DF PROTO=TCP "
    "SPT=34373 DPT=80 WINDOW=63712 RES=0x00 ACK PSH FIN URGP=0 ] ",
    "IN=eth0 OUT= SRC=192.0.2.86 DST=198.51.100.227 LEN=56 TOS=0x00 PREC=0x00 TTL=37 ID=3982 PROTO=ICMP TYPE=3 CODE=3 "
    "[SRC=198.51.100.227 DST=192.0.2.86 LEN=44 TOS=0x00 PREC=0x00 TTL=40 ID=12346 DF PROTO=TCP INCOMPLETE [8 bytes] ] ",
    "IN=lo OUT= SRC=127.0.0.1 DST=127.0.0.1 LEN=90 TOS=0x02 PREC=0xC0 TTL=255 ID=32406 PROTO=ICMP TYPE=3 CODE=3 "
    "[SRC=127.0.0.1 DST=127.0.0.1 LEN=62 TOS=0x02 PREC=0x00 TTL=64 ID=6694 DF PROTO=UDP SPT=32768 DPT=53 LEN=42 ] ",
    "IN=ens5 OUT= SRC=192.0.2.4 DST=172.30.3.23 LEN=56 TOS=0x00 PREC=0x00 TTL=255 ID=0 DF PROTO=ICMP TYPE=3 CODE=4 "
    "[SRC=172.30.3.23 DST=192.0.2.4 LEN=1532 TOS=0x00 PREC=0x00 TTL=64 ID=44766 DF PROTO=UDP SPT=39066 DPT=10648 "
    "LEN=1512 ] MTU=1500 ",
    "IN=ppp0 OUT= MAC= SRC=192.0.2.34 DST=192.168.143.41 LEN=37 TOS=0x00 PREC=0x00 TTL=115 ID=61772 PROTO=ICMP TYPE=8 "
    "CODE=0 ID=256 SEQ=8403 ",
    "IN=venet0 OUT= MAC= SRC=192.0.2.1 DST=198.51.100.1 LEN=40 TOS=0x00 PREC=0x00 TTL=54 ID=21110 DF PROTO=TCP "
    "SPT=43052 DPT=80 WINDOW=0 RES=0x00 RST URGP=0 ",
    "IN=ppp0 OUT= MAC= SRC=192.0.2.40 DST=198.51.100.55 LEN=60 TOS=0x00 PREC=0x00 TTL=40 ID=9325 DF PROTO=TCP "
    "SPT=58989 DPT=22 WINDOW=5840 RES=0x00 SYN URGP=0 OPT (020405780402080A0265BA120000000001030300) ",
    "IN= OUT=home SRC=192.168.100.203 DST=192.168.100.153 LEN=52 TOS=0x10 PREC=0x00 TTL=64 ID=26607 DF PROTO=TCP "
    "SPT=35310 DPT=22 SEQ=3621638314 ACK=4253970834 WINDOW=10016 RES=0x00 ACK URGP=0 OPT (0101080A938A85A902782273) "
    "UID=1000 GID=1000 ",
    "IN=br0 OUT=vlan2 SRC=192.168.1.100 DST=192.0.2.121 LEN=52 TOS=0x00 PREC=0x00 TTL=63 ID=34770 DF PROTO=TCP "
    "SPT=62411 DPT=443 SEQ=2976286457 ACK=411474190 WINDOW=4096 RES=0x00 ACK FIN URGP=0 OPT "
    "(0101080A388AEEC53512DAE5) ",
)
LETTERS = {"FIN": "F", "SYN": "S", "RST": "R", "PSH": "P", "ACK": "A", "URG": "U", "ECE": "E", "CWR": "C"}


def facts(text: str) -> dict[str, str]:
    """The fields of a line. `ACK=` and the flag ACK are two things."""
    return dict(re.findall(r"(\w+)=(\S*)", text))


def packet_of(text: str) -> Packet:
    """The packet that a line tells of, filled up with zeros to its length."""
    outer, bracket, rest = text.partition("[S")
    inner, _, behind = rest.rpartition("] ")
    said = facts(outer)
    options = bytes.fromhex((re.findall(r"OPT \((\w+)\)", outer) or [""])[0])
    tos = int(said["TOS"], 16) | int(said["PREC"], 16)
    header = {"ttl": int(said["TTL"]), "tos": tos, "ip_id": int(re.findall(r"TTL=\d+ ID=(\d+)", outer)[0])}
    src, dst = said["SRC"], said["DST"]
    if "INCOMPLETE" in outer:
        packet = Packet.ip(src, dst, said["PROTO"].lower(), bytes(8), **header)
    elif said["PROTO"] == "TCP":
        flags = "".join(LETTERS[word] for word in outer.split() if word in LETTERS)
        packet = Packet.tcp(
            src, dst, int(said["SPT"]), int(said["DPT"]), flags, window=int(said["WINDOW"]),
            seq=int(said.get("SEQ", 0)), ack=int(said.get("ACK", 0)), tcp_options=options, **header,
        )  # fmt: skip
    elif said["PROTO"] == "UDP":
        data = bytes(int(re.findall(r"LEN=(\d+)", outer)[-1]) - 8)
        packet = Packet.udp(src, dst, int(said["SPT"]), int(said["DPT"]), data, **header)
    else:
        quoted = packet_of("S" + inner).to_bytes() if bracket else b""
        if "INCOMPLETE" in inner:
            quoted = quoted[:2] + int(facts(inner)["LEN"]).to_bytes(2, "big") + quoted[4:]
        quoted = quoted[: int(said["LEN"]) - 28]  # errors quote only the beginning
        numbers = {"id": 0, "seq": int(facts(behind).get("MTU", 0))}
        if "SEQ" in said:
            numbers = {"id": int(re.findall(r" ID=(\d+) SEQ", outer)[0]), "seq": int(said["SEQ"])}
        packet = Packet.icmp(src, dst, int(said["TYPE"]), int(said["CODE"]), payload=quoted, **numbers, **header)
    packet = packet._replace(frag=DF if " DF " in outer else 0)
    missing = int(said["LEN"]) - packet.length
    return packet._replace(payload=packet.payload + bytes(max(missing, 0))) if "INCOMPLETE" not in outer else packet


@pytest.mark.parametrize("line", PUBLISHED)
def test_published_lines(line: str) -> None:
    said = facts(line)
    asks = Asks.TCP_SEQUENCE * ("SEQ" in said and "SPT" in said) | Asks.TCP_OPTIONS * ("OPT (" in line) | Asks.UID
    process = (int(said["UID"]), int(said["GID"])) if "UID" in said else None
    where = Circumstances(said["IN"] or None, said["OUT"] or None, None, process)
    made = log_line(packet_of(line), where, asks=asks)
    assert made.replace("MAC= ", "") == line.replace("MAC= ", "")


def test_the_frame_is_told_as_it_came() -> None:
    frame = Frame("02:00:00:00:00:01", "02:00:00:00:00:02")
    packet = Packet.udp(CLIENT, SERVER, 1, 2)
    assert " MAC=02:00:00:00:00:01:02:00:00:00:00:02:08:00 SRC=" in log_line(packet, Circumstances("eth0", None, frame))
    decoded = log_line(packet, Circumstances("eth0", None, frame), asks=Asks.MACDECODE)
    assert " MACSRC=02:00:00:00:00:02 MACDST=02:00:00:00:00:01 MACPROTO=0800 SRC=" in decoded
    assert "MAC" not in log_line(packet, Circumstances(None, "eth0"))


@pytest.mark.parametrize(
    ("packet", "end"),
    [
        (Packet.ip(CLIENT, SERVER, 99, "data"), "PROTO=99 "),
        (Packet.ip(CLIENT, SERVER, 50, bytes.fromhex("f123456700000001")), "PROTO=ESP SPI=0xf1234567 "),
        (Packet.ip(CLIENT, SERVER, 51, bytes.fromhex("0604000012345678") + bytes(4)), "PROTO=AH SPI=0x12345678 "),
        (Packet.ip(CLIENT, SERVER, 50, bytes(7)), "PROTO=ESP INCOMPLETE [7 bytes] "),
        (Packet.ip(CLIENT, SERVER, 136, bytes(8)), "PROTO=UDPLITE SPT=0 DPT=0 LEN=0 "),
        (Packet.udp(CLIENT, SERVER, 1, 2)._replace(frag=185 | 0x2000), "ID=0 MF FRAG:185 PROTO=UDP "),
        (Packet.udp(CLIENT, SERVER, 1, 2)._replace(payload=b"\0\1\0"), "PROTO=UDP INCOMPLETE [3 bytes] "),
        (Packet.udp(CLIENT, SERVER, 1, 2, mark=255), "LEN=8 MARK=0xff "),
        (Packet.udp(CLIENT, SERVER, 1, 2, mark=255)._replace(payload=b""), "PROTO=UDP INCOMPLETE [0 bytes] "),
        (Packet.icmp(CLIENT, SERVER, 5, 1, id=0x0A00, seq=0x0102, payload=bytes(20)), "GATEWAY=10.0.1.2 ["),
        (Packet.icmp(CLIENT, SERVER, 12, 0, id=0x1400), "TYPE=12 CODE=0 INCOMPLETE [8 bytes] "),
        (Packet.icmp(CLIENT, SERVER, 12, 0, id=0x1400, payload=bytes(20)), "TYPE=12 CODE=0 PARAMETER=20 "),
        (Packet.icmp(CLIENT, SERVER, 13, 0, payload=bytes(12)), "TYPE=13 CODE=0 "),
        (Packet.icmp(CLIENT, SERVER, 42, 7), "TYPE=42 CODE=7 "),
    ],
)
def test_every_protocol(packet: Packet, end: str) -> None:
    line = log_line(packet, Circumstances("eth0", "eth1"))
    assert line.endswith(end) or (end.endswith("[") and end in line)


def test_only_asked_for() -> None:
    packet = Packet.tcp(CLIENT, SERVER, 1, 2, "S", seq=7, tcp_options=b"\2\4\5\xb4", options=b"\x94\4\0\0")
    where = Circumstances("eth0", None, None, (0, 0))
    plain = log_line(packet, where)
    assert not any(word in plain for word in ("SEQ=", "OPT", "UID"))
    told = log_line(packet, where, "x: ", Asks.TCP_SEQUENCE | Asks.TCP_OPTIONS | Asks.IP_OPTIONS | Asks.UID)
    assert told.startswith("x: IN=eth0 OUT= MAC= SRC=10.0.1.2 DST=10.0.2.2 LEN=48 ")
    assert (
        "ID=0 OPT (94040000) PROTO=TCP SPT=1 DPT=2 SEQ=7 ACK=0 WINDOW=65535 RES=0x00 SYN URGP=0 OPT (020405B4) " in told
    )
    assert told.endswith("UID=0 GID=0 ")


@given(data=st.binary(max_size=60), proto=st.sampled_from([1, 6, 17, 50, 51, 99, 136]), asks=st.integers(0, 63))
def test_no_bytes_are_too_strange(data: bytes, proto: int, asks: int) -> None:
    line = log_line(Packet.ip(CLIENT, SERVER, proto, data), Circumstances("eth0"), asks=asks)
    assert line.startswith("IN=eth0 OUT= MAC= SRC=10.0.1.2 DST=10.0.2.2 LEN=")


def test_a_rule_logs_and_goes_on() -> None:
    host = router('-A FORWARD -j LOG --log-prefix "fwd: "', "-A FORWARD -j LOG --log-level debug --log-macdecode")
    one, two = log(host.receive("eth0", Packet.udp(CLIENT, SERVER, 4000, 53)))
    ours, theirs = mac_address("router", "eth0"), outside_mac("router", "eth0")
    assert one.startswith(f"fwd: IN=eth0 OUT=eth1 MAC={ours}:{theirs}:08:00 SRC=10.0.1.2 ")
    assert two.startswith(f"IN=eth0 OUT=eth1 MACSRC={theirs} MACDST={ours} MACPROTO=0800 SRC=10.0.1.2 ")


def test_what_a_process_sends_has_its_user() -> None:
    host = router("-A OUTPUT -j LOG --log-uid", "-A INPUT -j LOG --log-uid")
    out, back = log(host.send(Packet.udp(INSIDE, OUTSIDE, 4000, 53)))[:2]
    assert out.startswith("IN= OUT=lo SRC=10.0.2.1 ")
    assert out.endswith("UID=0 GID=0 ")
    assert back.startswith("IN=lo OUT= MAC=00:00:00:00:00:00:00:00:00:00:00:00:08:00 SRC=10.0.2.1 ")


def test_nflog_is_noted() -> None:
    host = router('-A FORWARD -j NFLOG --nflog-group 5 --nflog-prefix "two words"')
    notes = [event.text for event in all_of(host.receive("eth0", Packet.udp(CLIENT, SERVER, 4000, 53)), Noted)]
    assert notes == ['logged to group 5 "two words"']
    assert '-A FORWARD -j NFLOG --nflog-prefix "two words" --nflog-group 5' in host.firewall.save()


def test_flags_are_told_from_the_highest_down() -> None:
    packet = Packet.tcp(CLIENT, SERVER, 1, 2, "FSRPAUEC")
    assert "RES=0x00 CWR ECE URG ACK PSH RST SYN FIN URGP=0 " in log_line(packet, Circumstances("eth0"))
    accurate = packet._replace(payload=packet.payload[:12] + bytes((0x51, parse_flags("S"))) + packet.payload[14:])
    assert "RES=0x04 AE SYN URGP=0 " in log_line(accurate, Circumstances("eth0"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [("--log-level warn", 'log level "warn" unknown'), ("--log-level 8", "unknown"), ("--log-prefix", "argument")],
)
def test_nonsense_is_refused(options: str, problem: str) -> None:
    with pytest.raises(RuleError, match=problem):
        router(f"-A FORWARD -j LOG {options}")


def test_a_prefix_is_cut_to_29_letters_as_iptables_does() -> None:
    assert f"--log-prefix {'a' * 29}\n" in router(f"-A FORWARD -j LOG --log-prefix {'a' * 40}").firewall.save()
