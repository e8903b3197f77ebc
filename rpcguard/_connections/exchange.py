"""What the two shells of a node's connections share: requests, names, timeouts, errors."""

from __future__ import annotations

import ssl
import time
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from rpcguard._connections.requests import NO_BODY, CoreRequest, CoreURL, some_time
from rpcguard._connections.stack import Connection, Slot, Stack, StackClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import httpx

    from rpcguard._connections.requests import Stream
    from rpcguard._connections.stack import Waiter
    from rpcguard._core.nodes.view import ConnectionCounts

SocketOption = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)

_NO_TIMEOUTS: Mapping[str, float | None] = MappingProxyType({})
_ERRORS = (
    *("TimeoutException", "ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout"),
    *("NetworkError", "ConnectError", "ReadError", "WriteError", "ProxyError"),
    *("UnsupportedProtocol", "ProtocolError", "LocalProtocolError", "RemoteProtocolError"),
)


class StaleConnection(Exception):  # noqa: N818
    """Tell that a kept-alive connection ended before any byte of the response.

    It is the cause of the httpx error that the caller gets; its own cause is the httpcore error.
    The node most likely closed an idle connection, but it may have read the request and crashed.
    A connection opened for the call is never stale, and a timeout never is.
    """


def _checked(headers: Any, connection: Connection) -> Any:
    """Give headers that equal those of the call before as h11 has checked them already."""
    if headers != connection.headers:
        connection.headers, connection.checked = headers, None
    elif connection.checked is None:
        h11 = import_module("h11")
        connection.checked = h11.Request(method="GET", target="/", headers=headers).headers
    return connection.checked or headers


def timeouts(request: httpx.Request) -> Mapping[str, float | None]:
    """Find the timeouts of a request; ask when a stage begins, for a deadline shrinks them."""
    found: Mapping[str, float | None] = request.extensions.get("timeout", _NO_TIMEOUTS)
    return found


class Exchange:
    """Turn requests and responses of one library into those of the other, and their errors.

    A subclass names the libraries: `_http` is httpx or httpx2, `_core` httpcore or httpcore2, or
    the name of it.
    """

    _http: ClassVar[ModuleType]
    _core: ClassVar[Any]
    _event: ClassVar[type[Waiter]]
    _stream: ClassVar[type[Stream]]
    _target: ClassVar[type[CoreURL]]
    _request: ClassVar[type[CoreRequest]]
    _errors: ClassVar[dict[type, Callable[[str], Exception]]]

    @classmethod
    def _bind(cls) -> None:
        """Make the classes that need the libraries, with the first stack: httpcore loads slowly."""
        if isinstance(cls._core, str):
            cls._core = import_module(cls._core)
        errors = {getattr(cls._core, name): getattr(cls._http, name) for name in _ERRORS}
        cls._errors = {**errors, StackClosed: cls._http.ConnectError}
        cls._target = type("CoreURL", (CoreURL, cls._core.URL), {})
        cls._request = type("Request", (CoreRequest, cls._core.Request), {})

    def __init__(
        self,
        *,
        scheme: str,
        host: str,
        port: int,
        ssl_context: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None,
        limits: httpx.Limits,
        local_address: str | None = None,
        uds: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if "_stream" not in type(self).__dict__:  # the last one that is bound
            self._bind()
        self._tls = scheme == "https"
        self._address = f"{host}:{port}" if uds is None else uds
        self._ssl_context = ssl_context
        self._url = {"scheme": scheme.encode(), "host": host.encode(), "port": port}
        self._origin = self._core.URL(**self._url).origin
        self._parts = {**self._url, "origin": self._origin}
        self._where: dict[str, Any] = {"host": host, "port": port, "local_address": local_address}
        if uds is not None:
            self._where = {"path": uds}
        self._where["socket_options"] = None if socket_options is None else list(socket_options)
        self._stack = Stack(
            max_connections=limits.max_connections,
            max_idle=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            clock=clock,
            event=self._event,
        )

    @property
    def counts(self) -> ConnectionCounts:
        """Count the idle connections, those in use and the calls in line; safe from any thread."""
        return self._stack.counts

    def _server_name(self, request: httpx.Request) -> str | None:
        if not self._tls:
            return None
        name: str | None = request.extensions.get("sni_hostname")
        return name or request.url.raw_host.decode("ascii")

    def _outgoing(self, request: httpx.Request, connection: Connection) -> Any:
        extensions, target = request.extensions, request.url.raw_path
        connection.stream.reads = 0
        connection.stream.clamp = getattr(extensions.get("timeout"), "clamp", None)
        if "target" not in extensions and request.method.isascii():
            body: Any = request.stream
            if isinstance(body, self._http.ByteStream) and not any(body):
                body = NO_BODY
            outgoing = self._request(request, self._target(self._parts, target), body)
            if "trace" not in extensions:
                outgoing.headers = _checked(outgoing.headers, connection)
            return outgoing
        url = self._core.URL(**self._url, target=target)  # to be checked, or refused
        return self._core.Request(
            request.method,
            url,
            headers=request.headers.raw,
            content=request.stream,
            extensions=extensions,
        )

    def _incoming(self, request: httpx.Request, answer: Any, lease: Slot) -> httpx.Response:
        if answer.status == 101 or (request.method == "CONNECT" and 200 <= answer.status < 300):
            # The call is done; what is spoken from here on has timeouts of its own.
            lease.connection.stream.clamp = None  # type: ignore[union-attr]
        response: httpx.Response = self._http.Response(
            answer.status, headers=answer.headers, stream=lease, extensions=answer.extensions
        )
        return response

    def _dialling(self, request: httpx.Request) -> tuple[str, dict[str, Any]]:
        timeout = some_time(timeouts(request).get("connect"), self._core.ConnectTimeout)
        event = "connect_unix_socket" if "path" in self._where else "connect_tcp"
        return event, {**self._where, "timeout": timeout}

    def _securing(self, request: httpx.Request, name: str) -> dict[str, Any]:
        timeout = some_time(timeouts(request).get("connect"), self._core.ConnectTimeout)
        if self._ssl_context is None:
            self._ssl_context = self._http.create_ssl_context
        if not isinstance(self._ssl_context, ssl.SSLContext):
            self._ssl_context = self._ssl_context()
        self._ssl_context.set_alpn_protocols(["http/1.1"])
        return {"ssl_context": self._ssl_context, "server_hostname": name, "timeout": timeout}

    def _opened(self, kind: Callable[..., Any], stream: Any, lease: Slot) -> Connection:
        wrapped = self._stream(stream)
        connection = Connection(kind(self._origin, wrapped), wrapped, lease.name)
        lease.connection = connection
        if self._stack.closed:
            raise self._closed()
        return connection

    def _check_granted(self, lease: Slot) -> None:
        if self._stack.closed:
            raise self._closed()
        if lease not in self._stack.in_use:
            counts = self._stack.counts
            raise self._core.PoolTimeout(
                f"no free connection to {self._address} in time: "
                f"{counts.in_use} in use, {counts.waiting} calls in line"
            )

    def _closed(self) -> StackClosed:
        return StackClosed(f"the connections to {self._address} are closed")

    def _translated(self, exc: BaseException, lease: Slot | None = None) -> Exception | None:
        """Find the httpx error for one of httpcore's; pass the lease until it was answered."""
        kind = next((self._errors[cls] for cls in type(exc).__mro__ if cls in self._errors), None)
        if kind is None:
            return None
        error = kind(str(exc))
        error.__cause__ = exc
        if lease is not None and self._is_stale(exc, lease):
            error.__cause__ = StaleConnection(f"the kept connection to {self._address} had ended")
            error.__cause__.__cause__ = exc
        return error

    def _is_stale(self, exc: BaseException, lease: Slot) -> bool:
        if not lease.reused or lease.connection is None or self._stack.closed:
            return False
        if lease.connection.stream.reads > 1:  # the first read brought something
            return False
        if isinstance(exc, self._core.RemoteProtocolError):
            return exc.__cause__ is None  # with a cause it is something that h11 refused
        return isinstance(exc, self._core.ReadError | self._core.WriteError)

    def _check_whole(self) -> None:
        # Cutting a connection looks like the end of a body that has no length.
        if self._stack.closed:
            raise self._http.ReadError(f"the connections to {self._address} were closed")
