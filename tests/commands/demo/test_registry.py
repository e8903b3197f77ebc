"""The embedded registry, over real HTTP."""

from __future__ import annotations

import threading

import httpx
import pytest

from rpcguard._commands.demo.registry import EmbeddedRegistry
from rpcguard.registries.base import registry_from_url

NODE = {"id": "orders-1", "host": "127.0.0.1", "port": 9001, "generation": 1}


@pytest.fixture
def registry():
    with EmbeddedRegistry("orders") as registry:
        yield registry


def test_a_list_is_served_and_changes(registry):
    """What is put is listed, once per id, until it is removed."""
    assert httpx.get(registry.url).json() == {"nodes": []}
    registry.put(NODE)
    registry.put(NODE | {"generation": 2})
    assert httpx.get(registry.url).json() == {"nodes": [NODE | {"generation": 2}]}
    registry.remove("orders-1")
    registry.remove("orders-1")
    assert httpx.get(registry.url).json() == {"nodes": []}


def test_an_unchanged_list_costs_a_304(registry):
    """The ETag of the last answer saves the body until something changes."""
    registry.put(NODE)
    first = httpx.get(registry.url)
    assert first.headers["cache-control"] == "max-age=1"
    known = {"If-None-Match": first.headers["etag"]}
    again = httpx.get(registry.url, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    registry.put(NODE | {"port": 9002})
    changed = httpx.get(registry.url, headers=known)
    assert (changed.status_code, changed.json()["nodes"][0]["port"]) == (200, 9002)


def test_another_service_is_unknown(registry):
    """404, which a caller takes for an unknown service."""
    assert httpx.get(registry.base.format(service="billing")).status_code == 404


async def test_the_http_registry_of_rpcguard_reads_it(registry, anyio_backend_name):
    """The demo's registry speaks what the library's own adapter understands."""
    registry.put(NODE)
    adapter = registry_from_url(registry.base)
    try:
        (node,) = (await adapter.fetch("orders")).nodes
        assert (node.id, node.address, node.generation) == ("orders-1", "127.0.0.1:9001", 1)
    finally:
        await adapter.aclose()


def test_nothing_is_left_when_it_is_closed():
    """The port is closed and the thread has ended."""
    with EmbeddedRegistry("orders") as registry:
        url = registry.url
        assert httpx.get(url).status_code == 200
    assert "demo-registry" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
