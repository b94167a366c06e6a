"""The kinds of scenario that a campaign draws from: now and then one made for something, else any machine.

A new kind is a function and a line in `SPECIAL`; what any machine may have besides goes into `anything`.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from random import Random
from typing import NamedTuple

from netlab.kernel.fuzz.clients import PACKETS, segments, server
from netlab.kernel.fuzz.conversations import Conversations
from netlab.kernel.fuzz.machines import HOST, Features, random_machine, random_network
from netlab.kernel.fuzz.ruled import ruled
from netlab.kernel.fuzz.tracking import plain_router, some_tracking, tracking
from netlab.kernel.fuzz.traffic import random_steps
from netlab.scenario import AdvanceStep, PacketStep, Scenario, Step

Maker = Callable[[Random, Features, int], Scenario]

# Multiples of 7 s, as no timeout is one: what lives and what is over differ by a second at least.
WEEKS = tuple(7 * n for n in (1, 2, 3, 4, 5, 8, 9, 13, 17, 18, 25, 26, 42, 43, 85, 86, 61714, 61715))
WITH_DATAGRAMS, PAUSES = 0.05, 2  # UDP's flows are waited for: few scenarios, and few pauses in them


def anything(random: Random, features: Features, packets: int) -> Scenario:
    """Any machines, and any packets."""
    hosts, links = random_network(random, features)
    hosts = some_tracking(random, features, hosts)
    return Scenario(hosts, links, tuple(random_steps(random, hosts, links, features, packets)))


def aging(random: Random, features: Features, packets: int) -> Scenario:
    """A router that tracks, and pauses in which connections grow old."""
    spec = tracking(random, plain_router(features))
    datagrams = random.random() < WITH_DATAGRAMS
    talk = Conversations(random, spec, list(spec.interfaces), local=features.local, datagrams=datagrams)

    def steps() -> Iterator[Step]:
        pauses = PAUSES if datagrams else packets
        for _ in range(packets):
            if pauses and random.random() < 0.03:
                yield AdvanceStep(random.choice(WEEKS))
                pauses -= 1
            yield talk.next()

    return Scenario({HOST: spec}, (), tuple(steps()))


def listening(random: Random, features: Features, packets: int) -> Scenario:
    """A TCP listener and its clients."""
    return Scenario({HOST: server()}, (), tuple(islice(segments(random), min(packets, PACKETS))))


def logging(random: Random, features: Features, packets: int) -> Scenario:
    """A machine that logs martians, and few packets: the kernel prints at most ten lines in five seconds."""
    spec = random_machine(random, replace(features, fragments=False))
    spec = replace(spec, sysctls=spec.sysctls | {"net.ipv4.conf.all.log_martians": 1})
    steps: Iterator[PacketStep] = random_steps(random, {HOST: spec}, (), features, min(packets, MARTIANS))
    return Scenario({HOST: spec}, (), tuple(steps))


MARTIANS = 10


class Kind(NamedTuple):
    """The feature that must be on, the share of all scenarios, and the maker."""

    feature: str
    share: float
    make: Maker


SPECIAL: tuple[Kind, ...] = (
    Kind("aging", 0.03, aging),
    Kind("tcp", 0.03, listening),
    Kind("logs", 0.01, logging),
    Kind("iptables", 0.45, ruled),
)


def random_scenario(seed: str, packets: int, features: Features) -> Scenario:
    """The scenario that belongs to a seed."""
    random = Random(seed)
    chance = random.random()
    make: Maker = anything
    for kind in SPECIAL:
        if getattr(features, kind.feature) and 0 <= chance < kind.share:
            make = kind.make
        chance -= kind.share
    return replace(make(random, features, packets), name=f"seed {seed}")
