"""Probes for those who are not root: nft chains at the two ends of every hook, and the kernel's packet traces.

A traced packet is told of by each chain it passes (nft(8), `meta nftrace`); the first bytes of its headers come along.
"""

import os
import re
import struct
import subprocess
from collections.abc import Iterator
from typing import Final

from netlab.kernel.namespaces import Namespace, require
from netlab.kernel.netlink import NETLINK_NETFILTER, NetlinkSocket, attributes
from netlab.kernel.probes import FIRST, LAST, Event, Kind, cookie_of
from netlab.names import Hook, NetlabError

_TABLE: Final = "netlab_probes"
_GROUP: Final = 9  # NFNLGRP_NFTRACE
_TRACE: Final = 10 << 8 | 17  # NFNL_SUBSYS_NFTABLES, NFT_MSG_TRACE
_NFGENMSG: Final = 4
_ATTRIBUTE_TABLE, _CHAIN, _ID, _NETWORK, _TRANSPORT, _IN, _OUT, _STATE = 1, 2, 6, 8, 9, 10, 12, 21
# The bits that nft knows states by (nf_conntrack_common.h, NF_CT_STATE_BIT), as the three bits in a packet's tracking
# word; beside them there is a pointer to the flow, of which it is enough that it is not 0.
_INFO: Final = {2: 0, 4: 1, 8: 2, 64: 7}
_TRACKED: Final = 8
_FIRST_WITH_STATES: Final = (6, 16)  # of the kernels, whose traces tell a packet's state


class TraceProbes:
    """Everybody's probes: hooks entered and left, in order, and nothing of what happens between hooks."""

    sees_drops = False
    sees_states = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= _FIRST_WITH_STATES

    def __init__(self, namespaces: list[Namespace], outside: Namespace) -> None:
        """Starts watching the namespaces, whose place in the list is the number by which the one outside knows them.

        Raises:
            KernelUnavailable: nft is not installed.
            NetlabError: nft cannot set up the probes.
        """
        self._cookies = {number: cookie_of(namespace) for number, namespace in enumerate(namespaces)}
        self._socket = NetlinkSocket(outside, NETLINK_NETFILTER, (_GROUP,), everywhere=True)
        nft = require("nft", "nftables")
        for namespace in namespaces:
            with namespace.entered():
                done = subprocess.run([nft, "-f", "-"], input=_chains(), capture_output=True, text=True, check=False)
            if done.returncode:
                raise NetlabError(f"nft cannot set up the probes: {done.stderr.strip().splitlines()[0]}")

    def read(self) -> Iterator[Event]:
        """What happened since the last call.

        Raises:
            LostEvents: the socket's buffer overflowed.
        """
        for message in self._socket.read():
            if message.type != _TRACE or message.namespace not in self._cookies:
                continue
            found = attributes(message.payload[_NFGENMSG:])
            if found[_ATTRIBUTE_TABLE] != _TABLE.encode() + b"\0" or _NETWORK not in found:
                continue  # a chain may report several times, the headers come with the first report
            end, _, name = found[_CHAIN].rstrip(b"\0").decode().partition("_")
            header = found[_NETWORK]
            length = (header[0] & 15) * 4
            yield Event(
                Kind.ENTERED if end == "first" else Kind.LEFT,
                self._cookies[message.namespace],
                _number(found[_ID]),
                Hook[name],
                _number(found.get(_IN, bytes(4))),
                _number(found.get(_OUT, bytes(4))),
                _TRACKED | _INFO[_number(found[_STATE])] if _STATE in found else 0,
                data=header[:length].ljust(length, b"\0") + found.get(_TRANSPORT, b""),
            )

    def check(self) -> None:
        """Nothing can have been missed that `read` has not complained about."""

    def close(self) -> None:
        """Stops watching."""
        self._socket.close()


def _number(value: bytes) -> int:
    return int(struct.unpack(">I", value)[0])


def _chains() -> str:
    """The probe chains as nft reads them: no rule in them asks for connection tracking."""
    lines = [f"table ip {_TABLE} {{"]
    for hook in Hook:
        place = hook.chain.lower()
        lines.append(f"chain first_{hook.name} {{ type filter hook {place} priority {FIRST}; meta nftrace set 1; }}")
        lines.append(f"chain last_{hook.name} {{ type filter hook {place} priority {LAST}; }}")
    return "\n".join([*lines, "}"])
