"""The commands `iptables`, `iptables-save` and `iptables-restore` of a simulated host, with iptables' own words.

    print(command(router.firewall, "iptables -A INPUT -p tcp --dport 22 -j ACCEPT"))

Words, exit statuses and output are those of iptables-nft 1.8.9; what the kernel refuses is said better than there.
"""

from collections.abc import Iterator, Mapping, Sequence
from getopt import GetoptError, gnu_getopt
from typing import Final, Protocol

from netlab.conntrack.options import Output, placed_words
from netlab.iptables.call import Call
from netlab.iptables.check import REFUSED
from netlab.iptables.edit import edit
from netlab.iptables.extension import Variant
from netlab.iptables.listing import Columns, described, list_table
from netlab.iptables.model import TABLES, Chain, Ruleset, Table
from netlab.iptables.parse import parse
from netlab.iptables.restore import in_use, restore
from netlab.iptables.save import in_order, list_rules, save
from netlab.iptables.usage import usage
from netlab.iptables.words import RuleError, Word, check_letters
from netlab.names import NetlabError

VERSION: Final[Mapping[Variant, str]] = {"nft": "v1.8.9 (nf_tables)", "legacy": "v1.8.9 (legacy)"}
_LISTING: Final = ("list", "list-rules")
_SAVE: Final = {"-c": "--counters", "-t:": "--table=", "-V": "--version", "-f:": "--file=", "-M:": "--modprobe="}
_RESTORE: Final = {
    "-c": "--counters", "-n": "--noflush", "-t": "--test", "-v": "--verbose", "-T:": "--table=", "-V": "--version",
    "-h": "--help", "-w": "--wait", "-W:": "--wait-interval=", "-M:": "--modprobe=",
}  # fmt: skip
"""Options as getopt writes them, short and long."""
_NOT_HERE: Final = {"--file": "netlab has no files", "--modprobe": "netlab starts no programs"}


class Rules(Protocol):
    """What a host has rules in, as far as these commands need it."""

    ruleset: Ruleset
    variant: Variant

    def replace(self, ruleset: Ruleset) -> None:
        """Put these rules in the place of those in force.

        Raises:
            RuleError: the kernel would refuse them.
        """
        ...


def command(firewall: Rules, line: str | Sequence[str], stdin: str = "") -> Output:
    """Run a command line on a host's rules.

    Args:
        firewall: the rules.
        line: the command, with its name in front; a text is split as a shell splits it.
        stdin: what iptables-restore reads.

    Raises:
        NetlabError: quotation marks that do not end, or another command.
    """
    words = [Word(text, 1, column) for column, text in placed_words(line)]
    name = words.pop(0).text if words else ""
    program = name.rpartition("/")[2].replace("-nft", "").replace("-legacy", "")
    if program not in _PROGRAMS:
        raise NetlabError(f"{name!r} is none of {', '.join(_PROGRAMS)}")
    return _PROGRAMS[program](firewall, program, words, stdin)


# ---------------------------------------------------------------- iptables


def _iptables(firewall: Rules, program: str, words: list[Word], stdin: str) -> Output:
    try:
        for word in words:
            check_letters(*word[:3])
        call = parse(words)
        if call.command == "version":
            return Output(f"{program} {VERSION[firewall.variant]}")
        if call.command == "help":
            return Output(usage(program, call.loaded))
        if not call.command:
            raise RuleError("-6 is for ip6tables")
        return Output(_done(firewall, call))
    except RuleError as refused:
        return _refused(firewall.variant, program, refused)


def _done(firewall: Rules, call: Call) -> str:
    """Do it; what it prints."""
    name = "filter" if call.table is None else call.table
    if name not in TABLES:
        problem = f"table '{name}' does not exist\nPerhaps iptables or your kernel needs to be upgraded."
        raise RuleError(problem, status=3)
    before = firewall.ruleset.tables.get(name) or Table.empty(name)
    lines = list(_shown(before, call))
    table = before
    if call.command not in _LISTING or call.zero:
        table = before.copied()
        edit(table, call if call.command not in _LISTING else Call("zero", call.chain, call.number), firewall.variant)
    known = name in firewall.ruleset.tables
    if _changes(before, table, call) if known else in_use(table) or firewall.variant == "legacy":
        firewall.replace(Ruleset(firewall.ruleset.tables | {name: table}))
    if "verbose" in call.flags:
        lines += _told(before, call)
    return "\n".join(lines)


def _changes(before: Table, after: Table, call: Call) -> bool:
    """Whether there is anything new for the kernel: iptables-legacy has all of a table counted anew then."""
    if call.command == "delete-chain":
        chains = [[(chain.name, chain.hooked) for chain in table.chains.values()] for table in (before, after)]
        return chains[0] != chains[1]
    return after is not before and call.command != "check"


def _shown(table: Table, call: Call) -> Iterator[str]:
    if call.command not in _LISTING:
        return
    if call.chain is not None and call.chain not in table.chains:
        problem = f"chain `{call.chain}' in table `{table.name}' is incompatible, use 'nft' tool."
        raise RuleError(problem, call.chain_place, status=1)
    verbose = "verbose" in call.flags
    if call.command == "list":
        numeric, exact, numbers = (flag in call.flags for flag in ("numeric", "exact", "line-numbers"))
        text = list_table(table, Columns(numeric, verbose, exact, numbers), call.chain, call.number)
    else:
        text = list_rules(table, call.chain, call.number, counters=verbose)
    if text:
        yield text


def _told(table: Table, call: Call) -> Iterator[str]:
    """What `-v` says of a command that changes something."""
    chains = [chain.name for chain in in_order(table) if call.chain in (None, chain.name)]
    if call.command == "flush":
        yield from (f"Flushing chain `{name}'" for name in chains)
    elif call.command == "delete-chain":
        yield from (f"Deleting chain `{name}'" for name in chains if _deletable(table.chains[name], call))
    elif call.command == "zero" or call.zero:
        there = [name for name in chains if table.chains[name].hook is None or table.chains[name].hooked]
        yield from (f"Zeroing chain `{name}'" for name in there if call.number is None)
    else:
        yield from map(described, call.rules)


def _deletable(chain: Chain, call: Call) -> bool:
    return chain.hook is None or call.chain is not None


def _refused(variant: Variant, program: str, refused: RuleError) -> Output:
    problem, hint = refused.problem, f"\nTry `{program} -h' or '{program} --help' for more information."
    status = _status(variant, refused)
    if problem.startswith("Bad argument"):
        said = problem + hint
    elif status == 2:
        said = f"{program} {VERSION[variant]}: {problem}{hint}"
    elif status == 1 and "incompatible" not in problem:
        said = f"{program}: {problem}"
    else:
        said = f"{program} {VERSION[variant]}: {problem}"
    return Output("", said, status, refused.place.column if refused.place else None)


def _status(variant: Variant, refused: RuleError) -> int:
    """With what iptables exits: iptables-legacy does not tell what the kernel refuses from what is not there."""
    return 1 if variant == "legacy" and refused.status == REFUSED else refused.status


# ---------------------------------------------------------------- iptables-save, iptables-restore


def _save(firewall: Rules, program: str, words: list[Word], stdin: str) -> Output:
    try:
        options = _options(words, _SAVE)
        if "--version" in options:
            return Output(f"{program} {VERSION[firewall.variant]}")
        text = save(firewall.ruleset, counters="--counters" in options, table=options.get("--table"))
    except RuleError as refused:
        return Output("", refused.problem, 1)
    return Output(text.rstrip("\n"))


def _restore(firewall: Rules, program: str, words: list[Word], stdin: str) -> Output:
    try:
        options = _options(words, _RESTORE)
    except RuleError as refused:
        return Output("", f"{program}: {refused.problem}\nTry `{program} -h' for more information.", 1)
    if "--version" in options or "--help" in options:
        return Output(usage(program) if "--help" in options else f"{program} {VERSION[firewall.variant]}")
    try:
        ruleset = restore(
            stdin,
            firewall.ruleset,
            noflush="--noflush" in options,
            counters="--counters" in options,
            table=options.get("--table"),
            variant=firewall.variant,
        )
        if "--test" not in options:
            firewall.replace(ruleset)
    except RuleError as refused:
        return _line_refused(firewall.variant, program, refused)
    return Output("")


def _line_refused(variant: Variant, program: str, refused: RuleError) -> Output:
    problem, status = refused.problem, _status(variant, refused)
    line = refused.place.line if refused.place else 0
    if status == 1:
        behind = f" at line {line}" if problem == "COMMIT expected" else ""
        return Output("", f"{program}: {problem}{behind}" if behind else f"{program}: line {line} failed: {problem}", 1)
    if status == 2:
        whose = "" if problem.startswith("Bad argument") else f"{program} {VERSION[variant]}: "
        hint = f"Try `{program} -h' or '{program} --help' for more information."
        return Output("", f"{whose}{problem}\nError occurred at line: {line}\n{hint}", 2)
    return Output("", f"{program} {VERSION[variant]}: line {line}: {problem}", status)


def _options(words: Sequence[Word], known: Mapping[str, str]) -> dict[str, str]:
    """The options by their long names, read as getopt_long(3) reads them; `-w` alone may stand without its value."""
    given: list[str] = []
    for word in words:
        text = "--wait" if word.text.startswith("--wait=") else word.text
        if text.startswith("-") or given[-1:] not in (["-w"], ["--wait"]):
            given.append(text)
    names = {short.rstrip(":"): long.rstrip("=") for short, long in known.items()}
    try:
        found, rest = gnu_getopt(given, "".join(known).replace("-", ""), [long[2:] for long in known.values()])
    except GetoptError as problem:
        raise RuleError(problem.msg) from None
    options = {names.get(name, name): value for name, value in found}
    for name in _NOT_HERE.keys() & options:
        raise RuleError(f"{name}: {_NOT_HERE[name]}")
    if rest:
        raise RuleError(f"Can't open {rest[0]}: netlab has no files")
    return options


_PROGRAMS: Final = {"iptables": _iptables, "iptables-save": _save, "iptables-restore": _restore}
