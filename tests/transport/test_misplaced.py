"""A transport in a client that it is not for: told in a sentence, before anything is sent."""

from __future__ import annotations

import httpx
import pytest

import rpcguard

httpx2 = pytest.importorskip("httpx2")
rpcguard_httpx2 = pytest.importorskip("rpcguard.httpx2")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(httpx is httpx2, reason="httpx is httpx2 here"),
]


@pytest.fixture
def seen():
    return []


def made(kind, seen, library):
    """Make a transport whose nodes note what they are sent."""

    def node(request):
        seen.append(request)
        return library.Response(200)

    return kind("static://10.0.0.1:1", node_transport=lambda _: library.MockTransport(node))


def test_a_client_of_the_other_library(seen):
    """The node sees nothing of the POST, and the sentence names the right class."""
    ours, theirs = (
        made(rpcguard.Transport, seen, httpx),
        made(rpcguard_httpx2.Transport, seen, httpx2),
    )
    client = httpx2.Client(transport=ours, base_url="http://orders")
    with client, pytest.raises(TypeError, match=r"needs rpcguard\.httpx2\.Transport in httpx2\.C"):
        client.post("/")
    other = httpx.Client(transport=theirs, base_url="http://orders")
    with other, pytest.raises(TypeError, match=r"needs rpcguard\.Transport in httpx\.Client"):
        other.post("/")
    assert seen == []


async def test_an_async_client_of_the_other_library(seen):
    """The same for tasks."""
    ours = made(rpcguard.AsyncTransport, seen, httpx)
    async with httpx2.AsyncClient(transport=ours, base_url="http://orders") as client:
        with pytest.raises(TypeError, match=r"rpcguard\.httpx2\.AsyncTransport in httpx2\.Async"):
            await client.post("/")
    assert seen == []


def test_threads_for_tasks(seen):
    """Entered or not, a Client is told which transport it needs."""
    transport = made(rpcguard.AsyncTransport, seen, httpx)
    with pytest.raises(TypeError, match="a Client, which needs Transport"):
        httpx.Client(transport=transport).get("http://orders/")
    with pytest.raises(TypeError, match="a Client, which needs Transport"):
        httpx.Client(transport=transport).__enter__()
    assert seen == []


async def test_tasks_for_threads(seen):
    """Entered or not, an AsyncClient is told which transport it needs."""
    transport = made(rpcguard.Transport, seen, httpx)
    with pytest.raises(TypeError, match="an AsyncClient, which needs AsyncTransport"):
        await httpx.AsyncClient(transport=transport).get("http://orders/")
    with pytest.raises(TypeError, match="an AsyncClient, which needs AsyncTransport"):
        await httpx.AsyncClient(transport=transport).__aenter__()
    assert seen == []
