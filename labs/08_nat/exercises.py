"""The exercises of lab 08: addresses seen where, how often rules of nat are asked, rules that translate, what stays."""

from functools import lru_cache
from random import Random

from netlab.grading import (
    Exercise,
    Function,
    Kind,
    Level,
    Maybe,
    OneOf,
    Probe,
    Seen,
    Story,
    Table,
    Whole,
    Wrong,
    calling,
    looking_up,
)
from netlab.grading.rules import RulesText
from netlab.grading.shapes import Blank, Misfit, describe
from netlab.host import Host
from netlab.names import Hook
from netlab.packet import Packet
from netlab.shell import run_command

CLIENT, NEIGHBOUR, INSIDE = "10.0.1.2", "10.0.1.9", "10.0.1.1"
PUBLIC, REMOTE, ELSEWHERE = "203.0.113.1", "198.51.100.9", "198.51.100.53"

HOME = """*nat
:PREROUTING ACCEPT
:POSTROUTING ACCEPT
-A PREROUTING -i eth1 -p tcp --dport 8080 -j DNAT --to-destination 10.0.1.2:80
-A POSTROUTING -o eth1 -j MASQUERADE
COMMIT
"""


def router(rules=HOME):
    """The router of a home, between 10.0.1.0/24 (eth0) and the rest of the world (eth1), with these rules."""
    return Host(
        "router", {"eth0": "10.0.1.1/24", "eth1": "203.0.113.1/24"}, routes=["default via 203.0.113.254"],
        sysctls={"net.ipv4.ip_forward": 1, "net.ipv4.icmp_ratelimit": 0, "net.ipv4.conf.all.send_redirects": 0,
                 "net.ipv4.conf.eth0.send_redirects": 0},
        listen=["tcp/22"], iptables=rules,
    )  # fmt: skip


class Journey:
    """A packet's journey, and the entries that are there after it."""

    def __init__(self, trace, machine):
        self.trace = trace
        self.entries = str(machine.conntrack or "") or "no entries"

    def __str__(self):
        return f"{self.trace}\nconntrack -L:\n{self.entries}"

    def _repr_html_(self):
        return f"{self.trace._repr_html_()}<pre>conntrack -L:\n{self.entries}</pre>"


QUERY = ("eth0", Packet.udp(CLIENT, REMOTE, 5000, 53))
QUERY_ANSWER = ("eth1", Packet.udp(REMOTE, PUBLIC, 53, 5000))
VISIT = ("eth1", Packet.tcp(REMOTE, PUBLIC, 4000, 8080, "S"))
VISIT_ANSWER = ("eth0", Packet.tcp(CLIENT, REMOTE, 80, 4000, "SA", ack=1))


def played(machine, *arrivals):
    """The trace of the last of these packets."""
    traces = [machine.send(packet) if dev is None else machine.receive(dev, packet) for dev, packet in arrivals]
    return traces[-1]


# --- 08.1 predict: the addresses seen -----------------------------------------------------------------------

answer_08_1 = {
    "the query in FORWARD: src": "10.0.1.2",
    "the query on its way out of eth1: src": "203.0.113.1",
    "its answer as it comes in by eth1: dst": "203.0.113.1",
    "its answer in FORWARD: dst": "10.0.1.2",
    "the visit in FORWARD: src": "198.51.100.9",
    "the visit in FORWARD: dst": "10.0.1.2",
    "the visit's answer in FORWARD: src": "10.0.1.2",
    "the visit's answer on its way out of eth1: src": "203.0.113.1",
}
STORIES = {
    "the query": (QUERY,),
    "its answer": (QUERY, QUERY_ANSWER),
    "the visit": (VISIT,),
    "the visit's answer": (VISIT, VISIT_ANSWER),
}


def trace_of(row):
    """The journey that a row of 08.1 is about, and the router after it."""
    about = max((name for name in STORIES if row.startswith(name)), key=len)
    machine = router()
    return played(machine, *STORIES[about]), machine


def seen_address(row):
    """The address that a row asks for, out of the journey itself."""
    trace, _ = trace_of(row)
    if "FORWARD" in row:
        packet = next(step.packet for step in trace.path if step.hook is Hook.FORWARD)
    else:
        packet = trace.out[0].packet if "out of" in row else next(iter(trace.events)).packet
    return packet.src if row.endswith("src") else packet.dst


def eight_places(draw: Random):
    return [Probe(row, (row,), size=place) for place, row in enumerate(answer_08_1)]


def tell_address(probe, want, got):
    return f"{probe} is not {got.facts}. The packet's journey, and the entry that it belongs to:"


def addresses(*values):
    """An answer to 08.1, row by row."""
    return dict(zip(answer_08_1, values, strict=True))


seen_where = Exercise(
    id="08.1",
    title="who sees which address?",
    kind=Kind.PREDICT,
    level=Level.CORE,
    points=2,
    expects=Table(dict.fromkeys(answer_08_1, OneOf(CLIENT, PUBLIC, REMOTE))),
    reference=answer_08_1,
    probes=eight_places,
    observe=looking_up(lambda row: Journey(*trace_of(row))),
    tell=tell_address,
    sibling=lambda: Story(
        "A ping from 10.0.1.9: up to POST_ROUTING its source is 10.0.1.9, behind it the router's. The reply is for the "
        "router when it comes in, and for 10.0.1.9 from PRE_ROUTING's end on.",
        played(
            router(), ("eth0", Packet.icmp(NEIGHBOUR, REMOTE, id=7)), ("eth1", Packet.icmp(REMOTE, PUBLIC, 0, id=7))
        ),
    ),
    right=(
        addresses(CLIENT, PUBLIC, PUBLIC, CLIENT, REMOTE, CLIENT, CLIENT, PUBLIC),
        dict(reversed(answer_08_1.items())),
        {row: seen_address(row) for row in answer_08_1},
    ),
    wrong=(
        Wrong("n10", addresses(PUBLIC, PUBLIC, PUBLIC, CLIENT, REMOTE, CLIENT, CLIENT, PUBLIC)),
        Wrong("n4", addresses(CLIENT, PUBLIC, PUBLIC, CLIENT, REMOTE, PUBLIC, CLIENT, PUBLIC)),
        Wrong("n11", addresses(CLIENT, PUBLIC, PUBLIC, PUBLIC, REMOTE, CLIENT, CLIENT, PUBLIC)),
        Wrong("n12", addresses(CLIENT, PUBLIC, PUBLIC, CLIENT, REMOTE, CLIENT, PUBLIC, PUBLIC)),
        Wrong("n1", addresses(CLIENT, PUBLIC, PUBLIC, PUBLIC, REMOTE, CLIENT, CLIENT, CLIENT)),
        Wrong("n13", addresses(CLIENT, PUBLIC, PUBLIC, CLIENT, PUBLIC, CLIENT, CLIENT, PUBLIC)),
    ),
)


# --- 08.2 read: how often is a rule asked? ------------------------------------------------------------------

answer_08_2 = {
    "a query": 1,
    "its answer": 1,
    "the same query again": 1,
    "a query from another port": 2,
    "a ping": 3,
    "the echo reply": 3,
    "a visit from outside to port 8080": 3,
    "the first query, to another server": 4,
}
ARRIVALS = {
    "a query": QUERY,
    "its answer": QUERY_ANSWER,
    "the same query again": QUERY,
    "a query from another port": ("eth0", Packet.udp(CLIENT, REMOTE, 5001, 53)),
    "a ping": ("eth0", Packet.icmp(CLIENT, REMOTE, id=7)),
    "the echo reply": ("eth1", Packet.icmp(REMOTE, PUBLIC, 0, id=7)),
    "a visit from outside to port 8080": VISIT,
    "the first query, to another server": ("eth0", Packet.udp(CLIENT, ELSEWHERE, 5000, 53)),
}


def until(row):
    """The journey of that packet, all before it having come; and the router afterwards."""
    machine = router()
    rows = list(ARRIVALS)
    return played(machine, *(ARRIVALS[one] for one in rows[: rows.index(row) + 1])), machine


def masqueraded(row):
    """What the rule has counted then."""
    _, machine = until(row)
    return machine.firewall.ruleset.tables["nat"].chains["POSTROUTING"].rules[0].counters.packets


def eight_arrivals(draw: Random):
    return [Probe(row, (row,), size=place) for place, row in enumerate(answer_08_2)]


def tell_count(probe, want, got):
    return f"After “{probe}” the counter is not {got.facts}. The packet's journey, and the entries afterwards:"


def counts(*values):
    """An answer to 08.2, row by row."""
    return dict(zip(answer_08_2, values, strict=True))


how_often = Exercise(
    id="08.2",
    title="how often is the rule asked?",
    kind=Kind.PREDICT,
    level=Level.CORE,
    points=2,
    expects=Table(dict.fromkeys(answer_08_2, Whole(0, 99))),
    reference=answer_08_2,
    probes=eight_arrivals,
    observe=looking_up(lambda row: Journey(*until(row))),
    tell=tell_count,
    sibling=lambda: Story(
        "A TCP connection with a thousand segments in each direction counts once in each chain of nat that its first "
        "segment comes by. The other 1,999 are translated by what the entry says.",
        Journey(*until("its answer")),
    ),
    right=(
        counts(1, 1, 1, 2, 3, 3, 3, 4),
        dict(reversed(answer_08_2.items())),
        {row: masqueraded(row) for row in answer_08_2},
    ),
    wrong=(
        Wrong("n2", counts(1, 1, 2, 3, 4, 4, 4, 5)),
        Wrong("n14", counts(1, 2, 3, 4, 5, 6, 6, 7)),
        Wrong("n15", counts(1, 1, 1, 1, 1, 1, 1, 1)),
        Wrong("n16", counts(1, 1, 1, 1, 2, 2, 2, 2)),
        Wrong("n17", counts(1, 1, 1, 2, 3, 3, 4, 5)),
        Wrong("n18", counts(1, 1, 1, 2, 3, 3, 3, 3)),
    ),
)


# --- 08.3 write: a home router ------------------------------------------------------------------------------

answer_08_3 = """*nat
:PREROUTING ACCEPT
:POSTROUTING ACCEPT
-A PREROUTING -i eth1 -p tcp --dport 8080 -j DNAT --to-destination 10.0.1.2:80
-A POSTROUTING -o eth1 -j MASQUERADE
COMMIT
*filter
:FORWARD DROP
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i eth0 -o eth1 -j ACCEPT
-A FORWARD -i eth1 -d 10.0.1.2 -p tcp --dport 80 -j ACCEPT
COMMIT
"""


def as_it_leaves(trace):
    """What becomes of the step's packet: where it leaves, and with which ends; or that it does not."""
    for event in trace.out:
        if event.number == 0:
            packet = event.packet
            source, target = ((packet.src, packet.sport), (packet.dst, packet.dport))
            return f"leaves by {event.dev} from {ended(*source)} to {ended(*target)}"
    return "is delivered to the router itself" if trace.delivered else "does not get through"


def ended(address, port):
    """An end of a flow in a few letters."""
    return address if port is None else f"{address}:{port}"


@lru_cache(5000)
def fate_under(rules, arrivals):
    """What becomes of the last of these packets."""
    return as_it_leaves(played(router(rules), *((dev, Packet.from_bytes(octets)) for dev, octets in arrivals)))


def meet_rules(rules, probe):
    """What becomes of a story's last packet, and its journey."""
    (story,) = probe.inputs

    def journey():
        machine = router(rules)
        return Journey(played(machine, *story), machine)

    return Seen(fate_under(rules, tuple((dev, packet.to_bytes()) for dev, packet in story)), journey)


def tell_rules(probe, want, got):
    words = str(probe)
    return f"{words[0].upper()}{words[1:]}: it should be one that {want.facts}. With your rules it {got.facts}."


def probes_of(stories):
    """A probe for each story; short stories come first."""
    return [
        Probe(words, (tuple(story),), size=10 * len(story) + place)
        for place, (words, story) in enumerate(stories.items())
    ]


def at_home(draw: Random):
    """Who goes out, who comes in, and who should not."""
    port = draw.randint(20000, 60000)
    query = ("eth0", Packet.udp(NEIGHBOUR, REMOTE, port, 53))
    return probes_of(
        {
            "a query from inside": [query],
            "a TCP connection from inside": [("eth0", Packet.tcp(CLIENT, REMOTE, port, 443))],
            "a visit from outside to port 8080": [("eth1", Packet.tcp(REMOTE, PUBLIC, port, 8080))],
            "a UDP packet from outside to port 8080": [("eth1", Packet.udp(REMOTE, PUBLIC, port, 8080))],
            "a connection from outside to the router's own port 22": [("eth1", Packet.tcp(REMOTE, PUBLIC, port, 22))],
            "a packet from outside straight to port 22 of 10.0.1.2": [("eth1", Packet.tcp(REMOTE, CLIENT, port, 22))],
            "a packet from outside straight to port 80 of 10.0.1.9": [
                ("eth1", Packet.tcp(REMOTE, NEIGHBOUR, port, 80))
            ],
            "the answer to a query": [query, ("eth1", Packet.udp(REMOTE, PUBLIC, 53, port))],
            "the answer of another server than was asked": [query, ("eth1", Packet.udp(ELSEWHERE, PUBLIC, 53, port))],
            "the answer to a visit": [
                ("eth1", Packet.tcp(REMOTE, PUBLIC, port, 8080)),
                ("eth0", Packet.tcp(CLIENT, REMOTE, 80, port, "SA", ack=1)),
            ],
            "a query from inside after the same one": [query, query],
        }
    )


def text(nat, forward, policy="DROP"):
    """Rules in two tables."""
    filtering = ["*filter", f":FORWARD {policy}", *(f"-A FORWARD {line}" for line in forward), "COMMIT", ""]
    return "\n".join(["*nat", *(f"-A {line}" for line in nat), "COMMIT", *filtering])


PUBLISH = "PREROUTING -i eth1 -p tcp --dport 8080 -j DNAT --to-destination 10.0.1.2:80"
HIDE = "POSTROUTING -o eth1 -j MASQUERADE"
KNOWN = "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
OUTWARD = "-i eth0 -j ACCEPT"
WELCOME = "-i eth1 -d 10.0.1.2 -p tcp --dport 80 -j ACCEPT"

home_router = Exercise(
    id="08.3",
    title="a home router",
    kind=Kind.WRITE,
    level=Level.CORE,
    points=4,
    expects=RulesText(),
    reference=answer_08_3,
    probes=at_home,
    observe=meet_rules,
    tell=tell_rules,
    sibling=lambda: Story(
        "Another service: UDP port 5353 of the router is published from port 53 of 10.0.1.9. -A PREROUTING -i eth1 -p "
        "udp --dport 5353 -j DNAT --to-destination 10.0.1.9:53, and in FORWARD the packet goes to 10.0.1.9, port 53.",
        played(
            router("*nat\n-A PREROUTING -i eth1 -p udp --dport 5353 -j DNAT --to-destination 10.0.1.9:53\nCOMMIT\n"),
            ("eth1", Packet.udp(REMOTE, PUBLIC, 4000, 5353)),
        ),
    ),
    right=(
        text([PUBLISH, "POSTROUTING -o eth1 -j SNAT --to-source 203.0.113.1"], [WELCOME, OUTWARD, KNOWN]),
        text(
            ["PREROUTING -d 203.0.113.1 -p tcp --dport 8080 -j DNAT --to-destination 10.0.1.2:80",
             "POSTROUTING -s 10.0.1.0/24 -o eth1 -j MASQUERADE"],
            ["-i eth0 -j ACCEPT", "-m conntrack --ctstate DNAT -j ACCEPT", KNOWN],
        ),
        text([PUBLISH, HIDE], [KNOWN, WELCOME, "-i eth1 -j DROP"], policy="ACCEPT"),
    ),
    wrong=(
        Wrong("n4", text([PUBLISH, HIDE], [KNOWN, OUTWARD, WELCOME.replace("-d 10.0.1.2 -p tcp --dport 80",
                                                                           "-p tcp --dport 8080")])),
        Wrong("n8", text([PUBLISH, HIDE], [], policy="ACCEPT")),
        Wrong("n19", text([PUBLISH, HIDE], [OUTWARD, WELCOME])),
        Wrong("n20", text([PUBLISH.replace(":80", ""), HIDE], [KNOWN, OUTWARD, WELCOME.replace("80", "8080")])),
        Wrong("n21", text([PUBLISH, "POSTROUTING -j MASQUERADE"], [KNOWN, OUTWARD, WELCOME])),
        Wrong("n22", text([PUBLISH], [KNOWN, OUTWARD, WELCOME])),
        Wrong("n23", text(["PREROUTING -i eth1 -j DNAT --to-destination 10.0.1.2", HIDE], [KNOWN, OUTWARD, WELCOME])),
    ),
)  # fmt: skip


# --- 08.4 debug: from inside it does not work ---------------------------------------------------------------

answer_08_4 = """*nat
:PREROUTING ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
-A PREROUTING -d 203.0.113.1 -p tcp --dport 8080 -j DNAT --to-destination 10.0.1.2:80
-A OUTPUT -d 203.0.113.1 -p tcp --dport 8080 -j DNAT --to-destination 10.0.1.2:80
-A POSTROUTING -s 10.0.1.0/24 -d 10.0.1.2 -p tcp --dport 80 -j MASQUERADE
-A POSTROUTING -o eth1 -j MASQUERADE
COMMIT
"""


def callers(draw: Random):
    """Who calls the published service: from outside, from inside, from the router itself."""
    port = draw.randint(20000, 60000)
    inside = ("eth0", Packet.tcp(NEIGHBOUR, PUBLIC, port, 8080))
    outside = ("eth1", Packet.tcp(REMOTE, PUBLIC, port, 8080))
    return probes_of(
        {
            "a visit from outside": [outside],
            "a visit of the neighbour 10.0.1.9, inside": [inside],
            "a visit of a program on the router itself": [(None, Packet.tcp(PUBLIC, PUBLIC, port, 8080))],
            "a query from inside to the rest of the world": [("eth0", Packet.udp(NEIGHBOUR, REMOTE, port, 53))],
            "the neighbour's packet to port 22 of the router": [("eth0", Packet.tcp(NEIGHBOUR, PUBLIC, port, 22))],
            "the server's answer to the neighbour's visit": [
                inside, ("eth0", Packet.tcp(CLIENT, INSIDE, 80, port, "SA", ack=1)),
            ],
            "the server's answer to a visit from outside": [
                outside, ("eth0", Packet.tcp(CLIENT, REMOTE, 80, port, "SA", ack=1)),
            ],
        }
    )  # fmt: skip


def nat(*lines):
    """The text of a nat table."""
    return "\n".join(["*nat", *(f"-A {line}" for line in lines), "COMMIT", ""])


FOR_ALL = "PREROUTING -d 203.0.113.1 -p tcp --dport 8080 -j DNAT --to-destination 10.0.1.2:80"
OWN = FOR_ALL.replace("PREROUTING", "OUTPUT")
TURN = "POSTROUTING -s 10.0.1.0/24 -d 10.0.1.2 -p tcp --dport 80 -j MASQUERADE"

hairpin = Exercise(
    id="08.4",
    title="from inside it does not work",
    kind=Kind.DEBUG,
    level=Level.CORE,
    points=3,
    expects=RulesText(),
    reference=answer_08_4,
    probes=callers,
    observe=meet_rules,
    tell=tell_rules,
    sibling=lambda: Story(
        "The same with a name server: 10.0.1.9 asks 203.0.113.1, UDP port 53, and DNAT sends it to 10.0.1.2. That one "
        "sees the source 10.0.1.9, its neighbour, and answers directly; but 10.0.1.9 has never asked 10.0.1.2.",
        played(
            router("*nat\n-A PREROUTING -p udp --dport 53 -j DNAT --to-destination 10.0.1.2\nCOMMIT\n"),
            ("eth0", Packet.udp(NEIGHBOUR, PUBLIC, 4000, 53)),
        ),
    ),
    right=(
        nat(FOR_ALL, OWN, TURN, HIDE),
        nat(HIDE, FOR_ALL, OWN, "POSTROUTING -s 10.0.1.0/24 -o eth0 -p tcp --dport 80 -j SNAT --to-source 10.0.1.1"),
        nat(
            "PREROUTING -p tcp --dport 8080 -j publish", "OUTPUT -p tcp --dport 8080 -j publish",
            "publish -d 203.0.113.1 -p tcp -j DNAT --to-destination 10.0.1.2:80", TURN, HIDE,
        ).replace("*nat\n", "*nat\n:publish -\n"),
    ),
    wrong=(
        Wrong("n7", nat(FOR_ALL, OWN, HIDE)),
        Wrong("n6", nat(FOR_ALL, TURN, HIDE)),
        Wrong("n21", nat(FOR_ALL, OWN, "POSTROUTING -d 10.0.1.2 -j MASQUERADE", HIDE)),
        Wrong("n24", nat(PUBLISH, OWN, TURN, HIDE)),
        Wrong("n22", nat(FOR_ALL, OWN, TURN)),
        Wrong("n9", nat(*(line.replace("10.0.1.2:80", "127.0.0.1:80") for line in (FOR_ALL, OWN)), TURN, HIDE)),
    ),
)  # fmt: skip


# --- 08.5 code: the tuple of the answer, translated ---------------------------------------------------------


def answer_08_5(src, dst, snat, dnat):
    """The answer's two ends, (from, to), where `src` and `dst` are those of a flow's first packet.

    An end is (address, port). `snat` and `dnat` are the ends that NAT puts in the place of `src` and `dst`, or None.
    """
    return dnat or dst, snat or src


class TwoEnds:
    """Two pairs of address and port."""

    def read(self, value):
        """The two ends (see `Shape.read`)."""
        if value is ...:
            raise Blank("it")
        if type(value) not in (list, tuple) or len(value) != 2 or not all(map(self._is_end, value)):
            raise Misfit(f"{describe(value)} is not {self}")
        return tuple(map(tuple, value))

    @staticmethod
    def _is_end(end):
        return type(end) in (list, tuple) and [type(part) for part in end] == [str, int]

    def __str__(self):
        return "two ends, each (address, port)"


def translations(draw: Random):
    """With and without either translation, of drawn ends."""
    found = []
    for size, (source, target) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1), (1, 1), (0, 1), (1, 0)]):
        src = f"10.0.1.{draw.randint(2, 250)}", draw.randint(1024, 9999)
        dst = f"198.51.100.{draw.randint(2, 250)}", draw.choice((53, 80, 443))
        snat = ("203.0.113.1", draw.randint(20000, 60000)) if source else None
        dnat = (f"198.51.100.{draw.randint(2, 250)}", draw.randint(8000, 9000)) if target else None
        found.append(Probe(f"from {src} to {dst}, snat {snat}, dnat {dnat}", (src, dst, snat, dnat), size))
    return found


def with_rules(src, dst, snat, dnat):
    """What a router with such rules makes of the first packet."""
    lines = [f"PREROUTING -p udp -j DNAT --to-destination {dnat[0]}:{dnat[1]}"] if dnat else []
    lines += [f"POSTROUTING -p udp -j SNAT --to-source {snat[0]}:{snat[1]}"] if snat else []
    machine = router(nat(*lines, "POSTROUTING -p icmp -j MASQUERADE"))
    return Journey(machine.receive("eth0", Packet.udp(src[0], dst[0], src[1], dst[1])), machine)


def by_conditions(src, dst, snat, dnat):
    source = dst if dnat is None else dnat
    target = src if snat is None else snat
    return [source, target]


def by_translating_first(src, dst, snat, dnat):
    if snat:
        src = snat
    if dnat:
        dst = dnat
    return (dst, src)


def by_lists(src, dst, snat, dnat):
    return tuple(new or old for new, old in ((dnat, dst), (snat, src)))


def mirrored(src, dst, snat, dnat):
    return dst, src


def not_turned(src, dst, snat, dnat):
    return snat or src, dnat or dst


def only_dnat(src, dst, snat, dnat):
    return dnat or dst, src


def only_snat(src, dst, snat, dnat):
    return dst, snat or src


def crossed(src, dst, snat, dnat):
    return snat or dst, dnat or src


def ports_stay(src, dst, snat, dnat):
    return ((dnat or dst)[0], dst[1]), ((snat or src)[0], src[1])


translated_answer = Exercise(
    id="08.5",
    title="the answer's two ends",
    kind=Kind.CODE,
    level=Level.STRETCH,
    points=2,
    expects=Function("src", "dst", "snat", "dnat"),
    reference=answer_08_5,
    probes=translations,
    observe=calling(TwoEnds(), with_rules),
    sibling=lambda: Story(
        "10.0.1.9, port 5000, asks 198.51.100.9, port 53, and SNAT makes it 203.0.113.1, port 5000. Whoever answers "
        "answers what it has seen: read the second half of the entry.",
        with_rules((NEIGHBOUR, 5000), (REMOTE, 53), (PUBLIC, 5000), None),
    ),
    right=(by_conditions, by_translating_first, by_lists),
    wrong=(
        Wrong("n26", mirrored),
        Wrong("n27", not_turned),
        Wrong("n28", only_dnat),
        Wrong("n29", only_snat),
        Wrong("n30", crossed),
        Wrong("n31", ports_stay),
    ),
)

# --- 08.6 predict: rules come and go ------------------------------------------------------------------------

answer_08_6 = {
    "1: 10.0.1.2:5000 asks 198.51.100.9": "203.0.113.1:5000",
    "2: 10.0.1.3:5000 asks 198.51.100.53": "203.0.113.1:5000",
    "3: 10.0.1.4:5000 asks 198.51.100.9": "203.0.113.1, another port",
    # iptables -t nat -F
    "4: 10.0.1.2:5000 asks 198.51.100.9": "203.0.113.1:5000",
    "5: 10.0.1.4:5000 asks 198.51.100.9": "203.0.113.1, another port",
    "6: 10.0.1.2:5001 asks 198.51.100.9": "10.0.1.2:5001",
    # iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE
    "7: 10.0.1.2:5001 asks 198.51.100.9": "10.0.1.2:5001",
    # conntrack -F
    "8: 10.0.1.2:5001 asks 198.51.100.9": "203.0.113.1:5001",
    "9: 10.0.1.4:5000 asks 198.51.100.9": "203.0.113.1:5000",
    "10: 10.0.1.2:5000 asks 198.51.100.9": "203.0.113.1, another port",
}
COMMANDS = {4: "iptables -t nat -F", 7: "iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE", 8: "conntrack -F"}
"""What is run before the query of that number."""

# The filter's rule about flows keeps conntrack on when nat has no rules; without one -F would switch it off.
GUARDED = text([HIDE], [KNOWN, OUTWARD])
KEPT, KEPT_NEXT, CHANGED = "203.0.113.1:5000", "203.0.113.1:5001", "203.0.113.1, another port"
UNCHANGED = "10.0.1.2:5001"
SOURCES = ("10.0.1.2:5000", UNCHANGED, "10.0.1.3:5000", "10.0.1.4:5000", KEPT, KEPT_NEXT, CHANGED)


def asked(row):
    """The query that a row of 08.6 is about."""
    _, client, _, server = row.split()
    address, port = client.split(":")
    return Packet.udp(address, server, int(port), 53)


def as_it_went(row):
    """The journey of that query, after all queries and commands before it; and the router afterwards."""
    machine = router(GUARDED)
    rows = list(answer_08_6)
    for number, one in enumerate(rows[: rows.index(row) + 1], 1):
        if number in COMMANDS:
            run_command(machine, COMMANDS[number])
        trace = machine.receive("eth0", asked(one))
    return trace, machine


def source_outside(row):
    """The source with which that query leaves by eth1, in the words of an answer."""
    trace, _ = as_it_went(row)
    sent = trace.out[0].packet
    return ended(sent.src, sent.sport) if sent.sport == asked(row).sport else f"{sent.src}, another port"


def ten_queries(draw: Random):
    return [Probe(row, (row,), size=place) for place, row in enumerate(answer_08_6)]


def tell_source(probe, want, got):
    said = "does leave" if got.facts is None else f"does not leave as {got.facts}"
    return f"“{probe}” {said}. The packet's journey, and the entries afterwards:"


def with_sources(sources):
    """The answer to 08.6, with other sources in the rows of these numbers."""
    return {row: sources.get(number, right) for number, (row, right) in enumerate(answer_08_6.items(), 1)}


def after_a_deleted_rule():
    """Two pings with an id of their own, one begun before the rule was deleted and one after it."""
    machine = router(GUARDED)
    pings = [("eth0", Packet.icmp(NEIGHBOUR, REMOTE, id=number)) for number in (7, 8)]
    played(machine, pings[0])
    run_command(machine, f"iptables -t nat -D {HIDE}")
    return Journey(played(machine, *pings), machine)


come_and_go = Exercise(
    id="08.6",
    title="rules come and go",
    kind=Kind.PREDICT,
    level=Level.STRETCH,
    points=2,
    expects=Table(dict.fromkeys(answer_08_6, Maybe(OneOf(*SOURCES)))),
    reference=answer_08_6,
    probes=ten_queries,
    observe=looking_up(lambda row: Journey(*as_it_went(row))),
    tell=tell_source,
    sibling=lambda: Story(
        "10.0.1.9 pings with id 7, and keeps it: nobody else waits for these replies. Then the rule is deleted. The "
        "next ping with id 7 leaves as 203.0.113.1, as its entry says. One with id 8 begins a flow, asks the rules, "
        "finds none, and leaves as 10.0.1.9. Its entry says that, too:",
        after_a_deleted_rule(),
    ),
    right=(
        dict(
            zip(
                answer_08_6,
                [KEPT, KEPT, CHANGED, KEPT, CHANGED, UNCHANGED, UNCHANGED, KEPT_NEXT, KEPT, CHANGED],
                strict=True,
            )
        ),
        dict(reversed(answer_08_6.items())),
        {row: source_outside(row) for row in answer_08_6},
    ),
    wrong=(
        Wrong("n5", with_sources(dict.fromkeys((1, 2, 4, 8, 9), CHANGED))),
        Wrong("n3", with_sources({4: "10.0.1.2:5000", 5: "10.0.1.4:5000"})),
        Wrong("n3", with_sources({4: None, 5: None, 6: None, 7: KEPT_NEXT})),
        Wrong("n2", with_sources({4: "10.0.1.2:5000", 5: "10.0.1.4:5000", 7: KEPT_NEXT})),
        Wrong("n15", with_sources({6: KEPT_NEXT, 7: KEPT_NEXT})),
        Wrong("n32", with_sources({7: KEPT_NEXT})),
        Wrong("n33", with_sources({2: CHANGED})),
        Wrong("n34", with_sources(dict.fromkeys((3, 5, 10), KEPT))),
        Wrong("n35", with_sources({8: UNCHANGED, 9: CHANGED, 10: KEPT})),
        Wrong("n36", with_sources({9: CHANGED, 10: KEPT})),
        Wrong("n37", with_sources({6: None, 7: KEPT_NEXT})),
    ),
)

EXERCISES = [seen_where, how_often, home_router, hairpin, translated_answer, come_and_go]
