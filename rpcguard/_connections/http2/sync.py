"""The connections of one node that may speak HTTP/2, for threads: one call at a time on each."""

from __future__ import annotations

import functools
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

from rpcguard._connections.http2.calls import (
    Countdown,
    FieldCache,
    SpeaksHttp1,
    Unsent,
    has_body,
    is_touched,
    timeouts_of,
    traced_now,
    translated,
)
from rpcguard._connections.http2.dialling import Dialler
from rpcguard._connections.http2.sync_connection import SyncHttp2Connection
from rpcguard._connections.stack import Slot, Stack, StackClosed
from rpcguard._core.outcomes.responses import GOAWAY
from rpcguard._wire.h2_faults import StreamRefused
from rpcguard._wire.h2_session import Http2Session

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType

    import httpx

    from rpcguard._core.nodes.view import ConnectionCounts
    from rpcguard._wire.h2_headers import Fields
    from rpcguard._wire.h2_streams import Http2Stream


class SyncHttp2Body(Slot):
    """The body of an answer; closing it gives its connection back."""

    __slots__ = ("_exchange", "_request", "frames_before", "open", "stream")

    connection: Any

    def __init__(self, exchange: SyncHttp2Exchange, request: Any, name: str | None) -> None:
        super().__init__(name)
        self._exchange = exchange
        self._request = request
        self.open: bool = True
        self.stream: Http2Stream | None = None
        self.frames_before: int = 0

    def __iter__(self) -> Iterator[bytes]:
        connection, stream = self.connection, self.stream
        if not self.open or connection is None or stream is None:
            return
        part = functools.partial(connection.part, stream, timeouts_of(self._request))
        info = {"request": self._request, "stream_id": stream.id}
        trace = self._request.extensions.get("trace")
        try:
            if trace is not None:
                trace("http2.receive_response_body.started", info)
            while data := part():
                yield data
            if trace is not None:
                trace("http2.receive_response_body.complete", {"return_value": None})
        except BaseException as error:
            made = self._exchange.translated(error, self)
            self._exchange.release(self, keep=isinstance(error, Exception | GeneratorExit))
            if made is None:
                raise
            raise made from made.__cause__

    def close(self) -> None:
        """Give the connection back; what of the answer is still to come is cancelled."""
        self._exchange.release(self)


class SyncHttp2Exchange:
    """Requests to one node over HTTP/2 from any thread; see `AsyncHttp2Exchange`.

    A connection carries one call at a time, as over HTTP/1.1: threads that share one would wait for
    each other's locks on every frame.
    """

    _http: ClassVar[ModuleType]
    _body: ClassVar[type[SyncHttp2Body]]

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
            kind._body = type("Body", (SyncHttp2Body, kind._http.SyncByteStream), {})
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
        self._stack = Stack(
            max_connections=limits.max_connections,
            max_idle=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            clock=clock,
            event=threading.Event,
        )
        self._lock = threading.Lock()
        self._http1_names: set[str | None] = set()

    @property
    def counts(self) -> ConnectionCounts:
        """Count the idle connections, those in use and the calls in line; safe from any thread."""
        counts = self._stack.counts
        return counts if self._fallback is None else counts + self._fallback.counts

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request to the node, whatever its URL names; the response must be closed."""
        lease = self._body(self, request, self._server_name(request))
        try:
            answer = self._send(request, lease)
        except BaseException as error:
            made = self.translated(error, lease)
            self.release(lease, keep=isinstance(error, Exception))
            if made is None:
                raise
            raise made from made.__cause__
        if answer is not None:
            return answer
        self.release(lease)
        response: httpx.Response = self._http1().handle_request(request)
        return response

    def close(self) -> None:
        """Close the idle connections and cut those in use, whose calls get an httpx error.

        Any thread may call, more than once. Later requests get `httpx.ConnectError`.
        """
        with self._lock:
            busy = self._stack.close()
        for connection in busy:
            connection.channel.cut()
        self._reap()
        if self._fallback is not None:
            self._fallback.close()

    def close_idle(self) -> None:
        """Close the connections that no call uses; any thread may call."""
        with self._lock:
            self._stack.close_idle()
        self._reap()
        if self._fallback is not None:
            self._fallback.close_idle()

    def release(self, lease: SyncHttp2Body, *, keep: bool = True) -> None:
        """End a call's claim, and what is still to come of its answer; once is enough."""
        if not lease.open:
            return
        connection, stream = lease.connection, lease.stream
        try:
            if connection is not None and stream is not None and keep:
                connection.leave(stream)
                keep = connection.usable and not connection.channel.full
        except BaseException:
            keep = False
            raise
        finally:
            lease.open = False
            lease.stream = None
            with self._lock:
                self._stack.release(lease, keep=keep and connection is not None)
            self._reap()

    def translated(self, error: BaseException, lease: SyncHttp2Body) -> Exception | None:
        """Find the library's error for what ended a call; None for what passes as it is."""
        connection = lease.connection
        quiet = (
            lease.reused
            and lease.stream is not None
            and connection is not None
            and connection.session.frames == lease.frames_before
        )
        address = self._dialler.address
        return translated(self._http, error, address, quiet=quiet, closed=self._stack.closed)

    def _send(self, request: httpx.Request, lease: SyncHttp2Body) -> httpx.Response | None:
        fields = FieldCache().prepare(request.headers.raw)
        again = False
        if not self._seated(request, lease):
            return None
        while True:
            opened = lease.connection is None
            if opened:
                try:
                    self._open(request, lease)
                except SpeaksHttp1:
                    self._http1_names.add(lease.name)
                    return None
            try:
                return self._exchanged(request, fields, lease)
            except Unsent:
                if opened:
                    raise
            except StreamRefused as refusal:
                old = refusal.by_goaway and not lease.connection.session.departing
                if again or not old or is_touched(request.stream):
                    raise
                again = True
            lease.stream = None
            with self._lock:
                self._stack.replace(lease)
            self._reap()

    def _seated(self, request: httpx.Request, lease: SyncHttp2Body) -> bool:
        """Get a connection, or the leave to open one; False where the node speaks HTTP/1.1."""
        if lease.name in self._http1_names:
            return False
        stack = self._stack
        with self._lock:
            granted = stack.request(lease)
        if not granted:
            lease.event.wait(timeouts_of(request).get("pool"))
            with self._lock:
                self._check_granted(lease)
        while lease.connection is not None:
            lease.connection.channel.take_in()
            if lease.connection.usable:
                break
            with self._lock:
                stack.replace(lease)
        self._reap()
        return True

    def _open(self, request: httpx.Request, lease: SyncHttp2Body) -> None:
        dialler = self._dialler
        channel = self._in_time(request, "connection.connect_tcp", dialler.connect_now)
        try:
            if lease.name is not None:
                secure = functools.partial(channel.secure_now, dialler.context(), lease.name)
                agreed = self._in_time(request, "connection.start_tls", secure)
                if agreed != "h2" and self._make_fallback is not None:
                    raise SpeaksHttp1
            connection = SyncHttp2Connection(self._http, channel, Http2Session(), lease.name)
            traced_now(request, "http2.send_connection_init", {}, connection.start)
        except BaseException:
            channel.abort()
            raise
        lease.connection = connection
        if self._stack.closed:
            raise self._closed()

    def _in_time(
        self, request: httpx.Request, event: str, step: Callable[[float | None], Any]
    ) -> Any:
        left = Countdown(timeouts_of(request), "connect").left()
        if left is not None and left <= 0.0:
            raise self._http.ConnectTimeout("no time left to connect")
        try:
            return traced_now(request, event, self._dialler.where, lambda: step(left))
        except TimeoutError as error:
            raise self._http.ConnectTimeout(f"no connection to {self._dialler.address}") from error
        except OSError as error:
            raise self._http.ConnectError(str(error)) from error

    def _exchanged(
        self, request: httpx.Request, fields: Fields, lease: SyncHttp2Body
    ) -> httpx.Response:
        connection: SyncHttp2Connection = lease.connection
        session = connection.session
        lease.frames_before = session.frames

        def send() -> None:
            lease.stream = connection.begin(request, fields, self._scheme)

        info: dict[str, Any] = {"request": request}
        traced_now(request, "http2.send_request_headers", info, send)
        stream = lease.stream
        assert stream is not None
        info["stream_id"] = stream.id
        if has_body(fields):
            upload = functools.partial(connection.upload, stream, request, fields.length)
            traced_now(request, "http2.send_request_body", info, upload)
        patience = getattr(request, "patience", None)
        wait = functools.partial(connection.head, stream, timeouts_of(request), patience)
        status, headers = traced_now(request, "http2.receive_response_headers", info, wait)
        extensions: dict[str, Any] = {
            "http_version": b"HTTP/2",
            "network_stream": connection.channel,
            "stream_id": stream.id,
        }
        if session.departing:
            extensions[GOAWAY] = True
        response: httpx.Response = self._http.Response(
            status, headers=headers, stream=lease, extensions=extensions
        )
        return response

    def _check_granted(self, lease: SyncHttp2Body) -> None:
        if self._stack.closed:
            raise self._closed()
        if lease not in self._stack.in_use:
            counts = self._stack.counts
            raise self._http.PoolTimeout(
                f"no free connection to {self._dialler.address} in time: "
                f"{counts.in_use} in use, {counts.waiting} calls in line"
            )

    def _server_name(self, request: httpx.Request) -> str | None:
        if self._scheme != "https":
            return None
        name: str | None = request.extensions.get("sni_hostname")
        return name or request.url.raw_host.decode("ascii")

    def _http1(self) -> Any:
        with self._lock:
            if self._fallback is None:
                assert self._make_fallback is not None
                self._fallback = self._make_fallback()
        return self._fallback

    def _closed(self) -> StackClosed:
        return StackClosed(f"the connections to {self._dialler.address} are closed")

    def _reap(self) -> None:
        if self._stack.doomed:
            with self._lock:
                doomed = self._stack.reap()
            for connection in doomed:
                connection.close()


@functools.cache
def made_for(http: ModuleType) -> Callable[..., Any]:
    """Make the class for httpx or httpx2."""
    return type("Http2Connections", (SyncHttp2Exchange, http.BaseTransport), {"_http": http})
