"""netlab: how Linux handles a packet, as a simulator that is checked against the kernel.

Names are imported from their modules when they are first used, so that `import netlab` is quick and needs
nothing but the standard library.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "NetlabError": "netlab.names",
    "Hook": "netlab.names",
    "Verdict": "netlab.names",
    "Priority": "netlab.names",
    "DropReason": "netlab.names",
    "Packet": "netlab.packet",
    "MalformedPacket": "netlab.packet",
    "Trace": "netlab.trace",
    "Host": "netlab.host",
    "Network": "netlab.topology",
    "HookState": "netlab.hooks",
    "queue_to": "netlab.hooks",
    "Scenario": "netlab.scenario",
    "ScenarioError": "netlab.scenario",
    "load": "netlab.scenario",
    "loads": "netlab.scenario",
    "from_dict": "netlab.scenario",
    "run": "netlab.simulate",
    "Clock": "netlab.clock",
    "ACCEPT": "netlab.names",
    "DROP": "netlab.names",
    "STOLEN": "netlab.names",
    "QUEUE": "netlab.names",
    "REPEAT": "netlab.names",
}
"""Every public name and the module it lives in."""

__all__ = sorted(_HOME)  # noqa: PLE0605 - one list, kept above


def __getattr__(name: str) -> object:
    """Import a public name from the module it lives in, at its first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'netlab' has no attribute {name!r}")
    value: object = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
