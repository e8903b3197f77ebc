"""Registries over TLS: a CA of one's own to trust, a client certificate to show."""

from __future__ import annotations

import ssl
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
import trustme

from rpcguard.errors import RegistryError
from rpcguard.registries.base import registry_from_url
from tests.support.require import require
from tests.support.servers.base import free_ports
from tests.support.servers.consul import Consul
from tests.support.servers.etcd import NewerEtcd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True)
class Files:
    """The PEM files of one CA."""

    ca: Path
    server: Path
    client: Path
    odd_ca: Path
    """Another CA, that signed nothing here."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    directory = tmp_path_factory.mktemp("tls")
    files = Files(*(directory / f"{name}.pem" for name in ("ca", "server", "client", "odd")))
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(files.ca))
    trustme.CA().cert_pem.write_to_path(str(files.odd_ca))
    for name, path in (("127.0.0.1", files.server), ("client", files.client)):
        ca.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(path))
    return files


class TlsConsul(Consul):
    """Consul that speaks TLS to clients with a certificate; plain HTTP is for the test itself."""

    def __init__(self, directory: Path, files: Files) -> None:
        super().__init__(directory)
        self._files = files
        self.tls_port = free_ports(1)[0]

    def settings(self) -> dict[str, object]:
        settings = super().settings()
        ports = settings["ports"]
        assert isinstance(ports, dict)
        return settings | {
            "ports": ports | {"https": self.tls_port},
            "ca_file": str(self._files.ca),
            "cert_file": str(self._files.server),
            "key_file": str(self._files.server),
            "verify_incoming_https": True,
        }

    def registry_url(self) -> str:
        httpx.put(
            f"http://127.0.0.1:{self.port}/v1/agent/service/register",
            headers={"X-Consul-Token": self.token},
            json={"Name": "web", "Address": "10.0.0.7", "Port": 80},
        ).raise_for_status()
        return f"consul+https://:{self.token}@127.0.0.1:{self.tls_port}?"


class TlsEtcd(NewerEtcd):
    """etcd that answers clients with a certificate only."""

    def __init__(self, directory: Path, files: Files) -> None:
        super().__init__(directory)
        self._files = files
        self._context = ssl.create_default_context(cafile=files.ca)
        self._context.load_cert_chain(files.client)

    @property
    def url(self) -> str:
        return f"https://{self.address}"

    def command(self) -> list[str | Path]:
        files = self._files
        keys = ("--cert-file", files.server, "--key-file", files.server)
        return [*super().command(), *keys, "--trusted-ca-file", files.ca, "--client-cert-auth"]

    def answers(self) -> bool:
        return self._post("range", key="AA==").status_code == 200

    def registry_url(self) -> str:
        key, value = (b64encode(text).decode() for text in (b"web/1", b"10.0.0.7:80"))
        self._post("put", key=key, value=value).raise_for_status()
        return f"etcd+https://{self.address}?"

    def _post(self, what: str, **body: str) -> httpx.Response:
        return httpx.post(f"{self.url}/v3/kv/{what}", json=body, verify=self._context)


@pytest.fixture(params=[TlsConsul, TlsEtcd], scope="module")
def url(
    request: pytest.FixtureRequest, files: Files, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Give the URL of a registry with one node, up to the TLS options."""
    made: type[TlsConsul | TlsEtcd] = request.param
    require(made)
    server = made(tmp_path_factory.mktemp("tls"), files)
    server.start()
    try:
        yield server.registry_url()
    finally:
        server.stop()


async def fetch(url: str) -> list[str]:
    registry = registry_from_url(url)
    try:
        return [node.address for node in (await registry.fetch("web")).nodes]
    finally:
        await registry.aclose()  # type: ignore[attr-defined]


async def test_own_ca_and_client_certificate(url: str, files: Files) -> None:
    """The list is had with the CA to trust and the certificate to show."""
    assert await fetch(f"{url}ca={files.ca}&cert={files.client}") == ["10.0.0.7:80"]
    assert await fetch(f"{url}ca={files.ca}&cert={files.client}&key={files.client}")


async def test_without_a_client_certificate(url: str, files: Files) -> None:
    """A server that wants a certificate gives nothing without one."""
    with pytest.raises(RegistryError):
        await fetch(f"{url}ca={files.ca}")


async def test_a_server_that_is_not_trusted(url: str, files: Files) -> None:
    """A server whose CA is not the one given is not believed, and sees no token."""
    for trusted in (f"ca={files.odd_ca}&", ""):
        with pytest.raises(RegistryError, match="CERTIFICATE_VERIFY_FAILED"):
            await fetch(f"{url}{trusted}cert={files.client}")
