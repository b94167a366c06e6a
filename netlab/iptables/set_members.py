"""The members of sets: as text both ways, and as packets have them (ip_set_getport.c)."""

from collections.abc import Iterator
from ipaddress import IPv4Address, summarize_address_range
from typing import Final, NamedTuple

from netlab.addresses import format_address, mask_of, parse_address
from netlab.iptables.matches.icmp import EVERY_CODE, NAMES
from netlab.iptables.option import PROTOCOLS, c_number, port, protocol, protocol_of
from netlab.iptables.words import Place, RuleError
from netlab.names import NetlabError, Proto
from netlab.packet import OFFSET, Packet

HOST: Final = 32  # the prefix length of one address
SCTP, UDPLITE = 132, 136
PORT_HEADERS: Final = {Proto.TCP: 20, Proto.UDP: 8, UDPLITE: 8, SCTP: 12, Proto.ICMP: 8}
"""The bytes of a header that must be there to read a port, or ICMP's type and code, in it."""
ICMP_CODES: Final = {
    name: kind.type << 8 | (0 if kind.codes == EVERY_CODE else kind.codes[0])
    for name, kind in NAMES.items()
    if kind.type not in (3, 5, 11, 12, 255) or kind.codes != EVERY_CODE
}
_ICMP_NAMES: Final = {number: name for name, number in reversed(ICMP_CODES.items())}
_WITH_PORTS: Final = frozenset({Proto.TCP, Proto.UDP, SCTP, UDPLITE})


class SetError(RuleError):
    """Something that ipset or the kernel would refuse; its status is ipset's: 2 for what it cannot read, else 1."""

    def __init__(self, problem: str, place: Place | None = None, status: int = 1) -> None:
        super().__init__(problem, place, status)


class Member(NamedTuple):
    """What a set holds: an address, a network, or an address with protocol and port (ICMP: type << 8 | code)."""

    address: int
    length: int = HOST
    proto: int = 0
    port: int = 0

    def __str__(self) -> str:
        text = format_address(self.address)
        if self.length != HOST:
            return f"{text}/{self.length}"
        if not self.proto:
            return text
        port = str(self.port)
        if self.proto == Proto.ICMP:
            port = _ICMP_NAMES.get(self.port, f"{self.port >> 8}/{self.port & 0xFF}")
        return f"{text},{protocol_of(self.proto)}:{port}"


def number_up_to(text: str, highest: int) -> int:
    """A number as ipset reads it.

    Raises:
        SetError: it is none, or too high.
    """
    value = c_number(text)
    if value is None or value > highest:
        raise SetError(f"Syntax error: '{text}' is out of range 0-{highest}")
    return value


def port_of(packet: Packet, *, source: bool) -> int | None:
    """A packet's port, or ICMP's type and code; 0 for a protocol without; None where it is cut off or in another
    fragment (ip_set_get_ip4_port).
    """
    proto, payload = packet.proto, packet.payload
    if not proto:
        return None
    octets = PORT_HEADERS.get(proto)
    if octets is None:
        return 0
    if packet.frag & OFFSET or len(payload) < octets:
        return None
    at = 0 if source or proto == Proto.ICMP else 2
    return payload[at] << 8 | payload[at + 1]


# ---------------------------------------------------------------- members in words


def members(kind: str, text: str) -> Iterator[Member]:
    """The members of a set of that type that a word means: `10.0.0.1`, `10.0.0.0/30`, `10.0.0.1-10.0.0.9`, and for
    hash:ip,port behind a comma `80`, `udp:53`, `tcp:80-90`, `icmp:echo-request`.

    A network of length 0 can be said, and is no member of any set.

    Raises:
        SetError: it means none.
    """
    host, comma, ports = text.partition(",")
    if kind != "hash:ip,port" and comma:
        raise SetError(f"Syntax error: Elem separator in {text}, but settype {kind} supports none.")
    if kind == "hash:ip,port" and not comma:
        raise SetError(f"Syntax error: Second element is missing from {text}.")
    proto, numbers = _ports(ports) if comma else (0, range(1))
    low, high, length = _ends(host)
    if not length:
        return iter([Member(low, 0, proto, numbers[0])])
    if kind == "hash:net":
        networks = summarize_address_range(IPv4Address(low), IPv4Address(high))
        return (Member(int(network.network_address), network.prefixlen) for network in networks)
    return (Member(address, HOST, proto, number) for address in range(low, high + 1) for number in numbers)


def _ends(text: str) -> tuple[int, int, int]:
    """The first and the last address of a range, a network, or one address; and the prefix length, if it says one."""
    first, dash, last = text.partition("-")
    if dash:
        low, high = sorted((_address(first), _address(last)))
        return low, high, HOST
    host, slash, behind = text.partition("/")
    length = number_up_to(behind, HOST) if slash else HOST
    mask, address = mask_of(length), _address(host)
    return (address & mask, address | ~mask & 0xFFFFFFFF, length) if length else (address, address, 0)


def _address(text: str) -> int:
    try:
        return parse_address(text)
    except NetlabError:
        raise SetError(f"Syntax error: cannot parse {text}: resolving to IPv4 address failed") from None


def _ports(text: str) -> tuple[int, range]:
    name, colon, ports = text.partition(":")
    if not colon:
        name, ports = "tcp", name
    try:
        proto = protocol(name)
    except NetlabError:
        proto = 0
    if not proto:
        problem = "Invalid protocol specified" if name == "0" else f"Syntax error: cannot parse '{name}' as a protocol"
        raise SetError(problem)
    if proto == Proto.ICMP:
        number = _icmp(ports)
        return proto, range(number, number + 1)
    if proto == PROTOCOLS["icmpv6"]:
        raise SetError("Syntax error: Protocol ICMPv6 can be used with family inet6 only")
    if proto not in _WITH_PORTS:
        if ports != "0":
            raise SetError(f"Syntax error: Protocol {name} can be used with pseudo port value 0 only.")
        return proto, range(1)
    first, dash, last = ports.partition("-")
    low, high = sorted((_port(first, name), _port(last if dash else first, name)))
    return proto, range(low, high + 1)


def _port(text: str, proto: str) -> int:
    try:
        return port(text)
    except NetlabError:
        raise SetError(f"Syntax error: cannot parse '{text}' as a {proto} port") from None


def _icmp(text: str) -> int:
    if text in ICMP_CODES:
        return ICMP_CODES[text]
    kind, slash, code = text.partition("/")
    numbers = c_number(kind), c_number(code)
    if not slash or any(one is None or one > 0xFF for one in numbers):
        raise SetError(f"Cannot parse {text} as an ICMP type/code.")
    return (numbers[0] or 0) << 8 | (numbers[1] or 0)
