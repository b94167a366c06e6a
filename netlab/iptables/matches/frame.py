"""What the frame said around a packet: from whom it was, and whether for everybody (xt_mac.c, xt_pkttype.c)."""

import re
from dataclasses import dataclass
from typing import Final

from netlab.addresses import mac_address, outside_mac
from netlab.hooks import HookState
from netlab.iptables.extension import Match, Rules, Test, match
from netlab.iptables.option import Is, Kind, Option, choice
from netlab.martians import is_multicast
from netlab.names import Hook, NetlabError
from netlab.packet import Packet

_MAC: Final = re.compile(r"[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}")


def _mac(text: str) -> str:
    if not _MAC.fullmatch(text):
        raise NetlabError(f"{text!r} is no MAC address like 02:00:00:00:00:01")
    return ":".join(f"{int(octet, 16):02x}" for octet in text.split(":"))


@match
@dataclass(frozen=True)
class MacMatch(Match):
    """`-m mac --mac-source`: who sent the frame, on the last link that the packet came by."""

    name = "mac"
    hooks = frozenset({Hook.PRE_ROUTING, Hook.LOCAL_IN, Hook.FORWARD})
    options = (Option(("--mac-source",), "source", (Kind(_mac),), negatable=True),)

    source: Is[str] | None = None

    def completed(self) -> None:
        """The address must be given.

        Raises:
            NetlabError: it is not.
        """
        if self.source is None:
            raise NetlabError('mac: option "--mac-source" must be specified')

    def bind(self, rules: Rules) -> Test:
        """What came over `lo` has no sender's address, not even another one."""
        assert self.source is not None
        wanted, negated = self.source
        host, peers = rules.host.name, rules.host.wires.peers

        def test(packet: Packet, state: HookState) -> bool:
            dev = state.dev_in
            if dev is None or dev == "lo" or state.skb.looped:
                return False
            peer = peers.get((host, dev))
            sender = mac_address(peer.host.name, peer.dev) if peer else outside_mac(host, dev)
            return (sender == wanted) is not negated

        return test

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        assert self.source is not None
        return f"MAC {'! ' if self.source.negated else ''}{self.source.value}"


TYPES: Final = choice(
    {
        "unicast": "unicast", "broadcast": "broadcast", "multicast": "multicast", "otherhost": "otherhost",
        "host": "unicast", "bcast": "broadcast", "mcast": "multicast",
    }
)  # fmt: skip


@match
@dataclass(frozen=True)
class PkttypeMatch(Match):
    """`-m pkttype --pkt-type`: the frame was for one, for some or for all.

    A frame for another host never gets as far as to a rule.
    """

    name = "pkttype"
    options = (
        Option(("--pkt-type",), "type", (Kind(lambda text: TYPES.parse(text.lower()), TYPES.format),), negatable=True),
    )

    type: Is[str] | None = None

    def completed(self) -> None:
        """The type must be given.

        Raises:
            NetlabError: it is not.
        """
        if self.type is None:
            raise NetlabError('pkttype: option "--pkt-type" must be specified')

    def bind(self, rules: Rules) -> Test:
        """A packet that is made here counts as unicast on its way out, whatever its destination."""
        assert self.type is not None
        wanted, negated = self.type

        def test(packet: Packet, state: HookState) -> bool:
            found = "unicast"
            if state.skb.to_all:
                found = "multicast" if is_multicast(packet.daddr) else "broadcast"
            return (found == wanted) is not negated

        return test

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        assert self.type is not None
        return f"PKTTYPE {'!=' if self.type.negated else '='} {self.type.value}"
