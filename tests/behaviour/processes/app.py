"""What gunicorn's workers run: transports made, and used, before they were forked."""

from __future__ import annotations

import os
import threading
from typing import Any

import httpx

import rpcguard

client = httpx.Client(transport=rpcguard.Transport(), base_url="http://orders", timeout=5)
aclient = httpx.AsyncClient(
    transport=rpcguard.AsyncTransport(), base_url="http://orders", timeout=5
)
if os.environ.get("CALL_BEFORE_FORK"):
    client.get("/").raise_for_status()


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer with the worker, and with what a call from it got."""
    got = client.get(environ["PATH_INFO"]).text
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {got} {threading.active_count()}".encode()]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """Do the same on an event loop."""
    if scope["type"] != "http":
        raise RuntimeError("only http")
    got = (await aclient.get(scope["path"])).text
    body = f"{os.getpid()} {got} {threading.active_count()}".encode()
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})
