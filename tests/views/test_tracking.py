"""Connection tracking in widgets: what their buttons do, and what they then show."""

import re

import pytest

from netlab.conntrack.tcp_table import TABLE, Kind
from netlab.conntrack.tuples import Direction
from netlab.host import Host
from netlab.names import DROP, Hook, NetlabError, TcpState
from netlab.packet import Packet
from netlab.views import fill_table, follow_entry, turn_clock, walk_tcp
from netlab.views.panel import Panel

QUERY = Packet.udp("10.0.1.2", "10.0.2.2", 5000, 53)
ANSWER = Packet.udp("10.0.2.2", "10.0.1.2", 53, 5000)


def router(**sysctls: int) -> Host:
    names = {f"net.netfilter.nf_conntrack_{name}": value for name, value in sysctls.items()}
    addresses = {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}
    return Host("router", addresses, sysctls={"net.ipv4.ip_forward": 1} | names, conntrack="on")


def here(panel: Panel) -> str:
    found = re.search(r'aria-current="step">([^<]+)', panel.html)
    assert found
    return found[1]


def look(panel: Panel) -> str:
    found = re.search(r'<table class="entry (\w+)"', panel.html)
    assert found
    return found[1]


def walk(panel: Panel) -> list[tuple[str, str]]:
    """Every stop: where the packet is, and how its entry looks."""
    seen = [(here(panel), look(panel))]
    while "Forward" not in panel.off:
        panel.press("Forward")
        seen.append((here(panel), look(panel)))
    return seen


def test_an_entry_is_a_ghost_until_it_is_confirmed() -> None:
    host = router()
    assert walk(follow_entry(host, ("eth0", QUERY), ("eth1", ANSWER))) == [
        ("PRE_ROUTING: before conntrack", "none"),
        ("PRE_ROUTING: conntrack has looked", "ghost"),
        ("FORWARD: on the way", "ghost"),
        ("POST_ROUTING: about to be confirmed", "ghost"),
        ("it is over", "confirmed"),
        ("PRE_ROUTING: before conntrack", "none"),
        ("PRE_ROUTING: conntrack has looked", "confirmed"),
        ("FORWARD: on the way", "confirmed"),
        ("POST_ROUTING: about to be confirmed", "confirmed"),
        ("it is over", "confirmed"),
    ]
    assert "observer" not in str(host.hooks)


def test_a_dropped_packet_takes_its_entry_along() -> None:
    host = router()
    host.register(Hook.FORWARD, lambda packet, state: DROP)
    panel = follow_entry(host, ("eth0", QUERY))
    assert walk(panel)[-2:] == [("FORWARD: on the way", "ghost"), ("it is over", "none")]
    assert "the table has never heard of the flow" in panel.story and "(no entries)" in panel.html


def test_a_packet_to_the_router_itself_is_confirmed_on_its_way_out() -> None:
    panel = follow_entry(router(), (None, Packet.udp("0.0.0.0", "10.0.1.1", 5000, 53)))
    looks = dict(walk(panel))
    assert looks["LOCAL_OUT: conntrack has looked"] == looks["POST_ROUTING: about to be confirmed"] == "ghost"
    assert looks["LOCAL_IN: about to be confirmed"] == "confirmed"


def test_steps_go_both_ways_and_stop_at_the_ends() -> None:
    panel = follow_entry(router(), ("eth0", QUERY))
    assert panel.off == ["First", "Back"]
    panel.press("Back")
    assert here(panel) == "PRE_ROUTING: before conntrack"
    panel.press("Last")
    assert here(panel) == "it is over" and panel.off == ["Forward", "Last"]
    panel.press("First")
    assert panel.story.startswith("1 of 5")


def test_the_tuples_cross_in_colour() -> None:
    panel = follow_entry(router(), ("eth0", QUERY))
    panel.press("Forward")
    cells = re.findall(r'<td class="(\w*)"><code>([^<]+)', panel.html)
    assert cells[:5] == [("one", "10.0.1.2"), ("two", "10.0.2.2"), ("", "udp"), ("one", "5000"), ("two", "53")]
    assert cells[5:] == [("two", "10.0.2.2"), ("one", "10.0.1.2"), ("", "udp"), ("two", "53"), ("one", "5000")]


def test_ping_and_other_protocols_are_drawn_too() -> None:
    panel = follow_entry(router(), ("eth0", Packet.icmp("10.0.1.2", "10.0.2.2", id=42)))
    panel.press("Forward")
    assert "8/0" in panel.html and "0/0" in panel.html and "type and code" in panel.html
    panel = follow_entry(router(), ("eth0", Packet.ip("10.0.1.2", "10.0.2.2", 99)))
    panel.press("Last")
    assert look(panel) == "confirmed"


def test_the_table_fills_and_says_what_was_lost() -> None:
    flows = (("eth0", QUERY.with_(sport=port)) for port in range(5000, 5111))
    panel = fill_table(router(buckets=4, max=12), flows, 4)
    panel.press("10 packets")
    assert panel.story == "10 packets came. The table has 10 entries."
    panel.press("100 packets")
    assert "had to make room so far (early_drop)" in panel.story
    panel.press("10 packets")
    assert panel.story.startswith("1 packet came.")


def test_the_clock_forgets() -> None:
    host = router()
    host.receive("eth0", QUERY)
    panel = turn_clock(host)
    panel.press("+10 s")
    assert "10 s. The table has 1 entry." in panel.story and ">20 <meter" in panel.html
    panel.press("+60 s")
    assert panel.story.endswith("The table has 0 entries. 1 entry was forgotten.")


def test_the_walk_goes_where_the_table_says() -> None:
    panel = walk_tcp()
    for name, kind, direction in (
        ("client: SYN", Kind.SYN, Direction.ORIGINAL), ("server: SYN-ACK", Kind.SYN_ACK, Direction.REPLY),
        ("client: ACK", Kind.ACK, Direction.ORIGINAL), ("server: FIN", Kind.FIN, Direction.REPLY),
    ):  # fmt: skip
        before = panel.way[-1]
        panel.press(name)
        assert panel.way[-1] is TABLE[direction][kind, before]
    assert [state.name for state in panel.way] == ["NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT"]
    panel.press("server: SYN")
    assert "INVALID" in panel.story and panel.way[-1] is TcpState.FIN_WAIT
    panel.press("client: SYN")
    assert "not believed" in panel.story
    panel.press("Start again")
    assert panel.way == [TcpState.NONE]


def test_mistakes_are_said() -> None:
    idle = Host("idle", {"eth0": "10.0.1.1/24"})
    for made in (lambda: follow_entry(idle, ("eth0", QUERY)), lambda: turn_clock(idle), lambda: fill_table(idle, [])):
        with pytest.raises(NetlabError, match="idle tracks nothing"):
            made()
    with pytest.raises(NetlabError, match="no packet to follow"):
        follow_entry(router())
    with pytest.raises(NetlabError, match="there is no button 'Up'"):
        turn_clock(router()).press("Up")


def test_a_panel_is_a_page_where_there_are_no_widgets() -> None:
    panel = walk_tcp()
    panel._handle_custom_msg({"do": "press", "name": "client: SYN"}, [])
    panel._handle_custom_msg({"do": "press", "name": "nonsense"}, [])
    assert "SYN_SENT" in panel.static_html() and "<svg" in panel.static_html()
    assert str(panel) == "TCP's states: client: SYN: from NONE to SYN_SENT."


def test_nat_paints_the_reply_tuple_anew() -> None:
    rules = "*nat\n-A PREROUTING -p udp --dport 53 -j DNAT --to-destination 10.0.2.9:54\nCOMMIT\n"
    host = Host("router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, sysctls={"net.ipv4.ip_forward": 1},
                iptables=rules)  # fmt: skip
    panel = follow_entry(host, ("eth0", QUERY), ("eth1", ANSWER.with_(src="10.0.2.9", sport=54)))
    panel.press("Forward")
    assert 'class="new"' not in panel.html
    panel.press("Forward")
    assert here(panel) == "PRE_ROUTING: NAT has looked"
    assert 'class="new"><code>10.0.2.9</code>' in panel.html
    assert 'class="new"><code>54</code>' in panel.html
    assert panel.story.endswith("They have rewritten the reply tuple, and the packet.")
    while here(panel) != "PRE_ROUTING: NAT has looked" or "no rule is asked" not in panel.story:
        panel.press("Forward")
    assert "10.0.2.2:53 &gt; 10.0.1.2:5000" not in panel.html  # the source is put back at the very end


def test_a_port_that_nat_keeps_is_not_painted_anew() -> None:
    rules = "*nat\n-A POSTROUTING -o eth1 -j MASQUERADE\nCOMMIT\n"
    addresses = {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}
    host = Host("router", addresses, sysctls={"net.ipv4.ip_forward": 1}, iptables=rules)
    panel = follow_entry(host, ("eth0", QUERY))
    panel.press("Last")
    panel.press("Back")
    assert re.findall(r'class="new"><code>([^<]+)', panel.html) == ["10.0.2.1"]
    assert panel.story.endswith("The reply tuple is that of an answer to the translated packet.")
