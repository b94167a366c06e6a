"""The commands of a simulated host, as its administrator types them.

    print(run_command(router, "iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE"))

There is no shell behind them: no pipes, no variables, no files.
"""

import re
import shlex
from collections.abc import Callable, Sequence
from typing import Final

from netlab.addresses import InterfaceAddress
from netlab.conntrack.command import conntrack
from netlab.conntrack.options import Output
from netlab.host import Host
from netlab.names import NetlabError
from netlab.route_text import delete_route, delete_rule, parse_route, parse_rule
from netlab.routing import Fib

_IP_OBJECTS: Final = ("address", "route", "rule")
_FILES: Final = {
    "conntrack": ("-R", "--load-file"),
    "ipset": ("-f", "-file", "--file"),
}
"""Options that read or write files."""
STARTS_A_PROGRAM: Final = re.compile(r"(?<!\S)(-[nvxf46]*M|--mo(d|dp[a-z]*)?(?![a-z-]))")
"""The option of iptables that has a program started, `--modprobe`, as getopt knows it; quotation marks left out."""
_TEXTS: Final = ("iptables-save", "iptables-restore")


def parse_command(line: str) -> list[str]:
    """The words of a command that hosts have.

    Raises:
        NetlabError: quotation marks that do not end, or no such command.
    """
    try:
        words = shlex.split(line)
    except ValueError as problem:
        raise NetlabError(f"{line!r}: {str(problem).lower()}") from None
    if not words or words[0] not in _DOING:
        name = repr(words[0]) if words else "nothing"
        raise NetlabError(f"unknown command {name} (a host has {', '.join(_DOING)})")
    for option in _FILES.get(words[0], ()):
        if any(word == option or word.startswith(f"{option}=") for word in words):
            raise NetlabError(f"{words[0]} {option}: a scenario's commands neither read files nor start programs")
    if words[0] == "iptables" and (found := STARTS_A_PROGRAM.search(" ".join(words))):
        raise NetlabError(f"iptables {found[0]}: a scenario's commands neither read files nor start programs")
    if words[0] == "ip":
        _ip_call(words)
    if words[0] == "sysctl":
        settings(words)
    return words


def run_command(host: Host, line: str, stdin: str = "") -> Output:
    """Run a command on a host; what it prints, and its exit status: 0 when it has done what it was told.

    Args:
        host: where to run it.
        line: one of the commands that scenarios have, or `iptables-save` or `iptables-restore`.
        stdin: what `iptables-restore` reads.

    Raises:
        NetlabError: the host has no such command.
    """
    if line.split(maxsplit=1)[:1] in ([name] for name in _TEXTS):
        return _iptables(host, line, stdin)
    words = parse_command(line)
    try:
        return _DOING[words[0]](host, words)
    except NetlabError as problem:
        return Output("", str(problem), 1)


def _ip_call(words: Sequence[str]) -> tuple[str, str, list[str]]:
    """What `ip` is asked for: object, action, and the rest.

    Raises:
        NetlabError: anything but `add` and `del` of addresses, routes and rules.
    """
    match [word for word in words[1:] if word != "-4"]:
        case [what, "add" | "del" as action, *rest] if rest:
            for name in _IP_OBJECTS:
                if name.startswith(what) and len(what) >= (2 if name == "rule" else 1):
                    return name, action, rest
    raise NetlabError(f"{' '.join(words)!r}: of ip, hosts have only {{address|route|rule}} {{add|del}} ...")


def settings(words: Sequence[str]) -> list[tuple[str, int]]:
    """The sysctls that `sysctl -w` is to set.

    Raises:
        NetlabError: it is asked for anything else.
    """
    if len(words) < 3 or words[1] != "-w":
        raise NetlabError(f"{' '.join(words)!r}: of sysctl, hosts have only -w NAME=VALUE")
    found = []
    for word in words[2:]:
        name, _, value = word.partition("=")
        try:
            found.append((name.strip(), int(value, 0)))
        except ValueError:
            raise NetlabError(f"sysctl: {word!r} is not NAME=NUMBER") from None
    return found


def _ip(host: Host, words: list[str]) -> Output:
    what, action, rest = _ip_call(words)
    _IP[what, action](host.fib, " ".join(rest))
    return Output("")


def _address(text: str) -> tuple[str, InterfaceAddress]:
    match text.split():
        case [address, "dev", dev]:
            return dev, InterfaceAddress.parse(address)
    raise NetlabError(f"{text!r} is not ADDRESS/LENGTH dev INTERFACE")


_IP: Final[dict[tuple[str, str], Callable[[Fib, str], object]]] = {
    ("address", "add"): lambda fib, text: fib.add_address(*_address(text)),
    ("address", "del"): lambda fib, text: fib.remove_address(*_address(text)),
    ("route", "add"): lambda fib, text: fib.add(parse_route(text)),
    ("route", "del"): delete_route,
    ("rule", "add"): lambda fib, text: fib.add_rule(parse_rule(text)),
    ("rule", "del"): delete_rule,
}


def _sysctl(host: Host, words: list[str]) -> Output:
    wanted = settings(words)
    for name, value in wanted:
        host.sysctls.set(name, value)
    return Output("\n".join(f"{name} = {value}" for name, value in wanted))


def _iptables(host: Host, line: str | list[str], stdin: str = "") -> Output:
    from netlab.iptables.command import command

    return command(host.firewall, line, stdin)


def _ipset(host: Host, words: list[str]) -> Output:
    from netlab.iptables.set_command import ipset

    return ipset(host, words[1:])


_DOING: Final[dict[str, Callable[[Host, list[str]], Output]]] = {
    "conntrack": lambda host, words: conntrack(host, words[1:]),
    "ip": _ip,
    "ipset": _ipset,
    "iptables": _iptables,
    "sysctl": _sysctl,
}
