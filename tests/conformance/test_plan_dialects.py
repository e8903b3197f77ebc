"""What a plan advises is accepted by a real Kubernetes API server, in a dry run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rpcguard._planning.dialects import kubernetes
from rpcguard._planning.inputs import Bounds, Fleet, PlannedNode, Rollout
from rpcguard._planning.plan import plan_release
from tests.support.require import require
from tests.support.servers.kubernetes import Kubernetes

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

LABELS = {"app": "orders"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    require(Kubernetes)
    server = Kubernetes(tmp_path_factory.mktemp("kubernetes"))
    server.start()
    with server.client() as made:
        yield made
    server.kill()


def deployment(**spec: Any) -> dict[str, Any]:
    pods = {"containers": [{"name": "orders", "image": "orders:2.0.0"}]}
    template = {"metadata": {"labels": LABELS}, "spec": pods}
    whole = {"replicas": 12, "selector": {"matchLabels": LABELS}, "template": template, **spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "orders"},
        "spec": whole,
    }


@pytest.mark.parametrize("surge", [0, 2, 100])
def test_a_deployment_takes_the_strategy(client: httpx.Client, surge: int) -> None:
    """`maxUnavailable`, `maxSurge` and `minReadySeconds` come back as they were advised."""
    fleet = Fleet(nodes=tuple(PlannedNode(id=f"n{at}") for at in range(12)), load=0.5)
    plan = plan_release(fleet, Rollout(surge=surge), Bounds(), fast=True)
    assert plan.advised is not None
    advised = kubernetes(plan, plan.advised)["spec"]
    answer = client.post(
        "/apis/apps/v1/namespaces/rpcguard/deployments",
        params={"dryRun": "All", "fieldValidation": "Strict"},
        json=deployment(**advised),
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
        json=deployment(**spec),
    )
    assert answer.status_code == 422
