"""MARK and CONNMARK: what they write, and how they are told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.iptables.parse import parse
from netlab.iptables.targets.marks import ALL, Connmark, Mark, Xmark
from netlab.iptables.words import RuleError, split
from netlab.packet import Packet
from netlab.trace import Passed
from tests.iptables.targets.rig import CLIENT, SERVER, all_of, load, router, sent

BITS = st.integers(0, ALL)


def target_of(rule: str) -> Mark | Connmark:
    target = parse(list(split(f"-A PREROUTING -j {rule}"))).rules[0].target
    assert isinstance(target, Mark | Connmark)
    return target


@given(mark=BITS, value=BITS, mask=BITS)
def test_the_named_operations_are_what_their_names_say(mark: int, value: int, mask: int) -> None:
    def after(option: str) -> int:
        target = target_of(f"MARK {option}")
        assert isinstance(target, Mark) and target.mark
        return target.mark.of(mark)

    assert after(f"--set-mark {value}") == value
    assert after(f"--and-mark {value}") == mark & value
    assert after(f"--or-mark {value}") == mark | value
    assert after(f"--xor-mark {value}") == mark ^ value
    assert after(f"--set-xmark {value}/{mask}") == mark & ~mask ^ value
    assert after(f"--set-mark {value}/{mask}") == mark & ~mask | value


@given(value=BITS, mask=BITS)
def test_what_is_printed_says_the_same(value: int, mask: int) -> None:
    once = target_of(f"MARK --set-xmark {value}/{mask}")
    assert target_of(str(once).removeprefix("-j ")) == once


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("MARK", "One of the --set-xmark"),
        ("MARK --set-mark 1 --or-mark 2", "cannot be used together"),
        ("MARK --set-mark 0x1ffffffff", "out of range"),
        ("MARK --set-mark 1/", "bad integer"),
        ("MARK --and-mark 1/2", "from 0 to"),
        ("CONNMARK", "No operation specified"),
        ("CONNMARK --mask 1", "No operation specified"),
        ("CONNMARK --save-mark --restore-mark", "cannot be used together"),
        ("CONNMARK --restore-mark --mask 1 --nfmask 2", "cannot be used together"),
        ("CONNMARK --restore-mark --left-shift-mark 32", "from 0 to 31"),
    ],
)
def test_nonsense_is_refused(text: str, problem: str) -> None:
    with pytest.raises(RuleError, match=problem):
        target_of(text)


def test_connmark_is_the_same_however_it_is_written() -> None:
    short, long = target_of("CONNMARK --restore-mark"), target_of("CONNMARK --restore-mark --mask 0xffffffff")
    assert short == long
    assert hash(short) == hash(long)
    assert short != target_of("CONNMARK --save-mark")
    assert str(long) == "-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff"


def test_a_mark_is_kept_by_the_flow_and_comes_back_with_the_answer() -> None:
    host = router(
        "-A PREROUTING -i eth0 -j MARK --set-mark 0x12", "-A POSTROUTING -j CONNMARK --save-mark", table="mangle"
    )
    load(host, "*mangle\n-A PREROUTING -i eth1 -j CONNMARK --restore-mark\nCOMMIT\n")
    host.receive("eth0", Packet.udp(CLIENT, SERVER, 4000, 53))
    assert host.conntrack is not None
    (entry,) = host.conntrack.table
    assert entry.mark == 0x12
    answer = host.receive("eth1", Packet.udp(SERVER, CLIENT, 53, 4000))
    assert sent(answer)[0].mark == 0x12
    assert all_of(answer, Passed)[0].packet.mark == 0x12


def test_masks_and_shifts() -> None:
    host = router(
        "-A PREROUTING -j MARK --set-mark 0xabcd",
        "-A PREROUTING -j CONNMARK --set-mark 0xff000000",
        "-A PREROUTING -j CONNMARK --save-mark --nfmask 0xf0 --ctmask 0xff --left-shift-mark 4",
        "-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xffff --ctmask 0xff000c00 --right-shift-mark 8",
        table="mangle",
    )
    trace = host.receive("eth0", Packet.udp(CLIENT, SERVER, 4000, 53))
    assert host.conntrack is not None
    (entry,) = host.conntrack.table
    assert entry.mark == 0xFF000000 ^ 0xC00
    assert sent(trace)[0].mark == 0xFF000C


def test_what_has_no_flow_is_left_alone() -> None:
    host = router("-A PREROUTING -j CONNMARK --restore-mark", table="mangle")
    broken = Packet.tcp(CLIENT, SERVER, 4000, 80, "SF", mark=7)
    assert sent(host.receive("eth0", broken))[0].mark == 7


def test_xmark_is_told_in_the_words_of_iptables() -> None:
    told = {
        Xmark(0, 0xF0): "and 0xffffff0f", Xmark(0xF0, 0xF0): "or 0xf0", Xmark(3, 0): "xor 0x3",
        Xmark(1): "set 0x1", Xmark(0x10, 0xFF): "xset 0x10/0xff", Xmark(0, 0): "and 0xffffffff",
    }  # fmt: skip
    assert {mark: mark.listed() for mark in told} == told
