"""What a node's connections hand to httpcore: streams that know of deadlines, ready requests."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import ModuleType

    import httpx


class Stream:
    """Pass on to a network stream, count the reads of a call, cut each step to its deadline.

    Plain methods serve both kinds of stream: an asynchronous one returns its awaitable.
    """

    core: ClassVar[ModuleType]

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._read, self._write = stream.read, stream.write
        self.get_extra_info = stream.get_extra_info
        self.reads = 0
        self._closed = False
        self.clamp: Callable[[float | None], float | None] | None = None

    def read(self, max_bytes: int, timeout: float | None = None) -> Any:
        """Read, as the stream does."""
        self.reads += 1
        if self.clamp is not None:
            timeout = some_time(self.clamp(timeout), self.core.ReadTimeout)
        return self._read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> Any:
        """Write, as the stream does."""
        if self.clamp is not None:
            timeout = some_time(self.clamp(timeout), self.core.WriteTimeout)
        return self._write(buffer, timeout)

    def ended(self) -> bool:
        """Tell whether there is something to read, which for an idle connection is its end."""
        return self._closed or bool(self.get_extra_info("is_readable"))

    def close(self) -> None:
        """Close, as a synchronous stream does."""
        self._closed = True
        self._stream.close()

    def aclose(self) -> Any:
        """Close, as an asynchronous stream does."""
        self._closed = True  # trio cannot be asked any more
        return self._stream.aclose()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Start TLS, as the stream does."""
        return self._stream.start_tls(ssl_context, server_hostname, timeout)


class SyncStream(Stream):
    """Read and write the socket itself, which is cheaper than through httpcore's stream."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._socket: socket.socket = stream.get_extra_info("socket")
        self._poll: select.poll | None = None
        if hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(self._socket, select.POLLIN)

    def ended(self) -> bool:
        """Tell the same by a poll object that is made once, where the system has one."""
        if self._poll is None or self._socket.fileno() < 0:
            return super().ended()
        return bool(self._poll.poll(0))

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, waiting up to `timeout` seconds; empty at the end."""
        self.reads += 1
        core = self.core
        try:
            self._limit(timeout, core.ReadTimeout)
            return self._socket.recv(max_bytes)
        except TimeoutError as exc:
            raise core.ReadTimeout(exc) from exc
        except OSError as exc:
            raise core.ReadError(exc) from exc

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of the buffer, waiting up to `timeout` seconds each time the peer is slow."""
        core = self.core
        try:
            while buffer:
                self._limit(timeout, core.WriteTimeout)
                buffer = buffer[self._socket.send(buffer) :]
        except TimeoutError as exc:
            raise core.WriteTimeout(exc) from exc
        except OSError as exc:
            raise core.WriteError(exc) from exc

    def _limit(self, timeout: float | None, error: type[Exception]) -> None:
        if self.clamp is not None:
            timeout = some_time(self.clamp(timeout), error)
        if timeout != self._socket.gettimeout():  # to set it is a system call
            self._socket.settimeout(timeout)


class NoBody:
    """Be a body without any part; httpx's own has an empty one, which h11 is busy with."""

    parts: tuple[bytes, ...] = ()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.parts)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            yield part


class CoreURL:
    """Be an httpcore URL whose parts are known to be good."""

    origin: Any = None  # in place of httpcore's property, which builds one at each look

    def __init__(self, parts: dict[str, Any], target: bytes) -> None:
        self.__dict__ = {**parts, "target": target}


class CoreRequest:
    """Be an httpcore request whose parts httpx has checked."""

    def __init__(self, request: httpx.Request, url: CoreURL, body: Any) -> None:
        self.method = request.method.encode()
        self.url = url
        self.headers = request.headers.raw
        self.stream = body
        self.extensions = request.extensions


NO_BODY = NoBody()


def some_time(timeout: float | None, error: type[Exception]) -> float | None:
    """Raise the error when there is no time left.

    Sockets and event loops disagree on what a timeout of zero or less means.
    """
    if timeout is not None and timeout <= 0:
        raise error("no time left")
    return timeout
