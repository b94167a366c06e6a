"""Targets that tell of packets: `LOG` in the kernel's log, `NFLOG` to a program. Sources: xt_LOG.c, nft_log.c."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from netlab.addresses import mac_address, outside_mac
from netlab.hooks import HookState
from netlab.iptables.extension import Action, Rules, Target, Use, target
from netlab.iptables.log_line import LOOPBACK, Asks, Circumstances, Frame, log_line
from netlab.iptables.option import Kind, Option, c_number, number
from netlab.iptables.words import quote
from netlab.machine import Machine
from netlab.names import NetlabError
from netlab.packet import Packet
from netlab.skb import Skb
from netlab.trace import Logged

LONGEST_PREFIX: Final = 29  # letters; iptables cuts off what is longer
LONGEST_NFLOG_PREFIX: Final = 127  # letters; likewise
LONGEST_LEGACY_PREFIX: Final = 63
WARNING: Final = 4
EVERYBODY: Final = "ff:ff:ff:ff:ff:ff"
ROOT: Final = (0, 0)  # user and group; here all processes are root's

LEVELS: Final = {
    "alert": 1, "crit": 2, "debug": 7, "emerg": 0, "error": 3, "info": 6, "notice": 5, "panic": 0, "warning": WARNING,
}  # fmt: skip
LISTED_LEVELS: Final = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug")
FLAGS: Final = {
    "tcp_sequence": Asks.TCP_SEQUENCE, "tcp_options": Asks.TCP_OPTIONS, "ip_options": Asks.IP_OPTIONS,
    "uid": Asks.UID, "macdecode": Asks.MACDECODE,
}  # fmt: skip


def frame_of(skb: Skb, host: Machine) -> Frame | None:
    """What stood around a packet that came in; nothing around this host's own broadcasts, which come in by no wire."""
    dev = skb.dev_in
    if dev == "lo":
        return LOOPBACK
    if dev is None or skb.looped:
        return None
    peer = host.wires.peers.get((host.name, dev))
    source = mac_address(peer.host.name, peer.dev) if peer else outside_mac(host.name, dev)
    return Frame(EVERYBODY if skb.to_all else mac_address(host.name, dev), source)


def _level(text: str) -> int:
    value = LEVELS.get(text, c_number(text))
    if value is None or value >= len(LISTED_LEVELS):
        raise NetlabError(f'log level "{text}" unknown')
    return value


def _prefix(text: str) -> str:
    if "\n" in text:
        raise NetlabError("LOG: Newlines not allowed in --log-prefix")
    return text[:LONGEST_PREFIX]


@target
@dataclass(frozen=True)
class Log(Target):
    """`-j LOG --log-prefix "dropped: "`: a line in the kernel's log, and on to the next rule.

    The real kernel writes it for its first network namespace only (net.netfilter.nf_log_all_netns).
    """

    name = "LOG"
    options = (
        Option(("--log-prefix",), "prefix", (Kind(_prefix),)),
        Option(("--log-level",), "level", (Kind(_level),)),
        Option(("--log-tcp-sequence",), "tcp_sequence"),
        Option(("--log-tcp-options",), "tcp_options"),
        Option(("--log-ip-options",), "ip_options"),
        Option(("--log-uid",), "uid"),
        Option(("--log-macdecode",), "macdecode"),
    )

    prefix: str = ""
    level: int = WARNING
    tcp_sequence: bool = False
    tcp_options: bool = False
    ip_options: bool = False
    uid: bool = False
    macdecode: bool = False

    @property
    def asks(self) -> int:
        """What is to be told beside, as bits of `Asks`."""
        return sum(bit for field, bit in FLAGS.items() if getattr(self, field))

    def bind(self, rules: Rules) -> Action:
        """Write the line, and go on."""
        host, asks = rules.host, self.asks

        def act(packet: Packet, state: HookState) -> None:
            skb = state.skb
            where = Circumstances(state.dev_in, state.dev_out, frame_of(skb, host), ROOT if skb.sender else None)
            host.write(Logged(skb.number, host.name, log_line(packet, where, self.prefix, asks)))

        return act

    def words(self) -> Iterator[str]:
        """The usual level goes without saying."""
        if self.prefix:
            yield from ("--log-prefix", quote(self.prefix))
        if self.level != WARNING:
            yield from ("--log-level", str(self.level))
        yield from (f"--log-{field.replace('_', '-')}" for field in FLAGS if getattr(self, field))

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`."""
        if numeric:
            text = f"LOG flags {self.asks} level {self.level}"
        else:
            asked = "".join(f" {field.replace('_', '-')}" for field in FLAGS if getattr(self, field))
            text = f"LOG level {LISTED_LEVELS[self.level]}{asked}"
        return f'{text} prefix "{self.prefix}"' if self.prefix else text


@target
@dataclass(frozen=True)
class Nflog(Target):
    """`-j NFLOG --nflog-group 5`: a copy for the program that listens to the group, such as ulogd; on to the next rule.

    Nobody listens here: the trace says what they would hear.
    """

    name = "NFLOG"
    options = (
        Option(("--nflog-prefix",), "prefix", (Kind(lambda text: text[:LONGEST_NFLOG_PREFIX]),)),
        Option(("--nflog-group",), "group", (number(16),)),
        Option(("--nflog-size",), "size", (number(32),)),
        Option(("--nflog-threshold",), "threshold", (number(16),)),
    )

    prefix: str = ""
    group: int = 0
    size: int | None = None
    threshold: int = 0

    def check(self, use: Use) -> None:
        """The old kind has less room for a prefix; the real one cuts it off there.

        Raises:
            NetlabError: it is too long.
        """
        if use.variant == "legacy" and len(self.prefix) > LONGEST_LEGACY_PREFIX:
            raise NetlabError(f"NFLOG: --nflog-prefix has more than {LONGEST_LEGACY_PREFIX} letters")

    def bind(self, rules: Rules) -> Action:
        """Say so, and go on."""
        host = rules.host
        prefix = f' "{self.prefix}"' if self.prefix else ""

        def act(packet: Packet, state: HookState) -> None:
            host.note(state.skb, f"logged to group {self.group}{prefix}")

        return act

    def words(self) -> Iterator[str]:
        """Group 0 and no threshold go without saying."""
        if self.prefix:
            yield from ("--nflog-prefix", quote(self.prefix))
        if self.group:
            yield from ("--nflog-group", str(self.group))
        if self.size is not None:
            yield from ("--nflog-size", str(self.size))
        if self.threshold:
            yield from ("--nflog-threshold", str(self.threshold))

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`: those of iptables-save without the dashes."""
        return " ".join(word.removeprefix("--") for word in self.words())
