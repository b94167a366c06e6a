"""Watching packets in the kernel: which hook they enter, how they leave it, why they are dropped.

Two ways give the same events. As root, BPF programs stand first and last in every hook and at the kernel's drop
tracepoint, and write to one ring buffer, so that all events are in one order. Without root, nft chains in the same
places set the trace flag and nfnetlink tells of them; drop reasons and log lines are then unknown.
Neither asks for connection tracking, so neither switches it on. On hosts with rules BPF stands behind conntrack, too:
a packet that a rule drops in front of it has no state, one that conntrack found invalid has lost its own.
"""

import mmap
import os
import struct
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from enum import Enum, auto
from functools import cache
from socket import SOL_SOCKET, socket
from typing import Final, NamedTuple, Protocol

from netlab.kernel import bpf
from netlab.kernel.namespaces import KernelUnavailable, Namespace
from netlab.kernel.netlink import LostEvents
from netlab.names import Hook, Priority

FIRST, LAST = -(2**31) + 1, 2**31 - 2  # the kernel keeps the two outermost priorities for itself
BEHIND_CONNTRACK: Final = Priority.CONNTRACK + 1
SO_NETNS_COOKIE: Final = 71


class Kind(Enum):
    """What a probe saw."""

    ENTERED = auto()
    MET = auto()
    LEFT = auto()
    DROPPED = auto()
    LOGGED = auto()


class Event(NamedTuple):
    """One observation.

    `skb` identifies the kernel's packet buffer (it may be used again after the packet is gone); `data` holds the first
    bytes from the IP header on; `in_index` and `out_index` are interface numbers or 0; `tracking` is the kernel's
    connection tracking word (pointer and three bits of state, 0 for none); `text` a drop reason or a log line. Where it
    entered a hook, `tracks` says whether the host tracks connections; None where that is not known.
    """

    kind: Kind
    namespace: int
    skb: int = 0
    hook: Hook = Hook.PRE_ROUTING
    in_index: int = 0
    out_index: int = 0
    tracking: int = 0
    data: bytes = b""
    text: str = ""
    tracks: bool | None = None


class Probes(Protocol):
    """A source of events from a set of namespaces.

    `sees_drops`: it knows what happens between hooks, and the log; `sees_states`: it knows the states of packets.
    """

    sees_drops: bool
    sees_states: bool

    def read(self) -> Iterator[Event]: ...
    def check(self) -> None: ...
    def close(self) -> None: ...


def cookie_of(namespace: Namespace) -> int:
    """The number by which the kernel tells network namespaces apart (SO_NETNS_COOKIE)."""
    with namespace.entered(), socket() as probe:
        return int(struct.unpack("<Q", probe.getsockopt(SOL_SOCKET, SO_NETNS_COOKIE, 8))[0])


# The record that the BPF programs write: these words of eight bytes, then the packet from its IP header on, or text.
_RECORD: Final = struct.Struct("<9Q")
_COOKIE, _SKB, _KIND, _NUMBER, _IN, _OUT, _TRACKING, _TRACKS, _LENGTH, _BYTES = range(0, 80, 8)
_MOST_BYTES: Final = 2047
_KINDS: Final = (Kind.ENTERED, Kind.MET, Kind.LEFT, Kind.DROPPED)
_HOOKS: Final = tuple(Hook)
_ENTERED, _MET, _LEFT, _DROPPED, _LOGGED = range(5)
_RING_SIZE: Final = 16 << 20
_ETH_P_IP_IN_MEMORY: Final = int.from_bytes((0x0800).to_bytes(2, "big"), "little")
# Places on a program's stack: words at hand, and the fields of the record until there is one.
_WORD, _KEY, _KEPT = -8, -16, {_COOKIE: -24, _NUMBER: -32, _IN: -40, _OUT: -48, _SKB: -56, _TRACKING: -64, _TRACKS: -72}


@cache
def _kernel_types() -> bpf.Types:
    structures = {"sk_buff", "net_device", "net", "netns_nf", "nf_hook_state", "dst_entry", "sock_common"}
    return bpf.Types(structures, {"skb_drop_reason"})


class BpfProbes:
    """Root's probes: everything in one ring buffer, in the order in which it happened."""

    sees_drops = True
    sees_states = True

    def __init__(self, namespaces: list[Namespace], with_rules: Collection[Namespace] = ()) -> None:
        """Starts watching these namespaces, `with_rules` being those that may have any.

        Raises:
            KernelUnavailable: the kernel has no BTF, or refuses one of the programs.
        """
        self._held = ExitStack()
        self._tracing: list[int] = []
        try:
            self._watch(namespaces, with_rules)
        except (OSError, KeyError) as error:
            self.close()
            raise KernelUnavailable(f"packets cannot be watched with BPF on this kernel: {error}") from None

    def _watch(self, namespaces: list[Namespace], with_rules: Collection[Namespace]) -> None:
        self._types = _kernel_types()
        self._reasons = {
            number: name.removeprefix("SKB_DROP_REASON_")
            for number, name in self._types.enum("skb_drop_reason").items()
        }
        self._ring = bpf.RingBuffer(_RING_SIZE)
        self._held.callback(self._ring.close)
        self._lost = self._keep(bpf.make_map(bpf.MAP_ARRAY, 4, 8, 1, bpf.MAP_IS_MMAPABLE))
        self._lost_page = mmap.mmap(self._lost, mmap.PAGESIZE, prot=mmap.PROT_READ)
        self._held.callback(self._lost_page.close)
        self._watched = self._keep(bpf.make_map(bpf.MAP_HASH, 8, 8, 64))
        for namespace in namespaces:
            bpf.update_map(self._watched, struct.pack("<Q", cookie_of(namespace)), bytes(8))
        entered, met, left = (
            self._keep(self._hook_program(kind).load_into_kernel(bpf.PROG_NETFILTER, bpf.ATTACH_NETFILTER))
            for kind in (_ENTERED, _MET, _LEFT)
        )
        for namespace in namespaces:
            with namespace.entered():
                for hook in range(5):
                    self._keep(bpf.attach_netfilter(entered, hook, FIRST))
                    self._keep(bpf.attach_netfilter(left, hook, LAST))
                if namespace in with_rules:
                    for hook in (Hook.PRE_ROUTING, Hook.LOCAL_OUT):
                        self._keep(bpf.attach_netfilter(met, hook, BEHIND_CONNTRACK))
        for name, program in (("kfree_skb", self._drop_program()), ("console", self._log_program())):
            loaded = self._keep(program.load_into_kernel(bpf.PROG_RAW_TRACEPOINT))
            self._keep(bpf.attach_tracepoint(loaded, name))
            self._tracing.append(loaded)

    def _keep(self, descriptor: int) -> int:
        self._held.callback(os.close, descriptor)
        return descriptor

    def _begin(self, program: bpf.Program) -> None:
        """All fields of the record to come are zero."""
        program.set(1, 0)
        for place in _KEPT.values():
            program.store(10, place, 1)

    def _word(self, program: bpf.Program, structure: str, member: str, size: int = 8) -> None:
        """Register 8, the address of a structure, becomes the value of a member of it."""
        program.set(1, 0)
        program.store(10, _WORD, 1)
        program.read_to_stack(_WORD, size, 8, self._types.offset(structure, member))
        program.load(8, 10, _WORD)

    def _keep_field(self, program: bpf.Program, field: int, register: int = 8) -> None:
        program.store(10, _KEPT[field], register)

    def _packet(self, program: bpf.Program) -> None:
        """Register 6 is the skb: 7 becomes the address of its IP header, 8 how many bytes lie there in one piece."""
        self._keep_field(program, _SKB, 6)
        program.move(8, 6)
        self._word(program, "sk_buff", "_nfct")
        self._keep_field(program, _TRACKING)
        program.move(8, 6)
        self._word(program, "sk_buff", "head")
        program.move(7, 8)
        program.move(8, 6)
        self._word(program, "sk_buff", "network_header", 2)
        program.add_register(7, 8)
        program.move(9, 8)
        program.move(8, 6)
        self._word(program, "sk_buff", "tail", 4)
        program.subtract_register(8, 9)

    def _write(self, program: bpf.Program, kind: int) -> None:
        """Writes the record with as many bytes as register 8 says from the address in register 7.

        The record is put together in the ring buffer itself: a program may be interrupted by one of its kind.
        """
        program.jump_at_most(8, _MOST_BYTES, "short")
        program.set(8, _MOST_BYTES)
        program.label("short")
        program.map_address(1, self._ring.fd)
        program.set(2, _RECORD.size + _MOST_BYTES)
        program.set(3, 0)
        program.call(bpf.HELPER_RINGBUF_RESERVE)
        program.jump_not_equal(0, 0, "reserved")
        program.set(1, 0)
        program.store(10, _KEY, 1)
        program.map_address(1, self._lost)
        program.move(2, 10)
        program.add(2, _KEY)
        program.call(bpf.HELPER_MAP_LOOKUP)
        program.jump_equal(0, 0, "leave")
        program.set(1, 1)
        program.atomic_increment(0, 1)
        program.jump("leave")
        program.label("reserved")
        program.move(9, 0)
        program.set(1, kind)
        program.store(9, _KIND, 1)
        program.store(9, _LENGTH, 8)
        for field, place in _KEPT.items():
            program.load(1, 10, place)
            program.store(9, field, 1)
        program.move(1, 9)
        program.add(1, _BYTES)
        program.move(2, 8)
        program.move(3, 7)
        program.call(bpf.HELPER_PROBE_READ_KERNEL)
        program.move(1, 9)
        program.set(2, 0)
        program.call(bpf.HELPER_RINGBUF_SUBMIT)

    def _hook_program(self, kind: int) -> bpf.Program:
        """Stands in a hook: context word 0 is the nf_hook_state, word 1 the skb."""
        program = bpf.Program()
        program.load(7, 1, 0)
        program.load(6, 1, 8)
        self._begin(program)
        for member, field in (("in", _IN), ("out", _OUT)):
            program.move(8, 7)
            self._word(program, "nf_hook_state", member)
            program.jump_equal(8, 0, f"no {member}")
            self._word(program, "net_device", "ifindex", 4)
            program.label(f"no {member}")
            self._keep_field(program, field)
        program.move(8, 7)
        self._word(program, "nf_hook_state", "hook", 1)
        self._keep_field(program, _NUMBER)
        program.move(8, 7)
        self._word(program, "nf_hook_state", "net")
        program.move(9, 8)
        self._word(program, "net", "net_cookie")
        self._keep_field(program, _COOKIE)
        if kind == _ENTERED:  # who tracks connections puts fragments together, and nothing else here does that
            program.move(8, 9)
            program.add(8, self._types.offset("net", "nf"))
            self._word(program, "netns_nf", "defrag_ipv4_users", 4)
            self._keep_field(program, _TRACKS)
        self._packet(program)
        if kind == _MET:
            program.set(8, 0)
        self._write(program, kind)
        program.label("leave")
        program.leave(1)  # NF_ACCEPT
        return program

    def _drop_program(self) -> bpf.Program:
        """Stands at kfree_skb: context words are the skb, the code address, the reason, the receiving socket.

        The namespace is that of the packet's device, else of the receiving socket, else of the route's device, else of
        the sending socket: those by which the kernel itself sends are lent to a namespace for the moment only.
        """
        program = bpf.Program()
        program.load(6, 1, 0)
        program.load(7, 1, 24)
        program.load(9, 1, 16)
        self._begin(program)
        self._keep_field(program, _NUMBER, 9)
        program.move(8, 6)
        self._word(program, "sk_buff", "protocol", 2)
        program.jump_not_equal(8, _ETH_P_IP_IN_MEMORY, "leave")
        program.move(8, 6)
        self._word(program, "sk_buff", "dev")
        program.jump_not_equal(8, 0, "device")
        program.move(8, 7)
        program.jump_not_equal(8, 0, "socket")
        program.move(8, 6)
        self._word(program, "sk_buff", "_skb_refdst")
        program.mask(8, -2)
        program.jump_not_equal(8, 0, "route")
        program.move(8, 6)
        self._word(program, "sk_buff", "sk")
        program.jump_not_equal(8, 0, "socket")
        program.jump("leave")
        program.label("route")
        self._word(program, "dst_entry", "dev")
        program.label("device")
        self._word(program, "net_device", "nd_net")
        program.jump("network")
        program.label("socket")
        self._word(program, "sock_common", "skc_net")
        program.label("network")
        self._word(program, "net", "net_cookie")
        self._keep_field(program, _COOKIE)
        program.map_address(1, self._watched)
        program.move(2, 10)
        program.add(2, _KEPT[_COOKIE])
        program.call(bpf.HELPER_MAP_LOOKUP)
        program.jump_not_equal(0, 0, "watched")
        # A packet that waits in a socket no longer knows its device; it is dropped by the process that reads it.
        program.load(8, 10, _KEPT[_COOKIE])
        program.jump_not_equal(8, 0, "leave")
        program.call(bpf.HELPER_PID_TGID)
        program.shift_right(0, 32)
        program.jump_not_equal(0, os.getpid(), "leave")
        program.label("watched")
        self._packet(program)
        self._write(program, _DROPPED)
        program.label("leave")
        program.leave(0)
        return program

    def _log_program(self) -> bpf.Program:
        """Stands at console: context words are the text and its length. Only what this process caused counts."""
        program = bpf.Program()
        program.load(7, 1, 0)
        program.load(8, 1, 8)
        self._begin(program)
        program.call(bpf.HELPER_PID_TGID)
        program.shift_right(0, 32)
        program.jump_not_equal(0, os.getpid(), "leave")
        self._write(program, _LOGGED)
        program.label("leave")
        program.leave(0)
        return program

    def read(self) -> Iterator[Event]:
        """What happened since the last call.

        Raises:
            LostEvents: the ring buffer overflowed.
        """
        for record in self._ring.read():
            cookie, skb, kind, number, in_index, out_index, tracking, tracks, length = _RECORD.unpack_from(record)
            data = record[_BYTES : _BYTES + length]
            if kind == _LOGGED:
                yield Event(Kind.LOGGED, 0, text=data.decode(errors="replace").rstrip("\n"))
            elif kind == _DROPPED:
                reason = self._reasons.get(number, str(number))
                yield Event(Kind.DROPPED, cookie, skb, tracking=tracking, data=data, text=reason)
            else:
                hook = _HOOKS[number]
                yield Event(_KINDS[kind], cookie, skb, hook, in_index, out_index, tracking, data, tracks=tracks > 0)
        if lost := struct.unpack_from("<Q", self._lost_page)[0]:
            raise LostEvents(f"{lost} packet events were lost")

    def check(self) -> None:
        """Called at the end.

        Raises:
            LostEvents: a drop, of this or of any other packet on this machine, went unseen in an interrupt.
        """
        if any(bpf.missed(program) for program in self._tracing):
            raise LostEvents("drops were missed in an interrupt")

    def close(self) -> None:
        """Stops watching."""
        self._held.close()
