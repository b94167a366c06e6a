"""What a host does with the IP options of a packet that comes in or passes through (net/ipv4/ip_options.c, ip_input.c).

`netlab.ip_options` knows the bytes; here they meet the host's addresses, routes and settings.
"""

from collections.abc import Callable
from typing import Any, Final

from netlab import icmp
from netlab.addresses import format_address
from netlab.ip_options import LENGTH, POINTER, Here, Options, check, put
from netlab.machine import Machine
from netlab.martians import InputDecision, InputKind
from netlab.names import DropReason
from netlab.packet import Packet
from netlab.route import Scope
from netlab.skb import Skb
from netlab.trace import Logged, Routed

HEADER: Final = 20  # bytes in front of the options

Report = Callable[[icmp.Error, Skb], None]
Decide = Callable[[Skb], InputDecision]


def receive(host: Machine, skb: Skb, found: InputDecision, decide: Decide, report: Report) -> InputDecision | None:
    """Check and stamp a packet's options, follow its source route (`ip_rcv_options`, `ip_options_rcv_srr`).

    Args:
        host, skb: where and what.
        found: the outcome of the route lookup.
        decide: looks up the route of another destination.
        report: sends an ICMP error.

    Returns:
        Where it goes on: as found, or where the source route leads. None where the packet ended here.
    """
    options, wrong = _check(host, skb, skb.packet.daddr if found.kind is InputKind.LOCAL else None)
    if wrong is not None:
        pointer = HEADER + wrong
        report(icmp.Error(icmp.PARAMETER_PROBLEM, 0, pointer << 24), skb)
        host.drop(skb, DropReason.IP_INHDR, f"its options are wrong at byte {pointer} of the header")
        return None
    if options.source_route is None:
        return found
    return _follow(host, skb, options, found, decide, report)


def check_again(host: Machine, skb: Skb) -> bool:
    """Before "host unreachable" is told the kernel looks at the options anew, which stamps them once more.

    False where they are wrong: then nothing is told (`ipv4_send_dest_unreach`).
    """
    return not skb.packet.options or _check(host, skb)[1] is None


def _check(host: Machine, skb: Skb, address: int | None = None) -> tuple[Options, int | None]:
    """Check and stamp, with that address or the one that fits the way back; the header checksum stays as it was."""
    before = skb.packet
    here = Here(lambda: address_towards(host, skb) if address is None else address, host.time_of_day(), host.is_other)
    skb.options, wrong = check(before.options, here)
    if skb.options.data != before.options:
        skb.packet = _with_stale_checksum(before, options=skb.options.data)
        host.note(skb, f"IP options written: {before.options.hex()} became {skb.options.data.hex()}")
    return skb.options, wrong


def _follow(
    host: Machine, skb: Skb, options: Options, found: InputDecision, decide: Decide, report: Report
) -> InputDecision | None:
    """Take the source route's next hop where this host is the destination so far."""
    assert skb.dev_in is not None and options.source_route is not None
    conf = host.sysctls.conf(skb.dev_in)
    packet = skb.packet

    def drop(why: str) -> InputDecision | None:
        host.drop(skb, DropReason.NOT_SPECIFIED, why)
        return None

    if not conf.accept_source_route:
        if conf.log_martians and (record := host.wires.record):
            record(Logged(skb.number, host.name, f"IPv4: source route option {packet.src} -> {packet.dst}"))
        return drop(f"it brings its own route, and accept_source_route is off on {skb.dev_in}")
    if found.kind is InputKind.FORWARD:
        if options.strict:
            report(icmp.Error(icmp.PARAMETER_PROBLEM, 0, (HEADER - 4) << 24), skb)
            return drop("a strict source route, and this host was not its next hop")
        return found._replace(do_redirect=False)
    if found.kind is not InputKind.LOCAL:
        return drop(f"a source route cannot lead on from here: {found.kind}")
    option = packet.options[options.source_route :]
    for place in range(option[POINTER], option[LENGTH] + 1, 4):
        if place + 3 > option[LENGTH]:
            report(icmp.Error(icmp.PARAMETER_PROBLEM, 0, (HEADER + options.source_route + POINTER) << 24), skb)
            return drop("its source route ends within an address")
        hop = int.from_bytes(option[place - 1 : place + 3], "big")
        found = decide(Skb(packet._replace(daddr=hop), skb.number, skb.dev_in))
        if record := host.wires.record:
            record(Routed(skb.number, host.name, skb.packet, found))
            for line in found.log:
                record(Logged(skb.number, host.name, line))
        if found.kind not in (InputKind.LOCAL, InputKind.FORWARD):
            return drop(f"its source route leads to {format_address(hop)}: {found}")
        skb.decision = found.decision
        options.changed = True
        if found.kind is InputKind.FORWARD:
            options.next_hop = hop
            return found._replace(do_redirect=False)
        skb.packet = _with_stale_checksum(skb.packet, daddr=hop)
    return found


def forward(host: Machine, skb: Skb) -> None:
    """Write what is known only once the packet leaves, after FORWARD (`ip_forward_options`)."""
    options, packet = skb.options, skb.packet
    if options is None or not options.changed or options.data != packet.options:  # or a hook function put in others
        return
    data = bytearray(packet.options)
    if options.recorded and (at := options.record_route) is not None:
        put(data, at + data[at + POINTER] - 5, address_out(host, skb))
    if options.next_hop is not None and (at := options.source_route) is not None:
        hop = options.next_hop.to_bytes(4, "big")
        places = range(at + data[at + POINTER] - 1, at + data[at + LENGTH] - 3, 4)
        place = next(place for place in places if data[place : place + 4] == hop)
        skb.packet = packet._replace(daddr=options.next_hop)
        put(data, place, address_out(host, skb))
        data[at + POINTER] = place - at + 5
        if options.addressed and (at := options.timestamp) is not None:
            put(data, at + data[at + POINTER] - 9, address_out(host, skb))
    options.data = bytes(data)
    skb.packet = skb.packet._replace(options=options.data, checksum=None)
    if options.data != packet.options:
        host.note(skb, f"IP options written: {packet.options.hex()} became {options.data.hex()}")


def one_hop_less(packet: Packet) -> Packet:
    """The ttl counted down, the checksum changed to match: one that was wrong before stays wrong (RFC 1624)."""
    check = None if packet.checksum is None else (packet.checksum + 0x100) % 0xFFFF
    return packet._replace(ttl=packet.ttl - 1, checksum=check)


def address_towards(host: Machine, skb: Skb) -> int:
    """The own address that a packet from there is answered with (`fib_compute_spec_dst`)."""
    packet = skb.packet
    dev = skb.dev_out or skb.dev_in
    assert dev is not None
    if not packet.saddr:
        return host.fib.select_address(dev, 0, Scope.LINK)
    mark = packet.mark if host.sysctls.conf(dev).src_valid_mark else 0
    route = host.fib.lookup(packet.saddr, mark=mark, tos=packet.tos).route
    return host.fib.source_of(route) if route else host.fib.select_address(dev, packet.saddr)


def address_out(host: Machine, skb: Skb) -> int:
    """The own address that a forwarded packet leaves by (`ip_rt_get_source`)."""
    packet, fib = skb.packet, host.fib
    assert skb.dev_out is not None and skb.decision is not None and skb.decision.route is not None
    route = fib.lookup(
        packet.daddr, src=packet.saddr, iif=skb.dev_in, oif=skb.dev_out, mark=packet.mark, tos=packet.tos
    ).route
    if route:
        return fib.source_of(route)
    return fib.select_address(skb.dev_out, skb.decision.route.gateway or packet.daddr)


def _with_stale_checksum(packet: Packet, **changes: Any) -> Packet:
    """A changed packet with the checksum that it had, as the kernel leaves it."""
    return packet._replace(**changes, checksum=int.from_bytes(packet.to_bytes()[10:12], "big"))
