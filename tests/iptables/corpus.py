"""What the real iptables 1.8.9 answered (record.py), and where netlab answers otherwise, with the reason."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from netlab.iptables.check import check_table
from netlab.iptables.edit import edit
from netlab.iptables.extension import Variant
from netlab.iptables.model import Chain, Rule, Table
from netlab.iptables.parse import parse
from netlab.iptables.words import RuleError, Word

DATA: Final = Path(__file__).parent / "data"
USER_CHAINS: Final = ("USER", "OTHER")

STRICTER: Final = {
    r"localhost|nonsense\.invalid|0x0a000001": "names of hosts, and addresses that only the resolver reads",
    r"-p udp --[sd]port (65536|80:70|\"\")|--ct(orig|repl)(src|dst)port (65536|90:80|\"\")": "ports that it bends",
    r"--ctexpire \"\"|--length \"\"|--ct(orig|repl)(src|dst) [0-9.]+/33|--connlimit-mask 33": "what it takes for 0, 32",
    r"\" 80\"|\"80, 443\"|--tcp-flags (SYN,|,SYN) SYN|--queue-balance :3|:80-90/100": "slips that it reads past",
    r"--limit (1s|1\.5/s|4294967297/s)|--mask 24": "numbers of which it reads the beginning",
    r"--to 10\.0\.0\.0/(33|255\.0\.255\.0)": "masks that NETMAP cannot have",
    r"-m recent --name \w{200}|--rsource --rdest|--set-mss 1400 --clamp": "two things of which it forgets one",
    r"! -p tcp -j DNAT .*:80": "ports of a protocol that may have none",
    r"CT .*--(zone|ctevents|expevents|timeout|helper \"\")|--nflog-range|-j QUEUE|512kb/s": "what netlab does not have",
    r"--nflog-prefix \w{62,}": "a prefix that the kernel cuts off",
    r"^-i \"(br 0|eth0 )\"": "names that no interface has, and that it does not print between quotation marks",
}
"""Rules that iptables takes and netlab refuses, by a pattern of the rule."""

MORE_LENIENT: Final = {
    r"CT .*--helper (tftp|irc|sip|ftp)": "the helper was not loaded when this was recorded",
    r"--match-set (nosuch|abcdefghijklmnopqrstuvwxyz01234|\"\")": "sets are looked for when rules are bound to a host",
    r"^-m multiport .*-p ": "-m multiport in front of -p",
    r"--(log|nflog)-prefix \"\"": "an empty prefix is none",
    r"^-w x": "nobody waits for a lock",
    r"80-90/0": "a base port of 0",
    r"http-https": "names of services in a range",
}
"""Rules that iptables refuses and netlab takes."""

PRINTED_OTHERWISE: Final = {
    r"^-p tcp -m tcp --dport 80 -m tcp --sport 90$": "iptables-nft takes two matches tcp for one when it prints them",
    r"--name \"[^\"]*\s": "it prints no quotation marks, and its output does not load",
    r"! -[io] \+|^-p (tcp|udp) ! --dport 0:65535|^-p tcp --tcp-flags NONE": "iptables-legacy prints more, or less",
    r"--seconds 429496729\d": "iptables prints -1, -2",
}
"""Rules that both take and print differently."""


def recorded(name: str) -> Iterator[dict[str, Any]]:
    """The records of one file."""
    with (DATA / f"{name}.jsonl").open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def excused(rule: str, reasons: dict[str, str]) -> bool:
    """Whether a pattern means the rule."""
    return any(re.search(pattern, rule) for pattern in reasons)


def load(table: str, chain: str, rule: str, variant: Variant) -> list[Rule]:
    """The rules that `iptables -A` makes of the text, once the kernel has taken them.

    Raises:
        RuleError: refused.
    """
    into = Table.empty(table)
    for name in USER_CHAINS:
        into.chains[name] = Chain(name)
    words = [Word(text, 1, number) for number, text in enumerate(shlex.split(f"-A {chain} {rule}"), 1)]
    call = parse(words)
    if not call.command:
        raise RuleError("not for IPv4")
    edit(into, call)
    check_table(into, variant)
    return into.chains[chain].rules
