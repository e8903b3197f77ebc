"""Pools of connections that may speak HTTP/2, for httpx's own transports to send through."""

from __future__ import annotations

import functools
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from rpcguard._connections.http2.frames import Frames
from rpcguard._core.outcomes.responses import GOAWAY

if TYPE_CHECKING:
    import httpx


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
    errors = {"errors": (core.RemoteProtocolError, core.LocalProtocolError)}
    errors["busy"] = core.ConnectionNotAvailable
    connection = type("Connection", bases, {"core": core, **errors})
    plain = core.AnyIOBackend if prefix else core.SyncBackend
    backend = type("Backend", (parts[1], plain), {"lost": core.ReadError, "late": core.ReadTimeout})
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
        made.frames, made.backend = frames, backend
        return made


_AT_ONCE = 65536
_NO_TIME = 0.001


class _Refused(NamedTuple):
    """Stand for the event of h2."""

    stream_id: int
    error_code: int = 7


class _Leaving:
    frames: Frames
    backend: Any
    core: ClassVar[Any]
    errors: ClassVar[tuple[type[Exception], ...]]
    busy: ClassVar[type[Exception]]

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

    def _explained(self, error: Exception, request: Any) -> Exception:
        # A stream that is refused while its body is being sent looks like an error of our own.
        event = error.args[0] if error.args else None
        if type(event).__name__ == "TooManyStreamsError":
            # The node lowered its limit, to none when it leaves. h2 has sent nothing.
            self.frames.leaving = True
            return self.busy()
        stream: int = getattr(event, "stream_id", 0)
        if stream not in self.frames.refused:
            return error
        if self.frames.leaving and not self.frames.departing and _is_there(request.stream):
            return self.busy()  # the pool sends it again, on a fresh connection to this node
        refused: Exception = self.core.RemoteProtocolError(_Refused(stream))
        return refused


class _Connection(_Leaving):
    """Carry one call at a time: httpcore's HTTP/2 is not safe to be used from several threads.

    They get the same stream number, or change the state of h2 under each other's hands.
    """

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
            stream = self.backend.stream
            if self._begun and not (connection.is_idle() and stream and stream.lives()):
                raise self.busy
            self._begun = True
            return self._told(connection.handle_request(request))
        except self.errors as error:
            raise self._explained(error, request) from error.__cause__
        finally:
            self._turn.release()


class _AsyncConnection(_Leaving):
    def __init__(self, **options: Any) -> None:
        connection: Any = super()
        connection.__init__(**options)
        self._looking = import_module("anyio").Lock()  # too slow to load with rpcguard
        self._calls = 0

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request."""
        connection: Any = super()
        async with self._looking:
            unread = not self._calls and connection.is_idle()
            stream = self.backend.stream  # none where connecting failed, which is idle too
            if unread and stream and not await stream.lives():
                raise self.busy
            self._calls += 1
        try:
            return self._told(await connection.handle_async_request(request))
        except self.errors as error:
            raise self._explained(error, request) from error.__cause__
        finally:
            self._calls -= 1


class _Backend:
    frames: Frames
    lost: ClassVar[type[Exception]]
    late: ClassVar[type[Exception]]
    stream: _Stream | None = None

    def connect_tcp(self, *arguments: Any, **options: Any) -> Any:
        """Connect, and watch the frames."""
        backend: Any = super()
        self.stream = _Stream(backend.connect_tcp(*arguments, **options), self)
        return self.stream


class _AsyncBackend:
    frames: Frames
    lost: ClassVar[type[Exception]]
    late: ClassVar[type[Exception]]
    stream: _AsyncStream | None = None

    async def connect_tcp(self, *arguments: Any, **options: Any) -> Any:
        """Connect, and watch the frames."""
        backend: Any = super()
        self.stream = _AsyncStream(await backend.connect_tcp(*arguments, **options), self)
        return self.stream


def _is_there(body: Any) -> bool:
    # One that can be read only once says whether it was begun.
    return not getattr(body, "touched", False)


class _Reading:
    def __init__(self, stream: Any, backend: Any) -> None:
        self._stream, self._backend = stream, backend
        self._frames: Frames = backend.frames
        self._lost, self._late = backend.lost, backend.late
        self._early = b""
        self.get_extra_info = stream.get_extra_info

    def _unread(self) -> bool:
        return self._frames.watched and bool(self.get_extra_info("is_readable"))

    def _take(self, data: bytes) -> None:
        if data:
            self._early += self._frames.received(data)
        else:
            self._frames.leaving = True

    def _waiting(self) -> bytes:
        early, self._early = self._early, b""
        return early + self._frames.received(b"")


class _Stream(_Reading):
    def close(self) -> None:
        self._stream.close()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        passed = self._waiting()
        while not passed:
            try:
                data = self._stream.read(max_bytes, timeout)
            except self._lost:
                if held := self._frames.ended():
                    return held
                raise
            if not data:
                return self._frames.ended()
            passed = self._frames.received(data)
        return passed

    def lives(self) -> bool:
        """Take in what came while nobody read: tell whether the connection may still be used."""
        if self._unread():
            try:
                self._take(self._stream.read(_AT_ONCE, _NO_TIME))
            except self._late:
                pass  # a record of TLS alone
            except self._lost:
                self._frames.leaving = True
        return not self._frames.leaving

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._frames.sent(buffer)
        self._stream.write(buffer, timeout)

    def start_tls(self, *arguments: Any, **options: Any) -> _Stream:
        secure = _Stream(self._stream.start_tls(*arguments, **options), self._backend)
        self._backend.stream = secure
        return secure


class _AsyncStream(_Reading):
    async def aclose(self) -> None:
        await self._stream.aclose()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        passed = self._waiting()
        while not passed:
            try:
                data = await self._stream.read(max_bytes, timeout)
            except self._lost:
                if held := self._frames.ended():
                    return held
                raise
            if not data:
                return self._frames.ended()
            passed = self._frames.received(data)
        return passed

    async def lives(self) -> bool:
        """Take in what came while nobody read: tell whether the connection may still be used."""
        if self._unread():
            try:
                self._take(await self._stream.read(_AT_ONCE, _NO_TIME))
            except self._late:
                pass  # a record of TLS alone
            except self._lost:
                self._frames.leaving = True
        return not self._frames.leaving

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._frames.sent(buffer)
        await self._stream.write(buffer, timeout)

    async def start_tls(self, *arguments: Any, **options: Any) -> _AsyncStream:
        secure = _AsyncStream(await self._stream.start_tls(*arguments, **options), self._backend)
        self._backend.stream = secure
        return secure
