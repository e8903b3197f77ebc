"""`rpcguard check`: its options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpcguard._commands.base import (
    FAILED,
    add_command,
    add_registry,
    check_path,
    read_registry,
    seconds,
    statuses,
    told_in_one_line,
)

if TYPE_CHECKING:
    import argparse

    from rpcguard._commands.base import Commands

_EPILOG = f"""\
examples:
  rpcguard check consul://127.0.0.1:8500 orders --path /health
  rpcguard check kubernetes://shop orders --https

Each line is ok, a note, a warning, or FAIL with what is to be done.

{statuses("a check failed")}"""


def add_to(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "check",
        _run,
        help="try all that can be wrong between here and a service",
        description=(
            "Go the way of a call step by step: the registry and its credentials, the list, and\n"
            "for each node the connection, its certificate, an answer, its Host check, its clock\n"
            "and its offline switch."
        ),
        epilog=_EPILOG,
    )
    add_registry(parser)
    add = parser.add_argument
    add("--path", default="/", help="what each node is asked for by GET (/)")
    add("--https", action="store_true", help="call nodes by https where the list does not say")
    add("--timeout", type=seconds, default=5.0, metavar="S", help="seconds for each node (5)")
    add("--json", action="store_true", help="a JSON array")


def _run(options: argparse.Namespace) -> int:
    from rpcguard._commands.check.run import Questions, run_check

    check_path("--path", options.path)
    read_registry(options)
    wanted = Questions(options.path, "https" if options.https else "http", options.timeout)
    with told_in_one_line():
        well = run_check(options.registry, options.service, wanted, as_json=options.json)
    return 0 if well else FAILED
