"""Where a watch looks: a registry, with calls of its own if wanted, and a running program."""

from __future__ import annotations

import threading
import time
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import httpx
import pytest

import rpcguard
from rpcguard._commands.nodes.sources import StatusPage, source

URL = "status+http://user:secret@status/mounted/?x=y"


@pytest.fixture
def anyio_backend() -> str:
    """The command runs on asyncio."""
    return "asyncio"


@asynccontextmanager
async def page(app, url: str = URL, service: str = "orders"):
    """Open the status page that an ASGI app is."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        yield StatusPage(client, url, service)


def answering(status: int, body: bytes):
    """Make an ASGI app that gives one answer."""

    async def app(scope, _receive, send) -> None:
        app.asked.append((scope["path"], dict(scope["headers"])))
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    app.asked = []
    return app


async def test_a_running_program_is_looked_at():
    """The list with all that the program has learned of its nodes."""
    child = httpx.MockTransport(lambda _: httpx.Response(200))
    async with (
        rpcguard.AsyncTransport(
            "static://10.0.0.1:80,10.0.0.2:80", node_transport=lambda _: child
        ) as transport,
        httpx.AsyncClient(transport=transport, base_url="http://orders") as client,
    ):
        for _ in range(10):
            await client.get("/")
        transport.mark_offline("orders", "10.0.0.2:80")
        async with page(rpcguard.asgi_status(transport), "status+http://status") as opened:
            look = await opened.look()
    assert [row.state for row in look.rows] == ["available", "offline"]
    assert sum(row.successes for row in look.rows) == 10
    assert look.rows[0].p99 > 0
    assert look.rows[1].event == "offline: marked by the caller"
    assert look.views[1]["node"]["host"] == "10.0.0.2"
    assert look.trouble is None
    assert look.registry.endswith("as http://status sees it")


@pytest.mark.parametrize("service", ["Shop.bücher.example", "shop.xn--bcher-kva.example."])
async def test_a_service_of_a_program_is_found_however_it_is_spelt(service):
    """The page has names as httpx gives them, and they are typed as they are read."""
    async with rpcguard.AsyncTransport("static:///shop.bücher.example=10.0.0.1:80") as transport:
        await transport.wait_ready("shop.xn--bcher-kva.example", timeout=20)
        app = rpcguard.asgi_status(transport)
        async with page(app, "status+http://status", service) as opened:
            assert len((await opened.look()).rows) == 1


async def test_the_page_is_asked_below_where_it_is_mounted():
    """Path and query are kept, user and password are sent and never shown."""
    app = answering(500, b"")
    async with page(app) as opened:
        with pytest.raises(rpcguard.RegistryError) as caught:
            await opened.look()
    assert str(caught.value) == "http://status/mounted/ answers 500"
    ((path, headers),) = app.asked
    assert path == "/mounted/nodes.json"
    assert headers[b"authorization"].startswith(b"Basic ")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"services": 3}', b'{"services": [3]}'])
async def test_what_is_no_status_page_is_told(body):
    """Another page on that port is one clear line."""
    async with page(answering(200, body)) as opened:
        with pytest.raises(rpcguard.RegistryError, match="is no status page of rpcguard"):
            await opened.look()


async def test_a_service_that_the_program_does_not_call_is_told():
    """With the names of those that it does."""
    async with rpcguard.AsyncTransport("static://10.0.0.1:80") as transport:
        await transport.wait_ready("billing", timeout=20)
        async with page(rpcguard.asgi_status(transport), "status+http://status") as opened:
            with pytest.raises(rpcguard.RegistryError, match="'orders' so far; services: billing"):
                await opened.look()


@pytest.mark.parametrize("url", ["status+ftp://status/", "status+http://", "status+http://a:b:c"])
async def test_a_wrong_url_of_a_page_is_told(url):
    """With a right one."""
    with pytest.raises(rpcguard.InvalidRegistryURL, match=r"status\+http://10"):
        async with source(url, "orders"):
            pass


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "file:///no/such.json"])
async def test_a_registry_in_trouble_is_told_without_waiting(url, monkeypatch):
    """What a registry says at the first question ends the command, however patient it is."""
    monkeypatch.setattr("rpcguard._commands.nodes.sources.READY_TIMEOUT", 3600.0)
    with pytest.raises(rpcguard.RegistryError, match=r"refused|No such file"):
        async with source(url, "orders"):
            pass


async def test_without_calls_nothing_is_called(server):
    """A watch is a bystander unless told otherwise."""
    async with source(f"static://127.0.0.1:{server.server_port}", "orders") as opened:
        (row,) = (await opened.look()).rows
    assert (row.state, row.good) == ("available", None)
    assert server.paths == []


async def test_calls_of_its_own_show_health_and_latency(server):
    """Each node is called by turns, and a dead one is ejected."""
    url = f"static://127.0.0.1:{server.server_port},127.0.0.1:9"
    async with source(url, "orders", call="/health?deep=1") as opened:
        deadline = time.monotonic() + 20
        while True:
            alive, dead = (await opened.look()).rows
            if alive.successes and dead.state == "ejected":
                break
            assert time.monotonic() < deadline
            await anyio.sleep(0.05)
    assert set(server.paths) == {"/health?deep=1"}
    assert alive.p50 > 0
    assert dead.event == "ejected: cannot connect"


class Health(BaseHTTPRequestHandler):
    """Answer 200 and note the path."""

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        server.paths = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
