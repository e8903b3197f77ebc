"""A node of the service orders: it registers with Consul, and says so when it leaves."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn

from rpcguard.provider import OfflineASGI

if TYPE_CHECKING:
    from types import FrameType

PORT = int(os.environ.get("PORT", "8080"))
LINGER = float(os.environ.get("LINGER", "2"))
"""Seconds to serve on after saying so: callers hear of it on their next answer."""


async def orders(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer every request with an order."""
    while (await receive()).get("more_body"):
        pass
    body = json.dumps({"id": 7, "state": "paid", "node": socket.gethostname()}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class LeavingServer(uvicorn.Server):
    """A server that tells when it is `up`, and of the first signal, and ends at the second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()
        self.leaving = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self.up.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal that asks the process to end."""
        if self.leaving.is_set():
            super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self.leaving.set)


async def main() -> None:
    """Serve until told to end, then leave in order: say so, leave the list, serve on, end."""
    app = OfflineASGI(orders, file=False)
    config = uvicorn.Config(app, host="0.0.0.0", port=PORT, lifespan="off", log_level="warning")
    server = LeavingServer(config)
    serving = asyncio.ensure_future(server.serve())
    await server.up.wait()
    me = os.environ.get("NODE", socket.gethostname())
    address = socket.gethostbyname(socket.gethostname())
    token = {"X-Consul-Token": os.environ.get("CONSUL_HTTP_TOKEN", "")}
    async with httpx.AsyncClient(base_url=os.environ["CONSUL"], headers=token) as consul:
        entry = {"Name": "orders", "ID": me, "Address": address, "Port": PORT}
        (await consul.put("/v1/agent/service/register", json=entry)).raise_for_status()
        await server.leaving.wait()
        app.go_offline(ttl=30)
        await consul.put(f"/v1/agent/service/deregister/{me}")
        await asyncio.sleep(LINGER)
    server.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(main())
