"""A plan as a page that stands alone: batches on a time line, and what each size comes to."""

from __future__ import annotations

import json
import math
from html import escape
from typing import TYPE_CHECKING

from rpcguard._commands.demo.svg import STYLE, rect, text
from rpcguard._commands.plan.text import length
from rpcguard._planning.batches import lefts
from rpcguard._planning.dialects import argo, batches, kubernetes, order_of

if TYPE_CHECKING:
    from rpcguard._planning.plan import PlanRow, ReleasePlan

_WIDTH, _LEFT, _LANE = 860.0, 90.0, 22.0  # pixels: of the picture, of its labels, of a batch
_MOST_LANES = 40
"""Batches that are drawn; the rest look like them."""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Release plan</title>
<style>{style}
body {{ font: 15px system-ui, sans-serif; max-width: 900px; margin: 2em auto; padding: 0 1em;
  background: var(--page); color: var(--ink); }}
table {{ border-collapse: collapse; font-size: 13px; }}
th, td {{ text-align: left; padding: 3px 10px; border-bottom: 1px solid var(--line); }}
pre {{ background: var(--band); padding: 10px; overflow: auto; }}
</style></head>
<body class="picture">{body}</body></html>
"""


def page(plan: ReleasePlan) -> str:
    """Write the page of a plan."""
    parts = [
        f"<h1>{len(plan.fleet.nodes)} nodes at {plan.fleet.load:.0%} load</h1>",
        _headline(plan),
        "" if plan.advised is None else _time_line(plan, plan.advised),
        _table(plan),
        "" if plan.advised is None else _dialects(plan, plan.advised),
    ]
    return _PAGE.format(style=STYLE, body="\n".join(parts))


def _headline(plan: ReleasePlan) -> str:
    row = plan.advised
    if row is None:
        way = f"{plan.missing} more node(s)" if plan.missing else "longer pauses"
        return f"<p>No size of batch is within bounds; {way} would do.</p>"
    return (
        f"<p><b>{row.size} at a time</b>, {len(row.batches)} batches, {length(row.seconds)}. The"
        f" load may rise to {plan.load_room:.0%}, or {plan.spare} more node(s) fail"
        " (by formula).</p>"
    )


def _time_line(plan: ReleasePlan, row: PlanRow) -> str:
    rollout, used = plan.rollout, lefts(plan.fleet, plan.rollout, row.batches)
    scale = (_WIDTH - _LEFT - 120.0) / max(row.seconds + rollout.cold, 1.0)
    parts, at = [], 0.0
    for number, batch in enumerate(row.batches):
        if number < _MOST_LANES:
            y, x = 24.0 + number * _LANE, _LEFT + at * scale
            names = ", ".join(node.id for node in batch.nodes)
            parts.append(text(8.0, y + 12.0, f"{len(batch.nodes)} nodes"))
            wide = max(rollout.away * scale, 2.0)
            parts.append(rect(x, y, wide, 16.0, fill="var(--away)", tip=names))
            cold = max(rollout.cold * scale, 1.0)
            parts.append(rect(x + wide, y, cold, 16.0, fill="var(--warm)", tip="cold"))
            share = "nobody left" if used[number] == math.inf else f"left {used[number]:.0%}"
            parts.append(text(x + wide + cold + 6.0, y + 12.0, share, look="soft"))
        at += rollout.away + rollout.wait_after(number)
    height = 40.0 + min(len(row.batches), _MOST_LANES) * _LANE
    caption = text(_LEFT, 14.0, "away, then cold; how busy the others are", look="soft")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:.0f} {height:.0f}"'
        f' class="picture">{caption}{"".join(parts)}</svg>'
    )


def _table(plan: ReleasePlan) -> str:
    heads = (
        "batch",
        "batches",
        "left (formula)",
        "p99",
        "lost of a million",
        "takes (formula)",
        "how",
    )
    rows = [
        (
            row.size,
            len(row.batches),
            "nobody" if row.left == math.inf else f"{row.left:.0%}",
            "-" if row.p99 is None else f"{row.p99:.2f} x calm",
            f"{row.lost:.0f}" + " (formula)" * (row.lost_how != row.how),
            length(row.seconds),
            row.how,
            "; ".join((*row.objections, *row.remarks)) or "in bounds",
        )
        for row in plan.rows
    ]
    head = "".join(f"<th>{name}</th>" for name in (*heads, "verdict"))
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _dialects(plan: ReleasePlan, row: PlanRow) -> str:
    order = "\n".join(", ".join(ids) for ids in order_of(row))
    parts = [("In this order", order)]
    for name, made in (("Kubernetes", kubernetes), ("Argo Rollouts", argo), ("Batches", batches)):
        parts.append((name, json.dumps(made(plan, row), indent=2)))
    return "".join(f"<h2>{name}</h2><pre>{escape(said)}</pre>" for name, said in parts)
