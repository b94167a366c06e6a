"""TCP's states as conntrack has them: the whole transition table, in both directions, as data.

The tracker watches both directions of a connection from the middle, and keeps one state for it. A segment is looked up
by its direction, its kind and the present state. What else is asked of it is in `tcp` and `tcp_window`.

Facts: net/netfilter/nf_conntrack_proto_tcp.c of Linux 6.18, each cell asked of the running kernel. RFC 9293.
"""

from enum import IntEnum
from typing import Final

from netlab.conntrack.tuples import Direction
from netlab.names import TcpState
from netlab.packet import Tcp

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32


class Kind(IntEnum):
    """What a segment is to the table: by the first of these flags that it carries."""

    SYN = 0
    SYN_ACK = 1
    FIN = 2
    ACK = 3
    RST = 4
    NONE = 5


IGNORE, INVALID = "ignore", "invalid"

_ABBREVIATIONS: dict[str, TcpState | str] = {
    "..": IGNORE, "--": INVALID, "SS": TcpState.SYN_SENT, "SR": TcpState.SYN_RECV, "ES": TcpState.ESTABLISHED,
    "FW": TcpState.FIN_WAIT, "CW": TcpState.CLOSE_WAIT, "LA": TcpState.LAST_ACK, "TW": TcpState.TIME_WAIT,
    "CL": TcpState.CLOSE, "S2": TcpState.SYN_SENT2,
}  # fmt: skip

# One row for each kind of segment, one column for each present state; `..` lets the segment pass without believing
# it (the two ends may be in step while the tracker is not), `--` makes it INVALID.
_ORIGINAL = """
           NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2
  SYN       SS     SS       ..        ..         ..        ..        ..       SS       SS      S2
  SYN_ACK   --     --       SR        --         --        --        --       --       --      SR
  FIN       --     --       FW        FW         LA        LA        LA       TW       CL      --
  ACK       ES     --       ES        ES         CW        CW        TW       TW       CL      --
  RST       --     CL       CL        CL         CL        CL        CL       CL       CL      CL
  NONE      --     --       --        --         --        --        --       --       --      --
"""
_REPLY = """
           NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2
  SYN       --     S2       --        --         --        --        --       SS       --      S2
  SYN_ACK   --     SR       ..        ..         ..        ..        ..       ..       ..      SR
  FIN       --     --       FW        FW         LA        LA        LA       TW       CL      --
  ACK       --     ..       SR        ES         CW        CW        TW       TW       CL      ..
  RST       --     CL       CL        CL         CL        CL        CL       CL       CL      CL
  NONE      --     --       --        --         --        --        --       --       --      --
"""

Target = TcpState | str


def _read(text: str) -> dict[tuple[Kind, TcpState], Target]:
    header, *rows = text.strip().splitlines()
    states = [TcpState[name] for name in header.split()]
    table: dict[tuple[Kind, TcpState], Target] = {}
    for row in rows:
        kind, *cells = row.split()
        for state, cell in zip(states, cells, strict=True):
            table[Kind[kind], state] = _ABBREVIATIONS[cell]
    return table


TABLE: Final[dict[Direction, dict[tuple[Kind, TcpState], Target]]] = {
    Direction.ORIGINAL: _read(_ORIGINAL),
    Direction.REPLY: _read(_REPLY),
}

# With any of these (PSH, ECE and CWR left aside) a segment is well formed; all other combinations are INVALID.
VALID_FLAGS: Final = frozenset({
    SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG,
})  # fmt: skip

_A_SYN, _A_SYN_ACK, _A_FIN, _AN_ACK, _A_RST = Kind.SYN, Kind.SYN_ACK, Kind.FIN, Kind.ACK, Kind.RST
"""To look up a member of an enum takes six times as long as a name of this module, and every segment comes this way."""


def kind_of(flags: int) -> Kind:
    """The table's row for these flags."""
    if flags & RST:
        return _A_RST
    if flags & SYN:
        return _A_SYN_ACK if flags & ACK else _A_SYN
    if flags & FIN:
        return _A_FIN
    return _AN_ACK if flags & ACK else Kind.NONE


def well_formed(tcp: Tcp) -> bool:
    """Whether any TCP sends such a combination of flags."""
    return tcp.flags & (FIN | SYN | RST | ACK | URG) in VALID_FLAGS
