"""The kernel's connection tracking in a namespace: switched on as a rule would do it, and its table read.

Entries come through ctnetlink, the interface that conntrack(8) uses, and become the lines that it prints.
Sources: include/uapi/linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_netlink.c, nft(8).
"""

import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from netlab.conntrack.entry import Status
from netlab.conntrack.text import Line
from netlab.conntrack.tuples import FlowTuple
from netlab.kernel.namespaces import KernelUnavailable, Namespace, require
from netlab.kernel.netlink import NETLINK_NETFILTER, NetlinkSocket, attributes
from netlab.names import NetlabError, Proto, TcpState
from netlab.scenario import HostSpec
from netlab.sysctls import CONNTRACK, SHARED

# No packet ever comes into this chain; that there is a rule that asks for the state is enough.
_NEEDS_CONNTRACK: Final = "table ip netlab_conntrack { chain never { ct state new accept; }; }"

_GET: Final = 1 << 8 | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
_NFGENMSG: Final = struct.Struct(">BBH")
_ORIGINAL, _REPLY, _STATUS, _PROTOCOL, _HELPER, _TIMEOUT, _MARK, _COUNTED, _COUNTED_BACK, _USE = (
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    10,
    11,
)
_IP, _TRANSPORT = 1, 2
_SOURCE, _DESTINATION = 1, 2
_NUMBER, _SPORT, _DPORT, _ICMP_ID, _ICMP_TYPE, _ICMP_CODE = 1, 2, 3, 4, 5, 6


def switch_on(namespace: Namespace) -> None:
    """Has the kernel track connections in that namespace, and put fragments together for it.

    Raises:
        KernelUnavailable: nft is not installed, or the kernel has no connection tracking.
    """
    nft = require("nft", "nftables")
    with namespace.entered():
        done = subprocess.run([nft, "-f", "-"], input=_NEEDS_CONNTRACK, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KernelUnavailable(f"connections cannot be tracked here: {done.stderr.strip().splitlines()[0]}")


def to_be_written(names: Iterator[str], spec: HostSpec, *, ruled: bool = False) -> Iterator[str]:
    """Of these sysctls those to write in a host's namespace: not what the machine has only once.

    `ruled`: it may have rules, which switch connection tracking on.

    Raises:
        NetlabError: the scenario wants one of those to be other than this machine has it.
    """
    for name in names:
        if name in SHARED:
            _refuse_other(name, spec)
        elif name not in CONNTRACK or ruled or spec.conntrack == "on" or name in spec.sysctls:
            yield name


def _refuse_other(name: str, spec: HostSpec) -> None:
    path = Path("/proc/sys") / name.replace(".", "/")
    wanted = spec.sysctls.get(name)
    here = path.read_text().strip() if path.exists() else "not there"
    if wanted is not None and str(wanted) != here:
        raise NetlabError(
            f"host {spec.name}: {name} is {wanted} in the scenario and {here} on this machine, which has one for all "
            "its namespaces: it is not written. The simulator takes any value"
        )


class Entries:
    """The table of one namespace."""

    def __init__(self, namespace: Namespace) -> None:
        self._socket = NetlinkSocket(namespace, NETLINK_NETFILTER)

    def lines(self) -> list[Line]:
        """All entries, in the order in which conntrack(8) prints them."""
        question = _NFGENMSG.pack(socket.AF_INET, 0, 0)
        return [_line(attributes(answer[_NFGENMSG.size :])) for answer in self._socket.dump(_GET, question)]

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()


def _line(found: dict[int, bytes]) -> Line:
    """One entry from its attributes."""
    status = _number(found[_STATUS])
    original = _tuple(found[_ORIGINAL])
    flags = {"UNREPLIED"} if not status & Status.SEEN_REPLY else set()
    if status & Status.ASSURED:
        flags.add("ASSURED")
    extra = {"mark": str(_number(found.get(_MARK, bytes(4))))}
    if _HELPER in found:
        extra["helper"] = attributes(found[_HELPER])[1].rstrip(b"\0").decode()
    extra["use"] = str(_number(found[_USE]))
    counters = None
    if _COUNTED in found and _COUNTED_BACK in found:
        counters = _counters(found[_COUNTED]), _counters(found[_COUNTED_BACK])
    state = None
    if original.proto == Proto.TCP:
        state = TcpState(attributes(attributes(found[_PROTOCOL])[1])[1][0]).name
    timeout = _number(found[_TIMEOUT])
    return Line(original.proto, timeout, state, original, _tuple(found[_REPLY]), frozenset(flags), extra, counters)


def _tuple(nested: bytes) -> FlowTuple:
    both = attributes(nested)
    addresses, transport = attributes(both[_IP]), attributes(both[_TRANSPORT])
    proto = _number(transport[_NUMBER])
    if proto == Proto.ICMP:
        sport = _number(transport[_ICMP_ID])
        dport = _number(transport[_ICMP_TYPE]) << 8 | _number(transport[_ICMP_CODE])
    else:
        sport, dport = (_number(transport.get(place, b"")) for place in (_SPORT, _DPORT))
    return FlowTuple(_number(addresses[_SOURCE]), _number(addresses[_DESTINATION]), proto, sport, dport)


def _counters(nested: bytes) -> tuple[int, int]:
    both = attributes(nested)
    return _number(both[1]), _number(both[2])


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big")
