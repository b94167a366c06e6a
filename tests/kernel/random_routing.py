"""Random machines for the comparison with the kernel: commands of `ip` in a small address space, so that they clash."""

from random import Random

from netlab.addresses import InterfaceAddress, Prefix, format_address, mask_of, parse_address
from netlab.names import NetlabError
from netlab.route_text import delete_route, delete_rule, parse_route, parse_rule
from netlab.routing import Fib

DEVICES = ("rta", "rtb", "rtc")
TABLES = ("100", "200", "253", "254", "255")
"""By number: in a batch, `ip` mistakes a name it has just read for a number it read later."""
ODD = ("127.0.0.1", "127.9.9.9", "0.0.0.0", "0.0.0.9", "255.255.255.255", "224.0.0.1", "224.0.0.9", "239.1.2.3", "240.0.0.1")
"""Addresses that mean something of their own."""


def run(fib: Fib, command: str) -> str:
    """Do what `ip COMMAND` would do; the complaint, or nothing."""
    thing, verb, rest = command.split(" ", 2)
    try:
        if thing == "address":
            address, _, dev = rest.split()
            change = fib.add_address if verb == "add" else fib.remove_address
            change(dev, InterfaceAddress.parse(address))
        elif thing == "route":
            fib.add(parse_route(rest)) if verb == "add" else delete_route(fib, rest)
        else:
            fib.add_rule(parse_rule(rest)) if verb == "add" else delete_rule(fib, rest)
    except NetlabError as error:
        return str(error)
    return ""


class Generator:
    """Draws commands and lookups from one seeded source."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.chance = lambda p: random.random() < p

    def address(self) -> str:
        r = self.random
        return f"10.{r.randrange(2)}.{r.randrange(3)}.{r.choice((0, 1, 2, 3, 5, 127, 128, 254, 255))}"

    def destination(self) -> str:
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
        words = []
        if self.chance(0.25):
            kinds = ("unreachable", "blackhole", "prohibit", "throw", "local", "broadcast", "multicast", "unicast")
            words.append(self.random.choice(kinds))
        refuses = words and words[0] in ("unreachable", "blackhole", "prohibit", "throw")
        words.append(self.prefix())
        if not refuses or self.chance(0.05):
            if self.chance(0.6):
                words += ["via", self.address()]
            if self.chance(0.6):
                words += ["dev", self.dev()]
            if self.chance(0.1):
                words += ["src", self.address()]
            if self.chance(0.15):
                words.append("onlink")
        for p, word, values in (
            (0.3, "metric", ("5", "10", "4278198272")),
            (0.15, "tos", ("0x10", "0x08")),
            (0.3, "table", TABLES),
            (0.1, "scope", ("global", "site", "link", "host")),
            (0.2, "proto", ("static", "kernel", "bird")),
            (0.1, "mtu", ("1400",)),
        ):
            if self.chance(p) and not (word == "mtu" and refuses):
                words += [word, self.random.choice(values)]
        return "route add " + " ".join(words)

    def add_rule(self) -> str:
        words = ["not"] if self.chance(0.15) else []
        if self.chance(0.4):
            words += ["from", self.prefix().replace("default", "all")]
        if self.chance(0.3):
            words += ["to", self.prefix().replace("default", "all")]
        for p, word, values in (
            (0.2, "iif", (*DEVICES, "lo")),
            (0.15, "oif", DEVICES),
            (0.3, "fwmark", ("1", "0x2", "0x1/0x1", "0", "0/0x2")),
            (0.15, "tos", ("0x10", "0x08", "0x11", "0xe0")),
            (0.4, "priority", ("0", "5", "100", "32766", "40000")),
        ):
            if self.chance(p):
                words += [word, self.random.choice(values)]
        if self.chance(0.2):
            words.append(self.random.choice(("blackhole", "unreachable", "prohibit")))
        else:
            words += ["lookup", self.random.choice(TABLES)]
        return "rule add " + " ".join(words)

    def setup(self, *, rules: bool) -> list[str]:
        """The commands that make a machine; some of them must fail."""
        commands = [self.add_address() for _ in range(self.random.randrange(2, 7))]
        commands += [self.add_route() for _ in range(self.random.randrange(4, 30))]
        if rules:
            commands += [self.add_rule() for _ in range(self.random.randrange(1, 6))]
            commands += [self.add_route() for _ in range(self.random.randrange(6))]
        for command in self.random.sample(commands, len(commands) // 4):
            thing, _, rest = command.split(" ", 2)
            if not (thing == "rule" and " 0" in rest):
                commands.append(f"{thing} del {rest.replace(' onlink', '')}")
        return commands

    def lookup(self) -> dict[str, str]:
        """The words of `ip route get`."""
        words = {"to": self.destination()}
        if self.chance(0.5):
            words |= {"from": self.destination(), "iif": self.random.choice((*DEVICES, DEVICES[0]))}
        else:
            if self.chance(0.25):
                words["from"] = self.address()
            if self.chance(0.25):
                words["oif"] = self.dev()
        if self.chance(0.3):
            words["mark"] = self.random.choice(("1", "2", "3"))
        if self.chance(0.2):
            words["tos"] = self.random.choice(("0x10", "0x08"))
        return words


def address_of(text: str | None) -> int:
    """The integer of dotted text; 0 for none."""
    return parse_address(text) if text else 0


__all__ = ["DEVICES", "Generator", "address_of", "format_address", "run"]
