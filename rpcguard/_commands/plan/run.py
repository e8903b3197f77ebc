"""A plan from the first look at the list to the last line that is printed."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from rpcguard._commands.nodes.sources import STATUS, source
from rpcguard._commands.plan.page import page
from rpcguard._commands.plan.text import lines
from rpcguard._planning.dialects import as_dict
from rpcguard._planning.inputs import Bounds, Fleet, PlannedNode, Rollout, load_of
from rpcguard._planning.plan import plan_release
from rpcguard._text import plain
from rpcguard.errors import RegistryError

if TYPE_CHECKING:
    import argparse

    from rpcguard._commands.nodes.sources import Look


def plan_and_print(options: argparse.Namespace) -> bool:
    """Make the plan that the options ask for and print it; False where there is none."""
    fleet = _fleet(options)
    rollout = Rollout(
        away=options.away,
        cold=options.cold[0],
        cold_factor=options.cold[1],
        slow_start=options.slow_start,
        signal=options.signal,
        lag=options.lag,
        surge=options.surge,
        canary=options.canary,
        watch=options.watch,
        pause=options.pause,
    )
    bounds = Bounds(
        ceiling=options.ceiling, p99=options.p99, lose=options.lose, zones=options.zones
    )
    plan = plan_release(
        fleet, rollout, bounds, seed=options.seed, fast=options.fast, progress=_tell_progress
    )
    _clear_progress()
    if options.json:
        print(json.dumps(as_dict(plan), indent=2))
    else:
        print("\n".join(lines(plan)))
    if options.report is not None:
        options.report.write_text(page(plan), encoding="utf-8")
        print(f"the page of this plan: {options.report}", file=sys.stderr)
    return plan.advised is not None


def _fleet(options: argparse.Namespace) -> Fleet:
    look, out = None, []
    if options.nodes is None:
        look = asyncio.run(_look(options.registry, options.service))
        if look.trouble:
            print(f"the list may be old: {plain(look.trouble)}", file=sys.stderr)
        nodes = [
            PlannedNode(id=view["node"]["id"], weight=view["weight"], zone=view["node"]["zone"])
            for view in look.views
            if _takes_calls(view)
        ]
        out = [view["node"]["id"] for view in look.views if not _takes_calls(view)]
        if not nodes:
            raise RegistryError(f"service {options.service!r} has no node that takes calls")
    else:
        nodes = [PlannedNode(id=f"node-{number}") for number in range(1, options.nodes + 1)]
    return Fleet(
        nodes=tuple(nodes),
        load=_load(options, nodes, look),
        peak=options.peak,
        workers=options.workers,
        service_time=options.service_time,
        callers=options.callers,
        out=tuple(out),
    )


def _takes_calls(view: dict[str, Any]) -> bool:
    """Tell whether a node bears a part of the load now, so that its absence would be felt."""
    return bool(view["weight"] > 0 and view["state"] in ("available", "warming"))


async def _look(url: str, service: str) -> Look:
    async with source(url, service) as looks:
        return await looks.look()


def _load(options: argparse.Namespace, nodes: list[PlannedNode], look: Look | None) -> float:
    if options.load is not None:
        return float(options.load)
    if options.rate is not None:
        return load_of(
            rate=options.rate,
            service_time=options.service_time,
            workers=options.workers,
            nodes=len(nodes),
        )
    if look is None or not options.registry.startswith(STATUS):
        raise ValueError(
            "how busy is the fleet? Give --load, or --rate, or the URL of a status page"
        )
    calls = sum(view["in_flight"] for view in look.views)
    if not calls:
        raise ValueError("the program has no call in flight just now: give --load, or --rate")
    return float(calls / (options.workers * len(nodes)))


def _tell_progress(size: int) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[Ktrying batches of {size} ...", end="", file=sys.stderr, flush=True)


def _clear_progress() -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
