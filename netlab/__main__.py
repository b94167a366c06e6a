"""The command line: `python -m netlab COMMAND ...`.

A command is a module in `netlab.commands` with two functions, `add_arguments(parser)` and
`main(options) -> exit status`. Only the module of the command that was asked for is imported.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn

from netlab import __version__
from netlab.names import NetlabError

COMMANDS = {
    "run": "run a scenario file and print what became of its packets",
    "replay": "send a capture through a host of a scenario and print what became of its packets",
    "compare": "run scenario files in both worlds and show where they differ",
    "fuzz": "compare both worlds on random machines and packets",
    "doctor": "say what works on this machine, and what to install for the rest",
    "lab": "open the labs in JupyterLab, in a workspace of your own",
}
"""Every command and what it is for; the command's code is `netlab.commands.NAME`."""

_ASKS: Final = (
    "the kernel of a Linux machine, in network namespaces made for it; `python -m netlab doctor` says what is missing. "
    "As root everything is known; otherwise drop reasons and log lines are not."
)
NEEDS: Final = {
    "run": f"--kernel asks {_ASKS}",
    "compare": f"Asks {_ASKS} The exit status is 1 if the worlds differ.",
    "fuzz": f"Asks {_ASKS} The exit status is 1 if the worlds disagreed.",
}
"""What commands need that do not run everywhere."""

USAGE_ERROR = 2
INTERRUPTED = 130
"""128 + SIGINT, as a shell reports it."""
BROKEN_PIPE = 141
"""128 + SIGPIPE."""


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong with the arguments in one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Print the line and exit with status 2."""
        self.exit(USAGE_ERROR, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser_for(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for these arguments: it lists every command, and knows the options of the one asked for."""
    parser = Parser(prog="python -m netlab", description="How Linux handles a packet.")
    parser.add_argument("--version", action="version", version=f"netlab {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, purpose in COMMANDS.items():
        subparser = commands.add_parser(
            name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.", epilog=NEEDS.get(name)
        )
        if arguments and arguments[0] == name:
            command = import_module(f"netlab.commands.{name}")
            command.add_arguments(subparser)
            subparser.set_defaults(main=command.main)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    A mistake in what the user wrote (`NetlabError`) is one line on standard error and status 2, as argparse
    does for a wrong option; anything else that is raised is a mistake of netlab's, and shows its traceback.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser_for(arguments).parse_args(arguments)
    try:
        status: int = options.main(options)
        sys.stdout.flush()
    except NetlabError as error:
        print(f"netlab: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has left (`| head`); without this the interpreter complains once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return status


if __name__ == "__main__":
    sys.exit(main())
