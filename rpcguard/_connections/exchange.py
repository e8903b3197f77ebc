"""What the shells of a node's connections share: requests, names, timeouts, errors."""

from __future__ import annotations

import math
import ssl
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from rpcguard._clock import lasting
from rpcguard._connections.books import StackClosed
from rpcguard._connections.dial import Destination
from rpcguard._connections.http11 import HTTP11Connection, Sending
from rpcguard._connections.idle_age import IdleAge
from rpcguard._connections.stack import UNUSED, Slot, Stack
from rpcguard._core.outcomes.responses import CROSSED, EARLY
from rpcguard._wire.parsers import head_parser
from rpcguard._wire.request import HeaderBlocks, request_line
from rpcguard._wire.violations import LocalViolation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import httpx

    from rpcguard._connections.books import Waiter
    from rpcguard._connections.library import Library
    from rpcguard._core.nodes.view import ConnectionCounts
    from rpcguard._wire.head import ResponseHead

SocketOption = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)

_NO_TIMEOUTS: Mapping[str, float | None] = MappingProxyType({})
_REQUEST_TIMEOUT = 408  # RFC 9110 §15.5.9

HTTP1_ONLY = ("http/1.1",)
"""What is offered in the TLS handshake (ALPN) where nothing else is spoken."""


class StaleConnection(Exception):  # noqa: N818
    """A kept-alive connection ended before any byte of the response.

    It is the cause of the httpx error that the caller gets; its own cause is the httpcore error.
    The node most likely closed an idle connection, but it may have read the request and crashed.
    A connection opened for the call is never stale, and a timeout never is.
    """


def timeouts(request: httpx.Request) -> Mapping[str, float | None]:
    """Find the timeouts of a request; ask when a stage begins, for a deadline shrinks them."""
    found: Mapping[str, float | None] = request.extensions.get("timeout", _NO_TIMEOUTS)
    return found


class WholeBody:
    """A body all of which came with its head: its connection is free for others already."""

    whole = True


class Exchange:
    """Requests and responses of httpx on connections of our own, and their errors.

    `library` is httpx or httpx2, whose errors are raised. Of the core below it only the errors and
    the interface of a network stream are used, or those of its stand-in; and its requests, which
    trace hooks see.
    """

    _event: ClassVar[type[Waiter]]
    _body: Callable[..., Any]

    def __init__(
        self,
        library: Library,
        *,
        scheme: str,
        host: str,
        port: int,
        ssl_context: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None,
        limits: httpx.Limits,
        local_address: str | None = None,
        uds: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
        clock: Callable[[], float] = lasting,
        idle_age: IdleAge | None = None,
    ) -> None:
        self._library, self._http, self._core = library, library.http, library.core
        self._errors = library.errors_of(self._core)
        self._tls = scheme == "https"
        self._url = {"scheme": scheme.encode(), "host": host.encode(), "port": port}
        self._address = f"{host}:{port}" if uds is None else uds
        self._ssl_context = ssl_context
        self._destination = Destination(
            host=host,
            port=port,
            path=uds,
            local_address=local_address,
            socket_options=tuple(socket_options or ()),
        )
        self._parse = head_parser()
        self._clock = clock
        self._idle_age = idle_age or IdleAge(clock)
        self._blocks = HeaderBlocks()
        self._whole = library.derive(WholeBody, "ByteStream")
        self._stack = Stack(
            max_connections=limits.max_connections,
            max_idle=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            clock=clock,
            event=self._event,
        )

    @property
    def counts(self) -> ConnectionCounts:
        """The idle connections, those in use and the calls in line; safe from any thread."""
        return self._stack.counts

    def _slot(self, request: httpx.Request) -> Slot:
        # A request that may go again risks a connection that the node is about to close.
        oldest = math.inf if getattr(request, "repeatable", True) else self._idle_age.limit
        if getattr(request, "fresh", False):
            oldest = UNUSED
        if not self._tls:
            return Slot(None, oldest)
        name: str | None = request.extensions.get("sni_hostname")
        return Slot(name or request.url.raw_host.decode("ascii"), oldest)

    def _sending(self, request: httpx.Request) -> Sending:
        """Write the request; raises `LocalProtocolError` for what HTTP/1.1 cannot say."""
        extensions = request.extensions
        stream: Any = request.stream  # of a class that is known when it runs
        traced = "trace" in extensions
        if not request.method.isascii() or "target" in extensions:
            made = self._core_request(request)  # checks both, in httpcore's words
            method, target = made.method, made.url.target
        else:
            method, target = request.method.encode(), request.url.raw_path
        try:
            return Sending(
                method,
                request_line(method, target),
                self._blocks.of(request.headers.raw),
                b"".join(stream) if isinstance(stream, self._http.ByteStream) else None,
                extensions.get("timeout", _NO_TIMEOUTS),
                (lambda: self._core_request(request)) if traced else None,
            )
        except LocalViolation as error:
            raise self._core.LocalProtocolError(str(error)) from error

    def _core_request(self, request: httpx.Request) -> Any:
        core = self._library.load_core()
        url = core.URL(**self._url, target=request.url.raw_path)
        return core.Request(
            request.method, url, headers=request.headers.raw, extensions=request.extensions
        )

    def _answer(self, request: httpx.Request, head: ResponseHead, slot: Slot) -> httpx.Response:
        connection: HTTP11Connection = slot.connection
        # Most answers are short: a body that looks after a connection costs more than to read it.
        reader, most = connection.reader, getattr(request, "buffered", 0)
        whole = most and reader.complete and reader.sized and len(reader.data) <= most
        whole = whole and "trace" not in request.extensions
        stream = self._whole(reader.take()) if whole else self._body(self, slot, request)
        extensions = {
            "http_version": head.version,
            "reason_phrase": head.reason,
            "network_stream": connection.stream,
        }
        if connection.reader.leading is not None:
            connection.hand_over(self._library.load_core())
        elif not connection.sent:
            extensions[EARLY] = True
        elif head.status == _REQUEST_TIMEOUT and connection.used:
            extensions[CROSSED] = True
            self._ended_idle(connection)
        response: httpx.Response = self._http.Response(
            head.status, headers=head.fields, stream=stream, extensions=extensions
        )
        if whole:
            self._release(slot)
        return response

    def _release(self, slot: Slot) -> None:
        raise NotImplementedError

    def _connect_timeout(self, request: httpx.Request) -> float | None:
        timeout = timeouts(request).get("connect")
        if timeout is not None and timeout <= 0:
            raise self._core.ConnectTimeout("no time left")
        return timeout

    def _dialling(self, timeout: float | None) -> tuple[str, dict[str, Any]]:
        """Give the name of the step and what a trace hook is told of it."""
        where, options = self._destination, list(self._destination.socket_options) or None
        if where.path is not None:
            told = {"path": where.path, "timeout": timeout, "socket_options": options}
            return "connect_unix_socket", told
        told = {"host": where.host, "port": where.port, "local_address": where.local_address}
        return "connect_tcp", {**told, "timeout": timeout, "socket_options": options}

    def _securing(self, name: str, timeout: float | None) -> dict[str, Any]:
        context = self._ssl_context
        if context is None:
            context = self._ssl_context = self._http.create_ssl_context()
        if not isinstance(context, ssl.SSLContext):
            context = context()
        return {"ssl_context": context, "server_hostname": name, "timeout": timeout}

    def _opened(self, stream: Any, slot: Slot) -> HTTP11Connection:
        connection = HTTP11Connection(stream, slot.name, self._parse)
        slot.connection = connection
        if self._stack.closed:
            raise self._closed()
        return connection

    def _lost(self, connection: HTTP11Connection, error: Exception) -> None:
        """Take in that a connection was no good before the first byte; raises for a fresh one."""
        if not connection.used:
            raise self._core.ConnectError(str(error)) from error
        self._idle_age.learn(self._clock() - connection.idle_since)

    def _check_granted(self, slot: Slot) -> None:
        if self._stack.closed:
            raise self._closed()
        if slot not in self._stack.in_use:
            counts = self._stack.counts
            raise self._core.PoolTimeout(
                f"no free connection to {self._address} in time: "
                f"{counts.in_use} in use, {counts.waiting} calls in line"
            )

    def _closed(self) -> StackClosed:
        return StackClosed(f"the connections to {self._address} are closed")

    def _keeps(self, connection: HTTP11Connection | None) -> bool:
        """Tell whether a connection may serve another call; note that it served one."""
        if connection is None or not connection.reusable:
            return False
        connection.used = True
        if connection.reader.keep_alive is not None:
            self._idle_age.learn(connection.reader.keep_alive)
        return True

    def _translated(self, exc: BaseException, slot: Slot | None = None) -> Exception | None:
        """Find the httpx error for one of httpcore's; pass the slot until it was answered."""
        kind = next((self._errors[cls] for cls in type(exc).__mro__ if cls in self._errors), None)
        if kind is None:
            return None
        error = kind(str(exc))
        error.__cause__ = exc
        if slot is not None and self._is_stale(exc, slot):
            error.__cause__ = StaleConnection(f"the kept connection to {self._address} had ended")
            error.__cause__.__cause__ = exc
            self._ended_idle(slot.connection)
        return error

    def _ended_idle(self, connection: HTTP11Connection) -> None:
        """Take in that the node ended a connection for its age: those that are older go as well."""
        self._idle_age.learn(self._clock() - connection.idle_since)
        self._forget_idle()

    def _forget_idle(self) -> None:
        raise NotImplementedError

    def _is_stale(self, exc: BaseException, slot: Slot) -> bool:
        connection = slot.connection
        if connection is None or not connection.used or self._stack.closed:
            return False
        ends = self._core.ReadError | self._core.WriteError | self._core.RemoteProtocolError
        return isinstance(exc, ends) and not connection.reader.begun

    def _check_whole(self) -> None:
        # Cutting a connection looks like the end of a body that has no length.
        if self._stack.closed:
            raise self._http.ReadError(f"the connections to {self._address} were closed")
