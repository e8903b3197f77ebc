"""Every Kubernetes manifest of the pages and the examples is taken by a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.docs.blocks import ROOT, all_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

PLACES = {
    ("v1", "Service"): "/api/v1/namespaces/rpcguard/services",
    ("v1", "ServiceAccount"): "/api/v1/namespaces/rpcguard/serviceaccounts",
    ("apps/v1", "Deployment"): "/apis/apps/v1/namespaces/rpcguard/deployments",
    **{
        ("rbac.authorization.k8s.io/v1", kind): (
            f"/apis/rbac.authorization.k8s.io/v1/namespaces/rpcguard/{kind.lower()}s"
        )
        for kind in ("Role", "RoleBinding")
    },
}


def manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each document that can be applied, with the place it stands in."""
    texts = [(block.where, block.text) for block in all_blocks("yaml")]
    kind = sorted((ROOT / "examples/kind").glob("*.yaml"))
    texts += [(path.relative_to(ROOT).as_posix(), path.read_text()) for path in kind]
    for where, text in texts:
        for document in yaml.safe_load_all(text):
            if isinstance(document, dict) and "kind" in document and "metadata" in document:
                yield where, document


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("where", "manifest"),
    [pytest.param(w, m, id=f"{w}-{m['kind']}") for w, m in manifests()],
)
def test_it_can_be_applied(client: httpx.Client, where: str, manifest: dict[str, Any]) -> None:
    """A dry run with strict fields: a wrong name or type is refused."""
    place = PLACES.get((manifest["apiVersion"], manifest["kind"]))
    if place is None:
        pytest.skip(f"{manifest['apiVersion']} is no API of a bare server")
    about = {name: value for name, value in manifest["metadata"].items() if name != "namespace"}
    manifest = {**manifest, "metadata": about}  # into the one that this server has
    asked = {"dryRun": "All", "fieldValidation": "Strict"}
    answer = client.post(place, params=asked, json=manifest)
    assert answer.status_code == 201, f"{where}: {answer.text}"
