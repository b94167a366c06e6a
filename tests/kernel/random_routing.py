"""Machines that exist twice, in the kernel and in netlab, and random commands and lookups for them."""

import re
import subprocess
from pathlib import Path
from random import Random

from netlab.addresses import InterfaceAddress, Prefix, mask_of, parse_address
from netlab.kernel.namespaces import Namespace
from netlab.names import NetlabError
from netlab.route_text import delete_route, delete_rule, parse_route, parse_rule
from netlab.routing import Fib
from netlab.sysctls import CONF, NET, SHARED, Sysctls, conf_name

DEVICES = ("rta", "rtb", "rtc")
TABLES = ("100", "200", "253", "254", "255")
"""By number: in a batch, `ip` mistakes a name it has just read for the number it reads next."""
ODD = (
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "0.0.0.9",
    "255.255.255.255",
    "224.0.0.1",
    "224.0.0.9",
    "239.1.2.3",
    "240.0.0.1",
)
"""Addresses that mean something of their own."""


def run_ip(namespace: Namespace, lines: list[str]) -> None:
    """Commands of `ip` that must succeed."""
    with namespace.entered():
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


class Twins:
    """One machine in both worlds: the same commands, the same settings."""

    def __init__(self, namespace: Namespace) -> None:
        """A namespace in which the devices exist, and a Fib and Sysctls with the same ones."""
        self.namespace = namespace
        self.fib = Fib(DEVICES)
        self.sysctls = Sysctls(DEVICES)
        self.log: list[str] = []
        """What was done, for whoever has to find out why the two differ."""
        for place in ("all", "default", "lo", *DEVICES):
            for key in CONF:
                self._write(conf_name(place, key))
        for name in NET.keys() - SHARED.keys():
            self._write(name)

    def _write(self, name: str) -> None:
        with self.namespace.entered():
            self.path(name).write_text(str(self.sysctls.get(name)))

    @staticmethod
    def path(name: str) -> Path:
        """Where the kernel keeps a sysctl."""
        return Path("/proc/sys", *name.split("."))

    def set(self, name: str, value: int) -> None:
        """Write a sysctl in both worlds."""
        self.log.append(f"sysctl {name}={value}")
        self.sysctls.set(name, value)
        self._write(name)

    def batch(self, commands: list[str]) -> list[str]:
        """What `ip` prints for each command on the kernel's side: its output, or its complaint."""
        with self.namespace.entered():
            ip = ["ip", "-4", "-force", "-batch", "-"]
            done = subprocess.run(ip, input="\n".join(commands), capture_output=True, text=True, check=False)
        answers = [""] * len(commands)
        complaint: list[str] = []
        for line in done.stderr.splitlines():
            failed = re.fullmatch(r"Command failed -:(\d+)", line)
            if failed:
                answers[int(failed[1]) - 1], complaint = " ".join(complaint), []
            else:
                complaint.append(line)
        if done.stdout:
            printed = iter(re.findall(r".*\n    cache.*\n", done.stdout))
            answers = [answer or next(printed) for answer in answers]
        return answers

    def both(self, commands: list[str]) -> list[tuple[str, str, str]]:
        """Run commands that change something in both worlds: (command, the kernel's complaint, netlab's)."""
        self.log += commands
        return [(c, k, complaint(self.fib, c)) for c, k in zip(commands, self.batch(commands), strict=True)]

    def shown(self, *command: str) -> str:
        """What a command prints in the namespace."""
        with self.namespace.entered():
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def complaint(fib: Fib, command: str) -> str:
    """Do in netlab what `ip COMMAND` would do; what it complains about, or nothing."""
    thing, verb, rest = command.split(" ", 2)
    try:
        if thing == "address":
            address, _, dev = rest.split()
            change = fib.add_address if verb == "add" else fib.remove_address
            change(dev, InterfaceAddress.parse(address))
        elif thing == "route":
            _ = fib.add(parse_route(rest)) if verb == "add" else delete_route(fib, rest)
        else:
            _ = fib.add_rule(parse_rule(rest)) if verb == "add" else delete_rule(fib, rest)
    except NetlabError as error:
        return str(error)
    return ""


class Generator:
    """Draws commands and lookups in a small address space, so that they clash."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def address(self) -> str:
        r = self.random
        return f"10.{r.randrange(2)}.{r.randrange(3)}.{r.choice((0, 1, 2, 3, 5, 127, 128, 254, 255))}"

    def any_address(self) -> str:
        return self.random.choice(ODD) if self.chance(0.12) else self.address()

    def prefix(self) -> str:
        if self.chance(0.1):
            return "default"
        length = self.random.choice((8, 9, 15, 16, 22, 23, 24, 25, 29, 30, 31, 32, 32))
        return str(Prefix(parse_address(self.address()) & mask_of(length), length))

    def dev(self) -> str:
        return self.random.choice(DEVICES)

    def add_address(self) -> str:
        length = self.random.choice((8, 16, 22, 24, 24, 24, 25, 30, 31, 32))
        return f"address add {self.address()}/{length} dev {self.dev()}"

    def add_route(self) -> str:
        kinds = ["unreachable", "blackhole", "prohibit", "throw", "local", "broadcast", "multicast", "unicast"]
        words = [self.random.choice(kinds)] if self.chance(0.25) else []
        refuses = words and words[0] in kinds[:4]
        words.append(self.prefix())
        if not refuses or self.chance(0.05):
            words += ["via", self.address()] if self.chance(0.5) else []
            words += ["dev", self.dev()] if self.chance(0.4 if "via" in words else 0.9) else []
            words += ["onlink"] if self.chance(0.15) else []
            words += ["mtu", "1400"] if self.chance(0.1) else []
        for probability, word, values in (
            (0.1, "src", (self.address(),)),
            (0.3, "metric", ("5", "10", "4278198272")),
            (0.15, "tos", ("0x10", "0x08")),
            (0.3, "table", TABLES),
            (0.1, "scope", ("global", "site", "link", "host")),
            (0.2, "proto", ("static", "kernel", "bird")),
        ):
            words += [word, self.random.choice(values)] if self.chance(probability) else []
        return "route add " + " ".join(words)

    def add_rule(self) -> str:
        words = ["not"] if self.chance(0.15) else []
        words += ["from", self.prefix().replace("default", "all")] if self.chance(0.4) else []
        words += ["to", self.prefix().replace("default", "all")] if self.chance(0.3) else []
        for probability, word, values in (
            (0.2, "iif", (*DEVICES, "lo")),
            (0.15, "oif", DEVICES),
            (0.3, "fwmark", ("1", "0x2", "0x1/0x1", "0", "0/0x2")),
            (0.15, "tos", ("0x10", "0x08", "0x11", "0xe0")),
            (0.4, "priority", ("0", "5", "100", "32766", "40000")),
        ):
            words += [word, self.random.choice(values)] if self.chance(probability) else []
        if self.chance(0.2):
            words.append(self.random.choice(("blackhole", "unreachable", "prohibit")))
        else:
            words += ["lookup", self.random.choice(TABLES)]
        return "rule add " + " ".join(words)

    def commands(self, *, rules: bool) -> list[str]:
        """What makes a machine. Some of it must fail, and some of it is taken away again."""
        made = [self.add_address() for _ in range(self.random.randrange(2, 7))]
        made += [self.add_route() for _ in range(self.random.randrange(4, 30))]
        if rules:
            made += [self.add_rule() for _ in range(self.random.randrange(1, 6))]
            made += [self.add_route() for _ in range(self.random.randrange(6))]
        gone = self.random.sample(made, len(made) // 4)
        return made + [line.replace(" add ", " del ", 1).replace(" onlink", "") for line in gone]

    def settings(self) -> list[tuple[str, int]]:
        """Sysctls that matter to a lookup, most of them left as they are."""
        drawn = [("net.ipv4.ip_forward", int(self.chance(0.7)))]
        keys = sorted(CONF.keys() - {"log_martians", "promote_secondaries"})
        places = [(place, key) for key in keys for place in ("all", *DEVICES) if (place, key) != ("all", "forwarding")]
        return drawn + [
            (conf_name(place, key), self.random.randrange(3 if key == "rp_filter" else 2))
            for place, key in places
            if self.chance(0.2)
        ]

    def lookup(self) -> dict[str, str]:
        """The words of one `ip route get`."""
        words = {"to": self.any_address()}
        if self.chance(0.5):
            words |= {"from": self.any_address(), "iif": self.dev()}
        else:
            words |= {"from": self.address()} if self.chance(0.25) else {}
            words |= {"oif": self.dev()} if self.chance(0.25) else {}
        words |= {"mark": self.random.choice("123")} if self.chance(0.3) else {}
        words |= {"tos": self.random.choice(("0x10", "0x08"))} if self.chance(0.2) else {}
        return words
