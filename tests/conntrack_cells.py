"""Every cell of TCP's transition table that can be reached, as a scenario; and what came of it, as a line.

original SYN in NONE: NEW, then SYN_SENT 120 UNREPLIED
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netlab.conntrack.tcp_table import Kind
from netlab.conntrack.text import parse_line
from netlab.kernel.fuzz.transitions import ALL, UNREACHABLE, Cell, name_of
from netlab.names import TcpState
from netlab.scenario import Scenario, from_dict

MEASURED = Path(__file__).with_name("conntrack_cells_measured.txt")
CLIENT, SERVER = "10.0.1.2", "10.0.2.2"
INITIAL = (100, 500)  # sequence numbers

OPENING = ((0, "S"), (1, "SA"), (0, "A"))
CLOSING = ((0, "FA"), (1, "A"), (1, "FA"), (0, "A"))
WAY_TO: dict[TcpState, tuple[tuple[int, str], ...]] = {
    TcpState.NONE: (),
    TcpState.SYN_SENT: OPENING[:1],
    TcpState.SYN_RECV: OPENING[:2],
    TcpState.ESTABLISHED: OPENING,
    TcpState.FIN_WAIT: (*OPENING, *CLOSING[:1]),
    TcpState.CLOSE_WAIT: (*OPENING, *CLOSING[:2]),
    TcpState.LAST_ACK: (*OPENING, *CLOSING[:3]),
    TcpState.TIME_WAIT: (*OPENING, *CLOSING),
    TcpState.CLOSE: (*OPENING, (0, "R")),
    TcpState.SYN_SENT2: ((0, "S"), (1, "S")),
}
FLAGS = {Kind.SYN: "S", Kind.SYN_ACK: "SA", Kind.FIN: "FA", Kind.ACK: "A", Kind.RST: "R"}
REACHABLE = tuple(cell for cell in ALL if cell not in UNREACHABLE)


def segments(*beats: tuple[int, str]) -> Iterator[dict[str, Any]]:
    """Packets of a conversation in which both sides count as they should; (0, "S") is the client's SYN."""
    coming = list(INITIAL)
    for side, flags in beats:
        ports, ends = (4000, 80), (CLIENT, SERVER)
        yield {
            "packet": {
                "into": f"router:eth{side}", "proto": "tcp", "src": ends[side], "dst": ends[1 - side],
                "sport": ports[side], "dport": ports[1 - side], "flags": flags, "seq": coming[side],
                "ack": coming[1 - side] if "A" in flags else 0,
            }
        }  # fmt: skip
        coming[side] += ("S" in flags) + ("F" in flags)


def router(steps: list[dict[str, Any]], **sysctls: int) -> Scenario:
    """A router between the two that tracks connections, and these steps."""
    spec = {
        "interfaces": {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"},
        "sysctls": {"net.ipv4.ip_forward": 1}
        | {f"net.netfilter.nf_conntrack_{name}": value for name, value in sysctls.items()},
        "conntrack": "on",
    }
    return from_dict({"hosts": {"router": spec}, "steps": steps})


def scenario_of(cell: Cell) -> Scenario:
    """The way to the cell's state, and then its segment."""
    direction, kind, state = cell
    return router(list(segments(*WAY_TO[state], (int(direction), FLAGS[kind]))))


def outcome(cell: Cell, trace: dict[str, Any]) -> str:
    """What came of that scenario, from either world's JSON."""
    (*_, last) = trace["steps"]
    entries = [parse_line(line) for line in trace["conntrack"]["router"]]
    after = ", ".join(" ".join([str(e.state), str(e.timeout), *sorted(e.flags)]) for e in entries) or "no entry"
    return f"{name_of(cell)}: {last['path'][0]['state']}, then {after}"


def measured() -> dict[str, str]:
    """The kernel's outcomes by cell."""
    return {line.partition(":")[0]: line for line in MEASURED.read_text().splitlines() if line[0] != "#"}


def same(one: str, other: str) -> bool:
    """Whether two outcomes are the same but for two seconds."""
    words = [text.replace(",", " ,").split() for text in (one, other)]
    return len(words[0]) == len(words[1]) and all(
        left == right or (left.isdigit() and right.isdigit() and abs(int(left) - int(right)) <= 2)
        for left, right in zip(*words, strict=True)
    )
