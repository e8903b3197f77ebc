"""The page of a transport as an application: for ASGI, and for WSGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from rpcguard._status.page import answer

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from rpcguard._status.page import Shown

# Frameworks type these three in their own ways.
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]


def asgi_status(transport: Shown) -> ASGIApp:
    """Make an ASGI app that shows the live lists of a transport: a page, and `/nodes.json`.

    Read-only: it answers GET and HEAD, and asks no registry. Everything is escaped, and the
    metadata of nodes, which may hold secrets, is left out. It tells addresses, so mount it where
    only operators come. Works on asyncio and trio with either transport, which stays the caller's
    to close.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            mounted = scope.get("root_path", "")
            path = str(scope["path"]).removeprefix(mounted)
            reply = answer([transport], method=scope["method"], path=path, mounted=mounted)
            headers = [(name.encode(), value.encode()) for name, value in reply.headers]
            start = {"type": "http.response.start", "status": reply.status, "headers": headers}
            await send(start)
            await send({"type": "http.response.body", "body": reply.body})

    return app


async def _live(receive: Any, send: Any) -> None:
    while True:
        phase = (await receive())["type"]
        await send({"type": f"{phase}.complete"})
        if phase == "lifespan.shutdown":
            return


def wsgi_status(transport: Shown) -> WSGIApplication:
    """Make a WSGI app of what `asgi_status` shows, for Flask, Django and their like.

    Thread-safe; the transport stays the caller's to close.
    """
    return wsgi_app(lambda: [transport])


def wsgi_app(shown: Callable[[], Sequence[Shown]]) -> WSGIApplication:
    """Make a WSGI app that shows the transports that `shown` gives at each request."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        reply = answer(
            shown(),
            method=environ["REQUEST_METHOD"],
            path=environ.get("PATH_INFO", ""),
            mounted=environ.get("SCRIPT_NAME", ""),
        )
        start_response(f"{reply.status} {HTTPStatus(reply.status).phrase}", reply.headers)
        return [reply.body]

    return app
