"""Link types: what stands in front of the IP header in a captured frame, and how to tell that it is IPv4.

Source: the link types' registry of the tcpdump group, https://www.tcpdump.org/linktypes.html.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Link(NamedTuple):
    """A link type: the IP header starts behind `header` bytes; the bytes `at` tell the protocol."""

    name: str
    header: int
    at: slice
    ipv4: frozenset[bytes]
    others: Mapping[bytes, str]

    def name_of(self, protocol: bytes) -> str:
        """What to call a frame of another protocol than IPv4."""
        if protocol in self.others:
            return self.others[protocol]
        if len(protocol) < self.at.stop - self.at.start:
            return "frame without a whole header"
        if self.others is _ETHERTYPES and protocol < b"\x06\x00":  # a length, not a type (IEEE 802.3)
            return "802.2 LLC"
        return f"protocol 0x{protocol.hex()}"


_ETHERTYPES: Final = {
    b"\x08\x06": "ARP", b"\x80\x35": "RARP", b"\x86\xdd": "IPv6", b"\x88\xcc": "LLDP", b"\x88\x47": "MPLS",
    b"\x88\x63": "PPPoE", b"\x88\x64": "PPPoE", b"\x88\x8e": "EAPOL",
    b"\x81\x00": "VLAN-tagged", b"\x88\xa8": "VLAN-tagged", b"\x91\x00": "VLAN-tagged",
}  # fmt: skip
_IPV4_TYPE: Final = frozenset({b"\x08\x00"})

# The address family of BSD's loopback, in the byte order of the capturing machine: IPv4 is 2 everywhere, IPv6 is not.
_FAMILY_IPV4: Final = frozenset({b"\0\0\0\2", b"\2\0\0\0"})
_FAMILIES: Final = {number.to_bytes(4, order): "IPv6" for number in (10, 24, 28, 30) for order in ("big", "little")}

_VERSION_4: Final = frozenset(bytes([0x40 | words]) for words in range(16))
_VERSION_6: Final = {bytes([0x60 | low]): "IPv6" for low in range(16)}

ETHERNET: Final = Link("Ethernet", 14, slice(12, 14), _IPV4_TYPE, _ETHERTYPES)
_LOOPBACK: Final = Link("loopback", 4, slice(0, 4), _FAMILY_IPV4, _FAMILIES)
_RAW: Final = Link("raw IP", 0, slice(0, 1), _VERSION_4, _VERSION_6)

LINKS: Final[dict[int, Link]] = {
    0: _LOOPBACK,
    1: ETHERNET,
    12: _RAW,
    101: _RAW,
    108: _LOOPBACK,
    113: Link("Linux cooked", 16, slice(14, 16), _IPV4_TYPE, _ETHERTYPES),
    228: _RAW,
    276: Link("Linux cooked v2", 20, slice(0, 2), _IPV4_TYPE, _ETHERTYPES),
}
"""By the number that the file gives."""

KNOWN: Final = ", ".join(dict.fromkeys(link.name for link in LINKS.values()))
