"""A plan in plain text: the table, the advice in four dialects, and the room it leaves."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from rpcguard._planning.dialects import argo, batches, kubernetes, order_of
from rpcguard._text import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rpcguard._planning.plan import PlanRow, ReleasePlan

_HEADS = ("BATCH", "BATCHES", "LEFT*", "P99", "LOST/M", "TAKES*", "HOW", "VERDICT")
_MOST_IDS = 12
"""Node ids of a batch in the text; --json has them all."""
_MINUTE, _HOUR = 60.0, 3600.0  # seconds


def lines(plan: ReleasePlan) -> Iterator[str]:
    """Write a plan, line by line."""
    count, load = len(plan.fleet.nodes), plan.fleet.load
    grown = f", up to {plan.fleet.expected:.0%}" if plan.fleet.peak != 1 else ""
    yield f"{count} nodes at {load:.0%} load{grown}"
    if plan.fleet.out:
        yield f"not counted, since they take no calls: {_some(plan.fleet.out)}"
    yield ""
    yield from _table(plan)
    yield "* by formula; P99 is the release's divided by calm's; LOST/M of a million calls"
    yield ""
    yield from _no_plan(plan) if plan.advised is None else _advice(plan, plan.advised)


def _table(plan: ReleasePlan) -> Iterator[str]:
    table = [_HEADS, *(_cells(row) for row in plan.rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield "  ".join(padded).rstrip()


def _cells(row: PlanRow) -> tuple[str, ...]:
    verdict = plain("; ".join(row.objections)) or "in bounds"
    if row.remarks:
        verdict += f" ({'; '.join(row.remarks)})"
    return (
        str(row.size),
        str(len(row.batches)),
        "nobody" if row.left == math.inf else f"{row.left:.0%}",
        "-" if row.p99 is None else f"{row.p99:.2f}x",
        f"{row.lost:.0f}" + "*" * (row.lost_how == "by formula"),
        length(row.seconds),
        row.how,
        verdict,
    )


def _no_plan(plan: ReleasePlan) -> Iterator[str]:
    way = f"Add {plan.missing} node(s)" if plan.missing else "Wait longer between batches"
    yield f"No size of batch is within bounds. {way}, lower the load, or allow"
    yield "more by --ceiling, --p99 or --lose."


def _advice(plan: ReleasePlan, row: PlanRow) -> Iterator[str]:
    yield f"Advice: {row.size} at a time, in {len(row.batches)} batches, {length(row.seconds)}."
    yield ""
    yield "In this order:"
    for number, ids in enumerate(order_of(row), 1):
        yield f"  {number}. {_some(ids)}"
    for name, made in (("Kubernetes", kubernetes), ("Argo Rollouts", argo), ("Batches", batches)):
        yield ""
        yield f"{name}:"
        yield f"  {json.dumps(made(plan, row))}"
    yield ""
    yield (
        f"Room (by formula): the load may rise to {plan.load_room:.0%}, and {plan.spare} more"
        " node(s) may fail while a batch is away."
    )


def _some(ids: Sequence[str]) -> str:
    more = f", and {len(ids) - _MOST_IDS} more" if len(ids) > _MOST_IDS else ""
    return plain(", ".join(ids[:_MOST_IDS])) + more


def length(seconds: float) -> str:
    """Write a length of time in its two largest units."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:02.0f} s"
    return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:02.0f} min"
