"""A real application server at the other end: keep-alive, uploads, stops, the offline word."""

from __future__ import annotations

import contextlib
import select
from typing import TYPE_CHECKING

import pytest

from rpcguard import Node
from rpcguard.provider import OfflineASGI
from rpcguard.registries.static import StaticRegistry
from tests.support.calls import FLAVOURS, each, soon
from tests.support.library import http
from tests.support.uvicorn_server import UvicornServer

if TYPE_CHECKING:
    import socket

pytestmark = each(FLAVOURS)


async def app(scope, receive, send) -> None:
    """Answer with the size of what was sent."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"{scope['method']} {size}".encode()})


@pytest.fixture
def serve():
    with contextlib.ExitStack() as stack:

        def start(application=app, **options) -> UvicornServer:
            server = UvicornServer(application, ws="none", **options).begin()
            stack.callback(server.stop)
            return server

        yield start


def listing(*servers: UvicornServer) -> StaticRegistry:
    nodes = [
        Node("127.0.0.1", server.listens_at, metadata={"place": str(place)})
        for place, server in enumerate(servers)
    ]
    return StaticRegistry({"orders": nodes})


async def test_methods_and_uploads(serve, make_caller):
    """Answers without a length, uploads of known and unknown length, many in a row."""
    caller = make_caller(listing=listing(serve()))
    for method in ("GET", "DELETE"):
        assert (await caller.call(method=method)).text == f"{method} 0"
    assert (await caller.call(method="POST", content=b"x" * 300_000)).text == "POST 300000"
    body = caller.body(*[b"x" * 1000] * 50)
    assert (await caller.call(method="PUT", content=body)).text == "PUT 50000"
    assert (await caller.call(method="HEAD")).content == b""


async def test_a_graceful_stop(serve, make_caller):
    """A provider that stops as uvicorn does costs no call, POSTs included."""
    stopping, staying = serve(), serve()
    caller = make_caller(listing=listing(stopping, staying))
    assert (await caller.call(method="POST")).text == "POST 0"
    stopping.stop()
    for _ in range(20):
        assert (await caller.call(method="POST")).text == "POST 0"
        assert (await caller.call()).text == "GET 0"
    assert caller.transport.nodes("orders")[0].state == "ejected"


async def test_a_provider_that_says_that_it_leaves(serve, make_caller):
    """After the answer that carries the signal the next call already goes elsewhere."""
    leaving_app = OfflineASGI(app, file=False)
    leaving, staying = serve(leaving_app), serve()
    caller = make_caller(listing=listing(leaving, staying))
    assert (await caller.call()).extensions["rpcguard"].node.port == leaving.listens_at
    leaving_app.go_offline()
    response = await caller.call(method="POST")
    assert response.extensions["rpcguard"].node.port == leaving.listens_at
    assert response.text == "POST 0"
    for _ in range(5):
        response = await caller.call(method="POST")
        assert response.extensions["rpcguard"].node.port == staying.listens_at


def has_ended(sock: socket.socket) -> bool:
    """Tell whether the end of an idle connection has come here; on asyncio it is closed at once."""
    with contextlib.suppress(ValueError):  # it is closed meanwhile
        return sock.fileno() < 0 or bool(select.select([sock], [], [], 0)[0])
    return True


async def test_keep_alive_of_the_server_runs_out(serve, make_caller):
    """A connection that the server closes while it is idle costs no POST."""
    server = serve(timeout_keep_alive=0.2)
    limits = http.Limits(keepalive_expiry=60.0)
    caller = make_caller(listing=listing(server), limits=limits)
    response = await caller.call(method="POST")
    assert response.text == "POST 0"
    sock = response.extensions["network_stream"].get_extra_info("socket")
    await soon(lambda: has_ended(sock), "the server did not close")
    response = await caller.call(method="POST")
    assert response.text == "POST 0"
    assert len(response.extensions["rpcguard"].attempts) == 1
