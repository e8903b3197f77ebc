"""A real uvicorn that streams events and speaks WebSocket, and callers of every flavour."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
import uvicorn

from tests.support.fixtures import anyio_backend, flavour, make_caller, make_node, plain_context

__all__ = ["anyio_backend", "flavour", "make_caller", "make_node", "plain_context"]


class Provider:
    """Send an event whenever a test says so, and echo what comes over a WebSocket."""

    def __init__(self) -> None:
        self.host = "127.0.0.1"
        self.seen: list[str] = []
        self.gone = threading.Event()
        config = uvicorn.Config(
            self.app,
            interface="asgi3",
            port=0,
            log_level="critical",
            ws="wsproto",
            lifespan="off",
            loop="asyncio",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

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
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)


@pytest.fixture
def make_provider():
    """Start providers."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(Provider())
