"""The real `conntrack` and netlab's, on tables with the same entries: the same lines, read and printed again."""

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random

import pytest

from netlab.conntrack.command import conntrack
from netlab.conntrack.entry import Entry, Status
from netlab.conntrack.tcp_track import TcpTrack
from netlab.conntrack.text import Line, parse_line, parse_lines
from netlab.host import Host
from netlab.kernel.namespaces import Namespace
from netlab.names import TcpState

pytestmark = [pytest.mark.kernel, pytest.mark.needs("conntrack")]

Namespaces = Callable[[], AbstractContextManager[Namespace]]
ENTRIES, COMMANDS = 40, 60
ADDRESSES = ["10.0.1.2", "10.0.1.3", "10.0.2.2", "192.168.7.9"]
PORTS = [1, 53, 80, 4000]


def run(*words: str) -> tuple[str, str, int]:
    done = subprocess.run(["conntrack", *words], capture_output=True, text=True, check=False)
    return done.stdout, done.stderr, done.returncode


def random_entry(random: Random) -> list[str]:
    words = ["-I", "-s", random.choice(ADDRESSES), "-d", random.choice(ADDRESSES), "-t", str(random.randint(500, 9000))]
    ports = ["--sport", str(random.choice(PORTS)), "--dport", str(random.choice(PORTS))]
    kinds = {
        "tcp": [*ports, "--state", random.choice(["SYN_SENT", "ESTABLISHED", "TIME_WAIT"])],
        "udp": ports,
        "icmp": ["--icmp-type", "8", "--icmp-code", "0", "--icmp-id", str(random.choice(PORTS))],
        "99": [],
    }
    proto = random.choice(list(kinds))
    if random.random() < 0.5:
        words += ["-u", random.choice(["ASSURED,SEEN_REPLY", "SEEN_REPLY"])]
    if random.random() < 0.5:
        words += ["-m", str(random.choice([1, 5, 8]))]
    return [*words, "-p", proto, *kinds[proto]]


def random_filter(random: Random) -> list[str]:
    """Options of one, two or three kinds; those of a protocol after `-p`."""
    network = f"{random.choice(ADDRESSES)}/{random.choice([8, 23, 24, 32])}"
    given = [
        [random.choice(["-s", "-d"]), random.choice([*ADDRESSES, network])],
        [random.choice(["-r", "-q"]), random.choice(ADDRESSES)],
        # Never both: conntrack 1.4.7 takes the status for the mark then.
        random.choice([
            ["-u", random.choice(["ASSURED", "SEEN_REPLY", "UNREPLIED", "ASSURED,SEEN_REPLY"])],
            ["-m", random.choice(["0", "1", "5", "1/1", "0/1", "8/0xc"])],
        ]),
    ]  # fmt: skip
    port = str(random.choice(PORTS))
    option = random.choice(["--sport", "--dport", "--reply-port-src", "--reply-port-dst"])
    protocols = [
        ["-p", "tcp", option, port], ["-p", "udp", option, port], ["-p", "icmp", "--icmp-id", port], ["-p", "99"],
        ["-p", "tcp", "--state", random.choice(["SYN_SENT", "ESTABLISHED", "CLOSE"])],
    ]  # fmt: skip
    chosen = random.sample(given, random.randint(0, 2)) + random.sample(protocols, random.randint(0, 1))
    return [word for words in chosen for word in words]


def simulated(lines: list[Line]) -> Host:
    """A host whose table holds the same entries."""
    host = Host("r", {"eth0": "10.0.1.1/24"}, conntrack="on")
    assert host.conntrack
    for number, line in enumerate(lines):
        entry = Entry(line.original, line.reply, number)
        entry.status = Status.CONFIRMED | (0 if "UNREPLIED" in line.flags else Status.SEEN_REPLY)
        entry.status |= Status.ASSURED if "ASSURED" in line.flags else 0
        entry.mark, entry.expires = int(line.extra["mark"]), float(line.timeout or 0)
        if line.state:
            entry.protocol = TcpTrack()
            entry.protocol.state = TcpState[line.state]
        host.conntrack.table.insert(entry)
    return host


def without_timeouts(text: str) -> list[str]:
    return sorted(str(line.with_(timeout=None)) for line in parse_lines(text))


def test_random_filters_mean_the_same_entries(kernel_namespaces: Namespaces, seed: int) -> None:
    random = Random(seed)
    shown = 0
    with kernel_namespaces() as namespace, namespace.entered():
        for _ in range(ENTRIES):
            run(*random_entry(random))  # some are there already, and refused
        listed, _, status = run("-L")
        assert status == 0 and len(listed.splitlines()) > ENTRIES // 3
        host = simulated([parse_line(line) for line in listed.splitlines()])
        for _ in range(COMMANDS):
            words = ["-L", *random_filter(random)]
            real, summary, status = run(*words)
            mine = conntrack(host, words)
            assert without_timeouts(mine.out) == without_timeouts(real), words
            assert (mine.err, mine.status) == (summary.strip(), status), words
            shown += len(real.splitlines())
    assert shown > COMMANDS


def test_what_is_printed_is_read_and_printed_again(kernel_namespaces: Namespaces, seed: int) -> None:
    random = Random(seed)
    with kernel_namespaces() as namespace, namespace.entered():
        for _ in range(ENTRIES):
            run(*random_entry(random))
        run("-I", "-p", "gre", "-s", "10.0.1.2", "-d", "10.0.2.2", "--srckey", "1", "--dstkey", "2", "-t", "50")
        texts = [run("-L")[0], run("-L", "-o", "extended")[0], run("-L", "-o", "id,extended")[0]]
        # The calling thread's own namespace: /proc/net is that of the process.
        texts.append(
            subprocess.run(["cat", "/proc/net/nf_conntrack"], capture_output=True, text=True, check=True).stdout
        )
    for text in texts:
        assert len(text.splitlines()) > ENTRIES // 3
        assert [str(parse_line(line)) for line in text.splitlines()] == text.splitlines()


def test_translated_flows_and_foreseen_ones_print_alike(kernel_namespaces: Namespaces) -> None:
    made = [
        ["--sport", "5"],
        ["--sport", "6", "-n", "10.0.0.7"],
        ["--sport", "7", "-g", "10.0.0.8:99"],
    ]
    with kernel_namespaces() as namespace, namespace.entered():
        for words in made:
            run("-I", "-p", "udp", "-s", "10.0.0.1", "-d", "10.0.0.2", "--dport", "2", "-t", "500", *words)
        host = simulated(parse_lines(run("-L")[0]))
        assert host.conntrack
        for entry in host.conntrack.table:  # no line says which entries are translated but by their tuples
            entry.status |= Status.SRC_NAT if entry.original.sport == 6 else 0
            entry.status |= Status.DST_NAT if entry.original.sport == 7 else 0
        for text in (
            "-n", "-g", "-j", "-n -g", "-n 10.0.0.7", "-n 10.0.0.9", "-n10.0.0.7", "--src-nat=10.0.0.7", "-j 10.0.0.8",
            "-g 10.0.0.8", "-g 10.0.0.8:99", "-g 10.0.0.8:98", "-p udp --any-nat", "-o ktimestamp", "-o timestamp",
        ):  # fmt: skip
            real, summary, status = run("-L", *text.split())
            mine = conntrack(host, f"-L {text}")
            assert without_timeouts(mine.out) == without_timeouts(real), text
            assert (mine.err, mine.status) == (summary.strip(), status), text
        for text in ("-L expect", "-L expect -o id", "-L expect -p tcp", "-L expect --dport 21", "-C expect"):
            real, summary, status = run(*text.split())
            mine = conntrack(host, text)
            assert (mine.out, mine.err, mine.status) == (real.strip(), summary.strip(), status), text
