"""What the labs teach is what the simulator does: the reference answers against the engine itself."""

import sys

import pytest

from netlab.grading import bank
from netlab.grading.judge import draw_probes
from netlab.kernel.golden import FOLDER as GOLDEN
from netlab.scenario import RunStep, load

EXERCISES = {exercise.id: exercise for lab in ("01", "02", "05", "06", "08") for exercise in bank.exercises_of(lab, "")}
hooks_lab, verdicts_lab, rules_lab, flow_lab, nat_lab = (
    sys.modules[f"netlab_lab_{name}"] for name in ("01_hooks", "02_verdicts", "05_iptables", "06_flow", "08_nat")
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


@pytest.mark.parametrize("row", rules_lab.answer_05_1)
def test_05_1_deciding_rules(row):
    assert rules_lab.decided(rules_lab.walk(row)) == rules_lab.answer_05_1[row]


def test_05_2_the_counters_can_be_solved():
    lines = [text for _, text in EXERCISES["05.2"].material.rows]
    count = {line.split("] ")[1]: int(line.split(":")[0][1:]) for line in lines if line.startswith("[")}
    policy = next(int(line.split("[")[1].split(":")[0]) for line in lines if line.startswith(":FORWARD"))
    dns, jumped, pings, http, _, refused = (
        next(number for text, number in count.items() if words in text)
        for words in ("--dport 53", "-j web", "-p icmp", "--dport 80", "LOG", "10.0.1.9")
    )
    assert list(EXERCISES["05.2"].reference.values()) == [
        dns + http + refused + policy, dns + http, jumped - http - refused, pings, policy + refused,
    ]  # fmt: skip


def fates(rules):
    """What becomes of every probe of 05.3; the rules have no memory, so one router will do."""
    machine = rules_lab.router(rules)
    return [rules_lab.fate(machine.receive(*probe.inputs)) for probe in draw_probes(EXERCISES["05.3"], "")]


def test_05_3_nothing_in_the_reference_can_be_left_out_or_turned_round():
    want = fates(rules_lab.answer_05_3)
    for line in rules_lab.answer_05_3.splitlines():
        changed = [line.replace("ACCEPT", "DROP"), line.replace("DROP", "ACCEPT"), "", line.replace("eth0", "eth1")]
        changed += [line.replace("eth1", "eth0"), line.replace("80,443", "80"), line.replace("! --syn", "--syn")]
        for mutant in {one for one in changed if line.startswith(("-A", ":")) and one != line}:
            assert fates(rules_lab.answer_05_3.replace(line, mutant)) != want, mutant


@pytest.mark.parametrize("line", rules_lab.answer_05_4)
def test_05_4_locked_out(line):
    assert ("in" if rules_lab.AfterCommand(line).trace.delivered else "out") == rules_lab.answer_05_4[line]


def test_05_5_the_walk_is_that_of_real_rules():
    for seed in "abc":
        for probe in draw_probes(EXERCISES["05.5"], seed):
            passed = bool(rules_lab.real_rules(*probe.inputs).out)
            assert ("ACCEPT" if passed else "DROP") == rules_lab.answer_05_5(*probe.inputs), probe


@pytest.mark.parametrize("row", nat_lab.answer_08_1)
def test_08_1_addresses(row):
    assert nat_lab.seen_address(row) == nat_lab.answer_08_1[row]


@pytest.mark.parametrize("row", nat_lab.answer_08_2)
def test_08_2_counters(row):
    assert nat_lab.masqueraded(row) == nat_lab.answer_08_2[row]


@pytest.mark.parametrize("exercise", ["08.3", "08.4"])
def test_08_no_rule_of_the_reference_can_be_left_out(exercise):
    subject = EXERCISES[exercise]

    def fates(rules):
        return [subject.observe(rules, probe).facts for probe in draw_probes(subject, "")]

    want = fates(subject.reference)
    rules = [line for line in subject.reference.splitlines(keepends=True) if line.startswith("-A")]
    rules += [":FORWARD DROP"] if ":FORWARD DROP" in subject.reference else []
    assert [line for line in rules if fates(subject.reference.replace(line, "")) == want] == []


def test_08_5_an_entry_waits_for_that_answer():
    for probe in draw_probes(EXERCISES["08.5"], "a"):
        (source, sport), (target, dport) = nat_lab.answer_08_5(*probe.inputs)
        wanted = f"src={source} dst={target} sport={sport} dport={dport}"
        assert nat_lab.with_rules(*probe.inputs).entries.count(wanted) == 1


@pytest.mark.parametrize("row", nat_lab.answer_08_6)
def test_08_6_sources(row):
    assert nat_lab.source_outside(row) == nat_lab.answer_08_6[row]


def test_08_6_is_a_story_that_a_kernel_was_asked_for():
    story = load(GOLDEN / "nat_flush_guarded.yaml")
    rules = [line for line in nat_lab.GUARDED.splitlines() if line.startswith("-A")]
    assert [line for line in story.hosts["router"].iptables.splitlines() if line.startswith("-A")] == rules
    told = [step.command if isinstance(step, RunStep) else step.data for step in story.steps]
    wanted = []
    for number, row in enumerate(nat_lab.answer_08_6, 1):
        wanted += [nat_lab.COMMANDS[number]] if number in nat_lab.COMMANDS else []
        wanted.append(nat_lab.asked(row).to_bytes())
    assert told == wanted
