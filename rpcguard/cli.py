"""The command line: one parser, and a subcommand from each folder of `_commands`."""
# PYTHON_ARGCOMPLETE_OK

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import sys
from typing import TYPE_CHECKING

from rpcguard._commands import switch
from rpcguard._commands.base import FAILED, INTERRUPTED, CommandError, statuses
from rpcguard._commands.check import command as check
from rpcguard._commands.config import command as config
from rpcguard._commands.demo import command as demo
from rpcguard._commands.get import command as get
from rpcguard._commands.nodes import command as nodes
from rpcguard._commands.plan import command as plan
from rpcguard._commands.routes import command as routes
from rpcguard._text import printable
from rpcguard._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPILOG = f"""\
rpcguard COMMAND --help tells the options of a command.

{statuses("failed")}

completion in the shell, after pip install 'rpcguard[completion]':
  eval "$(register-python-argcomplete rpcguard)"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    `arguments` are those after the program's name, `sys.argv` by default. 0: done; 1: failed;
    2: wrong usage; 130: interrupted. Errors are one line on standard error. Raises `SystemExit`
    where argparse does.
    """
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ and importlib.util.find_spec("argcomplete") is not None:
        import argcomplete

        argcomplete.autocomplete(parser)  # and ends here
    options = parser.parse_args(arguments)
    logging.getLogger("rpcguard").addHandler(logging.NullHandler())
    try:
        status: int = options.run(options)
        if sys.stdout is not None:  # who closed it wants the status alone
            sys.stdout.flush()
    except CommandError as error:
        print(f"rpcguard: {printable(error)}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        # Where the reader of a pipe has left there is nothing to be told.
        if not isinstance(error, BrokenPipeError):
            print(f"rpcguard: {printable(error)}", file=sys.stderr)
        # What is still to be written would make the interpreter complain at its exit.
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rpcguard",
        description="Calls between services that do not notice a release.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rpcguard {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (config, demo, check, get, nodes, routes, plan, switch):
        command.add_to(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
