"""What a plan advises is accepted by a real Kubernetes API server: a Deployment and a Rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rpcguard._planning.dialects import argo, kubernetes
from rpcguard._planning.inputs import Bounds, Fleet, PlannedNode, Rollout
from rpcguard._planning.plan import plan_release
from tests.support.servers.kubernetes import ArgoRollouts

if TYPE_CHECKING:
    import httpx

LABELS = {"app": "orders"}


def workload(kind: str, **spec: Any) -> dict[str, Any]:
    version, _, kind = kind.rpartition("/")
    pods = {"containers": [{"name": "orders", "image": "orders:2.0.0"}]}
    template = {"metadata": {"labels": LABELS}, "spec": pods}
    whole = {"replicas": 12, "selector": {"matchLabels": LABELS}, "template": template, **spec}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": "orders"},
        "spec": whole,
    }


@pytest.mark.parametrize(
    "rollout", [Rollout(), Rollout(surge=2), Rollout(surge=100), Rollout(cold=900.0)]
)
def test_a_deployment_takes_the_strategy(client: httpx.Client, rollout: Rollout) -> None:
    """`maxUnavailable`, `maxSurge` and `minReadySeconds` come back as they were advised."""
    fleet = Fleet(nodes=tuple(PlannedNode(id=f"n{at}") for at in range(12)), load=0.5)
    plan = plan_release(fleet, rollout, Bounds(), fast=True)
    assert plan.advised is not None
    advised = kubernetes(plan, plan.advised)["spec"]
    answer = client.post(
        "/apis/apps/v1/namespaces/rpcguard/deployments",
        params={"dryRun": "All", "fieldValidation": "Strict"},
        json=workload("apps/v1/Deployment", **advised),
    )
    assert answer.status_code == 201, answer.text
    taken = answer.json()["spec"]
    assert taken["strategy"] == advised["strategy"]
    assert taken["minReadySeconds"] == advised["minReadySeconds"]


def test_the_dry_run_can_fail(client: httpx.Client) -> None:
    """A strategy by which no pod may go is refused, so the test above means something."""
    rolling = {"maxUnavailable": 0, "maxSurge": 0}
    spec = {"strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}
    answer = client.post(
        "/apis/apps/v1/namespaces/rpcguard/deployments",
        params={"dryRun": "All"},
        json=workload("apps/v1/Deployment", **spec),
    )
    assert answer.status_code == 422


@pytest.mark.parametrize("rollout", [Rollout(), Rollout(surge=2), Rollout(canary=0, pause=0.5)])
def test_a_rollout_takes_the_strategy(client: httpx.Client, rollout: Rollout) -> None:
    """No field of the canary is unknown to the kind's own schema, nor has a wrong type."""
    fleet = Fleet(nodes=tuple(PlannedNode(id=f"n{at}") for at in range(12)), load=0.5)
    plan = plan_release(fleet, rollout, Bounds(), fast=True)
    assert plan.advised is not None
    advised = argo(plan, plan.advised)["spec"]
    answer = client.post(
        ArgoRollouts.rollouts,
        params={"dryRun": "All", "fieldValidation": "Strict"},
        json=workload("argoproj.io/v1alpha1/Rollout", **advised),
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["spec"]["strategy"] == advised["strategy"]


@pytest.mark.parametrize(
    "step", [{"setWeight": "half"}, {"pause": {"length": "5s"}}, {"weight": 5}], ids=str
)
def test_the_schema_of_a_rollout_can_fail(client: httpx.Client, step: dict[str, Any]) -> None:
    """A step with a wrong type or an unknown name is refused."""
    answer = client.post(
        ArgoRollouts.rollouts,
        params={"dryRun": "All", "fieldValidation": "Strict"},
        json=workload("argoproj.io/v1alpha1/Rollout", strategy={"canary": {"steps": [step]}}),
    )
    assert answer.status_code in (400, 422)
