"""The two practice exercises of the tour: what routers do to a packet's TTL."""

from random import Random

from netlab.grading import Exercise, Function, Kind, Level, Maybe, Probe, Seen, Story, Whole, Wrong, calling


def hop_by_hop(ttl, routers):
    """The journey in words, and the TTL at its end (None if it ends early)."""
    lines = [f"the sender sends the packet with TTL {ttl}"]
    for router in range(1, routers + 1):
        if ttl <= 1:
            lines.append(f"router {router} would have to lower TTL {ttl} to 0: it drops the packet")
            return "\n".join(lines), None
        lines.append(f"router {router} forwards it with TTL {ttl - 1}")
        ttl -= 1
    lines.append(f"the receiver sees TTL {ttl}")
    return "\n".join(lines), ttl


# --- 00.1 ---------------------------------------------------------------------------------------------------

answer_00_1 = 15


def five_routers(draw: Random):
    """There is only one case."""
    return [Probe("TTL 20 across five routers", (20, 5))]


def predicted(answer, probe):
    """The prediction, beside what the routers do."""
    return Seen(answer, hop_by_hop(*probe.inputs)[0])


def tell_prediction(probe, want, got):
    """The journey says it all."""
    return f"You predicted {got.facts}. This is what happens to {probe}:"


arrival = Exercise(
    id="00.1",
    title="a first prediction",
    kind=Kind.PREDICT,
    level=Level.CORE,
    points=0,
    expects=Whole(0, 255),
    reference=answer_00_1,
    probes=five_routers,
    observe=predicted,
    tell=tell_prediction,
    sibling=lambda: Story("TTL 10 across two routers:", hop_by_hop(10, 2)[0]),
    right=(15, 20 - 5, 0xF),
    wrong=(Wrong("t1", 20), Wrong("t2", 14), Wrong("t3", 25), Wrong("t4", 16), Wrong("t5", 0)),
)


# --- 00.2 ---------------------------------------------------------------------------------------------------


def answer_00_2(ttl, routers):
    """The TTL that the receiver sees, or None if the packet never arrives."""
    if ttl <= routers:
        return None
    return ttl - routers


def ttls_and_routers(draw: Random):
    """Short journeys, around the edge between arriving and not."""
    pairs = {(ttl, routers) for ttl in range(1, 6) for routers in range(6)}
    pairs |= {(draw.randint(1, 255), draw.randint(0, 30)) for _ in range(50)}
    return [Probe(f"TTL {ttl} across {r} router{'s' * (r != 1)}", (ttl, r), size=ttl + r) for ttl, r in pairs]


def by_loop(ttl, routers):
    for _ in range(routers):
        ttl -= 1
        if ttl == 0:
            return None
    return ttl


def by_condition(ttl, routers):
    left = ttl - routers
    return left if left > 0 else None


def by_recursion(ttl, routers):
    if routers == 0:
        return ttl
    return by_recursion(ttl - 1, routers - 1) if ttl > 1 else None


def never_lowered(ttl, routers):
    return ttl


def receiver_counts_too(ttl, routers):
    return None if ttl <= routers + 1 else ttl - routers - 1


def dies_below_zero(ttl, routers):
    return None if ttl < routers else ttl - routers


def counts_up(ttl, routers):
    return ttl + routers


def never_dies(ttl, routers):
    return ttl - routers


any_arrival = Exercise(
    id="00.2",
    title="the same for any journey",
    kind=Kind.CODE,
    level=Level.CORE,
    points=0,
    expects=Function("ttl", "routers"),
    reference=answer_00_2,
    probes=ttls_and_routers,
    observe=calling(Maybe(Whole(-(2**31))), lambda ttl, routers: hop_by_hop(ttl, routers)[0]),
    sibling=lambda: Story("A packet that does not arrive: TTL 2 across three routers.", hop_by_hop(2, 3)[0]),
    right=(by_loop, by_condition, by_recursion),
    wrong=(
        Wrong("t1", never_lowered),
        Wrong("t2", receiver_counts_too),
        Wrong("t3", counts_up),
        Wrong("t6", dies_below_zero),
        Wrong("t7", never_dies),
    ),
)

EXERCISES = [arrival, any_arrival]
