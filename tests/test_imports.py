"""Who may import whom: downward only; the core needs nothing but the standard library."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.import_time import measure

PACKAGE = Path(__file__).resolve().parent.parent / "netlab"

CORE_LAYERS = [
    {"names", "html"},
    {"addresses", "checksums", "clock", "peers", "sysctls", "yaml_text"},
    {"headers"},
    {"packet", "route", "ip_options"},
    {"trace", "route_lookup", "interface_addresses", "fragments", "icmp"},
    {"routing"},
    {"martians", "net_tools", "route_text", "wires"},
    {"route_output"},
    {"skb"},
    {"hooks", "machine", "stamping", "route_get", "conntrack"},
    {"queue", "nat"},
    {"iptables"},
    {"ip_output", "tcp_auth", "tcp_connection"},
    {"ip_input"},
    {"passage", "sockets"},
    {"host"},
    {"topology"},
    {"shell"},
    {"scenario"},
    {"simulate"},
]
"""The simulator, from the bottom up: a module may import from its own layer and from those below.

It runs wherever Python does: the standard library, and PyYAML within `scenario.load`.
"""

LAYERS = [
    *CORE_LAYERS,
    {"kernel", "replay", "kubernetes", "datasets"},
    {"draw"},
    {"grading"},
    {"views"},
    {"workspace"},
    {"commands"},
    {"__main__"},
]

CORE = set.union(*CORE_LAYERS)

LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(path: Path) -> str:
    """The module, or the package, directly under `netlab` that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module a file imports, and whether at its top level; not what only a type checker reads."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in tree.body
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            if node.module == "netlab":
                for alias in node.names:
                    yield f"netlab.{alias.name}", node in tree.body
            else:
                yield node.module, node in tree.body


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downward(path: Path) -> None:
    assert room(path) in LAYER_OF, f"{room(path)} has no layer: give it one in LAYERS"
    for name, _ in imports(path):
        imported = name.split(".")[1] if name.startswith("netlab.") else None
        if imported in LAYER_OF:
            assert LAYER_OF[imported] <= LAYER_OF[room(path)], f"{room(path)} imports {imported}, which stands above it"


@pytest.mark.parametrize(
    "path",
    [path for path in modules() if room(path) in CORE],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_core_imports_the_standard_library_only(path: Path) -> None:
    for name, at_top in imports(path):
        if at_top:
            top = name.split(".")[0]
            assert top == "netlab" or top in sys.stdlib_module_names, f"{path.name} imports {name}"


def test_every_export_is_there() -> None:
    netlab = __import__("netlab")
    for name in netlab.__all__:
        assert getattr(netlab, name) is not None


def loaded_by(code: str) -> set[str]:
    """The top-level modules that are loaded after some code ran in a fresh interpreter."""
    listing = f"import sys\nbefore = set(sys.modules)\n{code}\nprint(*(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-I", "-c", listing], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in run.stdout.split()}


@pytest.mark.parametrize("code", ["import netlab", "from netlab import *"])
def test_importing_netlab_loads_nothing_from_outside(code: str) -> None:
    loaded = loaded_by(code)
    assert "netlab" in loaded
    assert loaded - {"netlab"} <= set(sys.stdlib_module_names)


def test_importing_netlab_takes_at_most_half_as_long_as_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # both as after their first import
    best = measure(rounds=3)
    assert best["netlab"] <= best["pandas"] / 2
    assert best["netlab, every name"] <= best["pandas"] / 2
