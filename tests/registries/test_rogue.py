"""Servers that mean harm, or are broken, against every registry that speaks HTTP."""

from __future__ import annotations

import time
import zlib
from itertools import chain, repeat
from typing import TYPE_CHECKING, Final

import anyio
import pytest

from rpcguard.errors import RegistryError
from rpcguard.registries.base import Registry, WatchableRegistry
from rpcguard.registries.consul import ConsulRegistry
from rpcguard.registries.etcd.registry import EtcdRegistry
from rpcguard.registries.eureka import EurekaRegistry
from rpcguard.registries.http import HttpRegistry
from rpcguard.registries.kubernetes.registry import KubernetesRegistry
from rpcguard.registries.nacos import NacosRegistry
from rpcguard.registries.polaris import PolarisRegistry
from rpcguard.registries.xds.rest import XdsRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from conftest import ScriptedServer

LIMIT: Final = 1_000_000
TIMEOUT: Final = 0.4

MADE: Final[dict[str, Callable[[str], Registry]]] = {
    "consul": lambda at: ConsulRegistry(f"consul://{at}", timeout=TIMEOUT, max_bytes=LIMIT),
    "etcd": lambda at: EtcdRegistry(f"etcd://{at}", timeout=TIMEOUT, max_bytes=LIMIT),
    "eureka": lambda at: EurekaRegistry(f"eureka+http://{at}", timeout=TIMEOUT, max_bytes=LIMIT),
    "http": lambda at: HttpRegistry(f"http://{at}/x", timeout=TIMEOUT, max_bytes=LIMIT),
    "kubernetes": lambda at: KubernetesRegistry(
        "shop", servers=[f"http://{at}"], timeout=TIMEOUT, max_bytes=LIMIT
    ),
    "nacos": lambda at: NacosRegistry(f"nacos://{at}", timeout=TIMEOUT, max_bytes=LIMIT),
    "polaris": lambda at: PolarisRegistry(f"polaris://{at}", timeout=TIMEOUT, max_bytes=LIMIT),
    "xds": lambda at: XdsRegistry(f"xds+http://{at}?timeout={TIMEOUT}", max_bytes=LIMIT),
}

HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNK: Final = b"10000\r\n" + b" " * 65536 + b"\r\n"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Ask on asyncio only, as the discovery loop does."""
    return "asyncio"


@pytest.fixture(params=MADE)
async def registry(
    request: pytest.FixtureRequest, server: ScriptedServer
) -> AsyncIterator[Registry]:
    """Give a registry whose server is scripted."""
    registry = MADE[request.param](server.address)
    yield registry
    await registry.aclose()  # type: ignore[attr-defined]


async def assert_useless(registry: Registry) -> None:
    """Fetch, and watch where that can be, in vain and within a bounded time."""
    with anyio.fail_after(20 * TIMEOUT), pytest.raises(RegistryError):
        await registry.fetch("orders")
    if isinstance(registry, WatchableRegistry):
        watch = registry.watch("orders")
        with anyio.fail_after(20 * TIMEOUT), pytest.raises(RegistryError):
            await anext(watch)


def counted(chunks: Iterator[bytes], sent: list[int]) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        sent.append(len(chunk))


@pytest.mark.parametrize("announced", [True, False])
async def test_200_megabytes(server: ScriptedServer, registry: Registry, announced: bool) -> None:
    """Proves that an answer over the limit is left where it is, announced or not."""
    sent: list[int] = []

    def script(_: object) -> Iterator[bytes]:
        if announced:
            body = chain([HEAD + b"Content-Length: 209715200\r\n\r\n"], repeat(b" " * 65536, 3200))
        else:
            body = chain([HEAD + b"Transfer-Encoding: chunked\r\n\r\n"], repeat(CHUNK))
        return counted(body, sent)

    server.script = script
    await assert_useless(registry)
    assert sum(sent) < 40 * LIMIT  # what is in the buffers of the sockets, several times


def packed(megabytes: int) -> bytes:
    """Give white space as gzip packs it: one piece that stands for a megabyte, many times."""
    packer = zlib.compressobj(level=1, wbits=31)
    head = packer.compress(b" " * 2**20) + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(b" " * 2**20) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + piece * (megabytes - 1)


@pytest.mark.real_time("an answer that is let unpack shows in the time of the processor alone")
async def test_a_packed_bomb(server: ScriptedServer, registry: Registry) -> None:
    """Proves that the limit holds for what comes out, of some 10 MB that unpack to 2 GB."""
    bomb = packed(2048)
    server.say(bomb, Content_Encoding="gzip")
    began = time.process_time()
    zlib.decompressobj(wbits=31).decompress(bomb, 40 * LIMIT)
    control = time.process_time() - began
    began = time.process_time()
    await assert_useless(registry)
    assert time.process_time() - began < 20 * control


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 200 OK\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
        b"",
        b"HTTP/1.1 100\r\n",
    ],
    ids=["head", "body", "nothing", "continue"],
)
async def test_an_answer_that_never_ends(
    server: ScriptedServer, registry: Registry, first: bytes
) -> None:
    """Proves that a drop every now and then does not keep a request alive for ever."""

    def script(_: object) -> Iterator[bytes]:
        yield first
        while True:
            time.sleep(0.2)
            yield b"1\r\n \r\n" if b"chunked" in first else b"X: y\r\n"

    server.script = script
    await assert_useless(registry)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect(
    server: ScriptedServer,
    new_server: Callable[[], ScriptedServer],
    registry: Registry,
    status: int,
) -> None:
    """Proves that nobody is asked to whom the server points."""
    elsewhere = new_server()
    server.say("", status, Location=f"http://{elsewhere.address}/")
    await assert_useless(registry)
    assert elsewhere.connections == 0


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe",
        b'{"nodes": "\xc3\x28"}',
        b'["\\ud800"]',
        b"[" * 100_000,
        b"{" * 100_000,
        b'{"a":' * 50_000,
        b"1e999999",
        b"NaN",
        b"null",
        b"<html>",
        b"",
        b'{"x": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: repr(body[:12]),
)
async def test_nonsense(server: ScriptedServer, registry: Registry, body: bytes) -> None:
    """Proves that bad UTF-8, half surrogates, deep nesting and odd numbers are errors."""
    server.say(body)
    await assert_useless(registry)


@pytest.mark.parametrize(
    "answer",
    [
        b"\xff" * 100,
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n",
        HEAD + b"X: " + b"y" * 500_000,
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
    ids=["bytes", "version", "negative", "short", "chunk", "header", "empty"],
)
async def test_what_is_no_http(server: ScriptedServer, registry: Registry, answer: bytes) -> None:
    """Proves that broken HTTP is an error like any other."""
    server.script = lambda _: iter([answer])
    await assert_useless(registry)
