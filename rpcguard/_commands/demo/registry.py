"""An HTTP registry in a thread of the demo: lists as JSON, with ETag and Cache-Control."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import uvicorn

Message = MutableMapping[str, Any]

POLL_INTERVAL = 1.0
"""Seconds, quicker than the default of 5: still too slow for the faults that the demo is about."""


class EmbeddedRegistry:
    """A server of one service's list, at `url`, in a thread of its own.

    A context manager: it listens from enter to exit. `put` and `remove` are thread-safe. An
    answer carries an `ETag`; a request that names it gets 304.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self._nodes: dict[str, Mapping[str, object]] = {}
        self._body = b""
        self._version = 0
        self._changing = threading.Lock()
        self._render()
        self._port = 0
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        self._server = uvicorn.Server(config)

    @property
    def base(self) -> str:
        """Give the registry URL that rpcguard takes."""
        return f"http://127.0.0.1:{self._port}/{{service}}"

    @property
    def url(self) -> str:
        """Give the address of the service's list."""
        return self.base.format(service=self.service)

    def __enter__(self) -> EmbeddedRegistry:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._port = self._socket.getsockname()[1]
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="demo-registry", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    def put(self, node: Mapping[str, object]) -> None:
        """List a node, in the place of the one with the same id."""
        with self._changing:
            self._nodes[str(node["id"])] = node
            self._render()

    def remove(self, node_id: str) -> None:
        """Take a node off the list, if it is on it."""
        with self._changing:
            self._nodes.pop(node_id, None)
            self._render()

    def _render(self) -> None:
        self._version += 1
        self._body = json.dumps({"nodes": list(self._nodes.values())}).encode()

    async def _app(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        with self._changing:
            body, etag = self._body, f'"{self._version}"'.encode()
        status = 200
        if scope["path"] != f"/{self.service}":
            status, body = 404, b'{"error": "unknown service"}'
        elif dict(scope["headers"]).get(b"if-none-match") == etag:
            status, body = 304, b""
        headers = [
            (b"content-type", b"application/json"),
            (b"cache-control", f"max-age={POLL_INTERVAL:g}".encode()),
            (b"etag", etag),
        ]
        if status != 304:
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
