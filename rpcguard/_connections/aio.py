"""The HTTP/1.1 connections of one node, for tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import httpx

from rpcguard._connections.asyncio_backend import AsyncioBackend, AsyncioStream
from rpcguard._connections.exchange import Exchange, timeouts
from rpcguard._connections.requests import Stream
from rpcguard._connections.stack import Connection, Slot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import ModuleType


class AsyncBody(Slot):
    """Stream the body of a response; closing it gives the connection back."""

    __slots__ = ("_exchange", "parts")

    def __init__(self, exchange: AsyncExchange, name: str | None) -> None:
        super().__init__(name)
        self._exchange = exchange
        self.parts: Any = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = self.parts.__aiter__()
        try:
            async for part in parts:
                yield part
            self._exchange._check_whole()
        except BaseException as exc:
            error = self._exchange._translated(exc)
            await parts.aclose()  # left early: collected as garbage it would be too late
            await self.aclose()
            if error is None:
                raise
            raise error from exc

    async def aclose(self) -> None:
        """Give the connection back, or close it when the body was not read to its end."""
        parts, self.parts = self.parts, None
        if parts is None:
            return
        try:
            await parts.aclose()
        finally:
            if self._exchange._release(self):
                await self._exchange._reap()


class AsyncExchange(Exchange):
    """Send requests to one node from one event loop; see `AsyncConnectionStack`."""

    _event = anyio.Event
    _body: ClassVar[type[AsyncBody]]

    @classmethod
    def _bind(cls) -> None:
        super()._bind()
        cls._body = type("Body", (AsyncBody, cls._http.AsyncByteStream), {})
        cls._stream = type("Stream", (Stream, cls._core.AsyncNetworkStream), {"core": cls._core})

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request to the node, whatever its URL names; the response must be closed."""
        lease = self._body(self, self._server_name(request))
        try:
            return await self._send(request, lease)
        except BaseException as exc:
            error = self._translated(exc, lease)
            if self._release(lease):
                await self._reap()
            if error is None:
                raise
            raise error from error.__cause__

    async def aclose(self) -> None:
        """Close the idle connections and cut those in use, whose calls get an httpx error.

        May be called more than once. Later requests get `httpx.ConnectError`.
        """
        busy = self._stack.close()
        self._stack.doomed.extend(busy)
        await self._reap()

    async def aclose_idle(self) -> None:
        """Close the connections that no call uses."""
        self._stack.close_idle()
        await self._reap()

    async def _send(self, request: httpx.Request, lease: AsyncBody) -> httpx.Response:
        stack = self._stack
        if not stack.request(lease):
            with anyio.move_on_after(timeouts(request).get("pool")):
                await lease.event.wait()
            self._check_granted(lease)
        while lease.connection is not None and lease.connection.stream.ended():
            stack.replace(lease)
        if stack.doomed:
            await self._reap()
        connection = lease.connection or await self._dial(request, lease)
        answer = await connection.http.handle_async_request(self._outgoing(request, connection))
        lease.parts = answer.stream
        return self._incoming(request, answer, lease)

    async def _dial(self, request: httpx.Request, lease: Slot) -> Connection:
        trace = request.extensions.get("trace")
        event, options = self._dialling(request)
        stream = await _atraced(trace, event, getattr(self._backend(), event), options)
        try:
            if lease.name is not None:
                options = self._securing(request, lease.name)
                stream = await _atraced(trace, "start_tls", stream.start_tls, options)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await stream.aclose()
            raise
        return self._opened(self._core.AsyncHTTP11Connection, stream, lease)

    def _backend(self) -> Any:
        if anyio.get_cancelled_exc_class() is asyncio.CancelledError:
            return AsyncioBackend(self._core, AsyncioStream)
        return self._core.TrioBackend()

    def _release(self, lease: Slot) -> bool:
        # No await in here: a cancelled caller still gives its place to the next in line.
        connection = lease.connection
        keep = connection is not None and connection.http.is_idle()
        self._stack.release(lease, keep=keep)
        return bool(self._stack.doomed)

    async def _reap(self) -> None:
        doomed = self._stack.doomed
        with anyio.CancelScope(shield=True):
            while doomed:  # one by one: a cancelled task of asyncio breaks through the shield
                await doomed.pop().http.aclose()


class AsyncConnectionStack(AsyncExchange, httpx.AsyncBaseTransport):
    """Send HTTP/1.1 requests to one node on asyncio or trio; else as `ConnectionStack`.

    It belongs to the event loop of its first request.
    """

    _http: ClassVar[ModuleType] = httpx
    _core: ClassVar[Any] = "httpcore"


async def _atraced(
    trace: Callable[[str, dict[str, Any]], Awaitable[Any]] | None,
    event: str,
    call: Callable[..., Awaitable[Any]],
    options: dict[str, Any],
) -> Any:
    if trace is None:
        return await call(**options)
    await trace(f"connection.{event}.started", options)
    try:
        result = await call(**options)
    except BaseException as exc:
        await trace(f"connection.{event}.failed", {"exception": exc})
        raise
    await trace(f"connection.{event}.complete", {"return_value": result})
    return result
