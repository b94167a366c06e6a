"""The names are the kernel's, its numbers too."""

import pytest

from netlab.names import CHAIN, Hook, NetlabError, Priority, Proto, Verdict, protocol_name


@pytest.mark.parametrize(
    ("number", "name", "chain"),
    [
        (0, "PRE_ROUTING", "PREROUTING"),
        (1, "LOCAL_IN", "INPUT"),
        (2, "FORWARD", "FORWARD"),
        (3, "LOCAL_OUT", "OUTPUT"),
        (4, "POST_ROUTING", "POSTROUTING"),
    ],
)
def test_hooks_have_the_numbers_of_nf_inet_hooks_and_their_chains(number: int, name: str, chain: str) -> None:
    hook = Hook(number)
    assert (hook.name, hook.chain, str(hook)) == (name, chain, name)
    assert Hook.parse(name) is Hook[f"NF_INET_{name}"] is Hook[f"NF_IP_{name}"] is hook


def test_there_are_five_hooks_and_five_chains() -> None:
    assert len(Hook) == len(CHAIN) == 5


@pytest.mark.parametrize("alias", ["NF_IP_LOCAL_IN", "NF_INET_LOCAL_IN"])
def test_the_kernels_own_spellings_are_understood(alias: str) -> None:
    assert Hook.parse(alias) is Hook.LOCAL_IN


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("INPUT", "INPUT is an iptables chain, its hook is LOCAL_IN"),
        ("POSTROUTING", "POSTROUTING is an iptables chain, its hook is POST_ROUTING"),
        ("PREROUTE", "the hooks are PRE_ROUTING, LOCAL_IN, FORWARD, LOCAL_OUT, POST_ROUTING"),
        ("pre_routing", "the hooks are PRE_ROUTING"),
        ("", "the hooks are PRE_ROUTING"),
    ],
)
def test_what_is_no_hook_is_refused_with_a_hint(wrong: str, hint: str) -> None:
    with pytest.raises(NetlabError) as refused:
        Hook.parse(wrong)
    assert repr(wrong) in str(refused.value)
    assert hint in str(refused.value)


@pytest.mark.parametrize(
    ("number", "name"), [(0, "DROP"), (1, "ACCEPT"), (2, "STOLEN"), (3, "QUEUE"), (4, "REPEAT"), (5, "STOP")]
)
def test_verdicts_have_the_kernels_numbers(number: int, name: str) -> None:
    assert Verdict[name] is Verdict[f"NF_{name}"] is Verdict(number)
    assert str(Verdict(number)) == name


def test_priorities_have_the_kernels_numbers() -> None:
    assert {one.name: int(one) for one in Priority} == {
        "FIRST": -2147483648, "CONNTRACK_DEFRAG": -400, "RAW": -300, "SELINUX_FIRST": -225, "CONNTRACK": -200,
        "MANGLE": -150, "NAT_DST": -100, "FILTER": 0, "SECURITY": 50, "NAT_SRC": 100, "SELINUX_LAST": 225,
        "CONNTRACK_HELPER": 300, "CONNTRACK_CONFIRM": 2147483647,
    }  # fmt: skip


@pytest.mark.parametrize(("number", "name"), [(1, "icmp"), (6, "tcp"), (17, "udp"), (47, "gre"), (253, "253")])
def test_protocols_without_a_name_are_their_number(number: int, name: str) -> None:
    assert protocol_name(number) == name


def test_known_protocols_print_in_lower_case() -> None:
    assert [str(proto) for proto in Proto] == ["icmp", "tcp", "udp"]


def test_a_notebook_shows_the_users_line_and_the_message_in_place_of_a_traceback() -> None:
    with pytest.raises(NetlabError) as caught:
        Hook.parse("INPUT")
    shown = caught.value._render_traceback_()
    assert len(shown) == 2
    assert shown[0].endswith('Hook.parse("INPUT")')
    assert shown[1].startswith("NetlabError: unknown hook 'INPUT'")
