"""The exercises of lab 05: which rule decides, what counters say, and rules that do what was asked."""

from functools import lru_cache
from random import Random

from netlab.addresses import format_address, parse_address
from netlab.grading import (
    Exercise,
    Function,
    Kind,
    Level,
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
from netlab.grading.rules import RulesText
from netlab.grading.shapes import Blank, Misfit, describe
from netlab.host import Host
from netlab.iptables.command import command
from netlab.names import NetlabError
from netlab.packet import Packet
from netlab.trace import Ruled

OFFICE, SPECIAL, GUEST = "10.0.1.2", "10.0.1.66", "10.0.1.70"
SERVER, OTHER = "10.0.2.2", "10.0.2.251"
ROUTER = "10.0.1.1"


def router(rules="", **options):
    """The labs' router, between 10.0.1.0/24 (eth0) and 10.0.2.0/24 (eth1), with these rules."""
    return Host(
        "router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, listen=["tcp/22"], iptables=rules,
        sysctls={"net.ipv4.ip_forward": 1, "net.ipv4.icmp_ratelimit": 0}, **options,
    )  # fmt: skip


def decided(trace, table="filter"):
    """Where a rule, or a policy, of the table has decided about the step's packet: `web 2`, `policy`."""
    last = [event for event in trace.events if isinstance(event, Ruled) and event.number == 0 and event.table == table]
    return f"{last[-1].chain} {last[-1].rule}" if last[-1].rule else "policy"


def fate(trace):
    """What became of the step's packet."""
    if any(event.number == 0 for event in trace.out + trace.delivered):
        return "gets through"
    told = any(event.number for event in trace.out)
    return "is refused, and its sender is told" if told else "is dropped without a word"


# --- 05.1 predict: which rule decides? ----------------------------------------------------------------------

RULES = """*filter
:FORWARD DROP
:guests -
:web -
-A FORWARD -s 10.0.1.64/26 -j guests
-A FORWARD -p tcp -j web
-A FORWARD -s 10.0.1.0/24 -p icmp -j ACCEPT
-A FORWARD -s 10.0.1.66 -j ACCEPT
-A guests -p tcp --dport 22 -j DROP
-A guests -p udp -j RETURN
-A guests -p icmp -j DROP
-A web -p tcp --dport 80 -j ACCEPT
-A web -p tcp --dport 443 -j ACCEPT
-A web -s 10.0.1.64/26 -j DROP
COMMIT
"""

answer_05_1 = {
    "10.0.1.2 to tcp port 80": "web 1",
    "10.0.1.2 to tcp port 22": "policy",
    "10.0.1.2 pings": "FORWARD 3",
    "10.0.1.70 to tcp port 80": "web 1",
    "10.0.1.70 to udp port 53": "policy",
    "10.0.1.66 to udp port 53": "FORWARD 4",
    "10.0.1.66 to tcp port 22": "guests 1",
    "10.0.1.66 to tcp port 25": "web 3",
    "10.0.1.66 pings": "guests 3",
}
PLACES = ("FORWARD 1", "FORWARD 2", "FORWARD 3", "FORWARD 4", "guests 1", "guests 2", "guests 3", "web 1", "web 2",
          "web 3", "policy")  # fmt: skip


def packet_of(row):
    """The packet that a row of 05.1 is about, to the server."""
    source, *_ = row.split()
    if "pings" in row:
        return Packet.icmp(source, SERVER, id=1)
    make = Packet.tcp if "tcp" in row else Packet.udp
    return make(source, SERVER, 4000, int(row.rpartition(" ")[2]))


def walk(row):
    """The journey of a row's packet."""
    return router(RULES).receive("eth0", packet_of(row))


def nine_packets(draw: Random):
    return [Probe(row, (row,), size=place) for place, row in enumerate(answer_05_1)]


def tell_place(probe, want, got):
    return f"{probe}: it is not {got.facts} that decides. The packet's journey, with each rule that means it:"


def decides(*places):
    """An answer to 05.1, row by row."""
    return dict(zip(answer_05_1, places, strict=True))


F1, F2, F3, F4, POLICY = "FORWARD 1", "FORWARD 2", "FORWARD 3", "FORWARD 4", "policy"

which_rule = Exercise(
    id="05.1",
    title="which rule decides?",
    kind=Kind.PREDICT,
    level=Level.CORE,
    points=2,
    expects=Table(dict.fromkeys(answer_05_1, OneOf(*PLACES))),
    reference=answer_05_1,
    probes=nine_packets,
    observe=looking_up(walk),
    tell=tell_place,
    sibling=lambda: Story(
        "10.0.1.70 to tcp port 443: FORWARD 1 jumps to guests. No rule there means the packet, so at the end of guests "
        "the walk goes on behind FORWARD 1. FORWARD 2 jumps to web, where rule 2 accepts.",
        walk("10.0.1.70 to tcp port 443"),
    ),
    right=(
        decides("web 1", POLICY, F3, "web 1", POLICY, F4, "guests 1", "web 3", "guests 3"),
        dict(reversed(answer_05_1.items())),
        answer_05_1 | {"10.0.1.2 pings": "FORWARD 3"},
    ),
    wrong=(
        Wrong("i1", decides("web 1", POLICY, F3, "web 1", POLICY, F4, F4, F4, F4)),
        Wrong("i2", decides("web 1", POLICY, F3, "web 1", POLICY, POLICY, "guests 1", "web 3", "guests 3")),
        Wrong("i5", decides("web 1", POLICY, F3, POLICY, POLICY, F4, "guests 1", POLICY, "guests 3")),
        Wrong("i6", decides("web 1", POLICY, F3, "web 3", POLICY, F4, F4, F4, F4)),
        Wrong("i7", decides("web 1", POLICY, F3, "web 1", "guests 2", "guests 2", "guests 1", "web 3", "guests 3")),
        Wrong("i8", decides(F2, F2, F3, F1, F1, F1, F1, F1, F1)),
    ),
)


# --- 05.2 read: what counters say ---------------------------------------------------------------------------

COUNTED = """*filter
:FORWARD DROP
:web -
-A FORWARD -p udp --dport 53 -j ACCEPT
-A FORWARD -p tcp -j web
-A FORWARD -p icmp
-A web -p tcp --dport 80 -j ACCEPT
-A web -p tcp --dport 22 -j LOG
-A web -s 10.0.1.9 -j DROP
COMMIT
"""
QUESTIONS = (
    "packets that entered FORWARD",
    "packets that were let through",
    "TCP packets that came back from web undecided",
    "pings that were dropped",
    "packets that were dropped in all",
)


def draw_counters(draw: Random):
    """Some of every kind of packet, as a router has counted them."""
    dns, http, ssh, bad, other, pings, lost = draw.sample(range(11, 60), 7)
    machine = router(COUNTED)
    machine.wires.recording = False
    kinds = [
        (dns, Packet.udp(OFFICE, SERVER, 5000, 53)),
        (http, Packet.tcp(OFFICE, SERVER, 5000, 80)),
        (ssh, Packet.tcp(OFFICE, SERVER, 5000, 22)),
        (bad, Packet.tcp("10.0.1.9", SERVER, 5000, 25)),
        (other, Packet.tcp(OFFICE, SERVER, 5000, 25)),
        (pings, Packet.icmp(OFFICE, SERVER, id=1)),
        (lost, Packet.udp(OFFICE, SERVER, 5000, 54)),
    ]
    for number, packet in kinds:
        for _ in range(number):
            machine.receive("eth0", packet)
    return read_counters(machine.firewall.save(counters=True, table="filter"), *(number for number, _ in kinds))


def read_counters(saved, dns, http, ssh, bad, other, pings, lost):
    """The exercise for a router that has met so many packets of each kind."""
    tcp, policy = http + ssh + bad + other, ssh + other + pings + lost
    lines = [line for line in saved.split("\n") if "FORWARD" in line or "web" in line]

    def answered(*numbers):
        return dict(zip(QUESTIONS, numbers, strict=True))

    def tell(probe, want, got):
        return f"“{probe}” are not {got.facts}. These are the counters once more:"

    entered = [dns + tcp + pings + lost]
    reference = answered(*entered, dns + http, ssh + other, pings, policy + bad)
    return Exercise(
        id="05.2",
        title="what the counters say",
        kind=Kind.READ,
        level=Level.CORE,
        points=3,
        expects=Table(dict.fromkeys(QUESTIONS, Whole(0, 100_000))),
        reference=reference,
        material=Sheet("iptables-save -c", ("line", "text"), list(enumerate(lines, 1))),
        probes=lambda draw: [Probe(row, (row,), size=place) for place, row in enumerate(QUESTIONS)],
        observe=looking_up(lambda row: saved),
        tell=tell,
        sibling=lambda: Story(
            "Of a chain with the policy ACCEPT [7:420] and the one rule [3:180] -p icmp -j DROP you know: ten packets "
            "have entered it, three of them ended at the rule, seven have come to the policy.",
            "[3:180] -A FORWARD -p icmp -j DROP",
        ),
        right=(dict(reference), dict(reversed(reference.items())), {row: reference[row] for row in sorted(reference)}),
        wrong=(
            Wrong("i9", reference | {QUESTIONS[0]: dns + tcp + pings + http + ssh + bad + policy}),
            Wrong("i10", reference | {QUESTIONS[2]: other, QUESTIONS[4]: policy + bad + ssh}),
            Wrong("i11", reference | {QUESTIONS[0]: policy}),
            Wrong("i12", answered(*entered, dns + http + pings, ssh + other, 0, policy + bad - pings)),
            Wrong("i13", reference | {QUESTIONS[1]: dns + http + ssh + other}),
            Wrong("i14", reference | {QUESTIONS[4]: policy}),
        ),
    )  # fmt: skip


# --- 05.3 write: rules for a policy -------------------------------------------------------------------------

answer_05_3 = """*filter
:FORWARD DROP
-A FORWARD -i eth0 -s 10.0.1.64/26 -p tcp --dport 443 -j DROP
-A FORWARD -i eth0 -p tcp -m multiport --dports 80,443 -j ACCEPT
-A FORWARD -i eth0 -p icmp --icmp-type echo-request -j ACCEPT
-A FORWARD -i eth1 -p tcp -m multiport --sports 80,443 ! --syn -j ACCEPT
-A FORWARD -i eth1 -p icmp --icmp-type echo-reply -j ACCEPT
COMMIT
"""


def arrivals(draw: Random):
    """Packets of every sentence of the policy, just inside and just outside of it; then some at random."""
    port = draw.randint(20000, 60000)
    named = {
        "a SYN from 10.0.1.2 to port 80": ("eth0", Packet.tcp(OFFICE, SERVER, port, 80, "S")),
        "a SYN from 10.0.1.2 to port 443": ("eth0", Packet.tcp(OFFICE, SERVER, port, 443, "S")),
        "a SYN from the guest 10.0.1.70 to port 80": ("eth0", Packet.tcp(GUEST, SERVER, port, 80, "S")),
        "a SYN from the guest 10.0.1.70 to port 443": ("eth0", Packet.tcp(GUEST, SERVER, port, 443, "S")),
        "a SYN from 10.0.1.63, no guest, to port 443": ("eth0", Packet.tcp("10.0.1.63", SERVER, port, 443, "S")),
        "a SYN from the guest 10.0.1.127 to port 443": ("eth0", Packet.tcp("10.0.1.127", SERVER, port, 443, "S")),
        "a SYN from 10.0.1.128, no guest, to port 443": ("eth0", Packet.tcp("10.0.1.128", SERVER, port, 443, "S")),
        "a SYN from 10.0.1.2 to port 22": ("eth0", Packet.tcp(OFFICE, SERVER, port, 22, "S")),
        "a UDP packet from 10.0.1.2 to port 80": ("eth0", Packet.udp(OFFICE, SERVER, port, 80)),
        "a UDP packet from 10.0.1.2 to port 443": ("eth0", Packet.udp(OFFICE, SERVER, port, 443)),
        "a ping from 10.0.1.2": ("eth0", Packet.icmp(OFFICE, SERVER, id=7)),
        "a ping from the guest 10.0.1.70": ("eth0", Packet.icmp(GUEST, SERVER, id=7)),
        "an echo reply from 10.0.1.2": ("eth0", Packet.icmp(OFFICE, SERVER, 0, id=7)),
        "an ICMP error from 10.0.1.2": ("eth0", Packet.icmp(OFFICE, SERVER, 3, 3)),
        "a SYN-ACK from the server's port 80": ("eth1", Packet.tcp(SERVER, OFFICE, 80, port, "SA", ack=1)),
        "a segment with ACK from the server's port 443": ("eth1", Packet.tcp(SERVER, OFFICE, 443, port, "A", ack=1)),
        "a SYN from the server's port 80": ("eth1", Packet.tcp(SERVER, OFFICE, 80, port, "S")),
        "a SYN from the server's port 443 to port 22": ("eth1", Packet.tcp(SERVER, OFFICE, 443, 22, "S")),
        "a SYN from the server to port 80": ("eth1", Packet.tcp(SERVER, OFFICE, port, 80, "S")),
        "a segment with ACK from the server's port 22": ("eth1", Packet.tcp(SERVER, OFFICE, 22, port, "A", ack=1)),
        "a UDP packet from the server's port 80": ("eth1", Packet.udp(SERVER, OFFICE, 80, port)),
        "an echo reply from the server": ("eth1", Packet.icmp(SERVER, OFFICE, 0, id=7)),
        "a ping from the server": ("eth1", Packet.icmp(SERVER, OFFICE, id=7)),
        "a SYN from 10.0.1.2 to the router's own port 22": ("eth0", Packet.tcp(OFFICE, ROUTER, port, 22, "S")),
    }  # fmt: skip
    probes = [Probe(words, arrival, size=place) for place, (words, arrival) in enumerate(named.items())]
    for number in range(12):
        inside, outside = f"10.0.1.{draw.randint(2, 254)}", f"10.0.2.{draw.randint(2, 254)}"
        ports = [draw.choice((80, 443, 22, 53, port)), draw.choice((80, 443, 22, 53, port))]
        dev, ends = draw.choice((("eth0", (inside, outside)), ("eth1", (outside, inside))))
        packet = draw.choice(
            [
                Packet.tcp(*ends, *ports, draw.choice(("S", "SA", "A", "R"))),
                Packet.udp(*ends, *ports),
                Packet.icmp(*ends, draw.choice((0, 8, 13)), id=7),
            ]
        )
        probes.append(Probe(f"{packet} by {dev}", (dev, packet), size=100 + number))
    return probes


@lru_cache(5000)
def fate_under(rules, dev, octets):
    """What becomes of a packet that meets these rules on a router that has met no other."""
    return fate(router(rules).receive(dev, Packet.from_bytes(octets)))


def meet_rules(rules, probe):
    """What becomes of a packet, and its journey."""
    dev, packet = probe.inputs
    return Seen(fate_under(rules, dev, packet.to_bytes()), lambda: router(rules).receive(dev, packet))


def tell_rules(probe, want, got):
    words = str(probe)
    return f"{words[0].upper()}{words[1:]}: it should be one that {want.facts}. With your rules it {got.facts}."


def rules(*lines, policy="DROP", chain="FORWARD"):
    """The text of a filter table."""
    return "\n".join(["*filter", f":{chain} {policy}", *(f"-A {line}" for line in lines), "COMMIT", ""])


GUESTS_443 = "FORWARD -i eth0 -s 10.0.1.64/26 -p tcp --dport 443 -j DROP"
WEB = "FORWARD -i eth0 -p tcp -m multiport --dports 80,443 -j ACCEPT"
PING = "FORWARD -i eth0 -p icmp --icmp-type 8 -j ACCEPT"
WEB_BACK = "FORWARD -i eth1 -p tcp -m multiport --sports 80,443 ! --syn -j ACCEPT"
PING_BACK = "FORWARD -i eth1 -p icmp --icmp-type 0 -j ACCEPT"

written = Exercise(
    id="05.3",
    title="rules for a policy",
    kind=Kind.WRITE,
    level=Level.CORE,
    points=4,
    expects=RulesText(),
    reference=answer_05_3,
    probes=arrivals,
    observe=meet_rules,
    tell=tell_rules,
    sibling=lambda: Story(
        "A smaller policy: from eth1 nobody may reach port 22, not even answers come back from it, all else is free. "
        "One rule is enough where the policy is ACCEPT: -A FORWARD -i eth1 -p tcp --dport 22 -j DROP.",
        router(rules("FORWARD -i eth1 -p tcp --dport 22 -j DROP", policy="ACCEPT")).receive(
            "eth1", Packet.tcp(SERVER, OFFICE, 4000, 22)
        ),
    ),
    right=(
        rules(GUESTS_443, PING, PING_BACK, WEB_BACK, WEB),
        "*filter\n:FORWARD DROP\n:out -\n:back -\n:web -\n-A FORWARD -i eth0 -j out\n-A FORWARD -o eth0 -j back\n"
        "-A out -p tcp -g web\n-A out -p icmp -m icmp --icmp-type echo-request -j ACCEPT\n"
        "-A web -p tcp --dport 80 -j ACCEPT\n-A web -s 10.0.1.64/26 -j RETURN\n-A web -p tcp --dport 443 -j ACCEPT\n"
        "-A back -p tcp --syn -j RETURN\n-A back -p tcp --sport 80 -j ACCEPT\n-A back -p tcp --sport 443 -j ACCEPT\n"
        "-A back -p icmp --icmp-type echo-reply -j ACCEPT\nCOMMIT\n",
        rules(
            "FORWARD -o eth1 -p tcp --dport 80 -j ACCEPT",
            "FORWARD -o eth1 ! -s 10.0.1.64/26 -p tcp --dport 443 -j ACCEPT",
            PING,
            "FORWARD -o eth0 -p tcp --syn -j DROP",
            "FORWARD -o eth0 -p tcp -m multiport --sports 80,443 -j ACCEPT",
            PING_BACK,
            "FORWARD -j DROP",
            policy="ACCEPT",
        ),
    ),
    wrong=(
        Wrong("i15", rules(WEB, GUESTS_443, PING, WEB_BACK, PING_BACK)),
        Wrong("i4", rules(*(line.replace("FORWARD", "INPUT") for line in (GUESTS_443, WEB, PING, WEB_BACK, PING_BACK)),
                          chain="INPUT")),
        Wrong("i16", rules(GUESTS_443, WEB, PING, WEB_BACK.replace("! --syn ", ""), PING_BACK)),
        Wrong("i17", rules(GUESTS_443, WEB, PING)),
        Wrong("i18", rules(GUESTS_443, WEB, PING, WEB_BACK, PING_BACK, policy="ACCEPT")),
        Wrong("i19", rules(GUESTS_443, WEB, PING, WEB_BACK, PING_BACK, "FORWARD -j REJECT")),
        Wrong("i20", rules(GUESTS_443, WEB, "FORWARD -p icmp -j ACCEPT", WEB_BACK)),
        Wrong("i21", rules(GUESTS_443, "FORWARD -i eth0 -p tcp -m multiport --sports 80,443 -j ACCEPT", PING, PING_BACK,
                           "FORWARD -i eth1 -p tcp -m multiport --dports 80,443 ! --syn -j ACCEPT")),
    ),
)  # fmt: skip


# --- 05.4 debug: locked out ---------------------------------------------------------------------------------

answer_05_4 = {
    "iptables -A INPUT -p tcp --dport 22 -j ACCEPT": "in",
    "iptables -P INPUT DROP": "in",
    "iptables -A INPUT -s 10.0.1.0/24 -j DROP": "in",
    "iptables -I INPUT -p tcp -j DROP": "out",
    "iptables -D INPUT 1": "in",
    "iptables -F INPUT": "out",
    "iptables -A FORWARD -p tcp --dport 22 -j ACCEPT": "out",
    "iptables -P INPUT ACCEPT": "in",
}
IN, OUT = "in", "out"


class AfterCommand:
    """A packet's journey, and the rules that it met."""

    def __init__(self, last):
        machine = router()
        for line in answer_05_4:
            assert not command(machine.firewall, line).status
            if line == last:
                break
        self.listed = command(machine.firewall, "iptables -S INPUT")
        self.trace = machine.receive("eth0", Packet.tcp(OFFICE, ROUTER, 5000, 22))

    def __str__(self):
        return f"{self.listed}\n{self.trace}"

    def _repr_html_(self):
        return f"<pre>{self.listed}</pre>{self.trace._repr_html_()}"


def eight_commands(draw: Random):
    return [Probe(line, (line,), size=place) for place, line in enumerate(answer_05_4)]


def tell_lock(probe, want, got):
    return f"After “{probe}” she is not {got.facts}. The rules at that moment, and what becomes of her packet:"


def locked(*values):
    """An answer to 05.4, row by row: 1 for in."""
    return dict(zip(answer_05_4, (IN if value else OUT for value in values), strict=True))


locked_out = Exercise(
    id="05.4",
    title="locked out",
    kind=Kind.DEBUG,
    level=Level.CORE,
    points=2,
    expects=Table(dict.fromkeys(answer_05_4, OneOf(IN, OUT))),
    reference=answer_05_4,
    probes=eight_commands,
    observe=looking_up(AfterCommand),
    tell=tell_lock,
    sibling=lambda: Story(
        "Somebody types -A OUTPUT -p tcp --sport 22 -j DROP: her packets still come in, but no answer goes out any "
        "more. For her that is the same as being locked out, though INPUT has not changed.",
        router("*filter\n:OUTPUT ACCEPT\n-A OUTPUT -p tcp --sport 22 -j DROP\nCOMMIT\n").receive(
            "eth0", Packet.tcp(OFFICE, ROUTER, 5000, 22)
        ),
    ),
    right=(
        locked(1, 1, 1, 0, 1, 0, 0, 1),
        dict(reversed(answer_05_4.items())),
        dict.fromkeys(answer_05_4, IN)
        | {line: OUT for line in answer_05_4 if line.split()[1] in ("-I", "-F") or "FORWARD" in line},
    ),
    wrong=(
        Wrong("i3", locked(1, 1, 1, 0, 1, 1, 1, 1)),
        Wrong("i6", locked(1, 1, 0, 0, 0, 0, 0, 1)),
        Wrong("i22", locked(1, 1, 1, 1, 0, 0, 0, 1)),
        Wrong("i23", locked(1, 0, 0, 0, 0, 0, 0, 1)),
        Wrong("i24", locked(1, 1, 1, 0, 0, 0, 0, 1)),
        Wrong("i25", locked(1, 1, 1, 0, 1, 0, 1, 1)),
    ),
)


# --- 05.5 code: the walk itself -----------------------------------------------------------------------------


def answer_05_5(chains, policy, port):
    """The verdict on a packet to that port: "ACCEPT" or "DROP".

    `chains` has for each chain's name a list of rules (ports, target). A rule means the packet if the port is in
    `ports`, or if `ports` is None. The walk begins in "FORWARD".
    """

    def walk(chain):
        for ports, target in chains[chain]:
            if ports is not None and port not in ports:
                continue
            if target in ("ACCEPT", "DROP"):
                return target
            if target == "RETURN":
                return None
            if target in chains:
                verdict = walk(target)
                if verdict is not None:
                    return verdict
        return None

    return walk("FORWARD") or policy


def some_chains(draw: Random):
    """Chains by hand, each with one thing in it; then drawn ones, in which chains call only those behind them."""
    made = [
        ({"FORWARD": [([80], "ACCEPT")]}, "DROP", 80),
        ({"FORWARD": [([80], "ACCEPT")]}, "DROP", 81),
        ({"FORWARD": [([80], "DROP")]}, "ACCEPT", 80),
        ({"FORWARD": [([80], "DROP")]}, "ACCEPT", 81),
        ({"FORWARD": [(None, "DROP"), ([80], "ACCEPT")]}, "ACCEPT", 80),
        ({"FORWARD": [([80], "LOG"), ([80], "ACCEPT")]}, "DROP", 80),
        ({"FORWARD": [(None, "web"), (None, "DROP")], "web": [([80], "ACCEPT")]}, "DROP", 80),
        ({"FORWARD": [(None, "web"), (None, "ACCEPT")], "web": [([80], "DROP")]}, "DROP", 81),
        ({"FORWARD": [(None, "web"), (None, "ACCEPT")], "web": [(None, "RETURN"), (None, "DROP")]}, "DROP", 80),
        ({"FORWARD": [([80], "RETURN"), (None, "ACCEPT")]}, "DROP", 80),
        ({"FORWARD": [([81], "web"), (None, "DROP")], "web": [(None, "ACCEPT")]}, "ACCEPT", 80),
        (
            {"FORWARD": [(None, "one"), (None, "DROP")], "one": [(None, "two"), ([80], "ACCEPT")],
             "two": [([80], "RETURN"), (None, "DROP")]},
            "ACCEPT", 80,
        ),
    ]  # fmt: skip
    for _ in range(20):
        names = ["FORWARD", "one", "two", "three"]
        chains = {}
        for place, name in enumerate(names):
            targets = ["ACCEPT", "DROP", "RETURN", "LOG", *names[place + 1 :], *names[place + 1 :]]
            chains[name] = [
                (draw.choice((None, [80], [81], [80, 81], [82])), draw.choice(targets))
                for _ in range(draw.randint(1, 4))
            ]
        made.append((chains, draw.choice(("ACCEPT", "DROP")), draw.choice((80, 81))))
    return [
        Probe(
            f"a packet to port {port}, with the policy {policy} and {in_lines(chains)}", (chains, policy, port), place
        )
        for place, (chains, policy, port) in enumerate(made)
    ]


def in_lines(chains):
    """Chains in a few words."""
    return "; ".join(
        f"{name}: " + ", ".join(f"{'all' if ports is None else '/'.join(map(str, ports))} {target}"
                                for ports, target in rules)
        for name, rules in chains.items()
    )  # fmt: skip


def real_rules(chains, policy, port):
    """A packet that meets these chains as rules of iptables."""
    lines = ["*filter", f":FORWARD {policy}", *(f":{name} -" for name in chains if name != "FORWARD")]
    for name, listed in chains.items():
        for ports, target in listed:
            asks = "" if ports is None else f" -p udp -m multiport --dports {','.join(map(str, ports))}"
            lines.append(f"-A {name}{asks} -j {target}")
    return router("\n".join([*lines, "COMMIT", ""])).receive("eth0", Packet.udp(OFFICE, SERVER, 4000, port))


def by_stack(chains, policy, port):
    waiting = [iter(chains["FORWARD"])]
    while waiting:
        ports, target = next(waiting[-1], (None, "RETURN"))
        if ports is None or port in ports:
            if target in chains:
                waiting.append(iter(chains[target]))
            elif target == "RETURN":
                waiting.pop()
            elif target != "LOG":
                return target
    return policy


def by_recursion_on_lists(chains, policy, port):
    def ask(rules):
        if not rules:
            return ""
        (ports, target), *rest = rules
        if ports is None or port in ports:
            if target == "RETURN":
                return ""
            if target in {"ACCEPT", "DROP"}:
                return target
            return (ask(chains[target]) if target != "LOG" else "") or ask(rest)
        return ask(rest)

    return ask(chains["FORWARD"]) or policy


def by_unfolding(chains, policy, port):
    def verdicts(chain):
        for ports, target in chains[chain]:
            if ports is None or port in ports:
                if target == "RETURN":
                    return
                if target in chains:
                    yield from verdicts(target)
                elif target != "LOG":
                    yield target

    return next(verdicts("FORWARD"), policy)


def walker(*, returns="caller", chain_end="caller", log=False, last=False, specific=False, policy_first=False):
    """A walk with one thing wrong."""

    def walk_over(chains, policy, port):
        found = []

        def visit(chain):
            for ports, target in chains[chain]:
                if ports is not None and port not in ports:
                    continue
                if target in ("ACCEPT", "DROP"):
                    found.append((len(ports or range(9)), target))
                    if not last and not specific:
                        return True
                elif target == "LOG" and log:
                    found.append((0, "DROP"))
                    return True
                elif target == "RETURN" and returns != "ignored":
                    if returns == "policy":
                        found.append((0, policy))
                    if returns == "accept":
                        found.append((0, "ACCEPT"))
                    return returns != "caller"
                elif target in chains:
                    if visit(target):
                        return True
                    if chain_end == "policy":
                        return True
            return False

        visit("FORWARD")
        if policy_first and policy == "DROP":
            return policy
        if specific and found:
            return min(found, key=lambda one: one[0])[1]
        return found[-1 if last else 0][1] if found else policy

    return walk_over


the_walk = Exercise(
    id="05.5",
    title="the walk itself",
    kind=Kind.CODE,
    level=Level.STRETCH,
    points=3,
    expects=Function("chains", "policy", "port"),
    reference=answer_05_5,
    probes=some_chains,
    observe=calling(OneOf("ACCEPT", "DROP"), real_rules),
    sibling=lambda: Story(
        'The chains {"FORWARD": [([80], "LOG"), (None, "web")], "web": []} and the policy DROP: whatever the port, LOG '
        "decides nothing, the empty chain comes back, FORWARD ends, and the policy drops the packet.",
        real_rules({"FORWARD": [([80], "LOG"), (None, "web")], "web": []}, "DROP", 80),
    ),
    survivors={"line 8: without `return None`": "a function that ends without return gives None, too"},
    right=(by_stack, by_recursion_on_lists, by_unfolding),
    wrong=(
        Wrong("i2", walker(returns="policy")),
        Wrong("i5", walker(chain_end="policy")),
        Wrong("i6", walker(last=True)),
        Wrong("i7", walker(returns="accept")),
        Wrong("i10", walker(log=True)),
        Wrong("i23", walker(policy_first=True)),
        Wrong("i26", walker(returns="ignored")),
    ),
)


# --- 05.6 debug: a packet that tells two rule sets apart ----------------------------------------------------

HERS = """*filter
:FORWARD DROP
:guests -
-A FORWARD -s 10.0.1.64/26 -p tcp -j guests
-A FORWARD -d 10.0.2.2 -p tcp --dport 80 -j ACCEPT
-A FORWARD -p udp -j ACCEPT
-A guests -p tcp --dport 80 -j RETURN
-A guests -j DROP
COMMIT
"""
HIS = HERS.replace("RETURN", "ACCEPT")

answer_05_6 = {"src": "10.0.1.127", "dst": "10.0.2.251", "proto": "tcp", "dport": 80}


class Machine:
    """An address of a machine behind one of the router's interfaces."""

    def __init__(self, net):
        self.net = net

    def read(self, value):
        """The address (see `Shape.read`)."""
        if value is ...:
            raise Blank("it")
        try:
            address = format_address(parse_address(value)) if type(value) is str else ""
        except NetlabError:
            address = ""
        if not address.startswith(self.net) or address in (f"{self.net}0", f"{self.net}1", f"{self.net}255"):
            raise Misfit(f"{describe(value)} is not {self}")
        return address

    def __str__(self):
        return f"the address of a machine in {self.net}0/24"


def separate(fields, probe):
    """Whether a packet has another fate with her rules than with his."""
    make = Packet.tcp if fields["proto"] == "tcp" else Packet.udp
    packet = make(fields["src"], fields["dst"], 4000, fields["dport"])
    hers, his = (router(text).receive("eth0", packet) for text in (HERS, HIS))
    if fate(hers) != fate(his):
        return Seen("it has two fates", hers)
    return Seen(f"with both it {fate(hers)}: hers decides at {decided(hers)}, his at {decided(his)}", his)


def tell_separation(probe, want, got):
    return f"Your packet does not tell the rules apart, {got.facts}. Its journey with his rules:"


def one(src, dst, proto, dport):
    """An answer to 05.6."""
    return {"src": src, "dst": dst, "proto": proto, "dport": dport}


apart = Exercise(
    id="05.6",
    title="a packet that tells two rule sets apart",
    kind=Kind.DEBUG,
    level=Level.STRETCH,
    points=2,
    expects=Table(
        {"src": Machine("10.0.1."), "dst": Machine("10.0.2."), "proto": OneOf("tcp", "udp"), "dport": Whole(1, 65535)}
    ),
    reference=answer_05_6,
    probes=lambda draw: [Probe("your packet")],
    observe=separate,
    tell=tell_separation,
    sibling=lambda: Story(
        "Two other rule sets: -s 10.0.1.0/25 -j DROP in the one, -s 10.0.1.0/24 -j DROP in the other, and ACCEPT for "
        "the rest. Only a packet that the second means and the first does not can tell: one from 10.0.1.128 to .255.",
        router("*filter\n:FORWARD ACCEPT\n-A FORWARD -s 10.0.1.0/25 -j DROP\nCOMMIT\n").receive(
            "eth0", Packet.udp("10.0.1.200", SERVER, 4000, 53)
        ),
    ),
    right=(one(GUEST, OTHER, "tcp", 80), one("10.0.1.64", "10.0.2.3", "tcp", 80), one(SPECIAL, "10.0.2.9", "tcp", 80)),
    wrong=(
        Wrong("i27", one(OFFICE, OTHER, "tcp", 80)),
        Wrong("i28", one(GUEST, SERVER, "tcp", 80)),
        Wrong("i29", one(GUEST, OTHER, "tcp", 443)),
        Wrong("i30", one(GUEST, OTHER, "udp", 80)),
        Wrong("i31", one(OFFICE, SERVER, "tcp", 80)),
    ),
)

EXERCISES = [which_rule, Varied("05.2", draw_counters), written, locked_out, the_walk, apart]
