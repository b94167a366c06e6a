"""ipset: sets of addresses, networks, or addresses with ports, which one rule asks instead of thousands.

Sources: ipset(8), net/netfilter/ipset/ip_set_core.c, ip_set_hash_ip.c, ip_set_hash_net.c, ip_set_hash_ipport.c.

The kernel keeps the members of a set in the order of a hash; here they stay in the order in which they were added.
"""

from bisect import insort
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field
from html import escape
from typing import Final
from zlib import crc32

from netlab.addresses import mask_of
from netlab.iptables.set_members import HOST, Member, SetError, port_of
from netlab.packet import Packet

LONGEST_NAME: Final = 31  # letters


@dataclass(slots=True)
class Element:
    """How a member is held: until when (None: for ever), as an exception, with which comment."""

    expires: float | None = None
    nomatch: bool = False
    comment: str = ""


@dataclass(frozen=True)
class SetType:
    """A kind of set: how many of `src` and `dst` it takes, and what `ipset list` says of it; sizes are in bytes."""

    name: str
    revision: int
    dimension: int
    empty_size: int
    element_size: int


TYPES: Final = {
    kind.name: kind
    for kind in (
        SetType("hash:ip", 6, 1, 216, 40),
        SetType("hash:net", 7, 1, 456, 48),
        SetType("hash:ip,port", 7, 2, 216, 48),
    )
}
TIMED_SIZE: Final = 64  # bytes, of an element that has a timeout


@dataclass(eq=False)
class IpSet:
    """One set.

    Attributes:
        now: tells the time in seconds.
        timeout: in seconds, of members that come without; 0: for ever; None: members have no timeout.
        elements: how each member is held.
    """

    name: str
    type: SetType
    now: Callable[[], float]
    hashsize: int = 1024
    maxelem: int = 65536
    timeout: int | None = None
    comment: bool = False
    bucketsize: int = 12
    initval: int = 0
    elements: dict[Member, Element] = field(default_factory=dict)
    _lengths: list[int] = field(default_factory=list)  # of networks that are in, or were; negative: the longest first

    def __post_init__(self) -> None:
        self.initval = self.initval or crc32(self.name.encode())  # the kernel's is random

    # ---------------------------------------------------------------- members

    def add(
        self,
        member: Member,
        *,
        timeout: int | None = None,
        nomatch: bool = False,
        comment: str = "",
        exist: bool = False,
    ) -> None:
        """Take a member in; `exist`: one that is in already is held anew, as told now.

        Raises:
            SetError: it is in already, cannot be a member, or the set is full.
        """
        if timeout is not None and self.timeout is None:
            raise SetError("Timeout cannot be used: set was created without timeout support")
        if comment and not self.comment:
            raise SetError("Comment cannot be used: set was created without comment support")
        self._check(member)
        if self.held(member):
            if not exist:
                raise SetError("Element cannot be added to the set: it's already added")
        elif len(self.elements) >= self.maxelem and len(self.living()) >= self.maxelem:
            raise SetError("Hash is full, cannot add more elements")
        seconds = self.timeout if timeout is None else timeout
        self.elements[member] = Element(self.now() + seconds if seconds else None, nomatch, comment)
        if -member.length not in self._lengths:
            insort(self._lengths, -member.length)

    def delete(self, member: Member, *, exist: bool = False) -> None:
        """Take a member out; `exist`: if it is in.

        Raises:
            SetError: it is not in, or cannot be.
        """
        self._check(member)
        if self.held(member):
            del self.elements[member]
        elif not exist:
            raise SetError("Element cannot be deleted from the set: it's not added")

    def _check(self, member: Member) -> None:
        if member.address == 0 and self.type.name != "hash:net":
            raise SetError("Null-valued element, cannot be stored in a hash type of set")
        if not member.length:
            raise SetError("The value of the CIDR parameter of the IP address is invalid")

    def held(self, member: Member) -> Element | None:
        """How that very member is held; None if it is not in, or no longer."""
        element = self.elements.get(member)
        if element is not None and element.expires is not None and element.expires <= self.now():
            del self.elements[member]
            return None
        return element

    def living(self) -> dict[Member, Element]:
        """The members whose time is not over."""
        if self.timeout is not None:
            now = self.now()
            late = [one for one, how in self.elements.items() if how.expires is not None and how.expires <= now]
            for member in late:
                del self.elements[member]
        return self.elements

    def find(self, member: Member) -> Element | None:
        """How a member is held; of an address in a set of networks, the longest network with it."""
        if self.type.name != "hash:net" or member.length != HOST:
            return self.held(member)
        for length in self._lengths:
            if found := self.held(Member(member.address & mask_of(-length), -length)):
                return found
        return None

    # ---------------------------------------------------------------- packets

    def member_of(self, packet: Packet, sources: tuple[bool, ...]) -> Member | None:
        """What a packet would be in the set; None if nothing. `sources`: is that part the source's?"""
        if len(sources) < self.type.dimension:
            return None
        address = packet.saddr if sources[0] else packet.daddr
        if self.type.dimension == 1:
            return Member(address) if address or self.type.name == "hash:net" else None
        port = port_of(packet, source=sources[1])
        return None if port is None else Member(address, HOST, packet.proto, port)

    def matches(self, packet: Packet, sources: tuple[bool, ...], *, return_nomatch: bool = False) -> bool:
        """Whether a packet's addresses are in; with `return_nomatch`, whether they are in as an exception."""
        member = self.member_of(packet, sources)
        found = self.find(member) if member else None
        if found is None:
            return False
        return found.nomatch is (return_nomatch and self.type.name == "hash:net")

    def add_from(
        self, packet: Packet, sources: tuple[bool, ...], *, timeout: int | None = None, exist: bool = False
    ) -> None:
        """Take a packet's addresses in, if they can be, as the target SET does; as networks as small as there are."""
        if member := self._widened(packet, sources):
            try:
                self.add(member, timeout=None if self.timeout is None else timeout, exist=exist)
            except SetError:
                return  # nobody is told

    def delete_from(self, packet: Packet, sources: tuple[bool, ...]) -> None:
        """Take a packet's addresses out, if they are in."""
        if member := self._widened(packet, sources):
            self.delete(member, exist=True)

    def _widened(self, packet: Packet, sources: tuple[bool, ...]) -> Member | None:
        member = self.member_of(packet, sources)
        if member is None or self.type.name != "hash:net":
            return member
        longest = max((one.length for one in self.living()), default=HOST)
        return Member(member.address & mask_of(longest), longest)

    # ---------------------------------------------------------------- text

    def made(self) -> tuple[object, ...]:
        """What two sets must have in common for one to be as good as the other."""
        return self.type, self.maxelem, self.timeout, self.comment

    def header(self) -> str:
        """What it was created with, as ipset prints it."""
        timeout = "" if self.timeout is None else f" timeout {self.timeout}"
        comment = " comment" * self.comment
        tail = f"bucketsize {self.bucketsize} initval {self.initval:#010x}"
        return f"family inet hashsize {self.hashsize} maxelem {self.maxelem}{timeout}{comment} {tail}"

    def members(self) -> Iterator[str]:
        """Its members, as ipset prints them."""
        for member, how in self.living().items():
            text = str(member)
            if self.timeout is not None:
                left = 0 if how.expires is None else max(int(how.expires - self.now()), 1)
                text += f" timeout {left}"
            if how.nomatch:
                text += " nomatch"
            yield text + (f' comment "{how.comment}"' if how.comment else "")

    def save(self) -> str:
        """As `ipset save` prints it."""
        create = f"create {self.name} {self.type.name} {self.header()}"
        return "\n".join([create, *(f"add {self.name} {member}" for member in self.members())])

    def list(self, references: int = 0, *, terse: bool = False) -> str:
        """As `ipset list` prints it; `references` is how many rules name it."""
        members = list(self.members())
        each = self.type.element_size if self.timeout is None else TIMED_SIZE
        lines = [
            f"Name: {self.name}",
            f"Type: {self.type.name}",
            f"Revision: {self.type.revision}",
            f"Header: {self.header()}",
            f"Size in memory: {self.type.empty_size + each * len(members)}",
            f"References: {references}",
            f"Number of entries: {len(members)}",
        ]
        return "\n".join(lines if terse else [*lines, "Members:", *members])

    def copied(self) -> "IpSet":
        """One that can be changed while this one stays."""
        other = copy(self)
        other._lengths = list(self._lengths)
        other.elements = {member: copy(element) for member, element in self.elements.items()}
        return other

    def __str__(self) -> str:
        return self.save()

    def __repr__(self) -> str:
        return f"<IpSet {self.name} {self.type.name}: {len(self.living())} members>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.list())}</pre>"


class Sets:
    """All sets of a host, by name.

    Attributes:
        now: tells the time in seconds.
        references: says how many rules name a set: such a set stays.
    """

    def __init__(self, now: Callable[[], float], references: Callable[[str], int] = lambda name: 0) -> None:
        self.now = now
        self.references = references
        self._sets: dict[str, IpSet] = {}

    def __iter__(self) -> Iterator[IpSet]:
        return iter(self._sets.values())

    def __contains__(self, name: object) -> bool:
        return name in self._sets

    def __getitem__(self, name: str) -> IpSet:
        """The set of that name.

        Raises:
            SetError: there is none.
        """
        if name not in self._sets:
            raise SetError("The set with the given name does not exist")
        return self._sets[name]

    def create(self, made: IpSet, *, exist: bool = False) -> None:
        """A new set; `exist`: one of the same name is as good if it was made alike.

        Raises:
            SetError: there is one of that name.
        """
        old = self._sets.get(made.name)
        if old is None:
            self._sets[made.name] = made
        elif not exist or old.made() != made.made():
            raise SetError("Set cannot be created: set with the same name already exists")

    def destroy(self, name: str | None = None) -> None:
        """Remove a set, or all of them.

        Raises:
            SetError: there is none, or a rule names it.
        """
        going = [self[name].name] if name else list(self._sets)
        if any(map(self.references, going)):
            raise SetError("Set cannot be destroyed: it is in use by a kernel component")
        for one in going:
            del self._sets[one]

    def flush(self, name: str | None = None) -> None:
        """Take all members out of a set, or of all of them.

        Raises:
            SetError: there is no such set.
        """
        for one in [self[name]] if name else self:
            one.elements.clear()

    def rename(self, old: str, new: str) -> None:
        """Call a set something else.

        Raises:
            SetError: there is none, a rule names it, or the name is taken.
        """
        renamed = self[old]
        if self.references(old):
            raise SetError("Set cannot be renamed: it is in use by another system")
        if new in self._sets:
            raise SetError("Set cannot be renamed: a set with the new name already exists")
        renamed.name = new
        self._sets = {one.name: one for one in self}

    def swap(self, first: str, second: str) -> None:
        """Let two sets change names, also while rules name them.

        Raises:
            SetError: one is not there, or they differ in type.
        """
        one = self[first]
        if second not in self._sets:
            raise SetError("Sets cannot be swapped: the second set does not exist")
        other = self[second]
        if one.type != other.type:
            raise SetError("The sets cannot be swapped: their type does not match")
        one.name, other.name = second, first
        self._sets[first], self._sets[second] = other, one

    def copied(self) -> "Sets":
        """All of them, to be changed while these stay."""
        other = Sets(self.now, self.references)
        other._sets = {name: one.copied() for name, one in self._sets.items()}
        return other

    def take_over(self, other: "Sets") -> None:
        """Hold what the other holds."""
        self._sets = other._sets

    def __str__(self) -> str:
        return "\n".join(one.save() for one in self)

    def __repr__(self) -> str:
        return f"<Sets: {', '.join(self._sets) or 'none'}>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self)) or 'no sets'}</pre>"
