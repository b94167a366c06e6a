"""What iptables 1.8.9 has for IPv4 and netlab has not: a rule that uses it is refused by name, not taken for a typo."""

from typing import Final

UNSUPPORTED_MATCHES: Final = frozenset({
    "ah", "bpf", "cgroup", "cluster", "connbytes", "connlabel", "cpu", "dccp", "devgroup", "ecn", "esp",
    "helper", "ipcomp", "ipvs", "nfacct", "osf", "owner", "physdev", "policy", "quota", "rateest", "realm", "sctp",
    "socket", "string", "tcpmss", "time", "u32",
})  # fmt: skip
UNSUPPORTED_TARGETS: Final = frozenset({
    "AUDIT", "CLASSIFY", "CLUSTERIP", "CONNSECMARK", "ECN", "HMARK", "IDLETIMER", "LED", "NAT", "RATEEST",
    "SECMARK", "SYNPROXY", "TCPOPTSTRIP", "TEE", "TPROXY", "ULOG",
})  # fmt: skip
UNSUPPORTED_OPTIONS: Final = frozenset({
    "--update-counters", "--update-subcounters", "--packets-eq", "--packets-lt", "--packets-gt", "--bytes-eq",
    "--bytes-lt", "--bytes-gt", "--nflog-range", "--hashlimit-rate-match", "--hashlimit-rate-interval",
})  # fmt: skip
"""Options of extensions that netlab has without them."""
