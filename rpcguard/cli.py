"""The command line: `rpcguard demo` and `rpcguard nodes`."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import logging
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rpcguard._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

    from rpcguard.nodes import NodeView

_READY_TIMEOUT = 5.0
_LOOK_EVERY = 0.25
_FAILED, _USAGE, _INTERRUPTED = 1, 2, 130
_COLUMNS = ("node", "address", "state", "reason", "weight", "zone", "version")
_STATE_COLORS = {"available": "green", "warming": "yellow", "ejected": "red", "offline": "cyan"}


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
    options = _parser().parse_args(arguments)
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
        prog="rpcguard", description="Calls between services that do not notice a release."
    )
    parser.add_argument("--version", action="version", version=f"rpcguard {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_demo(commands.add_parser("demo", help="play a release with real processes and watch it"))
    _add_nodes(commands.add_parser("nodes", help="print the live list of a service"))
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Start an HTTP registry and real providers, call them through rpcguard and through plain "
        "httpx, and play a rolling release, a kill, a freeze and a sick node. Exit status 1 if a "
        "call of rpcguard failed that could have been saved."
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
    parser.description = "Print the live list of a service as rpcguard sees it."
    add = parser.add_argument
    add("registry", metavar="REGISTRY_URL", help="such as http://registry:8500/{service}")
    add("service", metavar="SERVICE", help="the logical name of the service")
    add("--watch", action="store_true", help="go on and print every change, until Ctrl-C")
    add("--json", action="store_true", help="a JSON array; with --watch one line per change")
    parser.set_defaults(run=_nodes)


def _demo(options: argparse.Namespace) -> int:
    missing = [name for name in ("uvicorn", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        lacking = " and ".join(missing)
        raise CommandError(f"the demo needs {lacking}: pip install 'rpcguard[demo]'")
    from rpcguard.demo.options import DemoOptions

    names = ("seconds", "rate", "providers", "seed", "plain", "report")
    try:
        chosen = DemoOptions(**{name: getattr(options, name) for name in names})
    except ValueError as error:
        raise CommandError(str(error), status=_USAGE) from error
    from rpcguard.demo.run import run_demo

    return run_demo(chosen)


class _Printer(Protocol):
    def __call__(self, views: Sequence[NodeView], /) -> None: ...


def _nodes(options: argparse.Namespace) -> int:
    from rpcguard.errors import InvalidRegistryURL, RpcguardError

    printing, show = _printer(as_json=options.json, watch=options.watch)
    try:
        with printing:
            asyncio.run(_follow(options.registry, options.service, show, watch=options.watch))
    except InvalidRegistryURL as error:
        raise CommandError(_one_line(error), status=_USAGE) from error
    except TimeoutError as error:
        raise CommandError(
            f"the registry gave no list of {options.service!r} within {_READY_TIMEOUT:g} s"
        ) from error
    except RpcguardError as error:
        raise CommandError(_one_line(error)) from error
    return 0


async def _follow(url: str, service: str, show: _Printer, *, watch: bool) -> None:
    from rpcguard import AsyncTransport

    async with AsyncTransport(url) as transport:
        await transport.wait_ready(service, timeout=_READY_TIMEOUT)
        views = transport.nodes(service)
        if not views:
            raise CommandError(f"the registry lists no node of {service!r}")
        show(views)
        while watch:
            await asyncio.sleep(_LOOK_EVERY)
            before, views = views, transport.nodes(service)
            if _essence(views) != _essence(before):
                show(views)


def _essence(views: Iterable[NodeView]) -> list[tuple[object, ...]]:
    # Ramps and remaining times move all the time; they are no change of the list.
    return [(view.node, view.state, view.reason, view.weight) for view in views]


def _printer(*, as_json: bool, watch: bool) -> tuple[AbstractContextManager[object], _Printer]:
    if as_json:
        return nullcontext(), _show_json
    if not sys.stdout.isatty() or importlib.util.find_spec("rich") is None:
        return nullcontext(), _show_text
    from rich.console import Console
    from rich.live import Live

    if not watch:
        return nullcontext(), lambda views: Console().print(_table(views))
    live = Live(auto_refresh=False)
    return live, lambda views: live.update(_table(views), refresh=True)


def _show_json(views: Sequence[NodeView]) -> None:
    print(json.dumps([view.as_dict() for view in views]), flush=True)


def _show_text(views: Sequence[NodeView]) -> None:
    lines = [tuple(name.upper() for name in _COLUMNS), *map(_row, views)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
    sys.stdout.flush()


def _table(views: Sequence[NodeView]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in _COLUMNS:
        table.add_column(name)
    for view in views:
        style = _STATE_COLORS.get(view.state, "")
        table.add_row(*(Text(c, style if c == view.state else "") for c in _row(view)))
    return table


def _row(view: NodeView) -> tuple[str, ...]:
    node = view.node
    weight = f"{view.weight:g}"
    if view.effective_weight != view.weight:
        weight += f" -> {view.effective_weight:.2f}"
    reason = view.reason or ""
    if view.until is not None:
        reason += f" ({view.until:.0f} s left)"
    about = (node.zone or "-", node.version or "-")
    return (node.id, node.address, view.state, reason.strip() or "-", weight, *about)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main())
