"""A JupyterLab of the test's own: loopback, a free port, a token, temporary folders, gone afterwards."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

START = 60  # seconds for the server to answer
RUN = 60  # seconds for a notebook to run


class Lab(NamedTuple):
    """A running JupyterLab."""

    url: str
    token: str

    def notebook(self, path: str) -> str:
        """The address of a notebook, in a workspace with nothing else in it."""
        return f"{self.url}lab/tree/{path}?token={self.token}&reset"


@contextmanager
def jupyterlab(root: Path, state: Path) -> Iterator[Lab]:
    """Serve a folder; everything that Jupyter remembers goes into another."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lab = Lab(f"http://127.0.0.1:{port}/", secrets.token_hex(16))
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "JUPYTERLAB_SETTINGS_DIR")
    environment = {**os.environ, **{name: str(state / name.lower()) for name in folders}}
    environment["JUPYTERLAB_WORKSPACES_DIR"] = str(state / "workspaces")
    quiet = state / "jupyterlab_settings_dir" / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True)
    (quiet / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0", f"--ServerApp.root_dir={root}", f"--IdentityProvider.token={lab.token}",
        "--LabApp.extension_manager=readonly", "--log-level=WARN",
    ]  # fmt: skip
    command += ["--allow-root"] if os.geteuid() == 0 else []
    log = (state / "server.log").open("w")
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(server, lab, state / "server.log")
        yield lab
    finally:
        _stop(server)
        log.close()


def _wait(server: subprocess.Popen[bytes], lab: Lab, log: Path) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"JupyterLab ended: {log.read_text()}")
        try:
            with urllib.request.urlopen(f"{lab.url}api?token={lab.token}", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not answer within {START} s: {log.read_text()}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and the kernels it started: they are one process group."""
    for ending in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, ending)
            server.wait(10)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    server.wait()


def run_all(page: Any, lab: Lab, path: str) -> None:
    """Open a notebook, run all its cells by the menu, and wait until every one has run."""
    page.goto(lab.notebook(path))
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=START * 1000)
    page.locator(".jp-StatusBar-TextItem", has_text="| Idle").wait_for(timeout=START * 1000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator(".lm-Menu-itemLabel", has_text="Run All Cells").first.click()
    page.wait_for_function(
        """() => [...document.querySelectorAll(".jp-CodeCell .jp-InputArea-prompt")]
          .every((prompt) => /\\d/.test(prompt.textContent))""",
        timeout=RUN * 1000,
    )
