"""What a view is given to show: a host, and packets with the interfaces by which they come."""

from typing import Any

from netlab.host import Host
from netlab.names import NetlabError
from netlab.packet import Packet


def host_of(view: str, given: Any) -> Host:
    """The host that a view shows.

    Raises:
        NetlabError: it is none.
    """
    if not isinstance(given, Host):
        raise NetlabError(f"{view} shows a Host, not {type(given).__name__}")
    return given


def arrival(view: str, given: Any) -> tuple[str | None, Packet]:
    """A packet and the interface by which it comes in, or None where the host sends it.

    Raises:
        NetlabError: it is no such pair.
    """
    match given:
        case (str() | None as dev, Packet() as packet):
            return dev, packet
    raise NetlabError(f"{view}: pairs of an interface, or None, and a packet are expected, not {type(given).__name__}")
