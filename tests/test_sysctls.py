import pytest

from netlab.names import NetlabError
from netlab.sysctls import CONF, NET, Sysctls, conf_name


@pytest.fixture
def host() -> Sysctls:
    return Sysctls(["eth0", "eth1"])


def test_rp_filter_is_the_larger_of_all_and_the_interface(host: Sysctls) -> None:
    for everywhere in (0, 1, 2):
        for here in (0, 1, 2):
            host.set("net.ipv4.conf.all.rp_filter", everywhere)
            host.set("net.ipv4.conf.eth0.rp_filter", here)
            assert host.conf("eth0").rp_filter == max(everywhere, here)


@pytest.mark.parametrize(
    "key",
    [
        "accept_local",
        "route_localnet",
        "log_martians",
        "send_redirects",
        "shared_media",
        "promote_secondaries",
        "src_valid_mark",
    ],
)
def test_either_of_all_and_the_interface_suffices(host: Sysctls, key: str) -> None:
    for everywhere in (0, 1):
        for here in (0, 1):
            host.set(conf_name("all", key), everywhere)
            host.set(conf_name("eth0", key), here)
            assert getattr(host.conf("eth0"), key) is bool(everywhere or here)


def test_ip_forward_is_written_to_every_interface_when_it_changes(host: Sysctls) -> None:
    host.set("net.ipv4.ip_forward", 1)
    assert [host.get(conf_name(place, "forwarding")) for place in ("all", "default", "lo", "eth0")] == [1, 1, 1, 1]
    host.set("net.ipv4.conf.eth0.forwarding", 0)
    host.set("net.ipv4.ip_forward", 1)  # no change, so nothing is written along
    assert not host.conf("eth0").forwarding
    assert host.conf("eth1").forwarding
    host.set("net.ipv4.conf.all.forwarding", 0)  # the same setting by its other name
    assert host.get("net.ipv4.ip_forward") == 0
    assert not host.conf("eth1").forwarding


def test_a_new_interface_starts_with_the_default(host: Sysctls) -> None:
    host.set("net.ipv4.conf.default.rp_filter", 2)
    host.add_interface("eth2")
    assert host.conf("eth2").rp_filter == 2
    assert host.conf("eth0").rp_filter == 0


def test_every_change_is_counted(host: Sysctls) -> None:
    before = host.version
    host.set("net.ipv4.ip_default_ttl", 63)
    assert host.version > before


def test_names_with_slashes_and_interfaces_with_dots() -> None:
    host = Sysctls(["eth0.100"])
    host.set("net/ipv4/conf/eth0.100/rp_filter", 1)
    assert host.get("net.ipv4.conf.eth0/100.rp_filter") == 1
    assert host.conf("eth0.100").rp_filter == 1


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("net.ipv4.ip_foward", "net.ipv4.ip_forward"),
        ("net.ipv4.conf.eth0.rpfilter", "net.ipv4.conf.eth0.rp_filter"),
        ("net.ipv4.icmp_echo_ignore", "net.ipv4.icmp_echo_ignore_all"),
    ],
)
def test_a_typo_names_what_was_meant(host: Sysctls, name: str, meant: str) -> None:
    with pytest.raises(NetlabError) as caught:
        host.get(name)
    assert str(caught.value) == f"unknown sysctl {name!r}; did you mean {meant}?"


def test_a_name_like_no_other_gets_no_suggestion(host: Sysctls) -> None:
    with pytest.raises(NetlabError, match=r"^unknown sysctl 'kernel\.panic'$"):
        host.set("kernel.panic", 1)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("net.ipv4.ip_default_ttl", 0, "0 is not between 1 and 255"),
        ("net.ipv4.ip_default_ttl", "many", "'many' is not a whole number"),
        ("net.ipv4.ip_forward", 2**31, "2147483648 is not between -2147483648 and 2147483647"),
        ("net.ipv4.ipfrag_high_thresh", 1, "1 is not between 3145728 and 2147483647"),
        ("net.ipv4.ipfrag_low_thresh", 4194305, "4194305 is not between 0 and 4194304"),
    ],
)
def test_values_that_the_kernel_refuses(host: Sysctls, name: str, value: int | str, complaint: str) -> None:
    with pytest.raises(NetlabError) as caught:
        host.set(name, value)
    assert str(caught.value) == f"{name}: {complaint}"
    assert str(host) == str(Sysctls(["eth0", "eth1"]))


def test_an_unknown_interface(host: Sysctls) -> None:
    with pytest.raises(NetlabError, match=r"no interface 'eth9' \(there are lo, eth0, eth1\)"):
        host.conf("eth9")


def test_shows_itself(host: Sysctls) -> None:
    host.set("net.ipv4.ip_forward", "1")
    lines = str(host).splitlines()
    assert len(lines) == len(NET) + len(CONF) * len(("all", "default", "lo", "eth0", "eth1"))
    assert lines == sorted(lines)
    assert "net.ipv4.ip_forward = 1" in lines
    assert "net.ipv4.ip_forward=1" in repr(host)
    assert ">changed</td>" in host._repr_html_()
    assert repr(Sysctls()) == "<Sysctls: all at their defaults>"
