"""`rpcguard nodes`: its options."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from rpcguard._commands.base import (
    USAGE,
    CommandError,
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
  rpcguard nodes consul://127.0.0.1:8500
  rpcguard nodes consul://127.0.0.1:8500 orders
  rpcguard nodes etcd://127.0.0.1:2379/services orders --watch --call /health
  rpcguard nodes status+http://127.0.0.1:8000/-/rpcguard/status orders --watch
  rpcguard nodes kubernetes://shop orders --watch --json | jq .
  rpcguard nodes consul://127.0.0.1:8500 orders --ready-for 5 --of 40 --watch --timeout 600

On a terminal --watch draws a table: state, why and for how long, the weight with a bar while
it rises, calls in flight, load, calls per second and the share of good ones in the last 30
seconds, and the median and 99th percentile of the last 128 answers; a narrow one has fewer
columns. The keys: s sorts by state, calls in flight or p99, n goes on to the next service,
q ends. This needs rich: pip install 'rpcguard[demo]'. Without it, and in a pipe, --watch
prints the list, then a line per change.

{statuses("failed: there is no list, or no node on it")}"""


def add_to(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "nodes",
        _run,
        help="print the live list of a service, or watch it",
        description=(
            "Print the live list of a service: as its registry gives it to a caller that makes no\n"
            "calls, or as a running program sees it that shows its rpcguard.asgi_status.\n"
            "Without SERVICE the names of all are listed."
        ),
        epilog=_EPILOG,
    )
    url = add_registry(
        parser,
        "of a registry, such as consul://127.0.0.1:8500, or of a program's status page: "
        "status+http://127.0.0.1:8000/-/rpcguard/status",
    )
    url.completer = url_starts  # type: ignore[attr-defined]
    add = parser.add_argument
    add("--watch", action="store_true", help="go on and show every change, until Ctrl-C")
    add("--json", action="store_true", help="a JSON array; with --watch one line per change")
    add(
        "--call",
        metavar="PATH",
        help="with --watch of a registry: GET this path once a second for each node meanwhile, "
        "so that there is health and latency to be seen",
    )
    _add_readiness(parser)


def _add_readiness(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--ready-for",
        type=int,
        metavar="K",
        help="only tell whether K more nodes may leave now: exit status 0, or 1 and why not; with "
        "--watch wait until they may",
    )
    add(
        "--of",
        type=int,
        default=0,
        metavar="N",
        help="with --ready-for: how many nodes there are when none is away; fewer on the list are "
        "waited for, since one that has left it is not seen to be out",
    )
    add("--timeout", type=seconds, metavar="S", help="how long --ready-for waits (default: on)")


def _run(options: argparse.Namespace) -> int:
    from rpcguard._commands.nodes.run import run_nodes

    read_registry(options, needs_service=False)
    if options.service is None:
        return _list(options)
    if options.call is not None:
        _check_call(options)
    if options.ready_for is not None:
        return _ready(options)
    with told_in_one_line():
        run_nodes(
            options.registry,
            options.service,
            watch=options.watch,
            as_json=options.json,
            call=options.call,
        )
    return 0


def _list(options: argparse.Namespace) -> int:
    from rpcguard._commands.nodes.names import list_services

    if options.watch or options.call is not None or options.ready_for is not None:
        raise CommandError(
            "name a service: --watch, --call and --ready-for are of one", status=USAGE
        )
    with told_in_one_line():
        list_services(options.registry, as_json=options.json)
    return 0


def _ready(options: argparse.Namespace) -> int:
    from rpcguard._commands.nodes.run import wait_until_ready

    if options.ready_for < 1:
        raise CommandError("--ready-for needs a number of nodes, 1 or more", status=USAGE)
    if options.of < 0:
        raise CommandError("--of needs a number of nodes, 0 or more", status=USAGE)
    with told_in_one_line():
        against = wait_until_ready(
            options.registry,
            options.service,
            options.ready_for,
            whole=options.of,
            watch=options.watch,
            timeout=options.timeout,
            call=options.call,
        )
    if against:
        raise CommandError(f"{options.ready_for} more may not leave now: {'; '.join(against)}")
    print(f"{options.ready_for} more may leave now")
    return 0


def _check_call(options: argparse.Namespace) -> None:
    check_path("--call", options.call)
    if not options.watch or options.registry.startswith("status+"):
        raise CommandError("--call needs --watch and the URL of a registry", status=USAGE)


def url_starts(prefix: str, **_: object) -> list[str]:
    """Give how a URL may begin, for completion in the shell."""
    schemes = {entry.name for entry in entry_points(group="rpcguard.registries")}
    starts = [f"{scheme}://" for scheme in sorted(schemes | {"status+http", "status+https"})]
    return [start for start in starts if start.startswith(prefix)]
