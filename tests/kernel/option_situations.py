"""Situations in which IP options matter, as scenarios for both worlds."""

from typing import Any

from netlab.packet import MF, Packet

QUIET = {"net.ipv4.ip_forward": 1, "net.ipv4.icmp_ratelimit": 0, "net.ipv4.icmp_ratemask": 0}
"""No error is held back, so that every packet counts."""
NO_REDIRECTS = {f"net.ipv4.conf.{dev}.send_redirects": 0 for dev in ("all", "eth0", "eth1")}
"""How soon a second redirect follows depends on real milliseconds."""
SOURCE_ROUTES = {"net.ipv4.conf.all.accept_source_route": 1}


def router(sysctls: dict[str, int] | None = None, **more: Any) -> dict[str, Any]:
    """A host of a scenario with two open interfaces, which follows source routes."""
    interfaces = {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}
    return {"interfaces": interfaces, "sysctls": QUIET | SOURCE_ROUTES | (sysctls or {}), **more}


def into(packet: Packet, dev: str = "eth0") -> dict[str, Any]:
    """The step that puts a packet into the router."""
    return {"packet": {"into": f"r:{dev}", "hex": packet.to_bytes().hex()}}


SENDER, ROUTER, BEYOND = "10.0.1.2", "10.0.1.1", "10.0.2.2"
RECORD = "070b04" + "00" * 8
TIMES = "440c05010000000000000000"
THROUGH = "8307040a00020500"
"""A loose source route, by the router to 10.0.2.5."""


def udp(dst: str, options: str, size: int = 8, src: str = SENDER, **header: Any) -> Packet:
    return Packet.udp(src, dst, 1, 2, bytes(size), ip_id=1, options=bytes.fromhex(options), **header)


def echo(dst: str, options: str, size: int = 8, src: str = SENDER, ip_id: int = 1) -> Packet:
    return Packet.icmp(src, dst, 8, id=42, payload=bytes(size), ip_id=ip_id, options=bytes.fromhex(options))


def syn(dst: str, options: str, port: int, sport: int = 1000) -> Packet:
    return Packet.tcp(SENDER, dst, sport, port, "S", seq=1000, ip_id=1, options=bytes.fromhex(options))


def cut(packet: Packet) -> list[Packet]:
    """Fragments that each have all the options."""
    starts = range(0, len(packet.payload), 64)
    return [
        packet._replace(payload=packet.payload[at : at + 64], frag=at // 8 | (0 if at == starts[-1] else MF))
        for at in starts
    ]


def one(steps: list[Any], sysctls: dict[str, int] | None = None, **more: Any) -> dict[str, Any]:
    """A scenario with one router; packets among the steps go into its eth0."""
    return {
        "hosts": {"r": router(sysctls, **more)},
        "steps": [into(step) if isinstance(step, Packet) else step for step in steps],
    }


def sent(packet: Packet, host: str = "r") -> dict[str, Any]:
    return {"packet": {"from": host, "hex": packet.to_bytes().hex()}}


def line(packets: list[Packet]) -> dict[str, Any]:
    """Three machines in a row, a - r - b, with links; `a` sends."""
    end = {"net.ipv4.icmp_ratemask": 0}
    return {
        "hosts": {
            "a": {"interfaces": {"eth0": "10.0.1.2/24"}, "routes": ["default via 10.0.1.1"], "sysctls": end},
            "r": router(),
            "b": {
                "interfaces": {"eth0": "10.0.2.2/24", "eth1": "10.0.3.1/24"},
                "routes": ["default via 10.0.2.1"],
                "sysctls": QUIET,
            },
        },
        "links": [["a:eth0", "r:eth0"], ["r:eth1", "b:eth0"]],
        "steps": [sent(packet, "a") for packet in packets],
    }


EVERYBODY = {"net.ipv4.icmp_echo_ignore_broadcasts": 0}
REFUSED = {"net.ipv4.conf.all.accept_source_route": 0}
ROUTES = (
    THROUGH, "890704" + "0a000205" + "00", "830b04" + "0a000201" + "0a000205" + "00", "830704" + "0a000201" + "00",
    "830708" + "0a000105" + "00", "830b0c" + "0a000105" + "0a000106" + "00", "830b0c" + "0a000102" + "0a000106" + "00",
    "830b08" + "0a000105" + "0a000205" + "00", "830704" + "05050505" + "00", "830704" + "0a0001ff" + "00",
    "8306040a00020000", "830d04" + "0a000201" + "0a000101" + "0a00" + "000000", "83030400",
    "830709" + "0a000105" + "00", "830808" + "0a000105" + "00",
)  # fmt: skip
GATEWAY = {"routes": ["192.168.77.0/24 via 10.0.2.9"]}
LONG_RECORD, LONG_TIMES = "071304" + "00" * 17, "442405{}" + "00" * 32
TWO_PARTS = echo(ROUTER, RECORD, 200, ip_id=77)

NOTHING_WRONG = (
    "01000000", "00000000", "00ffffff", "0707040000000000", "070708aabbccdd00", "07070c0000000000", "4408050000000000",
    "440c05010000000000000000", "440c05030a00010100000000", "440c05030a00010900000000", "440c05037f00000100000000",
    "4408090000000000", "4408050200000000", "440c0d010000000000000000", "4404050000000000", "94040000", "94040001",
    "820b00000000000000000000", "850b00000000000000000000", "88040000", "0a04ffff", "07090400000000000000aabb",
    "440a05000000000000000000", "440e05010000000000000000" + "00000000",
)  # fmt: skip
SOMETHING_WRONG = (
    "0707050000000000", "0707030000000000", "0702040000000000", "07070400000000070704000000000000",
    "440c0df1" + "00" * 8, "4403050000000000", "4408040000000000", "4408080000000000", "440a0501000000000000",
    "44080500000000004408050000000000",
    "94030000", "8606000000010000", "8608000000010000", "860a00000001010400010000", "0a00ffff", "0a01ffff", "0a40ffff",
    "8307030a00020200", "8302040a", "8307040a0002028307040a0002020000", "89070400", "01010107",
)  # fmt: skip

SITUATIONS = {
    "nothing wrong, passing through": one([udp(BEYOND, options) for options in NOTHING_WRONG]),
    "nothing wrong, for the router, nobody there": one([udp(ROUTER, options) for options in NOTHING_WRONG]),
    "nothing wrong, echo": one([echo(ROUTER, options) for options in NOTHING_WRONG]),
    "nothing wrong, reset": one([syn(ROUTER, options, 81) for options in NOTHING_WRONG]),
    "something wrong": one([udp(BEYOND, options) for options in SOMETHING_WRONG]),
    "something wrong, no route": one([udp("9.9.9.9", options) for options in SOMETHING_WRONG]),
    "to everybody": one([echo("10.0.1.255", options) for options in (RECORD, TIMES, THROUGH, "0a40ffff")], EVERYBODY),
    "source routes": one([udp(dst, options) for dst in (ROUTER, BEYOND, "9.9.9.9") for options in ROUTES]),
    "source routes, echo": one([echo(ROUTER, options) for options in ROUTES]),
    "source routes, not followed": one([udp(ROUTER, options) for options in ROUTES], REFUSED),
    "a redirect quotes the sender's checksum, counted down": one(
        [udp("10.0.1.7", RECORD), udp("10.0.1.7", TIMES, src="10.0.1.5"), udp("10.0.1.7", "0100ff00", src="10.0.1.6")]
    ),
    "no redirect for a source route": one(
        [udp("10.0.1.7", THROUGH, src="10.0.1.3"), udp(ROUTER, "8307040a00010700", src="10.0.1.4")]
    ),
    "strict, and the next hop is behind a gateway": one(
        [udp(ROUTER, "890704c0a84d0100"), udp(ROUTER, "890704c0a84d0100", ttl=1), udp(ROUTER, "830704c0a84d0100")],
        **GATEWAY,
    ),
    "a source route beside others": one(
        [udp(ROUTER, THROUGH[:14] + TIMES), udp(ROUTER, "890704" + "0a000205" + "070704000000" + "000000")]
    ),
    "errors about a packet that follows its source route": one(
        [
            udp(ROUTER, THROUGH, 700, df=True),
            udp(ROUTER, THROUGH, 700),
            udp(ROUTER, "830704c0a8010100"),
            udp("10.0.2.1", THROUGH, ttl=1),
        ],
        mtu={"eth1": 600},
    ),
    "reassembled: the first fragment's options, a new checksum": one(
        [*cut(TWO_PARTS), *cut(echo(ROUTER, RECORD + TIMES, 200, ip_id=78))[::-1], *cut(udp(ROUTER, RECORD, 200))[::-1]]
    ),
    "given up: the first fragment as it is": one([cut(TWO_PARTS)[0], {"advance": "2"}], {"net.ipv4.ipfrag_time": 1}),
    "cut, and cut once more": one(
        [
            udp(BEYOND, RECORD + "94040000", 1000, mf=True),
            udp(BEYOND, RECORD + "94040000", 1000).with_(frag_offset=800),
            echo(ROUTER, RECORD + TIMES, 1200),
            echo(ROUTER, RECORD + TIMES, 1200, src=BEYOND),
        ],
        mtu={"eth1": 600},
    ),
    "over lo": one(
        [
            sent(udp(ROUTER, RECORD, src=ROUTER)),
            sent(udp("10.0.2.1", TIMES, src=ROUTER)),
            sent(echo(ROUTER, RECORD, src=ROUTER)),
            sent(udp(ROUTER, "8307040a00020100", src=ROUTER)),
            sent(echo(ROUTER, "8307080a00020100", src=ROUTER)),
            sent(udp(ROUTER, "0a40ffff", src=ROUTER)),
        ]
    ),
    "a connection keeps the options of its SYN": one(
        [
            Packet.tcp(SENDER, ROUTER, 1000 + number, 80, "S", seq=1000, options=bytes.fromhex(options))
            for number, options in enumerate(
                (RECORD, TIMES, "830b0c0a0002050a00020600", "9404000082040000", "07090400")
            )
        ],
        listen=["tcp/80"],
    ),
    "no room for the quotation": one([udp(ROUTER, RECORD + TIMES + "01" * 16, 0)], mtu={"eth0": 68}),
    "across three machines": line(
        [
            echo(BEYOND, LONG_RECORD),
            *(echo(BEYOND, LONG_TIMES.format(flag)) for flag in ("00", "01", "03")),
            udp(BEYOND, LONG_RECORD),
            udp(ROUTER, "8307040a00020200"),
            echo(ROUTER, "8307040a00020200"),
        ]
    ),
    "nobody answers there": line(
        [
            udp("10.0.2.9", LONG_RECORD),
            udp("10.0.2.9", LONG_TIMES.format("01")),
            udp("10.0.2.9", RECORD),
            udp("10.0.1.9", RECORD),
            udp(ROUTER, "8307040a00020900"),
        ]
    ),
}
