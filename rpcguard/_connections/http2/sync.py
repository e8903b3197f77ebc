"""The connections of one node that may speak HTTP/2, for threads: one call at a time on each."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from rpcguard._connections.book_keeping import LineBell
from rpcguard._connections.exchange import StaleConnection, timeouts
from rpcguard._connections.http2.calls import (
    FRESH_TRIES,
    FieldCache,
    Unsent,
    has_body,
    is_touched,
    traced_now,
    translated,
)
from rpcguard._connections.http2.sync_channel import SyncChannel
from rpcguard._connections.http2.sync_connection import SyncHttp2Connection
from rpcguard._connections.http11 import HTTP11Connection
from rpcguard._connections.stack import UNUSED, Slot, Stack
from rpcguard._connections.sync import SyncExchange
from rpcguard._wire.h2_counts import NodeCount
from rpcguard._wire.h2_faults import StreamRefused
from rpcguard._wire.h2_session import Http2Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from rpcguard._connections.library import Library
    from rpcguard._core.nodes.view import ConnectionCounts
    from rpcguard._wire.h2_counts import StreamCount
    from rpcguard._wire.h2_headers import Fields
    from rpcguard._wire.h2_streams import Http2Stream


class Http2Slot(Slot):
    """One call's claim to an HTTP/2 connection, and its stream while there is one."""

    __slots__ = ("frames_before", "stream")

    def __init__(self, name: str | None, oldest: float) -> None:
        super().__init__(name, oldest)
        self.stream: Http2Stream | None = None
        self.frames_before: int = 0


class SyncHttp2Body:
    """The body of an answer; closing it gives its connection back."""

    __slots__ = ("__weakref__", "_exchange", "_request", "_slot")

    def __init__(
        self, exchange: SyncHttp2Exchange, slot: Http2Slot, request: httpx.Request
    ) -> None:
        self._exchange = exchange
        self._slot: Http2Slot | None = slot
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        slot = self._slot
        if slot is None:
            return
        connection, stream = slot.connection, slot.stream
        assert stream is not None
        trace = self._request.extensions.get("trace")
        info = {"request": self._request, "stream_id": stream.id}
        try:
            if trace is not None:
                trace("http2.receive_response_body.started", info)
            while data := connection.part(stream, self._request):
                yield data
            if trace is not None:
                trace("http2.receive_response_body.complete", {"return_value": None})
        except BaseException as error:
            made = self._exchange.explain(error, slot)
            try:
                if trace is not None and not isinstance(error, GeneratorExit):
                    trace("http2.receive_response_body.failed", {"exception": error})
            finally:
                self.close(keep=isinstance(error, Exception | GeneratorExit))
            if made is None:
                raise
            raise made from made.__cause__

    def close(self, *, keep: bool = True) -> None:
        """Give the connection back; what of the answer is still to come is cancelled.

        `keep=False` closes the connection: nobody knows in what state an interrupt has left it.
        """
        slot = self._slot
        if slot is None:
            return
        try:
            self._exchange.leave(slot, keep=keep)
        except BaseException:
            # KeyboardInterrupt may have cut the first one; leaving twice is harmless.
            self._exchange.leave(slot, keep=False)
            raise
        finally:
            self._slot = None
        trace = self._request.extensions.get("trace")
        if trace is not None:
            trace("http2.response_closed.started", {})
            trace("http2.response_closed.complete", {"return_value": None})

    def __del__(self) -> None:
        # Dropped unread and unclosed. A finalizer runs anywhere, under any lock: it takes none.
        slot = getattr(self, "_slot", None)  # none where it was interrupted as it was made
        if slot is not None:
            self._exchange.dropped.append(slot)


class SyncHttp2Exchange(SyncExchange):
    """Requests to one node over HTTP/2 from any thread; see `AsyncHttp2Exchange`.

    A connection carries one call at a time, as over HTTP/1.1: threads that share one would wait for
    each other's locks on every frame.
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
        self._h2_body = library.derive(SyncHttp2Body, "SyncByteStream")
        self._scheme = scheme
        self._offered = ["h2", "http/1.1"] if http1 else ["h2"]
        self._http1_names: set[str | None] = set()
        self._count = NodeCount(streams)
        # Apart from those of HTTP/1.1, whose stack serves a node that agrees on nothing better.
        self._h2 = Stack(
            max_connections=limits.max_connections,
            max_idle=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            clock=self._clock,
            event=LineBell,
        )
        self._guard(self._h2)
        self.dropped = self._h2.dropped

    @property
    def counts(self) -> ConnectionCounts:
        """The idle connections, those in use and the calls in line; safe from any thread."""
        return super().counts + self._h2.counts

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request to the node, whatever its URL names; the response must be closed."""
        found = self._slot(request)
        slot = Http2Slot(found.name, found.oldest)
        try:
            answer = self._sent(request, slot)
        except BaseException as error:
            made = self.explain(error, slot)
            self.leave(slot, keep=isinstance(error, Exception))
            if made is None:
                raise
            raise made from made.__cause__
        if answer is not None:
            return answer
        self.leave(slot, keep=False)
        return super().handle_request(request)

    def _end(self) -> None:
        for connection in self._h2.close():
            connection.channel.stream.cut()
        super()._end()

    def _doom_what_is_over(self) -> None:
        self._h2.settle_dropped()
        self._h2.expire()
        for connection in self._h2.idle:
            connection.channel.take_in()
            if not connection.usable:
                self._h2.discard(connection)
        super()._doom_what_is_over()

    def leave(self, slot: Http2Slot, *, keep: bool) -> None:
        """End a call's claim, and what is still to come of its answer; once is enough."""
        connection, stream = slot.connection, slot.stream
        try:
            if keep and connection is not None and stream is not None:
                connection.leave(stream)
                keep = connection.usable and not connection.channel.full
        except BaseException:
            keep = False
            raise
        finally:
            slot.stream, slot.keep = None, keep
            self.dropped.append(slot)
            self._catch_up()
            self._reap()

    def explain(self, error: BaseException, slot: Http2Slot) -> Exception | None:
        """Find the library's error for what ended a call; None for what passes as it is."""
        made = translated(self._http, error, self._address, slot, closed=self._h2.closed)
        if made is not None and isinstance(made.__cause__, StaleConnection):
            self._idle_age.learn(self._clock() - slot.connection.idle_since)
            self._alone(self._h2.close_idle)
        return made or self._translated(error)

    def _sent(self, request: httpx.Request, slot: Http2Slot) -> httpx.Response | None:
        fields = FieldCache().prepare(request.headers.raw)
        left = FRESH_TRIES
        if not self._seated(request, slot):
            return None
        while True:
            opened = slot.connection is None
            if opened and not self._open(request, slot):
                return None
            try:
                return self._exchanged(request, fields, slot)
            except Unsent:
                if opened:
                    raise
            except StreamRefused as refusal:
                old = refusal.by_goaway and not slot.connection.session.departing
                if not left or not old or is_touched(request.stream):
                    raise
                left, slot.oldest = left - 1, UNUSED
            self._replace(slot)

    def _seated(self, request: httpx.Request, slot: Http2Slot) -> bool:
        """Get a connection, or the leave to open one; False where the node speaks HTTP/1.1."""
        if slot.name in self._http1_names:
            return False
        if not self._is_granted(self._h2, slot):
            slot.event.wait(timeouts(request).get("pool"))
            self._alone(functools.partial(self._check, slot))
            if slot.name in self._http1_names:  # as was found meanwhile
                return False
        if self._h2.doomed:  # to make room, or since its time is up
            self._reap()
        while slot.connection is not None:
            slot.connection.channel.take_in()
            if slot.connection.usable:
                break
            self._replace(slot)
        return True

    def _replace(self, slot: Http2Slot) -> None:
        slot.stream = None
        if self._is_nested():
            self._h2.doomed.append(slot.connection)
            slot.connection = None
        else:
            self._alone(functools.partial(self._h2.replace, slot))
        self._reap()

    def _open(self, request: httpx.Request, slot: Http2Slot) -> bool:
        stream = self._dialled(request, slot.name, self._offered)
        try:
            if not self._speaks_http2(stream):
                self._http1_names.add(slot.name)
                made = HTTP11Connection(stream, slot.name, self._parse)
                self._alone(functools.partial(self._stack.adopt, made))
                return False
            session = Http2Session(count=self._count)
            connection = SyncHttp2Connection(
                self._http, SyncChannel(stream, session), session, slot.name
            )
            traced_now(request, "http2.send_connection_init", {}, connection.start)
        except BaseException:
            stream.close()
            raise
        slot.connection = connection
        if self._h2.closed:
            raise self._closed()
        return True

    def _speaks_http2(self, stream: Any) -> bool:
        secure = stream.get_extra_info("ssl_object")
        agreed = None if secure is None else secure.selected_alpn_protocol()
        return agreed == "h2" or "http/1.1" not in self._offered

    def _exchanged(self, request: httpx.Request, fields: Fields, slot: Http2Slot) -> httpx.Response:
        connection: SyncHttp2Connection = slot.connection
        slot.frames_before = connection.session.frames

        def send() -> None:
            slot.stream = connection.begin(request, fields, self._scheme)

        info: dict[str, Any] = {"request": request}
        traced_now(request, "http2.send_request_headers", info, send)
        stream = slot.stream
        assert stream is not None
        info["stream_id"] = stream.id
        if has_body(fields):
            upload = functools.partial(connection.upload, stream, request, fields.length)
            traced_now(request, "http2.send_request_body", info, upload)
        wait = functools.partial(connection.head, stream, request)
        status, headers = traced_now(request, "http2.receive_response_headers", info, wait)
        response: httpx.Response = self._http.Response(
            status,
            headers=headers,
            stream=self._h2_body(self, slot, request),
            extensions=connection.extensions(stream),
        )
        return response

    def _check(self, slot: Http2Slot) -> None:
        if self._h2.closed:
            raise self._closed()
        if slot not in self._h2.in_use:
            counts = self._h2.counts
            raise self._core.PoolTimeout(
                f"no free connection to {self._address} in time: "
                f"{counts.in_use} in use, {counts.waiting} calls in line"
            )
