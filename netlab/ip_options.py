"""IP options: what a host checks in them, writes into them, and sends back (net/ipv4/ip_options.c, RFC 791, RFC 1812).

An option is a byte of type, a byte of length (both included) and data; END and NOOP are the type alone. Record route,
timestamp and source routes are filled in on the way: their third byte points at the next free place in the option,
counted from 1. A host looks at them right after the route lookup, and writes when it hands the packet up or on:

    record route    the address towards the sender at once; forwarding replaces it by the outgoing interface's
    timestamp       at once; the same address, and the time in milliseconds since midnight UT
    source route    the address it leaves by, in place of the next hop, which becomes the destination

The header checksum is set right only when the packet is forwarded. What is handed up keeps the sender's, and so do
ICMP errors that quote it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from netlab.packet import Packet

END, NOOP, RECORD_ROUTE, TIMESTAMP = 0, 1, 7, 68
LOOSE_SOURCE_ROUTE, CIPSO, STRICT_SOURCE_ROUTE, ROUTER_ALERT = 131, 134, 137, 148

# The low four bits of a timestamp's fourth byte: what each host writes. The high four count hosts that found no room.
TIME_ONLY, ADDRESS_AND_TIME, PRESPECIFIED = 0, 1, 3
OVERFLOW: Final = 15  # hosts without room; one more cannot be counted

LOOPBACK: Final = 0x7F000001
LENGTH, POINTER, FLAGS = 1, 2, 3  # where these stand in an option


@dataclass(slots=True)
class Options:
    """What a host found in a packet's options: where each kind stands, counted from the first option's byte.

    Attributes:
        data: the options as this host has left them.
        record_route, timestamp, source_route, cipso: None where there is none.
        strict: the source route allows no other hosts in between.
        recorded, addressed: this host's address was written into the record route, into the timestamp.
        changed: the header checksum no longer fits.
        next_hop: where the source route leads on from here.
    """

    data: bytes = b""
    record_route: int | None = None
    timestamp: int | None = None
    source_route: int | None = None
    cipso: int | None = None
    strict: bool = False
    recorded: bool = False
    addressed: bool = False
    changed: bool = False
    next_hop: int | None = None


class Here(NamedTuple):
    """What one host writes: `address` says which of its own, `now` is the time, `is_other` knows unicast addresses
    that are not its own.
    """

    address: Callable[[], int]
    now: int
    is_other: Callable[[int], bool]


# ---------------------------------------------------------------- checking and stamping


def check(options: bytes, here: Here) -> tuple[Options, int | None]:
    """Check options and stamp what is to be stamped (`__ip_options_compile`).

    Returns:
        What was found, up to the first wrong byte if there is one; and that byte's place in the options.
    """
    data = bytearray(options)
    found = Options()
    wrong = _check(data, found, here)
    found.data = bytes(data)
    return found, wrong


def _check(data: bytearray, found: Options, here: Here) -> int | None:
    at = 0
    while at < len(data) and data[at] != END:
        if data[at] == NOOP:
            at += 1
            continue
        length = data[at + LENGTH] if at + LENGTH < len(data) else 0
        if not 2 <= length <= len(data) - at:
            return at
        check_kind = _CHECKS.get(data[at])
        wrong = check_kind(memoryview(data)[at : at + length], at, found, here) if check_kind else None
        if wrong is not None:
            return at + wrong
        at += length
    if any(data[at:]):  # behind the end there is nothing but ends
        data[at:] = bytes(len(data) - at)
        found.changed = True
    return None


# One function a kind. Each returns the wrong byte's place in its option, or None.


def _source_route(option: memoryview, at: int, found: Options, here: Here) -> int | None:
    if (wrong := _pointer_fits(option, 4)) is not None:
        return wrong
    if found.source_route is not None:
        return 0
    found.source_route = at
    found.strict = option[0] == STRICT_SOURCE_ROUTE
    return None


def _record_route(option: memoryview, at: int, found: Options, here: Here) -> int | None:
    if found.record_route is not None:
        return 0
    if (wrong := _pointer_fits(option, 4)) is not None:
        return wrong
    pointer = option[POINTER]
    if pointer <= len(option):
        if pointer + 3 > len(option):
            return POINTER
        put(option, pointer - 1, here.address())
        option[POINTER] += 4
        found.recorded = found.changed = True
    found.record_route = at
    return None


def _timestamp(option: memoryview, at: int, found: Options, here: Here) -> int | None:
    if found.timestamp is not None:
        return 0
    if len(option) < 4:
        return LENGTH
    if option[POINTER] < 5:
        return POINTER
    pointer, flag = option[POINTER], option[FLAGS] & 15
    if pointer <= len(option):
        entry = 8 if flag in (ADDRESS_AND_TIME, PRESPECIFIED) else 4
        if pointer + entry - 1 > len(option):
            return POINTER
        if flag == ADDRESS_AND_TIME:
            put(option, pointer - 1, here.address())
            found.addressed = True
        asked = flag != PRESPECIFIED or not here.is_other(int.from_bytes(option[pointer - 1 : pointer + 3], "big"))
        if flag in (TIME_ONLY, ADDRESS_AND_TIME, PRESPECIFIED) and asked:
            put(option, pointer + entry - 5, here.now)
            option[POINTER] += entry
            found.changed = True
    elif flag != PRESPECIFIED:
        if option[FLAGS] >> 4 == OVERFLOW:
            return FLAGS
        option[FLAGS] += 16
        found.changed = True
    found.timestamp = at
    return None


def _router_alert(option: memoryview, at: int, found: Options, here: Here) -> int | None:
    return LENGTH if len(option) < 4 else None


def _cipso(option: memoryview, at: int, found: Options, here: Here) -> int | None:
    """A security label. Nobody here has told the kernel any domain of interpretation, so it knows none."""
    if found.cipso is not None:
        return 0
    found.cipso = at
    return LENGTH if len(option) < 8 else 2


def _pointer_fits(option: memoryview, least: int) -> int | None:
    if len(option) < 3:
        return LENGTH
    return POINTER if option[POINTER] < least else None


_CHECKS: Final[dict[int, Callable[[memoryview, int, Options, Here], int | None]]] = {
    RECORD_ROUTE: _record_route, TIMESTAMP: _timestamp, LOOSE_SOURCE_ROUTE: _source_route, CIPSO: _cipso,
    STRICT_SOURCE_ROUTE: _source_route, ROUTER_ALERT: _router_alert,
}  # fmt: skip


def locate(options: bytes) -> Options:
    """Where each kind stands in options that were checked before, as those of a first fragment kept were."""
    found = Options(options)
    at = 0
    while at + LENGTH < len(options) and options[at] != END:
        kind = options[at]
        if kind == RECORD_ROUTE:
            found.record_route = at
        elif kind == TIMESTAMP:
            found.timestamp = at
        elif kind in (LOOSE_SOURCE_ROUTE, STRICT_SOURCE_ROUTE):
            found.source_route = at
        at += 1 if kind == NOOP else max(2, options[at + LENGTH])
    return found


# ---------------------------------------------------------------- options of answers


@dataclass(frozen=True, slots=True)
class Reply:
    """The options of an answer to a packet with options, before the addresses and the time are in them.

    Attributes:
        data: the options, padded.
        record_route, timestamp, source_route: where they stand in it; None where nothing is to be written.
        addressed, timed: what is still to be written into the timestamp.
        first_hop: the source route back goes there first.
    """

    data: bytes = b""
    record_route: int | None = None
    timestamp: int | None = None
    source_route: int | None = None
    addressed: bool = False
    timed: bool = False
    first_hop: int | None = None

    def on(self, packet: Packet, now: int) -> Packet:
        """The answer with these options, on its way from its source address (`ip_options_build`)."""
        if not self.data:
            return packet
        data = bytearray(self.data)
        if (at := self.source_route) is not None:
            put(data, at + data[at + LENGTH] - 4, packet.daddr)
        if (at := self.record_route) is not None:
            put(data, at + data[at + POINTER] - 5, packet.saddr)
        if (at := self.timestamp) is not None:
            if self.addressed:
                put(data, at + data[at + POINTER] - 9, packet.saddr)
            if self.timed:
                put(data, at + data[at + POINTER] - 5, now)
        return packet._replace(options=bytes(data), daddr=self.towards(packet.daddr, packet.saddr))

    def towards(self, daddr: int, saddr: int) -> int:
        """Where an answer to `daddr` is sent: the source route's first hop, and 0.0.0.0 there means the host itself."""
        return daddr if self.first_hop is None else self.first_hop or saddr or LOOPBACK


NOTHING: Final = Reply()


def reply_to(packet: Packet, found: Options | None, is_other: Callable[[int], bool]) -> Reply | None:
    """What the answer to a packet carries: its records go on, its source route is turned round (`__ip_options_echo`).

    Args:
        packet: the packet that is answered.
        found: what was found in its options; None if they were not looked at.
        is_other: as in `Here`.

    Returns:
        None where the kernel sends no answer at all: too few bytes are left for another entry, but some are.
    """
    options = packet.options
    if found is None or found.data != options:  # not looked at, or a hook function has put in others since
        return NOTHING
    data = bytearray()
    reply = NOTHING
    if found.record_route is not None:
        option = _option(options, found.record_route)
        pointer = option[POINTER]
        if pointer <= len(option):
            if pointer + 3 > len(option):
                return None
            option[POINTER] += 4
            reply = replace(reply, record_route=len(data))
        data += option
    if found.timestamp is not None:
        option = _option(options, found.timestamp)
        entry = _timestamp_entry(option, is_other)
        if entry is None:
            return None
        option[POINTER] += sum(entry)
        reply = replace(reply, timestamp=len(data), addressed=bool(entry.address), timed=bool(entry.time))
        data += option
    if found.source_route is not None:
        option = _option(options, found.source_route)
        hops = _hops_back(option, packet.saddr)
        if len(hops) > 1:
            reply = replace(reply, source_route=len(data), first_hop=int.from_bytes(hops[0], "big"))
            data += bytes([option[0], 3 + 4 * (len(hops) - 1), 4]) + b"".join(hops[1:])
    if found.cipso is not None:
        data += _option(options, found.cipso)
    return replace(reply, data=bytes(data) + bytes(-len(data) % 4))


def put(data: bytearray | memoryview, at: int, word: int) -> None:
    """Write an address or a time, four bytes."""
    data[at : at + 4] = word.to_bytes(4, "big")


class _Entry(NamedTuple):
    """Bytes of a timestamp option still to be written: for an address, and for what belongs to the time."""

    address: int = 0
    time: int = 0


def _timestamp_entry(option: bytearray, is_other: Callable[[int], bool]) -> _Entry | None:
    pointer, length, flag = option[POINTER], len(option), option[FLAGS] & 15
    if pointer > length or flag not in (TIME_ONLY, ADDRESS_AND_TIME, PRESPECIFIED):
        return _Entry()
    address = 4 if flag == ADDRESS_AND_TIME else 0
    if pointer + address + 3 > length:
        return None
    if flag != PRESPECIFIED:
        return _Entry(address, 4)
    asked = int.from_bytes(option[pointer - 1 : pointer + 3], "big")
    ours = pointer + 7 <= length and not is_other(asked)
    return _Entry(0, 8 if ours else 0)


def _hops_back(option: bytearray, sender: int) -> list[bytes]:
    """The hops that a source route has recorded, last one first, and an empty place for the sender at the end.

    A sender that put itself there as the first hop is left out (RFC 1812, 5.2.4.1).
    """
    end = min(option[POINTER], len(option) + 1) - 1
    hops = [bytes(option[place - 4 : place]) for place in range(end, 6, -4)]
    if hops and hops[-1] == sender.to_bytes(4, "big"):
        hops.pop()
    return [*hops, bytes(4)]


def _option(options: bytes, at: int) -> bytearray:
    return bytearray(options[at : at + options[at + LENGTH]])
