"""`rpcguard plan-release`: its options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rpcguard._commands.base import (
    FAILED,
    USAGE,
    CommandError,
    add_command,
    add_registry,
    read_registry,
    seconds,
    statuses,
    told_in_one_line,
)

if TYPE_CHECKING:
    from rpcguard._commands.base import Commands

_MOST_NODES = 100_000
"""Nodes of a plan by number: ten times the largest list that rpcguard is tested with."""
_DESCRIPTION = """\
Say how many nodes of a service may be restarted at once, and in which order. Sizes of batches
are played in a simulation with the callers' own balancer, retries, marks and slow start; the
largest within bounds is advised, in the words of Kubernetes, Argo Rollouts and others.
Nothing is restarted."""
_EPILOG = f"""\
examples:
  rpcguard plan-release consul://127.0.0.1:8500 orders --load 0.6
  rpcguard plan-release --nodes 20 --rate 900 --service-time 0.05 --workers 4
  rpcguard plan-release status+http://127.0.0.1:8000/-/rpcguard/status orders --workers 8
  rpcguard plan-release --nodes 1000 --load 0.5 --fast --json

{statuses("no size of batch is within bounds, or there is no list")}"""


def add_to(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "plan-release",
        _run,
        help="say how many nodes may be restarted at once",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    _add_fleet(parser)
    _add_rollout(parser.add_argument_group("how a node is restarted"))
    _add_bounds(parser.add_argument_group("bounds"))
    _add_output(parser.add_argument_group("output"))


def _add_fleet(parser: argparse.ArgumentParser) -> None:
    add_registry(parser, "of a registry or status page")
    add = parser.add_argument_group("the fleet").add_argument
    add("--nodes", type=int, metavar="N", help="so many equal nodes, instead of URL SERVICE")
    add("--load", type=float, metavar="SHARE", help="utilisation of the fleet, such as 0.6")
    add("--rate", type=float, metavar="R", help="calls a second over all callers")
    add("--service-time", type=float, default=0.05, metavar="S", help="of a call (default: 0.05)")
    add("--workers", type=int, default=4, metavar="W", help="calls a node works on (default: 4)")
    add("--peak", type=float, default=1.0, metavar="F", help="growth meanwhile (default: 1.0)")
    add("--callers", type=int, default=40, metavar="C", help="calling processes (default: 40)")


def _add_rollout(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--away", type=seconds, default=20.0, metavar="S", help="until it answers (default: 20)")
    add(
        "--cold",
        type=_cold,
        default=(60.0, 3.0),
        metavar="SxF",
        help="slow for S seconds, by a factor F at first (default: 60x3)",
    )
    add("--slow-start", type=seconds, default=120.0, metavar="S", help="window (default: 120)")
    add(
        "--signal",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether nodes say that they leave (default: they do)",
    )
    add(
        "--lag",
        type=seconds,
        default=0.5,
        metavar="S",
        help="how long the registry lists a node that is gone (default: 0.5; Nacos 50, Eureka 120)",
    )
    add("--surge", type=int, default=0, metavar="N", help="new nodes before old ones (default: 0)")
    add("--canary", type=int, default=1, metavar="N", help="nodes of the first batch (default: 1)")
    add("--watch", type=seconds, default=300.0, metavar="S", help="the canary (default: 300)")
    add("--pause", type=seconds, metavar="S", help="between batches (default: until warm)")


def _add_bounds(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--ceiling", type=float, default=0.8, metavar="SHARE", help="of the rest (default: 0.8)")
    add("--p99", type=float, default=2.0, metavar="F", help="times that of calm (default: 2)")
    add("--lose", type=float, default=0.0, metavar="N", help="calls of a million (default: 0)")
    add("--zones", choices=("mixed", "one-at-a-time"), default="mixed", help="(default: mixed)")


def _add_output(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--fast", action="store_true", help="by formula only, without p99")
    add("--seed", type=int, default=1, help="of the simulation (default: 1)")
    add("--json", action="store_true", help="the plan as one JSON document")
    add("--report", type=Path, metavar="PATH", help="also write a page that stands alone: .html")


def _cold(text: str) -> tuple[float, float]:
    first, _, second = text.partition("x")
    try:
        length, factor = seconds(first), float(second or 3.0)
    except (ValueError, argparse.ArgumentTypeError):
        length, factor = 0.0, 0.0
    if factor < 1.0:
        raise argparse.ArgumentTypeError(f"must look like 60x3, the factor 1 or more, not {text!r}")
    return length, factor


def _run(options: argparse.Namespace) -> int:
    from rpcguard._commands.plan.run import plan_and_print

    if options.report is not None and options.report.suffix != ".html":
        raise CommandError(f"--report writes .html, not {options.report.name!r}", status=USAGE)
    by_list = options.registry is not None or options.service is not None
    if by_list == (options.nodes is not None):
        raise CommandError("give URL and SERVICE, or --nodes N", status=USAGE)
    if by_list:
        read_registry(options)
    elif not 1 <= options.nodes <= _MOST_NODES:
        raise CommandError(f"--nodes must be 1 to {_MOST_NODES}, not {options.nodes}", status=USAGE)
    try:
        with told_in_one_line():
            return 0 if plan_and_print(options) else FAILED
    except ValueError as error:
        raise CommandError(str(error), status=USAGE) from error
