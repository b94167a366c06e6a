"""The scenario file: hosts, links and steps, as text that both worlds understand.

`load` reads YAML in which every scalar is text (no surprises with yes, no, octal or base 60); `from_dict` takes the
same structure from Python and needs no YAML. Anything the schema does not know is an error that says what and where.

model    what a scenario is made of
schema   the walk over a structure whose values know their places
hosts    a host of the file
packets  a packet of the file
steps    a step of the file
reader   the whole file
"""

from netlab.scenario.model import (
    DEFAULT_MTU,
    MAX_MTU,
    MIN_MTU,
    AdvanceStep,
    HostSpec,
    PacketStep,
    QueueAnswer,
    RunStep,
    Scenario,
    ScenarioError,
    Step,
)
from netlab.scenario.packets import packet_bytes
from netlab.scenario.reader import from_dict, load, loads

__all__ = [
    "DEFAULT_MTU", "MAX_MTU", "MIN_MTU", "AdvanceStep", "HostSpec", "PacketStep", "QueueAnswer", "RunStep", "Scenario",
    "ScenarioError", "Step", "from_dict", "load", "loads", "packet_bytes",
]  # fmt: skip
