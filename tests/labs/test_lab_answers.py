"""What the labs teach is what the simulator does: the reference answers against the engine itself."""

import sys

import pytest

from netlab.grading import bank
from netlab.grading.judge import draw_probes

EXERCISES = {exercise.id: exercise for lab in ("01", "02", "06") for exercise in bank.exercises_of(lab, "")}
hooks_lab, verdicts_lab, flow_lab = (
    sys.modules[f"netlab_lab_{name}"] for name in ("01_hooks", "02_verdicts", "06_flow")
)


@pytest.mark.parametrize("name", hooks_lab.FOUR)
def test_01_1_hook_orders(name):
    trace = hooks_lab.journey(*hooks_lab.FOUR[name])
    assert [hook.name for hook in trace.hooks] == hooks_lab.answer_01_1[name]


@pytest.mark.parametrize("line", hooks_lab.answer_01_2)
def test_01_2_interfaces(line):
    path = hooks_lab.ping(line).path
    seen = next(step.dev_in for step in path if step.number == 0 and step.hook.name == "LOCAL_IN")
    assert seen == hooks_lab.answer_01_2[line]


def test_01_3_every_probe():
    for seed in "abc":
        for probe in draw_probes(EXERCISES["01.3"], seed):
            said = hooks_lab.answer_01_3(*probe.inputs)
            assert [hook.name for hook in hooks_lab.journey(*probe.inputs).hooks] == said, probe


def test_01_4_the_counters_can_be_solved():
    rows = dict(EXERCISES["01.4"].material.rows)
    looped = rows["PREROUTING, -i lo"]
    assert EXERCISES["01.4"].reference == {
        "forwarded": rows["FORWARD"],
        "from outside to the machine": rows["INPUT"] - looped,
        "from the machine to outside": rows["OUTPUT"] - looped,
        "from the machine to itself": looped,
    }
    assert rows["PREROUTING"] == rows["FORWARD"] + rows["INPUT"]
    assert rows["POSTROUTING"] == rows["FORWARD"] + rows["OUTPUT"]


def test_01_5_the_evidence_tells_the_deaths_apart():
    seen = [(hooks, back) for _, hooks, back in EXERCISES["01.5"].material.rows]
    assert len(set(seen)) == len(seen) == 6


@pytest.mark.parametrize("case", verdicts_lab.answer_02_2)
def test_02_2_call_counts(case):
    assert list(verdicts_lab.calls_in(verdicts_lab.call_three(case))) == verdicts_lab.answer_02_2[case]


@pytest.mark.parametrize("case", verdicts_lab.answer_02_6)
def test_02_6_ttls(case):
    sent = [event.packet.ttl for event in verdicts_lab.change_ttl(case).out if event.number == 0]
    assert (sent[0] if sent else None) == verdicts_lab.answer_02_6[case]


@pytest.mark.parametrize("case", verdicts_lab.answer_02_7)
def test_02_7_what_the_sender_notices(case):
    trace = verdicts_lab.lose_one(case)
    errors = [event for event in trace.out if event.number > 0]
    noticed = trace.errno or ("an ICMP error" if errors else "nothing")
    assert noticed == verdicts_lab.answer_02_7[case]


@pytest.mark.parametrize("case", flow_lab.answer_06_1)
def test_06_1_entries(case):
    assert ("none" if flow_lab.one_packet(case).entries == "no entries" else "an entry") == flow_lab.answer_06_1[case]


def test_06_2_every_probe():
    for probe in draw_probes(EXERCISES["06.2"], "a"):
        src, dst, proto, first, second = flow_lab.answer_06_2(*probe.inputs)
        reply = flow_lab.recorded(*probe.inputs).reply
        numbers = (reply.icmp[0], reply.icmp[2]) if proto == "icmp" else (reply.sport, reply.dport)
        assert (*flow_lab.ends(reply), *numbers) == (src, dst, first, second), probe


@pytest.mark.parametrize("moment", flow_lab.answer_06_5)
def test_06_5_seconds_left(moment):
    entries = flow_lab.play(moment).entries
    left = None if entries == "no entries" else int(entries.split()[2])
    assert left == flow_lab.answer_06_5[moment]


@pytest.mark.parametrize("row", flow_lab.answer_06_6)
def test_06_6_what_conntrack_recorded(row):
    _, answer, line, _ = flow_lab.rewrite_at(row)
    seen = str(answer.path[0].state) if "answer" in row else flow_lab.ends(line.original)[1]
    assert seen == flow_lab.answer_06_6[row]
