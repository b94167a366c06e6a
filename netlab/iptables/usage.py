"""What the commands of iptables print when they are asked for help: what netlab has of them."""

from collections.abc import Iterable, Iterator
from textwrap import fill
from typing import Final

from netlab.iptables.base import Base
from netlab.iptables.extension import MATCHES, TARGETS, Extension

_IPTABLES: Final = """\
Usage: iptables [-t TABLE] COMMAND

  -A, -I, -D, -C CHAIN RULE      append, insert, delete, look for a rule
  -I, -R, -D CHAIN NUMBER        the same by number, from 1; -R replaces
  -L, -S, -F, -Z [CHAIN]         list, print as commands, flush, set counters to 0
  -P CHAIN ACCEPT|DROP           policy of a built-in chain
  -N, -X, -E CHAIN               make, delete, rename a chain
  -n -v -x --line-numbers        what -L shows
  -c PACKETS BYTES               counters of a new rule

RULE is any of these, [!] -m MATCH with its options, and -j TARGET or -g CHAIN:
"""
_SAVE: Final = "Usage: iptables-save [-c|--counters] [-t|--table TABLE]"
_RESTORE: Final = (
    "Usage: iptables-restore [-c|--counters] [-n|--noflush] [-t|--test] [-T|--table TABLE], with the rules on its input"
)


def usage(program: str, loaded: Iterable[type[Extension]] = ()) -> str:
    """The help of `iptables`, `iptables-save` or `iptables-restore`.

    Args:
        program: its name.
        loaded: the extensions that the command line names, whose options are told.
    """
    if program != "iptables":
        return _SAVE if program == "iptables-save" else _RESTORE
    text = _IPTABLES + "\n".join(_options(Base))
    for name, known in (("MATCH", MATCHES), ("TARGET", TARGETS)):
        text += "\n\n" + fill(f"{name}: {', '.join(sorted(known))}", 110, subsequent_indent="  ")
    for extension in loaded:
        text += "\n\n" + "\n".join([f"Options of {extension.name}:", *_options(extension)])
    return text


def _options(extension: type[Extension]) -> Iterator[str]:
    for option in extension.options:
        yield f"  {'[!] ' if option.negatable else '    '}{', '.join(option.names)}"
