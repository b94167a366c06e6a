"""A packet as a scenario file writes it: fields by name, defaults filled in, checksums spoilt on demand."""

from collections.abc import Callable, Mapping
from typing import Any

from netlab.addresses import format_address, parse_address
from netlab.names import NetlabError, Proto
from netlab.packet import Packet, protocol_number


def packet_bytes(fields: Mapping[str, Any]) -> bytes:
    """The bytes of a packet described by the scenario file's fields, defaults filled in.

    Raises:
        NetlabError: fields that the protocol does not have, or values out of range.
    """
    given = dict(fields)
    proto = protocol_number(given.pop("proto"))
    header = {name: given.pop(name) for name in _HEADER_FIELDS if name in given}
    if "ip_options" in given:
        header["options"] = given.pop("ip_options")
    broken = given.pop("checksum", "good")
    if "payload" in given and "payload_hex" in given:
        raise NetlabError("'payload' and 'payload_hex' cannot both be given")
    payload = given.pop("payload_hex", None) or given.pop("payload", "").encode()
    src, dst = given.pop("src"), given.pop("dst")
    later = header.get("frag_offset", 0) > 0  # a later fragment: no transport header, the payload is all there is
    takes = () if later else _TRANSPORT.get(proto, ())
    for name in given:
        if name not in takes:
            kind = "a later fragment" if later else f"a packet of protocol {proto}"
            raise NetlabError(f"{kind} has no field {name!r}")
    if proto == Proto.TCP and not later:
        packet = Packet.tcp(
            src,
            dst,
            given.pop("sport", 0),
            given.pop("dport", 0),
            given.pop("flags", ""),
            payload=payload,
            **given,
        )
    elif proto == Proto.UDP and not later:
        packet = Packet.udp(src, dst, given.get("sport", 0), given.get("dport", 0), payload)
    elif proto == Proto.ICMP and not later:
        given["seq"] = given.pop("icmp_seq", 0)
        packet = Packet.icmp(src, dst, given.pop("type", 8), given.pop("code", 0), payload=payload, **given)
    else:
        packet = Packet.ip(src, dst, proto, payload)
    data = packet.with_(**header).to_bytes()
    return _BREAK[broken](data)


def _bad_ip(data: bytes) -> bytes:
    return data[:10] + bytes([data[10] ^ 0x55]) + data[11:]


def _bad_l4(data: bytes) -> bytes:
    """The transport checksum spoilt, wherever the protocol has it; other protocols have none to spoil."""
    at = {Proto.TCP: 16, Proto.UDP: 6, Proto.ICMP: 2}.get(Proto(data[9])) if data[9] in set(Proto) else None
    if at is None:
        raise NetlabError(f"checksum: protocol {data[9]} has no transport checksum that netlab knows")
    at += (data[0] & 15) * 4
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


_BREAK: dict[str, Callable[[bytes], bytes]] = {"good": bytes, "bad_ip": _bad_ip, "bad_l4": _bad_l4}
_HEADER_FIELDS = ("ttl", "tos", "ip_id", "df", "mf", "frag_offset")
_TRANSPORT: dict[int, tuple[str, ...]] = {
    Proto.TCP: ("sport", "dport", "flags", "seq", "ack", "window", "tcp_options"),
    Proto.UDP: ("sport", "dport"),
    Proto.ICMP: ("type", "code", "id", "icmp_seq"),
}


def _whole(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise NetlabError(f"{text!r} is not a whole number") from None


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise NetlabError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def hex_bytes(text: str) -> bytes:
    """Bytes from pairs of hexadecimal digits."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise NetlabError(f"{text!r} is not pairs of hexadecimal digits") from None


def _address(text: str) -> str:
    return format_address(parse_address(text))


def _checksum(text: str) -> str:
    if text not in _BREAK:
        raise NetlabError(f"{text!r} is none of {', '.join(_BREAK)}")
    return text


PACKET_FIELDS: dict[str, Callable[[str], Any]] = {
    "src": _address, "dst": _address, "proto": protocol_number, "ttl": _whole, "tos": _whole, "ip_id": _whole,
    "df": _flag, "mf": _flag, "frag_offset": _whole, "ip_options": hex_bytes, "sport": _whole, "dport": _whole,
    "flags": str, "seq": _whole, "ack": _whole, "window": _whole, "tcp_options": hex_bytes, "type": _whole,
    "code": _whole, "id": _whole, "icmp_seq": _whole, "payload": str, "payload_hex": hex_bytes, "checksum": _checksum,
}  # fmt: skip
