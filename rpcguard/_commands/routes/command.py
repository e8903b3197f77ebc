"""`rpcguard routes`: its options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpcguard._commands.base import (
    USAGE,
    CommandError,
    add_command,
    add_registry,
    header,
    one_line,
    read_registry,
    statuses,
    told_in_one_line,
)

if TYPE_CHECKING:
    import argparse

    from rpcguard._commands.base import Commands

_EPILOG = f"""\
examples:
  rpcguard routes consul://127.0.0.1:8500 orders --rules routes.json
  rpcguard routes file:///etc/services.json orders --header 'x-tester: alice'
  rpcguard routes nacos://127.0.0.1:8848 orders --lane canary-2 --json

Without --rules they are read beside the list, where that is a document (file://, http://).

{statuses("failed: there is no list, or no node that such a call may use")}"""


def add_to(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "routes",
        _run,
        help="tell which rule matches a call, and which nodes it would use",
        description=(
            "Tell which rules match a call of a service, which part of such calls they take, and\n"
            "the nodes that would serve it. Nothing is called."
        ),
        epilog=_EPILOG,
    )
    add_registry(parser)
    add = parser.add_argument
    add("--rules", metavar="FILE", help="JSON or TOML, as a path or a URL")
    add("--method", default="GET", help="of the call (GET)")
    add("--path", default="/", help="of the call, with its query (/)")
    add("--header", action="append", default=[], metavar="'NAME: VALUE'", help="may be repeated")
    add("--lane", help="the mark of the call")
    add("--key", help="the key of the call, for sticky shares")
    add("--json", action="store_true", help="a JSON array")


def _run(options: argparse.Namespace) -> int:
    from rpcguard._commands.routes.run import Wanted, show_routes
    from rpcguard._core.routing.marks import first_mark

    read_registry(options)
    headers = dict(header(text) for text in options.header)
    mark = first_mark([("--lane", options.lane)])
    if mark.malformed:
        told = "--lane needs 1 to 64 characters of A-Za-z0-9._-, as a mark has"
        raise CommandError(f"{told}, not {options.lane!r}", status=USAGE)
    wanted = Wanted(options.method, options.path, headers, mark.lane, options.key)
    try:
        with told_in_one_line():
            found = show_routes(
                options.registry, options.service, options.rules, wanted, as_json=options.json
            )
    except (OSError, ValueError) as error:
        raise CommandError(one_line(error)) from error
    return 0 if found else 1
