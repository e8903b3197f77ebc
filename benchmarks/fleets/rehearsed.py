"""Compare what a plan predicts with what real uvicorn providers do when they are released by it.

`python -m benchmarks.fleets.releases real` puts the table into the guide. The plan is played by
`rpcguard demo`: one caller, six providers with two workers each. Both figures are of all calls from
the first restart to the end; calm is not compared with itself, since seconds of it are few calls.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.lib.report import Check, Section, Table
from rpcguard._commands.demo.options import DemoOptions
from rpcguard._commands.demo.planned import read_plan
from rpcguard._commands.demo.run import Demo
from rpcguard._commands.demo.view import PlainView
from rpcguard._planning.dialects import as_dict
from rpcguard._planning.inputs import Bounds, Fleet, PlannedNode, Rollout
from rpcguard._planning.plan import plan_release
from rpcguard._planning.rehearsal import rehearse
from rpcguard._text import quantile

if TYPE_CHECKING:
    from rpcguard._commands.demo.recording import CallRecord, Recording
    from rpcguard._planning.batches import Batch

SECONDS = 0.15
"""Of a call: long beside what the providers' and the caller's own work takes on a busy machine."""
CASES = ((0.5, 1, True), (0.5, 2, True), (0.6, 2, True), (0.5, 2, False))
"""Load, batch, signal: what is left is 60, 75 and 90 %, and 75 % without a signal."""
BAR = 2.0
"""Of predicted and seen, the larger is at most so many times the other."""
RELEASES = 3
"""Real releases of each case; their median, for other work on the machine is in them."""
SEEDS = 9
"""Rehearsals, of which the median is taken: one plays some 1,500 calls."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The p99 of a release in seconds, and the failed calls as a share, here and there."""

    predicted: float
    seen: float
    lost: float
    failed: float

    @property
    def apart(self) -> float:
        """How many times the larger p99 is the other."""
        return max(self.predicted / self.seen, self.seen / self.predicted)


def compared(load: float, size: int, *, signal: bool) -> Compared:
    """Rehearse a release and carry it out."""
    nodes = tuple(PlannedNode(id=f"n{number}") for number in range(6))
    fleet = Fleet(nodes=nodes, load=load, workers=2, service_time=SECONDS, callers=1)
    rollout = Rollout(away=3.0, cold=2.0, watch=0.0, canary=0, signal=signal)
    plan = plan_release(fleet, rollout, Bounds(largest=size, ceiling=2.0, p99=9.0, lose=1e6))
    row = next(row for row in plan.rows if row.size == size)
    order = [[node.id for node in batch.nodes] for batch in row.batches]
    recordings = [released({**as_dict(plan), "order": order}) for _ in range(RELEASES)]
    return _figures(fleet, rollout, row.batches, recordings)


def _figures(
    fleet: Fleet, rollout: Rollout, batches: tuple[Batch, ...], recordings: list[Recording]
) -> Compared:
    runs = [rehearse(fleet, rollout, batches, seed=seed) for seed in range(1, SEEDS + 1)]
    seen = [_calls_from_the_first_restart(recording) for recording in recordings]
    return Compared(
        predicted=median(run.calm * run.p99 for run in runs),
        seen=median(quantile(sorted(call.duration for call in calls), 0.99) for calls in seen),
        lost=median(run.lost for run in runs) / 1e6,
        failed=median(sum(call.error is not None for call in calls) / len(calls) for calls in seen),
    )


def _calls_from_the_first_restart(recording: Recording) -> list[CallRecord]:
    begin = min(event.at for event in recording.events if event.kind in ("leave", "kill"))
    return [call for call in recording.of("rpcguard") if call.at >= begin]


def released(document: dict[str, object]) -> Recording:
    """Play a plan on real providers, at the pace of its rehearsal."""
    with tempfile.TemporaryDirectory() as logs, redirect_stdout(StringIO()):
        path = Path(logs, "plan.json")
        path.write_text(json.dumps(document))
        plan = read_plan(path)
        options = DemoOptions(plan=plan, seconds=plan.length)
        return asyncio.run(Demo(options, PlainView(), Path(logs)).run())


def against_real_providers() -> Section:
    """Measure each case; some two minutes each, mostly idle."""
    table = Table(["load, batch", "p99 predicted", "seen", "lost, predicted", "failed, seen"])
    checks = []
    for load, size, signal in CASES:
        found = compared(load, size, signal=signal)
        name = f"{load:.0%}, {size}, {'signalled' if signal else 'killed'}"
        spans = [f"{one * 1000:,.0f} ms" for one in (found.predicted, found.seen)]
        shares = [f"{one:.2%}" for one in (found.lost, found.failed)]
        table.rows.append([name, *spans, *shares])
        checks.append(Check(f"p99 of a release, {name}: predicted and seen", found.apart, BAR))
    about = (
        f"Six real uvicorn providers with two workers each and calls of {SECONDS * 1000:.0f} ms,"
        " released three times by `rpcguard demo --plan`, beside nine rehearsals; medians."
    )
    return Section("A plan and what comes of it", about, table, checks)
