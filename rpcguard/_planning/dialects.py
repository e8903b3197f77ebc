"""A plan in the words of those who carry it out: node ids, Kubernetes, Argo Rollouts, batches."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rpcguard._planning.rehearsal import pace_of, shortened

if TYPE_CHECKING:
    from rpcguard._planning.inputs import Rollout
    from rpcguard._planning.plan import PlanRow, ReleasePlan

_DEADLINE = 600
"""Seconds that Kubernetes and Argo Rollouts wait for progress unless they are told otherwise."""


def order_of(row: PlanRow) -> list[list[str]]:
    """Give the ids of each batch, in order."""
    return [[node.id for node in batch.nodes] for batch in row.batches]


def kubernetes(plan: ReleasePlan, row: PlanRow) -> dict[str, Any]:
    """Write the part of a Deployment that a rolling update obeys.

    With a surge the controller starts so many first; without one `maxUnavailable` is the batch.
    """
    surge = min(plan.rollout.surge, row.size)
    return {
        "spec": {
            **_patience(plan.rollout),
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": row.size - surge, "maxSurge": surge},
            },
        }
    }


def _patience(rollout: Rollout) -> dict[str, int]:
    """Write when a new pod counts as available, which is when it is warm, and when none may.

    Both kinds refuse a deadline that is not above `minReadySeconds`, and take a rollout for failed
    in which no pod became available for so long: the time of a batch has to fit twice.
    """
    ready = math.ceil(rollout.between)
    deadline = 2 * math.ceil(rollout.away + rollout.between)
    late = {"progressDeadlineSeconds": deadline} if deadline > _DEADLINE else {}
    return {"minReadySeconds": ready, **late}


def argo(plan: ReleasePlan, row: PlanRow) -> dict[str, Any]:
    """Write the strategy of an Argo Rollout without a traffic router: weights are whole pods.

    Argo takes the number of pods that is nearest to a weight, which is a whole percentage: up to a
    hundred pods it is the batch's.
    """
    count, gone = len(plan.fleet.nodes), 0
    steps: list[dict[str, Any]] = []
    for at, batch in enumerate(row.batches[:-1]):
        gone += len(batch.nodes)
        steps.append({"setWeight": max(round(100 * gone / count), 1)})
        steps.append({"pause": {"duration": f"{math.ceil(plan.rollout.wait_after(at))}s"}})
    surge = min(plan.rollout.surge, row.size)
    canary = {"maxUnavailable": row.size - surge, "maxSurge": surge, "steps": steps}
    return {"spec": {**_patience(plan.rollout), "strategy": {"canary": canary}}}


def batches(plan: ReleasePlan, row: PlanRow) -> dict[str, Any]:
    """Write batches with intervals, as release consoles ask for them."""
    canary = row.batches[:1] if plan.rollout.canary and len(row.batches) > 1 else ()
    rest = row.batches[len(canary) :]
    return {
        "canary": sum(len(batch.nodes) for batch in canary),
        "watch_seconds": plan.rollout.wait_after(0) if canary else 0.0,
        "batches": [len(batch.nodes) for batch in rest],
        "interval_seconds": plan.rollout.between,
    }


def as_dict(plan: ReleasePlan) -> dict[str, Any]:
    """Give the whole plan as plain values that `json.dumps` takes."""
    row = plan.advised
    return {
        "nodes": len(plan.fleet.nodes),
        "out": list(plan.fleet.out),
        "load": plan.fleet.load,
        "expected_load": plan.fleet.expected,
        "workers": plan.fleet.workers,
        "service_time": plan.fleet.service_time,
        "rehearsed": asdict(shortened(plan.rollout, pace=pace_of(plan.fleet.service_time))),
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
        "lost_how": row.lost_how,
        "how": row.how,
        "seconds": row.seconds,
        "seconds_how": "by formula",
        "objections": list(row.objections),
        "remarks": list(row.remarks),
    }
