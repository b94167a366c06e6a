"""Which sysctl says how long an entry lives without a packet, by protocol and state.

Changing one changes no entry that exists. The defaults, in seconds, are in `netlab.sysctls`.
"""

from typing import Final

PREFIX: Final = "net.netfilter.nf_conntrack_"

TCP: Final[dict[str, str]] = {
    name: f"{PREFIX}tcp_timeout_{name.lower()}"
    for name in (
        "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",
        "MAX_RETRANS", "UNACKNOWLEDGED",
    )
}  # fmt: skip
"""By state; and MAX_RETRANS after too many repetitions, UNACKNOWLEDGED while data waits for its acknowledgement."""

SYN_SENT2: Final = 120  # seconds: the one state that no sysctl speaks of

UDP, UDP_STREAM = f"{PREFIX}udp_timeout", f"{PREFIX}udp_timeout_stream"
GRE, GRE_STREAM = f"{PREFIX}gre_timeout", f"{PREFIX}gre_timeout_stream"
ICMP, GENERIC = f"{PREFIX}icmp_timeout", f"{PREFIX}generic_timeout"
