"""How many packets a second pass a router with rules, beside scapy's reading of the same capture.

    python -m benchmarks.rules
    python -m benchmarks.rules --packets 950000 --chunk 10000

The way of measuring is that of `benchmarks.engine`: the same capture, functions that count on each of the five hooks,
processes of their own, turns. Here nothing is recorded, every connection is tracked (states, windows, checksums), and
every packet meets the rules of the chain FORWARD, which were compiled:

    the usual rule set: what belongs to a known flow first, then one rule for each port, then everything else
    the same with a thousand rules
    a thousand rules of which every packet is asked, since those about ports come first

Nothing is remembered of a flow but what conntrack remembers: hooks, route and rules are gone through for each packet,
and the rules' counters are kept.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.engine import Chunks, Contender, compare, dissected_by_scapy, forwarded

FEW, MANY = 20, 1000  # rules
WANTED = 25
"""How many times as fast as scapy the router with few rules is to be."""
SLOWER = 1.3
"""So many times as long may a packet take with many rules as with few."""

FIRST_PORT = 2000
KNOWN = "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"


def port_rules(count: int) -> Iterator[str]:
    """So many rules, a port each; those of the capture's servers are among them, but not in front."""
    ports = [*range(FIRST_PORT, FIRST_PORT + count - 4), 22, 80, 443, 8080]
    return (f"-A FORWARD -p tcp -m tcp --dport {port} -j ACCEPT" for port in ports)


def usual_rules(count: int) -> str:
    """Rules as iptables-save prints them: known flows, ports, DNS and ping, all else is dropped."""
    last = ["-A FORWARD -p udp -m udp --dport 53 -j ACCEPT", "-A FORWARD -p icmp -j ACCEPT", "-A FORWARD -j DROP"]
    return table([KNOWN, *port_rules(count - 1 - len(last)), *last])


def ports_first(count: int) -> str:
    """The rules about ports in front of the one about known flows, so that every packet is asked for its port."""
    return table(
        [*port_rules(count - 3), KNOWN, "-A FORWARD -m conntrack --ctstate NEW -j ACCEPT", "-A FORWARD -j DROP"]
    )


def table(rules: Sequence[str]) -> str:
    """The table filter with these rules."""
    return "\n".join(["*filter", ":INPUT ACCEPT", ":FORWARD ACCEPT", ":OUTPUT ACCEPT", *rules, "COMMIT", ""])


def few(capture: Path, chunk: int) -> Chunks:
    """A router with few rules."""
    return forwarded(capture, chunk, iptables=usual_rules(FEW))


def many(capture: Path, chunk: int) -> Chunks:
    """A router with many rules."""
    return forwarded(capture, chunk, iptables=usual_rules(MANY))


def many_asked(capture: Path, chunk: int) -> Chunks:
    """A router with many rules, all of which are asked for every packet."""
    return forwarded(capture, chunk, iptables=ports_first(MANY))


CONTENDERS = (
    Contender("scapy PcapReader, full dissect", dissected_by_scapy),
    Contender(f"netlab, conntrack, {FEW} rules", few, WANTED),
    Contender(f"netlab, conntrack, {MANY:,} rules", many, round(WANTED / SLOWER, 1)),
    Contender(f"netlab, conntrack, {MANY:,} rules, ports first", many_asked, round(WANTED / SLOWER, 1)),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print packets a second and ratios."""
    compare(arguments, "Measure compiled rules beside scapy.", CONTENDERS)


if __name__ == "__main__":
    main(sys.argv[1:])
