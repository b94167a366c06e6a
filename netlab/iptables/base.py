"""What every rule can ask without `-m`: addresses, interfaces, protocol, fragments (ip_packet_match in ip_tables.c)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from netlab.hooks import HookState
from netlab.iptables.extension import Match, Rules, Test
from netlab.iptables.option import MASKED, PROTOCOL, Is, Kind, Masked, Option
from netlab.names import NetlabError
from netlab.packet import OFFSET, Packet

LONGEST_NAME: Final = 15  # letters of an interface's name (IFNAMSIZ, less the zero at the end)


def _interface(text: str) -> str:
    if not text:
        raise NetlabError("Empty interface is likely to be undesired")
    if len(text.encode()) > LONGEST_NAME:
        raise NetlabError(f"interface name `{text}' must be shorter than IFNAMSIZ ({LONGEST_NAME})")
    if any(letter.isspace() or letter == '"' for letter in text):
        raise NetlabError(f"interface name {text!r}: iptables-save would print it so that it does not load")
    return text


INTERFACE: Final = Kind(_interface)


@dataclass(frozen=True)
class Base(Match):
    """`-s -d -i -o -p -f`. A name of an interface that ends in `+` means all that begin so; `-f` all fragments but the
    first.
    """

    name = ""
    options = (
        Option(("-s", "--source", "--src"), "source", (MASKED,), negatable=True),
        Option(("-d", "--destination", "--dst"), "destination", (MASKED,), negatable=True),
        Option(("-i", "--in-interface"), "dev_in", (INTERFACE,), negatable=True),
        Option(("-o", "--out-interface"), "dev_out", (INTERFACE,), negatable=True),
        Option(("-p", "--protocol", "--proto"), "proto", (PROTOCOL,), negatable=True),
        Option(("-f", "--fragments"), "fragment", (), negatable=True),
    )

    source: Is[Masked] | None = None
    destination: Is[Masked] | None = None
    dev_in: Is[str] | None = None
    dev_out: Is[str] | None = None
    proto: Is[int] | None = None
    fragment: Is[bool] | None = None

    @property
    def protocol(self) -> int:
        """The protocol that packets must have; 0 where any may come."""
        return 0 if self.proto is None or self.proto.negated else self.proto.value

    @property
    def asks(self) -> bool:
        """A rule may ask for nothing at all."""
        return any(True for _ in self._tests())

    def bind(self, rules: Rules) -> Test:
        """All that is given must be so."""
        tests = list(self._tests())

        def test(packet: Packet, state: HookState) -> bool:
            return all(one(packet, state) for one in tests)

        return test

    def _tests(self) -> Iterator[Test]:
        if self.source:
            (address, mask), no = self.source
            yield lambda packet, _: (packet.saddr & mask == address) is not no
        if self.destination:
            (to, its_mask), otherwise = self.destination
            yield lambda packet, _: (packet.daddr & its_mask == to) is not otherwise
        if self.dev_in:
            came_by, not_by = interface_test(self.dev_in.value), self.dev_in.negated
            yield lambda _, state: came_by(state.dev_in or "") is not not_by
        if self.dev_out:
            leaves_by, not_that = interface_test(self.dev_out.value), self.dev_out.negated
            yield lambda _, state: leaves_by(state.dev_out or "") is not not_that
        if self.proto and self.proto.value:
            proto, other = self.proto
            yield lambda packet, _: (packet.proto == proto) is not other
        if self.fragment:
            whole = self.fragment.negated
            yield lambda packet, _: bool(packet.frag & OFFSET) is not whole

    def __str__(self) -> str:
        return " ".join(self.words())


def interface_test(pattern: str) -> Callable[[str], bool]:
    """Whether an interface's name fits: the very name, or a beginning that `+` stands behind."""
    if pattern.endswith("+"):
        return lambda name: name.startswith(pattern[:-1])
    return lambda name: name == pattern
