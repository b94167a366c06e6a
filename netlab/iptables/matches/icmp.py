"""ICMP's types and codes (icmp_match in net/netfilter/xt_tcpudp.c)."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from netlab.hooks import HookState
from netlab.iptables.extension import HotDrop, Match, Rules, Test, match
from netlab.iptables.option import Is, Kind, Option, c_number
from netlab.names import NetlabError, Proto
from netlab.packet import OFFSET, Packet

HEADER: Final = 8  # bytes
EVERY_CODE: Final = (0, 255)
ANY_TYPE: Final = 255


class IcmpType(NamedTuple):
    """A type, and the first and the last of the codes that are meant; type 255 means every message."""

    type: int
    codes: tuple[int, int] = EVERY_CODE

    def __str__(self) -> str:
        if self.type == ANY_TYPE:
            return "any"
        return str(self.type) if self.codes == EVERY_CODE else f"{self.type}/{self.codes[0]}"


def _names() -> dict[str, IcmpType]:
    codes = {
        3: "network-unreachable host-unreachable protocol-unreachable port-unreachable fragmentation-needed "
        "source-route-failed network-unknown host-unknown - network-prohibited host-prohibited "
        "TOS-network-unreachable TOS-host-unreachable communication-prohibited host-precedence-violation "
        "precedence-cutoff",
        5: "network-redirect host-redirect TOS-network-redirect TOS-host-redirect",
        11: "ttl-zero-during-transit ttl-zero-during-reassembly",
        12: "ip-header-bad required-option-missing",
    }
    types = {
        "echo-reply": 0, "pong": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5,
        "echo-request": 8, "ping": 8, "router-advertisement": 9, "router-solicitation": 10, "time-exceeded": 11,
        "ttl-exceeded": 11, "parameter-problem": 12, "timestamp-request": 13, "timestamp-reply": 14,
        "address-mask-request": 17, "address-mask-reply": 18,
    }  # fmt: skip
    names = {"any": IcmpType(ANY_TYPE)}
    for name, kind in types.items():
        names[name] = IcmpType(kind)
    for kind, listed in codes.items():
        names |= {name: IcmpType(kind, (code, code)) for code, name in enumerate(listed.split()) if name != "-"}
    return names


NAMES: Final = _names()
"""What `iptables -p icmp -h` lists: the types, and the codes of those that have some."""


def _icmp_type(text: str) -> IcmpType:
    """A name, or the beginning of just one; a number; or a type's and a code's numbers."""
    meant = [name for name in NAMES if name.lower().startswith(text.lower())] if text else []
    exact = [name for name in meant if len(name) == len(text)]
    if exact or len(meant) == 1:
        return NAMES[(exact or meant)[0]]
    if meant:
        raise NetlabError(f"ICMP type {text!r} may be {' or '.join(meant)}")
    first, slash, second = text.partition("/")
    kind, code = c_number(first), c_number(second)
    if kind is None or kind > 255:
        raise NetlabError(f"unknown ICMP type {text!r}")
    if not slash:
        return IcmpType(kind)
    if code is None or code > 255:
        raise NetlabError(f"unknown ICMP code {text!r}")
    return IcmpType(kind, (code, code))


@match
@dataclass(frozen=True)
class IcmpMatch(Match):
    """`-m icmp --icmp-type`: a number, a number and a code like 3/1, or a name."""

    name = "icmp"
    protocols = frozenset({Proto.ICMP})
    options = (Option(("--icmp-type",), "type", (Kind(_icmp_type),), negatable=True),)

    type: Is[IcmpType] | None = None

    def completed(self) -> None:
        """The type must be given.

        Raises:
            NetlabError: it is not.
        """
        if self.type is None:
            raise NetlabError('icmp: option "--icmp-type" must be specified')

    def bind(self, rules: Rules) -> Test:
        """Fragments behind the first have no type, and a message whose header is cut off is dropped."""
        assert self.type is not None
        (kind, (low, high)), negated = self.type

        def test(packet: Packet, state: HookState) -> bool:
            if packet.frag & OFFSET:
                return False
            header = packet.payload
            if len(header) < HEADER:
                raise HotDrop
            return (kind == ANY_TYPE or (header[0] == kind and low <= header[1] <= high)) is not negated

        return test

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        assert self.type is not None
        meant, negated = self.type
        no = "!" if negated else ""
        if not numeric and (name := next((name for name, one in NAMES.items() if one == meant), "")):
            return f"icmp {no}{name}"
        code = "" if meant.codes == EVERY_CODE else f" code {meant.codes[0]}"
        return f"icmp{' !' if negated else ''}type {meant.type}{code}"
