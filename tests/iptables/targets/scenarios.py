"""Random scenarios about targets: a router whose rules reject, mark and rewrite, and every kind of packet for it.

Rules and packets are patterns and draws of one `Random`, so that a seed is a scenario. What is left out, since netlab
does not claim it: SCTP where it is tracked (the kernel reads its states), a record route in what a socket answers.
"""

from random import Random
from struct import pack
from typing import Any, Final, TypeVar

from netlab.iptables.model import TABLES
from netlab.packet import MF, Packet, checksum

T = TypeVar("T")

CLIENTS: Final = ("10.0.1.2", "10.0.1.2", "10.0.1.3")
OWN: Final = ("10.0.1.1", "10.0.2.1")
ELSEWHERE: Final = ("10.0.2.2", "10.0.2.2", "10.0.2.3", *OWN, "10.0.1.255", "255.255.255.255")
REJECTS: Final = (
    "icmp-net-unreachable", "icmp-host-unreachable", "icmp-port-unreachable", "icmp-proto-unreachable",
    "icmp-net-prohibited", "icmp-host-prohibited", "icmp-admin-prohibited",
)  # fmt: skip
MARKS: Final = ("0x1", "0x0", "0xff", "0xf0f0", "0xffffffff", "0x80000000", "7")
PROTOCOLS: Final = ("", "-p tcp", "-p tcp", "-p udp", "-p icmp", "-p 99", "-p 47", "-p 136", "-f", "! -f")
MATCHES: Final = (
    "", "", "-p tcp", "-p udp", "-m set --match-set a src", "-m set ! --match-set n dst",
    "-m set --match-set n src --return-nomatch", "-m set ! --match-set n src --return-nomatch",
    "-m set --match-set p src,dst", "-m set --match-set p dst,dst", "-m set --match-set p src",
    "-m set ! --match-set t src", "-m mark --mark 0x1/0x1", "-m mark ! --mark 0",
)  # fmt: skip
MEMBERS: Final = (
    "a 10.0.1.2", "a 10.0.2.2", "n 10.0.1.0/24", "n 10.0.0.0/8", "n 10.0.1.2 nomatch", "n 10.0.2.0/30",
    "n 10.0.2.2 nomatch", "p 10.0.2.2,tcp:80", "p 10.0.1.2,udp:53", "p 10.0.2.2,icmp:8/0", "p 10.0.1.2,99:0",
    "t 10.0.1.2", "t 10.0.2.2",
)  # fmt: skip
TRACKED_PROTOCOLS: Final = (99, 47, 50, 51, 136, 4, 255, 2, 103, 0)
UNTRACKED_PROTOCOLS: Final = (*TRACKED_PROTOCOLS, 132, 33)
TCP_FLAGS: Final = ("S", "S", "S", "SA", "A", "R", "RA", "F", "FA", "", "PA", "FSRPAUEC", "SF", "SU")
ICMP_TYPES: Final = (8, 8, 8, 0, 13, 3, 11, 12, 30, 17)
ERRORS: Final = (3, 11, 12)


class Draw:
    """The draws of one scenario. `tracks`: some rule may need conntrack."""

    def __init__(self, seed: int, variant: str) -> None:
        self.random = Random(seed)
        self.variant = variant
        self.tracks = self.random.random() < 0.6

    def one(self, *several: T) -> T:
        """One of them."""
        return self.random.choice(several)

    def often(self, share: float) -> bool:
        """True in that share of draws."""
        return self.random.random() < share

    # ---------------------------------------------------------------- rules

    def rules(self) -> str:
        """Text for iptables-restore."""
        tables = {"mangle": {hook.chain: self.mangling(hook.chain) for hook in TABLES["mangle"]}}
        if self.often(0.4):
            tables["raw"] = {"PREROUTING": self.raw(), "OUTPUT": []}
        tables["filter"] = {hook.chain: self.rejecting() for hook in TABLES["filter"]}
        if self.tracks:
            tables["filter"]["FORWARD"].insert(0, "-m conntrack --ctstate UNTRACKED")
        lines = []
        for table, chains in tables.items():
            lines += [f"*{table}", *(f":{chain} ACCEPT [0:0]" for chain in chains)]
            lines += [f"-A {chain} {rule}" for chain, several in chains.items() for rule in several]
            lines.append("COMMIT")
        return "\n".join(lines) + "\n"

    def raw(self) -> list[str]:
        """What is said before conntrack looks."""
        targets = ["CT --notrack", "NOTRACK", "TRACE", "MARK --set-mark 3", "LOG"]
        rules = [f"{self.one(*PROTOCOLS[:5])} -j {self.one(*targets)}" for _ in range(self.random.randrange(3))]
        return [*rules, *["-p tcp -m tcp --dport 21 -j CT --helper ftp"] * (self.tracks and self.often(0.5))]

    def rejecting(self) -> list[str]:
        """Up to three rules that reject."""
        rules = []
        for _ in range(self.random.choice((0, 3, 3))):
            match = self.one(*PROTOCOLS)
            kind = "tcp-reset" if match == "-p tcp" and self.often(0.6) else self.one(*REJECTS)
            rules.append(f"{match} -j REJECT --reject-with {kind}")
        return rules

    def mangling(self, chain: str) -> list[str]:
        """Up to three rules that write."""
        return [self._mangling(chain) for _ in range(self.random.randrange(4))]

    def _mangling(self, chain: str) -> str:
        kind = self.one("TTL", "TOS", "DSCP", "MARK", "CONNMARK", "TCPMSS", "LOG", "NFLOG", "SET", "CHECKSUM")
        if kind == "TCPMSS":
            sizes = [f"--set-mss {self.one(0, 100, 536, 1000, 1460, 9000, 65000)}"]
            sizes += ["--clamp-mss-to-pmtu"] * (chain in ("FORWARD", "OUTPUT", "POSTROUTING"))
            asks = self.one("--syn", "--tcp-flags SYN,RST SYN", *["--dport 0:65535"] * (self.variant == "nft"))
            return f"-p tcp -m tcp {asks} -j TCPMSS {self.one(*sizes)}"
        if kind == "CONNMARK" and not self.tracks:
            kind = "MARK"
        return f"{self.one(*MATCHES)} -j {kind} {self._options(kind)}"

    def _options(self, kind: str) -> str:
        mark, mask, byte = self.one(*MARKS), self.one(*MARKS), f"{self.random.randrange(256):#x}"
        side, other = self.one("src", "dst"), self.one("src", "dst")
        written = self.one(
            f"--set-mark {mark}", f"--set-xmark {mark}/{mask}", f"--or-mark {mark}", f"--and-mark {mark}"
        )
        masks = self.one("", f" --mask {mask}", f" --nfmask {mark} --ctmask {mask}")
        shift = self.one("", "", f" --{self.one('left', 'right')}-shift-mark {self.random.randrange(1, 32)}")
        return {
            "TTL": f"--ttl-{self.one('set', 'inc', 'dec')} {self.one(1, 2, 5, 64, 200, 255)}",
            "TOS": f"--{self.one('set', 'and', 'or', 'xor')}-tos {byte}",
            "DSCP": f"--set-dscp {self.random.randrange(64)}",
            "MARK": self.one(written, f"--xor-mark {mark}", f"--set-mark {mark}/{mask}"),
            "CONNMARK": self.one(written, f"--save-mark{masks}", f"--restore-mark{masks}") + shift,
            "LOG": "--log-prefix x --log-uid --log-tcp-options --log-ip-options --log-tcp-sequence",
            "NFLOG": "--nflog-group 4",
            "CHECKSUM": "--checksum-fill",
            "SET": self.one(
                f"--{self.one('add', 'del')}-set {self.one('a', 'n')} {side}",
                f"--{self.one('add', 'del')}-set p {side},{other}",
                f"--add-set n {side} --exist",
                f"--add-set t {side} --exist --timeout 1000",
            ),
        }[kind]

    def sets(self) -> str:
        """Text for ipset restore: the sets that rules ask."""
        made = ["create a hash:ip", "create n hash:net", "create p hash:ip,port", "create t hash:ip timeout 1000"]
        return "\n".join([*made, *(f"add {one}" for one in self.random.sample(MEMBERS, 5))]) + "\n"

    # ---------------------------------------------------------------- packets

    def packets(self) -> list[Packet]:
        """One packet, or its fragments, or one of these."""
        packet = self._damaged(self._packet())
        places = range(8, len(packet.payload), 8)
        if not places or packet.df or not self.often(0.12):
            return [packet]
        cut = self.random.choice(places)
        first = packet._replace(payload=packet.payload[:cut], frag=MF)
        last = packet._replace(payload=packet.payload[cut:], frag=cut // 8)
        return [first, last] if self.often(0.7) else [self.one(first, last)]

    def _packet(self) -> Packet:
        random = self.random
        src, dst = self.one(*CLIENTS), self.one(*ELSEWHERE)
        header: dict[str, Any] = {
            "ttl": self.one(64, 64, 64, 3, 2, 255), "tos": self.one(0, 0, 0x10, 0xB8, 0xFF),
            "ip_id": random.randrange(1 << 16), "df": self.often(0.3),
        }  # fmt: skip
        if self.often(0.1):
            header["options"] = self.one(b"\1\1\1\0", b"\x94\4\0\0")
        data = random.randbytes(self.one(0, 0, 1, 8, 30, 601))
        what = random.random()
        if what < 0.45:
            return Packet.tcp(
                src, dst, self.one(4000, 4001), self.one(80, 21, 81), self.one(*TCP_FLAGS),
                seq=random.randrange(1 << 32), ack=random.choice((0, random.randrange(1 << 32))),
                tcp_options=self._tcp_options(), payload=data if self.often(0.5) else b"", **header,
            )  # fmt: skip
        if what < 0.6:
            packet = Packet.udp(src, dst, 4000, self.one(53, 54), data, **header)
            if self.often(0.3):
                packet = packet._replace(payload=packet.payload[:6] + bytes(2) + packet.payload[8:])
            return packet._replace(payload=packet.payload + b"xx") if self.often(0.1) else packet
        if what < 0.75:
            kind = self.one(*ICMP_TYPES)
            quoted = Packet.udp(dst, src, 53, 4000, b"abc").to_bytes()
            return Packet.icmp(
                src, dst, kind, self.one(0, 1, 4), id=7, seq=1, payload=quoted if kind in ERRORS else data, **header
            )
        if self.often(0.4) and len(data) >= 4:
            data = data[:2] + bytes(2) + data[4:]
            data = data[:2] + checksum(data).to_bytes(2, "big") + data[4:]
        return Packet.ip(
            src, dst, self.one(*(TRACKED_PROTOCOLS if self.tracks else UNTRACKED_PROTOCOLS)), data, **header
        )

    def _tcp_options(self) -> bytes:
        kinds = (
            b"\1\1", b"\2\4" + pack(">H", self.one(0, 500, 536, 1400, 1460, 65535)), b"\3\3\7\1", b"\4\2",
            b"\x08\x0a" + bytes(8), b"\0\0", b"\2\2", b"\5\0", b"\xfe\x0a" + bytes(8),
        )  # fmt: skip
        if self.often(0.05):
            return b"\1" * 40
        return b"".join(self.one(*kinds) for _ in range(self.random.randrange(4)))[:40]

    def _damaged(self, packet: Packet) -> Packet:
        damage, octets = self.random.random(), len(packet.payload)
        if packet.proto == 1 and packet.payload[0] in ERRORS:
            return packet  # what a host makes of errors that quote nonsense is not the matter here
        if damage < 0.1:
            return packet._replace(payload=packet.payload[: self.random.randrange(octets + 1)])
        if damage < 0.2 and octets > 8:
            at, bit = self.random.randrange(octets), 1 << self.random.randrange(8)
            payload = packet.payload[:at] + bytes((packet.payload[at] ^ bit,)) + packet.payload[at + 1 :]
            hurt = packet._replace(payload=payload)
            return packet if hurt.proto == 1 and payload[0] in ERRORS else hurt
        return packet._replace(payload=bytes(octets)) if damage < 0.25 else packet


def scenario(seed: int, variant: str, packets: int) -> dict[str, Any]:
    """That scenario, as a scenario file has it."""
    draw = Draw(seed, variant)
    host: dict[str, Any] = {
        "interfaces": {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, "sysctls": {"net.ipv4.ip_forward": 1},
        "ipsets": draw.sets(), "iptables": draw.rules(), "conntrack": draw.one("auto", "on") if draw.tracks else "auto",
    }  # fmt: skip
    if mtu := draw.one(0, 1400, 576):
        host["mtu"] = {"eth1": mtu}
    steps: list[dict[str, Any]] = []
    while len(steps) < packets:
        for packet in draw.packets():
            if draw.often(0.12) and not packet.is_fragment:
                local = packet.with_(src=draw.one(*OWN), dst=draw.one("10.0.1.2", "10.0.2.2", "10.0.2.1"))
                steps.append({"packet": {"from": "r", "hex": local.to_bytes().hex()}})
            else:
                steps.append({"packet": {"into": "r:eth0", "hex": packet.to_bytes().hex()}})
    return {"hosts": {"r": host}, "steps": steps}
