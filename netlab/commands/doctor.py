"""`python -m netlab doctor`: what works on this machine, and what to install for the rest."""

import argparse
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from netlab.names import NetlabError

OK, MISSING, NOTE = "ok", "missing", "note"
SBIN = "/usr/sbin:/sbin"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "firefox")


class Finding(NamedTuple):
    """One thing that was looked at. `advice` says what to do if it does not work, and what works without it.

    Nobody needs to do anything about what is not `wanted`.
    """

    part: str
    works: bool
    what: str
    advice: str = ""
    wanted: bool = True

    def __str__(self) -> str:
        verdict = OK if self.works else MISSING if self.wanted else NOTE
        line = f"{verdict:<8} {self.part}: {self.what}"
        return line if self.works or not self.advice else f"{line}\n{'':<9}{self.advice}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`doctor` has no options."""


def main(options: argparse.Namespace) -> int:
    """Print what works; the exit status is 1 if something is missing."""
    everything = True
    for check in CHECKS:
        for finding in check():
            print(finding, flush=True)
            everything = everything and (finding.works or not finding.wanted)
    return 0 if everything else 1


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    yield Finding("Python", sys.version_info >= (3, 11), version, "netlab needs Python 3.11 or newer")


def _notebooks() -> Iterator[Finding]:
    for package, purpose in (
        ("jupyterlab", "opens the labs"),
        ("ipywidgets", "shows the widgets"),
        ("anywidget", "shows the widgets"),
        ("pandas", "shows traces as tables"),
        ("yaml", "reads scenario files"),
    ):
        found = importlib.util.find_spec(package) is not None
        yield Finding(package, found, purpose, 'python -m pip install "netfilter-lab[lab]"')


def _browser() -> Iterator[Finding]:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    advice = "apt install chromium, or open the address that JupyterLab prints on another machine"
    yield Finding("browser", found is not None, found or "none", advice)


def _kernel() -> Iterator[Finding]:
    if sys.platform != "linux":
        advice = "the labs, the simulator and recorded kernel traces work; `--kernel`, `compare` and `fuzz` need Linux"
        yield Finding("real kernel", False, f"this is {sys.platform}", advice)
        return
    yield _tool("ip", "iproute2", "makes links, addresses, routes and rules for --kernel")
    yield _tool("nft", "nftables", "sees hooks for --kernel without root")
    yield _namespaces()
    yield from _rules()
    yield _tracing()
    yield _logs()


def _tool(name: str, package: str, purpose: str) -> Finding:
    found = shutil.which(name) or shutil.which(name, path=SBIN)
    return Finding(name, bool(found), f"{found or 'not installed'}, {purpose}", f"apt install {package}")


def _namespaces() -> Finding:
    """A scenario with one host and no packet, in the process that runs scenarios."""
    from netlab.kernel.worker import Worker
    from netlab.scenario import from_dict

    way = "as root" if os.geteuid() == 0 else "in a user namespace"
    try:
        with Worker(privileged=False) as worker:
            worker.run(from_dict({"hosts": {"h": {"interfaces": {"eth0": "10.0.0.1/24"}}}}))
    except (NetlabError, RuntimeError, OSError) as error:
        return Finding("namespaces", False, str(error), "the simulator and the recorded kernel traces work without")
    return Finding("namespaces", True, f"scenarios run on Linux {os.uname().release}, {way}")


def _rules() -> Iterator[Finding]:
    """A rule, and a set, where there are no privileges."""
    from netlab.kernel.worker import Worker
    from netlab.scenario import from_dict

    host: dict[str, str] = {"iptables": "*filter\n-A FORWARD -j ACCEPT\nCOMMIT\n"}
    works = "loads the rules of scenarios for --kernel"
    for name, package, spec, legacy in (
        ("iptables-nft", "iptables", host, False),
        ("iptables-legacy", "iptables", host, True),
        ("ipset", "ipset", {"ipsets": "create some hash:ip\n"}, False),
    ):
        try:
            with Worker(privileged=False) as worker:
                worker.run(from_dict({"hosts": {"h": spec}}), legacy=legacy)
        except (NetlabError, RuntimeError, OSError) as error:
            yield Finding(
                name, False, str(error), f"apt install {package}; the simulator has rules and sets without it"
            )
        else:
            yield Finding(name, True, works if name != "ipset" else works.replace("rules", "sets"))


def _tracing() -> Finding:
    advice = "without it drop reasons and log lines of the kernel are unknown; hooks and frames are not"
    if os.geteuid():
        return Finding("drop reasons", False, "only root may load BPF programs", advice)
    from netlab.kernel.worker import Worker

    with Worker() as worker:
        complaint = worker.call(try_bpf)
    return Finding("drop reasons", not complaint, complaint or "BPF programs see them", advice)


def try_bpf() -> str:
    """Loads the probes for one namespace; what is wrong, or nothing. Works in the kernel worker."""
    from netlab.kernel.namespaces import KernelUnavailable, Namespace
    from netlab.kernel.probes import BpfProbes

    namespace = Namespace()
    try:
        BpfProbes([namespace]).close()
    except KernelUnavailable as error:
        return str(error).splitlines()[0]
    finally:
        namespace.close()
    return ""


def _logs() -> Finding:
    """LOG rules inside a namespace print only if the whole machine says so; netlab never writes that."""
    switch = Path("/proc/sys/net/netfilter/nf_log_all_netns")
    works = switch.exists() and switch.read_text().strip() == "1"
    return Finding(
        "LOG rules",
        works,
        "their lines appear" if works else "the kernel keeps lines of LOG rules in namespaces to itself",
        "sysctl net.netfilter.nf_log_all_netns=1 would show them, for every container here: netlab never sets it",
        wanted=False,
    )


def _sandbox() -> Iterator[Finding]:
    if sys.platform == "linux":
        yield _tool("bwrap", "bubblewrap", "shuts learners' answers in when they are graded")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (_python, _notebooks, _browser, _kernel, _sandbox)
