"""The HTTP/1.1 connections of one node, for threads."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import httpx

from rpcguard._connections.exchange import Exchange, timeouts
from rpcguard._connections.requests import SyncStream
from rpcguard._connections.stack import Connection, Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType


class SyncBody(Slot):
    """Stream the body of a response; closing it gives the connection back."""

    __slots__ = ("_exchange", "parts")

    def __init__(self, exchange: SyncExchange, name: str | None) -> None:
        super().__init__(name)
        self._exchange = exchange
        self.parts: Any = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self.parts
            self._exchange._check_whole()
        except BaseException as exc:
            error = self._exchange._translated(exc)
            self.close()
            if error is None:
                raise
            raise error from exc

    def close(self) -> None:
        """Give the connection back, or close it when the body was not read to its end."""
        parts, self.parts = self.parts, None
        if parts is None:
            return
        try:
            parts.close()
            self._exchange._release(self)
        except BaseException:
            self._exchange._release(self)  # Ctrl-C may have come in its middle; twice is as once
            raise


class SyncExchange(Exchange):
    """Send requests to one node from any thread; see `ConnectionStack`."""

    _event = threading.Event
    _body: ClassVar[type[SyncBody]]

    @classmethod
    def _bind(cls) -> None:
        super()._bind()
        cls._body = type("Body", (SyncBody, cls._http.SyncByteStream), {})
        cls._stream = type("Stream", (SyncStream, cls._core.NetworkStream), {"core": cls._core})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request to the node, whatever its URL names; the response must be closed."""
        lease = self._body(self, self._server_name(request))
        try:
            return self._send(request, lease)
        except BaseException as exc:
            error = self._translated(exc, lease)
            self._release(lease)
            if error is None:
                raise
            raise error from error.__cause__

    def close(self) -> None:
        """Close the idle connections and cut those in use, whose calls get an httpx error.

        Any thread may call, more than once. A thread blocked in a read wakes up at once. Later
        requests get `httpx.ConnectError`.
        """
        with self._lock:
            busy = self._stack.close()
        for connection in busy:
            # Not the method of SSLSocket, which takes its TLS state from under a reading thread.
            with contextlib.suppress(OSError):  # it ended by itself
                socket.socket.shutdown(connection.stream.get_extra_info("socket"), socket.SHUT_RDWR)
        self._reap()

    def close_idle(self) -> None:
        """Close the connections that no call uses; any thread may call."""
        with self._lock:
            self._stack.close_idle()
        self._reap()

    def _send(self, request: httpx.Request, lease: SyncBody) -> httpx.Response:
        stack = self._stack
        with self._lock:
            granted = stack.request(lease)
        if not granted:
            lease.event.wait(timeouts(request).get("pool"))
            with self._lock:
                self._check_granted(lease)
        while lease.connection is not None and lease.connection.stream.ended():
            with self._lock:
                stack.replace(lease)
        if stack.doomed:
            self._reap()
        connection = lease.connection or self._dial(request, lease)
        answer = connection.http.handle_request(self._outgoing(request, connection))
        lease.parts = answer.stream
        return self._incoming(request, answer, lease)

    def _dial(self, request: httpx.Request, lease: Slot) -> Connection:
        trace = request.extensions.get("trace")
        event, options = self._dialling(request)
        stream = _traced(trace, event, getattr(self._core.SyncBackend(), event), options)
        try:
            if lease.name is not None:
                options = self._securing(request, lease.name)
                stream = _traced(trace, "start_tls", stream.start_tls, options)
        except BaseException:
            stream.close()
            raise
        return self._opened(self._core.HTTP11Connection, stream, lease)

    def _release(self, lease: Slot) -> None:
        connection = lease.connection
        keep = connection is not None and connection.http.is_idle()
        with self._lock:
            self._stack.release(lease, keep=keep)
        if self._stack.doomed:
            self._reap()

    def _reap(self) -> None:
        with self._lock:
            doomed = self._stack.reap()
        for connection in doomed:
            connection.http.close()


class ConnectionStack(SyncExchange, httpx.BaseTransport):
    """Send HTTP/1.1 requests to one node over a LIFO stack of kept connections.

    It always dials its own address; the request's URL gives the target and, for https, the TLS
    name unless `sni_hostname` does, and a connection made for one name never serves another.
    `limits` count for this node; calls wait in line for `timeout["pool"]`. A timeout mapping may
    shrink while it is used; its `clamp(timeout)`, if there is one, bounds every read and write.
    `ssl_context` may be a function that makes it. Times are seconds of `clock`. Raises what
    `httpx.HTTPTransport` raises; a kept connection that had ended is told by a `StaleConnection`
    as the cause. Thread-safe; whoever made it closes it.
    """

    _http: ClassVar[ModuleType] = httpx
    _core: ClassVar[Any] = "httpcore"


def _traced(
    trace: Callable[[str, dict[str, Any]], Any] | None,
    event: str,
    call: Callable[..., Any],
    options: dict[str, Any],
) -> Any:
    if trace is None:
        return call(**options)
    trace(f"connection.{event}.started", options)
    try:
        result = call(**options)
    except BaseException as exc:
        trace(f"connection.{event}.failed", {"exception": exc})
        raise
    trace(f"connection.{event}.complete", {"return_value": result})
    return result
