"""Nacos with TLS on both of its ports: what is pushed comes by TLS as well."""

from __future__ import annotations

import ssl
from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

from rpcguard.registries.nacos import NacosRegistry
from tests.conformance.callers import act
from tests.support.require import require
from tests.support.servers.nacos import Nacos

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def anyio_backend():
    return "asyncio"


class TlsNacos(Nacos):
    """Nacos that speaks TLS alone, to clients and their push."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        authority = trustme.CA()
        self.ca = directory / "ca.pem"
        self._pair = directory / "chain.pem", directory / "key.pem"
        issued = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(str(self.ca))
        issued.cert_chain_pems[0].write_to_path(str(self._pair[0]))
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        form = Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption()  # netty's
        self._pair[1].write_bytes(key.private_bytes(*form))

    @property
    def web(self) -> httpx.Client:
        base = f"https://127.0.0.1:{self.port}/nacos/v3"
        context = ssl.create_default_context(cafile=self.ca)
        return httpx.Client(base_url=base, verify=context, timeout=10.0)

    def settings(self) -> dict[str, object]:
        chain, key = (f"file:{path}" for path in self._pair)
        push = "nacos.remote.server.rpc.tls"
        return super().settings() | {
            "server.ssl.certificate": chain,
            "server.ssl.certificate-private-key": key,
            f"{push}.enableTls": "true",
            f"{push}.certChainFile": chain,
            f"{push}.certPrivateKey": key,
        }

    def register(self, number: int) -> None:
        """Register a node of orders."""
        node = {"serviceName": "orders", "ip": f"10.0.0.{number}", "port": 80}
        headers = {"accessToken": self.token}
        with self.web as web:
            web.post("/client/ns/instance", params=node, headers=headers).raise_for_status()


@pytest.fixture
def nacos(tmp_path):
    require(TlsNacos)
    server = TlsNacos(tmp_path)
    server.start()
    yield server
    server.stop()


async def test_it_pushes_by_tls(nacos):
    """The list, and a node that came since."""
    await act(nacos.register, 1)
    at = f"127.0.0.1:{nacos.port}"
    registry = NacosRegistry(f"nacos+https://nacos:{nacos.password}@{at}?ca={nacos.ca}")
    with anyio.fail_after(60):
        await registry.fetch("orders")  # only an answer of v3 tells that there is a push
        async with aclosing(registry.pushed("orders")) as pushed:

            async def until(*hosts):
                while {node.host for node in (await anext(pushed)).nodes} != set(hosts):
                    pass

            await until("10.0.0.1")
            await act(nacos.register, 2)
            await until("10.0.0.1", "10.0.0.2")
    await registry.aclose()
