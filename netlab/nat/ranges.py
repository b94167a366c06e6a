"""What a rule that translates asks for: which end of the packet, and what to choose from."""

from enum import IntEnum
from typing import NamedTuple

from netlab.addresses import format_address


class Manip(IntEnum):
    """Which end of a flow's packets is changed (enum nf_nat_manip_type)."""

    SOURCE = 0
    DESTINATION = 1


class NatRange(NamedTuple):
    """What a translated end may become (`struct nf_nat_range2`).

    Attributes:
        addresses: the first and the last; None leaves the address as it is.
        ports: the first and the last port or ICMP id; None lets the kernel choose, and keep what it can.
        random: choose a port at random even where the present one is free; since Linux 5.0 `random_fully` is the same.
        persistent: choose the address by the flow's source alone, whomever it speaks to.
        netmap: keep the host part of the address, and put the network of `addresses` before it.
        base: the port that becomes the first of `ports`, the next one the second, and so on.
    """

    addresses: tuple[int, int] | None = None
    ports: tuple[int, int] | None = None
    random: bool = False
    random_fully: bool = False
    persistent: bool = False
    netmap: bool = False
    base: int | None = None

    @property
    def shuffles(self) -> bool:
        """Whether a port is to be chosen at random in any case (NF_NAT_RANGE_PROTO_RANDOM_ALL)."""
        return self.random or self.random_fully

    def __str__(self) -> str:
        """In the words of `iptables -L`: `10.0.2.1-10.0.2.9:8080-8090/80 random`."""
        ends = "-".join(format_address(address) for address in dict.fromkeys(self.addresses or ()))
        ports = "-".join(map(str, dict.fromkeys(self.ports or ())))
        text = f"{ends}:{ports}" if ports else ends
        if self.base is not None:
            text += f"/{self.base}"
        flags = {"random": self.random, "random-fully": self.random_fully, "persistent": self.persistent}
        return " ".join([*([text] if text else []), *(name for name, set_ in flags.items() if set_)])
