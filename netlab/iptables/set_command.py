"""The command `ipset` of a simulated host: ipset(8) 7.17, with its own words for results and errors.

    print(ipset(router, "add blocked 10.0.0.7"))

What the real one has and this one has not is refused as an unknown argument: other types than hash:ip, hash:net and
hash:ip,port; counters, netmask, skbinfo and forceadd; names of hosts.
"""

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from netlab.conntrack.options import Output
from netlab.iptables.set_members import Member, SetError, members, number_up_to
from netlab.iptables.sets import LONGEST_NAME, TYPES, IpSet, Sets
from netlab.iptables.words import Place
from netlab.names import NetlabError, Proto

VERSION: Final = "ipset v7.17"
_USAGE: Final = """\
Usage: ipset [-exist] [-quiet] [-terse] [-name] COMMAND

  create SET hash:ip|hash:net|hash:ip,port [timeout SECONDS] [maxelem NUMBER] [comment]
  add SET ENTRY [timeout SECONDS] [nomatch] [comment TEXT]
  del, test SET ENTRY
  list, save, flush, destroy [SET]
  rename, swap SET SET
  restore                             reads commands from its input"""
LONGEST_TIMEOUT: Final = 2147483  # seconds
COMMANDS: Final = {
    "create": ("-N", "n", "--create"), "add": ("-A", "--add"), "del": ("-D", "--del"), "test": ("-T", "--test"),
    "destroy": ("-X", "x", "--destroy"), "list": ("-L", "--list"), "save": ("-S", "--save"),
    "restore": ("-R", "--restore"), "flush": ("-F", "--flush"), "rename": ("-E", "e", "--rename"),
    "swap": ("-W", "w", "--swap"), "version": ("-v", "-V", "--version"), "help": ("-h", "-H", "--help"),
}  # fmt: skip
_NAMES: Final = {name: command for command, names in COMMANDS.items() for name in (command, *names)}
_FLAGS: Final = {
    "-exist": "exist", "-!": "exist", "--exist": "exist", "-quiet": "quiet", "-q": "quiet", "--quiet": "quiet",
    "-terse": "terse", "-t": "terse", "--terse": "terse", "-name": "name", "-n": "name", "--name": "name",
}  # fmt: skip
_ARGUMENTS: Final = {"create": 2, "add": 2, "del": 2, "test": 2, "rename": 2, "swap": 2}
_TYPES: Final = {name: name for name in TYPES} | {
    "iphash": "hash:ip", "nethash": "hash:net", "ipporthash": "hash:ip,port",
}  # fmt: skip
_PAIRS: Final = {
    "create": ("family", "hashsize", "maxelem", "timeout", "bucketsize", "initval"),
    "add": ("timeout", "comment"),
}
_LEFT_OUT: Final = frozenset({
    "netmask", "bitmask", "markmask", "counters", "forceadd", "skbinfo", "range", "size", "packets", "bytes", "skbmark",
    "skbprio", "skbqueue", "wildcard",
})  # fmt: skip
"""Options of ipset that netlab's sets do not have."""
_OTHER_TYPES: Final = frozenset({
    "bitmap:ip", "bitmap:ip,mac", "bitmap:port", "hash:mac", "hash:ip,mac", "hash:ip,mark", "hash:net,net",
    "hash:net,port", "hash:net,iface", "hash:ip,port,ip", "hash:ip,port,net", "hash:net,port,net", "list:set",
})  # fmt: skip
_ALONE: Final = {"create": ("comment",), "add": ("nomatch",), "test": ("nomatch",)}


class Holder(Protocol):
    """A host, as far as this command needs it."""

    @property
    def sets(self) -> Sets: ...


@dataclass
class Call:
    """A command line, read: the command, its arguments, and the options by name."""

    command: str
    arguments: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)


def ipset(host: Holder, line: str | Sequence[str], stdin: str = "") -> Output:
    """Run `ipset` with these arguments on a host; `stdin` is what `restore` reads.

    Raises:
        NetlabError: quotation marks that do not end.
    """
    call = Call("")
    try:
        call = parse(line)
        if call.command == "restore":
            restore(host.sets, stdin, exist="exist" in call.flags)
            return Output("")
        return Output(*_DOING[call.command](host.sets, call))
    except SetError as refused:
        where = f"Error in line {refused.place.line}: " if refused.place else ""
        hint = "\nTry `ipset help' for more information." if refused.status > 1 else ""
        said = "" if "quiet" in call.flags else f"{VERSION}: {where}{refused.problem}{hint}"
        return Output("", said, refused.status)


def restore(sets: Sets, text: str, *, exist: bool = False) -> None:
    """Do what `ipset save` has written, all of it or nothing; the real one stops in the middle.

    Raises:
        SetError: what is wrong, with its line and column.
    """
    changed = sets.copied()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if not words or words.startswith("#") or words == "COMMIT":
            continue
        try:
            call = parse(words)
            call.flags |= {"exist"} if exist else set()
            if call.command == "restore":
                raise SetError("restore within restore", status=2)
            _DOING[call.command](changed, call)
        except SetError as problem:
            place = Place(number, len(line) - len(line.lstrip()) + 1)
            raise SetError(problem.problem, place, problem.status) from None
        except NetlabError as problem:
            raise SetError(str(problem), Place(number, 1)) from None
    sets.take_over(changed)


# ---------------------------------------------------------------- reading a command line


def parse(line: str | Sequence[str]) -> Call:
    """Read a command line, with or without the word `ipset` in front.

    Raises:
        SetError: as the real command refuses it.
        NetlabError: quotation marks that do not end.
    """
    try:
        words = _split(line) if isinstance(line, str) else list(line)
    except ValueError as problem:
        raise NetlabError(f"ipset: {problem}") from None
    if words[:1] == ["ipset"]:
        del words[0]
    call = Call("")
    rest = iter(words)
    for word in rest:
        if not call.command and word in _NAMES:
            call.command = _NAMES[word]
        elif word in _FLAGS:
            call.flags.add(_FLAGS[word])
        elif not call.command:
            raise SetError(f"No command specified: unknown argument {word}", status=2)
        elif len(call.arguments) < _ARGUMENTS.get(call.command, 1):
            call.arguments.append(word)
        else:
            _option(call, word, rest)
    if not call.command:
        raise SetError("No command specified.", status=2)
    missing = _ARGUMENTS.get(call.command, 0) - len(call.arguments)
    if missing > 0:
        which = "Missing second" if missing == 1 else "Missing"
        raise SetError(f"{which} mandatory argument to command {call.command}", status=2)
    for name in call.arguments[:1] if call.command != "rename" else call.arguments:
        if len(name) > LONGEST_NAME:
            raise SetError(f"Syntax error: setname '{name}' is longer than {LONGEST_NAME} characters")
    return call


def _split(line: str) -> list[str]:
    """As a shell does; most lines need none."""
    return shlex.split(line) if any(mark in line for mark in "\"'\\") else line.split()


def _option(call: Call, word: str, rest: Iterator[str]) -> None:
    value = ""
    if word in _PAIRS.get(call.command, ()):
        try:
            value = next(rest)
        except StopIteration:
            raise SetError(f"Missing mandatory argument of option `{word}'", status=2) from None
    elif word in _LEFT_OUT:
        raise SetError(f"netlab's sets do not have `{word}'", status=2)
    elif word not in _ALONE.get(call.command, ()):
        written = f": `{word}'" if call.command in ("create", "add", "del", "test") else f" {word}"
        raise SetError(f"Unknown argument{written}", status=2)
    if word in call.options:
        raise SetError(f"Syntax error: {word} already specified")
    call.options[word] = value


def _timeout(call: Call) -> int | None:
    return number_up_to(call.options["timeout"], LONGEST_TIMEOUT) if "timeout" in call.options else None


# ---------------------------------------------------------------- doing it

Answer = tuple[str] | tuple[str, str] | tuple[str, str, int]
SMALLEST_HASH: Final = 64


def _create(sets: Sets, call: Call) -> Answer:
    name, kind = call.arguments
    if kind in _OTHER_TYPES:
        raise SetError(f"netlab has no sets of type '{kind}', only {', '.join(TYPES)}")
    if kind not in _TYPES:
        raise SetError(f"Syntax error: typename '{kind}' is unknown")
    family = call.options.get("family", "inet")
    if family in ("inet6", "ipv6", "-6"):
        raise SetError(f"netlab has no sets of family {family}, only inet")
    if family not in ("inet", "ipv4", "-4"):
        raise SetError(f"Syntax error: unknown inet family {family}")
    made = IpSet(name, TYPES[_TYPES[kind]], sets.now, timeout=_timeout(call), comment="comment" in call.options)
    for key in ("maxelem", "initval"):
        if key in call.options:
            setattr(made, key, number_up_to(call.options[key], 0xFFFFFFFF))
    if "hashsize" in call.options:
        wanted = number_up_to(call.options["hashsize"], 0xFFFFFFFF)
        made.hashsize = max(1 << (wanted - 1).bit_length() if wanted else 0, SMALLEST_HASH)
    if "bucketsize" in call.options:
        wanted = number_up_to(call.options["bucketsize"], 0xFF)
        made.bucketsize = min(max(wanted + wanted % 2, 2), 14)
    sets.create(made, exist="exist" in call.flags)
    return ("",)


def _meant(chosen: IpSet, text: str, call: Call) -> Iterator[Member]:
    """The members that are meant; of networks alone there may be exceptions."""
    meant = members(chosen.type.name, text)
    if "nomatch" in call.options and chosen.type.name != "hash:net":
        raise SetError("Unknown argument: `nomatch'", status=2)
    return meant


def _add(sets: Sets, call: Call) -> Answer:
    name, text = call.arguments
    chosen = sets[name]
    meant = _meant(chosen, text, call)
    comment = call.options.get("comment", "")
    if '"' in comment:
        raise SetError('Syntax error: " character is not permitted in comments')
    timeout, nomatch, exist = _timeout(call), "nomatch" in call.options, "exist" in call.flags
    for member in meant:
        chosen.add(member, timeout=timeout, nomatch=nomatch, comment=comment, exist=exist)
    return ("",)


def _delete(sets: Sets, call: Call) -> Answer:
    name, text = call.arguments
    chosen = sets[name]
    for member in members(chosen.type.name, text):
        chosen.delete(member, exist="exist" in call.flags)
    return ("",)


def _test(sets: Sets, call: Call) -> Answer:
    name, text = call.arguments
    chosen = sets[name]
    asked = next(_meant(chosen, text, call))
    where = f"in command test with set type {chosen.type.name} and family inet"
    if "-" in text and chosen.type.name == "hash:net":
        raise SetError(f"FROM-TO IP range is not allowed {where}")
    if "-" in text.partition(":")[2] and asked.proto != Proto.ICMP:
        raise SetError(f"FROM-TO port range is not allowed {where}")
    found = chosen.find(asked)
    said = text if chosen.type.dimension == 1 else str(asked)
    if found is not None and found.nomatch is ("nomatch" in call.options):
        return "", f"Warning: {said} is in set {name}."
    return "", f"{said} is NOT in set {name}.", 1


def _list(sets: Sets, call: Call) -> Answer:
    chosen = [sets[call.arguments[0]]] if call.arguments else list(sets)
    if "name" in call.flags:
        return ("\n".join(one.name for one in chosen),)
    return ("\n\n".join(one.list(sets.references(one.name), terse="terse" in call.flags) for one in chosen),)


def _save(sets: Sets, call: Call) -> Answer:
    return (sets[call.arguments[0]].save() if call.arguments else str(sets),)


def _one(doing: Callable[[Sets, str | None], None]) -> Callable[[Sets, Call], Answer]:
    def do(sets: Sets, call: Call) -> Answer:
        doing(sets, call.arguments[0] if call.arguments else None)
        return ("",)

    return do


def _two(doing: Callable[[Sets, str, str], None]) -> Callable[[Sets, Call], Answer]:
    def do(sets: Sets, call: Call) -> Answer:
        doing(sets, call.arguments[0], call.arguments[1])
        return ("",)

    return do


_DOING: Final[dict[str, Callable[[Sets, Call], Answer]]] = {
    "create": _create, "add": _add, "del": _delete, "test": _test, "list": _list, "save": _save,
    "destroy": _one(Sets.destroy), "flush": _one(Sets.flush), "rename": _two(Sets.rename), "swap": _two(Sets.swap),
    "version": lambda sets, call: (f"{VERSION}, protocol version: 7",), "help": lambda sets, call: (_USAGE,),
}  # fmt: skip
