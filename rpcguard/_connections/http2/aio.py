"""The connections of one node that may speak HTTP/2, for tasks on asyncio and trio."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import anyio.lowlevel

from rpcguard._connections.http2.aio_connection import AsyncHttp2Connection
from rpcguard._connections.http2.calls import (
    Countdown,
    FieldCache,
    SpeaksHttp1,
    Unsent,
    has_body,
    is_touched,
    timeouts_of,
    traced,
    translated,
)
from rpcguard._connections.http2.dialling import Dialler
from rpcguard._connections.http2.places import Place, PlaceBooks
from rpcguard._connections.stack import StackClosed
from rpcguard._core.outcomes.responses import GOAWAY
from rpcguard._wire.h2_faults import StreamRefused
from rpcguard._wire.h2_session import Http2Session

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from types import ModuleType

    import httpx

    from rpcguard._core.nodes.view import ConnectionCounts
    from rpcguard._wire.h2_headers import Fields
    from rpcguard._wire.h2_streams import Http2Stream


class AsyncHttp2Body(Place):
    """The body of an answer; closing it gives its place on the connection back."""

    __slots__ = ("_exchange", "_open", "_request", "frames_before", "opened", "stream")

    def __init__(self, exchange: AsyncHttp2Exchange, request: Any, name: str | None) -> None:
        super().__init__(name)
        self._exchange = exchange
        self._request = request
        self._open = True
        self.stream: Http2Stream | None = None
        self.opened: bool = False
        self.frames_before: int = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        connection, stream = self.connection, self.stream
        if not self._open or stream is None:
            return
        part = functools.partial(connection.part, stream, timeouts_of(self._request))
        info = {"request": self._request, "stream_id": stream.id}
        trace = self._request.extensions.get("trace")
        try:
            if trace is not None:
                await trace("http2.receive_response_body.started", info)
            while data := await part():
                yield data
            if trace is not None:
                await trace("http2.receive_response_body.complete", {"return_value": None})
        except BaseException as error:
            made = self._exchange.translated(error, self)
            await self.aclose()
            if made is None:
                raise
            raise made from made.__cause__

    async def aclose(self) -> None:
        """Give the place back; what of the answer is still to come is cancelled."""
        if self._open:
            self._open = False
            self._exchange.release(self)


class AsyncHttp2Exchange:
    """Requests to one node over as few HTTP/2 connections as they fit on.

    A subclass names the library: `_http` is httpx or httpx2, whose errors it raises. Calls wait for
    a connection that is being opened for `timeout["connect"]`, and in line for one with room for
    `timeout["pool"]`. What a connection refused because it ended, and not the node, goes once more
    to a fresh one. `fallback` makes the connections of a node that agrees on HTTP/1.1; without one
    HTTP/2 is spoken by prior knowledge. Belongs to the event loop of its first request.
    """

    _http: ClassVar[ModuleType]
    _body: ClassVar[type[AsyncHttp2Body]]

    def __init__(
        self,
        *,
        scheme: str,
        host: str,
        port: int,
        ssl_context: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None,
        limits: httpx.Limits,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
        fallback: Callable[[], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if "_body" not in type(self).__dict__:
            kind = type(self)
            kind._body = type("Body", (AsyncHttp2Body, kind._http.AsyncByteStream), {})
        self._scheme = scheme
        self._make_fallback = fallback
        self._fallback: Any = None
        self._dialler = Dialler(
            host=host,
            port=port,
            local_address=local_address,
            socket_options=None if socket_options is None else list(socket_options),
            ssl_context=ssl_context,
            protocols=("h2",) if fallback is None else ("h2", "http/1.1"),
        )
        self._books = PlaceBooks(
            max_connections=limits.max_connections,
            max_idle=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            clock=clock,
            event=anyio.Event,
        )
        self._fields = FieldCache()
        self._http1_names: set[str | None] = set()

    @property
    def counts(self) -> ConnectionCounts:
        """Count the idle connections, those in use and the calls in line; safe from any thread."""
        counts = self._books.counts
        return counts if self._fallback is None else counts + self._fallback.counts

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request to the node, whatever its URL names; the response must be closed."""
        place = self._body(self, request, self._server_name(request))
        try:
            answer = await self._send(request, place)
        except BaseException as error:
            made = self.translated(error, place)
            self.release(place)
            if made is None:
                raise
            raise made from made.__cause__
        if answer is not None:
            return answer
        self.release(place)
        response: httpx.Response = await self._http1().handle_async_request(request)
        return response

    async def aclose(self) -> None:
        """Close the idle connections and cut those in use, whose calls get an httpx error.

        May be called more than once. Later requests get `httpx.ConnectError`.
        """
        for connection in self._books.close():
            connection.close()
        await self._aclose_doomed()
        if self._fallback is not None:
            await self._fallback.aclose()

    async def aclose_idle(self) -> None:
        """Close the connections that no call uses."""
        self._books.close_idle()
        await self._aclose_doomed()
        if self._fallback is not None:
            await self._fallback.aclose_idle()

    def release(self, place: AsyncHttp2Body) -> None:
        """End a call's claim, and what is still to come of its answer."""
        # No await in here: a cancelled caller still gives its place to the next in line.
        connection, stream = place.connection, place.stream
        if connection is not None and stream is not None:
            place.stream = None
            connection.leave(stream)
        self._books.release(place)
        self._close_doomed()

    def translated(self, error: BaseException, place: AsyncHttp2Body) -> Exception | None:
        """Find the library's error for what ended a call; None for what passes as it is."""
        stream, connection = place.stream, place.connection
        quiet = (
            place.reused
            and stream is not None
            and connection is not None
            and connection.session.frames == place.frames_before
        )
        address = self._dialler.address
        return translated(self._http, error, address, quiet=quiet, closed=self._books.closed)

    async def _send(self, request: httpx.Request, place: AsyncHttp2Body) -> httpx.Response | None:
        fields = self._fields.prepare(request.headers.raw)
        again = False
        while await self._seated(request, place):
            try:
                return await self._exchanged(request, fields, place)
            except Unsent:
                if place.opened:
                    raise
                self.release(place)
            except StreamRefused as refusal:
                old = refusal.by_goaway and not place.connection.session.departing
                if again or not old or is_touched(request.stream):
                    raise
                again = True
                self.release(place)
        return None

    async def _seated(self, request: httpx.Request, place: AsyncHttp2Body) -> bool:
        """Get the place onto a connection; False where the node speaks HTTP/1.1."""
        while place.name not in self._http1_names:
            if not self._books.request(place):
                await self._wait_in_line(request, place)
            self._close_doomed()
            place.opened = place.connection is None
            if place.opened:
                try:
                    await self._open(request, place)
                except SpeaksHttp1:
                    return False
                return True
            if place.reused:
                await place.connection.channel.settle()
            if place.connection.usable:
                return True
            self._books.release(place)
        return False

    async def _wait_in_line(self, request: httpx.Request, place: AsyncHttp2Body) -> None:
        timeouts, books = timeouts_of(request), self._books
        opening, turn = Countdown(timeouts, "connect"), Countdown(timeouts, "pool")
        while books.waits(place):
            expected = books.expects(place.name)
            left = opening.left() if expected else turn.left()
            if left is not None and left <= 0.0:
                raise self._late(expected)
            with anyio.move_on_after(left):
                await place.event.wait()
        if books.closed:
            raise self._closed()
        if place.failure is not None:
            raise _copied(place.failure)

    async def _open(self, request: httpx.Request, place: AsyncHttp2Body) -> None:
        try:
            connection = await self._dial(request, place.name)
        except (SpeaksHttp1, self._http.ConnectError) as failure:
            if isinstance(failure, SpeaksHttp1):
                self._http1_names.add(place.name)
            self._books.failed(place, failure)
            raise
        self._books.opened(place, connection)
        if self._books.closed:
            raise self._closed()

    async def _dial(self, request: httpx.Request, name: str | None) -> AsyncHttp2Connection:
        """Open a connection and begin HTTP/2 on it, within the time that there is to connect."""
        dialler = self._dialler
        channel = await self._in_time(request, "connection.connect_tcp", dialler.connect)
        try:
            if name is not None:
                secure = functools.partial(channel.secure, dialler.context(), name)
                agreed = await self._in_time(request, "connection.start_tls", secure)
                if agreed != "h2" and self._make_fallback is not None:
                    raise SpeaksHttp1
            session = Http2Session(on_room=self._serve)
            connection = AsyncHttp2Connection(self._http, channel, session, name)
            await traced(request, "http2.send_connection_init", {}, connection.start)
        except BaseException:
            channel.abort()
            raise
        return connection

    async def _in_time(
        self, request: httpx.Request, event: str, step: Callable[[], Awaitable[Any]]
    ) -> Any:
        left = Countdown(timeouts_of(request), "connect").left()
        if left is not None and left <= 0.0:
            raise self._http.ConnectTimeout("no time left to connect")
        try:
            with anyio.fail_after(left):
                return await traced(request, event, self._dialler.where, step)
        except TimeoutError as error:
            raise self._http.ConnectTimeout(f"no connection to {self._dialler.address}") from error
        except OSError as error:
            raise self._http.ConnectError(str(error)) from error

    async def _exchanged(
        self, request: httpx.Request, fields: Fields, place: AsyncHttp2Body
    ) -> httpx.Response:
        connection: AsyncHttp2Connection = place.connection
        session = connection.session
        place.frames_before = session.frames

        async def send() -> None:
            place.stream = connection.begin(request, fields, self._scheme)

        info: dict[str, Any] = {"request": request}
        await traced(request, "http2.send_request_headers", info, send)
        stream = place.stream
        assert stream is not None
        info["stream_id"] = stream.id
        if has_body(fields):
            upload = functools.partial(connection.upload, stream, request, fields.length)
            await traced(request, "http2.send_request_body", info, upload)
        patience = getattr(request, "patience", None)
        wait = functools.partial(connection.head, stream, timeouts_of(request), patience)
        status, headers = await traced(request, "http2.receive_response_headers", info, wait)
        extensions = {
            "http_version": b"HTTP/2",
            "network_stream": connection.channel,
            "stream_id": stream.id,
        }
        if session.departing:
            extensions[GOAWAY] = True
        response: httpx.Response = self._http.Response(
            status, headers=headers, stream=place, extensions=extensions
        )
        return response

    def _server_name(self, request: httpx.Request) -> str | None:
        if self._scheme != "https":
            return None
        name: str | None = request.extensions.get("sni_hostname")
        return name or request.url.raw_host.decode("ascii")

    def _http1(self) -> Any:
        if self._fallback is None:
            assert self._make_fallback is not None
            self._fallback = self._make_fallback()
        return self._fallback

    def _serve(self) -> None:
        self._books.expire()
        self._books.serve()
        self._close_doomed()

    def _close_doomed(self) -> bool:
        doomed = self._books.reap()
        for connection in doomed:
            connection.close()
        return bool(doomed)

    async def _aclose_doomed(self) -> None:
        self._close_doomed()
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()  # asyncio closes a socket on its next turn

    def _closed(self) -> StackClosed:
        return StackClosed(f"the connections to {self._dialler.address} are closed")

    def _late(self, expected: bool) -> Exception:
        counts, address = self._books.counts, self._dialler.address
        text = f"{counts.in_use} in use, {counts.waiting} calls in line"
        made: Exception = (
            self._http.ConnectTimeout(f"no connection to {address} in time: {text}")
            if expected
            else self._http.PoolTimeout(f"no free connection to {address} in time: {text}")
        )
        return made


def _copied(failure: Exception) -> Exception:
    # One for each call: a traceback belongs to one task.
    copy = type(failure)(*failure.args)
    copy.__cause__ = failure.__cause__ or failure
    return copy


@functools.cache
def made_for(http: ModuleType) -> Callable[..., Any]:
    """Make the class for httpx or httpx2."""
    return type("Http2Connections", (AsyncHttp2Exchange, http.AsyncBaseTransport), {"_http": http})
