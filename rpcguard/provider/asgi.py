"""The offline signal for ASGI apps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from rpcguard.provider.address import known_as
from rpcguard.provider.control import ControlReply, ControlRequest
from rpcguard.provider.middleware import HEADER, OfflineMiddleware

if TYPE_CHECKING:
    import os

    from rpcguard.provider.switch import OfflineSwitch

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Frameworks type these three in their own ways; any of them may be wrapped.
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]


class OfflineASGI(OfflineMiddleware):
    """An ASGI app that says on its responses that its node leaves, while it serves as before.

    They carry `X-RpcGuard-Offline: 1; at=HOST:PORT` while the switch is on: by the file that all
    workers of a node share and that `rpcguard offline` writes, by `go_offline()`, or by a POST.
    The bare 500 of an app that raises carries it too. Everything but HTTP (websocket, lifespan)
    passes untouched. Thread-safe; make it the outermost wrapper, or hand it to a framework:
    `app.add_middleware(OfflineASGI, switch=switch)`.

    Args:
        app: the app to be wrapped.
        switch: an `OfflineSwitch` that somebody else turns; None: one of its own.
        file: path of the file of its own switch; see `OfflineSwitch`.
        token: what a `POST {prefix}/offline` or `{prefix}/online` must carry as `Authorization:
            Bearer TOKEN`. None: such a POST is obeyed only over a unix socket that no other user
            can reach.
        node: the node's id or `host:port` as callers know it; None: the address that a request
            was accepted on. Needed where that is another one, as behind published ports.
        prefix: where the two paths lie.

    Raises:
        ValueError: an option is not as said, or both `switch` and `file` are given.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        switch: OfflineSwitch | None = None,
        file: str | os.PathLike[str] | Literal[False] | None = None,
        token: str | None = None,
        node: str | None = None,
        prefix: str = "/-/rpcguard",
    ) -> None:
        super().__init__(switch=switch, file=file, token=token, node=node, prefix=prefix)
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the ASGI interface."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
        send = self._marking(scope.get("server"), send)
        if self._control.is_meant(path):
            await _respond(send, self._control.answer(_control_request(scope, path)))
            return
        await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Starlette around this middleware answers for what raises, by a handler of the user's.
        answered = "app" in scope

        async def watch(message: Message) -> None:
            nonlocal answered
            answered = answered or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception:
            # The server would answer by itself, without the notice; it still gets to log the error.
            if not answered and self.offline:
                await _respond(send, _CRASH)
            raise

    def _marking(self, server: Any, send: Send) -> Send:
        async def mark(message: Message) -> None:
            if message["type"] == "http.response.start":
                notice = self.switch.notice()
                if notice is not None:
                    value = self._with_name(notice, known_as(*server) if server else None)
                    header = (HEADER.lower().encode(), value.encode())
                    message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        return mark


_CRASH = ControlReply(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    [("Content-Type", "text/plain; charset=utf-8")],
    b"Internal Server Error",
)


async def _respond(send: Send, reply: ControlReply) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in reply.headers]
    await send({"type": "http.response.start", "status": reply.status.value, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _control_request(scope: Scope, path: str) -> ControlRequest:
    server = scope.get("server")
    return ControlRequest(
        method=scope["method"],
        path=path,
        headers={
            bytes(name).decode("latin-1").lower(): bytes(value).decode("latin-1")
            for name, value in scope["headers"]
        },
        http_version=scope.get("http_version", ""),
        unix_socket=server[0] if server and server[1] is None else None,
    )
