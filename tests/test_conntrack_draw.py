"""Pictures of connection tracking: drawn from the tracker's own table, and readable without seeing them."""

import re
from xml.etree import ElementTree

import pytest

from netlab.conntrack.tcp_table import IGNORE, INVALID, TABLE
from netlab.conntrack.tuples import Direction
from netlab.draw.conntrack import chains, countdown, entry_card, steps_from, tcp_states
from netlab.host import Host
from netlab.names import NetlabError, TcpState
from netlab.packet import Packet

C, S = "10.0.1.2", "10.0.2.2"


@pytest.fixture
def router() -> Host:
    sysctls = {"net.ipv4.ip_forward": 1, "net.netfilter.nf_conntrack_buckets": 4}
    made = Host("r", {"r0": "10.0.1.1/24", "r1": "10.0.2.1/24"}, sysctls=sysctls, conntrack="on")
    made.receive("r0", Packet.tcp(C, S, 4000, 80, "S", seq=1))
    made.receive("r1", Packet.tcp(S, C, 80, 4000, "SA", seq=1, ack=2))
    made.receive("r0", Packet.tcp(C, S, 4000, 80, "A", seq=2, ack=2))
    for port in range(1, 20):
        made.receive("r0", Packet.udp(C, S, port, 53))
    return made


def svg_of(page: str) -> ElementTree.Element:
    found = re.search(r"<svg.*?</svg>", page, re.DOTALL)
    assert found
    return ElementTree.fromstring(found[0])


def test_every_step_of_the_table_is_drawn_and_no_other() -> None:
    page = tcp_states()
    drawn = set(re.findall(r'data-edge="(\w+)&gt;(\w+)"', page))
    wanted = {
        (state.name, target.name)
        for table in TABLE.values()
        for (_, state), target in table.items()
        if isinstance(target, TcpState) and target is not state
    }
    assert drawn == wanted


def test_every_state_says_what_may_come_next() -> None:
    page = tcp_states(["NONE", "SYN_SENT"])
    panels = dict(re.findall(r'<div class="panel (\w+)">(.*?)</div>', page))
    assert set(panels) == set(TcpState.__members__)
    for state in TcpState:
        for direction, kind, target in steps_from(state):
            assert TABLE[direction][kind, state] == target
        targets = re.findall(r'<label for="[\w-]+?-(\w+)">', panels[state.name])
        steps = [target for _, _, target in steps_from(state)]
        assert targets == [target.name for target in steps if isinstance(target, TcpState)]
        assert ("INVALID" in panels[state.name]) == (INVALID in steps)
        assert ("not believed" in panels[state.name]) == (IGNORE in steps)


def test_the_way_is_marked_and_the_present_state_chosen() -> None:
    page = tcp_states([TcpState.NONE, TcpState.SYN_SENT, TcpState.SYN_RECV])
    assert re.findall(r'walked" data-edge="([^"]+)"', page) == ["NONE&gt;SYN_SENT", "SYN_SENT&gt;SYN_RECV"]
    assert re.findall(r'id="[\w-]+?-(\w+)" checked', page) == ["SYN_RECV"]
    assert "The way: NONE, SYN_SENT, SYN_RECV." in svg_of(page).attrib["aria-label"]


def test_two_diagrams_on_a_page_do_not_share_buttons() -> None:
    names = [set(re.findall(r' name="([\w-]+)"', tcp_states())) for _ in range(2)]
    assert len(names[0]) == len(names[1]) == 1 and names[0] != names[1]


def test_a_state_that_is_none_is_refused() -> None:
    with pytest.raises(NetlabError, match="unknown TCP state 'LISTEN'"):
        tcp_states(["LISTEN"])


def test_every_tuple_of_every_entry_stands_in_its_chain(router: Host) -> None:
    assert router.conntrack
    page = chains(router.conntrack)
    assert "20 entries of at most 262,144 (nf_conntrack_max), 40 tuples in 4 buckets" in page
    counted = re.findall(r"<th scope=row>(\d+)</th><td>(\d+)</td>", page)
    assert sum(int(length) * int(number) for length, number in counted) == 40
    assert sum(int(number) for _, number in counted) == 4
    picture = svg_of(page)
    boxes = [box for box in picture.iter() if (box.get("class") or "").startswith("tuple")]
    hidden = sum(map(int, re.findall(r"and (\d+) more", page)))
    assert len(boxes) + hidden == 40
    assert "bucket 3: " in picture.attrib["aria-label"]
    original = next(entry for entry in router.conntrack.table if entry.state).tuple(Direction.ORIGINAL)
    assert original in router.conntrack.table.chains()[router.conntrack.table.bucket_of(original)]


def test_an_empty_table_is_drawn_too() -> None:
    idle = Host("r", {"r0": "10.0.1.1/24"}, conntrack="on")
    assert idle.conntrack
    assert "0 entries" in chains(idle.conntrack) and len(svg_of(chains(idle.conntrack))) == 17


def test_timeouts_run_down(router: Host) -> None:
    assert router.conntrack
    cells = [re.findall(r"<td>([\d.]+|gone)", row) for row in countdown(router.conntrack, 10, 31).split("<tr>")[2:]]
    assert cells[0] == ["432000", "431990", "431969"]
    assert cells[1] == ["30", "20", "gone"]
    router.wires.clock.advance(10)
    assert "<td>20 " in countdown(router.conntrack)
    with pytest.raises(NetlabError, match="forward"):
        countdown(router.conntrack, -1)


def test_an_entry_is_explained_field_by_field(router: Host) -> None:
    assert router.conntrack
    page = entry_card(next(iter(router.conntrack.table)), 0)
    for word in ("protocol", "timeout", "TCP state", "ESTABLISHED", "original", "reply", "assured", "--ctstate"):
        assert word in page
