"""The HTTP/1.1 connections of one node, for asyncio and trio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel

from rpcguard._connections import asyncio_stream
from rpcguard._connections.exchange import HTTP1_ONLY, Exchange, timeouts
from rpcguard._connections.handshake import in_handshake
from rpcguard._connections.http11 import NotBegun, Part, Wait

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        AsyncIterator,
        Awaitable,
        Callable,
        Sequence,
    )

    import httpx

    from rpcguard._connections.http11 import HTTP11Connection, Sending
    from rpcguard._connections.library import Library
    from rpcguard._connections.stack import Slot
    from rpcguard._wire.head import ResponseHead


class AsyncBody:
    """The body of a response; closing it gives the connection back."""

    __slots__ = ("__weakref__", "_exchange", "_request", "_slot")

    def __init__(self, exchange: AsyncExchange, slot: Slot, request: httpx.Request) -> None:
        self._exchange = exchange
        self._slot: Slot | None = slot
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        exchange, slot = self._exchange, self._slot
        trace = self._request.extensions.get("trace")
        try:
            connection = None if slot is None else slot.connection
            if connection is not None:
                await _tell(
                    trace, "http11.receive_response_body.started", {"request": self._request}
                )
                reader, wait = connection.reader, connection.stream.wait_readable
                connection.begin_body(timeouts(self._request))
                while reader.leading is None:
                    if data := reader.take():
                        yield data
                    if reader.complete:
                        break
                    await wait(connection.read_timeout())
                    connection.hear()
                await _tell(trace, "http11.receive_response_body.complete", {"return_value": None})
            exchange._check_whole()
        except BaseException as exc:
            error = exchange._translated(exc)
            try:
                if not isinstance(exc, GeneratorExit):
                    await _tell(trace, "http11.receive_response_body.failed", {"exception": exc})
            finally:
                await self.aclose()
            if error is None:
                raise
            raise error from exc

    async def aclose(self) -> None:
        """Give the connection back, or close it when the body was not read to its end."""
        slot, self._slot = self._slot, None
        if slot is None:
            return
        trace = self._request.extensions.get("trace")
        if trace is None:
            self._exchange._release(slot)
            return
        try:
            await _tell(trace, "http11.response_closed.started", {})
        finally:
            self._exchange._release(slot)
        await _tell(trace, "http11.response_closed.complete", {"return_value": None})

    def __del__(self) -> None:
        # Dropped unread and unclosed. A finalizer runs in any thread: what it finds is queued.
        if self._slot is not None:
            self._exchange._stack.dropped.append(self._slot)


class AsyncExchange(Exchange):
    """Requests to one node from one event loop; see `SyncExchange`.

    It belongs to the event loop of its first request, on asyncio or trio.

    Nothing awaits while it closes or gives back: a cancelled caller still does both.
    """

    _event = anyio.Event

    def __init__(self, library: Library, **options: Any) -> None:
        super().__init__(library, **options)
        self._body = library.derive(AsyncBody, "AsyncByteStream")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request to the node, whatever its URL names; the response must be closed."""
        slot = self._slot(request)
        try:
            head = await self._send(request, slot)
            return self._answer(request, head, slot)
        except BaseException as exc:
            error = self._translated(exc, slot)
            self._release(slot)
            if error is None:
                raise
            raise error from error.__cause__

    async def aclose(self) -> None:
        """Close the idle connections and cut those in use, whose calls get an httpx error.

        May be called more than once. Later requests get `httpx.ConnectError`.
        """
        self.shut()

    async def aclose_idle(self) -> None:
        """Close the connections that no call uses."""
        self._forget_idle()

    def shut(self) -> None:
        """Do what `aclose` does, without an event loop if that has ended."""
        busy = self._stack.close()
        self._stack.doomed.extend(busy)
        self._reap()

    def sweep(self) -> None:
        """Close the idle connections that have expired, or that the node has closed."""
        self._stack.settle_dropped()
        self._stack.expire()
        for connection in self._stack.idle:
            if connection.stream.ended():
                self._stack.discard(connection)
        self._reap()

    def close_idle(self) -> None:
        """Do what `aclose_idle` does, which waits for nothing."""
        self._forget_idle()

    def _forget_idle(self) -> None:
        self._stack.close_idle()
        self._reap()

    async def _send(self, request: httpx.Request, slot: Slot) -> ResponseHead:
        sending, stack = self._sending(request), self._stack
        if not stack.request(slot):
            with anyio.move_on_after(timeouts(request).get("pool")):
                await slot.event.wait()
            self._check_granted(slot)
        while True:
            if stack.doomed:
                self._reap()
            connection = slot.connection or await self._dial(request, slot)
            try:
                if sending.traced is not None:
                    return await _drive(connection, connection.traced(sending), sending, request)
                rest = connection.start(sending)
                if rest is not None:
                    return await _drive(connection, connection.finish(rest), sending, request)
                reader, wait = connection.reader, connection.stream.wait_readable
                while reader.head is None:
                    await wait(connection.read_timeout())
                    connection.hear()
                return reader.head
            except NotBegun as error:
                self._lost(connection, error)
            stack.replace(slot)

    async def _dial(self, request: httpx.Request, slot: Slot) -> HTTP11Connection:
        stream = await self._dialled(request, slot.name, HTTP1_ONLY)
        try:
            connection = self._opened(stream, slot)
        except BaseException:
            stream.close()
            raise
        self._watch(connection)
        return connection

    async def _dialled(
        self, request: httpx.Request, name: str | None, protocols: Sequence[str]
    ) -> Any:
        """Open a stream to the node, secured where a name is given."""
        trace = request.extensions.get("trace")
        timeout = self._connect_timeout(request)
        if trace is None:
            stream = await self._connected(timeout)
        else:
            event, options = self._dialling(timeout)
            stream = await _traced(trace, event, options, lambda: self._connected(timeout))
        try:
            if name is not None:
                told = self._securing(name, self._connect_timeout(request))
                stream.offers = protocols
                with in_handshake(self._core.ConnectError, self._core.ConnectTimeout):
                    await _traced(trace, "start_tls", told, lambda: stream.start_tls(**told))
        except BaseException:
            stream.close()
            raise
        return stream

    def _watch(self, connection: HTTP11Connection) -> None:
        """Have the loop tell when an idle connection ends, where it can."""
        stream = connection.stream
        if isinstance(stream, asyncio_stream.AsyncioStream):
            stream.on_stir = lambda: self._stirred(connection)
            stream.listen()

    def _stirred(self, connection: HTTP11Connection) -> None:
        if self._stack.discard(connection):
            self._idle_age.learn(self._clock() - connection.idle_since)
            self._reap()

    async def _connected(self, timeout: float | None) -> Any:
        kind, connect = self._backend()
        try:
            sock, peer = await connect(self._destination, timeout)
            return kind(sock, self._core, peer)
        except TimeoutError as error:
            raise self._core.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise self._core.ConnectError(str(error)) from error

    def _backend(self) -> tuple[Any, Any]:
        on_asyncio = anyio.get_cancelled_exc_class() is asyncio.CancelledError
        if on_asyncio:
            kind: Any = asyncio_stream.AsyncioStream
            connect: Any = asyncio_stream.connect
        else:
            from rpcguard._connections import trio_stream  # only where trio is there, and used

            kind, connect = trio_stream.TrioStream, trio_stream.connect
        return self._library.derive_stream(kind, "AsyncNetworkStream", self._core), connect

    def _release(self, slot: Slot) -> None:
        self._stack.release(slot, keep=self._keeps(slot.connection))
        if self._stack.doomed:
            self._reap()

    def _reap(self) -> None:
        for connection in self._stack.reap():
            connection.close()


async def _drive(
    connection: HTTP11Connection, steps: Any, sending: Sending, request: httpx.Request
) -> ResponseHead:
    stream, trace = connection.stream, request.extensions.get("trace")
    parts = _parts_of(sending, request)
    try:
        step = next(steps)
        while True:
            done: Any = None
            try:
                if step is Wait.READABLE:
                    await stream.wait_readable(connection.read_timeout())
                elif step is Wait.WRITABLE:
                    await stream.wait_writable(connection.write_timeout())
                elif step is Part.NEXT:
                    done = await anext(parts, None)
                elif step is Wait.TURN:
                    await anyio.lowlevel.checkpoint()
                else:
                    await _tell(trace, step.event, step.info)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(done)
    except StopIteration as end:
        head: ResponseHead = end.value
        return head
    except BaseException:
        await _tell(trace, "http11.response_closed.started", {})
        await _tell(trace, "http11.response_closed.complete", {"return_value": None})
        raise
    finally:
        await parts.aclose()  # left early: collected as garbage it would be too late


async def _parts_of(sending: Sending, request: httpx.Request) -> AsyncGenerator[Any, None]:
    if sending.body is not None:
        yield sending.body
        return
    parts = aiter(cast("AsyncIterable[bytes]", request.stream))
    try:
        async for part in parts:
            yield part
    finally:
        close = getattr(parts, "aclose", None)
        if close is not None:
            await close()


async def _tell(
    trace: Callable[[str, Any], Awaitable[Any]] | None, event: str, info: dict[str, Any]
) -> None:
    if trace is not None:
        await trace(event, info)


async def _traced(
    trace: Callable[[str, dict[str, Any]], Awaitable[Any]] | None,
    event: str,
    options: dict[str, Any],
    call: Callable[[], Awaitable[Any]],
) -> Any:
    if trace is None:
        return await call()
    await trace(f"connection.{event}.started", options)
    try:
        stream = await call()
    except BaseException as exc:
        await trace(f"connection.{event}.failed", {"exception": exc})
        raise
    try:
        await trace(f"connection.{event}.complete", {"return_value": stream})
    except BaseException:
        stream.close()
        raise
    return stream
