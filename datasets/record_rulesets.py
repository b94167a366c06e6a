"""Records the rule sets in datasets/rulesets: what firewalls of Debian load, as iptables-save and ipset save print it.

    sudo .venv/bin/python datasets/record_rulesets.py            # all of them, into datasets/rulesets
    sudo .venv/bin/python datasets/record_rulesets.py ufw        # one of them

Each program runs in namespaces of its own, on the gateway that rulesets/gateway.sh makes; rulesets/NAME.sh is what it
is told. Dates, policies' counters and the sets' random numbers are taken out, so that a second recording is the same.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from netlab.datasets import DATASETS
from netlab.names import NetlabError

RULESETS = DATASETS / "rulesets"
NAMES = ("ufw", "firewalld", "shorewall", "fail2ban", "libvirt")
NAMESPACES = ("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc")
PATIENCE = 120  # seconds
SAVE = """
exec >&3
iptables-save
echo --- sets
ipset save
"""


def loaded(name: str, variant: str) -> tuple[str, str]:
    """What the program leaves behind: iptables-save and ipset save.

    Raises:
        NetlabError: it failed; the message ends with the last thing it said.
    """
    script = "".join((RULESETS / f"{part}.sh").read_text(encoding="utf-8") for part in ("gateway", name))
    ran = subprocess.run(
        [*NAMESPACES, "bash", "-c", f"exec 3>&1 >&2\n{script}{SAVE}"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "VARIANT": variant, "LC_ALL": "C.UTF-8"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if ran.returncode:
        raise NetlabError(f"{name}: status {ran.returncode}: {ran.stderr.strip()[-500:]}")
    rules, _, sets = ran.stdout.partition("--- sets\n")
    rules = re.sub(r"^(# (?:Generated|Completed).*) on .*", r"\1", rules, flags=re.MULTILINE)
    rules = re.sub(r"^(:\S+ \S+) \[\d+:\d+\]", r"\1 [0:0]", rules, flags=re.MULTILINE)
    return rules, re.sub(r" initval 0x\w+", "", sets)


def record(name: str, folder: Path) -> None:
    """Writes NAME.rules (iptables-nft), NAME.legacy.rules, and NAME.sets if there are any sets."""
    rules, sets = loaded(name, "nft")
    (folder / f"{name}.rules").write_text(rules, encoding="utf-8")
    (folder / f"{name}.legacy.rules").write_text(loaded(name, "legacy")[0], encoding="utf-8")
    if sets:
        (folder / f"{name}.sets").write_text(sets, encoding="utf-8")
    print(f"{name}: {rules.count(chr(10) + '-A ')} rules")


def main() -> int:
    """Records what the command line asks for; 2 where that failed, with one line why."""
    parser = argparse.ArgumentParser(description="Records the rule sets in datasets/rulesets.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--to", type=Path, default=RULESETS, help="the folder for the rule sets")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        print(f"no rule set {min(unknown)!r} (there are {', '.join(NAMES)})", file=sys.stderr)
        return 2
    if os.geteuid():
        print("the namespaces need root", file=sys.stderr)
        return 2
    try:
        for name in options.names or NAMES:
            record(name, options.to)
    except (NetlabError, OSError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
