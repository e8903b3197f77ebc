"""The connections of one node that may speak HTTP/2, for tasks on asyncio and trio."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import anyio

from rpcguard._connections.aio import AsyncExchange
from rpcguard._connections.asyncio_stream import AsyncioStream
from rpcguard._connections.exchange import StaleConnection
from rpcguard._connections.handshake import HandshakeFailed
from rpcguard._connections.http2.aio_connection import AsyncHttp2Connection
from rpcguard._connections.http2.calls import (
    FRESH_TRIES,
    Countdown,
    FieldCache,
    SpeaksHttp1,
    Unsent,
    copied,
    has_body,
    is_touched,
    traced,
    translated,
)
from rpcguard._connections.http2.channels import AsyncioChannel
from rpcguard._connections.http2.places import Place, PlaceBooks
from rpcguard._connections.http11 import HTTP11Connection
from rpcguard._wire.h2_counts import NodeCount
from rpcguard._wire.h2_faults import StreamRefused
from rpcguard._wire.h2_session import Http2Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from rpcguard._connections.library import Library
    from rpcguard._core.nodes.view import ConnectionCounts
    from rpcguard._wire.h2_counts import StreamCount
    from rpcguard._wire.h2_headers import Fields


class AsyncHttp2Body:
    """The body of an answer; closing it gives its place on the connection back."""

    __slots__ = ("__weakref__", "_exchange", "_place", "_request")

    def __init__(self, exchange: AsyncHttp2Exchange, place: Place, request: httpx.Request) -> None:
        self._exchange = exchange
        self._place: Place | None = place
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        place = self._place
        if place is None:
            return
        connection, stream = place.connection, place.stream
        trace = self._request.extensions.get("trace")
        info = {"request": self._request, "stream_id": stream.id}
        try:
            if trace is not None:
                await trace("http2.receive_response_body.started", info)
            while data := await connection.part(stream, self._request):
                yield data
            if trace is not None:
                await trace("http2.receive_response_body.complete", {"return_value": None})
        except BaseException as error:
            made = self._exchange.explain(error, place)
            try:
                if trace is not None and not isinstance(error, GeneratorExit):
                    await trace("http2.receive_response_body.failed", {"exception": error})
            finally:
                await self.aclose()
            if made is None:
                raise
            raise made from made.__cause__

    async def aclose(self) -> None:
        """Give the place back; what of the answer is still to come is cancelled."""
        place, self._place = self._place, None
        if place is None:
            return
        trace = self._request.extensions.get("trace")
        if trace is None:
            self._exchange.leave(place)
            return
        try:
            await trace("http2.response_closed.started", {"stream_id": place.stream.id})
        finally:
            self._exchange.leave(place)
        await trace("http2.response_closed.complete", {"return_value": None})

    def __del__(self) -> None:
        # Dropped unread and unclosed. A finalizer runs in any thread: what it finds is queued.
        place = getattr(self, "_place", None)  # none where it was interrupted as it was made
        if place is not None:
            self._exchange.dropped.append(place)


class AsyncHttp2Exchange(AsyncExchange):
    """Requests to one node over as few HTTP/2 connections as they fit on.

    A node that agrees on HTTP/1.1 in the TLS handshake is spoken to so, on the connection that is
    there and from then on; with `http1=False` HTTP/2 is spoken by prior knowledge. Calls wait for a
    connection that is being opened for `timeout["connect"]`, and in line for one with room for
    `timeout["pool"]`. What a connection refused because it ended, and not the node, goes to a fresh
    one, up to `FRESH_TRIES` times. Belongs to the event loop of its first request.
    """

    def __init__(
        self,
        library: Library,
        *,
        scheme: str,
        limits: httpx.Limits,
        http1: bool,
        streams: StreamCount | None = None,
        **options: Any,
    ) -> None:
        super().__init__(library, scheme=scheme, limits=limits, **options)
        self._h2_body = library.derive(AsyncHttp2Body, "AsyncByteStream")
        self._scheme = scheme
        self._offered = ["h2", "http/1.1"] if http1 else ["h2"]
        self._http1_names: set[str | None] = set()
        self._fields = FieldCache()
        self._count = NodeCount(streams)
        self._books = PlaceBooks(
            max_connections=limits.max_connections,
            max_idle=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            clock=self._clock,
            event=anyio.Event,
        )
        self.dropped = self._books.dropped

    @property
    def counts(self) -> ConnectionCounts:
        """The idle connections, those in use and the calls in line; safe from any thread."""
        return super().counts + self._books.counts

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request to the node, whatever its URL names; the response must be closed."""
        slot = self._slot(request)
        place = Place(slot.name, slot.oldest)
        if getattr(request, "fresh", False):
            place.renew(self._clock())
        try:
            answer = await self._sent(request, place)
        except BaseException as error:
            made = self.explain(error, place)
            self.leave(place)
            if made is None:
                raise
            raise made from made.__cause__
        if answer is not None:
            return answer
        self.leave(place)
        return await super().handle_async_request(request)

    async def aclose_idle(self) -> None:
        """Close the connections that no call uses."""
        self.close_idle()

    def close_idle(self) -> None:
        """Do what `aclose_idle` does, which waits for nothing."""
        self._books.close_idle()
        self._close_doomed()
        super().close_idle()

    def shut(self) -> None:
        """Do what `aclose` does, without an event loop if that has ended."""
        for connection in self._books.close():
            connection.close()
        self._close_doomed()
        super().shut()

    def sweep(self) -> None:
        """Close the idle connections that have expired, or that the node has closed."""
        self._settle_dropped()
        for connection in self._books.idle:
            connection.channel.take_in()
        self._serve()
        super().sweep()

    def leave(self, place: Place) -> None:
        """End a call's claim, and what is still to come of its answer; once is enough."""
        # No await in here: a cancelled caller still gives its place to the next in line.
        connection, stream, place.stream = place.connection, place.stream, None
        if connection is not None and stream is not None:
            connection.leave(stream)
        self._books.release(place)
        self._close_doomed()

    def explain(self, error: BaseException, place: Place) -> Exception | None:
        """Find the library's error for what ended a call; None for what passes as it is."""
        closed = self._books.closed
        made = translated(self._http, error, self._address, place, closed=closed)
        if made is not None and isinstance(made.__cause__, StaleConnection):
            self._idle_age.learn(self._clock() - place.connection.idle_since)
            self._books.close_idle()
        return made or self._translated(error)

    async def _sent(self, request: httpx.Request, place: Place) -> httpx.Response | None:
        fields = self._fields.prepare(request.headers.raw)
        left = FRESH_TRIES
        while await self._seated(request, place):
            try:
                return await self._exchanged(request, fields, place)
            except Unsent:
                if place.opened:
                    raise
            except StreamRefused as refusal:
                old = refusal.by_goaway and not place.connection.session.departing
                if not left or not old or is_touched(request.stream):
                    raise
                left -= 1
                place.renew(self._clock())
            self.leave(place)
        return None

    async def _seated(self, request: httpx.Request, place: Place) -> bool:
        """Get the place onto a connection; False where the node speaks HTTP/1.1."""
        self._settle_dropped()
        try:
            while place.name not in self._http1_names:
                if not self._books.request(place):
                    await self._wait_in_line(request, place)
                self._close_doomed()
                if place.opened:
                    await self._open(request, place)
                    return True
                if place.reused:
                    place.connection.channel.take_in()
                if place.connection.usable:
                    return True
                self._books.release(place)
        except SpeaksHttp1:
            self._http1_names.add(place.name)
        return False

    async def _wait_in_line(self, request: httpx.Request, place: Place) -> None:
        timeouts, books = request.extensions.get("timeout", {}), self._books
        opening, turn = Countdown(timeouts, "connect"), Countdown(timeouts, "pool")
        while books.waits(place):
            expected = books.expects(place.name)
            left = opening.left() if expected else turn.left()
            if left is not None and left <= 0.0:
                raise self._too_late(place, expected=expected)
            with anyio.move_on_after(left):
                await place.event.wait()
        if books.closed:
            raise self._closed()
        if place.failure is not None:
            raise copied(place.failure)

    async def _open(self, request: httpx.Request, place: Place) -> None:
        try:
            connection = await self._dial_either(request, place)
        except (SpeaksHttp1, self._core.ConnectError) as failure:
            self._books.failed(place, failure)
            raise
        self._books.opened(place, connection)
        if self._books.closed:
            raise self._closed()

    async def _dial_either(self, request: httpx.Request, place: Place) -> AsyncHttp2Connection:
        stream = await self._dialled(request, place.name, self._offered)
        try:
            if not self._speaks_http2(stream):
                self._adopt(stream, place.name)
                raise SpeaksHttp1
            session = Http2Session(on_room=self._serve, count=self._count)
            connection = AsyncHttp2Connection(
                self._http, self._channel(stream, session), session, place.name
            )
            await traced(request, "http2.send_connection_init", {}, connection.start)
        except SpeaksHttp1:
            raise
        except BaseException:
            stream.close()
            raise
        return connection

    def _speaks_http2(self, stream: Any) -> bool:
        secure = stream.get_extra_info("ssl_object")
        agreed = None if secure is None else secure.selected_alpn_protocol()
        return agreed == "h2" or "http/1.1" not in self._offered

    def _adopt(self, stream: Any, name: str | None) -> None:
        connection = HTTP11Connection(stream, name, self._parse)
        self._watch(connection)
        self._stack.adopt(connection)
        self._reap()  # it may be one too many

    def _channel(self, stream: Any, session: Http2Session) -> Any:
        if isinstance(stream, AsyncioStream):
            return AsyncioChannel(stream, session)
        from rpcguard._connections.http2.trio_channel import TrioChannel  # only where trio is used

        return TrioChannel(stream, session)

    async def _exchanged(
        self, request: httpx.Request, fields: Fields, place: Place
    ) -> httpx.Response:
        connection: AsyncHttp2Connection = place.connection
        place.frames_before = connection.session.frames

        async def send() -> None:
            place.stream = connection.begin(request, fields, self._scheme)

        info: dict[str, Any] = {"request": request}
        await traced(request, "http2.send_request_headers", info, send)
        stream = place.stream
        info["stream_id"] = stream.id
        if has_body(fields):
            upload = functools.partial(connection.upload, stream, request, fields.length)
            await traced(request, "http2.send_request_body", info, upload)
        wait = functools.partial(connection.head, stream, request)
        status, headers = await traced(request, "http2.receive_response_headers", info, wait)
        body = self._h2_body(self, place, request)
        response: httpx.Response = self._http.Response(
            status, headers=headers, stream=body, extensions=connection.extensions(stream)
        )
        return response

    def _settle_dropped(self) -> None:
        while self.dropped:
            self.leave(self.dropped.popleft())

    def _serve(self) -> None:
        self._books.expire()
        self._books.serve()
        self._close_doomed()

    def _close_doomed(self) -> None:
        for connection in self._books.reap():
            connection.close()

    def _too_late(self, place: Place, *, expected: bool) -> Exception:
        counts, address = self._books.counts, self._address
        kind = self._core.ConnectTimeout if expected else self._core.PoolTimeout
        late: Exception = kind(
            f"no free connection to {address} in time: "
            f"{counts.in_use} in use, {counts.waiting} calls in line"
        )
        if expected and not self._books.opens(place.name):
            late.__cause__ = HandshakeFailed("TCP stood, and the node did not begin HTTP/2")
        return late
