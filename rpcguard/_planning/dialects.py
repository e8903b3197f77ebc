"""A plan in the words of those who carry it out: node ids, Kubernetes, Argo Rollouts, batches."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rpcguard._planning.rehearsal import shortened

if TYPE_CHECKING:
    from rpcguard._planning.plan import PlanRow, ReleasePlan


def order_of(row: PlanRow) -> list[list[str]]:
    """Give the ids of each batch, in order."""
    return [[node.id for node in batch.nodes] for batch in row.batches]


def kubernetes(plan: ReleasePlan, row: PlanRow) -> dict[str, Any]:
    """Write the part of a Deployment that a rolling update obeys.

    A new pod counts as available after `minReadySeconds`, which is the time it is cold for. With a
    surge the controller starts so many first; without one `maxUnavailable` is the batch.
    """
    surge = min(plan.rollout.surge, row.size)
    return {
        "spec": {
            "minReadySeconds": math.ceil(plan.rollout.between),
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": row.size - surge, "maxSurge": surge},
            },
        }
    }


def argo(plan: ReleasePlan, row: PlanRow) -> dict[str, Any]:
    """Write the strategy of an Argo Rollout without a traffic router: weights are whole pods.

    Argo takes the number of pods that is nearest to a weight, which is a whole percentage: up to a
    hundred pods it is the batch's.
    """
    count, gone = len(plan.fleet.nodes), 0
    steps: list[dict[str, Any]] = []
    for at, batch in enumerate(row.batches[:-1]):
        gone += len(batch.nodes)
        watched = plan.rollout.watch if not at and plan.rollout.canary else plan.rollout.between
        steps.append({"setWeight": max(round(100 * gone / count), 1)})
        steps.append({"pause": {"duration": f"{math.ceil(watched)}s"}})
    surge = min(plan.rollout.surge, row.size)
    canary = {"maxUnavailable": row.size - surge, "maxSurge": surge, "steps": steps}
    return {"spec": {"strategy": {"canary": canary}}}


def batches(plan: ReleasePlan, row: PlanRow) -> dict[str, Any]:
    """Write batches with intervals, as release consoles ask for them."""
    canary = row.batches[:1] if plan.rollout.canary and len(row.batches) > 1 else ()
    rest = row.batches[len(canary) :]
    return {
        "canary": sum(len(batch.nodes) for batch in canary),
        "watch_seconds": plan.rollout.watch if canary else 0.0,
        "batches": [len(batch.nodes) for batch in rest],
        "interval_seconds": plan.rollout.between,
    }


def as_dict(plan: ReleasePlan) -> dict[str, Any]:
    """Give the whole plan as plain values that `json.dumps` takes."""
    row = plan.advised
    return {
        "nodes": len(plan.fleet.nodes),
        "load": plan.fleet.load,
        "expected_load": plan.fleet.expected,
        "workers": plan.fleet.workers,
        "service_time": plan.fleet.service_time,
        "rehearsed": asdict(shortened(plan.rollout)),
        "rows": [_row(one) for one in plan.rows],
        "advised": None if row is None else row.size,
        "order": [] if row is None else order_of(row),
        "kubernetes": None if row is None else kubernetes(plan, row),
        "argo": None if row is None else argo(plan, row),
        "batches": None if row is None else batches(plan, row),
        "room": {"load": plan.load_room, "nodes": plan.spare, "how": "by formula"},
        "missing_nodes": plan.missing,
    }


def _row(row: PlanRow) -> dict[str, Any]:
    return {
        "size": row.size,
        "batches": len(row.batches),
        "left": None if row.left == math.inf else row.left,
        "left_how": "by formula",
        "p99": row.p99,
        "lost_per_million": row.lost,
        "how": row.how,
        "seconds": row.seconds,
        "objections": list(row.objections),
        "remarks": list(row.remarks),
    }
