"""What kinds of addresses a packet has, for this host (xt_addrtype.c)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from netlab.hooks import HookState
from netlab.iptables.extension import Match, Rules, Test, Use, match
from netlab.iptables.option import Is, Option, some_of
from netlab.names import Hook, NetlabError
from netlab.route import RouteType

TYPES: Final = (
    "UNSPEC", "UNICAST", "LOCAL", "BROADCAST", "ANYCAST", "MULTICAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT",
    "THROW", "NAT", "XRESOLVE",
)  # fmt: skip
"""The types of routes, in the order of their numbers; an address never has those behind MULTICAST."""

KIND: Final = some_of(*TYPES)
BEFORE_ROUTING: Final = frozenset({Hook.PRE_ROUTING, Hook.LOCAL_IN})
BEHIND_ROUTING: Final = frozenset({Hook.POST_ROUTING, Hook.LOCAL_OUT})


@match
@dataclass(frozen=True)
class AddrtypeMatch(Match):
    """`-m addrtype`: an address is LOCAL, BROADCAST... by the routing table `local`.

    With `--limit-iface-in` or `--limit-iface-out` only by those of its routes that lead to that interface.
    """

    name = "addrtype"
    options = (
        Option(("--src-type",), "source", (KIND,), negatable=True),
        Option(("--dst-type",), "destination", (KIND,), negatable=True),
        Option(("--limit-iface-in",), "limit", value="in"),
        Option(("--limit-iface-out",), "limit", value="out"),
    )

    source: Is[tuple[str, ...]] | None = None
    destination: Is[tuple[str, ...]] | None = None
    limit: str | None = None

    def completed(self) -> None:
        """It must ask for one of both addresses.

        Raises:
            NetlabError: it does not.
        """
        if self.source is None and self.destination is None:
            raise NetlabError("addrtype: you must specify --src-type or --dst-type")

    def check(self, use: Use) -> None:
        """There must be such an interface where the rule stands.

        Raises:
            NetlabError: there is none yet, or none any more.
        """
        wrong = {"in": BEHIND_ROUTING, "out": BEFORE_ROUTING, None: frozenset[Hook]()}[self.limit] & use.hooks
        if wrong:
            chains = ", ".join(hook.chain for hook in sorted(wrong))
            raise NetlabError(f"--limit-iface-{self.limit}: packets in {chains} have no such interface")

    def bind(self, rules: Rules) -> Test:
        """Looks the addresses up."""
        fib, limit = rules.host.fib, self.limit

        def type_of(address: int, state: HookState) -> RouteType:
            return fib.address_type(address, {"in": state.dev_in, "out": state.dev_out}.get(limit or ""))

        source, destination = _test(self.source, type_of), _test(self.destination, type_of)
        return lambda packet, state: source(packet.saddr, state) and destination(packet.daddr, state)

    def listed(self, numeric: bool = True) -> str:
        """As `iptables -L` prints it."""
        parts = ["ADDRTYPE match"]
        for side, types in (("src", self.source), ("dst", self.destination)):
            if types:
                parts.append(f"{side}-type {'!' if types.negated else ''}{KIND.format(types.value)}")
        return " ".join([*parts, *([f"limit-{self.limit}"] if self.limit else [])])


def _test(
    types: Is[tuple[str, ...]] | None, type_of: Callable[[int, HookState], RouteType]
) -> Callable[[int, HookState], bool]:
    if types is None:
        return lambda address, state: True
    wanted, negated = frozenset(name.lower() for name in types.value), types.negated
    return lambda address, state: (type_of(address, state) in wanted) is not negated
