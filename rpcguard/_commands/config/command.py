"""`rpcguard config`: its options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpcguard._commands.base import CommandError, add_command, one_line, statuses

if TYPE_CHECKING:
    import argparse

    from rpcguard._commands.base import Commands

_EPILOG = f"""\
examples:
  rpcguard config
  rpcguard config /etc/rpcguard.toml
  rpcguard config /etc/rpcguard.toml --check

Without FILE it is the one that RPCGUARD_CONFIG names; without either the defaults are shown.

{statuses("failed: the file cannot be read, or something in it is wrong")}"""


def add_to(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "config",
        _run,
        help="print the options in force, each with its source, or check a file",
        description=(
            "Print the options that a transport would have, and where each value came from:\n"
            "default, file, environment, or a switch of an incident."
        ),
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("file", metavar="FILE", nargs="?", help="TOML by its name (.toml), else JSON")
    add("--check", action="store_true", help="say only whether the file is good")
    add("--json", action="store_true", help="a JSON array")


def _run(options: argparse.Namespace) -> int:
    from rpcguard._commands.config.run import check_file, show_settings

    try:
        if options.check:
            check_file(options.file)
        else:
            show_settings(options.file, as_json=options.json)
    except ValueError as error:
        raise CommandError(one_line(error)) from error
    return 0
