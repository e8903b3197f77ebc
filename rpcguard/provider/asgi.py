"""The offline signal for ASGI apps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from rpcguard.provider.switch import HEADER, Answer, OfflineSwitch, is_loopback, is_relayed

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Frameworks type these three in their own ways; any of them may be wrapped.
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]


class OfflineASGI(OfflineSwitch):
    """Wrap an ASGI app so that its node can say that it leaves.

    After `go_offline()` every response carries `X-RpcGuard-Offline` while the app serves as
    before, the bare 500 of an app that raises included; `online()` takes it back. `POST
    {prefix}/offline` and `{prefix}/online` do the same for a preStop hook. They are accepted over
    loopback or a unix socket only, and never with a sign of a proxy such as `X-Forwarded-For`.
    Everything but HTTP (websocket, lifespan) passes untouched. Thread-safe; make it the outermost
    wrapper.
    """

    def __init__(self, app: ASGIApp, *, prefix: str = "/-/rpcguard") -> None:
        super().__init__(prefix=prefix)
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the ASGI interface."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
        send = self._marking(send)
        if self._is_control(path):
            await _respond(send, self._control(path, scope["method"], local=_is_local(scope)))
            return
        await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception:
            # The server would answer by itself, without the notice; it still gets to log the error.
            if self.offline and not started:
                await _respond(send, _CRASH)
            raise

    def _marking(self, send: Send) -> Send:
        async def mark(message: Message) -> None:
            notice = self._notice
            if notice is not None and message["type"] == "http.response.start":
                header = (HEADER.lower().encode(), notice.encode())
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        return mark


_CRASH = Answer(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    [("Content-Type", "text/plain; charset=utf-8")],
    b"Internal Server Error",
)


async def _respond(send: Send, answer: Answer) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status.value, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _is_local(scope: Scope) -> bool:
    if is_relayed({bytes(name).decode("latin-1").lower() for name, _ in scope["headers"]}):
        return False
    client, server = scope.get("client"), scope.get("server")
    if client:
        return is_loopback(client[0])
    # A unix socket has no peer address, and its server half is (path, None).
    return server is not None and server[1] is None
