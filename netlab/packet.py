"""An IPv4 packet as a value.

A packet here is what it is on the wire: the fields of the IPv4 header (RFC 791) and, behind it, the payload's exact
bytes. TCP, UDP and ICMP are *views* of that payload, read when asked for. Nothing is ever changed in place: `with_`
gives a changed copy, and sets right the checksums that cover what it changed, in the incremental way of RFC 1624,
which is how NAT does it in the kernel: a packet that came with a wrong checksum keeps a wrong one.
"""

from collections.abc import Iterator
from struct import Struct, error
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from netlab.addresses import format_address, parse_address
from netlab.names import PROTOCOL_NAMES, DropReason, NetlabError, Proto, protocol_name

if TYPE_CHECKING:
    from scapy.layers.inet import IP

DF = 0x4000
MF = 0x2000
OFFSET = 0x1FFF  # the fragment offset, counted in units of 8 bytes
FLAG_LETTERS = "FSRPAUEC"  # TCP's flags from the lowest bit up: FIN SYN RST PSH ACK URG ECE CWR

_IP = Struct(">BBHHHBBHII")
_TCP = Struct(">HHIIBBHHH")
_UDP = Struct(">HHHH")
_ICMP = Struct(">BBHHH")
_PSEUDO = Struct(">IIHH")

# ICMP types that report an error and quote the packet that caused it (RFC 792).
ICMP_ERRORS = frozenset({3, 4, 5, 11, 12})
ICMP_QUERIES = frozenset({0, 8, 13, 14, 15, 16, 17, 18})
ICMP_NAMES = {
    0: "echo-reply", 3: "destination-unreachable", 4: "source-quench", 5: "redirect", 8: "echo-request",
    11: "time-exceeded", 12: "parameter-problem", 13: "timestamp-request", 14: "timestamp-reply",
    17: "address-mask-request", 18: "address-mask-reply",
}  # fmt: skip


class MalformedPacket(NetlabError):
    """Bytes that are no IPv4 packet. `field` names the wrong header field, `reason` is the kernel's drop reason."""

    def __init__(self, field: str, problem: str, reason: DropReason = DropReason.IP_INHDR) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.reason = reason


class Tcp(NamedTuple):
    """A TCP segment (RFC 9293). `flags` is a number of bits; `options` and `payload` are bytes."""

    sport: int
    dport: int
    seq: int
    ack: int
    offset: int
    flags: int
    window: int
    checksum: int
    urgent: int
    options: bytes
    payload: bytes


class Udp(NamedTuple):
    """A UDP datagram (RFC 768). `length` is what the header claims, in bytes."""

    sport: int
    dport: int
    length: int
    checksum: int
    payload: bytes


class Icmp(NamedTuple):
    """An ICMP message (RFC 792). `id` and `seq` are the second word's halves, whatever the type makes of them."""

    type: int
    code: int
    checksum: int
    id: int
    seq: int
    payload: bytes

    @property
    def is_error(self) -> bool:
        """True when it reports an error, so that `payload` quotes the packet that caused it."""
        return self.type in ICMP_ERRORS

    @property
    def mtu(self) -> int:
        """The next hop's MTU in bytes, as "fragmentation needed" (3/4) carries it (RFC 1191)."""
        return self.seq

    @property
    def gateway(self) -> int:
        """The better gateway's address, as a redirect (5) carries it."""
        return self.id << 16 | self.seq


class Packet(NamedTuple):
    """An IPv4 packet. Addresses are integers in `saddr` and `daddr`, dotted text in `src` and `dst`.

    `frag` is the header's third word: flags and fragment offset. `checksum` is None while it is right, else the wrong
    value found. `mark` is not on the wire: the number the kernel keeps beside a packet (fwmark), for `ip rule`.
    """

    saddr: int
    daddr: int
    proto: int
    payload: bytes = b""
    ttl: int = 64
    tos: int = 0
    ip_id: int = 0
    frag: int = 0
    options: bytes = b""
    checksum: int | None = None
    mark: int = 0

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse it, and say how a changed packet is made.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(f"a packet never changes in place: packet.with_({name}=...) makes a changed copy")

    # ---------------------------------------------------------------- making one

    @classmethod
    def ip(cls, src: str, dst: str, proto: int | str, payload: bytes | str = b"", **header: Any) -> "Packet":
        """A packet of any protocol with that payload. `header`: ttl, tos, ip_id, df, mf, frag_offset, options, mark.

        Raises:
            NetlabError: an unknown protocol or field, a value out of range.
        """
        packet = Packet(
            _address("src", src), _address("dst", dst), protocol_number(proto), as_bytes("payload", payload)
        )
        return packet._fitting().with_(**header)

    @classmethod
    def udp(cls, src: str, dst: str, sport: int, dport: int, payload: bytes | str = b"", **header: Any) -> "Packet":
        """A UDP packet with right checksums."""
        data = as_bytes("payload", payload)
        length = min(8 + len(data), 0xFFFF)  # more than that is refused below, with the whole packet's length
        head = _UDP.pack(_within("sport", sport, 16), _within("dport", dport, 16), length, 0)
        return cls._with_checksum(src, dst, Proto.UDP, head + data, 6, header)

    @classmethod
    def tcp(
        cls,
        src: str,
        dst: str,
        sport: int,
        dport: int,
        flags: str = "S",
        *,
        seq: int = 0,
        ack: int = 0,
        window: int = 65535,
        urgent: int = 0,
        tcp_options: bytes = b"",
        payload: bytes | str = b"",
        **header: Any,
    ) -> "Packet":
        """A TCP packet with right checksums; `flags` are letters of FSRPAUEC, options are padded to four bytes."""
        options = _padded("tcp_options", tcp_options)
        head = _TCP.pack(
            _within("sport", sport, 16), _within("dport", dport, 16), _within("seq", seq, 32), _within("ack", ack, 32),
            (20 + len(options)) // 4 << 4, parse_flags(flags), _within("window", window, 16), 0,
            _within("urgent", urgent, 16),
        )  # fmt: skip
        return cls._with_checksum(src, dst, Proto.TCP, head + options + as_bytes("payload", payload), 16, header)

    @classmethod
    def icmp(
        cls, src: str, dst: str, type: int = 8, code: int = 0, *, id: int = 0, seq: int = 0,
        payload: bytes | str = b"", **header: Any,
    ) -> "Packet":  # fmt: skip
        """An ICMP packet with right checksums, by default an echo request."""
        head = _ICMP.pack(
            _within("type", type, 8),
            _within("code", code, 8),
            0,
            _within("id", id, 16),
            _within("seq", seq, 16),
        )
        body = head + as_bytes("payload", payload)
        body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
        return cls.ip(src, dst, Proto.ICMP, body, **header)

    @classmethod
    def _with_checksum(
        cls, src: str, dst: str, proto: int, segment: bytes, at: int, header: dict[str, Any]
    ) -> "Packet":
        packet = Packet(_address("src", src), _address("dst", dst), proto, segment)._fitting()
        return packet._replace(payload=_sealed(packet.saddr, packet.daddr, proto, segment, at)).with_(**header)

    # ---------------------------------------------------------------- bytes in and out

    @classmethod
    def from_bytes(cls, data: bytes) -> "Packet":
        """The packet in these bytes, from the IP header on; what lies behind its total length (padding) is cut off.

        The checks are those of `ip_rcv_core` in net/ipv4/ip_input.c, in its order, but for the header checksum: a
        packet with a wrong one is still a packet here (see `checksum`), and it is the receiving host that drops it.

        Raises:
            MalformedPacket: naming the field that is wrong.
        """
        try:
            version_ihl, tos, length, ip_id, frag, ttl, proto, check, saddr, daddr = _IP.unpack_from(data)
        except error:
            raise MalformedPacket("header", f"{len(data)} bytes, an IPv4 header has at least 20") from None
        except TypeError:
            raise NetlabError(f"{data!r} is no packet: bytes are expected, from the IP header on") from None
        header = (version_ihl & 15) * 4
        if version_ihl != 0x45:
            if version_ihl >> 4 != 4:
                raise MalformedPacket("version", f"{version_ihl >> 4}, not 4")
            if header < 20:
                raise MalformedPacket("header length", f"{header} bytes, at least 20 are needed")
            if len(data) < header:
                raise MalformedPacket("header length", f"{header} bytes, only {len(data)} are there")
        bad = int.from_bytes(data[:header], "big") % 0xFFFF
        if length != len(data):
            if bad:
                raise MalformedPacket("checksum", f"{check:#06x} is wrong for this header", DropReason.IP_CSUM)
            if length > len(data):
                raise MalformedPacket(
                    "total length", f"{length} bytes, only {len(data)} are there", DropReason.PKT_TOO_SMALL
                )
            if length < header:
                raise MalformedPacket("total length", f"{length} bytes, less than the header's {header}")
        return _new_packet(
            cls,
            (
                saddr, daddr, proto, data[header:length], ttl, tos, ip_id, frag, data[20:header],
                check if bad else None, 0,
            ),
        )  # fmt: skip

    def to_bytes(self) -> bytes:
        """The bytes on the wire, from the IP header on."""
        header = 20 + len(self.options)
        words = (
            0x40 | header >> 2, self.tos, header + len(self.payload), self.ip_id, self.frag, self.ttl, self.proto,
        )  # fmt: skip
        check = self.checksum
        if check is None:
            check = checksum(_IP.pack(*words, 0, self.saddr, self.daddr) + self.options)
        return _IP.pack(*words, check, self.saddr, self.daddr) + self.options + self.payload

    def __bytes__(self) -> bytes:
        return self.to_bytes()

    @classmethod
    def from_scapy(cls, packet: "IP") -> "Packet":
        """The same packet out of scapy: `Packet.from_scapy(IP(dst="10.0.0.1")/UDP())`."""
        return cls.from_bytes(bytes(packet))

    def to_scapy(self) -> "IP":
        """The same packet for scapy: `packet.to_scapy().show()`."""
        from scapy.layers.inet import IP

        return IP(self.to_bytes())

    # ---------------------------------------------------------------- reading it

    @property
    def src(self) -> str:
        """The source address as dotted text."""
        return format_address(self.saddr)

    @property
    def dst(self) -> str:
        """The destination address as dotted text."""
        return format_address(self.daddr)

    @property
    def df(self) -> bool:
        """Don't fragment."""
        return bool(self.frag & DF)

    @property
    def mf(self) -> bool:
        """More fragments follow."""
        return bool(self.frag & MF)

    @property
    def frag_offset(self) -> int:
        """Where this fragment's payload belongs in the whole one, in bytes."""
        return (self.frag & OFFSET) * 8

    @property
    def is_fragment(self) -> bool:
        """True for every fragment: one with more to follow, or one that starts behind 0."""
        return bool(self.frag & (MF | OFFSET))

    @property
    def length(self) -> int:
        """The total length in bytes, IP header included."""
        return 20 + len(self.options) + len(self.payload)

    @property
    def l4(self) -> Tcp | Udp | Icmp | None:
        """The payload read as its protocol says; None in a later fragment, if cut short, or for other protocols."""
        payload = self.payload
        if self.frag & OFFSET:
            return None
        if self.proto == Proto.TCP and len(payload) >= 20:
            sport, dport, seq, ack, offset, flags, window, check, urgent = _TCP.unpack_from(payload)
            header = (offset >> 4) * 4
            if not 20 <= header <= len(payload):
                return None
            return Tcp(
                sport,
                dport,
                seq,
                ack,
                header,
                flags,
                window,
                check,
                urgent,
                payload[20:header],
                payload[header:],
            )
        if self.proto == Proto.UDP and len(payload) >= 8:
            sport, dport, length, check = _UDP.unpack_from(payload)
            return Udp(sport, dport, length, check, payload[8:])
        if self.proto == Proto.ICMP and len(payload) >= 8:
            type, code, check, id, seq = _ICMP.unpack_from(payload)
            return Icmp(type, code, check, id, seq, payload[8:])
        return None

    @property
    def sport(self) -> int | None:
        """TCP's or UDP's source port; None where the packet has none."""
        if self.proto in _HAS_PORTS and len(self.payload) >= 4 and not self.frag & OFFSET:
            return self.payload[0] << 8 | self.payload[1]
        return None

    @property
    def dport(self) -> int | None:
        """TCP's or UDP's destination port; None where the packet has none."""
        if self.proto in _HAS_PORTS and len(self.payload) >= 4 and not self.frag & OFFSET:
            return self.payload[2] << 8 | self.payload[3]
        return None

    @property
    def flags(self) -> str | None:
        """TCP's flags as letters, `SA` for a SYN-ACK; None where there is no TCP header."""
        segment = self.l4
        return format_flags(segment.flags) if isinstance(segment, Tcp) else None

    @property
    def quoted(self) -> "Packet | None":
        """The packet an ICMP error quotes, as far as it was quoted; None for anything else."""
        message = self.l4
        if not isinstance(message, Icmp) or not message.is_error or len(message.payload) < 20:
            return None
        data = message.payload
        # A quotation is cut short, its total length is not: read it as if it ended where it does.
        header = (data[0] & 15) * 4
        if data[0] >> 4 != 4 or not 20 <= header <= len(data):
            return None
        _, tos, _, ip_id, frag, ttl, proto, _, saddr, daddr = _IP.unpack_from(data)
        return Packet(saddr, daddr, proto, data[header:], ttl, tos, ip_id, frag, data[20:header])

    def checksum_ok(self) -> bool:
        """Whether the transport checksum is right (a UDP checksum of 0 means the sender left it out).

        Fragments, and protocols other than TCP, UDP and ICMP, have nothing to check here: True.
        """
        if self.frag & (MF | OFFSET) or self.proto not in _CHECKSUM_AT:
            return True
        at, payload = _CHECKSUM_AT[self.proto], self.payload
        if len(payload) < at + 2:
            return False
        if self.proto == Proto.ICMP:
            return checksum(payload) == 0
        if self.proto == Proto.UDP:
            if payload[at : at + 2] == b"\0\0":
                return True
            payload = payload[: _UDP.unpack_from(payload)[2]]
        return checksum(_pseudo(self.saddr, self.daddr, self.proto, len(payload)) + payload) == 0

    # ---------------------------------------------------------------- changing it

    def sealed(self) -> "Packet":
        """A copy whose TCP, UDP or ICMP checksum is right, whatever it was; other protocols have none to set right."""
        at = _CHECKSUM_AT.get(self.proto)
        if at is None or len(self.payload) < at + 2:
            return self
        segment = self.payload[:at] + b"\0\0" + self.payload[at + 2 :]
        if self.proto == Proto.ICMP:
            return self._replace(payload=segment[:at] + checksum(segment).to_bytes(2, "big") + segment[at + 2 :])
        return self._replace(payload=_sealed(self.saddr, self.daddr, self.proto, segment, at))

    def with_(self, **changes: Any) -> "Packet":
        """A copy with these fields changed, checksums following along.

        Fields of the header: src, dst, proto, ttl, tos, ip_id, df, mf, frag_offset (bytes), options, mark, payload
        (the whole IP payload), checksum. Of TCP and UDP: sport, dport. Of TCP: flags, seq, ack, window. Of ICMP:
        type, code, id, icmp_seq.

        Raises:
            NetlabError: an unknown field, a value out of range, or a field this packet's protocol does not have.
        """
        header: dict[str, Any] = {}
        transport: dict[str, Any] = {}
        frag = self.frag
        for field, value in changes.items():
            if field in ("src", "dst"):
                header["saddr" if field == "src" else "daddr"] = _address(field, value)
            elif field in ("df", "mf"):
                bit = DF if field == "df" else MF
                frag = frag | bit if _within(field, value, 1) else frag & ~bit
            elif field == "frag_offset":
                if _within(field, value, 16) % 8:
                    raise NetlabError(f"frag_offset: {value} is not a multiple of 8 from 0 to 65528")
                frag = frag & ~OFFSET | value // 8
            elif field in _HEADER_BITS:
                header[field] = _within(field, value, _HEADER_BITS[field])
            elif field == "proto":
                header["proto"] = protocol_number(value)
            elif field == "payload":
                header["payload"] = as_bytes(field, value)
            elif field == "options":
                header["options"] = _padded(field, value)
            elif field == "checksum":
                header["checksum"] = None if value is None else _within(field, value, 16)
            elif field in _TRANSPORT_FIELDS:
                transport[field] = value
            else:
                raise NetlabError(f"a packet has no field {field!r}")
        if frag != self.frag:
            header["frag"] = frag
        changed = self._replace(**header)._fitting()
        if "payload" not in header and (changed.saddr != self.saddr or changed.daddr != self.daddr):
            changed = changed._readdressed(self)
        for field, value in transport.items():
            changed = changed._with_transport(field, value)
        return changed

    def _fitting(self) -> "Packet":
        if self.length > 0xFFFF:
            raise NetlabError(f"payload: the packet would have {self.length} bytes, at most 65535 fit")
        return self

    def one_hop_less(self) -> "Packet":
        """A copy with one hop less to live: `with_(ttl=packet.ttl - 1)`, for every packet that is forwarded."""
        saddr, daddr, proto, payload, ttl, tos, ip_id, frag, options, check, mark = self
        return _new_packet(Packet, (saddr, daddr, proto, payload, ttl - 1, tos, ip_id, frag, options, check, mark))

    def _readdressed(self, before: "Packet") -> "Packet":
        """The transport checksum brought along after an address changed (it covers a pseudo header with both)."""
        if self.proto not in _HAS_PORTS or self.frag & OFFSET:
            return self
        old = _IP.pack(0, 0, 0, 0, 0, 0, 0, 0, before.saddr, before.daddr)[12:]
        new = _IP.pack(0, 0, 0, 0, 0, 0, 0, 0, self.saddr, self.daddr)[12:]
        return self._replace(payload=_adjusted(self.payload, self.proto, old, new))

    def _with_transport(self, field: str, value: Any) -> "Packet":
        protocols, at, size = _TRANSPORT_FIELDS[field]
        if self.proto not in protocols:
            raise NetlabError(f"a packet of protocol {protocol_name(self.proto)} has no field {field!r}")
        number = parse_flags(value) if field == "flags" else _within(field, value, size * 8)
        if self.frag & OFFSET or len(self.payload) < at + size:
            raise NetlabError(f"{field}: this packet carries no whole {protocol_name(self.proto)} header")
        # A checksum sums 16-bit words, so the change is taken word by word, on even borders.
        start, end = at & ~1, at + size + (at + size & 1)
        old = self.payload[start:end]
        payload = self.payload[:at] + number.to_bytes(size, "big") + self.payload[at + size :]
        return self._replace(payload=_adjusted(payload, self.proto, old, payload[start:end]))

    def diff(self, other: "Packet") -> list[tuple[str, str, str]]:
        """What differs between two packets: (field, here, there) as text, in the order of the fields."""
        mine, theirs = dict(self._facts()), dict(other._facts())
        return [
            (field, mine.get(field, "-"), theirs.get(field, "-"))
            for field in dict.fromkeys([*mine, *theirs])
            if mine.get(field) != theirs.get(field)
        ]

    # ---------------------------------------------------------------- showing it

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield "src", self.src
        yield "dst", self.dst
        yield "proto", protocol_name(self.proto)
        yield "ttl", str(self.ttl)
        yield "tos", f"{self.tos:#04x}"
        yield "ip_id", str(self.ip_id)
        yield "df", str(self.df)
        yield "mf", str(self.mf)
        yield "frag_offset", str(self.frag_offset)
        yield "options", self.options.hex()
        yield "mark", f"{self.mark:#x}"
        segment = self.l4
        if isinstance(segment, Tcp):
            yield "flags", format_flags(segment.flags)
        for field, value in segment._asdict().items() if segment else ():
            if field not in ("payload", "flags", "length", "offset"):
                yield f"{_prefix(field)}{field}", value.hex() if isinstance(value, bytes) else str(value)
        yield "payload", (segment.payload if segment else self.payload).hex()

    def __str__(self) -> str:
        """One line: `10.0.1.2:4000 > 10.0.2.2:80 tcp S ttl=64`."""
        segment = self.l4
        source, destination, rest = self.src, self.dst, ""
        if self.sport is not None:
            source, destination = f"{source}:{self.sport}", f"{destination}:{self.dport}"
        if isinstance(segment, Tcp):
            rest = f" {format_flags(segment.flags) or 'no flags'}"
        elif isinstance(segment, Icmp):
            rest = f" {ICMP_NAMES.get(segment.type, 'type')} {segment.type}/{segment.code}"
            rest += f" id={segment.id}" if segment.type in ICMP_QUERIES else ""
        if self.is_fragment:
            rest += f" fragment {self.frag_offset}+{len(self.payload)}{'+' if self.mf else ''}"
        mark = f" mark={self.mark:#x}" if self.mark else ""
        return f"{source} > {destination} {protocol_name(self.proto)}{rest} ttl={self.ttl}{mark}"

    def __repr__(self) -> str:
        return f"<Packet {self}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th scope=row>{name}</th><td><code>{text}</code></td></tr>" for name, text in self._facts()
        )
        return f"<table><caption>{str(self).replace('>', '&gt;')}</caption>{rows}</table>"


_new_packet = tuple.__new__  # a NamedTuple's own constructor costs twice as much

_HAS_PORTS = (Proto.TCP, Proto.UDP)
_CHECKSUM_AT: dict[int, int] = {Proto.TCP: 16, Proto.UDP: 6, Proto.ICMP: 2}
_HEADER_BITS = {"ttl": 8, "tos": 8, "ip_id": 16, "mark": 32}
_TCP_UDP, _ONLY_TCP, _ONLY_ICMP = (Proto.TCP, Proto.UDP), (Proto.TCP,), (Proto.ICMP,)
# Where each transport field stands in the payload: (protocols that have it, offset, size), in bytes.
_TRANSPORT_FIELDS: dict[str, tuple[tuple[Proto, ...], int, int]] = {
    "sport": (_TCP_UDP, 0, 2), "dport": (_TCP_UDP, 2, 2),
    "seq": (_ONLY_TCP, 4, 4), "ack": (_ONLY_TCP, 8, 4), "flags": (_ONLY_TCP, 13, 1), "window": (_ONLY_TCP, 14, 2),
    "type": (_ONLY_ICMP, 0, 1), "code": (_ONLY_ICMP, 1, 1), "id": (_ONLY_ICMP, 4, 2), "icmp_seq": (_ONLY_ICMP, 6, 2),
}  # fmt: skip


def checksum(data: bytes) -> int:
    """The internet checksum of these bytes (RFC 1071); 0 for bytes that already contain their right checksum.

    A sum of 16-bit words with the carries added back in is a remainder by 65535, which Python takes in one step.
    """
    if len(data) & 1:
        data += b"\0"
    number = int.from_bytes(data, "big")
    total = number % 0xFFFF
    return 0xFFFF - (total or (0xFFFF if number else 0))


def udplite_checksum_ok(packet: Packet, coverage: int) -> bool:
    """Whether a UDP-Lite checksum is right over the first `coverage` bytes; 0 never is (RFC 3828)."""
    payload = packet.payload
    covered = _pseudo(packet.saddr, packet.daddr, packet.proto, len(payload)) + payload[:coverage]
    return payload[6:8] != b"\0\0" and checksum(covered) == 0


def protocol_number(proto: int | str) -> int:
    """6 for `tcp`, `6` or 6.

    Raises:
        NetlabError: no such protocol.
    """
    if isinstance(proto, str):
        if proto in PROTOCOL_NAMES:
            return PROTOCOL_NAMES[proto]
        if not (proto.isascii() and proto.isdigit() and len(proto) < 4):
            raise NetlabError(f"unknown protocol {proto!r}: a number, or one of {', '.join(PROTOCOL_NAMES)}")
        proto = int(proto)
    return _within("proto", proto, 8)


def parse_flags(letters: str) -> int:
    """TCP's flag bits from letters of FSRPAUEC: `SA` is a SYN-ACK.

    Raises:
        NetlabError: a letter that is no flag.
    """
    if not isinstance(letters, str):
        raise NetlabError(f"flags: {letters!r} is not letters of {FLAG_LETTERS}")
    bits = 0
    for letter in letters:
        if letter not in FLAG_LETTERS:
            raise NetlabError(f"flags: {letter!r} in {letters!r} is none of {FLAG_LETTERS}")
        bits |= 1 << FLAG_LETTERS.index(letter)
    return bits


def format_flags(bits: int) -> str:
    """TCP's flag bits as letters, `SA` for a SYN-ACK."""
    return "".join(letter for place, letter in enumerate(FLAG_LETTERS) if bits >> place & 1)


def _prefix(field: str) -> str:
    """Keeps apart what two layers both have: the transport's checksum and options from the IP header's."""
    return "l4_" if field in ("checksum", "options", "seq", "id") else ""


def _pseudo(saddr: int, daddr: int, proto: int, length: int) -> bytes:
    return _PSEUDO.pack(saddr, daddr, proto, length)


def _sealed(saddr: int, daddr: int, proto: int, segment: bytes, at: int) -> bytes:
    """The segment with its checksum written in at that offset."""
    check = checksum(_pseudo(saddr, daddr, proto, len(segment)) + segment)
    if proto == Proto.UDP and not check:
        check = 0xFFFF  # 0 on the wire would mean "none" (RFC 768)
    return segment[:at] + check.to_bytes(2, "big") + segment[at + 2 :]


def _adjusted(payload: bytes, proto: int, old: bytes, new: bytes) -> bytes:
    """The payload with its checksum moved on from covering `old` to covering `new` (RFC 1624, equation 3)."""
    at = _CHECKSUM_AT[proto]
    if len(payload) < at + 2:
        return payload
    check = payload[at] << 8 | payload[at + 1]
    if proto == Proto.UDP and not check:
        return payload
    check = moved_checksum(check, int.from_bytes(old, "big"), int.from_bytes(new, "big"))
    if proto == Proto.UDP and not check:
        check = 0xFFFF
    return payload[:at] + check.to_bytes(2, "big") + payload[at + 2 :]


def moved_checksum(check: int, old: int, new: int) -> int:
    """A checksum moved on from covering the number `old` to covering `new` (RFC 1624, equation 3).

    A number of several 16-bit words, or the sum of several numbers, counts by its remainder by 65535.
    """
    total = (0xFFFF - check) + (0xFFFF - old % 0xFFFF) + new % 0xFFFF
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def _within(field: str, value: Any, bits: int) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << bits:
        raise NetlabError(f"{field}: {value!r} is not a number from 0 to {(1 << bits) - 1}")
    return int(value)


def _address(field: str, value: Any) -> int:
    """An address from its dotted text, or as the integer it already is."""
    if isinstance(value, str):
        return parse_address(value)
    if not isinstance(value, int):
        raise NetlabError(f"{field}: {value!r} is not an IPv4 address")
    return _within(field, value, 32)


def _padded(field: str, options: Any) -> bytes:
    """Options as they stand in a header: filled up to whole words, of which ten fit."""
    data = as_bytes(field, options)
    if len(data) > 40:
        raise NetlabError(f"{field}: {len(data)} bytes, at most 40 fit")
    return data + bytes(-len(data) % 4)


def as_bytes(field: str, value: Any) -> bytes:
    """Bytes as they are, text as UTF-8; `field` is what an error message calls it.

    Raises:
        NetlabError: neither bytes nor text.
    """
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, bytes | bytearray | memoryview):
        raise NetlabError(f"{field}: {value!r} is neither bytes nor text")
    return bytes(value)
