"""The matches: a module for each subject, a class for each match. Importing the package makes all of them known."""

from netlab.iptables.matches import (
    addrtype,
    connlimit,
    conntrack,
    frame,
    hashlimit,
    header,
    icmp,
    limit,
    mark,
    multiport,
    recent,
    rpfilter,
    sets,
    statistic,
    transport,
)

__all__ = [
    "addrtype", "connlimit", "conntrack", "frame", "hashlimit", "header", "icmp", "limit", "mark", "multiport",
    "recent", "rpfilter", "sets", "statistic", "transport",
]  # fmt: skip
