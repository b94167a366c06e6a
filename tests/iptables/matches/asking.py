"""Short ways to ask what a match says of a packet: rules that only count, on a router between two networks."""

from netlab.host import Host
from netlab.packet import Packet
from netlab.trace import Dropped
from tests.iptables.targets.rig import CLIENT, SERVER, router

DROPPED = "dropped"


def counting(*matches: str, chain: str = "PREROUTING", table: str = "mangle", **options: object) -> Host:
    """The router with a rule for each, that has no target."""
    return router(*(f"-A {chain} {match}" for match in matches), table=table, **options)


def counted(host: Host, table: str = "mangle") -> list[int]:
    """How many packets each rule has meant."""
    return [rule.counters.packets for rule in host.firewall.ruleset.tables[table].rules()]


def means(match: str, packet: Packet, dev: str = "eth0", **options: object) -> bool | str:
    """Whether it means the packet, or DROPPED if it has it dropped at once."""
    host = counting(match, **options)
    trace = host.receive(dev, packet)
    if any(isinstance(event, Dropped) and "rule:1 DROP" in event.why for event in trace.events):
        return DROPPED
    return counted(host) == [1]


def udp(sport: int = 4000, dport: int = 53, data: bytes = b"", **header: object) -> Packet:
    """From the client to the server."""
    return Packet.udp(CLIENT, SERVER, sport, dport, data, **header)


def tcp(sport: int = 4000, dport: int = 80, flags: str = "S", **header: object) -> Packet:
    """From the client to the server."""
    return Packet.tcp(CLIENT, SERVER, sport, dport, flags, **header)  # type: ignore[arg-type]


def cut(packet: Packet, length: int) -> Packet:
    """The packet with so many bytes behind its IP header."""
    return packet._replace(payload=packet.payload[:length])


def later(packet: Packet, units: int = 1) -> Packet:
    """The packet's bytes as those of a later fragment."""
    return packet.with_(frag_offset=8 * units)
