"""`python -m netlab replay CAPTURE.pcap --on FILE.yaml:HOST`: a real capture through a simulated host."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from netlab.names import NetlabError
from netlab.replay import Capture, Frame, replay
from netlab.scenario import load
from netlab.simulate import build


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `replay`."""
    parser.add_argument("capture", type=Path, metavar="CAPTURE.pcap", help="what tcpdump or Wireshark recorded")
    parser.add_argument(
        "--on",
        required=True,
        metavar="FILE.yaml:HOST",
        help="the host, in a scenario file; the file's steps are not taken",
    )
    parser.add_argument(
        "--into",
        metavar="DEV",
        help="the interface by which every packet comes in (default: the one that leads back to its source; "
        "what has a source address of the host's own is sent by the host)",
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def main(options: argparse.Namespace) -> int:
    """Replay the capture and print what became of its packets.

    Raises:
        NetlabError: no such host, interface or file; or the capture breaks off, after what was there is printed.
    """
    file, _, name = options.on.rpartition(":")
    if not file or not name:
        raise NetlabError(f"--on: {options.on!r} is not FILE.yaml:HOST")
    net = build(load(file))
    if name not in net.hosts:
        raise NetlabError(f"{file}: unknown host {name!r} (the hosts are {', '.join(net.hosts)})")
    outcomes = replay(Watched(options.capture), net, net.hosts[name], options.into)
    print(json.dumps(outcomes.to_json(), indent=1) if options.json else outcomes, flush=True)
    if outcomes.problem:
        raise outcomes.problem
    return 0


class Watched(Capture):
    """A capture that, read for more than a second, shows on a terminal's standard error how far it is."""

    def __iter__(self) -> Iterator[Frame]:
        try:
            from tqdm import tqdm
        except ImportError:  # it comes with netfilter-lab[lab]
            yield from super().__iter__()
            return
        size = self.path.stat().st_size if self.path.exists() else None
        with tqdm(total=size, unit="B", unit_scale=True, delay=1, leave=False, disable=None) as bar:
            for frame in super().__iter__():
                bar.update(self.position - bar.n)
                yield frame
