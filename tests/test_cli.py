"""The command line's skeleton: one table, lazy commands, errors on one line."""

import argparse
import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace

import pytest

from netlab import __main__, __version__
from netlab.names import NetlabError


def netlab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "netlab", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A command named `probe` whose `main` the test chooses."""
    module = SimpleNamespace(add_arguments=lambda parser: parser.add_argument("--loud", action="store_true"))
    monkeypatch.setitem(sys.modules, "netlab.commands.probe", module)
    monkeypatch.setattr(__main__, "COMMANDS", {"probe": "try the command line"})
    return module


def test_help_lists_every_command() -> None:
    run = netlab("--help")
    assert run.returncode == 0
    for name, purpose in __main__.COMMANDS.items():
        assert name in run.stdout
        assert purpose.split()[0] in run.stdout


def test_version() -> None:
    assert netlab("--version").stdout == f"netlab {__version__}\n"


@pytest.mark.parametrize("name", __main__.COMMANDS)
def test_every_command_is_there_and_has_help(name: str) -> None:
    module = import_module(f"netlab.commands.{name}")
    assert callable(module.main)
    run = netlab(name, "--help")
    assert run.returncode == 0
    assert run.stdout.startswith(f"usage: python -m netlab {name} ")


@pytest.mark.parametrize("name", ["run", "compare", "fuzz"])
def test_help_says_what_asking_the_kernel_needs(name: str) -> None:
    told = " ".join(netlab(name, "--help").stdout.split())
    assert "asks the kernel of a Linux machine" in told.replace("Asks", "asks")
    assert "netlab doctor` says what is missing" in told


def test_other_commands_are_not_imported() -> None:
    code = (
        "import sys\nfrom netlab.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith('netlab.commands')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [(), ("no-such-command",), ("lab", "--no-such-option")])
def test_wrong_usage_is_status_2_and_one_line(arguments: tuple[str, ...]) -> None:
    run = netlab(*arguments)
    assert run.returncode == 2
    assert run.stderr.startswith("python -m netlab")
    assert run.stderr.endswith("--help)\n")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value"), [("--packets", "0"), ("--packets", "-3"), ("--keep", __file__), ("--keep", "/dev/null/kept")]
)
def test_an_impossible_fuzz_is_refused_before_it_begins(option: str, value: str) -> None:
    run = netlab("fuzz", option, value)
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith(f"netlab: {option}: ")
    assert run.stderr.count("\n") == 1


def test_options_reach_the_command(command: SimpleNamespace) -> None:
    def main(options: argparse.Namespace) -> int:
        return 7 if options.loud else 0

    command.main = main
    assert __main__.main(["probe", "--loud"]) == 7
    assert __main__.main(["probe"]) == 0


def test_a_users_mistake_is_one_line(command: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    def main(options: argparse.Namespace) -> int:
        raise NetlabError("home.yaml: hosts.router: unknown key 'rotues'")

    command.main = main
    assert __main__.main(["probe"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "netlab: home.yaml: hosts.router: unknown key 'rotues'\n"
    assert captured.out == ""


def test_our_own_mistake_shows_its_traceback(command: SimpleNamespace) -> None:
    def main(options: argparse.Namespace) -> int:
        raise ZeroDivisionError

    command.main = main
    with pytest.raises(ZeroDivisionError):
        __main__.main(["probe"])


def test_ctrl_c_is_quiet(command: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    def main(options: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    command.main = main
    assert __main__.main(["probe"]) == 130
    assert capsys.readouterr().err == ""


def test_a_reader_that_leaves_is_no_error() -> None:
    code = (
        "import sys, types\nfrom netlab import __main__\n"
        "def main(options):\n    for n in range(10**6): print(n)\n    return 0\n"
        "probe = types.SimpleNamespace(add_arguments=lambda parser: None, main=main)\n"
        "sys.modules['netlab.commands.probe'] = probe\n"
        "__main__.COMMANDS['probe'] = 'count'\n"
        "sys.exit(__main__.main(['probe']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 141
