"""Records the captures in datasets/captures: real programs, on the real kernel, on both sides of a router.

    sudo .venv/bin/python datasets/record_captures.py                 # all of them, into datasets/captures
    sudo .venv/bin/python datasets/record_captures.py web --to /tmp   # one of them, elsewhere

Three network namespaces hold a client (10.0.1.2), a router and a server (10.0.2.2). What passes the router's eth0, on
the client's side, goes to NAME.pcap, what passes its eth1 to NAME.eth1.pcap. The namespaces have no names, and vanish
with this process, whatever ends it. Needs root, and the programs of ip, tcpdump, curl, dnsmasq, ping and unshare.
"""

import argparse
import array
import fcntl
import os
import platform
import shlex
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from netlab.datasets import CAPTURES
from netlab.kernel.namespaces import Namespace
from netlab.names import NetlabError

CLIENT, SERVER = "10.0.1.2", "10.0.2.2"
NAME = "www.lab.example"
PATIENCE = 10  # seconds that anything may take

SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17  # include/uapi/linux/sockios.h, ethtool.h


class Lab:
    """Client, router and server, each in a namespace of its own, and a folder for what they need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client, self.router, self.server = Namespace(), Namespace(), Namespace()
        for namespace, dev, end in ((self.client, "eth0", "eth0"), (self.server, "eth1", "eth0")):
            self.run(self.router, f"ip link add {dev} type veth peer name {end} netns {namespace.path}")
        addresses = (
            (self.client, "eth0", f"{CLIENT}/24"),
            (self.router, "eth0", "10.0.1.1/24"),
            (self.router, "eth1", "10.0.2.1/24"),
            (self.server, "eth0", f"{SERVER}/24"),
        )
        for namespace, dev, address in addresses:
            self.run(namespace, f"ip address add {address} dev {dev}")
            self.run(namespace, f"ip link set {dev} up")
            self.run(namespace, "ip link set lo up")
            with namespace.entered():
                compute_checksums(dev)
        self.run(self.client, "ip route add default via 10.0.1.1")
        self.run(self.server, "ip route add default via 10.0.2.1")
        with self.router.entered():
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def run(self, namespace: Namespace, command: str, *, fails: bool = False) -> str:
        """Run a program to its end, in a namespace; what it prints.

        Raises:
            NetlabError: it failed (and was not expected to).
        """
        with namespace.entered():
            ran = subprocess.run(
                shlex.split(command), cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        if (ran.returncode != 0) != fails:
            raise NetlabError(f"{command}: status {ran.returncode}: {ran.stderr.strip() or ran.stdout.strip()}")
        return ran.stdout

    @contextmanager
    def running(self, namespace: Namespace, command: str, ready: str = "") -> Iterator[None]:
        """Have a program run meanwhile; `ready` is what it writes to its standard error once it is."""
        with namespace.entered():
            program = subprocess.Popen(
                shlex.split(command), cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
        assert program.stderr is not None
        try:
            while ready and ready not in (line := program.stderr.readline()):
                if not line:
                    raise NetlabError(f"{command}: ended with status {program.wait(PATIENCE)}")
            yield
        finally:
            program.terminate()
            program.wait(PATIENCE)
            program.stderr.close()

    def close(self) -> None:
        """Let go of the namespaces, and with them of everything in them."""
        for namespace in (self.client, self.router, self.server):
            namespace.close()


def compute_checksums(dev: str) -> None:
    """Have the sender compute checksums and segments (`ethtool -K DEV tx off`), as they would be on a real wire."""
    setting = array.array("B", struct.pack("II", ETHTOOL_STXCSUM, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sP16x", dev.encode(), setting.buffer_info()[0])
        fcntl.ioctl(any_socket.fileno(), SIOCETHTOOL, request)


def wait_for(namespace: Namespace, port: int) -> None:
    """Until somebody listens on that TCP port of the namespace, asked over its own loopback."""
    end = time.monotonic() + PATIENCE
    with namespace.entered():
        while time.monotonic() < end:
            with socket.socket() as asking:
                if asking.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
    raise NetlabError(f"nobody listens on port {port}")


# ---------------------------------------------------------------- what is recorded


@contextmanager
def web_server(lab: Lab) -> Iterator[None]:
    """Python's own web server, with one page of some kilobytes."""
    (lab.folder / "index.html").write_text("<h1>It works</h1>\n" + "".join(f"<p>Line {n}</p>\n" for n in range(500)))
    with lab.running(lab.server, f"{sys.executable} -m http.server 80"):
        wait_for(lab.server, 80)
        yield


@contextmanager
def name_server(lab: Lab) -> Iterator[None]:
    """dnsmasq, which answers for one name."""
    dnsmasq = f"dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --pid-file --user=root \
        --host-record={NAME},{SERVER} --txt-record={NAME},hello --local=/example/"
    with lab.running(lab.server, dnsmasq):
        wait_for(lab.server, 53)
        yield


def web(lab: Lab) -> None:
    """A page by curl, a page that is not there, and one that curl gives up reading."""
    with web_server(lab):
        curl = f"curl --silent --show-error http://{SERVER}"
        lab.run(lab.client, f"{curl}/index.html")
        lab.run(lab.client, f"{curl}/missing.html")
        lab.run(lab.client, f"{curl}/index.html --max-filesize 100", fails=True)


def dns(lab: Lab) -> None:
    """A name that there is and one that there is not, by the C library's resolver; then a page by name."""
    (lab.folder / "resolv.conf").write_text(f"nameserver {SERVER}\noptions timeout:2\n")
    with_names = "unshare --mount sh -c 'mount --bind resolv.conf /etc/resolv.conf && exec {}'"
    with name_server(lab), web_server(lab):
        lab.run(lab.client, with_names.format(f"getent ahostsv4 {NAME}"))
        lab.run(lab.client, with_names.format("getent ahostsv4 nothing.lab.example"), fails=True)
        lab.run(lab.client, with_names.format(f"curl --silent --show-error --head http://{NAME}/"))


def ping(lab: Lab) -> None:
    """Three echoes, two of 3000 bytes (in fragments), and one of the router."""
    lab.run(lab.client, f"ping -c 3 -i 0.2 {SERVER}")
    lab.run(lab.client, f"ping -c 2 -i 0.2 -s 3000 -M dont {SERVER}")
    lab.run(lab.client, "ping -c 1 10.0.1.1")


def traceroute(lab: Lab) -> None:
    """What traceroute does: UDP to unlikely ports with a TTL of 1, 2 and 3, three times each; and echoes with TTL 1."""
    with lab.client.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as prober:
        for probe in range(9):
            prober.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1 + probe // 3)
            prober.sendto(b"\0" * 32, (SERVER, 33434 + probe))
            time.sleep(0.1)
    lab.run(lab.client, f"ping -c 2 -i 0.2 -t 1 {SERVER}", fails=True)


def scan(lab: Lab) -> None:
    """A look at twenty TCP ports, of which one is open, and a datagram to a closed UDP port."""
    with web_server(lab), lab.client.entered():
        for port in (21, 22, 23, 25, 53, 80, 110, 111, 135, 139, 143, 443, 445, 993, 995, 1723, 3306, 3389, 5900, 8080):
            with socket.socket() as probe:
                probe.settimeout(2)
                probe.connect_ex((SERVER, port))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.sendto(b"anybody?", (SERVER, 9))


SCENES: dict[str, Callable[[Lab], None]] = {
    "web": web, "dns": dns, "ping": ping, "traceroute": traceroute, "scan": scan,
}  # fmt: skip


# ---------------------------------------------------------------- recording it


def record(name: str, folder: Path) -> None:
    """Play one scene and leave its two captures in the folder.

    Raises:
        NetlabError: a program failed.
    """
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as meanwhile:
        lab = Lab(Path(scratch))
        meanwhile.callback(lab.close)
        with ExitStack() as recording:
            for dev, file in (("eth0", f"{name}.pcap"), ("eth1", f"{name}.eth1.pcap")):
                tcpdump = f"tcpdump -i {dev} -n -U --immediate-mode -Z root -w {shlex.quote(str(folder / file))}"
                recording.enter_context(lab.running(lab.router, tcpdump, ready="listening on"))
            SCENES[name](lab)
            time.sleep(0.5)  # what is still on its way


def circumstances() -> str:
    """When this is, on which kernel, and the versions of the programs."""

    def version(command: str) -> str:
        ran = subprocess.run(command.split(), capture_output=True, text=True, check=True)
        return (ran.stdout + ran.stderr).splitlines()[0].strip()

    commands = ("tcpdump --version", "curl --version", "dnsmasq --version", "ping -V", "getent --version")
    return "\n".join(
        [
            f"- recorded {datetime.now(UTC):%Y-%m-%d} on Linux {platform.release().split('-')[0]}",
            f"- web server: python -m http.server of Python {platform.python_version()}",
            *(f"- {version(command)}" for command in commands),
        ]
    )


def main() -> None:
    """Record the scenes asked for."""
    parser = argparse.ArgumentParser(description="Record real traffic through a router, on the real kernel.")
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"of {', '.join(SCENES)} (default: all)")
    parser.add_argument("--to", type=Path, default=CAPTURES, help="the folder for the captures")
    options = parser.parse_args()
    unknown = set(options.scenes) - set(SCENES)
    if unknown:
        parser.error(f"unknown scene {', '.join(sorted(unknown))} (there are {', '.join(SCENES)})")
    if os.geteuid() != 0:
        parser.error("needs root, to make network namespaces")
    for name in options.scenes or SCENES:
        record(name, options.to.resolve())
        print(f"recorded {name}")
    print(circumstances())


if __name__ == "__main__":
    main()
