"""A real uvicorn that streams events and speaks WebSocket, and callers of every flavour."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from tests.support.calls import eventually
from tests.support.fixtures import anyio_backend, flavour, make_caller, make_node, plain_context
from tests.support.uvicorn_server import UvicornServer

__all__ = ["anyio_backend", "flavour", "make_caller", "make_node", "plain_context"]


class Provider:
    """Send an event whenever a test says so, and echo what comes over a WebSocket."""

    def __init__(self) -> None:
        self.host = "127.0.0.1"
        self.seen: list[str] = []
        self.gone = threading.Event()
        self._server = UvicornServer(
            self.app, interface="asgi3", ws="wsproto", lifespan="off", loop="asyncio"
        )

    async def app(self, scope, receive, send) -> None:
        self.seen.append(scope["path"])
        if scope["type"] == "websocket":
            await self.echo(receive, send)
        else:
            await self.events(receive, send)
        self.gone.set()

    async def events(self, receive, send) -> None:
        """Send the numbers from 0 on, each after the caller has taken the one before."""
        await receive()
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        gone = asyncio.ensure_future(receive())
        number = 0
        while not gone.done():
            body = b"data: %d\n\n" % number
            await send({"type": "http.response.body", "body": body, "more_body": True})
            number += 1
            await asyncio.wait([gone], timeout=0.02)

    async def echo(self, receive, send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            answer = {key: message[key] for key in ("text", "bytes") if message.get(key)}
            await send({"type": "websocket.send", **answer})

    def __enter__(self) -> Provider:
        self.port = self._server.begin().listens_at
        return self

    def __exit__(self, *_: object) -> None:
        # The callers are closed by now. uvicorn fails on a WebSocket that is about to end.
        connections = self._server.server_state.connections
        eventually(lambda: not connections, "a caller has left a connection open")
        self._server.force_exit = True
        self._server.stop()


@pytest.fixture
def make_provider():
    """Start providers."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(Provider())
