"""Rules on the real kernel, by both iptables: what a run tells of them, and that the simulator says the same."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from netlab import simulate
from netlab.kernel import rules
from netlab.kernel.compare import compare
from netlab.kernel.namespaces import KernelUnavailable
from netlab.kernel.worker import Worker
from netlab.names import NetlabError
from netlab.scenario import Scenario, from_dict, loads
from netlab.trace import Ran
from tests.conftest import CI

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.needs("ip", "nft", "iptables-nft", "iptables-legacy", "ipset", "conntrack"),
]
AS_ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not AS_ROOT, reason="only root sees drops")
VARIANTS = ("nft", "legacy")

RULES = """\
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 5000 -j DROP
-A PREROUTING -p udp -m udp --dport 5001 -j CT --notrack
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 5002 -j DROP
-A PREROUTING -p udp -m udp --dport 5003 -j TTL --ttl-set 9
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -d 10.0.1.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.2.2:80
-A POSTROUTING -o eth1 -j MASQUERADE
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
-A FORWARD -m mark --mark 0x1 -j ACCEPT
-A FORWARD -m set --match-set foes src -j DROP
-A FORWARD -p udp -m udp --dport 51 -j NFQUEUE --queue-num 1
-A FORWARD -p udp -m udp --dport 52 -j NFQUEUE --queue-num 2
-A FORWARD -p udp -m udp --dport 53 -j NFQUEUE --queue-num 3
-A FORWARD -p udp -m udp --dport 54 -j NFQUEUE --queue-num 4
-A FORWARD -p udp -m udp --dport 55 -j NFQUEUE --queue-num 4 --queue-bypass
-A FORWARD -p udp -m udp --dport 56 -j LOG
-A FORWARD -p udp -m udp --dport 57 -j REJECT --reject-with icmp-port-unreachable
COMMIT
"""


def udp(dport: int, last: int = 2, sport: int = 4000) -> dict[str, Any]:
    source = {"src": f"10.0.1.{last}", "dst": "10.0.2.2"}
    return {"packet": {"into": "router:eth0", **source, "proto": "udp", "sport": sport, "dport": dport}}


def tcp(into: str, src: str, sport: int, dst: str, dport: int, flags: str) -> dict[str, Any]:
    ports = {"sport": sport, "dport": dport, "flags": flags, "ack": 1 if "A" in flags else 0}
    return {"packet": {"into": f"router:{into}", "src": src, "dst": dst, "proto": "tcp", **ports}}


def command(line: str) -> dict[str, Any]:
    return {"run": {"host": "router", "command": line}}


def router(iptables: str = "", steps: list[dict[str, Any]] | None = None, **more: Any) -> Scenario:
    host = {
        "interfaces": {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"},
        "sysctls": {"net.ipv4.ip_forward": 1},
        **({"iptables": iptables} if iptables else {}),
        **more,
    }
    return from_dict({"hosts": {"router": host}, "steps": steps or []})


EVERYTHING = router(
    RULES,
    [
        *(udp(dport) for dport in (5000, 5001, 5002, 5003, 51, 52, 53, 54, 55, 56, 57, 58)),
        udp(58, last=7),
        tcp("eth0", "10.0.1.2", 4000, "10.0.2.2", 80, "R"),
        tcp("eth0", "10.0.1.2", 4000, "10.0.1.1", 8080, "S"),
        tcp("eth1", "10.0.2.2", 80, "10.0.2.1", 4000, "SA"),
        command("iptables -t nat -F"),
        udp(59),
        command("iptables -D FORWARD 99"),
        command("conntrack -D -p tcp"),
        command("ipset add foes 10.0.1.9"),
        udp(58, last=9),
        command("ip route add blackhole 10.9.0.0/16"),
        command("ip route add blackhole 10.9.0.0/16"),
        command("sysctl -w net.ipv4.ip_forward=0"),
        udp(58),
    ],
    ipsets="create foes hash:ip\nadd foes 10.0.1.7\n",
    queues={1: "ACCEPT", 2: "DROP", 3: "REPEAT mark 0x1"},
)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """The real kernel; where it cannot be asked, a skip, in CI a failure."""
    with Worker() as made:
        try:
            made.run(router())
        except KernelUnavailable as error:
            (pytest.fail if CI else pytest.skip)(str(error))
        yield made


@pytest.fixture(scope="module")
def plain() -> Iterator[Worker]:
    """The same for somebody who is not root."""
    with Worker(privileged=False) as made:
        yield made


def agree(worker: Worker, scenario: Scenario, variant: str) -> dict[str, Any]:
    """Both worlds say the same; what the kernel said."""
    simulated = simulate.run(scenario, variant).to_json()  # type: ignore[arg-type]
    kernel = worker.run(scenario, legacy=variant == "legacy", like=simulated).to_json()
    assert kernel.keys() == simulated.keys()
    assert kernel["iptables"] == simulated["iptables"] == variant
    found = compare(simulated, kernel)
    assert found, str(found)
    return kernel


def last_rows(trace: dict[str, Any]) -> list[tuple[str, str | None, str]]:
    """Of each packet's own path the last hook, with state and verdict."""
    rows = [[row for row in step["path"] if row["packet"] == 0] for step in trace["steps"]]
    return [(own[-1]["hook"], own[-1]["state"], own[-1]["verdict"]) for own in rows if own]


# ---------------------------------------------------------------- what a run tells


@as_root
@pytest.mark.parametrize("variant", VARIANTS)
def test_states_and_verdicts_in_front_of_conntrack_behind_it_and_in_queues(worker: Worker, variant: str) -> None:
    trace = agree(worker, EVERYTHING, variant)
    assert last_rows(trace)[:18] == [
        ("PRE_ROUTING", None, "DROP"),
        ("POST_ROUTING", "UNTRACKED", "ACCEPT"),
        ("PRE_ROUTING", "NEW", "DROP"),
        ("POST_ROUTING", "NEW", "ACCEPT"),
        ("POST_ROUTING", "NEW", "ACCEPT"),
        ("FORWARD", "NEW", "DROP"),
        ("POST_ROUTING", "NEW", "ACCEPT"),
        ("FORWARD", "NEW", "QUEUE"),
        ("POST_ROUTING", "NEW", "ACCEPT"),
        ("POST_ROUTING", "NEW", "ACCEPT"),
        ("FORWARD", "NEW", "DROP"),
        ("POST_ROUTING", "NEW", "ACCEPT"),
        ("FORWARD", "NEW", "DROP"),
        ("POST_ROUTING", "INVALID", "ACCEPT"),
        ("POST_ROUTING", "NEW", "ACCEPT"),
        ("POST_ROUTING", "ESTABLISHED", "ACCEPT"),
        ("POST_ROUTING", None, "ACCEPT"),
        ("FORWARD", None, "DROP"),
    ]
    reasons = [[drop["reason"] for drop in step["dropped"]] for step in trace["steps"]]
    assert reasons[0] == reasons[2] == ["NETFILTER_DROP"]
    assert [step["status"] for step in trace["steps"] if step["status"] is not None] == [0, 1, 0, 0, 0, 2, 0]
    assert trace["log"] == {"router": ["unknown"]} or rules.logs_are_seen()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_row_shows_the_packet_as_it_left_the_hook(worker: Worker, variant: str) -> None:
    trace = worker.run(EVERYTHING, legacy=variant == "legacy").to_json()
    ttl, dnat, back = (trace["steps"][number]["path"] for number in (3, 14, 15))
    assert [row["ttl"] for row in ttl] == [9, 8, 8]
    assert [(row["src"], row["dst"], row["dport"]) for row in dnat] == [
        ("10.0.1.2", "10.0.2.2", 80),
        ("10.0.1.2", "10.0.2.2", 80),
        ("10.0.2.1", "10.0.2.2", 80),
    ]
    assert [(row["src"], row["sport"], row["dst"]) for row in back] == [
        ("10.0.2.2", 80, "10.0.1.2"),
        ("10.0.2.2", 80, "10.0.1.2"),
        ("10.0.1.1", 8080, "10.0.1.2"),
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_counters_are_what_iptables_save_prints(worker: Worker, variant: str) -> None:
    lines = worker.run(EVERYTHING, legacy=variant == "legacy").to_json()["counters"]["router"]
    assert "[1:28] -A PREROUTING -p udp -m udp --dport 5000 -j DROP" in lines
    assert "[2:56] -A FORWARD -m set --match-set foes src -j DROP" in lines
    assert len([line for line in lines if line.startswith("*")]) == 4
    assert not any(line.startswith("#") for line in lines)


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_root_the_same_and_the_rest_unknown(plain: Worker, variant: str) -> None:
    trace = agree(plain, EVERYTHING, variant)
    assert {row["verdict"] for step in trace["steps"] for row in step["path"]} == {"ACCEPT", "unknown"}
    assert trace["log"] == "unknown"


def test_hosts_without_rules_have_no_counters_and_track_nothing(worker: Worker) -> None:
    trace = agree(worker, router(steps=[udp(53)]), "nft")
    assert (trace["counters"], trace["conntrack"]) == ({}, {})
    assert [row["state"] for row in trace["steps"][0]["path"]] == [None] * 3


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("who", ["worker", "plain"])
def test_the_rule_that_needs_conntrack_switches_it_on_and_off(
    who: str, variant: str, request: pytest.FixtureRequest
) -> None:
    steps = [
        udp(53),
        command("iptables -A FORWARD -m conntrack --ctstate NEW -j ACCEPT"),
        udp(53),
        command("iptables -D FORWARD 1"),
        udp(53),
    ]
    trace = agree(request.getfixturevalue(who), router(steps=steps), variant)
    states = [{row["state"] for row in step["path"]} for step in trace["steps"] if step["path"]]
    # Without root nobody knows whether what has no state is not tracked, or invalid.
    nothing = {None} if who == "worker" and AS_ROOT else {"unknown"}
    assert states == [nothing, {"NEW"}, nothing]
    assert len(trace["conntrack"]["router"]) == 1


# ---------------------------------------------------------------- ports chosen at random


@pytest.mark.parametrize("variant", VARIANTS)
def test_ports_and_ids_that_nat_chooses_at_random_and_what_answers_to_them(worker: Worker, variant: str) -> None:
    rule = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o eth1 -j MASQUERADE\nCOMMIT\n"
    echo = {"into": "router:eth0", "dst": "10.0.2.2", "proto": "icmp", "id": 7}
    out = [
        *(tcp("eth0", f"10.0.1.{last}", 4000, "10.0.2.2", 80, "S") for last in (2, 3, 4)),
        *(udp(53, last=last, sport=300) for last in (2, 3)),
        *({"packet": echo | {"src": f"10.0.1.{last}"}} for last in (2, 3)),
    ]
    path = [step["path"][2] for step in simulate.run(router(rule, out), variant).to_json()["steps"]]  # type: ignore[arg-type]
    answers = [
        tcp("eth1", "10.0.2.2", 80, "10.0.2.1", path[2]["sport"], "SA"),
        {"packet": {"into": "router:eth1", "src": "10.0.2.2", "dst": "10.0.2.1", "proto": "udp", "sport": 53,
                    "dport": path[4]["sport"]}},
        {"packet": {"into": "router:eth1", "src": "10.0.2.2", "dst": "10.0.2.1", "proto": "icmp", "type": 0,
                    "id": path[6]["id"]}},
    ]  # fmt: skip
    trace = agree(worker, router(rule, [*out, *answers]), variant)
    assert [step["path"][-1]["dst"] for step in trace["steps"][-3:]] == ["10.0.1.4", "10.0.1.3", "10.0.1.3"]
    assert {row["state"] for step in trace["steps"][-3:] for row in step["path"]} == {"ESTABLISHED"}


# ---------------------------------------------------------------- what goes wrong

FILE = """\
hosts:
  router:
    interfaces: {eth0: 10.0.1.1/24}
    iptables: |
      *filter
      :INPUT ACCEPT [0:0]
      -A INPUT -j NOWHERE
      COMMIT
"""


@pytest.mark.parametrize("variant", VARIANTS)
def test_rules_that_the_kernel_refuses_are_told_with_their_line_in_the_file(worker: Worker, variant: str) -> None:
    with pytest.raises(NetlabError, match=r"^my\.yaml:\d+: host router: iptables.*NOWHERE") as caught:
        worker.run(loads(FILE, "my.yaml"), legacy=variant == "legacy")
    assert "\n" not in str(caught.value)
    with pytest.raises(NetlabError, match=r"^my\.yaml:7:\d+: host router: "):
        simulate.run(loads(FILE, "my.yaml"))


def test_sets_that_the_kernel_refuses(worker: Worker) -> None:
    text = FILE.split("    iptables", maxsplit=1)[0] + "    ipsets: |\n      create a hash:ip\n      add b 10.0.0.1\n"
    with pytest.raises(NetlabError, match=r"^my\.yaml:6: host router: ipset.*set with the given name does not exist"):
        worker.run(loads(text, "my.yaml"))


def test_what_is_the_whole_machines_is_not_written_by_a_command(worker: Worker) -> None:
    scenario = router(steps=[command("sysctl -w net.netfilter.nf_conntrack_max=1000")])
    with pytest.raises(NetlabError, match="nf_conntrack_max is the whole machine's"):
        worker.run(scenario)


def test_a_command_that_fails_says_why(worker: Worker) -> None:
    (event,) = worker.run(router(steps=[command("iptables -A NOWHERE -j ACCEPT")])).events
    assert isinstance(event, Ran)
    assert event.status
    assert event.printed.startswith("iptables")


def test_a_packet_that_comes_back_to_its_queue_for_ever(worker: Worker) -> None:
    rule = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j NFQUEUE --queue-num 1\nCOMMIT\n"
    with pytest.raises(NetlabError, match=r"host router: queue 1 answers REPEAT mark 0x1, and the packet comes back"):
        worker.run(router(rule, [udp(53)], queues={1: "REPEAT mark 0x1"}))


def test_a_program_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(program: str, package: str) -> str:
        raise KernelUnavailable(f"{program} is not installed (apt install {package})")

    monkeypatch.setattr(rules, "require", nothing)
    host = rules.Rules(router(RULES).hosts["router"], None, "legacy", "my.yaml")  # type: ignore[arg-type]
    with pytest.raises(KernelUnavailable, match=r"iptables-legacy-restore is not installed \(apt install iptables\)"):
        host.load()
