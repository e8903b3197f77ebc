"""Sockets for httpcore on asyncio, straight on a transport: a fifth cheaper than through anyio."""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections import deque
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterable, Iterator
    from types import ModuleType

_BUFFERED = 256 * 1024
_PIECE = 64 * 1024
_HAPPY_EYEBALLS = 0.25
_EXTRA = {"client_addr": "sockname", "server_addr": "peername"}


class Inbox(asyncio.Protocol):
    """Gather what arrives; reading pauses while too much of it lies unread."""

    def __init__(self) -> None:
        self.chunks: deque[bytes] = deque()
        self.size: int = 0
        self.ended: bool = False
        self.full: bool = False
        self.secure: bool = False
        self.error: Exception | None = None
        self.transport: Any = None
        self.reader: asyncio.Future[None] | None = None
        self.writer: asyncio.Future[None] | None = None

    def connection_made(self, transport: Any) -> None:
        """Use the transport, and let a write end only when the system has taken all of it."""
        self.transport = transport
        transport.set_write_buffer_limits(1, 0)  # with 0 the one of TLS pauses for nothing

    def data_received(self, data: bytes) -> None:
        """Keep the data for the next read."""
        self.chunks.append(data)
        self.size += len(data)
        if self.size > _BUFFERED:
            self.transport.pause_reading()
        _wake(self.reader)

    def eof_received(self) -> bool:
        """Keep the sending side open where that is possible: the node may still read."""
        self.ended = True
        _wake(self.reader)
        return not self.secure

    def connection_lost(self, exc: Exception | None) -> None:
        """Let nobody wait any longer."""
        self.ended, self.full, self.error = True, False, exc
        _wake(self.reader)
        _wake(self.writer)

    def pause_writing(self) -> None:
        """Let the next write wait until what was written has left."""
        self.full = True

    def resume_writing(self) -> None:
        """Let the write go on that waits."""
        self.full = False
        _wake(self.writer)

    def take(self, max_bytes: int) -> bytes:
        """Hand out the oldest data."""
        chunk = self.chunks.popleft()
        if len(chunk) > max_bytes:
            self.chunks.appendleft(chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        before, self.size = self.size, self.size - len(chunk)
        if before > _BUFFERED >= self.size and not self.ended:
            self.transport.resume_reading()
        return chunk


class AsyncioStream:
    """Be an `AsyncNetworkStream` of one httpcore, whose errors it raises.

    One task reads and one writes at a time. `aclose` does not wait for the peer.
    """

    def __init__(self, core: ModuleType, protocol: Inbox) -> None:
        self._core, self._protocol = core, protocol
        self._closed = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, waiting up to `timeout` seconds; empty at the end."""
        protocol = self._protocol
        if not protocol.chunks and not protocol.ended:
            protocol.reader = asyncio.get_running_loop().create_future()
            await _wait(protocol.reader, timeout, self._core.ReadTimeout)
        if protocol.chunks:
            return protocol.take(max_bytes)
        if self._closed:
            raise self._core.ReadError("the connection was closed on this side")
        if protocol.error is not None:
            raise self._core.ReadError(str(protocol.error)) from protocol.error
        return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of the buffer, waiting up to `timeout` seconds each time the peer is slow."""
        protocol, view = self._protocol, memoryview(buffer)
        # In pieces: the transport of TLS takes whatever it gets, but says so before the next.
        for start in range(0, len(view), _PIECE):
            if protocol.transport.is_closing():
                raise self._core.WriteError(str(protocol.error or "the connection is closed"))
            protocol.transport.write(view[start : start + _PIECE])
            if protocol.full:
                protocol.writer = asyncio.get_running_loop().create_future()
                await _wait(protocol.writer, timeout, self._core.WriteTimeout)

    async def aclose(self) -> None:
        """Close at once; whoever still reads gets an error."""
        self._closed = True
        self._protocol.transport.abort()
        await asyncio.sleep(0)  # the loop closes the socket on its next turn

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncioStream:
        """Do the TLS handshake within `timeout` seconds; the stream is closed when it fails."""
        protocol = self._protocol
        loop = asyncio.get_running_loop()
        try:
            with _connect_errors(self._core):
                async with asyncio.timeout(timeout):
                    protocol.secure = True
                    transport = await loop.start_tls(
                        protocol.transport,
                        protocol,
                        ssl_context,
                        server_hostname=server_hostname,
                        ssl_handshake_timeout=timeout,
                    )
        except BaseException:
            protocol.transport.abort()
            raise
        protocol.connection_made(transport)
        return type(self)(self._core, protocol)

    def get_extra_info(self, info: str) -> Any:
        """Tell what httpcore's own streams tell."""
        protocol = self._protocol
        if info == "is_readable":
            return bool(protocol.ended or protocol.chunks) or _is_readable(protocol.transport)
        return protocol.transport.get_extra_info(_EXTRA.get(info, info))


class AsyncioBackend:
    """Be an `AsyncNetworkBackend` of one httpcore for asyncio loops, uvloop too."""

    def __init__(self, core: ModuleType, stream: type[AsyncioStream]) -> None:
        self._core, self._stream = core, stream

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncioStream:
        """Open a TCP connection, to whichever of its addresses answers when the host is a name."""
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {}
        if local_address is not None:
            options["local_addr"] = local_address, 0
        # uvloop has no race; one address needs none, and a race that is cancelled loses its socket.
        if isinstance(loop, asyncio.BaseEventLoop) and not _is_address(host):
            options["happy_eyeballs_delay"] = _HAPPY_EYEBALLS
        with _connect_errors(self._core):
            async with asyncio.timeout(timeout):
                _, protocol = await loop.create_connection(Inbox, host, port, **options)
            return self._ready(protocol, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncioStream:
        """Open a connection to a Unix domain socket."""
        with _connect_errors(self._core):
            async with asyncio.timeout(timeout):
                _, protocol = await asyncio.get_running_loop().create_unix_connection(Inbox, path)
            return self._ready(protocol, socket_options)

    def _ready(self, protocol: Inbox, options: Iterable[Any] | None) -> AsyncioStream:
        try:
            for option in options or ():
                protocol.transport.get_extra_info("socket").setsockopt(*option)
        except BaseException:
            protocol.transport.abort()
            raise
        return self._stream(self._core, protocol)


async def _wait(
    future: asyncio.Future[None], timeout: float | None, error: type[Exception]
) -> None:
    if timeout is None:
        await future
        return
    timer = future.get_loop().call_later(timeout, _expire, future, error)
    try:
        await future
    finally:
        timer.cancel()


def _expire(future: asyncio.Future[None], error: type[Exception]) -> None:
    if not future.done():
        future.set_exception(error("timed out"))


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_readable(transport: Any) -> bool:
    """Look past the event loop, which may not have run since the peer closed."""
    sock: socket.socket = transport.get_extra_info("socket")
    if transport.is_closing() or sock.fileno() < 0:
        return True
    if not hasattr(select, "poll"):
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))


@contextlib.contextmanager
def _connect_errors(core: ModuleType) -> Iterator[None]:
    try:
        yield
    except TimeoutError as exc:
        raise core.ConnectTimeout(str(exc)) from exc
    except OSError as exc:
        raise core.ConnectError(str(exc)) from exc
