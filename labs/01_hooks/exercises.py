"""The exercises of lab 01: which hooks a packet passes, on which interface, and why some packets pass only one."""

from collections import Counter
from functools import partial
from random import Random

from netlab.grading import (
    Exercise,
    Function,
    Kind,
    Level,
    ListOf,
    OneOf,
    Probe,
    Seen,
    Sheet,
    Story,
    Table,
    Varied,
    Whole,
    Wrong,
    calling,
    looking_up,
)
from netlab.host import Host
from netlab.names import Hook, Verdict
from netlab.packet import Packet

ANYONE = "0.0.0.0"  # the source of a packet for which the kernel is to choose one
OWN = {"127.0.0.1", "10.0.1.1", "10.0.2.1"}
HOOKS = ListOf(OneOf(*Hook), "hooks")


def router(forwarding=1):
    """The lab's router, between the networks 10.0.1.0/24 (eth0) and 10.0.2.0/24 (eth1)."""
    sysctls = {"net.ipv4.ip_forward": forwarding, "net.ipv4.icmp_ratelimit": 0}
    return Host("router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, sysctls=sysctls, listen=["udp/53"])


def journey(made_here, destination, own=frozenset(OWN), ip_forward=1, ttl=64):
    """What the router really does with one packet."""
    machine = router(ip_forward)
    if made_here:
        return machine.send(Packet.udp(ANYONE, destination, 5000, 53, ttl=ttl))
    return machine.receive("eth0", Packet.udp("10.0.1.2", destination, 5000, 53, ttl=ttl))


# --- 01.1 predict: the four journeys ------------------------------------------------------------------------

answer_01_1 = {
    "local to local": ["LOCAL_OUT", "POST_ROUTING", "PRE_ROUTING", "LOCAL_IN"],
    "local to external": ["LOCAL_OUT", "POST_ROUTING"],
    "external to local": ["PRE_ROUTING", "LOCAL_IN"],
    "external to external": ["PRE_ROUTING", "FORWARD", "POST_ROUTING"],
}

FOUR = {
    "local to local": (True, "10.0.1.1"),
    "local to external": (True, "10.0.2.2"),
    "external to local": (False, "10.0.1.1"),
    "external to external": (False, "10.0.2.2"),
}


def four_journeys(draw: Random):
    return [Probe(name, (name,), size=len(answer_01_1[name])) for name in FOUR]


def tell_order(probe, want, got):
    said = ", ".join(str(hook) for hook in got.facts) or "no hook"
    return f"A packet from {probe}: you predicted {said}. This is the way it really went:"


def four_with(**changed):
    """The right table but for some rows."""
    return answer_01_1 | {name.replace("_", " "): hooks for name, hooks in changed.items()}


four = Exercise(
    id="01.1",
    title="the four journeys",
    kind=Kind.PREDICT,
    level=Level.CORE,
    points=2,
    expects=Table(dict.fromkeys(FOUR, HOOKS)),
    reference=answer_01_1,
    probes=four_journeys,
    observe=looking_up(lambda name: journey(*FOUR[name])),
    tell=tell_order,
    sibling=lambda: Story(
        "A packet from the network with its TTL used up. It is for another machine, so it should be forwarded, but it "
        "gets no further than PRE_ROUTING. Read from the top; packet 1 is the error that the router makes.",
        journey(False, "10.0.2.2", ttl=1),
    ),
    right=(
        {name: tuple(Hook[hook] for hook in hooks) for name, hooks in answer_01_1.items()},
        {name: [f"NF_IP_{hook}" for hook in hooks] for name, hooks in answer_01_1.items()},
        {name: [Hook.parse(hook) for hook in hooks] for name, hooks in reversed(answer_01_1.items())},
    ),
    wrong=(
        Wrong("h1", four_with(external_to_external=["PRE_ROUTING", "LOCAL_IN", "FORWARD", "POST_ROUTING"])),
        Wrong("h1", four_with(external_to_external=["PRE_ROUTING", "LOCAL_IN", "LOCAL_OUT", "POST_ROUTING"])),
        Wrong("h3", four_with(local_to_local=["LOCAL_OUT", "LOCAL_IN"])),
        Wrong("h4", four_with(external_to_external=["PRE_ROUTING", "FORWARD", "LOCAL_OUT", "POST_ROUTING"])),
        Wrong("h5", four_with(external_to_local=["LOCAL_IN"])),
        Wrong("h6", four_with(local_to_external=["LOCAL_OUT"])),
        Wrong("h12", four_with(local_to_local=["PRE_ROUTING", "LOCAL_IN", "LOCAL_OUT", "POST_ROUTING"])),
    ),
)


# --- 01.2 predict: which interface? -------------------------------------------------------------------------

answer_01_2 = {
    "the machine pings 127.0.0.1": "lo",
    "the machine pings 10.0.1.1": "lo",
    "the machine pings 10.0.2.1": "lo",
    "10.0.1.2 pings 10.0.1.1": "eth0",
    "10.0.1.2 pings 10.0.2.1": "eth0",
}


def ping(line):
    """The journey of one ping in words like `10.0.1.2 pings 10.0.1.1`."""
    source, destination = line.split(" pings ")
    if source == "the machine":
        return router().send(Packet.icmp(ANYONE, destination, id=1))
    return router().receive("eth0", Packet.icmp(source, destination, id=1))


def five_pings(draw: Random):
    return [Probe(line, (line,), size=place) for place, line in enumerate(answer_01_2)]


def tell_interface(probe, want, got):
    by = "no interface" if got.facts == "none" else got.facts
    return f"When {probe}, you predicted that LOCAL_IN sees the request come in by {by}. Watch packet 0:"


def interfaces(*names):
    """An answer, row by row."""
    return dict(zip(answer_01_2, names, strict=True))


interface = Exercise(
    id="01.2",
    title="ping your own address",
    kind=Kind.PREDICT,
    level=Level.CORE,
    points=2,
    expects=Table(dict.fromkeys(answer_01_2, OneOf("lo", "eth0", "eth1", "none"))),
    reference=answer_01_2,
    probes=five_pings,
    observe=looking_up(ping),
    tell=tell_interface,
    sibling=lambda: Story(
        "The machine pings its neighbour 10.0.2.2, which is not its own address. LOCAL_OUT and POST_ROUTING see the "
        "request go out by eth1, and LOCAL_IN never sees it: look at `in` and `out` behind each hook.",
        ping("the machine pings 10.0.2.2"),
    ),
    right=(
        interfaces("lo", "lo", "lo", "eth0", "eth0"),
        dict.fromkeys(answer_01_2, "lo") | {line: "eth0" for line in answer_01_2 if line.startswith("10.")},
        dict(reversed(answer_01_2.items())),
    ),
    wrong=(
        Wrong("h2", interfaces("lo", "eth0", "eth1", "eth0", "eth0")),
        Wrong("h7", interfaces("lo", "lo", "lo", "eth0", "eth1")),
        Wrong("h8", interfaces("none", "none", "none", "eth0", "eth0")),
        Wrong("h9", interfaces("lo", "lo", "lo", "lo", "lo")),
        Wrong("h10", interfaces("lo", "eth0", "eth0", "eth0", "eth0")),
    ),
)


# --- 01.3 code: the way of any packet -----------------------------------------------------------------------


def answer_01_3(made_here, destination, own, ip_forward, ttl):
    """The hooks that a packet enters on this machine, in order, as a list of names."""
    if made_here and destination in own:
        return ["LOCAL_OUT", "POST_ROUTING", "PRE_ROUTING", "LOCAL_IN"]
    if made_here:
        return ["LOCAL_OUT", "POST_ROUTING"]
    if destination in own:
        return ["PRE_ROUTING", "LOCAL_IN"]
    if ip_forward == 0 or ttl <= 1:
        return ["PRE_ROUTING"]
    return ["PRE_ROUTING", "FORWARD", "POST_ROUTING"]


def any_packets(draw: Random):
    """Every combination that matters, with addresses drawn on both sides of the router."""
    probes = []
    for made_here in (True, False):
        for destination in ("10.0.1.1", "10.0.2.1", f"10.0.1.{draw.randint(3, 254)}", f"10.0.2.{draw.randint(2, 254)}"):
            for ip_forward in (1, 0):
                for ttl in (64, draw.randint(2, 255), 2, 1):
                    who = "made here" if made_here else "that came in by eth0"
                    words = f"a packet {who} for {destination}, ip_forward={ip_forward}, ttl={ttl}"
                    inputs = (made_here, destination, frozenset(OWN), ip_forward, ttl)
                    probes.append(Probe(words, inputs, size=(ttl == 1) + (ip_forward == 0)))
    return probes


def tell_way(probe, want, got):
    said = ", ".join(str(hook) for hook in got.facts) or "no hook"
    return f"Given {probe}, your function says {said}. The router, given the same, did this:"


def by_parts(made_here, destination, own, ip_forward, ttl):
    hooks = [Hook.LOCAL_OUT, Hook.POST_ROUTING] if made_here else [Hook.PRE_ROUTING]
    if destination in own:
        return [*hooks, Hook.PRE_ROUTING, Hook.LOCAL_IN] if made_here else [*hooks, Hook.LOCAL_IN]
    if not made_here and ip_forward and ttl > 1:
        hooks += [Hook.FORWARD, Hook.POST_ROUTING]
    return hooks


def by_table(made_here, destination, own, ip_forward, ttl):
    lives = bool(ip_forward) and ttl >= 2
    return {
        (True, True): ("LOCAL_OUT", "POST_ROUTING", "PRE_ROUTING", "LOCAL_IN"),
        (True, False): ("LOCAL_OUT", "POST_ROUTING"),
        (False, True): ("PRE_ROUTING", "LOCAL_IN"),
        (False, False): ("PRE_ROUTING", "FORWARD", "POST_ROUTING") if lives else ("PRE_ROUTING",),
    }[made_here, destination in own]


def by_walking(made_here, destination, own, ip_forward, ttl):
    way, place = [], "LOCAL_OUT" if made_here else "PRE_ROUTING"
    while place:
        way.append(place)
        if place in ("LOCAL_OUT", "FORWARD"):
            place = "POST_ROUTING"
        elif place == "PRE_ROUTING" and destination in own:
            place = "LOCAL_IN"
        elif place == "PRE_ROUTING" and ip_forward and ttl > 1:
            place = "FORWARD"
        elif place == "POST_ROUTING" and made_here and destination in own:
            place = "PRE_ROUTING"
        else:
            place = None
    return way


def through_input(made_here, destination, own, ip_forward, ttl):
    way = answer_01_3(made_here, destination, own, ip_forward, ttl)
    return ["PRE_ROUTING", "LOCAL_IN", *way[1:]] if "FORWARD" in way else way


def straight_in(made_here, destination, own, ip_forward, ttl):
    way = answer_01_3(made_here, destination, own, ip_forward, ttl)
    return ["LOCAL_OUT", "LOCAL_IN"] if len(way) == 4 else way


def dies_in_forward(made_here, destination, own, ip_forward, ttl):
    way = answer_01_3(made_here, destination, own, ip_forward, ttl)
    return ["PRE_ROUTING", "FORWARD"] if way == ["PRE_ROUTING"] else way


def forwards_always(made_here, destination, own, ip_forward, ttl):
    return answer_01_3(made_here, destination, own, 1, ttl)


def ttl_never_matters(made_here, destination, own, ip_forward, ttl):
    return answer_01_3(made_here, destination, own, ip_forward, 64)


def ttl_matters_for_all(made_here, destination, own, ip_forward, ttl):
    if ttl <= 1:
        return ["LOCAL_OUT"] if made_here else ["PRE_ROUTING"]
    return answer_01_3(made_here, destination, own, ip_forward, ttl)


def off_means_off(made_here, destination, own, ip_forward, ttl):
    if not ip_forward:
        return ["LOCAL_OUT"] if made_here else ["PRE_ROUTING"]
    return answer_01_3(made_here, destination, own, ip_forward, ttl)


way_of_a_packet = Exercise(
    id="01.3",
    title="the way of any packet",
    kind=Kind.CODE,
    level=Level.CORE,
    points=3,
    expects=Function("made_here", "destination", "own", "ip_forward", "ttl"),
    reference=answer_01_3,
    probes=any_packets,
    observe=calling(HOOKS, journey),
    tell=tell_way,
    sibling=lambda: Story(
        "A packet that came in by eth0 for 10.0.9.9. That is not one of the machine's own addresses, ip_forward is on "
        "and the TTL is fine, but no route leads there. What does the route lookup decide, and which hooks are left?",
        journey(False, "10.0.9.9"),
    ),
    right=(by_parts, by_table, by_walking),
    wrong=(
        Wrong("h1", through_input),
        Wrong("h3", straight_in),
        Wrong("h11", dies_in_forward),
        Wrong("h13", forwards_always),
        Wrong("h14", ttl_never_matters),
        Wrong("h15", ttl_matters_for_all),
        Wrong("h16", off_means_off),
    ),
)


# --- 01.4 read: counters ------------------------------------------------------------------------------------

KINDS = ("forwarded", "from outside to the machine", "from the machine to outside", "from the machine to itself")


def send_one(machine, kind):
    """One packet of a kind, of the sort that nothing answers."""
    match kind:
        case "forwarded":
            return machine.receive("eth0", Packet.udp("10.0.1.2", "10.0.2.2", 5000, 53))
        case "from outside to the machine":
            return machine.receive("eth0", Packet.udp("10.0.1.2", "10.0.1.1", 5000, 53))
        case "from the machine to outside":
            return machine.send(Packet.udp(ANYONE, "10.0.2.2", 5000, 53))
        case _:
            return machine.send(Packet.udp(ANYONE, "10.0.1.1", 5000, 53))


def draw_counters(draw: Random):
    """A router on which some packets of each kind were counted, chain by chain."""
    sent = dict(zip(KINDS, draw.sample(range(3, 40), 4), strict=True))
    machine = router()
    counted = Counter()

    def count(packet, state):
        counted[state.hook.chain] += 1
        if state.hook is Hook.PRE_ROUTING and state.dev_in == "lo":
            counted["PREROUTING, -i lo"] += 1
        return Verdict.ACCEPT

    for hook in Hook:
        machine.register(hook, count)
    for kind, number in sent.items():
        for _ in range(number):
            send_one(machine, kind)
    chains = ("PREROUTING", "PREROUTING, -i lo", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
    material = Sheet("packets counted on router", ("chain", "packets"), [(name, counted[name]) for name in chains])
    return read_counters(sent, counted, material)


def tell_count(probe, want, got):
    return f"You found {got.facts} packets {probe}; the counters say otherwise. One such packet is counted here:"


def read_counters(sent, counted, material):
    """The exercise for one set of counters."""

    def row(forwarded=None, inward=None, outward=None, looped=None):
        given = (forwarded, inward, outward, looped)
        return {kind: sent[kind] if one is None else one for kind, one in zip(KINDS, given, strict=True)}

    return Exercise(
        id="01.4",
        title="what the counters say",
        kind=Kind.READ,
        level=Level.STRETCH,
        points=2,
        expects=Table(dict.fromkeys(KINDS, Whole())),
        reference=sent,
        material=material,
        probes=lambda draw: [Probe(kind, (kind,), size=place) for place, kind in enumerate(KINDS)],
        observe=looking_up(lambda kind: send_one(router(), kind)),
        tell=tell_count,
        sibling=lambda: Story(
            "Say a machine that never talks to itself shows PREROUTING 9, INPUT 4, FORWARD 5, OUTPUT 2, POSTROUTING 7. "
            "FORWARD counts forwarded packets only: 5. Nothing went over lo, so INPUT is what came from outside: 4, "
            "and OUTPUT is what went outside: 2. The two sums agree: 4 + 5 = 9 and 5 + 2 = 7.",
            send_one(router(), "forwarded"),
        ),
        right=(row(), dict(reversed(row().items())), row(forwarded=counted["FORWARD"])),
        wrong=(
            Wrong("h17", row(inward=counted["INPUT"], outward=counted["OUTPUT"])),
            Wrong("h3", row(looped=0)),
            Wrong("h18", row(inward=counted["PREROUTING"])),
            Wrong("h19", row(outward=counted["POSTROUTING"])),
            Wrong("h20", row(looped=2 * counted["PREROUTING, -i lo"])),
            Wrong("h18", row(inward=counted["PREROUTING"] - counted["PREROUTING, -i lo"])),
        ),
    )


# --- 01.5 debug: why did this packet die? -------------------------------------------------------------------

REASONS = (
    "its checksum was wrong",
    "its TTL was used up",
    "ip_forward is off",
    "no route leads there",
    "nobody listens on that port",
    "a function on FORWARD dropped it",
)


def lose_one(reason):
    """The journey of a packet that dies for that reason."""
    machine = router(0 if reason == "ip_forward is off" else 1)
    packet = Packet.udp("10.0.1.2", "10.0.2.2", 5000, 53)
    match reason:
        case "its checksum was wrong":
            packet = packet.with_(checksum=0x1234)
        case "its TTL was used up":
            packet = packet.with_(ttl=1)
        case "no route leads there":
            packet = packet.with_(dst="10.0.9.9")
        case "nobody listens on that port":
            packet = packet.with_(dst="10.0.1.1", dport=54)
        case "a function on FORWARD dropped it":
            machine.register(Hook.FORWARD, lambda packet, state: Verdict.DROP, name="a_filter")
    return machine.receive("eth0", packet)


def evidence(case, reason):
    """What somebody who only has counters and a packet capture knows of it."""
    trace = lose_one(reason)
    made = [str(sent.packet).split(" icmp ")[1].split(" ttl")[0] for sent in trace.out if " icmp " in str(sent.packet)]
    hooks = ", ".join(str(hook) for hook in trace.hooks) or "none"
    return case, hooks, f"ICMP {made[0]}" if made else "nothing"


def draw_deaths(draw: Random):
    """The six deaths in an order of the learner's own."""
    reasons = draw.sample(REASONS, len(REASONS))
    deaths = dict(zip("ABCDEF", reasons, strict=True))
    columns = ("packet", "hooks it entered", "what the router sent back")
    return debug_deaths(deaths, Sheet("six packets from 10.0.1.2 that came to nothing", columns, [
        evidence(case, reason) for case, reason in deaths.items()
    ]))  # fmt: skip


def debug_deaths(deaths, material):
    """The exercise for one order of deaths."""
    case_of = {reason: case for case, reason in deaths.items()}

    def confusing(one, other):
        """The right answer with two reasons exchanged."""
        return deaths | {case_of[one]: other, case_of[other]: one}

    def tell(probe, want, got):
        return f"Packet {probe}: you say that {got.facts}. A packet that ends so goes another way, this one:"

    def observe(answer, probe):
        (case,) = probe.inputs
        return Seen(answer[case], partial(lose_one, answer[case]))

    return Exercise(
        id="01.5",
        title="why did this packet die?",
        kind=Kind.DEBUG,
        level=Level.STRETCH,
        points=2,
        expects=Table(dict.fromkeys(deaths, OneOf(*REASONS))),
        reference=deaths,
        material=material,
        probes=lambda draw: [Probe(case, (case,), size=place) for place, case in enumerate(deaths)],
        observe=observe,
        tell=tell,
        sibling=lambda: Story(
            "A packet that entered PRE_ROUTING and LOCAL_IN and brought nothing back: it was for the machine itself, "
            "and a program took it. UDP need not be answered, so silence there is no sign of a loss.",
            send_one(router(), "from outside to the machine"),
        ),
        right=(deaths, dict(reversed(deaths.items())), {case: str(reason) for case, reason in deaths.items()}),
        wrong=(
            Wrong("h11", confusing("its TTL was used up", "a function on FORWARD dropped it")),
            Wrong("h21", confusing("ip_forward is off", "its TTL was used up")),
            Wrong("h22", confusing("its checksum was wrong", "ip_forward is off")),
            Wrong("h23", confusing("no route leads there", "ip_forward is off")),
            Wrong("h24", confusing("nobody listens on that port", "no route leads there")),
            Wrong("v1", confusing("a function on FORWARD dropped it", "nobody listens on that port")),
        ),
    )


# --- 01.6 design: count every packet once -------------------------------------------------------------------


def answer_01_6(packet, state):
    """Whether to count the packet here: called for every packet at each of the five hooks."""
    if state.hook == Hook.LOCAL_OUT:
        return True
    return state.hook == Hook.PRE_ROUTING and state.dev_in != "lo"


def traffic(draw: Random):
    """Packets of every kind, some of which die half way."""
    outside = f"10.0.2.{draw.randint(2, 254)}"
    cases = [
        ("forwarded from eth0 to eth1", False, outside, 64),
        ("from outside for the machine", False, "10.0.2.1", 64),
        ("from the machine to outside", True, outside, 64),
        ("from the machine to its own address", True, "10.0.1.1", 64),
        ("from the machine to 127.0.0.1", True, "127.0.0.1", 64),
        ("from outside, with a TTL that is used up", False, outside, 1),
    ]
    probes = [Probe(f"a packet {words}", (made_here, dst, True, ttl), size=1) for words, made_here, dst, ttl in cases]
    refused = "a packet from outside for another machine, while ip_forward is off"
    return [*probes, Probe(refused, (False, outside, False, 64), size=2)]


def count_one(function, probe):
    """How often the packet itself was counted (errors that it causes are packets of their own)."""
    made_here, destination, forwarding, ttl = probe.inputs
    machine = router(int(forwarding))
    said = []
    mine = (5000, 53)

    def count(packet, state):
        if (packet.sport, packet.dport) == mine:
            said.append(function(packet, state))
        return Verdict.ACCEPT

    for hook in Hook:
        machine.register(hook, count, name="count_here")
    packet = Packet.udp(ANYONE if made_here else "10.0.1.2", destination, *mine, ttl=ttl)
    trace = machine.send(packet) if made_here else machine.receive("eth0", packet)
    return Seen([OneOf(True, False).read(one) for one in said].count(True), trace)


def tell_times(probe, want, got):
    words = str(probe)
    return f"{words[0].upper()}{words[1:]} is counted {got.facts} times. Its way, past your function at each hook:"


def going_home(packet, state):
    if state.hook == Hook.PRE_ROUTING:
        return True
    return state.hook == Hook.LOCAL_OUT and state.dev_out != "lo"


def first_seen(packet, state):
    entering = state.dev_in is not None and state.dev_in.startswith("eth") and state.hook == Hook.PRE_ROUTING
    return entering or state.hook == Hook.LOCAL_OUT


def by_hook_table(packet, state):
    return {Hook.LOCAL_OUT: True, Hook.PRE_ROUTING: state.dev_in in ("eth0", "eth1")}.get(state.hook, False)


def arrivals_and_departures(packet, state):
    return state.hook in (Hook.PRE_ROUTING, Hook.LOCAL_OUT)


def arrivals_only(packet, state):
    return state.hook == Hook.PRE_ROUTING


def departures_only(packet, state):
    return state.hook == Hook.POST_ROUTING


def the_middle(packet, state):
    return state.hook in (Hook.LOCAL_IN, Hook.FORWARD, Hook.LOCAL_OUT)


def not_on_lo(packet, state):
    return state.hook in (Hook.PRE_ROUTING, Hook.LOCAL_OUT) and "lo" not in (state.dev_in, state.dev_out)


def in_and_out(packet, state):
    return (state.hook == Hook.PRE_ROUTING and state.dev_in != "lo") or state.hook == Hook.POST_ROUTING


count_once = Exercise(
    id="01.6",
    title="count every packet once",
    kind=Kind.DESIGN,
    level=Level.STRETCH,
    points=3,
    expects=Function("packet", "state"),
    reference=answer_01_6,
    probes=traffic,
    observe=count_one,
    tell=tell_times,
    sibling=lambda: Story(
        "To count only what this machine forwards, one hook is enough: FORWARD is entered once by every packet that is "
        "passed on and by no other. Look for hooks that are entered by one kind only, then for what is still missing.",
        journey(False, "10.0.2.2"),
    ),
    right=(going_home, first_seen, by_hook_table),
    wrong=(
        Wrong("h25", arrivals_and_departures),
        Wrong("h26", arrivals_only),
        Wrong("h27", departures_only),
        Wrong("h28", the_middle),
        Wrong("h29", not_on_lo),
        Wrong("h30", in_and_out),
    ),
)

EXERCISES = [four, interface, way_of_a_packet, Varied("01.4", draw_counters), Varied("01.5", draw_deaths), count_once]
