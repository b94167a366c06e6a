"""NFQUEUE: to which queue, and what becomes of packets for which nobody listens."""

import pytest

from netlab.iptables.words import RuleError
from netlab.names import Verdict
from netlab.packet import Packet
from tests.iptables.targets.rig import CLIENT, SERVER, router, sent

UDP = Packet.udp(CLIENT, SERVER, 4000, 53)


def test_a_listener_decides() -> None:
    host = router("-A FORWARD -j NFQUEUE --queue-num 5")
    host.queue(5).bind(lambda packet, state: (Verdict.ACCEPT, packet.with_(ttl=9)))
    assert [packet.ttl for packet in sent(host.receive("eth0", UDP))] == [9]
    host.queue(5).bind(lambda packet, state: Verdict.DROP)
    assert sent(host.receive("eth0", UDP)) == []


def test_with_nobody_there() -> None:
    assert sent(router("-A FORWARD -j NFQUEUE").receive("eth0", UDP)) == []
    assert len(sent(router("-A FORWARD -j NFQUEUE --queue-bypass").receive("eth0", UDP))) == 1


def test_bypass_passes_the_rest_of_the_table_by() -> None:
    assert len(sent(router("-A FORWARD -j NFQUEUE --queue-bypass", "-A FORWARD -j DROP").receive("eth0", UDP))) == 1


@pytest.mark.parametrize("fanout", [False, True])
def test_balance_keeps_both_ways_of_a_flow_together(fanout: bool) -> None:
    host = router(f"-A FORWARD -j NFQUEUE --queue-balance 2:5{' --queue-cpu-fanout' * fanout}")
    for number in range(8):
        host.queue(number).bind()
    for client in range(2, 60):
        host.receive("eth0", Packet.udp(f"10.0.1.{client}", SERVER, 4000, 53))
        host.receive("eth1", Packet.udp(SERVER, f"10.0.1.{client}", 53, 4000))
    clients = [{min(queued.packet.saddr, queued.packet.daddr) for queued in host.queue(n).waiting} for n in range(8)]
    counts = [len(host.queue(number).waiting) for number in range(8)]
    assert [2 * len(some) for some in clients] == counts
    assert counts[:2] == counts[6:] == [0, 0]
    assert sum(counts) == 116
    assert counts[2:6] == [116, 0, 0, 0] if fanout else all(counts[2:6])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--queue-num 65536", "from 0 to 65535"),
        ("--queue-balance 3:3", "3 should be less than 3"),
        ("--queue-balance 5", 'Bad range "5"'),
        ("--queue-balance 0:65535", "one queue more"),
        ("--queue-num 3 --queue-cpu-fanout", "also requires"),
        ("--queue-num 3 --queue-balance 0:3", "cannot be used together"),
    ],
)
def test_nonsense_is_refused(options: str, problem: str) -> None:
    with pytest.raises(RuleError, match=problem):
        router(f"-A FORWARD -j NFQUEUE {options}")
