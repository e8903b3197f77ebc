"""`rpcguard get`: its options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpcguard._commands.base import (
    ENVIRONMENT,
    USAGE,
    CommandError,
    add_command,
    header,
    seconds,
    statuses,
    told_in_one_line,
)

if TYPE_CHECKING:
    import argparse

    from rpcguard._commands.base import Commands

_EPILOG = f"""\
examples:
  rpcguard get http://orders/v1/orders/7 --registry consul://127.0.0.1:8500
  RPCGUARD_REGISTRY=file:///etc/services.json rpcguard get http://orders/health

{statuses("there was no answer, or one of 400 or above")}"""


def add_to(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "get",
        _run,
        help="make one call and print its answer and its attempts",
        description=(
            "GET a URL whose host is the name of a service. The body goes to standard output,\n"
            "status, headers and attempts to standard error."
        ),
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("url", metavar="URL", help="such as http://orders/v1/orders/7")
    add("--registry", metavar="URL", help=f"of the registry (default: {ENVIRONMENT})")
    add("--header", action="append", default=[], metavar="'NAME: VALUE'", help="may be repeated")
    add("--timeout", type=seconds, default=5.0, metavar="S", help="seconds for each step (5)")


def _run(options: argparse.Namespace) -> int:
    from rpcguard._commands.get.run import run_get

    if not options.url.startswith(("http://", "https://")):
        raise CommandError(
            f"the URL must be like http://orders/v1, not {options.url!r}", status=USAGE
        )
    headers = [header(text) for text in options.header]
    with told_in_one_line():
        return run_get(options.url, options.registry, headers, timeout=options.timeout)
