"""An ASGI app that forwards to the provider; hypercorn runs it as a node that speaks HTTP/2."""

from __future__ import annotations

import asyncio
import os


async def app(scope, receive, send) -> None:
    """Forward one call on a connection of its own."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    answer = await _forwarded(scope["method"], scope["path"], body)
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def _forwarded(method: str, path: str, body: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ["PROVIDER"]))
    head = f"{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2]
