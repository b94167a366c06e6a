"""The exercises of lab 02: what a hook function can answer, who is called after it, and what changes on the way."""

from functools import partial
from random import Random

from netlab import ACCEPT, DROP, QUEUE, REPEAT, STOLEN
from netlab.grading import (
    Exercise,
    Function,
    Kind,
    Level,
    ListOf,
    Maybe,
    OneOf,
    Probe,
    Seen,
    Sheet,
    Story,
    Table,
    Varied,
    Whole,
    Wrong,
    in_words,
    looking_up,
)
from netlab.host import Host
from netlab.names import Hook
from netlab.packet import Packet
from netlab.trace import Called, Delivered, Dropped, Noted, Sent

ANYONE = "0.0.0.0"  # the source of a packet for which the kernel is to choose one


def router(**options):
    """The labs' router, between the networks 10.0.1.0/24 (eth0) and 10.0.2.0/24 (eth1)."""
    sysctls = {"net.ipv4.ip_forward": 1, "net.ipv4.icmp_ratelimit": 0}
    return Host("router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, sysctls=sysctls, listen=["udp/53"], **options)


def passing(**header):
    """A packet from 10.0.1.2 that the router forwards to 10.0.2.2."""
    return Packet.udp("10.0.1.2", "10.0.2.2", 5000, 53, **header)


def sentence(probe):
    """A probe's words at the start of a sentence."""
    words = str(probe)
    return words[0].upper() + words[1:]


# --- 02.1 read: who is called first? ------------------------------------------------------------------------


def draw_registrations(draw: Random):
    """Six functions with priorities of which two are equal, registered in a drawn order."""
    low, tie, middle, high = sorted(draw.sample(range(-400, 0, 25), 4))
    priorities = [low, tie, tie, middle, high, draw.choice((5, 10, 50, 300))]
    while True:
        draw.shuffle(priorities)
        exercise = order_of_calls(list(zip("abcdef", priorities, strict=True)))
        # No two wrong ideas, and no wrong and the right one, may come to the same order here.
        if len({tuple(answer) for answer in (exercise.reference, *(one.answer for one in exercise.wrong))}) == 6:
            return exercise


def order_of_calls(registered):
    """The exercise for one list of (name, priority) in the order of registration."""

    def call_all(functions=registered):
        machine = router()
        for name, priority in functions:
            machine.register(Hook.PRE_ROUTING, lambda packet, state: ACCEPT, priority, name=name)
        return machine.receive("eth0", passing())

    reference = [event.function for event in call_all().events if isinstance(event, Called)]
    places = {name: place for place, (name, _) in enumerate(registered)}
    priority_of = dict(registered)

    def ordered(key, reverse=False):
        return sorted(priority_of, key=key, reverse=reverse)

    def tell(probe, want, got):
        return f"You say that the calls are {in_words(got.facts)}. The functions were called in another order:"

    return Exercise(
        id="02.1",
        title="who is called first?",
        kind=Kind.READ,
        level=Level.CORE,
        points=1,
        expects=ListOf(OneOf(*priority_of), "names"),
        reference=reference,
        material=Sheet("functions registered on PRE_ROUTING", ("function", "priority"), registered),
        probes=lambda draw: [Probe("the order of the calls")],
        observe=lambda answer, probe: Seen(answer, call_all),
        tell=tell,
        sibling=lambda: Story(
            "Three functions x, y, z, registered in this order at 20, -7 and 0. The kernel goes from the lowest "
            "number to the highest: y at -7, then z at 0, then x at 20.",
            call_all([("x", 20), ("y", -7), ("z", 0)]),
        ),
        right=(tuple(reference), ordered(lambda name: (priority_of[name], -places[name])), [*reference]),
        wrong=(
            Wrong("v7", ordered(lambda name: (priority_of[name], -places[name]), reverse=True)),
            Wrong("v8", [name for name, _ in registered]),
            Wrong("v9", ordered(lambda name: (priority_of[name], places[name]))),
            Wrong("v10", ordered(lambda name: (abs(priority_of[name]), -places[name]))),
            Wrong("v8", [name for name, _ in reversed(registered)]),
        ),
    )


# --- 02.2 predict: how often is each called? ----------------------------------------------------------------

answer_02_2 = {
    "second answers ACCEPT": [1, 1, 1],
    "second answers QUEUE, then the program ACCEPT": [1, 1, 1],
    "second answers QUEUE, then the program REPEAT, then second ACCEPT": [1, 2, 1],
    "second answers QUEUE, and no program listens": [1, 1, 0],
    "second answers REPEAT, on a current kernel": [1, 1, 0],
    "second answers REPEAT, then ACCEPT, on Linux 4.9": [1, 2, 1],
}


def call_three(case):
    """Three functions in a row, of which the second does what the case says."""
    machine = router(kernel=(4, 9)) if "4.9" in case else router()
    script = iter([QUEUE, ACCEPT] if "QUEUE" in case else [REPEAT, ACCEPT] if "REPEAT" in case else [ACCEPT])

    def first(packet, state):
        return ACCEPT

    def second(packet, state):
        return next(script)

    def third(packet, state):
        return ACCEPT

    for priority, function in enumerate((first, second, third)):
        machine.register(Hook.PRE_ROUTING, function, priority)
    if "the program" in case:
        machine.queue(0).bind(lambda packet, state: REPEAT if "REPEAT" in case else ACCEPT)
    return machine.receive("eth0", passing())


def calls_in(trace):
    """How often each of the three was called."""
    called = [event.function for event in trace.events if isinstance(event, Called)]
    return tuple(called.count(name) for name in ("first", "second", "third"))


def six_cases(draw: Random):
    return [Probe(case, (case,), size=place) for place, case in enumerate(answer_02_2)]


def tell_calls(probe, want, got):
    return f"When {probe}, you predicted {in_words(got.facts)} calls of first, second, third. Count them here:"


def counts(*rows):
    """An answer, row by row."""
    return dict(zip(answer_02_2, map(list, rows), strict=True))


def drop_in_the_middle():
    """Of three functions the second drops the packet."""
    machine = router()
    for priority, (name, verdict) in enumerate([("first", ACCEPT), ("second", DROP), ("third", ACCEPT)]):
        machine.register(Hook.PRE_ROUTING, lambda packet, state, verdict=verdict: verdict, priority, name=name)
    return machine.receive("eth0", passing())


call_counts = Exercise(
    id="02.2",
    title="how often is each called?",
    kind=Kind.PREDICT,
    level=Level.CORE,
    points=2,
    expects=Table(dict.fromkeys(answer_02_2, ListOf(Whole(0, 1000), "three numbers"))),
    reference=answer_02_2,
    probes=six_cases,
    observe=looking_up(call_three),
    tell=tell_calls,
    sibling=lambda: Story(
        "The second of the three answers DROP: the first was called once, the second once, and the third never, "
        "because there is no packet any more that it could be shown.",
        drop_in_the_middle(),
    ),
    right=(
        counts((1, 1, 1), (1, 1, 1), (1, 2, 1), (1, 1, 0), (1, 1, 0), (1, 2, 1)),
        {case: tuple(row) for case, row in answer_02_2.items()},
        dict(reversed(answer_02_2.items())),
    ),
    wrong=(
        Wrong("v2", counts((1, 0, 0), (1, 1, 0), (1, 2, 1), (1, 1, 0), (1, 1, 0), (1, 2, 1))),
        Wrong("v3", counts((1, 1, 1), (1, 1, 1), (2, 2, 1), (1, 1, 0), (1, 1, 0), (2, 2, 1))),
        Wrong("v4", counts((1, 1, 1), (1, 2, 1), (1, 2, 1), (1, 1, 0), (1, 1, 0), (1, 2, 1))),
        Wrong("v5", counts((1, 1, 1), (1, 1, 1), (1, 2, 1), (1, 1, 1), (1, 1, 0), (1, 2, 1))),
        Wrong("v6", counts((1, 1, 1), (1, 1, 1), (1, 2, 1), (1, 1, 0), (1, 2, 1), (1, 2, 1))),
        Wrong("v11", counts((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 0), (1, 1, 0), (1, 1, 1))),
    ),
)


# --- 02.3 code: a filter ------------------------------------------------------------------------------------


def answer_02_3(packet, state):
    """DROP for a DNS query that comes in by eth0, ACCEPT for everything else."""
    if packet.proto == 17 and packet.dport == 53 and state.dev_in == "eth0":
        return DROP
    return ACCEPT


def packets_to_filter(draw: Random):
    """Queries, answers, other protocols, other ports, by both interfaces."""
    other = draw.choice([port for port in range(1024, 5000) if port != 53])
    kinds = {
        "a DNS query": Packet.udp("10.0.1.2", "10.0.2.2", other, 53),
        "a DNS query to the router itself": Packet.udp("10.0.1.2", "10.0.1.1", other, 53),
        "a DNS answer": Packet.udp("10.0.1.2", "10.0.2.2", 53, other),
        "a query from port 53 to port 53": Packet.udp("10.0.1.2", "10.0.2.2", 53, 53),
        "a TCP connection to port 53": Packet.tcp("10.0.1.2", "10.0.2.2", other, 53),
        "a UDP packet to another port": Packet.udp("10.0.1.2", "10.0.2.2", other, other),
        "a UDP packet to port 54": Packet.udp("10.0.1.2", "10.0.2.2", other, 54),
        "a UDP packet to port 52": Packet.udp("10.0.1.2", "10.0.2.2", other, 52),
        "a ping": Packet.icmp("10.0.1.2", "10.0.2.2", id=53),
        "an ESP packet": Packet.ip("10.0.1.2", "10.0.2.2", 50, bytes([0, 53, 0, 53, 0, 8, 0, 0])),
    }
    return [
        Probe(f"{words}, in by {dev}", (dev, packet), size=place)
        for place, (words, packet) in enumerate(kinds.items())
        for dev in ("eth0", "eth1")
    ]


def filter_one(function, probe):
    """What the router makes of the function's answer to one packet."""
    dev, packet = probe.inputs
    machine = router()
    machine.register(Hook.PRE_ROUTING, function, name="answer_02_3")
    trace = machine.receive(dev, packet)
    call = next(event for event in trace.events if isinstance(event, Called))
    return Seen(call.note or call.verdict, trace)


def tell_verdict(probe, want, got):
    return f"{sentence(probe)}: the verdict should be {want.facts}. Yours: {got.facts}."


def by_refusing_early(packet, state):
    if state.dev_in != "eth0" or packet.proto != 17:
        return ACCEPT
    return DROP if packet.dport == 53 else ACCEPT


def by_numbers(packet, state):
    return 0 if (packet.proto, packet.dport, state.dev_in) == (17, 53, "eth0") else 1


def by_unpacking(packet, state):
    query = packet.proto == 17 and packet.l4 is not None and packet.l4.dport == 53
    return {True: DROP, False: ACCEPT}[query and state.dev_in == "eth0"]


def both_directions(packet, state):
    if packet.proto == 17 and 53 in (packet.sport, packet.dport) and state.dev_in == "eth0":
        return DROP
    return ACCEPT


def any_protocol(packet, state):
    return DROP if packet.dport == 53 and state.dev_in == "eth0" else ACCEPT


def any_interface(packet, state):
    return DROP if packet.proto == 17 and packet.dport == 53 else ACCEPT


def says_nothing(packet, state):
    if packet.proto == 17 and packet.dport == 53 and state.dev_in == "eth0":
        return DROP


def says_true(packet, state):
    return not (packet.proto == 17 and packet.dport == 53 and state.dev_in == "eth0")


def steals(packet, state):
    return STOLEN if answer_02_3(packet, state) == DROP else ACCEPT


def wrong_way_round(packet, state):
    return ACCEPT if answer_02_3(packet, state) == DROP else DROP


dns_filter = Exercise(
    id="02.3",
    title="a filter",
    kind=Kind.CODE,
    level=Level.CORE,
    points=3,
    expects=Function("packet", "state"),
    reference=answer_02_3,
    probes=packets_to_filter,
    observe=filter_one,
    tell=tell_verdict,
    sibling=lambda: Story(
        "A function that drops pings, wherever they come from: one condition, packet.proto == 1, a return DROP "
        "under it, and a return ACCEPT for all the rest. Here it meets a ping.",
        filter_one(
            lambda packet, state: DROP if packet.proto == 1 else ACCEPT,
            Probe("a ping", ("eth0", Packet.icmp("10.0.1.2", "10.0.2.2", id=1))),
        ).trace,
    ),
    right=(by_refusing_early, by_numbers, by_unpacking),
    wrong=(
        Wrong("v12", both_directions),
        Wrong("v13", any_protocol),
        Wrong("v14", any_interface),
        Wrong("v15", says_nothing),
        Wrong("v16", says_true),
        Wrong("v17", steals),
        Wrong("v18", wrong_way_round),
    ),
)


# --- 02.4 code: a program at the end of a queue -------------------------------------------------------------


def answer_02_4(packet, state):
    """The program's answer to one packet from the queue: a verdict, or a verdict and a changed packet."""
    if packet.dport == 80:
        return ACCEPT
    if packet.dport == 8080:
        return ACCEPT, packet.with_(dport=80)
    return DROP


def packets_to_queue(draw: Random):
    """Packets to the ports that matter, and to others."""
    ports = [80, 8080, 22, 79, 81, 8079, 8081, draw.randint(9000, 65535)]
    probes = []
    for size, port in enumerate(ports):
        sport, ttl = draw.randint(1024, 65535), draw.randint(2, 255)
        packet = Packet.tcp("10.0.1.2", "10.0.2.2", sport, port, ttl=ttl)
        probes.append(Probe(f"a TCP packet to port {port}", (packet,), size))
    answer = Packet.tcp("10.0.1.2", "10.0.2.2", 80, draw.randint(9000, 65535))
    ping = Packet.icmp("10.0.1.2", "10.0.2.2", id=80)
    return [*probes, Probe("a TCP packet from port 80", (answer,), 20), Probe("a ping", (ping,), 21)]


def queue_one(program, probe):
    """What leaves the router when that program answers the queue, or how the program failed."""
    (packet,) = probe.inputs
    machine = router()
    machine.register(Hook.FORWARD, lambda packet, state: QUEUE, name="ask_the_program")
    machine.queue(0).bind(program)
    trace = machine.receive("eth0", packet)
    sent = [str(event.packet) for event in trace.out if event.number == 0]
    failed = [event.text for event in trace.events if isinstance(event, Noted) and "failed" in event.text]
    return Seen((sent or failed or ["nothing"])[0], trace)


def tell_output(probe, want, got):
    return f"Given {probe}, this should leave the router: {want.facts}. With your program: {got.facts}."


def by_looking_up(packet, state):
    return {80: ACCEPT, 8080: (ACCEPT, packet.with_(dport=80) if packet.dport else packet)}.get(packet.dport, DROP)


def by_changing_first(packet, state):
    if packet.dport not in (80, 8080):
        return DROP
    return ACCEPT, packet.with_(dport=80)


def by_repeating(packet, state):
    if packet.dport == 8080:
        return REPEAT, packet.with_(dport=80)
    return ACCEPT if packet.dport == 80 else DROP


def forgets_the_copy(packet, state):
    if packet.dport == 8080:
        packet.with_(dport=80)
    return ACCEPT if packet.dport in (80, 8080) else DROP


def only_the_packet(packet, state):
    if packet.dport == 8080:
        return packet.with_(dport=80)
    return ACCEPT if packet.dport == 80 else DROP


def changes_the_source(packet, state):
    if packet.dport == 8080:
        return ACCEPT, packet.with_(sport=80)
    return ACCEPT if packet.dport == 80 else DROP


def accepts_the_rest(packet, state):
    if packet.dport == 8080:
        return ACCEPT, packet.with_(dport=80)
    return ACCEPT


def repeats_for_ever(packet, state):
    if packet.dport == 8080:
        return REPEAT, packet.with_(dport=80)
    return REPEAT if packet.dport == 80 else DROP


def answers_too_late(packet, state):
    if packet.dport == 8080:
        return DROP, packet.with_(dport=80)
    return ACCEPT if packet.dport == 80 else DROP


queue_program = Exercise(
    id="02.4",
    title="the program at the end of the queue",
    kind=Kind.CODE,
    level=Level.CORE,
    points=3,
    expects=Function("packet", "state"),
    reference=answer_02_4,
    probes=packets_to_queue,
    observe=queue_one,
    tell=tell_output,
    sibling=lambda: Story(
        "A program that lets everything through but with a TTL of 9 returns ACCEPT, packet.with_(ttl=9): a verdict, "
        "and beside it the packet that is to go on instead of the old one. Here is its effect on one packet.",
        queue_one(
            lambda packet, state: (ACCEPT, packet.with_(ttl=9)),
            Probe("any", (Packet.tcp("10.0.1.2", "10.0.2.2", 5000, 443),)),
        ).trace,
    ),
    right=(by_looking_up, by_changing_first, by_repeating),
    wrong=(
        Wrong("v19", forgets_the_copy),
        Wrong("v20", only_the_packet),
        Wrong("v21", changes_the_source),
        Wrong("v22", accepts_the_rest),
        Wrong("v23", repeats_for_ever),
        Wrong("v24", answers_too_late),
    ),
)


# --- 02.5 write: publish a service --------------------------------------------------------------------------


def answer_02_5(host):
    """Registers functions on the host so that TCP for 10.0.1.1 port 8080 goes to 10.0.2.2 port 80 instead."""

    def publish(packet, state):
        if packet.proto == 6 and packet.dst == "10.0.1.1" and packet.dport == 8080:
            return ACCEPT, packet.with_(dst="10.0.2.2", dport=80)
        return ACCEPT

    host.register(Hook.PRE_ROUTING, publish)
    host.register(Hook.LOCAL_OUT, publish)


def packets_to_publish(draw: Random):
    """Requests from everywhere, and packets that are none of the function's business."""
    sport = draw.randint(20000, 60000)
    cases = [
        ("a request from eth0's side", "eth0", Packet.tcp("10.0.1.2", "10.0.1.1", sport, 8080)),
        ("a request from eth1's side", "eth1", Packet.tcp("10.0.2.9", "10.0.1.1", sport, 8080)),
        ("a request from a program on the router", None, Packet.tcp(ANYONE, "10.0.1.1", sport, 8080)),
        ("TCP to the router's port 8081", "eth0", Packet.tcp("10.0.1.2", "10.0.1.1", sport, 8081)),
        ("UDP to the router's port 8080", "eth0", Packet.udp("10.0.1.2", "10.0.1.1", sport, 8080)),
        ("TCP to 10.0.2.1, port 8080", "eth0", Packet.tcp("10.0.1.2", "10.0.2.1", sport, 8080)),
        ("TCP to 10.0.2.3, port 8080", "eth0", Packet.tcp("10.0.1.2", "10.0.2.3", sport, 8080)),
        ("TCP from the router to 10.0.2.3, port 8080", None, Packet.tcp(ANYONE, "10.0.2.3", sport, 8080)),
        ("a DNS query to the router", "eth0", Packet.udp("10.0.1.2", "10.0.1.1", sport, 53)),
        ("a ping of the router", "eth0", Packet.icmp("10.0.1.2", "10.0.1.1", id=8080)),
    ]
    return [Probe(words, (dev, packet), size) for size, (words, dev, packet) in enumerate(cases)]


def publish_one(install, probe):
    """Where one packet ends up on a router on which `install` has registered its functions."""
    dev, packet = probe.inputs
    machine = router()
    install(machine)
    trace = machine.receive(dev, packet) if dev else machine.send(packet)
    return Seen(fate(trace), trace)


def fate(trace):
    """The end of the packet itself, in words."""
    for event in trace.events:
        if event.number == 0 and isinstance(event, Sent):
            return f"sent out by {event.dev} to {event.packet.dst} port {event.packet.dport}"
        if event.number == 0 and isinstance(event, Delivered):
            return f"delivered to {event.socket}"
        if event.number == 0 and isinstance(event, Dropped):
            return f"dropped ({event.why})"
    return "kept by somebody"


def tell_fate(probe, want, got):
    return f"{sentence(probe)} should be {want.facts}. With your functions it is {got.facts}."


def rewrites(packet):
    """What `answer_02_5` does to a packet, for answers that do it elsewhere."""
    if packet.proto == 6 and packet.dst == "10.0.1.1" and packet.dport == 8080:
        return ACCEPT, packet.with_(dst="10.0.2.2", dport=80)
    return ACCEPT


def registers_on(*hooks):
    """An answer that rewrites on these hooks."""

    def install(host):
        for hook in hooks:
            host.register(hook, lambda packet, state: rewrites(packet), name="publish")

    return install


def in_two_steps(host):
    def port_first(packet, state):
        if (packet.proto, packet.dst, packet.dport) == (6, "10.0.1.1", 8080):
            return ACCEPT, packet.with_(dport=80, mark=1)
        return ACCEPT

    def then_address(packet, state):
        return (ACCEPT, packet.with_(dst="10.0.2.2", mark=0)) if packet.mark else ACCEPT

    for hook in (Hook.PRE_ROUTING, Hook.LOCAL_OUT):
        host.register(hook, port_first, priority=-150)
        host.register(hook, then_address, priority=-100)


def only_the_address(host):
    def publish(packet, state):
        if packet.proto == 6 and packet.dst == "10.0.1.1" and packet.dport == 8080:
            return ACCEPT, packet.with_(dst="10.0.2.2")
        return ACCEPT

    host.register(Hook.PRE_ROUTING, publish)
    host.register(Hook.LOCAL_OUT, publish)


def forgets_to_return_it(host):
    def publish(packet, state):
        rewrites(packet)
        return ACCEPT

    host.register(Hook.PRE_ROUTING, publish)
    host.register(Hook.LOCAL_OUT, publish)


def every_packet_to_that_port(host):
    def publish(packet, state):
        if packet.proto == 6 and packet.dport == 8080:
            return ACCEPT, packet.with_(dst="10.0.2.2", dport=80)
        return ACCEPT

    host.register(Hook.PRE_ROUTING, publish)
    host.register(Hook.LOCAL_OUT, publish)


published = Exercise(
    id="02.5",
    title="publish a service",
    kind=Kind.WRITE,
    level=Level.STRETCH,
    points=3,
    expects=Function("host"),
    reference=answer_02_5,
    probes=packets_to_publish,
    observe=publish_one,
    tell=tell_fate,
    sibling=lambda: Story(
        "Another router sends everything for 10.0.2.3 to 10.0.2.4, but only what comes in from outside. One function "
        "on PRE_ROUTING is enough for that: it stands before the route lookup, and all that comes in passes it.",
        publish_one(
            lambda host: host.register(
                Hook.PRE_ROUTING,
                lambda packet, state: (ACCEPT, packet.with_(dst="10.0.2.4") if packet.dst == "10.0.2.3" else packet),
                name="other_way",
            ),
            Probe("any", ("eth0", Packet.tcp("10.0.1.2", "10.0.2.3", 5000, 443))),
        ).trace,
    ),
    right=(registers_on(Hook.PRE_ROUTING, Hook.LOCAL_OUT), registers_on(*Hook), in_two_steps),
    wrong=(
        Wrong("v25", registers_on(Hook.PRE_ROUTING)),
        Wrong("v26", registers_on(Hook.LOCAL_OUT)),
        Wrong("v27", registers_on(Hook.POST_ROUTING)),
        Wrong("v29", registers_on(Hook.LOCAL_IN)),
        Wrong("v30", only_the_address),
        Wrong("v42", forgets_to_return_it),
        Wrong("v31", every_packet_to_that_port),
    ),
)


# --- 02.6 predict: a TTL that changes on the way ------------------------------------------------------------

answer_02_6 = {
    "nobody changes it": 63,
    "set to 9 in PRE_ROUTING": 8,
    "set to 9 in FORWARD": 9,
    "set to 9 in POST_ROUTING": 9,
    "set to 1 in PRE_ROUTING": None,
    "set to 1 in FORWARD": 1,
    "set to 9 in PRE_ROUTING, then raised by 1 there": 9,
}


def change_ttl(case):
    """The journey of a packet with TTL 64 whose TTL functions change."""
    machine = router()
    words = case.replace(",", "").split()
    if words[0] == "set":
        machine.register(Hook[words[4]], partial(set_ttl, int(words[2])), priority=-10, name="set_ttl")
    if "raised" in words:
        machine.register(Hook[words[4]], raise_ttl, priority=10)
    return machine.receive("eth0", passing())


def set_ttl(ttl, packet, state):
    return ACCEPT, packet.with_(ttl=ttl)


def raise_ttl(packet, state):
    return ACCEPT, packet.with_(ttl=packet.ttl + 1)


def seven_ttls(draw: Random):
    return [Probe(case, (case,), size=place) for place, case in enumerate(answer_02_6)]


def tell_ttl(probe, want, got):
    said = "that nothing leaves" if got.facts is None else f"TTL {got.facts} on the wire"
    return f"TTL 64, {probe}: you predicted {said}. Watch it hook by hook:"


def ttls(*values):
    """An answer, row by row."""
    return dict(zip(answer_02_6, values, strict=True))


ttl_on_the_wire = Exercise(
    id="02.6",
    title="a TTL that changes on the way",
    kind=Kind.PREDICT,
    level=Level.STRETCH,
    points=2,
    expects=Table(dict.fromkeys(answer_02_6, Maybe(Whole(0, 255)))),
    reference=answer_02_6,
    probes=seven_ttls,
    observe=looking_up(change_ttl),
    tell=tell_ttl,
    sibling=lambda: Story(
        "Set to 2 in PRE_ROUTING: the router looks at the TTL after that hook, finds 2, lowers it to 1 and goes on. "
        "FORWARD and POST_ROUTING see 1, and 1 is what leaves. The next router will not pass it on.",
        change_ttl("set to 2 in PRE_ROUTING"),
    ),
    right=(ttls(63, 8, 9, 9, None, 1, 9), dict(reversed(answer_02_6.items())), ttls(64 - 1, 9 - 1, 9, 9, None, 1, 9)),
    wrong=(
        Wrong("v32", ttls(63, 8, 8, 8, None, None, 9)),
        Wrong("v33", ttls(63, 9, 9, 9, 1, 1, 10)),
        Wrong("v34", ttls(63, 8, 9, 9, None, 1, 64)),
        Wrong("v35", ttls(63, 63, 63, 63, 63, 63, 63)),
        Wrong("v36", ttls(63, 8, 9, 9, None, None, 9)),
        Wrong("v37", ttls(64, 9, 9, 9, None, 1, 10)),
    ),
)


# --- 02.7 debug: what does the sender notice? ---------------------------------------------------------------

answer_02_7 = {
    "a neighbour's packet, DROP on PRE_ROUTING": "nothing",
    "a neighbour's packet, DROP on LOCAL_IN": "nothing",
    "a program's packet, DROP on LOCAL_OUT": "EPERM",
    "a program's packet, DROP on POST_ROUTING": "EPERM",
    "a program's packet, STOLEN on LOCAL_OUT": "nothing",
    "a program's packet, QUEUE on LOCAL_OUT, nobody listens": "nothing",
    "a program's packet to the same machine, DROP on LOCAL_IN": "nothing",
}
NOTICES = ("nothing", "EPERM", "an ICMP error")


def lose_one(case):
    """The journey of a packet that the case's function takes out."""
    machine = router()
    whose, what = case.split(", ")[:2]
    verdict, hook = what.split(" on ")
    machine.register(
        Hook[hook], lambda packet, state: {"DROP": DROP, "STOLEN": STOLEN, "QUEUE": QUEUE}[verdict], name="it"
    )
    if whose == "a neighbour's packet":
        return machine.receive("eth0", Packet.udp("10.0.1.2", "10.0.1.1", 5000, 53))
    return machine.send(Packet.udp(ANYONE, "10.0.1.1" if "same machine" in whose else "10.0.1.2", 5000, 53))


def seven_losses(draw: Random):
    return [Probe(case, (case,), size=place) for place, case in enumerate(answer_02_7)]


def tell_notice(probe, want, got):
    return f"{sentence(probe)}: you say that the sender notices {got.facts}. All that happens is this:"


def notices(*values):
    """An answer, row by row."""
    return dict(zip(answer_02_7, values, strict=True))


NOTHING, EPERM, ERROR = NOTICES

silence = Exercise(
    id="02.7",
    title="what does the sender notice?",
    kind=Kind.DEBUG,
    level=Level.STRETCH,
    points=2,
    expects=Table(dict.fromkeys(answer_02_7, OneOf(*NOTICES))),
    reference=answer_02_7,
    probes=seven_losses,
    observe=looking_up(lose_one),
    tell=tell_notice,
    sibling=lambda: Story(
        "A neighbour's packet that is accepted everywhere but goes to a port on which nobody listens: this time the "
        "sender does hear of it. The error comes from the kernel's UDP, not from netfilter: it is packet 1.",
        router().receive("eth0", Packet.udp("10.0.1.2", "10.0.1.1", 5000, 54)),
    ),
    right=(
        notices(NOTHING, NOTHING, EPERM, EPERM, NOTHING, NOTHING, NOTHING),
        dict.fromkeys(answer_02_7, NOTHING) | dict.fromkeys(list(answer_02_7)[2:4], EPERM),
        dict(reversed(answer_02_7.items())),
    ),
    wrong=(
        Wrong("v1", notices(ERROR, ERROR, EPERM, EPERM, NOTHING, NOTHING, NOTHING)),
        Wrong("v38", notices(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING)),
        Wrong("v39", notices(NOTHING, NOTHING, EPERM, EPERM, EPERM, NOTHING, NOTHING)),
        Wrong("v40", notices(NOTHING, NOTHING, EPERM, EPERM, NOTHING, EPERM, NOTHING)),
        Wrong("v41", notices(NOTHING, NOTHING, EPERM, EPERM, NOTHING, NOTHING, EPERM)),
        Wrong("v28", notices(NOTHING, NOTHING, EPERM, NOTHING, NOTHING, NOTHING, NOTHING)),
    ),
)

EXERCISES = [
    Varied("02.1", draw_registrations),
    call_counts,
    dns_filter,
    queue_program,
    published,
    ttl_on_the_wire,
    silence,
]
