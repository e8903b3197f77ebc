"""`rpcguard demo`: its options."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from rpcguard._commands.base import USAGE, CommandError, add_command, statuses

if TYPE_CHECKING:
    import argparse

    from rpcguard._commands.base import Commands


def add_to(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "demo",
        _run,
        help="play a release with real processes and watch it",
        description=(
            "Start an HTTP registry and real providers, call them through rpcguard, plain httpx\n"
            "and httpx-retries, if that is installed, and play a rolling release, a kill, a\n"
            "freeze and a sick node; with --lanes a canary release whose new version fails."
        ),
        epilog=statuses("failed, or a call failed that could have been saved"),
    )
    add = parser.add_argument
    add("--seconds", type=float, default=45.0, help="length of the load (default: 45)")
    add("--rate", type=float, default=100.0, help="calls per second of each client (default: 100)")
    add("--providers", type=int, default=5, help="number of providers (default: 5)")
    add("--seed", type=int, default=1, help="drives the choice of GET and POST (default: 1)")
    add("--plain", action="store_true", help="one line per event instead of the live view")
    add("--lanes", action="store_true", help="a canary release that its guard switches off")
    add("--plan", type=Path, metavar="PATH", help="release by the batches of plan-release --json")
    add("--report", type=Path, metavar="PATH", help="write a picture: .html, or a bare .svg")


def _run(options: argparse.Namespace) -> int:
    missing = [name for name in ("uvicorn", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        lacking = " and ".join(missing)
        raise CommandError(f"the demo needs {lacking}: pip install 'rpcguard[demo]'")
    from rpcguard._commands.demo.options import DemoOptions
    from rpcguard._commands.demo.planned import read_plan

    names = ("seconds", "rate", "providers", "seed", "plain", "lanes", "report")
    try:
        plan = None if options.plan is None else read_plan(options.plan)
        chosen = DemoOptions(plan=plan, **{name: getattr(options, name) for name in names})
    except ValueError as error:
        raise CommandError(str(error), status=USAGE) from error
    from rpcguard._commands.demo.run import run_demo

    return run_demo(chosen)
