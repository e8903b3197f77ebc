"""Pools of connections that may speak HTTP/2, for httpx's own transports to send through."""

from __future__ import annotations

import functools
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from rpcguard.frames import Frames

if TYPE_CHECKING:
    import httpx

GOAWAY = "rpcguard.goaway"
"""The extension of a response whose connection was told to end when it had just begun."""


def patient_pool(pool: Any, *, verify: Any, limits: httpx.Limits, **options: Any) -> Any:
    """Make a pool like `pool`, of httpcore or httpcore2, that lets calls finish after a GOAWAY.

    The options are those of `httpx.HTTPTransport`.
    """
    kind = type(pool)
    return _pool_class(kind.__module__.partition(".")[0], kind.__name__)(
        max_connections=limits.max_connections,
        max_keepalive_connections=limits.max_keepalive_connections,
        ssl_context=verify,
        keepalive_expiry=limits.keepalive_expiry,
        **{name: value for name, value in options.items() if name != "trust_env"},
    )


@functools.cache
def _pool_class(core_name: str, name: str) -> Any:
    core = import_module(core_name)
    prefix = name.removesuffix("ConnectionPool")
    parts = (_AsyncConnection, _AsyncBackend) if prefix else (_Connection, _Backend)
    bases = parts[0], getattr(core, f"{prefix}HTTPConnection")
    connection = type("Connection", bases, {"busy": core.ConnectionNotAvailable})
    plain = core.AnyIOBackend if prefix else core.SyncBackend
    backend = type("Backend", (parts[1], plain), {})
    members = {"connection": connection, "backend": backend}
    return type("Pool", (_Pool, getattr(core, name)), members)


class _Pool:
    connection: ClassVar[Any]
    backend: ClassVar[Any]

    def __init__(
        self, *, max_connections: int | None, max_keepalive_connections: int | None, **options: Any
    ) -> None:
        pool: Any = super()
        pool.__init__(
            max_connections=max_connections,
            max_keepalive_connections=max_keepalive_connections,
            **options,
        )
        self._made_with = options

    def create_connection(self, origin: Any) -> Any:
        """Make a connection whose frames are watched."""
        frames = Frames()
        backend = self.backend()
        backend.frames = frames
        made = self.connection(origin=origin, network_backend=backend, **self._made_with)
        made.frames = frames
        return made


class _Leaving:
    frames: Frames

    def is_available(self) -> bool:
        """Tell whether another request may be sent here."""
        connection: Any = super()
        return not self.frames.leaving and bool(connection.is_available())

    def has_expired(self) -> bool:
        """Tell whether the connection is to be closed."""
        connection: Any = super()
        return bool(connection.has_expired() or (self.frames.leaving and connection.is_idle()))

    def _told(self, response: Any) -> Any:
        if self.frames.departing:
            response.extensions[GOAWAY] = True
        return response


class _Connection(_Leaving):
    """Carry one call at a time: httpcore's HTTP/2 is not safe to be used from several threads.

    They get the same stream number, or change the state of h2 under each other's hands.
    """

    busy: ClassVar[type[Exception]]

    def __init__(self, **options: Any) -> None:
        connection: Any = super()
        connection.__init__(**options)
        self._turn = threading.Lock()
        self._begun = False

    def is_available(self) -> bool:
        """Tell whether another request may be sent here."""
        connection: Any = super()
        return connection.is_idle() and super().is_available()

    def handle_request(self, request: Any) -> Any:
        """Send a request, unless another thread was faster."""
        connection: Any = super()
        if not self._turn.acquire(blocking=False):
            raise self.busy
        try:
            if self._begun and not connection.is_idle():
                raise self.busy
            self._begun = True
            return self._told(connection.handle_request(request))
        finally:
            self._turn.release()


class _AsyncConnection(_Leaving):
    async def handle_async_request(self, request: Any) -> Any:
        """Send a request."""
        connection: Any = super()
        return self._told(await connection.handle_async_request(request))


class _Backend:
    frames: Frames

    def connect_tcp(self, *arguments: Any, **options: Any) -> Any:
        """Connect, and watch the frames."""
        backend: Any = super()
        return _Stream(backend.connect_tcp(*arguments, **options), self.frames)


class _AsyncBackend:
    frames: Frames

    async def connect_tcp(self, *arguments: Any, **options: Any) -> Any:
        """Connect, and watch the frames."""
        backend: Any = super()
        return _AsyncStream(await backend.connect_tcp(*arguments, **options), self.frames)


class _Stream:
    def __init__(self, stream: Any, frames: Frames) -> None:
        self._stream, self._frames = stream, frames
        self.close, self.get_extra_info = stream.close, stream.get_extra_info

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        passed = self._frames.received(b"")
        while not passed:
            data = self._stream.read(max_bytes, timeout)
            if not data:
                return self._frames.ended()
            passed = self._frames.received(data)
        return passed

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._frames.sent(buffer)
        self._stream.write(buffer, timeout)

    def start_tls(self, *arguments: Any, **options: Any) -> _Stream:
        return _Stream(self._stream.start_tls(*arguments, **options), self._frames)


class _AsyncStream:
    def __init__(self, stream: Any, frames: Frames) -> None:
        self._stream, self._frames = stream, frames
        self.aclose, self.get_extra_info = stream.aclose, stream.get_extra_info

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        passed = self._frames.received(b"")
        while not passed:
            data = await self._stream.read(max_bytes, timeout)
            if not data:
                return self._frames.ended()
            passed = self._frames.received(data)
        return passed

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._frames.sent(buffer)
        await self._stream.write(buffer, timeout)

    async def start_tls(self, *arguments: Any, **options: Any) -> _AsyncStream:
        return _AsyncStream(await self._stream.start_tls(*arguments, **options), self._frames)
