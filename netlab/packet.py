"""An IPv4 packet as a value.

A packet here is what it is on the wire: the fields of the IPv4 header (RFC 791) and, behind it, the payload's exact
bytes. TCP, UDP and ICMP are *views* of that payload, read when asked for. Nothing is ever changed in place: `with_`
gives a changed copy, and sets right the checksums that cover what it changed, in the incremental way of RFC 1624,
which is how NAT does it in the kernel: a packet that came with a wrong checksum keeps a wrong one.
"""

from collections.abc import Iterator
from struct import error
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from netlab.addresses import format_address
from netlab.checksums import CHECKSUM_AT, adjusted, checksum, moved_checksum, pseudo_header, sealed
from netlab.headers import (
    DF,
    FLAG_LETTERS,
    HEADER_BITS,
    ICMP_ERRORS,
    ICMP_HEADER,
    ICMP_NAMES,
    ICMP_QUERIES,
    IP_HEADER,
    MF,
    OFFSET,
    TCP_HEADER,
    TRANSPORT_FIELDS,
    UDP_HEADER,
    Icmp,
    MalformedPacket,
    Tcp,
    Udp,
    address,
    as_bytes,
    format_flags,
    padded,
    parse_flags,
    protocol_number,
    within,
)
from netlab.html import Code, html_table
from netlab.names import DropReason, NetlabError, Proto, protocol_name

if TYPE_CHECKING:
    from scapy.layers.inet import IP

__all__ = [
    "DF", "FLAG_LETTERS", "ICMP_ERRORS", "ICMP_NAMES", "ICMP_QUERIES", "MF", "OFFSET", "Icmp", "MalformedPacket",
    "Packet", "Tcp", "Udp", "as_bytes", "checksum", "format_flags", "moved_checksum", "parse_flags", "protocol_number",
    "udplite_checksum_ok",
]  # fmt: skip
"""Packets, and what is needed to speak of them."""


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
        packet = Packet(address("src", src), address("dst", dst), protocol_number(proto), as_bytes("payload", payload))
        return packet._fitting().with_(**header)

    @classmethod
    def udp(cls, src: str, dst: str, sport: int, dport: int, payload: bytes | str = b"", **header: Any) -> "Packet":
        """A UDP packet with right checksums."""
        data = as_bytes("payload", payload)
        length = min(8 + len(data), 0xFFFF)  # more than that is refused below, with the whole packet's length
        head = UDP_HEADER.pack(within("sport", sport, 16), within("dport", dport, 16), length, 0)
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
        options = padded("tcp_options", tcp_options)
        head = TCP_HEADER.pack(
            within("sport", sport, 16), within("dport", dport, 16), within("seq", seq, 32), within("ack", ack, 32),
            (20 + len(options)) // 4 << 4, parse_flags(flags), within("window", window, 16), 0,
            within("urgent", urgent, 16),
        )  # fmt: skip
        return cls._with_checksum(src, dst, Proto.TCP, head + options + as_bytes("payload", payload), 16, header)

    @classmethod
    def icmp(
        cls, src: str, dst: str, type: int = 8, code: int = 0, *, id: int = 0, seq: int = 0,
        payload: bytes | str = b"", **header: Any,
    ) -> "Packet":  # fmt: skip
        """An ICMP packet with right checksums, by default an echo request."""
        head = ICMP_HEADER.pack(
            within("type", type, 8),
            within("code", code, 8),
            0,
            within("id", id, 16),
            within("seq", seq, 16),
        )
        body = head + as_bytes("payload", payload)
        body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
        return cls.ip(src, dst, Proto.ICMP, body, **header)

    @classmethod
    def _with_checksum(
        cls, src: str, dst: str, proto: int, segment: bytes, at: int, header: dict[str, Any]
    ) -> "Packet":
        packet = Packet(address("src", src), address("dst", dst), proto, segment)._fitting()
        return packet._replace(payload=sealed(packet.saddr, packet.daddr, proto, segment, at)).with_(**header)

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
            version_ihl, tos, length, ip_id, frag, ttl, proto, check, saddr, daddr = IP_HEADER.unpack_from(data)
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
            check = checksum(IP_HEADER.pack(*words, 0, self.saddr, self.daddr) + self.options)
        return IP_HEADER.pack(*words, check, self.saddr, self.daddr) + self.options + self.payload

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
        if self.proto == _TCP and len(payload) >= 20:
            sport, dport, seq, ack, offset, flags, window, check, urgent = TCP_HEADER.unpack_from(payload)
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
        if self.proto == _UDP and len(payload) >= 8:
            sport, dport, length, check = UDP_HEADER.unpack_from(payload)
            return Udp(sport, dport, length, check, payload[8:])
        if self.proto == _ICMP and len(payload) >= 8:
            type, code, check, id, seq = ICMP_HEADER.unpack_from(payload)
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
        # A quotation is cut short, its total length is not: read it as if it ended where it does. Nobody asks for its
        # version: the kernel takes it for IPv4's (nf_conntrack_inet_error).
        header = (data[0] & 15) * 4
        if not 20 <= header <= len(data):
            return None
        _, tos, _, ip_id, frag, ttl, proto, _, saddr, daddr = IP_HEADER.unpack_from(data)
        return Packet(saddr, daddr, proto, data[header:], ttl, tos, ip_id, frag, data[20:header])

    def checksum_ok(self) -> bool:
        """Whether the transport checksum is right (a UDP checksum of 0 means the sender left it out).

        Fragments, and protocols other than TCP, UDP and ICMP, have nothing to check here: True.
        """
        if self.frag & (MF | OFFSET) or self.proto not in CHECKSUM_AT:
            return True
        at, payload = CHECKSUM_AT[self.proto], self.payload
        if self.proto == _ICMP:
            return checksum(payload) == 0  # also of a message that is cut short within it
        if len(payload) < at + 2:
            return False
        if self.proto == _UDP:
            if payload[at : at + 2] == b"\0\0":
                return True
            payload = payload[: UDP_HEADER.unpack_from(payload)[2]]
        return checksum(pseudo_header(self.saddr, self.daddr, self.proto, len(payload)) + payload) == 0

    # ---------------------------------------------------------------- changing it

    def sealed(self) -> "Packet":
        """A copy whose TCP, UDP or ICMP checksum is right, whatever it was; other protocols have none to set right."""
        at = CHECKSUM_AT.get(self.proto)
        if at is None or len(self.payload) < at + 2:
            return self
        segment = self.payload[:at] + b"\0\0" + self.payload[at + 2 :]
        if self.proto == _ICMP:
            return self._replace(payload=segment[:at] + checksum(segment).to_bytes(2, "big") + segment[at + 2 :])
        return self._replace(payload=sealed(self.saddr, self.daddr, self.proto, segment, at))

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
                header["saddr" if field == "src" else "daddr"] = address(field, value)
            elif field in ("df", "mf"):
                bit = DF if field == "df" else MF
                frag = frag | bit if within(field, value, 1) else frag & ~bit
            elif field == "frag_offset":
                if within(field, value, 16) % 8:
                    raise NetlabError(f"frag_offset: {value} is not a multiple of 8 from 0 to 65528")
                frag = frag & ~OFFSET | value // 8
            elif field in HEADER_BITS:
                header[field] = within(field, value, HEADER_BITS[field])
            elif field == "proto":
                header["proto"] = protocol_number(value)
            elif field == "payload":
                header["payload"] = as_bytes(field, value)
            elif field == "options":
                header["options"] = padded(field, value)
            elif field == "checksum":
                header["checksum"] = None if value is None else within(field, value, 16)
            elif field in TRANSPORT_FIELDS:
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
        old = IP_HEADER.pack(0, 0, 0, 0, 0, 0, 0, 0, before.saddr, before.daddr)[12:]
        new = IP_HEADER.pack(0, 0, 0, 0, 0, 0, 0, 0, self.saddr, self.daddr)[12:]
        return self._replace(payload=adjusted(self.payload, self.proto, old, new))

    def _with_transport(self, field: str, value: Any) -> "Packet":
        protocols, at, size = TRANSPORT_FIELDS[field]
        if self.proto not in protocols:
            raise NetlabError(f"a packet of protocol {protocol_name(self.proto)} has no field {field!r}")
        number = parse_flags(value) if field == "flags" else within(field, value, size * 8)
        if self.frag & OFFSET or len(self.payload) < at + size:
            raise NetlabError(f"{field}: this packet carries no whole {protocol_name(self.proto)} header")
        # A checksum sums 16-bit words, so the change is taken word by word, on even borders.
        start, end = at & ~1, at + size + (at + size & 1)
        old = self.payload[start:end]
        payload = self.payload[:at] + number.to_bytes(size, "big") + self.payload[at + size :]
        return self._replace(payload=adjusted(payload, self.proto, old, payload[start:end]))

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
        return html_table(((name, Code(text)) for name, text in self._facts()), caption=str(self), named=True)


_new_packet = tuple.__new__  # a NamedTuple's own constructor costs twice as much

_TCP, _UDP, _ICMP = Proto.TCP, Proto.UDP, Proto.ICMP  # to look a member up takes six times as long as such a name
_HAS_PORTS = (_TCP, _UDP)


def udplite_checksum_ok(packet: Packet, coverage: int) -> bool:
    """Whether a UDP-Lite checksum is right over the first `coverage` bytes; 0 never is (RFC 3828)."""
    payload = packet.payload
    covered = pseudo_header(packet.saddr, packet.daddr, packet.proto, len(payload)) + payload[:coverage]
    return payload[6:8] != b"\0\0" and checksum(covered) == 0


def _prefix(field: str) -> str:
    """Keeps apart what two layers both have: the transport's checksum and options from the IP header's."""
    return "l4_" if field in ("checksum", "options", "seq", "id") else ""
