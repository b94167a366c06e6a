"""`python -m netlab lab`: the learner's notebooks into a workspace, and JupyterLab on the first of them."""

import argparse
import importlib.util
import os
import sys
import webbrowser
from pathlib import Path

from netlab import workspace
from netlab.names import NetlabError

FIRST = "01_"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lab`."""
    parser.add_argument(
        "--dir",
        type=Path,
        metavar="FOLDER",
        default=workspace.default_folder(),
        help="the workspace, outside the reach of git (default: netlab-labs in your home folder)",
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address instead of opening it")
    parser.add_argument("--copy", action="store_true", help="only bring the workspace up to date")


def main(options: argparse.Namespace) -> int:
    """Bring the workspace up to date, say what changed, and serve it until Ctrl-C.

    Raises:
        NetlabError: there are no labs here, the workspace cannot be used, or JupyterLab is not installed.
    """
    folder = options.dir.expanduser().resolve()
    deliveries = workspace.update(folder)
    for delivery in deliveries:
        if delivery.news:
            print(delivery)
    print(f"Your labs are in {folder}.", flush=True)
    if options.copy:
        return 0
    notebook = next((d.notebook for d in deliveries if d.notebook.name.startswith(FIRST)), deliveries[0].notebook)
    serve(folder, notebook, browser=not options.no_browser and has_browser())
    return 0


def serve(folder: Path, notebook: Path, *, browser: bool) -> None:
    """Run JupyterLab on a notebook of the workspace, in this process, so that Ctrl-C is JupyterLab's own.

    JupyterLab prints the address to open; its other messages are left out, so that it can be found.

    Raises:
        NetlabError: JupyterLab is not installed.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise NetlabError('JupyterLab is not installed here: python -m pip install "netfilter-lab[lab]"')
    from jupyterlab.labapp import LabApp  # half a second, needed only here

    options = [
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.default_url=/lab/tree/{notebook.relative_to(folder).as_posix()}",
        "--log-level=WARN",
    ]
    if not browser:
        options.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # In a container the learner is root; the server listens on loopback, behind a token.
        options.append("--allow-root")
    LabApp.launch_instance(options)


def has_browser() -> bool:
    """Whether a window with a browser can open here; a text browser would take over the terminal."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True
