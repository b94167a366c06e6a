"""The kernel settings that netlab models: exact names, defaults, and what the packet path reads of them.

Sources: Documentation/networking/ip-sysctl.rst, include/linux/inetdevice.h (how `all` and an interface
combine), net/ipv4/devinet.c (what else changes with ip_forward).
"""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final, NamedTuple

from netlab.html import Code, html_table
from netlab.names import NetlabError


class Setting(NamedTuple):
    """One sysctl: its default, and the lowest and highest value that the kernel accepts.

    None is no bound but that of a C int; a name is the value that this other sysctl has now.
    """

    default: int
    low: int | str | None = None
    high: int | str | None = None


LONGEST: Final = 8589934  # seconds that the kernel can count in a C int of ticks, at 250 of them a second


def seconds(default: int) -> Setting:
    """A timeout. The kernel takes negative ones too: what lives that long is gone at once."""
    return Setting(default, -LONGEST, LONGEST)


IPV4: Final[dict[str, Setting]] = {
    "net.ipv4.icmp_echo_ignore_all": Setting(0, 0, 1),
    "net.ipv4.icmp_echo_ignore_broadcasts": Setting(1, 0, 1),
    "net.ipv4.icmp_errors_use_inbound_ifaddr": Setting(0, 0, 1),
    "net.ipv4.icmp_msgs_burst": Setting(50, 0),
    "net.ipv4.icmp_msgs_per_sec": Setting(1000, 0),
    # The kernel's default is 1000 ms. Zero, no limit, keeps runs repeatable.
    "net.ipv4.icmp_ratelimit": Setting(0, 0),
    "net.ipv4.icmp_ratemask": Setting(6168),
    "net.ipv4.ip_default_ttl": Setting(64, 1, 255),
    "net.ipv4.ip_forward": Setting(0),
    "net.ipv4.ip_no_pmtu_disc": Setting(0, 0, 255),
    "net.ipv4.ipfrag_high_thresh": Setting(4194304, "net.ipv4.ipfrag_low_thresh"),
    "net.ipv4.ipfrag_low_thresh": Setting(3145728, 0, "net.ipv4.ipfrag_high_thresh"),
    "net.ipv4.ipfrag_max_dist": Setting(64, 0),
    "net.ipv4.ipfrag_time": Setting(30),
}
"""Settings of IPv4 in the whole network namespace."""

SHARED: Final[dict[str, Setting]] = {
    "net.netfilter.nf_conntrack_buckets": Setting(262144, 1),
    "net.netfilter.nf_conntrack_expect_max": Setting(4096, 1),
    "net.netfilter.nf_conntrack_max": Setting(262144, 0),
}
"""Settings of the whole machine: free in the simulator, not to be written from a namespace of the kernel."""

CONNTRACK: Final[dict[str, Setting]] = {
    "net.netfilter.nf_conntrack_acct": Setting(0, 0, 1),
    "net.netfilter.nf_conntrack_checksum": Setting(1, 0, 1),
    "net.netfilter.nf_conntrack_generic_timeout": seconds(600),
    "net.netfilter.nf_conntrack_gre_timeout": seconds(30),
    "net.netfilter.nf_conntrack_gre_timeout_stream": seconds(180),
    "net.netfilter.nf_conntrack_icmp_timeout": seconds(30),
    "net.netfilter.nf_conntrack_tcp_be_liberal": Setting(0, 0, 1),
    "net.netfilter.nf_conntrack_tcp_ignore_invalid_rst": Setting(0, 0, 1),
    "net.netfilter.nf_conntrack_tcp_loose": Setting(1, 0, 1),
    "net.netfilter.nf_conntrack_tcp_max_retrans": Setting(3, 0, 255),
    "net.netfilter.nf_conntrack_tcp_timeout_close": seconds(10),
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait": seconds(60),
    "net.netfilter.nf_conntrack_tcp_timeout_established": seconds(432000),
    "net.netfilter.nf_conntrack_tcp_timeout_fin_wait": seconds(120),
    "net.netfilter.nf_conntrack_tcp_timeout_last_ack": seconds(30),
    "net.netfilter.nf_conntrack_tcp_timeout_max_retrans": seconds(300),
    "net.netfilter.nf_conntrack_tcp_timeout_syn_recv": seconds(60),
    "net.netfilter.nf_conntrack_tcp_timeout_syn_sent": seconds(120),
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait": seconds(120),
    "net.netfilter.nf_conntrack_tcp_timeout_unacknowledged": seconds(300),
    "net.netfilter.nf_conntrack_udp_timeout": seconds(30),
    "net.netfilter.nf_conntrack_udp_timeout_stream": seconds(120),
}
"""Settings of connection tracking in one network namespace; timeouts in seconds."""

NET: Final = IPV4 | CONNTRACK | SHARED

CONF: Final[dict[str, Setting]] = {
    "accept_local": Setting(0),
    "accept_source_route": Setting(1),
    "forwarding": Setting(0),
    "log_martians": Setting(0),
    "promote_secondaries": Setting(0),
    "route_localnet": Setting(0),
    "rp_filter": Setting(0),
    "send_redirects": Setting(1),
    "shared_media": Setting(1),
    "src_valid_mark": Setting(0),
}
"""Settings under net.ipv4.conf that `all`, `default` and every interface have each."""

ALL: Final = {"accept_source_route": 0}
"""Where `all` starts with another value than an interface does."""

FORWARD: Final = "net.ipv4.ip_forward"
CONF_PREFIX: Final = "net.ipv4.conf."
INT_MIN, INT_MAX = -(2**31), 2**31 - 1


class Conf(NamedTuple):
    """What holds on one interface once `conf.all` and `conf.IFACE` are combined the kernel's way."""

    rp_filter: int
    """The larger of the two: 0 off, 1 strict, 2 loose."""
    accept_local: bool
    """Either one suffices; so for the five that follow, up to src_valid_mark."""
    route_localnet: bool
    log_martians: bool
    send_redirects: bool
    shared_media: bool
    promote_secondaries: bool
    src_valid_mark: bool
    accept_source_route: bool
    """Both must allow it: packets that say themselves which way they go (IP options LSRR and SSRR)."""
    forwarding: bool
    """The interface's own value alone; writing ip_forward writes it on every interface."""


class Sysctls:
    """The settings of one host.

    Args:
        interfaces: names of the interfaces; `lo` is always there.

    >>> host = Sysctls(["eth0"])
    >>> host.set("net.ipv4.conf.all.rp_filter", 1)      # sysctl -w net.ipv4.conf.all.rp_filter=1
    >>> host.conf("eth0").rp_filter
    1
    """

    def __init__(self, interfaces: Iterable[str] = ()) -> None:
        self._values = {name: setting.default for name, setting in NET.items()}
        self.version = 0
        """Counts the changes, so that who remembers a decision knows when to forget it."""
        self._interfaces: list[str] = []
        self._conf: dict[str, Conf] = {}
        for place in ("all", "default"):
            self._values |= {conf_name(place, key): setting.default for key, setting in CONF.items()}
        self._values |= {conf_name("all", key): value for key, value in ALL.items()}
        for interface in dict.fromkeys(("lo", *interfaces)):
            self.add_interface(interface)

    def add_interface(self, interface: str) -> None:
        """A new interface starts with what `conf.default` says now."""
        self._interfaces.append(interface)
        for key in CONF:
            self._values[conf_name(interface, key)] = self._values[conf_name("default", key)]

    def get(self, name: str) -> int:
        """The value of a sysctl, as `sysctl -n NAME` prints it.

        Raises:
            NetlabError: there is no such sysctl, or netlab does not model it.
        """
        found = self._values.get(name)
        return self._values[self._known(name)] if found is None else found

    def set(self, name: str, value: int | str) -> None:
        """Write a sysctl, with everything else that the kernel changes along with it.

        Raises:
            NetlabError: unknown name, or a value that the kernel refuses.
        """
        name = self._known(name)
        setting = CONF[name.rpartition(".")[2]] if name.startswith(CONF_PREFIX) else NET[name]
        number = self._number(name, value, setting)
        if name in (FORWARD, conf_name("all", "forwarding")):
            self._set_forwarding(number)
        self._values[name] = number
        self._conf.clear()
        self.version += 1

    def conf(self, interface: str) -> Conf:
        """The settings in force on an interface (cached: the packet path asks for every packet).

        Raises:
            NetlabError: there is no such interface.
        """
        found = self._conf.get(interface)
        if found is None:
            if interface not in self._interfaces:
                raise NetlabError(f"no interface {interface!r} (there are {', '.join(self._interfaces)})")
            found = self._conf[interface] = self._combine(interface)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._values))

    def __str__(self) -> str:
        """All modelled settings, as `sysctl -a` prints them."""
        return "\n".join(f"{name} = {self._values[name]}" for name in self)

    def __repr__(self) -> str:
        defaults = Sysctls(self._interfaces)
        changed = ", ".join(f"{n}={v}" for n, v in self._values.items() if defaults._values[n] != v)
        return f"<Sysctls: {changed or 'all at their defaults'}>"

    def _repr_html_(self) -> str:
        defaults = Sysctls(self._interfaces)
        rows = [
            (Code(name), value, "" if defaults._values[name] == value else "changed")
            for name, value in ((name, self._values[name]) for name in self)
        ]
        return html_table(rows, ("sysctl", "value", ""))

    def _combine(self, interface: str) -> Conf:
        everywhere = {key: self._values[conf_name("all", key)] for key in CONF}
        here = {key: self._values[conf_name(interface, key)] for key in CONF}

        def either(key: str) -> bool:
            return bool(everywhere[key] or here[key])

        return Conf(
            rp_filter=max(everywhere["rp_filter"], here["rp_filter"]),
            accept_local=either("accept_local"),
            route_localnet=either("route_localnet"),
            log_martians=either("log_martians"),
            send_redirects=either("send_redirects"),
            shared_media=either("shared_media"),
            promote_secondaries=either("promote_secondaries"),
            src_valid_mark=either("src_valid_mark"),
            accept_source_route=bool(everywhere["accept_source_route"] and here["accept_source_route"]),
            forwarding=bool(here["forwarding"]),
        )

    def _set_forwarding(self, number: int) -> None:
        """ip_forward and conf.all.forwarding are one value; a change of it is written to every interface."""
        if number != self._values[FORWARD]:
            for place in ("default", *self._interfaces):
                self._values[conf_name(place, "forwarding")] = number
        self._values[FORWARD] = self._values[conf_name("all", "forwarding")] = number

    def _known(self, name: str) -> str:
        if name in self._values:
            return name
        # As sysctl(8): with slashes between the parts, dots belong to an interface's name (conf/eth0.100/rp_filter).
        first = min((name.find(sign) for sign in "./" if sign in name), default=-1)
        swapped = name.translate(str.maketrans("./", "/.")) if first >= 0 and name[first] == "/" else name
        if swapped in self._values:
            return swapped
        near = get_close_matches(swapped, self._values, n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise NetlabError(f"unknown sysctl {name!r}{hint}")

    def _number(self, name: str, value: int | str, setting: Setting) -> int:
        try:
            number = int(value)
        except (ValueError, TypeError):
            raise NetlabError(f"{name}: {value!r} is not a whole number") from None
        low, high = self._bound(setting.low, INT_MIN), self._bound(setting.high, INT_MAX)
        if not low <= number <= high:
            raise NetlabError(f"{name}: {number} is not between {low} and {high}")
        return number

    def _bound(self, bound: int | str | None, otherwise: int) -> int:
        if bound is None:
            return otherwise
        return self._values[bound] if isinstance(bound, str) else bound


def conf_name(interface: str, key: str) -> str:
    """`net.ipv4.conf.eth0.rp_filter`; a dot in an interface's name becomes a slash, as sysctl(8) has it."""
    return f"{CONF_PREFIX}{interface.replace('.', '/')}.{key}"
