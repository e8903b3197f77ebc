"""A plan from the first look at the list to the last line that is printed."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

from rpcguard._commands.nodes.sources import source
from rpcguard._commands.plan.page import page
from rpcguard._commands.plan.text import lines
from rpcguard._planning.dialects import as_dict
from rpcguard._planning.inputs import Bounds, Fleet, PlannedNode, Rollout, load_of
from rpcguard._planning.plan import plan_release

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
    look = None
    if options.nodes is None:
        look = asyncio.run(_look(options.registry, options.service))
        nodes = [
            PlannedNode(id=view["node"]["id"], weight=view["weight"], zone=view["node"]["zone"])
            for view in look.views
            if view["weight"] > 0
        ]
        if not nodes:
            raise ValueError(f"service {options.service!r} has no node that takes calls")
    else:
        nodes = [PlannedNode(id=f"node-{number}") for number in range(1, options.nodes + 1)]
    return Fleet(
        nodes=tuple(nodes),
        load=_load(options, nodes, look),
        peak=options.peak,
        workers=options.workers,
        service_time=options.service_time,
        callers=options.callers,
    )


async def _look(url: str, service: str) -> Look:
    async with source(url, service) as looks:
        return await looks.look()


def _load(options: argparse.Namespace, nodes: list[PlannedNode], look: Look | None) -> float:
    weight = sum(node.weight for node in nodes)
    if options.load is not None:
        return float(options.load)
    if options.rate is not None:
        return load_of(
            rate=options.rate,
            service_time=options.service_time,
            workers=options.workers,
            weight=weight,
        )
    if look is not None and options.registry.startswith("status+"):
        return float(sum(view["in_flight"] for view in look.views) / (options.workers * weight))
    raise ValueError("how busy is the fleet? Give --load, or --rate, or the URL of a status page")


def _tell_progress(size: int) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[Ktrying batches of {size} ...", end="", file=sys.stderr, flush=True)


def _clear_progress() -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
