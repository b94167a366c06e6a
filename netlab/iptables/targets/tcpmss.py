"""`TCPMSS`: how large segments a side says it takes. Source: xt_TCPMSS.c; the option: RFC 9293, 3.7.1."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from netlab.hooks import HookState
from netlab.iptables.extension import Action, Match, Rules, Target, Use, target
from netlab.iptables.matches.transport import FLAGS, TcpMatch
from netlab.iptables.option import Kind, Option, number
from netlab.machine import Machine
from netlab.names import Hook, NetlabError, Proto, Verdict
from netlab.packet import OFFSET, Packet, moved_checksum
from netlab.route_output import route_output
from netlab.skb import Skb

TCP_HEADER, BOTH_HEADERS, LONGEST_HEADER = 20, 40, 60  # bytes
MAX_MTU: Final = 0xFFFF
HIGHEST_MSS: Final = 65515
DEFAULT_MSS: Final = 536  # of who does not say (RFC 1122, 4.2.2.6)
MSS, NOP, MSS_LENGTH = 2, 1, 4
CLAMP: Final = -1
CHECKSUM: Final = slice(16, 18)


def _size(text: str) -> int:
    value = number(16).parse(text)
    if value > HIGHEST_MSS:
        raise NetlabError(f"{text!r} is not a number from 0 to {HIGHEST_MSS}")
    return value


@target
@dataclass(frozen=True)
class Tcpmss(Target):
    """`-j TCPMSS --set-mss 1400`, or `--clamp-mss-to-pmtu`: no more than the links on the way both ways carry.

    It never makes the number larger. Where none is said, the option is added, if no data stands behind the header.
    """

    name = "TCPMSS"
    options = (
        Option(("--set-mss",), "mss", (Kind(_size),)),
        Option(("--clamp-mss-to-pmtu",), "mss", value=CLAMP),
    )

    mss: int | None = None

    def completed(self) -> None:
        """There must be something to do.

        Raises:
            NetlabError: there is not.
        """
        if self.mss is None:
            raise NetlabError("TCPMSS target: At least one parameter is required")

    def check(self, use: Use) -> None:
        """Only TCP has it, and what the way carries is known only on the way out; ip_tables wants to see a --syn, too.

        Raises:
            NetlabError: it stands elsewhere.
        """
        if use.protocol != Proto.TCP:
            raise NetlabError("TCPMSS: needs -p tcp")
        if use.variant == "legacy" and not any(map(_asks_for_syn, use.matches)):
            raise NetlabError("TCPMSS: only works on TCP SYN packets: needs --syn")
        if self.mss == CLAMP and use.hooks & {Hook.PRE_ROUTING, Hook.LOCAL_IN}:
            raise NetlabError("TCPMSS: path-MTU clamping only supported in FORWARD, OUTPUT and POSTROUTING hooks")

    def bind(self, rules: Rules) -> Action:
        """Write it, and go on; a broken header ends the packet."""
        host, given = rules.host, self.mss

        def act(packet: Packet, state: HookState) -> Packet | Verdict | None:
            if packet.frag & OFFSET:
                return None
            if state.skb.pieces:  # to write it, the kernel has it in one piece: the fragments' bounds are gone
                state.skb.pieces = (max(state.skb.pieces),)
            segment = packet.payload
            header = (segment[12] >> 4) * 4 if len(segment) >= TCP_HEADER else 0
            if not TCP_HEADER <= header <= len(segment):
                return Verdict.DROP
            mss = _path_mtu(host, state.skb, packet) - BOTH_HEADERS if given == CLAMP else given or 0
            if mss <= 0 and given == CLAMP:
                return Verdict.DROP
            changed = with_mss(segment, header, mss & 0xFFFF)
            return None if changed is None else packet._replace(payload=changed)

        return act

    def words(self) -> Iterator[str]:
        """One or the other."""
        yield from ["--clamp-mss-to-pmtu"] if self.mss == CLAMP else ("--set-mss", str(self.mss))

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`."""
        return "TCPMSS clamp to PMTU" if self.mss == CLAMP else f"TCPMSS set {self.mss}"


def _asks_for_syn(match: Match) -> bool:
    """Whether it is a match tcp that lets only segments with SYN through (find_syn_match in xt_TCPMSS.c)."""
    if not isinstance(match, TcpMatch) or match.flags is None or match.flags.negated:
        return False
    return bool(match.flags.value[1] & FLAGS["SYN"])


def _path_mtu(host: Machine, skb: Skb, packet: Packet) -> int:
    """What the link ahead carries and the one back to the sender, in bytes."""
    assert skb.dev_out is not None and skb.decision is not None
    ahead = host.mtu_of(skb.dev_out, skb.decision.route)
    back = route_output(host.fib, host.sysctls, dst=packet.saddr)
    behind = MAX_MTU if back.dev is None else host.mtu_of(back.dev, back.route)
    return min(ahead, behind, MAX_MTU)


def with_mss(segment: bytes, header: int, mss: int) -> bytes | None:
    """A TCP segment that says at most this `mss`; None if it need not be changed, or has no room for the option."""
    at = TCP_HEADER
    while at <= header - MSS_LENGTH:
        if segment[at] == MSS and segment[at + 1] == MSS_LENGTH:
            said = int.from_bytes(segment[at + 2 : at + 4], "big")
            if said <= mss:
                return None
            # The kernel moves the checksum as if the option stood on an even place; if it does not, it comes out wrong.
            changed = segment[: at + 2] + mss.to_bytes(2, "big") + segment[at + 4 :]
            return _summed(changed, segment, said, mss)
        at += 1 if segment[at] <= NOP or segment[at + 1] == 0 else segment[at + 1]
    if len(segment) > header or header >= LONGEST_HEADER:
        return None
    option = bytes((MSS, MSS_LENGTH)) + min(mss, DEFAULT_MSS).to_bytes(2, "big")
    longer = bytes((segment[12] + 0x10,))
    changed = segment[:12] + longer + segment[13:TCP_HEADER] + option + segment[TCP_HEADER:]
    before = len(segment) + int.from_bytes(segment[12:14], "big")
    after = len(changed) + int.from_bytes(option, "big") + int.from_bytes(changed[12:14], "big")
    return _summed(changed, segment, before, after)


def _summed(changed: bytes, segment: bytes, before: int, after: int) -> bytes:
    """With the checksum moved on."""
    check = moved_checksum(int.from_bytes(segment[CHECKSUM], "big"), before, after)
    return changed[:16] + check.to_bytes(2, "big") + changed[18:]
