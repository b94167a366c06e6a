"""The table: both tuples, chains, expiry, early_drop, and what happens when it is full."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.table import EARLY_DROP_BUCKETS, ConntrackTable
from netlab.conntrack.tuples import FlowTuple, invert
from netlab.host import Host
from netlab.names import CtState
from netlab.packet import Packet
from netlab.topology import Network

PREFIX = "net.netfilter.nf_conntrack_"
TABLE_FULL = "nf_conntrack: nf_conntrack: table full, dropping packet"
SERVER = 0x0A000202


def entry_of(number: int, *, assured: bool = False, expires: float = 1e9) -> Entry:
    flow = FlowTuple(0x0B000000 + number // 50_000, SERVER, 17, 1 + number % 50_000, 53)
    reply = invert(flow)
    assert reply
    made = Entry(flow, reply, number)
    made.status = Status.CONFIRMED | ((Status.SEEN_REPLY | Status.ASSURED) if assured else 0)
    made.expires = expires
    return made


def full_host(entries: int, *, assured: bool, buckets: int) -> Host:
    host = Host(
        "r",
        {"r0": "10.0.1.1/24", "r1": "10.0.2.1/24"},
        sysctls={"net.ipv4.ip_forward": 1, f"{PREFIX}max": entries, f"{PREFIX}buckets": buckets},
        conntrack="on",
    )
    assert host.conntrack
    for number in range(entries):
        host.conntrack.table.insert(entry_of(number, assured=assured))
    return host


def new_flows(host: Host, count: int) -> int:
    """How many of so many new flows get through."""
    sent = (host.receive("r0", Packet.udp("10.0.1.2", "10.0.2.2", 2000 + number, 80)) for number in range(count))
    return sum(bool(trace.out) for trace in sent)


@pytest.mark.parametrize(
    ("entries", "flows"),
    [(64, 20), pytest.param(262_144, 2000, marks=pytest.mark.slow)],
)
def test_a_full_table_of_unassured_entries_makes_room(entries: int, flows: int) -> None:
    host = full_host(entries, assured=False, buckets=entries)
    assert host.conntrack
    assert new_flows(host, flows) == flows
    # The kernel's counter at 262,144 entries after 2,000 new flows: 2,000; a bucket's victims all go at once.
    assert entries - 20 <= len(host.conntrack.table) <= entries
    assert host.conntrack.statistics.early_drop == entries + flows - len(host.conntrack.table)
    assert host.conntrack.statistics.drop == 0


@pytest.mark.parametrize(
    ("entries", "flows"),
    [(64, 20), pytest.param(262_144, 2000, marks=pytest.mark.slow)],
)
def test_a_full_table_of_assured_entries_lets_no_new_flow_in_and_the_old_ones_live(entries: int, flows: int) -> None:
    host = full_host(entries, assured=True, buckets=entries)
    assert host.conntrack
    assert new_flows(host, flows) == 0
    assert host.conntrack.statistics.drop == flows and host.conntrack.statistics.early_drop == 0
    assert host.receive("r0", Packet.udp("11.0.0.0", "10.0.2.2", 7, 53)).path[0].state is CtState.ESTABLISHED
    refused = host.send(Packet.udp("10.0.1.1", "10.0.1.2", 5000, 53))
    assert refused.errno == "EPERM"
    assert refused.log == {"r": [TABLE_FULL]}
    assert not refused.out


def test_no_limit_is_zero() -> None:
    host = full_host(64, assured=True, buckets=64)
    host.sysctls.set(f"{PREFIX}max", 0)
    assert new_flows(host, 5) == 5


def test_assured_and_closing_is_not_given_up() -> None:
    """The kernel was asked with 262,144 entries ASSURED in CLOSE_WAIT: none of 200 new flows passed."""
    host = full_host(8, assured=True, buckets=8)
    assert host.conntrack
    for entry in host.conntrack.table:
        entry.protocol = None
    assert new_flows(host, 3) == 0


def test_early_drop_takes_all_of_the_first_bucket_that_has_victims() -> None:
    table = ConntrackTable(buckets=1)
    for number in range(5):
        table.insert(entry_of(number, assured=number == 0))
    late = entry_of(9, expires=0)
    table.insert(late)
    assert table.early_drop(entry_of(10).original, now=1) == 4
    assert [entry.id for entry in table] == [0]


def test_early_drop_looks_no_further_than_eight_buckets() -> None:
    table = ConntrackTable(buckets=4096)
    wanted = entry_of(0).original
    victims = [entry_of(number) for number in range(1, 400)]
    first = table.bucket_of(wanted)

    def distance(entry: Entry) -> int:
        return min((table.bucket_of(flow) - first) % table.buckets for flow in (entry.original, entry.reply))

    for entry in victims:
        if distance(entry) >= EARLY_DROP_BUCKETS:
            table.insert(entry)
    before = len(table)
    assert table.early_drop(wanted, now=0) == 0 and len(table) == before


numbers = st.integers(0, 30)


@given(st.lists(st.tuples(st.booleans(), numbers), max_size=60), st.integers(1, 8))
def test_every_entry_stands_in_the_chains_twice_whatever_is_done(steps: list[tuple[bool, int]], buckets: int) -> None:
    gone: list[Entry] = []
    table = ConntrackTable(buckets, gone.append)
    living: dict[int, Entry] = {}
    table.chains()
    for put, number in steps:
        if put and number not in living:
            living[number] = entry_of(number)
            table.insert(living[number])
        elif not put and number in living:
            table.remove(living.pop(number))
    assert len(table) == len(living) and set(table) == set(living.values())
    chained = [flow for chain in table.chains().values() for flow in chain]
    assert sorted(chained) == sorted(flow for entry in living.values() for flow in (entry.original, entry.reply))
    assert all(chain for chain in table.chains().values())
    assert all(table.bucket_of(flow) == bucket for bucket, chain in table.chains().items() for flow in chain)
    kept = {bucket: list(chain) for bucket, chain in table.chains().items()}
    table.resize(buckets)  # worked out anew they are the same
    assert {bucket: sorted(chain) for bucket, chain in table.chains().items()} == {
        bucket: sorted(chain) for bucket, chain in kept.items()
    }
    assert len(gone) + len(living) == sum(put for put, _ in steps) - sum(
        1 for at, (put, number) in enumerate(steps) if put and _is_there(steps[:at], number)
    )


def _is_there(steps: list[tuple[bool, int]], number: int) -> bool:
    there = False
    for put, other in steps:
        if other == number:
            there = put
    return there


def test_a_late_entry_is_forgotten_when_it_is_met_or_when_the_clock_moves() -> None:
    net = Network()
    router = net.host(
        "r", {"r0": "10.0.1.1/24", "r1": "10.0.2.1/24"}, sysctls={"net.ipv4.ip_forward": 1}, conntrack="on"
    )
    assert router.conntrack
    packet = Packet.udp("10.0.1.2", "10.0.2.2", 1, 53)
    router.receive("r0", packet)
    router.wires.clock.advance(30)  # by hand: nobody collects
    assert len(router.conntrack.table) == 1
    assert router.receive("r0", packet).path[0].state is CtState.NEW
    net.advance(29.5)
    assert len(router.conntrack.table) == 1
    net.advance(0.5)
    assert len(router.conntrack.table) == 0
    kinds = [str(event.kind) for event in router.conntrack.events]
    assert kinds == ["NEW", "DESTROY", "NEW", "DESTROY"]
    assert str(router.conntrack.events[-1]) == (
        "[DESTROY] udp      17 src=10.0.1.2 dst=10.0.2.2 sport=1 dport=53 [UNREPLIED] "
        "src=10.0.2.2 dst=10.0.1.2 sport=53 dport=1"
    )


def test_a_flow_that_is_its_own_answer_is_one_entry() -> None:
    flow = FlowTuple(1, 1, 17, 5, 5)
    entry = Entry(flow, FlowTuple(1, 1, 17, 5, 5), 1)
    entry.expires = 9
    table = ConntrackTable(4)
    table.insert(entry)
    assert list(table) == [entry] and sum(map(len, table.chains().values())) == 2
    table.remove(entry)
    assert list(table) == [] and table.chains() == {}


def test_a_chain_that_is_too_long_takes_no_more() -> None:
    """The kernel's limit is drawn for each flow anew (nf_conntrack_core.c: MIN_CHAINLEN, MAX_CHAINLEN)."""
    sysctls = {"net.ipv4.ip_forward": 1, "net.netfilter.nf_conntrack_buckets": 2}
    router = Host("r", {"r0": "10.0.1.1/24", "r1": "10.0.2.1/24"}, sysctls=sysctls, conntrack="on")
    assert router.conntrack
    lost = [not router.receive("r0", Packet.udp("10.0.1.2", "10.0.2.2", 1000 + n, 53)).out for n in range(300)]
    statistics = router.conntrack.statistics
    assert statistics.chaintoolong == statistics.insert_failed == sum(lost) > 0
    assert statistics.drop == 0
    first, longest = lost.index(True), max(map(len, router.conntrack.table.chains().values()))
    assert first > 40 and 52 <= longest <= 81
    assert all(router.receive("r0", Packet.udp("10.0.1.2", "10.0.2.2", 1000 + n, 53)).out for n in range(40))


def test_where_nobody_is_crowded_no_chain_is_worked_out() -> None:
    router = Host("r", {"r0": "10.0.1.1/24", "r1": "10.0.2.1/24"}, sysctls={"net.ipv4.ip_forward": 1}, conntrack="on")
    assert router.conntrack
    for n in range(100):
        router.receive("r0", Packet.udp("10.0.1.2", "10.0.2.2", 1000 + n, 53))
    assert router.conntrack.table._chains is None


def test_an_entry_that_only_answers_find_leaves_the_other_one_alone() -> None:
    table = ConntrackTable(4)
    first = Entry(FlowTuple(1, 2, 17, 3, 4), FlowTuple(2, 1, 17, 4, 3), 1)
    second = Entry(first.original, FlowTuple(9, 1, 17, 4, 3), 2)
    first.expires = second.expires = 10
    table.chains()
    table.insert(first)
    table.insert(second, by_reply_only=True)
    assert table.find(first.original, 0) is first and table.find(second.reply, 0) is second
    assert list(table) == [first] and len(table) == 2 and sum(map(len, table.chains().values())) == 3
    second.expires = 1
    assert table.expire(2) == [second]
    assert table.find(first.original, 2) is first and table.find(second.reply, 2) is None and len(table) == 1
    table.remove(first)
    assert not table.chains() and len(table) == 0


def test_entries_and_the_table_show_themselves() -> None:
    table = ConntrackTable(buckets=16)
    table.insert(entry_of(1))
    assert repr(table) == "<ConntrackTable: 1 entries, 16 buckets>"
    assert repr(list(table)) == "[<Entry udp src=11.0.0.0 dst=10.0.2.2 sport=2 dport=53>]"
