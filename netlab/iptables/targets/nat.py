"""Address translation: `SNAT`, `DNAT`, `MASQUERADE`, `REDIRECT`, `NETMAP`. Sources: xt_nat.c, xt_MASQUERADE.c,
xt_REDIRECT.c, xt_NETMAP.c.

They are asked about the first packet of a flow only, and what they choose holds for all of it (`netlab.nat`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from netlab.addresses import mask_of, parse_address
from netlab.hooks import HookState
from netlab.iptables.extension import Action, Rules, Target, Use, target
from netlab.iptables.option import MASKED, Kind, Masked, Option, port
from netlab.names import Hook, NetlabError, Proto, Verdict
from netlab.nat.ranges import Manip, NatRange
from netlab.packet import Packet

NAT: Final = frozenset({"nat"})
SOURCE_HOOKS: Final = frozenset({Hook.LOCAL_IN, Hook.POST_ROUTING})
DESTINATION_HOOKS: Final = frozenset({Hook.PRE_ROUTING, Hook.LOCAL_OUT})
WITH_PORTS: Final = frozenset({Proto.TCP, Proto.UDP, Proto.ICMP, 132, 33})
ANYTHING: Final = NatRange()


def _port(text: str) -> int:
    try:
        return port(text)
    except NetlabError:
        raise NetlabError(f"Port `{text}' not valid") from None


def parse_ports(text: str) -> NatRange:
    """`8080` or `8080-8090`, as MASQUERADE and REDIRECT take them.

    Raises:
        NetlabError: that is no port, or no range.
    """
    if ":" in text:
        raise NetlabError("Invalid port:port syntax - use dash")
    first, dash, last = text.partition("-")
    low = _port(first)
    high = _port(last) if dash else low
    if low > high:
        raise NetlabError(f"Port range `{last}' funky")
    return NatRange(ports=(low, high))


def _parse_ports_with_base(text: str) -> NatRange:
    """`8080-8090/80`: and 80 becomes 8080, 81 becomes 8081, and so on."""
    ports, slash, base = text.partition("/")
    found = parse_ports(ports)
    if slash and "-" not in ports:
        raise NetlabError(f"Garbage after port value: `/{base}'")
    return found._replace(base=_port(base)) if slash else found


def _parse_to(ports: Callable[[str], NatRange]) -> Callable[[str], NatRange]:
    def parse(text: str) -> NatRange:
        host, colon, behind = text.partition(":")
        found = ports(behind) if colon else ANYTHING
        if not host and colon:
            return found
        first, dash, last = host.partition("-")
        low = parse_address(first)
        return found._replace(addresses=(low, parse_address(last) if dash else low))

    return parse


RANDOM: Final = Option(("--random",), "random")
RANDOM_FULLY: Final = Option(("--random-fully",), "random_fully")
PERSISTENT: Final = Option(("--persistent",), "persistent")


@dataclass(frozen=True)
class Translation(Target):
    """What all of them share: `to` says what to choose from, the rest how."""

    tables = NAT

    to: NatRange | None = None
    random: bool | None = None
    random_fully: bool | None = None
    persistent: bool | None = None

    @property
    def needs_conntrack(self) -> bool:
        """What is translated is a flow."""
        return True

    @property
    def range(self) -> NatRange:
        """All that the options say."""
        return (self.to or ANYTHING)._replace(
            random=bool(self.random), random_fully=bool(self.random_fully), persistent=bool(self.persistent)
        )

    def completed(self) -> None:
        """Where it cannot be told without, `to` must be given.

        Raises:
            NetlabError: it is not.
        """
        needed = self.options[0]
        if self.to is None and self.must_say_where:
            raise NetlabError(f'{self.name}: option "{needed.names[0]}" must be specified')

    must_say_where = True

    def check(self, use: Use) -> None:
        """Only some protocols have ports.

        Raises:
            NetlabError: ports are given, and -p names none of these.
        """
        if self.to and self.to.ports and use.protocol not in WITH_PORTS:
            raise NetlabError("Need TCP, UDP, SCTP or DCCP with port specification")

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`."""
        return f"to:{self.range}"


@target
@dataclass(frozen=True)
class Snat(Translation):
    """`-j SNAT --to-source 192.0.2.1`: the flow's packets leave with another source, and answers find back."""

    name = "SNAT"
    hooks = SOURCE_HOOKS
    options = (
        Option(("--to-source",), "to", (Kind(_parse_to(parse_ports)),)),
        RANDOM,
        RANDOM_FULLY,
        PERSISTENT,
    )

    def bind(self, rules: Rules) -> Action:
        """Choose, and end the walk."""
        nat, wanted = rules.nat(), self.range
        return lambda packet, state: nat.setup(state.skb, wanted, Manip.SOURCE)


@target
@dataclass(frozen=True)
class Dnat(Translation):
    """`-j DNAT --to-destination 10.0.2.2:80`: the flow's packets go to another destination."""

    name = "DNAT"
    hooks = DESTINATION_HOOKS
    options = (
        Option(("--to-destination",), "to", (Kind(_parse_to(_parse_ports_with_base)),)),
        RANDOM,
        PERSISTENT,
    )

    def bind(self, rules: Rules) -> Action:
        """Choose, and end the walk."""
        nat, wanted = rules.nat(), self.range
        return lambda packet, state: nat.setup(state.skb, wanted, Manip.DESTINATION)


def _listed_ports(before: str, wanted: NatRange) -> str:
    """`redir ports 8080-8090 random`, as iptables -L has it."""
    ports = wanted._replace(random=False, random_fully=False)
    flags = str(wanted._replace(ports=None))
    return " ".join([*([f"{before} {_ports_text(ports)}"] if wanted.ports else []), *([flags] if flags else [])])


def _ports_text(wanted: NatRange) -> str:
    return str(wanted).removeprefix(":")


TO_PORTS: Final = Option(("--to-ports",), "to", (Kind(parse_ports, _ports_text),))


@target
@dataclass(frozen=True)
class Masquerade(Translation):
    """`-j MASQUERADE`: SNAT to the address that this host has on the interface by which the packet leaves."""

    name = "MASQUERADE"
    hooks = frozenset({Hook.POST_ROUTING})
    options = (TO_PORTS, RANDOM, RANDOM_FULLY)
    must_say_where = False

    def bind(self, rules: Rules) -> Action:
        """Choose, and end the walk."""
        nat, wanted = rules.nat(), self.range

        def act(packet: Packet, state: HookState) -> Verdict:
            assert state.dev_out is not None
            return nat.masquerade(state.skb, wanted, state.dev_out)

        return act

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`."""
        return _listed_ports("masq ports:", self.range)


@target
@dataclass(frozen=True)
class Redirect(Translation):
    """`-j REDIRECT --to-ports 8080`: DNAT to this host itself."""

    name = "REDIRECT"
    hooks = DESTINATION_HOOKS
    options = (TO_PORTS, RANDOM)
    must_say_where = False

    def bind(self, rules: Rules) -> Action:
        """Choose, and end the walk."""
        nat, wanted = rules.nat(), self.range
        return lambda packet, state: nat.redirect(state.skb, wanted, state.hook, state.dev_in)

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`."""
        return _listed_ports("redir ports", self.range)


def _parse_network(text: str) -> NatRange:
    network = MASKED.parse(text)
    if network.mask != mask_of(network.mask.bit_count()):
        raise NetlabError(f"NETMAP: {text!r} is no network: its mask has holes")
    return NatRange(addresses=(network.address, network.address | ~network.mask & 0xFFFFFFFF), netmap=True)


def _network_text(wanted: NatRange) -> str:
    assert wanted.addresses is not None
    first, last = wanted.addresses
    return str(Masked(first, ~(first ^ last) & 0xFFFFFFFF))


@target
@dataclass(frozen=True)
class Netmap(Translation):
    """`-j NETMAP --to 10.9.0.0/24`: another network before the same host part: the source's where a packet leaves, the
    destination's where it comes.
    """

    name = "NETMAP"
    hooks = SOURCE_HOOKS | DESTINATION_HOOKS
    options = (Option(("--to",), "to", (Kind(_parse_network, _network_text),)),)

    def bind(self, rules: Rules) -> Action:
        """Choose, and end the walk."""
        nat, wanted = rules.nat(), self.range

        def act(packet: Packet, state: HookState) -> Verdict:
            manip = Manip.SOURCE if state.hook in SOURCE_HOOKS else Manip.DESTINATION
            return nat.setup(state.skb, wanted, manip)

        return act

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`."""
        return f"to:{_network_text(self.range)}"
