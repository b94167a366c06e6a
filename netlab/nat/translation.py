"""A packet made to look like the one its flow's other direction answers to: addresses, ports, ids, and their checksums.

Checksums are moved on, not reckoned anew (RFC 1624): what came wrong stays wrong. Only an ICMP error gets a new one.
Source: nf_nat_proto.c.
"""

from typing import Final

from netlab.conntrack.tuples import GRE, UDPLITE, FlowTuple
from netlab.names import Proto
from netlab.nat.ranges import Manip
from netlab.packet import ICMP_QUERIES, Packet, moved_checksum

LEAST: Final = 8  # bytes of a transport header that there must be
TCP_HEADER: Final = 20
NONE_SENT: Final = b"\0\0"  # UDP's word for "no checksum" (RFC 768)
CHECKSUM_AT: Final = {Proto.TCP: 16, Proto.UDP: 6, UDPLITE: 6}


def translate(packet: Packet, target: FlowTuple, manip: Manip) -> Packet | None:
    """The packet with the source or the destination of `target`; None where that cannot be done, and it is dropped."""
    saddr, daddr, proto, payload, ttl, tos, ip_id, frag, options, check, mark = packet
    if manip is Manip.SOURCE:
        old, saddr = saddr, target.saddr
        segment = _translated(proto, payload, old, saddr, target, manip)
    else:
        old, daddr = daddr, target.daddr
        segment = _translated(proto, payload, old, daddr, target, manip)
    if segment is None:
        return None
    return _new(Packet, (saddr, daddr, proto, segment, ttl, tos, ip_id, frag, options, check, mark))


def translate_error(packet: Packet, quoted_as: FlowTuple, target: FlowTuple, manip: Manip) -> Packet | None:
    """An ICMP error, and the packet that it quotes, which went the other way (nf_nat_icmp_reply_translation).

    So where the error's source changes, the destination of what it quotes does: to that of `quoted_as`.
    """
    message = packet.payload
    quoted = _quoted(message[LEAST:], quoted_as, Manip.DESTINATION if manip is Manip.SOURCE else Manip.SOURCE)
    if quoted is None:
        return None
    return translate(packet._replace(payload=message[:LEAST] + quoted).sealed(), target, manip)


_new = tuple.__new__  # a NamedTuple's own constructor costs twice as much


def _translated(proto: int, segment: bytes, old: int, new: int, target: FlowTuple, manip: Manip) -> bytes | None:
    """A transport header in a packet whose address changes from `old` to `new`; None: there is not enough of it."""
    at = CHECKSUM_AT.get(proto)
    if at is not None:
        return _with_port(proto, segment, at, old, new, target, manip)
    if proto == Proto.ICMP:
        return _with_id(segment, target.sport)
    if proto == GRE:
        return _with_call(segment, target.dport, manip)
    return segment


def _with_port(
    proto: int, segment: bytes, at: int, old: int, new: int, target: FlowTuple, manip: Manip
) -> bytes | None:
    if len(segment) < LEAST:
        return None
    place, port = (0, target.sport) if manip is Manip.SOURCE else (2, target.dport)
    was = segment[place] << 8 | segment[place + 1]
    changed = segment[:place] + port.to_bytes(2, "big") + segment[place + 2 :]
    if proto == Proto.TCP and len(segment) < TCP_HEADER:
        return changed  # quoted by an error, without the checksum
    if proto == Proto.UDP and segment[at : at + 2] == NONE_SENT:
        return changed
    check = moved_checksum(segment[at] << 8 | segment[at + 1], old + was, new + port)
    if not check and proto != Proto.TCP:
        check = 0xFFFF
    return changed[:at] + check.to_bytes(2, "big") + changed[at + 2 :]


def _with_id(message: bytes, id: int) -> bytes | None:
    if len(message) < LEAST:
        return None
    if message[0] not in ICMP_QUERIES:
        return message
    check = moved_checksum(message[2] << 8 | message[3], message[4] << 8 | message[5], id)
    return message[:2] + check.to_bytes(2, "big") + id.to_bytes(2, "big") + message[6:]


def _with_call(header: bytes, call: int, manip: Manip) -> bytes | None:
    """GRE: only PPTP's version 1 has something to change, and that names the destination's call."""
    version = header[1] & 7 if len(header) >= LEAST else None
    if version is None or version > 1:
        return header if version is not None and manip is Manip.SOURCE else None
    if manip is Manip.SOURCE or version == 0:
        return header
    return header[:6] + call.to_bytes(2, "big") + header[8:]


def _quoted(data: bytes, target: FlowTuple, manip: Manip) -> bytes | None:
    """The beginning of a packet, as an error quotes it, its header's checksum moved on."""
    header = (data[0] & 15) * 4
    place, new = (12, target.saddr) if manip is Manip.SOURCE else (16, target.daddr)
    old = int.from_bytes(data[place : place + 4], "big")
    segment = _translated(data[9], data[header:], old, new, target, manip)
    if segment is None:
        return None
    check = moved_checksum(data[10] << 8 | data[11], old, new)
    data = data[:place] + new.to_bytes(4, "big") + data[place + 4 : header]
    return data[:10] + check.to_bytes(2, "big") + data[12:] + segment
