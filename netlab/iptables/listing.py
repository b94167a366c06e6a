"""Tables as `iptables -L` prints them, column by column."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from netlab.iptables.extension import Match, Target
from netlab.iptables.matches.multiport import MultiportMatch
from netlab.iptables.model import HIGHEST_COUNT, Chain, Jump, Rule, Table
from netlab.iptables.option import Is, Masked, protocol_of
from netlab.iptables.save import in_order

_ANYWHERE: Final = {True: "0.0.0.0/0", False: "anywhere"}
_ANY_DEVICE: Final = {True: "*", False: "any"}
_LOCALHOST: Final = "127.0.0.1"
_SHORT: Final = 99_999  # the highest number that is printed in full without -x


class Columns(NamedTuple):
    """What is shown: `-n`, `-v`, `-x`, `--line-numbers`."""

    numeric: bool = False
    verbose: bool = False
    exact: bool = False
    line_numbers: bool = False


def list_table(table: Table, columns: Columns, chain: str | None = None, number: int | None = None) -> str:
    """A table as `iptables -L` prints it.

    Args:
        table: what to show.
        columns: how much of it.
        chain: this chain alone.
        number: this rule of it alone, from 1, and no heading.
    """
    chains = [one for one in in_order(table) if chain in (None, one.name)]
    if number is not None:
        rules = chains[0].rules[number - 1 : number]
        return "\n".join(_line(rule, number, columns) for rule in rules)
    references = table.references()
    return "\n\n".join("\n".join(_chain(one, references[one.name], columns)) for one in chains)


def _chain(chain: Chain, references: int, columns: Columns) -> Iterator[str]:
    packets, octets = chain.counters.shown
    if chain.hook is None:
        about = f"{references} references"
    elif columns.verbose:
        counted = (packets, "packets"), (octets, "bytes")
        about = f"policy {chain.policy} " + ", ".join(f"{_short(n, columns).strip()} {what}" for n, what in counted)
    else:
        about = f"policy {chain.policy}"
    yield f"Chain {chain.name} ({about})"
    yield _heading(columns)
    for number, rule in enumerate(chain.rules, 1):
        yield _line(rule, number, columns)


def _heading(columns: Columns) -> str:
    packets, octets = (8, 10) if columns.exact else (5, 5)
    number = "num  " if columns.line_numbers else ""
    counters = f"{'pkts':>{packets}} {'bytes':>{octets}} " if columns.verbose else ""
    devices = f" {'in':6} {'out':6} " if columns.verbose else ""
    return f"{number}{counters}{'target':9}  prot opt{devices} {'source':19}  {'destination':19} "


def _line(rule: Rule, number: int, columns: Columns) -> str:
    base, target = rule.base, rule.target
    line = f"{number:<4} " if columns.line_numbers else ""
    if columns.verbose:
        line += " ".join(_short(number, columns) for number in rule.counters.shown) + " "
    line += f"{_name(target):9} {_protocol(base.proto, columns.numeric)} {_fragment(base.fragment)} "
    if columns.verbose:
        line += f" {_device(base.dev_in, columns.numeric):6} {_device(base.dev_out, columns.numeric):6} "
    line += _address(base.source, columns.numeric) + _address(base.destination, columns.numeric)
    return line + _rest(rule, columns.numeric)


def described(rule: Rule) -> str:
    """One rule as `-v` prints it behind a command that changes rules."""
    base = rule.base
    proto = _protocol(base.proto, numeric=False).rstrip()
    devices = f"in {_device(base.dev_in, numeric=True)} out {_device(base.dev_out, numeric=True)}"
    source, to = (_address(one, numeric=True).rstrip() for one in (base.source, base.destination))
    line = f"{_name(rule.target)} {proto} opt {_fragment(base.fragment)} {devices} {source} {to[0]}-> {to[1:]}  "
    return line + _rest(rule, numeric=True)


def _rest(rule: Rule, numeric: bool) -> str:
    """What the matches and the target say for themselves."""
    said = [_match(match, rule.base.protocol, numeric) for match in rule.matches[1:] if str(match)]
    target = rule.target
    if isinstance(target, Target):
        said.append(target.listed(numeric))
    goto = "[goto] " if isinstance(target, Jump) and target.goto else ""
    return goto + "".join(f" {text}" for text in said if text)


def _match(match: Match, protocol: int, numeric: bool) -> str:
    """One match; what the services of a multiport are called depends on the protocol, which another one asks for."""
    return match.listed(numeric, protocol) if isinstance(match, MultiportMatch) else match.listed(numeric)


def _name(target: Target | Jump | None) -> str:
    if target is None:
        return ""
    return target.chain if isinstance(target, Jump) else target.name


def _protocol(proto: Is[int] | None, numeric: bool) -> str:
    number, negated = proto or Is(0)
    name = str(number) if numeric else protocol_of(number) if number else "all"
    return f"{'!' if negated else ' '}{name:4}"


def _fragment(fragment: Is[bool] | None) -> str:
    return "--" if fragment is None else "!f" if fragment.negated else "-f"


def _device(device: Is[str] | None, numeric: bool) -> str:
    if device is None:
        return _ANY_DEVICE[numeric]
    return f"{'!' if device.negated else ''}{device.value}"


def _address(address: Is[Masked] | None, numeric: bool) -> str:
    if address is None:
        return f" {_ANYWHERE[numeric]:19} "
    text = str(address.value).removesuffix("/32")
    if text == _LOCALHOST and not numeric:
        text = "localhost"
    return f"{'!' if address.negated else ' '}{text:19} "


def _short(number: int, columns: Columns) -> str:
    """A counter in its column: with K, M, G or T where it is long, unless -x asks for all of it."""
    if columns.exact:
        return f"{number:8}"
    if number <= _SHORT:
        return f"{number:5}"
    for unit in "KMGT":
        number = (number + 500 & HIGHEST_COUNT) // 1000
        if number <= 9999 or unit == "T":
            return f"{number:4}{unit}"
    raise AssertionError("T is the last")
