"""The exercises of lab 06: when a flow has an entry, what stands in it, and what it is good for."""

from random import Random

from netlab import ACCEPT, DROP
from netlab.addresses import format_address
from netlab.conntrack.text import line_of, parse_line
from netlab.grading import (
    Exercise,
    Function,
    Kind,
    Level,
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
    calling,
    looking_up,
)
from netlab.grading.shapes import Blank, Misfit, describe
from netlab.host import Host
from netlab.names import CtState, Hook
from netlab.packet import Packet
from netlab.trace import Called

ANYONE = "0.0.0.0"  # the source of a packet for which the kernel is to choose one
CLIENT, SERVER = "10.0.1.2", "10.0.2.2"


def router(**sysctls):
    """The labs' router, between 10.0.1.0/24 (eth0) and 10.0.2.0/24 (eth1), with connection tracking."""
    settings = {"net.ipv4.ip_forward": 1, "net.ipv4.icmp_ratelimit": 0} | sysctls
    return Host(
        "router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, sysctls=settings, listen=["udp/53"], conntrack="on"
    )


def query(**header):
    """A client's packet to a server beyond the router."""
    return Packet.udp(CLIENT, SERVER, 5000, 53, **header)


def answer(**header):
    """What the server says to it."""
    return Packet.udp(SERVER, CLIENT, 53, 5000, **header)


def sentence(probe):
    """A probe's words at the start of a sentence."""
    words = str(probe)
    return words[0].upper() + words[1:]


class Journey:
    """A packet's journey, and the entries that are there after it."""

    def __init__(self, trace, machine):
        self.trace = trace
        self.entries = str(machine.conntrack) or "no entries"

    def __str__(self):
        return f"{self.trace}\nconntrack -L:\n{self.entries}"

    def _repr_html_(self):
        return f"{self.trace._repr_html_()}<pre>conntrack -L:\n{self.entries}</pre>"


# --- 06.1 predict: is there an entry? -----------------------------------------------------------------------

answer_06_1 = {
    "it is forwarded": "an entry",
    "a function on PRE_ROUTING drops it, at -300": "none",
    "a function on FORWARD drops it": "none",
    "a function on POST_ROUTING drops it": "none",
    "no route leads to its destination": "none",
    "it is for a port of the router on which nobody listens": "an entry",
    "the router sends it to itself, and a function on LOCAL_IN drops it": "an entry",
    "it is a TCP reset, and nobody knows of a connection": "none",
}
ENTRY, NONE = "an entry", "none"


def one_packet(case):
    """The journey of a packet under the case's circumstances, and what is left of it in the table."""
    machine = router()
    if "drops it" in case:
        place = next(hook for hook in Hook if hook.name in case)
        machine.register(place, lambda packet, state: DROP, -300 if "-300" in case else 0, name="drop_it")
    if "no route" in case:
        trace = machine.receive("eth0", Packet.udp(CLIENT, "172.16.0.1", 5000, 53))
    elif "nobody listens" in case:
        trace = machine.receive("eth0", Packet.udp(CLIENT, "10.0.1.1", 5000, 54))
    elif "to itself" in case:
        trace = machine.send(Packet.udp(ANYONE, "10.0.1.1", 5000, 53))
    elif "reset" in case:
        trace = machine.receive("eth0", Packet.tcp(CLIENT, SERVER, 5000, 80, "R"))
    else:
        trace = machine.receive("eth0", query())
    return Journey(trace, machine)


def eight_cases(draw: Random):
    return [Probe(case, (case,), size=place) for place, case in enumerate(answer_06_1)]


def tell_entry(probe, want, got):
    return f"{sentence(probe)}: afterwards there is {want.facts.replace('none', 'no entry')}. See:"


def rows(*values):
    """An answer to 06.1, row by row: 1 for an entry."""
    return dict(zip(answer_06_1, (ENTRY if value else NONE for value in values), strict=True))


is_there_an_entry = Exercise(
    id="06.1",
    title="is there an entry?",
    kind=Kind.PREDICT,
    level=Level.CORE,
    points=2,
    expects=Table(dict.fromkeys(answer_06_1, OneOf(ENTRY, NONE))),
    reference=answer_06_1,
    probes=eight_cases,
    observe=looking_up(one_packet),
    tell=tell_entry,
    sibling=lambda: Story(
        "A packet for port 53 of the router, where somebody listens: it enters PRE_ROUTING and LOCAL_IN. Conntrack's "
        "last function stands at the end of LOCAL_IN too, the packet comes as far as that, and so there is an entry.",
        Journey((machine := router()).receive("eth0", Packet.udp(CLIENT, "10.0.1.1", 5000, 53)), machine),
    ),
    right=(
        rows(1, 0, 0, 0, 0, 1, 1, 0),
        dict.fromkeys(answer_06_1, NONE) | dict.fromkeys(list(answer_06_1)[5:7], ENTRY) | {"it is forwarded": ENTRY},
        dict(reversed(answer_06_1.items())),
    ),
    wrong=(
        Wrong("c5", rows(1, 0, 1, 1, 1, 1, 1, 0)),
        Wrong("c13", rows(1, 1, 1, 1, 1, 1, 1, 0)),
        Wrong("c14", rows(1, 0, 0, 0, 0, 1, 0, 0)),
        Wrong("c15", rows(1, 0, 0, 0, 0, 0, 1, 0)),
        Wrong("c16", rows(1, 0, 0, 0, 0, 1, 1, 1)),
        Wrong("c17", rows(1, 0, 0, 1, 0, 1, 1, 0)),
    ),
)


# --- 06.2 code: the tuple of the answer ---------------------------------------------------------------------

ANSWERS = {8: 0, 13: 14, 17: 18}


def answer_06_2(src, dst, proto, first, second):
    """The tuple that an answer to such a packet has: (src, dst, proto, first, second).

    For "tcp" and "udp" `first` and `second` are the source and the destination port, for "icmp" type and id.
    """
    if proto == "icmp":
        return dst, src, proto, ANSWERS[first], second
    return dst, src, proto, second, first


class FiveTuple:
    """Two addresses, a protocol and two numbers."""

    kinds = (str, str, str, int, int)

    def read(self, value):
        if value is ...:
            raise Blank("it")
        if type(value) not in (list, tuple) or tuple(map(type, value)) != self.kinds:
            raise Misfit(f"{describe(value)} is not {self}")
        return tuple(value)

    def __str__(self):
        return "(src, dst, proto, first, second): three texts and two whole numbers"


def flows(draw: Random):
    """Of each protocol some, with drawn addresses."""

    def address():
        return f"10.0.{draw.randint(1, 9)}.{draw.randint(2, 254)}"

    found = []
    for size, (proto, first, second) in enumerate(
        [
            ("udp", draw.randint(1024, 9999), 53), ("tcp", draw.randint(1024, 9999), 80),
            ("icmp", 8, draw.randint(100, 999)), ("icmp", 13, draw.randint(100, 999)),
            ("udp", 53, 53), ("tcp", 22, draw.randint(1024, 9999)),
            ("icmp", 17, draw.randint(100, 999)),
        ]
    ):  # fmt: skip
        flow = address(), address(), proto, first, second
        found.append(Probe(f"a packet of the flow {flow}", flow, size))
    return found


def recorded(src, dst, proto, first, second):
    """What conntrack makes of such a packet."""
    machine = Host("router", {"eth0": "10.0.0.1/8"}, sysctls={"net.ipv4.ip_forward": 1}, conntrack="on")
    machine.wires.recording = False
    if proto == "icmp":
        machine.receive("eth0", Packet.icmp(src, dst, first, id=second))
    else:
        make = Packet.udp if proto == "udp" else Packet.tcp
        machine.receive("eth0", make(src, dst, first, second))
    (line,) = machine.conntrack.lines()
    return line


def by_swapping(src, dst, proto, first, second):
    src, dst = dst, src
    if proto != "icmp":
        first, second = second, first
    else:
        first = ANSWERS.get(first, first)
    return [src, dst, proto, first, second]


def by_cases(src, dst, proto, first, second):
    match proto:
        case "tcp" | "udp":
            return (dst, src, proto, second, first)
        case _:
            return (dst, src, proto, {8: 0, 13: 14, 17: 18}[first], second)


def by_tables(*flow):
    order = {"icmp": (1, 0, 2, 3, 4)}.get(flow[2], (1, 0, 2, 4, 3))
    turned = [flow[place] for place in order]
    turned[3] = ANSWERS[turned[3]] if flow[2] == "icmp" else turned[3]
    return turned


def only_addresses(src, dst, proto, first, second):
    return dst, src, proto, first, second


def only_ports(src, dst, proto, first, second):
    return (src, dst, proto, ANSWERS[first], second) if proto == "icmp" else (src, dst, proto, second, first)


def same_type(src, dst, proto, first, second):
    return (dst, src, proto, first, second) if proto == "icmp" else (dst, src, proto, second, first)


def the_same_again(src, dst, proto, first, second):
    return src, dst, proto, first, second


def icmp_has_ports(src, dst, proto, first, second):
    return dst, src, proto, second, first


def always_an_echo_reply(src, dst, proto, first, second):
    return (dst, src, proto, 0, second) if proto == "icmp" else (dst, src, proto, second, first)


reply_tuple = Exercise(
    id="06.2",
    title="the tuple of the answer",
    kind=Kind.CODE,
    level=Level.CORE,
    points=3,
    expects=Function("src", "dst", "proto", "first", "second"),
    reference=answer_06_2,
    probes=flows,
    observe=calling(FiveTuple(), recorded),
    sibling=lambda: Story(
        "10.0.1.9 asks 10.0.2.9 for a TCP connection, from port 4000 to port 22. The server speaks from its port 22 to "
        "the client's 4000, so what the tracker waits for is what you read in the second half of this entry.",
        recorded("10.0.1.9", "10.0.2.9", "tcp", 4000, 22),
    ),
    right=(by_swapping, by_cases, by_tables),
    wrong=(
        Wrong("c18", only_addresses),
        Wrong("c19", only_ports),
        Wrong("c20", same_type),
        Wrong("c21", the_same_again),
        Wrong("c22", icmp_has_ports),
        Wrong("c23", always_an_echo_reply),
    ),
)


# --- 06.3 read: three lines ---------------------------------------------------------------------------------


def draw_lines(draw: Random):
    """A plain flow, one whose destination was translated, and one that was picked up in the middle; in drawn order."""
    octets = draw.sample(range(2, 250), 7)
    clients = [f"192.168.{draw.randint(1, 9)}.{octet}" for octet in octets[:3]]
    servers = [f"10.7.{draw.randint(1, 9)}.{octet}" for octet in octets[3:6]]
    public = f"203.0.113.{octets[6]}"
    ports = draw.sample(range(20000, 60000), 3)
    lines = [
        f"tcp      6 431{draw.randint(100, 999)} ESTABLISHED src={clients[0]} dst={servers[0]} sport={ports[0]} "
        f"dport=22 src={servers[0]} dst={clients[0]} sport=22 dport={ports[0]} [ASSURED] mark=0 use=1",
        f"tcp      6 431{draw.randint(100, 999)} ESTABLISHED src={clients[1]} dst={public} sport={ports[1]} dport=8080 "
        f"src={servers[1]} dst={clients[1]} sport=80 dport={ports[1]} [ASSURED] mark=0 use=1",
        f"tcp      6 {draw.randint(200, 299)} ESTABLISHED src={servers[2]} dst={clients[2]} sport=443 dport={ports[2]} "
        f"[UNREPLIED] src={clients[2]} dst={servers[2]} sport={ports[2]} dport=443 mark=0 use=1",
    ]
    order = draw.sample(range(3), 3)
    return three_lines(dict(zip("ABC", ((lines[n], clients[n], servers[n], n) for n in order), strict=True)))


def ends(flow):
    """A tuple's two addresses as text."""
    return format_address(flow.saddr), format_address(flow.daddr)


def three_lines(drawn):
    """The exercise for lines with their (text, client, server, number of the kind)."""
    parsed = {name: parse_line(text) for name, (text, *_) in drawn.items()}

    def table(tell_client_and_server):
        said = {name: tell_client_and_server(parsed[name], *drawn[name][1:]) for name in drawn}
        return {f"{name}: {who}": said[name][place] for name in drawn for place, who in enumerate(("client", "server"))}

    def first_source(line, client, server, kind):
        return (server, client) if kind == 2 else (client, server)

    def mirrored(line, client, server, kind):
        return client, ends(line.original)[1] if kind == 1 else server

    def by_first_tuple(line, client, server, kind):
        return ends(line.original)

    def backwards(line, client, server, kind):
        return ends(line.reply)

    def by_lower_port(line, client, server, kind):
        one = line.original
        return ends(one) if one.sport < one.dport else ends(one)[::-1]

    def tell(probe, want, got):
        name, who = str(probe).split(": ")
        return f"Line {name}: the {who} is not {got.facts}. Read it once more, field by field:"

    reference = table(lambda line, client, server, kind: (client, server))
    addresses = sorted({one for line in parsed.values() for flow in (line.original, line.reply) for one in ends(flow)})
    return Exercise(
        id="06.3",
        title="three lines",
        kind=Kind.READ,
        level=Level.CORE,
        points=3,
        expects=Table(dict.fromkeys(reference, OneOf(*addresses))),
        reference=reference,
        material=Sheet("conntrack -L", ("line", "text"), [(name, text) for name, (text, *_) in drawn.items()]),
        probes=lambda draw: [Probe(row, (row,), size=place) for place, row in enumerate(reference)],
        observe=looking_up(lambda row: parsed[row[0]]),
        tell=tell,
        sibling=lambda: Story(
            "A name server's answer on its way: 192.168.1.9 asked from port 31000, 10.7.1.1 answers from port 53. "
            "Both tuples say so, the second as seen from the other side.",
            parse_line(
                "udp      17 29 src=192.168.1.9 dst=10.7.1.1 sport=31000 dport=53 src=10.7.1.1 dst=192.168.1.9 "
                "sport=53 dport=31000 mark=0 use=1"
            ),
        ),
        right=(dict(reference), dict(reversed(reference.items())), {row: reference[row] for row in sorted(reference)}),
        wrong=(
            Wrong("c24", table(first_source)),
            Wrong("c8", table(mirrored)),
            Wrong("c25", table(by_first_tuple)),
            Wrong("c26", table(backwards)),
            Wrong("c27", table(by_lower_port)),
        ),
    )


# --- 06.4 design: only answers come in ----------------------------------------------------------------------


def answer_06_4(packet, state):
    """ACCEPT what comes in by eth0, and from eth1 what belongs to a flow that is known; DROP the rest."""
    if state.dev_in == "eth0":
        return ACCEPT
    if state.skb.ctstate in (CtState.ESTABLISHED, CtState.RELATED):
        return ACCEPT
    return DROP


def conversations(draw: Random):
    """Packets one after the other; the last is the one that is asked about."""
    port = draw.randint(20000, 60000)
    asked, answered = Packet.udp(CLIENT, SERVER, port, 53), Packet.udp(SERVER, CLIENT, 53, port)
    syn, syn_ack = (
        Packet.tcp(CLIENT, SERVER, port, 80, "S", seq=1),
        Packet.tcp(SERVER, CLIENT, 80, port, "SA", seq=9, ack=2),
    )
    unreachable = Packet.icmp(SERVER, CLIENT, 3, 3, payload=asked.with_(ttl=63).to_bytes()[:28])
    stories = {
        "a query from inside": [("eth0", asked)],
        "a UDP packet from port 53 outside that nobody asked for": [("eth1", answered)],
        "the answer to a query": [("eth0", asked), ("eth1", answered)],
        "a TCP segment with ACK from port 80 outside that nobody waits for": [
            ("eth1", Packet.tcp(SERVER, CLIENT, 80, port, "A", seq=9, ack=2))
        ],
        "a SYN-ACK that nobody asked for": [("eth1", syn_ack)],
        "the SYN-ACK to a SYN from inside": [("eth0", syn), ("eth1", syn_ack)],
        "a SYN from outside": [("eth1", Packet.tcp(SERVER, CLIENT, port, 80, "S", seq=1))],
        "an ICMP error about a query": [("eth0", asked), ("eth1", unreachable)],
        "an ICMP error about a packet that nobody sent": [("eth1", unreachable)],
        "a TCP reset from inside without a connection": [("eth0", Packet.tcp(CLIENT, SERVER, port, 80, "R"))],
        "a ping from outside": [("eth1", Packet.icmp(SERVER, CLIENT, id=7))],
        "the reply to a ping from inside": [
            ("eth0", Packet.icmp(CLIENT, SERVER, id=7)), ("eth1", Packet.icmp(SERVER, CLIENT, 0, id=7)),
        ],
        "a second query to a server that has answered": [("eth0", asked), ("eth1", answered), ("eth0", asked)],
    }  # fmt: skip
    return [
        Probe(words, (story,), size=10 * len(story) + place) for place, (words, story) in enumerate(stories.items())
    ]


def filter_them(function, probe):
    """Whether the last of the packets passes the router."""
    (story,) = probe.inputs
    machine = router()
    machine.register(Hook.FORWARD, function, name="yours")
    traces = [machine.receive(dev, packet) for dev, packet in story]
    if any(event.number == 0 for event in traces[-1].out):
        fate = "passes"
    else:  # a function that gives no verdict loses the packet too, but it does not drop it
        call = next(event for event in traces[-1].events if isinstance(event, Called) and event.function == "yours")
        fate = call.note or "is dropped"
    return Seen(fate, Journey(traces[-1], machine))


def tell_fate(probe, want, got):
    return f"{sentence(probe)}: it should be so that it {want.facts}. With your function it {got.facts}."


def by_refusing_first(packet, state):
    unknown = state.skb.ctstate not in {CtState.ESTABLISHED, CtState.RELATED}
    return DROP if state.dev_in != "eth0" and unknown else ACCEPT


def by_table(packet, state):
    welcome = {"eth0": set(CtState), "eth1": {CtState.ESTABLISHED, CtState.RELATED}}
    return {True: ACCEPT, False: DROP}[state.skb.ctstate in welcome[state.dev_in]]


def by_names(packet, state):
    if state.dev_in == "eth1" and str(state.skb.ctstate) in ("NEW", "INVALID", "UNTRACKED"):
        return DROP
    return ACCEPT


def by_ports(packet, state):
    return ACCEPT if state.dev_in == "eth0" or packet.sport in (53, 80) else DROP


def only_syns_are_new(packet, state):
    return DROP if state.dev_in == "eth1" and packet.flags == "S" else ACCEPT


def only_new_is_dropped(packet, state):
    return DROP if state.dev_in == "eth1" and state.skb.ctstate is CtState.NEW else ACCEPT


def without_errors(packet, state):
    return ACCEPT if state.dev_in == "eth0" or state.skb.ctstate is CtState.ESTABLISHED else DROP


def nothing_comes_in(packet, state):
    return ACCEPT if state.dev_in == "eth0" else DROP


def nobody_begins(packet, state):
    return ACCEPT if state.skb.ctstate in (CtState.ESTABLISHED, CtState.RELATED) else DROP


answers_only = Exercise(
    id="06.4",
    title="only answers come in",
    kind=Kind.DESIGN,
    level=Level.CORE,
    points=3,
    expects=Function("packet", "state"),
    reference=answer_06_4,
    probes=conversations,
    observe=filter_them,
    tell=tell_fate,
    sibling=lambda: Story(
        "A function that lets everybody begin and drops only what conntrack finds INVALID: one comparison of "
        "state.skb.ctstate with CtState.INVALID, a return DROP under it, and a return ACCEPT for the rest. Here a "
        "reset meets it that belongs to nothing.",
        filter_them(
            lambda packet, state: DROP if state.skb.ctstate is CtState.INVALID else ACCEPT,
            Probe("a reset", ([("eth1", Packet.tcp(SERVER, CLIENT, 80, 5000, "R"))],)),
        ).trace,
    ),
    right=(by_refusing_first, by_table, by_names),
    wrong=(
        Wrong("c28", by_ports),
        Wrong("c4", only_syns_are_new),
        Wrong("c1", only_new_is_dropped),
        Wrong("c29", without_errors),
        Wrong("c30", nothing_comes_in),
        Wrong("c31", nobody_begins),
    ),
)


# --- 06.5 predict: the number in the third column -----------------------------------------------------------

answer_06_5 = {
    "0 s: the first query": 30,
    "10 s: nothing happens": 20,
    "10 s: a second query": 30,
    "11 s: the answer": 30,
    "12 s: a third query": 120,
    "13 s: nf_conntrack_udp_timeout_stream is set to 20": 119,
    "14 s: a fourth query": 20,
    "40 s: nothing happens": None,
}


def play(until):
    """Everything up to that moment, and the seconds that the entry has left then."""
    machine = router()
    trace = None
    for moment in answer_06_5:
        when, what = moment.split(" s: ")
        machine.wires.clock.advance(float(when) - machine.wires.clock.now)
        machine.tick()
        if "query" in what:
            trace = machine.receive("eth0", query())
        elif "answer" in what:
            trace = machine.receive("eth1", answer())
        elif "stream" in what:
            machine.sysctls.set("net.netfilter.nf_conntrack_udp_timeout_stream", 20)
        if moment == until:
            break
    return Journey(trace, machine)


def eight_moments(draw: Random):
    return [Probe(moment, (moment,), size=place) for place, moment in enumerate(answer_06_5)]


def tell_timeout(probe, want, got):
    said = "no entry" if got.facts is None else f"{got.facts} seconds"
    return f"“{probe}”: not {said}. The last packet until then, and the entry afterwards:"


def timeouts(*values):
    """An answer to 06.5, row by row."""
    return dict(zip(answer_06_5, values, strict=True))


seconds_left = Exercise(
    id="06.5",
    title="the number in the third column",
    kind=Kind.PREDICT,
    level=Level.STRETCH,
    points=2,
    expects=Table(dict.fromkeys(answer_06_5, Maybe(Whole(0, 432000)))),
    reference=answer_06_5,
    probes=eight_moments,
    observe=looking_up(play),
    tell=tell_timeout,
    sibling=lambda: Story(
        "A ping begins with 30 seconds. 20 seconds later a second ping of the same program comes: icmp has one timeout "
        "for all that it does, so 30 seconds are left again. The answer sets it to 30 once more.",
        recorded(CLIENT, SERVER, "icmp", 8, 7),
    ),
    right=(
        timeouts(30, 20, 30, 30, 120, 119, 20, None),
        dict(reversed(answer_06_5.items())),
        answer_06_5 | {"10 s: a second query": 30},
    ),
    wrong=(
        Wrong("c7", timeouts(30, 20, 20, 19, 18, 17, 16, None)),
        Wrong("c9", timeouts(30, 20, 30, 30, 120, 20, 20, None)),
        Wrong("c32", timeouts(30, 20, 30, 120, 120, 119, 20, None)),
        Wrong("c33", timeouts(30, 20, 20, 30, 120, 119, 20, None)),
        Wrong("c34", timeouts(30, 20, 30, 30, 120, 119, 20, 0)),
        Wrong("c3", timeouts(None, None, None, None, None, None, None, None)),
        Wrong("c35", timeouts(30, 20, 30, 30, 30, 29, 30, 4)),
    ),
)


# --- 06.6 debug: the entry that nobody answers --------------------------------------------------------------

answer_06_6 = {
    "PRE_ROUTING at -250: the entry's original dst": "10.0.2.2",
    "PRE_ROUTING at -250: the answer is": "ESTABLISHED",
    "PRE_ROUTING at -150: the entry's original dst": "10.0.9.9",
    "PRE_ROUTING at -150: the answer is": "NEW",
    "POST_ROUTING at 0: the entry's original dst": "10.0.9.9",
    "POST_ROUTING at 0: the answer is": "NEW",
}
PUBLISHED = "10.0.9.9"


def rewrite_at(row):
    """A query to the published address, rewritten there; then the answer of the machine that got it."""
    place = row.split(":")[0]
    hook, priority = place.split(" at ")
    machine = Host(
        "router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, routes=["10.0.9.0/24 via 10.0.2.9"],
        sysctls={"net.ipv4.ip_forward": 1}, conntrack="on",
    )  # fmt: skip
    machine.register(
        Hook[hook],
        lambda packet, state: (ACCEPT, packet.with_(dst=SERVER)) if packet.dst == PUBLISHED else ACCEPT,
        int(priority),
        name="rewrite",
    )
    first = machine.receive("eth0", Packet.udp(CLIENT, PUBLISHED, 5000, 53))
    entry = next(iter(machine.conntrack.table))
    line = line_of(entry, 0)
    second = machine.receive("eth1", answer())
    return first, second, line, machine


def lost_answers(draw: Random):
    return [Probe(row, (row,), size=place) for place, row in enumerate(answer_06_6)]


def show_rewriting(row):
    first, second, _, machine = rewrite_at(row)
    return Journey(second if "answer" in row else first, machine)


def tell_rewriting(probe, want, got):
    return f"{probe} not {got.facts}. The packet's journey, and what the table holds after the answer:"


def rewritten(*values):
    """An answer to 06.6, row by row."""
    return dict(zip(answer_06_6, values, strict=True))


INSIDE, OUTSIDE = SERVER, PUBLISHED

unanswered = Exercise(
    id="06.6",
    title="the entry that nobody answers",
    kind=Kind.DEBUG,
    level=Level.STRETCH,
    points=2,
    expects=Table(
        {
            row: OneOf("NEW", "ESTABLISHED", "RELATED", "INVALID") if "answer" in row else OneOf(INSIDE, OUTSIDE)
            for row in answer_06_6
        }
    ),
    reference=answer_06_6,
    probes=lost_answers,
    observe=looking_up(show_rewriting),
    tell=tell_rewriting,
    sibling=lambda: Story(
        "The same with a function on FORWARD. Conntrack has looked at the packet in PRE_ROUTING, with its old "
        "destination, so that is what the entry says; the answer has another source, and begins a flow of its own.",
        show_rewriting("FORWARD at 0: the answer is"),
    ),
    right=(
        rewritten(INSIDE, "ESTABLISHED", OUTSIDE, "NEW", OUTSIDE, "NEW"),
        dict(reversed(answer_06_6.items())),
        dict(answer_06_6),
    ),
    wrong=(
        Wrong("c36", rewritten(OUTSIDE, "NEW", OUTSIDE, "NEW", OUTSIDE, "NEW")),
        Wrong("c37", rewritten(INSIDE, "ESTABLISHED", INSIDE, "ESTABLISHED", INSIDE, "ESTABLISHED")),
        Wrong("c38", rewritten(INSIDE, "ESTABLISHED", OUTSIDE, "ESTABLISHED", OUTSIDE, "ESTABLISHED")),
        Wrong("c39", rewritten(OUTSIDE, "NEW", INSIDE, "ESTABLISHED", OUTSIDE, "NEW")),
        Wrong("c40", rewritten(INSIDE, "ESTABLISHED", OUTSIDE, "INVALID", OUTSIDE, "INVALID")),
    ),
)

EXERCISES = [is_there_an_entry, reply_tuple, Varied("06.3", draw_lines), answers_only, seconds_left, unanswered]
