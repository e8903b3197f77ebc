"""A provider that writes down each POST before it works on it: the same for both interfaces."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from rpcguard.provider import OfflineASGI, OfflineWSGI

WORK = 0.02  # seconds: long enough that a stop finds calls in flight


def note(call: bytes) -> None:
    """Add a line to the log; one write to the end of a file is not torn by other workers."""
    log = os.open(os.environ["ROLLING_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, call + b"\n")
    os.close(log)


async def _asgi(scope: Any, receive: Any, send: Any) -> None:
    call, more = b"", True
    while more:
        message = await receive()
        call += message.get("body", b"")
        more = message.get("more_body", False)
    note(call)
    await asyncio.sleep(WORK)
    headers = [(b"content-length", b"%d" % len(call))]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": call})


def _wsgi(environ: Any, start_response: Any) -> list[bytes]:
    call = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    note(call)
    time.sleep(WORK)
    start_response("201 Created", [("Content-Length", str(len(call)))])
    return [call]


asgi = OfflineASGI(_asgi)
wsgi = OfflineWSGI(_wsgi)
