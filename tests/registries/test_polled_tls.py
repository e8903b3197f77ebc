"""The polled registries over TLS, with a certificate of their own CA and one of ours."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from rpcguard.errors import RegistryError
from rpcguard.registries.base import registry_from_url
from tests.registries.json_api import JsonApi, running_api

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NACOS = {"code": 0, "data": [{"ip": "a", "port": 1}]}
EUREKA = {"application": {"instance": [{"ipAddr": "a", "port": {"$": 1, "@enabled": "true"}}]}}
POLARIS = {"code": 200000, "service": {}, "instances": [{"host": "a", "port": 1}]}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def api(authority: trustme.CA) -> Iterator[JsonApi]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with running_api(context) as api:
        yield api


@pytest.mark.parametrize(
    ("scheme", "path", "answer"),
    [
        ("nacos+https", "/nacos/v3/client/ns/instance/list", NACOS),
        ("eureka+https", "/eureka/apps/ORDERS", EUREKA),
        ("polaris+https", "/v1/Discover", POLARIS),
    ],
)
async def test_tls_files_are_options_of_the_url(
    scheme: str,
    path: str,
    answer: dict[str, Any],
    api: JsonApi,
    authority: trustme.CA,
    tmp_path: Path,
) -> None:
    """Proves that ca, cert and key are used, and that a server of another CA is refused."""
    api.say(path, (200, answer))
    ca, pair = tmp_path / "ca.pem", tmp_path / "pair.pem"
    authority.cert_pem.write_to_path(ca)
    authority.issue_cert("client.local").private_key_and_cert_chain_pem.write_to_path(pair)
    good = registry_from_url(f"{scheme}://localhost:{api.port}?ca={ca}&cert={pair}")
    assert [node.address for node in (await good.fetch("orders")).nodes] == ["a:1"]
    await good.aclose()  # type: ignore[attr-defined]
    bad = registry_from_url(f"{scheme}://localhost:{api.port}?cert={pair}")
    with pytest.raises(RegistryError, match="CERTIFICATE_VERIFY_FAILED"):
        await bad.fetch("orders")
    await bad.aclose()  # type: ignore[attr-defined]
