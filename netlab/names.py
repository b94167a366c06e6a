"""Every name of the field in one place: hooks, verdicts, priorities, protocols, drop reasons, errors.

The numbers are the kernel's own (include/uapi/linux/netfilter.h, netfilter_ipv4.h, include/net/dropreason-core.h).
"""

from enum import Enum, IntEnum, StrEnum
from typing import Final


class NetlabError(Exception):
    """Something a user wrote cannot be understood or done; the message says what and where, in one line."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the user's own line that led here, and the message."""
        from pathlib import Path
        from traceback import extract_tb

        package = Path(__file__).parent
        frames = [f for f in extract_tb(self.__traceback__) if package not in Path(f.filename).parents]
        own = frames[-1] if frames else None
        where = [f"line {own.lineno}: {own.line}"] if own and own.line else []
        return [*where, f"{type(self).__name__}: {self}"]


class Hook(IntEnum):
    """The five places where netfilter lets functions look at an IPv4 packet (enum nf_inet_hooks)."""

    PRE_ROUTING = 0
    LOCAL_IN = 1
    FORWARD = 2
    LOCAL_OUT = 3
    POST_ROUTING = 4

    # The kernel's spellings: NF_IP_* in old books, NF_INET_* in current sources.
    NF_IP_PRE_ROUTING = 0
    NF_IP_LOCAL_IN = 1
    NF_IP_FORWARD = 2
    NF_IP_LOCAL_OUT = 3
    NF_IP_POST_ROUTING = 4
    NF_INET_PRE_ROUTING = 0
    NF_INET_LOCAL_IN = 1
    NF_INET_FORWARD = 2
    NF_INET_LOCAL_OUT = 3
    NF_INET_POST_ROUTING = 4

    @property
    def chain(self) -> str:
        """The iptables chain that hangs on this hook: `INPUT` for LOCAL_IN."""
        return CHAIN[self]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def parse(cls, name: str) -> "Hook":
        """The hook with that kernel name; a chain name or a typo is refused with the list of names.

        Raises:
            NetlabError: there is no such hook.
        """
        try:
            return cls[name]
        except KeyError:
            chains = {chain: hook.name for hook, chain in CHAIN.items()}
            meant = f": {name} is an iptables chain, its hook is {chains[name]}" if name in chains else ""
            known = ", ".join(hook.name for hook in cls)
            raise NetlabError(f"unknown hook {name!r}{meant or f' (the hooks are {known})'}") from None


CHAIN: Final[dict[Hook, str]] = {
    Hook.PRE_ROUTING: "PREROUTING",
    Hook.LOCAL_IN: "INPUT",
    Hook.FORWARD: "FORWARD",
    Hook.LOCAL_OUT: "OUTPUT",
    Hook.POST_ROUTING: "POSTROUTING",
}


class Verdict(IntEnum):
    """What a hook function tells the kernel to do with the packet (include/uapi/linux/netfilter.h).

    REPEAT is today only an answer of a queue listener; STOP is no longer used.
    """

    DROP = 0
    ACCEPT = 1
    STOLEN = 2
    QUEUE = 3
    REPEAT = 4
    STOP = 5

    NF_DROP = 0
    NF_ACCEPT = 1
    NF_STOLEN = 2
    NF_QUEUE = 3
    NF_REPEAT = 4
    NF_STOP = 5

    def __str__(self) -> str:
        return self.name


DROP, ACCEPT, STOLEN, QUEUE, REPEAT = (
    Verdict.DROP, Verdict.ACCEPT, Verdict.STOLEN, Verdict.QUEUE, Verdict.REPEAT,
)  # fmt: skip


class Priority(IntEnum):
    """Where the kernel's own functions stand within a hook, lowest first (enum nf_ip_hook_priorities)."""

    FIRST = -(2**31)
    CONNTRACK_DEFRAG = -400
    RAW = -300
    SELINUX_FIRST = -225
    CONNTRACK = -200
    MANGLE = -150
    NAT_DST = -100
    FILTER = 0
    SECURITY = 50
    NAT_SRC = 100
    SELINUX_LAST = 225
    CONNTRACK_HELPER = 300
    CONNTRACK_CONFIRM = 2**31 - 1


class Proto(IntEnum):
    """IP protocol numbers that netlab knows by name; any other number is carried as plain payload."""

    ICMP = 1
    TCP = 6
    UDP = 17

    def __str__(self) -> str:
        return self.name.lower()


PROTOCOL_NAMES: Final[dict[str, int]] = {
    "icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "sctp": 132, "udplite": 136,
}  # fmt: skip
PROTOCOL_OF_NUMBER: Final[dict[int, str]] = {number: name for name, number in PROTOCOL_NAMES.items()}


def protocol_name(number: int) -> str:
    """`tcp` for 6; the bare number as text where there is no name."""
    return PROTOCOL_OF_NUMBER.get(number, str(number))


class CtState(StrEnum):
    """What connection tracking says of a packet; rules match it with `--ctstate`."""

    NEW = "NEW"
    ESTABLISHED = "ESTABLISHED"
    RELATED = "RELATED"
    INVALID = "INVALID"
    UNTRACKED = "UNTRACKED"


class TcpState(IntEnum):
    """The state of a TCP entry (enum tcp_conntrack). Not the same thing as a packet's `CtState`."""

    NONE = 0
    SYN_SENT = 1
    SYN_RECV = 2
    ESTABLISHED = 3
    FIN_WAIT = 4
    CLOSE_WAIT = 5
    LAST_ACK = 6
    TIME_WAIT = 7
    CLOSE = 8
    SYN_SENT2 = 9

    def __str__(self) -> str:
        return self.name


class DropReason(StrEnum):
    """Why the kernel freed a packet: the names of include/net/dropreason-core.h without SKB_DROP_REASON_."""

    NOT_SPECIFIED = "NOT_SPECIFIED"
    NO_SOCKET = "NO_SOCKET"
    PKT_TOO_SMALL = "PKT_TOO_SMALL"
    TCP_CSUM = "TCP_CSUM"
    UDP_CSUM = "UDP_CSUM"
    ICMP_CSUM = "ICMP_CSUM"
    NETFILTER_DROP = "NETFILTER_DROP"
    OTHERHOST = "OTHERHOST"
    IP_CSUM = "IP_CSUM"
    IP_INHDR = "IP_INHDR"
    IP_RPFILTER = "IP_RPFILTER"
    IP_LOCAL_SOURCE = "IP_LOCAL_SOURCE"
    IP_INVALID_SOURCE = "IP_INVALID_SOURCE"
    IP_LOCALNET = "IP_LOCALNET"
    IP_INVALID_DEST = "IP_INVALID_DEST"
    IP_INADDRERRORS = "IP_INADDRERRORS"
    IP_INNOROUTES = "IP_INNOROUTES"
    IP_OUTNOROUTES = "IP_OUTNOROUTES"
    IP_NOPROTO = "IP_NOPROTO"
    PKT_TOO_BIG = "PKT_TOO_BIG"
    FRAG_REASM_TIMEOUT = "FRAG_REASM_TIMEOUT"
    FRAG_TOO_FAR = "FRAG_TOO_FAR"
    DUP_FRAG = "DUP_FRAG"
    TCP_AUTH_HDR = "TCP_AUTH_HDR"
    TCP_MD5UNEXPECTED = "TCP_MD5UNEXPECTED"
    TCP_AOFAILURE = "TCP_AOFAILURE"
    TCP_FLAGS = "TCP_FLAGS"
    TCP_RESET = "TCP_RESET"
    TCP_INVALID_SYN = "TCP_INVALID_SYN"
    TCP_OLD_DATA = "TCP_OLD_DATA"
    TCP_OLD_SEQUENCE = "TCP_OLD_SEQUENCE"
    TCP_INVALID_SEQUENCE = "TCP_INVALID_SEQUENCE"
    TCP_OVERWINDOW = "TCP_OVERWINDOW"
    TCP_ACK_UNSENT_DATA = "TCP_ACK_UNSENT_DATA"
    TCP_TOO_OLD_ACK = "TCP_TOO_OLD_ACK"
    QUEUE_PURGE = "QUEUE_PURGE"
    NEIGH_FAILED = "NEIGH_FAILED"
    INVALID_PROTO = "INVALID_PROTO"
    UNHANDLED_PROTO = "UNHANDLED_PROTO"


class World(Enum):
    """Where a trace comes from."""

    SIMULATOR = "simulator"
    KERNEL = "kernel"
