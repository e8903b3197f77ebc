"""Registries over TLS, with a certificate of their own CA and one of ours, by URL."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from rpcguard.errors import RegistryError
from rpcguard.registries.base import registry_from_url
from tests.support.json_api import JsonApi, running_api

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# trio minds that httpcore leaves the iterator of a body which a server refuses on its way.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*ByteStream.__aiter__:pytest.PytestUnraisableExceptionWarning"
)

NACOS = {"code": 0, "data": [{"ip": "a", "port": 1}]}
EUREKA = {"application": {"instance": [{"ipAddr": "a", "port": {"$": 1, "@enabled": "true"}}]}}
CONSUL = [{"Node": {"Node": "n"}, "Service": {"ID": "a", "Address": "a", "Port": 1}, "Checks": []}]
ETCD = {
    "header": {"revision": "1"},
    "kvs": [{"key": "b3JkZXJzL2E=", "value": "YTox", "create_revision": "1"}],
}
HTTP = {"services": {"orders": [{"host": "a", "port": 1}]}}
SLICES = {
    "metadata": {"resourceVersion": "1"},
    "items": [
        {
            "metadata": {"name": "orders-1"},
            "addressType": "IPv4",
            "ports": [{"port": 1}],
            "endpoints": [{"addresses": ["a"]}],
        }
    ],
}
PLACE = {"socket_address": {"address": "a", "port_value": 1}}
ENDPOINTS = [{"lb_endpoints": [{"endpoint": {"address": PLACE}}]}]
XDS = {"version_info": "1", "resources": [{"cluster_name": "orders", "endpoints": ENDPOINTS}]}
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
    ("url", "path", "answer"),
    [
        ("consul+https://{}?", "/v1/health/service/orders", CONSUL),
        ("etcd+https://{}?", "/v3/kv/range", ETCD),
        ("eureka+https://{}?", "/eureka/apps/ORDERS", EUREKA),
        ("https://{}/services?", "/services", HTTP),
        (
            "kubernetes://shop?server=https://{}&",
            "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices",
            SLICES,
        ),
        ("nacos+https://{}?", "/nacos/v3/client/ns/instance/list", NACOS),
        ("polaris+https://{}?", "/v1/Discover", POLARIS),
        ("xds+https://{}?", "/v3/discovery:endpoints", XDS),
    ],
    ids=["consul", "etcd", "eureka", "http", "kubernetes", "nacos", "polaris", "xds"],
)
async def test_tls_files_are_options_of_the_url(
    url: str,
    path: str,
    answer: Any,
    api: JsonApi,
    authority: trustme.CA,
    tmp_path: Path,
) -> None:
    """Proves that ca, cert and key are used, and that neither is done without."""
    api.say(path, (200, answer))
    ca, pair = tmp_path / "ca.pem", tmp_path / "pair.pem"
    authority.cert_pem.write_to_path(ca)
    authority.issue_cert("client.local").private_key_and_cert_chain_pem.write_to_path(pair)
    base = url.format(f"localhost:{api.port}")
    good = registry_from_url(f"{base}ca={ca}&cert={pair}")
    assert [node.address for node in (await good.fetch("orders")).nodes] == ["a:1"]
    await good.aclose()  # type: ignore[attr-defined]
    for options, said in ((f"cert={pair}", "CERTIFICATE_VERIFY_FAILED"), (f"ca={ca}", None)):
        bad = registry_from_url(f"{base}{options}")
        with pytest.raises(RegistryError, match=said):
            await bad.fetch("orders")
        await bad.aclose()  # type: ignore[attr-defined]
