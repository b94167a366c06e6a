"""The line that the kernel writes about a packet: `IN=eth0 OUT= MAC= SRC=10.0.1.2 DST=10.0.2.2 LEN=40 ...`.

What stands in it, and in which order: net/netfilter/nf_log_syslog.c. It ends with a blank, as in the kernel's log.
"""

from collections.abc import Callable, Generator, Iterator
from enum import IntFlag
from struct import Struct
from typing import Final, NamedTuple

from netlab.addresses import format_address
from netlab.icmp import FRAGMENTATION_NEEDED, PARAMETER_PROBLEM, REDIRECT, UNREACHABLE
from netlab.packet import DF, ICMP_ERRORS, MF, OFFSET, Packet

TOS_BITS, PRECEDENCE_BITS, RESERVED_BIT = 0x1E, 0xE0, 0x8000  # of the IP header
ICMP, TCP, UDP, ESP, AH, UDPLITE = 1, 6, 17, 50, 51, 136

# From the reserved bits' last, which has a name since RFC 9768, down to FIN.
FLAGS: Final = (
    (0x100, "AE"), (0x80, "CWR"), (0x40, "ECE"), (0x20, "URG"), (0x10, "ACK"), (0x08, "PSH"), (0x04, "RST"),
    (0x02, "SYN"), (0x01, "FIN"),
)  # fmt: skip
ECHOES: Final = frozenset({0, 8})
LEAST_ICMP: Final = dict.fromkeys(ICMP_ERRORS, 28) | {0: 4, 8: 4, 13: 20, 14: 20, 17: 12, 18: 12}
"""The bytes that a message of that type has at least; those that report errors quote an IP header."""

_IP, _TCP, _UDP, _ICMP = Struct(">BBHHHBBHII"), Struct(">HHIIHHHH"), Struct(">HHHH"), Struct(">BBHHH")
_AH, _ESP = Struct(">II4x"), Struct(">I4x")


class Asks(IntFlag):
    """What `-j LOG` may be asked to tell beside (NF_LOG_*)."""

    TCP_SEQUENCE = 0x01
    TCP_OPTIONS = 0x02
    IP_OPTIONS = 0x04
    UID = 0x08
    MACDECODE = 0x20


class Frame(NamedTuple):
    """The Ethernet header that a packet came with; over `lo` it is one of zeros."""

    destination: str
    source: str

    def __str__(self) -> str:
        return f"{self.destination}:{self.source}:08:00"


class Circumstances(NamedTuple):
    """What is told of a packet beside its bytes: where it is, its frame, and the user and group of who sent it, if it
    was a process.
    """

    dev_in: str | None = None
    dev_out: str | None = None
    frame: Frame | None = None
    process: tuple[int, int] | None = None


class Header(NamedTuple):
    """A place in the bytes where a transport header begins; `fragment`: it is not there, but in another fragment."""

    data: bytes
    at: int
    fragment: bool
    quoted: bool

    def holds(self, octets: int) -> bool:
        """Whether so many bytes are there."""
        return self.at + octets <= len(self.data)

    def incomplete(self) -> str:
        """What is said where they are not."""
        return f"INCOMPLETE [{len(self.data) - self.at & 0xFFFFFFFF} bytes] "


LOOPBACK: Final = Frame("00:00:00:00:00:00", "00:00:00:00:00:00")

Parts = Generator[str, None, bool]
"""The parts of a line, and whether anything may be told behind them."""


def log_line(packet: Packet, where: Circumstances, prefix: str = "", asks: int = 0) -> str:
    """The line about that packet; `asks` are bits of `Asks`."""
    line = f"{prefix}IN={where.dev_in or ''} OUT={where.dev_out or ''} "
    if where.dev_in and where.frame and asks & Asks.MACDECODE and where.frame != LOOPBACK:
        line += f"MACSRC={where.frame.source} MACDST={where.frame.destination} MACPROTO=0800 "
    elif where.dev_in:
        line += f"MAC={where.frame or ''} "
    end = ""
    if asks & Asks.UID and where.process:
        end += "UID={} GID={} ".format(*where.process)
    if packet.mark:
        end += f"MARK={packet.mark:#x} "
    return line + "".join(_ip(packet.to_bytes(), 0, asks, end))


def _ip(data: bytes, at: int, asks: int, end: str = "") -> Iterator[str]:
    """An IP header and what is behind it; `end` is told last, unless a header was cut short."""
    if at + _IP.size > len(data):
        yield "TRUNCATED"
        return
    version_ihl, tos, length, ip_id, frag, ttl, proto, _, saddr, daddr = _IP.unpack_from(data, at)
    yield f"SRC={format_address(saddr)} DST={format_address(daddr)} LEN={length} "
    yield f"TOS=0x{tos & TOS_BITS:02X} PREC=0x{tos & PRECEDENCE_BITS:02X} TTL={ttl} ID={ip_id} "
    yield from (name for bit, name in ((RESERVED_BIT, "CE "), (DF, "DF "), (MF, "MF ")) if frag & bit)
    if frag & OFFSET:
        yield f"FRAG:{frag & OFFSET} "
    behind = at + (version_ihl & 15) * 4
    if asks & Asks.IP_OPTIONS and behind > at + _IP.size:
        if behind > len(data):
            yield "TRUNCATED"
            return
        yield f"OPT ({data[at + _IP.size : behind].hex().upper()}) "
    header = Header(data, behind, bool(frag & OFFSET), quoted=at > 0)
    told = _TRANSPORTS.get(proto)
    if told is None:
        yield f"PROTO={proto} "
    elif not (yield from told(header, asks)):
        return
    yield end


def _tcp(header: Header, asks: int) -> Parts:
    yield "PROTO=TCP "
    if header.fragment:
        return True
    if not header.holds(_TCP.size):
        yield header.incomplete()
        return False
    sport, dport, seq, ack, flags, window, _, urgent = _TCP.unpack_from(header.data, header.at)
    yield f"SPT={sport} DPT={dport} "
    if asks & Asks.TCP_SEQUENCE:
        yield f"SEQ={seq} ACK={ack} "
    yield f"WINDOW={window} RES=0x{(flags >> 8 & 15) << 2:02x} "
    yield from (f"{name} " for bit, name in FLAGS if flags & bit)
    yield f"URGP={urgent} "
    octets = (flags >> 12) * 4
    if asks & Asks.TCP_OPTIONS and octets > _TCP.size:
        if not header.holds(octets):
            yield "OPT (TRUNCATED)"
            return False
        yield f"OPT ({header.data[header.at + _TCP.size : header.at + octets].hex().upper()}) "
    return True


def _udp(name: str) -> Callable[[Header, int], Parts]:
    def told(header: Header, asks: int) -> Parts:
        yield f"PROTO={name} "
        if header.fragment:
            return True
        if not header.holds(_UDP.size):
            yield header.incomplete()
            return False
        sport, dport, length, _ = _UDP.unpack_from(header.data, header.at)
        yield f"SPT={sport} DPT={dport} LEN={length} "
        return True

    return told


def _icmp(header: Header, asks: int) -> Parts:
    yield "PROTO=ICMP "
    if header.fragment:
        return True
    if not header.holds(_ICMP.size):
        yield header.incomplete()
        return True
    kind, code, _, id, seq = _ICMP.unpack_from(header.data, header.at)
    yield f"TYPE={kind} CODE={code} "
    if not header.holds(LEAST_ICMP.get(kind, 0)):
        yield header.incomplete()
        return True
    if kind in ECHOES:
        yield f"ID={id} SEQ={seq} "
    elif kind == PARAMETER_PROBLEM:
        yield f"PARAMETER={id >> 8} "
    elif kind in ICMP_ERRORS:
        if kind == REDIRECT:
            yield f"GATEWAY={format_address(id << 16 | seq)} "
        if not header.quoted:  # a quoted error's own quotation is not told
            yield "["
            yield from _ip(header.data, header.at + _ICMP.size, asks)
            yield "] "
        if (kind, code) == (UNREACHABLE, FRAGMENTATION_NEEDED):
            yield f"MTU={seq} "
    return True


def _ah(header: Header, asks: int) -> Parts:
    if header.fragment:
        return True
    yield "PROTO=AH "
    yield f"SPI={_AH.unpack_from(header.data, header.at)[1]:#x} " if header.holds(_AH.size) else header.incomplete()
    return True


def _esp(header: Header, asks: int) -> Parts:
    yield "PROTO=ESP "
    if header.fragment:
        return True
    yield f"SPI={_ESP.unpack_from(header.data, header.at)[0]:#x} " if header.holds(_ESP.size) else header.incomplete()
    return True


_TRANSPORTS: Final[dict[int, Callable[[Header, int], Parts]]] = {
    TCP: _tcp, UDP: _udp("UDP"), UDPLITE: _udp("UDPLITE"), ICMP: _icmp, AH: _ah, ESP: _esp,
}  # fmt: skip
