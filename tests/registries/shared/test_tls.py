"""Registries over TLS, with a certificate of their own CA and one of ours, by URL."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trustme

from rpcguard.errors import RegistryError
from rpcguard.registries._shared.connections import RegistryPools
from rpcguard.registries._shared.tls import TLSFiles
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


REGISTRIES = pytest.mark.parametrize(
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


@REGISTRIES
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


def issue(authority: trustme.CA, folder: Path) -> None:
    """Write the CA and a client's pair, each by a rename, as tools that renew them do."""
    pair = authority.issue_cert("client.local")
    parts = {
        "ca.pem": authority.cert_pem.bytes(),
        "cert.pem": b"".join(blob.bytes() for blob in pair.cert_chain_pems),
        "key.pem": pair.private_key_pem.bytes(),
    }
    for name, data in parts.items():
        (folder / f"{name}.new").write_bytes(data)
        (folder / f"{name}.new").replace(folder / name)


def serve_by(context: ssl.SSLContext, authority: trustme.CA) -> None:
    """Let every new connection be one with certificates of this authority on both sides."""
    fresh = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(fresh)
    authority.configure_trust(fresh)
    fresh.verify_mode = ssl.CERT_REQUIRED

    def choose(connection: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
        connection.context = fresh

    context.sni_callback = choose


@pytest.fixture
def renewing(authority: trustme.CA) -> Iterator[tuple[JsonApi, ssl.SSLContext]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    with running_api(context) as api:
        yield api, context


@REGISTRIES
async def test_renewed_files_are_taken_up(
    url: str,
    path: str,
    answer: Any,
    renewing: tuple[JsonApi, ssl.SSLContext],
    authority: trustme.CA,
    tmp_path: Path,
) -> None:
    """A CA, certificate and key that were replaced on disk are those of the next question."""
    api, context = renewing
    api.say(path, (200, answer))
    issue(authority, tmp_path)
    files = "&".join(f"{name}={tmp_path}/{name}.pem" for name in ("ca", "cert", "key"))
    registry = registry_from_url(f"{url.format(f'localhost:{api.port}')}{files}")
    assert (await registry.fetch("orders")).nodes
    after = trustme.CA()
    serve_by(context, after)
    issue(after, tmp_path)
    assert (await registry.fetch("orders")).nodes
    await registry.aclose()  # type: ignore[attr-defined]


async def test_half_of_a_renewal_leaves_the_certificates_before(
    renewing: tuple[JsonApi, ssl.SSLContext],
    authority: trustme.CA,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A key without its certificate is warned of once, and the list stays live meanwhile."""
    api, _context = renewing
    api.say("/services", (200, HTTP))
    issue(authority, tmp_path)
    files = "&".join(f"{name}={tmp_path}/{name}.pem" for name in ("ca", "cert", "key"))
    registry = registry_from_url(f"https://localhost:{api.port}/services?{files}")
    await registry.fetch("orders")
    other = authority.issue_cert("client.local")
    (tmp_path / "key.pem").write_bytes(other.private_key_pem.bytes())
    for _ in range(2):
        assert (await registry.fetch("orders")).nodes
    said = [record.message for record in caplog.records]
    assert len(said) == 1
    assert "the certificates before stay in use" in said[0]
    await registry.aclose()  # type: ignore[attr-defined]


async def test_what_is_under_way_ends_on_the_connection_that_it_has(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connections of the old certificates are closed by the last exchange that uses them."""
    closed = []

    async def note(transport: httpx.AsyncHTTPTransport) -> None:
        closed.append(transport)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "aclose", note)
    issue(authority, tmp_path)
    tls = TLSFiles(ca=str(tmp_path / "ca.pem"))
    pools = RegistryPools(tls, shown="https://localhost", secure=True)
    first = await pools.enter()
    assert await pools.enter() is first
    issue(trustme.CA(), tmp_path)
    second = await pools.enter()
    assert second is not first
    await first.leave()
    assert not closed
    await first.leave()
    assert closed == [first.transport]
    await second.leave()
    assert closed == [first.transport]
