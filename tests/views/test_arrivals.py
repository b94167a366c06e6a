"""What views refuse to show: what is no host, and what is no packet with its interface."""

from collections.abc import Callable
from typing import Any

import pytest

from netlab.host import Host
from netlab.names import NetlabError
from netlab.packet import Packet
from netlab.views import fill_table, follow_entry, packet_flow, turn_clock, walk_rules

PACKET = Packet.udp("10.0.0.2", "10.0.0.1", 1, 2)


@pytest.mark.parametrize(
    ("view", "show"),
    [
        ("fill_table", lambda it: fill_table(it, [])),
        ("follow_entry", follow_entry),
        ("packet_flow", packet_flow),
        ("turn_clock", turn_clock),
        ("walk_rules", walk_rules),
    ],
)
@pytest.mark.parametrize("given", [None, "router", PACKET])
def test_what_is_no_host_is_refused(view: str, show: Callable[[Any], Any], given: Any) -> None:
    with pytest.raises(NetlabError, match=f"^{view} shows a Host, not {type(given).__name__}$"):
        show(given)


@pytest.mark.parametrize("given", [PACKET, "eth0", ("eth0", b"packet"), (PACKET, "eth0")])
def test_a_packet_comes_with_its_interface(given: Any) -> None:
    host = Host("r", {"eth0": "10.0.0.1/24"}, conntrack="on")
    expected = f"pairs of an interface, or None, and a packet are expected, not {type(given).__name__}$"
    for name, view in (("follow_entry", follow_entry), ("walk_rules", walk_rules)):
        with pytest.raises(NetlabError, match=f"^{name}: {expected}"):
            view(host, given)
    with pytest.raises(NetlabError, match=f"^fill_table: {expected}"):
        fill_table(host, [given]).press("1 packet")
