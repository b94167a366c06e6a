"""Where two traces of one scenario differ, one from each world; and the short list of what may differ.

Both are taken in their JSON form, so that recorded traces are compared like fresh ones.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from html import escape
from itertools import zip_longest
from typing import Any, NamedTuple

from netlab.conntrack.text import Line, parse_line
from netlab.conntrack.tuples import FlowTuple
from netlab.html import Code, html_table
from netlab.kernel.ports import Ports
from netlab.names import DropReason, Proto
from netlab.packet import MF, OFFSET, Icmp, Packet, Tcp
from netlab.trace import UNKNOWN

Json = Mapping[str, Any]

# What is random, or depends on the time of day, in the kernel; everything else is compared byte for byte:
# - in frames that a host made itself: IP id (also where an ICMP error quotes it), TCP's window, options and initial
#   sequence number (`_masked`);
# - times of day: ICMP timestamp replies, the IP timestamp option, also where an ICMP error quotes it (`_masked`),
#   and where one is cut into fragments (`_masked_frames`);
# - redirects to a source that has been due one before: the next one comes after milliseconds of real time
#   (`_repeated_redirects`);
# - a connection's timeout, which in the kernel runs on while the scenario is under way (`_same_entry`);
# - ports and echo ids that NAT chooses at random: they must be of the right class, and the same to the end (`Ports`).
#   Where that cannot be said, the simulator is told what the kernel has chosen (`netlab.kernel.choices`);
# - what rules of a table have counted in which one rule lets chance decide (`by_table`);
# - whether what was lost in a queue was refused there, by the program or by nobody listening, and where rules are, a
#   fragment that was kept and then lost (`_lost_in_queues`);
# - the text of rules that iptables-legacy prints: netlab writes as iptables-nft does (`_without_text`);
# - lines of LOG rules, which a namespace keeps to itself unless the whole machine says otherwise (`_known_lines`).
_WAYS_TO_LOSE, _LOST = frozenset({"DROP", "QUEUE", "STOLEN"}), "DROP, QUEUE or STOLEN"
_TIMEOUTS_APART = 2  # seconds
_TIMESTAMP_REPLY = 14
_TIMESTAMP_OPTION = 68
_REDIRECT = 5
_AS_IT_CAME = frozenset({"packet", "host", "hook", "in", "proto"})  # what no hook function changes
BY_CHANCE = re.compile(r"--mode random\b")
_RULE_LOGGED = re.compile(r"IN=\S* OUT=\S* .*SRC=\S+ DST=\S+ LEN=")


@dataclass(frozen=True)
class Difference:
    """One thing that the worlds do not agree on."""

    step: int
    what: str
    simulator: str
    kernel: str

    def __str__(self) -> str:
        return f"step {self.step}, {self.what}\n  simulator: {self.simulator}\n  kernel:    {self.kernel}"


@dataclass
class Comparison:
    """What came of comparing two traces: the differences, and how many things a world did not know."""

    differences: list[Difference] = field(default_factory=list)
    unknown: int = 0

    def __bool__(self) -> bool:
        """True when the worlds agree."""
        return not self.differences

    def __str__(self) -> str:
        unknown = f" ({self.unknown} values unknown to one world were left out)" if self.unknown else ""
        if not self.differences:
            return f"both worlds agree{unknown}"
        return "\n".join([*map(str, self.differences), f"{len(self.differences)} differences{unknown}"])

    def _repr_html_(self) -> str:
        if not self.differences:
            return f"<p>{escape(str(self))}</p>"
        rows = ((one.step, one.what, Code(one.simulator), Code(one.kernel)) for one in self.differences)
        return html_table(rows, ("step", "what", "simulator", "kernel"))


def compare(simulator: Json, kernel: Json, *, late: float = 0) -> Comparison:
    """The differences between two traces of the same scenario, given in the form that `Trace.to_json` makes.

    `late`: so many seconds the kernel has taken longer than the scenario says, and its timeouts have run on.
    """
    result = Comparison()
    ports, translated = _with_ports(simulator, kernel)
    real = list(canonical(kernel))
    steps = zip(canonical(simulator), real, canonical(translated) if ports else real, strict=True)
    for number, (left, as_it_is, right) in enumerate(steps):
        for what, mine in left.items():
            theirs = _nearest(mine, as_it_is[what], right[what])
            if UNKNOWN in (mine, theirs):
                result.unknown += 1
            elif mine != theirs and not (what == "path" and _agree_but_for_unknown(mine, theirs, result)):
                result.differences += _explain(number, what, mine, theirs)
    last = len(simulator["steps"]) - 1
    for pair in _paired(simulator, kernel, ports, late):
        if not pair.same:
            what = f"conntrack of {pair.host}"
            result.differences.append(Difference(last, what, str(pair.simulator), str(pair.kernel)))
    for host in sorted({*simulator["log"], *kernel["log"]} if UNKNOWN not in (simulator["log"], kernel["log"]) else ()):
        mine, theirs = _known_lines(simulator["log"].get(host, []), kernel["log"].get(host, []), result)
        if mine != theirs:
            result.differences += _explain(last, f"log of {host}", mine, theirs)
    as_counted = _without_text if kernel.get("iptables") == "legacy" else list
    for host in sorted({*simulator.get("counters", {}), *kernel.get("counters", {})}):
        left, right = (by_table(world.get("counters", {}).get(host, ())) for world in (simulator, kernel))
        for table in sorted({*left, *right}):
            mine, theirs = left.get(table, []), right.get(table, [])
            if any(BY_CHANCE.search(line) for line in theirs):
                result.unknown += 1
            elif as_counted(mine) != as_counted(theirs):
                result.differences += _explain(last, f"rules of {host}, {table}", as_counted(mine), as_counted(theirs))
    return result


class Entries(NamedTuple):
    """One flow's entry in both worlds at the end, None where there is none, and whether they say the same."""

    host: str
    simulator: Line | None
    kernel: Line | None
    same: bool


def entries(simulator: Json, kernel: Json) -> Iterator[Entries]:
    """The entries of both worlds, flow by flow; the kernel's with the ports that the simulator has chosen at random."""
    return _paired(simulator, kernel, _with_ports(simulator, kernel)[0])


def _paired(simulator: Json, kernel: Json, ports: Ports, late: float = 0) -> Iterator[Entries]:
    for host in sorted({*simulator.get("conntrack", {}), *kernel.get("conntrack", {})}):
        mine, theirs = (_entries(world.get("conntrack", {}).get(host, ())) for world in (simulator, kernel))
        theirs = {line.original: line for line in map(ports.simulated_entry, theirs.values())}
        for flow in sorted({*mine, *theirs}):
            one, other = mine.get(flow), theirs.get(flow)
            yield Entries(host, one, other, bool(one and other and _same_entry(one, other, late)))


def _with_ports(simulator: Json, kernel: Json) -> tuple[Ports, Json]:
    """What NAT has chosen at random in the two worlds, and the kernel's trace with the simulator's choices."""
    rules = (line for world in (simulator, kernel) for lines in world.get("counters", {}).values() for line in lines)
    ports = Ports("\n".join(rules))
    steps = []
    for left, right in zip(simulator["steps"], kernel["steps"], strict=True):
        ports.learn(left["path"], right["path"])
        out = [
            frame | {"hex": ports.simulated_packet(Packet.from_bytes(bytes.fromhex(frame["hex"]))).to_bytes().hex()}
            for frame in (right["out"] if ports else ())
        ]
        steps.append({**right, "path": ports.simulated_rows(right["path"]), "out": out} if ports else right)
    return ports, {**kernel, "steps": steps}


def _nearest(mine: Any, as_it_is: Any, translated: Any) -> Any:
    """The kernel's with the simulator's ports; what agrees as it is has not been through translation yet."""
    if not isinstance(mine, list) or len(mine) != len(as_it_is):
        return translated
    return [raw if raw == one else other for one, raw, other in zip(mine, as_it_is, translated, strict=True)]


def by_table(lines: Iterable[str]) -> dict[str, list[str]]:
    """What `iptables-save -c` prints, by table: which one comes first tells of the past."""
    tables: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        name = line if line.startswith("*") else name
        tables.setdefault(name, []).append(line)
    return tables


def _without_text(lines: list[str]) -> list[str]:
    """Those lines, of a rule its counters and its chain only."""
    return [" ".join(line.split()[:3]) if line.startswith("[") else line for line in lines]


def _known_lines(mine: list[str], theirs: list[str], result: Comparison) -> tuple[list[str], list[str]]:
    """The lines of a host's log that both worlds know; what LOG rules wrote is left out where one of them does not."""
    if UNKNOWN not in (*mine, *theirs):
        return mine, theirs
    known = tuple(
        [line for line in lines if line != UNKNOWN and not _RULE_LOGGED.search(line)] for lines in (mine, theirs)
    )
    result.unknown += max(len(mine) - len(known[0]), len(theirs) - len(known[1]))
    return known[0], known[1]


def _agree_but_for_unknown(mine: list[Json], theirs: list[Json], result: Comparison) -> bool:
    """Whether two paths differ only where one world does not know; counts those places.

    Who does not know a hook's verdict has seen the packet come, and nothing of what became of it there.
    """
    unknown = 0
    for one, other in zip(mine, theirs, strict=False):
        left = UNKNOWN not in (one["verdict"], other["verdict"])
        for key, value in one.items():
            if UNKNOWN in (value, other.get(key)) or (value != other.get(key) and not left and key not in _AS_IT_CAME):
                unknown += 1
            elif value != other.get(key):
                return False
    result.unknown += unknown if len(mine) == len(theirs) else 0
    return len(mine) == len(theirs)


def _explain(step: int, what: str, mine: Any, theirs: Any) -> Iterator[Difference]:
    if not isinstance(mine, list):
        yield Difference(step, what, str(mine), str(theirs))
        return
    for place, (left, right) in enumerate(zip_longest(mine, theirs, fillvalue="nothing")):
        if left != right:
            yield Difference(step, f"{what} {place}", _line(left), _line(right))
            return


def _entries(lines: Iterable[str]) -> dict[FlowTuple, Line]:
    return {line.original: line for line in map(parse_line, lines)}


def _same_entry(one: Line, other: Line, late: float) -> bool:
    """Whether two entries say the same, but for use counts and ids and a little time gone by."""
    left, right = (replace(line, timeout=None, extra=line.extra | {"use": "", "id": ""}) for line in (one, other))
    return left == right and abs((one.timeout or 0) - (other.timeout or 0)) <= _TIMEOUTS_APART + late


def _line(thing: Any) -> str:
    return " ".join(f"{key}={value}" for key, value in thing.items()) if isinstance(thing, dict) else str(thing)


def canonical(trace: Json) -> Iterator[dict[str, Any]]:
    """Each step as it is compared: packets renumbered in the order of their appearance, what may differ masked."""
    bounced: set[tuple[str, str]] = set()
    isn: dict[tuple[Any, ...], int] = {}
    for step in trace["steps"]:
        gone = _repeated_redirects(step["path"], bounced)
        path = [row for row in _lost_in_queues(step) if row["packet"] not in gone]
        # A host's own packets, by the addresses that they leave each hook with: translation may change these.
        own = {row["packet"] for row in path if row["hook"] == "LOCAL_OUT"}
        made = {(row["src"], row["dst"]) for row in path if row["packet"] in own}
        out = sorted(step["out"], key=lambda frame: (frame["host"], frame["dev"]))
        frames = list(_masked_frames([frame for frame in out if frame["packet"] not in gone], made, isn))
        numbers: dict[int, int] = {}
        yield {
            "errno": step["errno"],
            "status": bool(step.get("status")),
            "path": _renumbered(path, numbers),
            "out": _renumbered(frames, numbers),
            # When a next hop is given up depends on real time, so the order of drops does not count.
            "dropped": _sorted(_renumbered(step["dropped"], numbers, gone)),
            "delivered": _sorted(_renumbered(step["delivered"], numbers, gone)),
        }


def _lost_in_queues(step: Json) -> list[Json]:
    """The step's path, with one word for how what was dropped without a reason was lost in a hook."""
    drops = () if step["dropped"] == UNKNOWN else step["dropped"]
    lost = {(drop["packet"], drop["host"]) for drop in drops if drop["reason"] == DropReason.NOT_SPECIFIED.name}
    return [
        row | {"verdict": _LOST} if row["verdict"] in _WAYS_TO_LOSE and (row["packet"], row["host"]) in lost else row
        for row in step["path"]
    ]


def _renumbered(items: Any, numbers: dict[int, int], gone: Iterable[int] = ()) -> Any:
    if items == UNKNOWN:
        return items
    return [
        item | {"packet": numbers.setdefault(item["packet"], len(numbers))}
        for item in items
        if item["packet"] not in gone
    ]


def _sorted(items: Any) -> Any:
    return items if items == UNKNOWN else sorted(items, key=lambda item: list(map(str, item.values())))


def _repeated_redirects(path: Iterable[Json], bounced: set[tuple[str, str]]) -> set[int]:
    """The numbers of redirects to somebody whose packets this host has sent back out the way they came before."""
    numbers = {
        row["packet"]
        for row in path
        if row["hook"] == "LOCAL_OUT" and row.get("type") == _REDIRECT and (row["host"], row["dst"]) in bounced
    }
    bounced |= {(row["host"], row["src"]) for row in path if row["hook"] == "FORWARD" and row["in"] == row["out"]}
    return numbers


Made = set[tuple[str, str]]
Numbers = dict[tuple[Any, ...], int]


def _masked_frames(frames: list[Json], made: Made, isn: Numbers) -> Iterator[Json]:
    """The frames, with what may differ in them masked; of fragments it is looked for in what they are parts of."""
    packets = [Packet.from_bytes(bytes.fromhex(frame["hex"])) for frame in frames]
    parts: dict[tuple[Any, ...], list[int]] = {}
    for place, (frame, one) in enumerate(zip(frames, packets, strict=True)):
        if one.frag & (MF | OFFSET) and one.proto == Proto.ICMP:
            parts.setdefault((frame["host"], frame["dev"], one.saddr, one.daddr, one.ip_id), []).append(place)
    for places in parts.values():
        payload = b"".join(packets[place].payload for place in places)
        ends = [packets[place].frag_offset + len(packets[place].payload) for place in places]
        if [packets[place].frag_offset for place in places] == [0, *ends[:-1]]:
            whole = _masked(packets[places[0]]._replace(frag=0, payload=payload), made, isn).payload
            for place in places:
                one = packets[place]
                part = whole[one.frag_offset : one.frag_offset + len(one.payload)]
                packets[place] = one._replace(payload=part)
    for frame, one in zip(frames, packets, strict=True):
        yield {**frame, "hex": _masked(one, made, isn).to_bytes().hex()}


def _masked(packet: Packet, made: Made, isn: Numbers) -> Packet:
    """The packet with what may differ replaced by fixed values, and the checksums made to fit."""
    packet = packet._replace(options=_without_times(packet.options), checksum=None)
    message = packet.l4
    if isinstance(message, Icmp) and message.type == _TIMESTAMP_REPLY:
        packet = packet._replace(payload=packet.payload[:2] + bytes(2) + packet.payload[4:12])
    if quoted := packet.quoted:
        ours = (quoted.src, quoted.dst) in made
        quoted = quoted._replace(options=_without_times(quoted.options), ip_id=0 if ours else quoted.ip_id)
        body = quoted.to_bytes()
        packet = packet._replace(payload=packet.payload[:2] + bytes(2) + packet.payload[4:8] + body)
    if (packet.src, packet.dst) in made:
        packet = packet._replace(ip_id=0)
        if isinstance(message, Tcp):
            flow = packet.src, message.sport, packet.dst, message.dport
            if message.flags & 2:
                isn[flow] = message.seq
            begun = 0 if message.flags & 0x14 == 0x14 else isn.get(flow, 0)  # a reset with an ACK has the number 0
            seq = message.seq - begun & 0xFFFFFFFF
            head = packet.payload[:4] + seq.to_bytes(4, "big") + packet.payload[8:12] + bytes([0, message.flags])
            packet = packet._replace(payload=head + message.payload)
    return packet


def _without_times(options: bytes) -> bytes:
    """IP options with the times in a timestamp option (RFC 791) zeroed; its addresses and pointer stay."""
    out = bytearray(options)
    at = 0
    while at < len(out) and out[at]:
        if out[at] == 1:
            at += 1
            continue
        length = out[at + 1] if at + 1 < len(out) else 0
        if length < 2 or at + length > len(out):
            break
        if out[at] == _TIMESTAMP_OPTION and length >= 4:
            entry = 8 if out[at + 3] & 15 in (1, 3) else 4
            # The pointer stands behind the last entry written; it counts from 1.
            for place in range(out[at + 2] - 5, 3, -entry):
                if place + 4 <= length:
                    out[at + place : at + place + 4] = bytes(4)
        at += length
    return bytes(out)
