"""`REJECT`: drop the packet, and tell its sender. Sources: ipt_REJECT.c, nf_reject_ipv4.c."""

from dataclasses import dataclass
from struct import Struct
from typing import Final

from netlab import icmp
from netlab.hooks import HookState
from netlab.iptables.extension import Action, Rules, Target, Use, target
from netlab.iptables.option import Kind, Option
from netlab.names import DropReason, Hook, NetlabError, Proto, Verdict
from netlab.packet import DF, OFFSET, Packet, checksum
from netlab.route_output import route_output
from netlab.skb import Skb

RST, ACK, SYN, FIN = 0x04, 0x10, 0x02, 0x01  # flags of TCP

# What `--reject-with` may say: the name that is printed, its other names, and the code of "destination unreachable".
TCP_RESET: Final = "tcp-reset"
TYPES: Final = {
    "icmp-net-unreachable": (("net-unreach",), icmp.NET),
    "icmp-host-unreachable": (("host-unreach",), icmp.HOST),
    "icmp-proto-unreachable": (("proto-unreach",), icmp.PROTOCOL),
    "icmp-port-unreachable": (("port-unreach",), icmp.PORT),
    "icmp-net-prohibited": (("net-prohib",), icmp.NET_PROHIBITED),
    "icmp-host-prohibited": (("host-prohib",), icmp.HOST_PROHIBITED),
    TCP_RESET: (("tcp-rst",), None),
    "icmp-admin-prohibited": (("admin-prohib",), icmp.FILTERED),
}


def parse_type(text: str) -> str:
    """The name of a way to reject, from any beginning of one of its names: of several the first in the list.

    Raises:
        NetlabError: nothing begins like that.
    """
    wanted = text.lower()
    for name, (others, _) in TYPES.items():
        if any(one.startswith(wanted) for one in (name, *others)):
            return name
    raise NetlabError(f'unknown reject type "{text}"')


@target
@dataclass(frozen=True)
class Reject(Target):
    """`-j REJECT --reject-with icmp-port-unreachable`: an ICMP error goes back, or with `tcp-reset` a reset."""

    name = "REJECT"
    tables = frozenset({"filter"})
    hooks = frozenset({Hook.LOCAL_IN, Hook.FORWARD, Hook.LOCAL_OUT})
    options = (Option(("--reject-with",), "reject_with", (Kind(parse_type),)),)

    reject_with: str = "icmp-port-unreachable"

    def check(self, use: Use) -> None:
        """Only TCP knows resets.

        Raises:
            NetlabError: `tcp-reset` without `-p tcp`.
        """
        if self.reject_with == TCP_RESET and use.protocol != Proto.TCP:
            raise NetlabError("REJECT: --reject-with tcp-reset needs -p tcp")

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`."""
        return f"reject-with {self.reject_with}"

    def bind(self, rules: Rules) -> Action:
        """Answer the sender, and drop the packet."""
        host, code = rules.host, TYPES[self.reject_with][1]

        def unreachable(packet: Packet, state: HookState) -> Verdict:
            seen = _as_summed(packet, state.skb)
            if not packet.frag & OFFSET and (_sums_otherwise(packet) or is_believed(seen)):
                host.report(icmp.Error(icmp.UNREACHABLE, code or 0), state.skb)
            return Verdict.DROP

        def reset(packet: Packet, state: HookState) -> Verdict:
            answer = reset_for(packet, host.default_ttl())
            seen = _as_summed(packet, state.skb) if state.hook is Hook.LOCAL_IN else packet
            if answer is not None and is_believed(seen) and state.skb.unicast:
                _send(rules, answer, state.skb)
            return Verdict.DROP

        return reset if code is None else unreachable


# ---------------------------------------------------------------- what is answered

# Protocols whose checksum covers something else than the whole payload, or that have none at all.
_OWN_SUMS: Final = frozenset({47, 50, 51, 132, 136})
_SUMMED_BY_CONNTRACK: Final = frozenset({Proto.TCP, Proto.UDP, Proto.ICMP})
_UDP_CHECK: Final = slice(6, 8)


def _as_summed(packet: Packet, skb: Skb) -> Packet:
    """The packet as conntrack has summed it, if it has: before this host wrote into its IP options."""
    return packet._replace(checksum=None) if skb.summed and packet.proto in _SUMMED_BY_CONNTRACK else packet


def _sums_otherwise(packet: Packet) -> bool:
    """Whether the sum over the payload says nothing (nf_reject_verify_csum)."""
    if packet.proto == Proto.UDP:
        return packet.payload[_UDP_CHECK] == bytes(2)
    return packet.proto in _OWN_SUMS


def is_believed(packet: Packet) -> bool:
    """Whether all bytes from the IP header on sum up to nothing, with TCP's and UDP's pseudo header (nf_ip_checksum).

    That asks more than a right checksum: a protocol that the kernel does not know has none, and the IP header's own no
    longer fits when this host has written into its options.
    """
    pseudo = b""
    if packet.proto in (Proto.TCP, Proto.UDP):
        pseudo = _PSEUDO.pack(packet.saddr, packet.daddr, packet.proto, len(packet.payload))
    return not checksum(pseudo + packet.to_bytes())


# ---------------------------------------------------------------- the reset


def reset_for(packet: Packet, ttl: int) -> Packet | None:
    """The reset that answers a TCP segment (RFC 9293, 3.10.7.1); None for a reset, a fragment, or half a header."""
    if packet.frag & OFFSET or packet.proto != Proto.TCP or len(packet.payload) < _TCP.size:
        return None
    sport, dport, seq, ack, offset, flags, _, _, _ = _TCP.unpack_from(packet.payload)
    if flags & RST:
        return None
    data = len(packet.payload) - (offset >> 4) * 4  # below 0 where the header claims to be longer than all there is
    expected = seq + bool(flags & SYN) + bool(flags & FIN) + data & 0xFFFFFFFF
    answers = flags & ACK  # then it says itself what is expected of the other side
    made = Packet.tcp(
        packet.dst, packet.src, dport, sport, "R" if answers else "RA",
        seq=ack if answers else 0, ack=0 if answers else expected, window=0, ttl=ttl,
    )  # fmt: skip
    return made._replace(frag=DF)


def _send(rules: Rules, answer: Packet, about: Skb) -> None:
    """Route a reset anew, close the flow that it ends, and let it go by LOCAL_OUT (nf_send_reset)."""
    host = rules.host
    decision = route_output(host.fib, host.sysctls, dst=answer.daddr, src=answer.saddr, any_source=True)
    skb = Skb(answer, host.wires.new_number())
    if decision.dev is None or host.mtu_of(decision.dev, decision.route) < answer.length:
        host.drop(skb, DropReason.NOT_SPECIFIED, f"no way for this reset: {decision}")
        return
    skb.unsummed = True
    skb.attach(about)
    if about.ct is not None:
        rules.tracker().set_closing(about.ct)
    host.local_out(skb, decision, "the kernel")


_PSEUDO = Struct(">IIHH")
_TCP = Struct(">HHIIBBHHH")
