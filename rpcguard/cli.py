"""The command line: `rpcguard demo`, `nodes`, `offline` and `online`."""
# PYTHON_ARGCOMPLETE_OK

from __future__ import annotations

import argparse
import importlib.util
import logging
import math
import os
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from rpcguard._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

_FAILED, _USAGE, _INTERRUPTED = 1, 2, 130
"""Exit statuses as shells and argparse have them; 130 is 128 + SIGINT."""
_STATUSES = """\
exit status:
  0    done
  1    {failed}
  2    wrong usage
  130  interrupted"""
_EPILOG = f"""\
rpcguard COMMAND --help tells the options of a command.

{_STATUSES.format(failed="failed")}

completion in the shell, after pip install 'rpcguard[completion]':
  eval "$(register-python-argcomplete rpcguard)"
"""
_NODES_EPILOG = f"""\
examples:
  rpcguard nodes consul://127.0.0.1:8500 orders
  rpcguard nodes etcd://127.0.0.1:2379/services orders --watch --call /health
  rpcguard nodes status+http://127.0.0.1:8000/-/rpcguard/status orders --watch
  rpcguard nodes kubernetes://shop orders --watch --json | jq .

On a terminal --watch draws a table: state, why and for how long, the weight with a bar while
it rises, calls in flight, load, calls per second and the share of good ones in the last 30
seconds, and the median and 99th percentile of the last 128 answers. This needs rich:
pip install 'rpcguard[demo]'. Without it, and in a pipe, --watch prints the list, then a line
per change.

{_STATUSES.format(failed="failed: there is no list, or no node on it")}"""
_OFFLINE_EPILOG = f"""\
examples:
  rpcguard offline --wait 8
  rpcguard offline --file /run/orders/leaving --wait 8

As the preStop hook of a container:
  exec: {{command: ["rpcguard", "offline", "--wait", "8"]}}

The app looks at the same file: that of OfflineASGI(app, file=...), of RPCGUARD_OFFLINE_FILE, or
/tmp/rpcguard-offline. It counts for ten minutes.

{_STATUSES.format(failed="the file could not be written; it has waited all the same")}"""
_ONLINE_EPILOG = _STATUSES.format(failed="the file could not be removed")
_DEMO_EPILOG = _STATUSES.format(failed="failed, or a call failed that could have been saved")


class CommandError(Exception):
    """Hold the one line that a command ends with, and its exit status."""

    def __init__(self, message: str, *, status: int = _FAILED) -> None:
        super().__init__(message)
        self.status = status


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
        sys.stdout.flush()
    except CommandError as error:
        print(f"rpcguard: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has left; without this the interpreter complains at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
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
    _add_demo(
        commands.add_parser(
            "demo",
            help="play a release with real processes and watch it",
            epilog=_DEMO_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    _add_nodes(
        commands.add_parser(
            "nodes",
            help="print the live list of a service, or watch it",
            epilog=_NODES_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    _add_switch(
        commands.add_parser(
            "offline",
            help="let the node on this machine say that it leaves",
            epilog=_OFFLINE_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        ),
        commands.add_parser(
            "online",
            help="take that back",
            epilog=_ONLINE_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        ),
    )
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Start an HTTP registry and real providers, call them through rpcguard and through plain\n"
        "httpx, and play a rolling release, a kill, a freeze and a sick node."
    )
    add = parser.add_argument
    add("--seconds", type=float, default=45.0, help="length of the load (default: 45)")
    add("--rate", type=float, default=100.0, help="calls per second of each client (default: 100)")
    add("--providers", type=int, default=5, help="number of providers (default: 5)")
    add("--seed", type=int, default=1, help="drives the choice of GET and POST (default: 1)")
    add("--plain", action="store_true", help="one line per event instead of the live view")
    add("--report", type=Path, metavar="PATH", help="write a picture: .html, or a bare .svg")
    parser.set_defaults(run=_demo)


def _add_nodes(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print the live list of a service: as its registry gives it to a caller that makes no\n"
        "calls, or as a running program sees it that shows its rpcguard.asgi_status."
    )
    add = parser.add_argument
    url = add(
        "registry",
        metavar="URL",
        help="of a registry, such as consul://127.0.0.1:8500, or of a program's status page: "
        "status+http://127.0.0.1:8000/-/rpcguard/status",
    )
    url.completer = _url_starts  # type: ignore[attr-defined]
    add("service", metavar="SERVICE", help="the logical name of the service")
    add("--watch", action="store_true", help="go on and show every change, until Ctrl-C")
    add("--json", action="store_true", help="a JSON array; with --watch one line per change")
    add(
        "--call",
        metavar="PATH",
        help="with --watch of a registry: GET this path once a second for each node meanwhile, "
        "so that there is health and latency to be seen",
    )
    parser.set_defaults(run=_nodes)


def _add_switch(offline: argparse.ArgumentParser, online: argparse.ArgumentParser) -> None:
    offline.description = (
        "Write the file by which every worker of the node on this machine says, on all that it\n"
        "still answers, that it leaves; then wait for callers to do without it."
    )
    online.description = "Remove that file: the node serves as before."
    for parser in (offline, online):
        parser.add_argument(
            "--file",
            metavar="PATH",
            help="of the file (default: RPCGUARD_OFFLINE_FILE, or /tmp/rpcguard-offline)",
        )
    offline.add_argument(
        "--wait",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="how long to wait then, also where it failed (default: 0)",
    )
    offline.set_defaults(run=_offline)
    online.set_defaults(run=_online)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, 0 or more, not {text!r}")
    return seconds


def _url_starts(prefix: str, **_: object) -> list[str]:
    schemes = {entry.name for entry in entry_points(group="rpcguard.registries")}
    starts = [f"{scheme}://" for scheme in sorted(schemes | {"status+http", "status+https"})]
    return [start for start in starts if start.startswith(prefix)]


def _demo(options: argparse.Namespace) -> int:
    missing = [name for name in ("uvicorn", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        lacking = " and ".join(missing)
        raise CommandError(f"the demo needs {lacking}: pip install 'rpcguard[demo]'")
    from rpcguard._commands.demo.options import DemoOptions

    names = ("seconds", "rate", "providers", "seed", "plain", "report")
    try:
        chosen = DemoOptions(**{name: getattr(options, name) for name in names})
    except ValueError as error:
        raise CommandError(str(error), status=_USAGE) from error
    from rpcguard._commands.demo.run import run_demo

    return run_demo(chosen)


def _nodes(options: argparse.Namespace) -> int:
    from rpcguard._commands.nodes.run import run_nodes
    from rpcguard.errors import InvalidRegistryURL, RpcguardError

    if options.call is not None:
        _check_call(options)
    try:
        run_nodes(
            options.registry,
            options.service,
            watch=options.watch,
            as_json=options.json,
            call=options.call,
        )
    except InvalidRegistryURL as error:
        raise CommandError(_one_line(error), status=_USAGE) from error
    except RpcguardError as error:
        raise CommandError(_one_line(error)) from error
    return 0


def _offline(options: argparse.Namespace) -> int:
    try:
        return _turn(options.file, offline=True)
    except CommandError as error:
        # Told before the wait, since a hook that takes too long is killed.
        print(f"rpcguard: {error}", file=sys.stderr, flush=True)
        return error.status
    finally:
        # Callers that learn it from the registry need the time in any case.
        time.sleep(options.wait)


def _online(options: argparse.Namespace) -> int:
    return _turn(options.file, offline=False)


def _turn(file: str | None, *, offline: bool) -> int:
    from rpcguard.provider.file import OfflineFile, offline_path

    try:
        path = offline_path(file)
    except ValueError as error:
        raise CommandError(str(error), status=_USAGE) from error
    shared = OfflineFile(path)
    try:
        if offline:
            shared.write()
        else:
            shared.remove()
    except OSError as error:
        action = "write" if offline else "remove"
        raise CommandError(f"cannot {action} {path}: {error.strerror}") from error
    print(f"{'offline' if offline else 'online'}: {path}", flush=True)
    return 0


def _check_call(options: argparse.Namespace) -> None:
    if not options.call.startswith("/"):
        raise CommandError(
            f"--call needs a path such as /health, not {options.call!r}", status=_USAGE
        )
    if not options.watch or options.registry.startswith("status+"):
        raise CommandError("--call needs --watch and the URL of a registry", status=_USAGE)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main())
