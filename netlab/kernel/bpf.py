"""Just enough of bpf(2) to watch packets: a small assembler, the kernel's own type table, a ring buffer.

No compiler is needed: the programs are a dozen instructions, and where a field sits in a kernel structure is read
from the running kernel's BTF (/sys/kernel/btf/vmlinux). Root only.
Sources: bpf(2), Documentation/bpf/btf.rst, Documentation/bpf/ringbuf.rst, include/uapi/linux/bpf.h.
"""

import ctypes
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_libc = ctypes.CDLL(None, use_errno=True)
_SYS_BPF: Final = {"x86_64": 321, "aarch64": 280}

MAP_CREATE, MAP_UPDATE, PROG_LOAD, OBJECT_INFO, RAW_TRACEPOINT_OPEN, LINK_CREATE = 0, 2, 5, 15, 17, 28
_MISSES: Final = 208  # where recursion_misses stands in struct bpf_prog_info
MAP_HASH, MAP_ARRAY, MAP_RINGBUF = 1, 2, 27
MAP_IS_MMAPABLE: Final = 1 << 10
PROG_RAW_TRACEPOINT, PROG_NETFILTER = 17, 32
ATTACH_NETFILTER: Final = 45
HELPER_MAP_LOOKUP, HELPER_PID_TGID, HELPER_PROBE_READ_KERNEL = 1, 14, 113
HELPER_RINGBUF_RESERVE, HELPER_RINGBUF_SUBMIT = 131, 132


def bpf(command: int, attributes: bytes) -> int:
    """One bpf(2) call with the attribute union as bytes; gives back what it returns, usually a file descriptor.

    Raises:
        OSError: the kernel refused.
    """
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result: int = _libc.syscall(_SYS_BPF[os.uname().machine], command, buffer, len(attributes))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"bpf: {os.strerror(number)}")
    return result


class Types:
    """The running kernel's structures and enums, read from BTF."""

    PATH: Final = "/sys/kernel/btf/vmlinux"
    # Bytes that follow the 12 common ones, by kind: (fixed, for each member).
    _TAIL: Final = {
        1: (4, 0), 3: (12, 0), 4: (0, 12), 5: (0, 12), 6: (0, 8), 13: (0, 8), 14: (4, 0), 15: (0, 12), 17: (4, 0),
        19: (0, 12),
    }  # fmt: skip
    _STRUCT, _UNION, _ENUM = 4, 5, 6
    _QUALIFIERS: Final = (
        8,
        9,
        10,
        11,
        18,
    )  # typedef, volatile, const, restrict, type tag: they only point on

    def __init__(self, structures: set[str], enums: set[str]) -> None:
        data = self._data = Path(self.PATH).read_bytes()
        _, _, _, header, types, length, strings, _ = struct.unpack_from("<HBBIIIII", data)
        self._strings: int = header + strings
        wanted = {self._string_offset(name): name for name in structures | enums}
        self._positions = [0]
        self._named: dict[str, int] = {}
        position, end = header + types, header + types + length
        unpack = struct.Struct("<II").unpack_from
        while position < end:
            name, info = unpack(data, position)
            kind = info >> 24 & 0x1F
            if name in wanted and kind in (self._STRUCT, self._ENUM):
                self._named[wanted[name]] = position
            self._positions.append(position)
            fixed, each = self._TAIL.get(kind, (0, 0))
            position += 12 + fixed + each * (info & 0xFFFF)

    def _string_offset(self, name: str) -> int:
        return self._data.index(b"\0" + name.encode() + b"\0", self._strings) + 1 - self._strings

    def _string(self, offset: int) -> str:
        start = self._strings + offset
        return self._data[start : self._data.index(b"\0", start)].decode()

    def offset(self, structure: str, member: str) -> int:
        """Where a member starts in a structure, in bytes; members of anonymous inner structures are found too.

        Raises:
            KeyError: this kernel's structure has no such member.
        """
        bits = self._find(self._named[structure], member)
        if bits is None:
            raise KeyError(f"this kernel's struct {structure} has no member {member}")
        return bits // 8

    def _find(self, position: int, member: str) -> int | None:
        _, info, _ = struct.unpack_from("<III", self._data, position)
        for i in range(info & 0xFFFF):
            name, kind, place = struct.unpack_from("<III", self._data, position + 12 + 12 * i)
            bits = int(place) & (0xFFFFFF if info >> 31 else 0xFFFFFFFF)
            if self._string(name) == member:
                return bits
            if not name and (inner := self._find(self._resolve(kind), member)) is not None:
                return bits + inner
        return None

    def _resolve(self, kind: int) -> int:
        position = self._positions[kind]
        while self._data[position + 7] & 0x1F in self._QUALIFIERS:
            position = self._positions[struct.unpack_from("<I", self._data, position + 8)[0]]
        return position

    def enum(self, name: str) -> dict[int, str]:
        """The names of an enum by value.

        Raises:
            KeyError: this kernel has no such enum.
        """
        position = self._named[name]
        count = struct.unpack_from("<I", self._data, position + 4)[0] & 0xFFFF
        pairs = (struct.unpack_from("<Ii", self._data, position + 12 + 8 * i) for i in range(count))
        return {value: self._string(text) for text, value in pairs}


class Program:
    """Instructions in the order they are added; registers are numbers 0 to 10, 10 is the end of the 512 byte stack."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int | str, int]] = []
        self._labels: dict[str, int] = {}

    def _add(self, code: int, to: int = 0, source: int = 0, offset: int | str = 0, value: int = 0) -> None:
        self._code.append((code, to, source, offset, value))

    def move(self, to: int, source: int) -> None:
        """Copies a register."""
        self._add(0xBF, to, source)

    def set(self, to: int, value: int) -> None:
        """Sets a register to a signed 32 bit number."""
        self._add(0xB7, to, value=value)

    def add(self, to: int, value: int) -> None:
        """Adds a number to a register."""
        self._add(0x07, to, value=value)

    def add_register(self, to: int, source: int) -> None:
        """Adds a register to a register."""
        self._add(0x0F, to, source)

    def subtract_register(self, to: int, source: int) -> None:
        """Subtracts a register from a register."""
        self._add(0x1F, to, source)

    def mask(self, to: int, value: int) -> None:
        """Keeps the bits of a register that are set in a sign-extended 32 bit number."""
        self._add(0x57, to, value=value)

    def shift_right(self, register: int, bits: int) -> None:
        """Shifts a register to the right, zeros coming in."""
        self._add(0x77, register, value=bits)

    def load(self, to: int, base: int, offset: int, size: int = 8) -> None:
        """Loads 1, 2, 4 or 8 bytes from memory that the verifier knows to be safe."""
        self._add({1: 0x71, 2: 0x69, 4: 0x61, 8: 0x79}[size], to, base, offset)

    def store(self, base: int, offset: int, source: int, size: int = 8) -> None:
        """Stores 4 or 8 bytes of a register."""
        self._add({4: 0x63, 8: 0x7B}[size], base, source, offset)

    def atomic_increment(self, base: int, source: int) -> None:
        """Adds a register to the 8 bytes at an address, atomically."""
        self._add(0xDB, base, source)

    def map_address(self, to: int, map_fd: int) -> None:
        """Loads the address of a map, which its file descriptor stands for."""
        self._add(0x18, to, 1, 0, map_fd)
        self._add(0)

    def call(self, helper: int) -> None:
        """Calls a kernel helper: arguments in registers 1 to 5, result in 0."""
        self._add(0x85, value=helper)

    def jump(self, label: str) -> None:
        """Goes on at a label."""
        self._add(0x05, offset=label)

    def jump_equal(self, register: int, value: int, label: str) -> None:
        """Goes on at a label if the register holds that number."""
        self._add(0x15, register, 0, label, value)

    def jump_at_most(self, register: int, value: int, label: str) -> None:
        """Goes on at a label if the register, unsigned, holds at most that number."""
        self._add(0xB5, register, 0, label, value)

    def jump_not_equal(self, register: int, value: int, label: str) -> None:
        """Goes on at a label unless the register holds that number."""
        self._add(0x55, register, 0, label, value)

    def label(self, name: str) -> None:
        """Names the next instruction."""
        self._labels[name] = len(self._code)

    def leave(self, value: int) -> None:
        """Ends the program with a result."""
        self.set(0, value)
        self._add(0x95)

    def read_to_stack(self, stack: int, size: int, base: int, offset: int) -> None:
        """Reads kernel memory at a register plus an offset to the stack; unreadable memory reads as zeros."""
        self.move(1, 10)
        self.add(1, stack)
        self.set(2, size)
        self.move(3, base)
        self.add(3, offset)
        self.call(HELPER_PROBE_READ_KERNEL)

    def assemble(self) -> bytes:
        """The instructions as bytes, labels turned into distances."""
        out = bytearray()
        for at, (code, to, source, offset, value) in enumerate(self._code):
            distance = self._labels[offset] - at - 1 if isinstance(offset, str) else offset
            out += struct.pack("<BBhi", code, to | source << 4, distance, value)
        return bytes(out)

    def load_into_kernel(self, kind: int, attach_type: int = 0) -> int:
        """Has the verifier check the program; gives its file descriptor.

        Raises:
            OSError: the verifier refused; the message ends with what it said.
        """
        code = self.assemble()
        code_buffer = ctypes.create_string_buffer(code, len(code))
        licence = ctypes.create_string_buffer(b"Dual BSD/GPL")
        log = ctypes.create_string_buffer(1 << 18)
        attributes = struct.pack(
            "<IIQQIIQII16sII", kind, len(code) // 8, ctypes.addressof(code_buffer), ctypes.addressof(licence),
            1, len(log), ctypes.addressof(log), 0, 0, b"netlab", 0, attach_type,
        )  # fmt: skip
        try:
            return bpf(PROG_LOAD, attributes + bytes(64))
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}\n{log.value.decode(errors='replace')[-2000:]}") from None


def make_map(kind: int, key: int, value: int, entries: int, flags: int = 0) -> int:
    """Makes a BPF map (sizes in bytes) and gives its file descriptor."""
    return bpf(MAP_CREATE, struct.pack("<IIIII", kind, key, value, entries, flags) + bytes(60))


def update_map(fd: int, key: bytes, value: bytes) -> None:
    """Sets one entry of a map."""
    key_buffer, value_buffer = (
        ctypes.create_string_buffer(key, len(key)),
        ctypes.create_string_buffer(value, len(value)),
    )
    bpf(
        MAP_UPDATE,
        struct.pack("<IIQQQ", fd, 0, ctypes.addressof(key_buffer), ctypes.addressof(value_buffer), 0),
    )


def attach_tracepoint(program: int, name: str) -> int:
    """Runs a program at a raw tracepoint as long as the descriptor it gives is open."""
    text = ctypes.create_string_buffer(name.encode())
    return bpf(RAW_TRACEPOINT_OPEN, struct.pack("<QIIQ", ctypes.addressof(text), program, 0, 0))


def attach_netfilter(program: int, hook: int, priority: int) -> int:
    """Runs a program at an IPv4 hook of the namespace the process is in, as long as the descriptor is open."""
    af_inet = 2
    return bpf(
        LINK_CREATE,
        struct.pack("<IIIIIIiI", program, 0, ATTACH_NETFILTER, 0, af_inet, hook, priority, 0) + bytes(32),
    )


def missed(program: int) -> int:
    """How often the kernel left a tracepoint's program out, since it was interrupted running that very one."""
    size = _MISSES + 8
    info = ctypes.create_string_buffer(size)
    bpf(OBJECT_INFO, struct.pack("<IIQ", program, size, ctypes.addressof(info)))
    return int.from_bytes(info.raw[_MISSES:size], "little")


class RingBuffer:
    """Records that programs wrote, in the order in which they wrote them."""

    _BUSY, _DISCARDED, _LENGTH = 1 << 31, 1 << 30, (1 << 30) - 1

    def __init__(self, size: int) -> None:
        """`size` in bytes, a power of two."""
        self.fd = make_map(MAP_RINGBUF, 0, 0, size)
        self._mask = size - 1
        page = mmap.PAGESIZE
        self._page = page
        self._consumer = mmap.mmap(self.fd, page)
        # The data is mapped twice in a row, so that a record that wraps around reads straight on.
        self._producer = mmap.mmap(self.fd, page + 2 * size, prot=mmap.PROT_READ, offset=page)

    def read(self) -> Iterator[bytes]:
        """All records written since the last call."""
        (at,) = struct.unpack_from("<Q", self._consumer)
        (end,) = struct.unpack_from("<Q", self._producer)
        while at < end:
            start = self._page + (at & self._mask)
            (header,) = struct.unpack_from("<I", self._producer, start)
            if header & self._BUSY:
                break
            length = header & self._LENGTH
            if not header & self._DISCARDED:
                yield self._producer[start + 8 : start + 8 + length]
            at += (length + 15) & ~7
            self._consumer[0:8] = struct.pack("<Q", at)

    def close(self) -> None:
        """Unmaps and frees it."""
        self._producer.close()
        self._consumer.close()
        os.close(self.fd)
