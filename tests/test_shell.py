"""Commands on a simulated host, as a scenario's steps run them."""

import pytest

from netlab.host import Host
from netlab.iptables.words import RuleError
from netlab.names import NetlabError
from netlab.scenario import ScenarioError, from_dict, loads
from netlab.shell import run_command
from netlab.simulate import build, run
from netlab.trace import Ran


@pytest.fixture
def router() -> Host:
    return Host("router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, conntrack="on")


def test_routes_rules_and_addresses(router: Host) -> None:
    for line in (
        "ip route add 10.9.0.0/16 via 10.0.2.9",
        "ip rule add fwmark 1 table 100",
        "ip -4 addr add 10.0.3.1/24 dev eth1",
    ):
        assert run_command(router, line).status == 0, line
    assert "10.9.0.0/16 via 10.0.2.9 dev eth1" in str(router.fib)
    assert "fwmark 0x1 lookup 100" in str(router.fib)
    assert len(router.fib.addresses("eth1")) == 2
    for line in (
        "ip r del 10.9.0.0/16",
        "ip ru del fwmark 1 table 100",
        "ip a del 10.0.3.1/24 dev eth1",
    ):
        assert run_command(router, line).status == 0
    assert "10.9.0.0/16" not in str(router.fib)
    assert "fwmark" not in str(router.fib)
    assert len(router.fib.addresses("eth1")) == 1


def test_rules_sets_settings_and_connections(router: Host) -> None:
    for line in (
        "ipset create foes hash:ip",
        "ipset add foes 10.0.1.7",
        'iptables -A INPUT -m set --match-set foes src -m comment --comment "no friend" -j DROP',
        "sysctl -w net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=2",
        "conntrack -F",
    ):
        assert run_command(router, line).status == 0, line
    assert '-A INPUT -m set --match-set foes src -m comment --comment "no friend" -j DROP' in router.firewall.save()
    assert router.sysctls.get("net.ipv4.conf.all.rp_filter") == 2


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ip route add 10.9.0.0/16 via 10.77.0.1", "Nexthop has invalid gateway"),
        ("ip route del 10.9.0.0/16", "No such process"),
        ("ip addr add 10.0.3.1/24 to eth1", "is not ADDRESS/LENGTH dev INTERFACE"),
        ("iptables -D INPUT 5", "Index of deletion too big"),
        ("ipset add nobody 10.0.0.1", "does not exist"),
        ("sysctl -w net.ipv4.ip_forwrd=1", "unknown sysctl"),
    ],
)
def test_what_cannot_be_done_has_a_status_and_says_why(router: Host, line: str, why: str) -> None:
    output = run_command(router, line)
    assert output.status
    assert why in output.err


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ls",
        "ip link set eth0 down",
        "ip route",
        "sysctl -a",
        "iptables --modprobe=x -L",
        "iptables -nM/x -L",
        "iptables --modp x",
    ],
)
def test_other_commands_there_are_none(router: Host, line: str) -> None:
    with pytest.raises(NetlabError):
        run_command(router, line)


def test_a_command_is_a_step_of_a_scenario() -> None:
    scenario = from_dict(
        {
            "hosts": {"r": {"interfaces": {"eth0": "10.0.1.1/24"}, "queues": {3: "DROP"}}},
            "steps": [
                {"run": {"host": "r", "command": "iptables -A INPUT -j NFQUEUE --queue-num 3"}},
                {"packet": {"into": "r:eth0", "src": "10.0.1.2", "dst": "10.0.1.1", "proto": "udp"}},
                {"run": {"host": "r", "command": "iptables -A NOWHERE -j DROP"}},
            ],
        }
    )
    trace = run(scenario)
    assert trace.steps[0].title == "r# iptables -A INPUT -j NFQUEUE --queue-num 3"
    assert [event.status for event in trace.events if isinstance(event, Ran)] == [0, 1]
    assert trace.path[-1].verdict == "DROP"
    assert "[1:28] -A INPUT -j NFQUEUE --queue-num 3" in trace.counters["r"]


def test_a_mistake_in_rules_and_sets_is_told_with_line_and_column_of_the_file() -> None:
    text = "hosts:\n  r:\n    iptables: |\n      *filter\n      -A INPUT -j NOWHERE\n      COMMIT\n"
    with pytest.raises(ScenarioError, match=r"^my:5:\d+: host r: .*NOWHERE"):
        build(loads(text, "my"))
    sets = "hosts:\n  r:\n    ipsets: |\n      create a hash:ip\n      add b 1.1.1.1\n"
    with pytest.raises(ScenarioError, match=r"^my:5:7: host r: "):
        build(loads(sets, "my"))
    with pytest.raises(ScenarioError, match=r"^scenario: host r: iptables: line 2, column \d+: "):
        build(from_dict({"hosts": {"r": {"iptables": "*filter\n-A INPUT -j NOWHERE\nCOMMIT\n"}}}))
    assert issubclass(RuleError, NetlabError)


def test_iptables_save_and_restore() -> None:
    host = Host("router")
    text = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -p tcp -j DROP\nCOMMIT"
    assert run_command(host, "iptables-restore", text).status == 0
    assert str(run_command(host, "iptables-save")) == text
    assert run_command(host, "iptables-restore -n", "*filter\n-A INPUT --no\nCOMMIT").status == 2
    assert str(run_command(host, "iptables-save -t filter")) == text
