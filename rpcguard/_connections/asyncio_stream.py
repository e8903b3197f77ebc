"""How asyncio waits for a socket and connects one: no transport and no protocol in between.

The loop reads whatever arrives for as long as a connection is open, so an idle one that the node
closes is noticed at once. A transport of asyncio would do that too, but it drops what lies in the
system's buffer when a write fails, where the answer to a refused upload is; and it hands out what
came before a TLS handshake.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from rpcguard._connections.alarm import Alarm
from rpcguard._connections.dial import Race, looking_up, order
from rpcguard._connections.socket_stream import SocketStream

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable
    from types import ModuleType

    from rpcguard._connections.dial import Address, Destination, Dialled

_BUFFERED = 256 * 1024
"""Bytes that may lie unread before the loop stops reading: what a slow caller costs."""


class AsyncioStream(SocketStream):
    """A socket on one event loop; also an `AsyncNetworkStream` of httpcore, as `network_stream`.

    One task reads and one writes at a time. `on_stir` is called when something comes, or the end,
    for which nobody waits.
    """

    def __init__(self, sock: socket.socket, core: ModuleType, peer: Any = None) -> None:
        super().__init__(sock, core, peer)
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(self._loop, core.ReadTimeout)
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._over = False
        self._error: Exception | None = None
        self._reading = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self.on_stir: Callable[[], object] | None = None

    def raise_those_of(self, core: ModuleType) -> None:
        """Raise the errors of another core from now on, the one that waits to be raised too."""
        super().raise_those_of(core)
        self._alarm.stop()
        self._alarm = Alarm(self._loop, core.ReadTimeout)
        if self._error is not None:
            self._error = core.ReadError(*self._error.args)

    def listen(self) -> None:
        """Begin to read; not before the TLS handshake, which reads for itself."""
        if not (self._reading or self._over or self.closed):
            self._loop.add_reader(self._socket, self._arrived)
            self._reading = True

    def ended(self) -> bool:
        """Tell whether there is something to read, even if the loop has not seen it yet."""
        return bool(self._chunks) or self._over or super().ended()

    def receive(self, limit: int | None = None) -> bytes | None:
        """Give what has come: None when nothing has yet, empty at the end."""
        chunks = self._chunks
        if not chunks:
            if self._error is not None:
                raise self._error
            return b"" if self._over else super().receive(limit)
        chunk = chunks.popleft()
        if limit and len(chunk) > limit:
            chunks.appendleft(chunk[limit:])
            chunk = chunk[:limit]
        self._size -= len(chunk)
        if not self._reading and self._size <= _BUFFERED:
            self.listen()
        return chunk

    def unread(self, data: bytes) -> None:
        """Give the data back, to be received next."""
        if data:
            self._chunks.appendleft(data)
            self._size += len(data)

    async def wait_readable(self, timeout: float | None) -> None:
        """Wait until something has come; raises `ReadTimeout`."""
        if self._chunks or self._over or self._unread or (self._tls and self._has_more):
            return
        if timeout is not None and timeout <= 0:
            raise self.core.ReadTimeout("no time left")
        if not self._reading:
            self.listen()
        self._reader = reader = self._loop.create_future()
        if timeout is not None:
            self._alarm.set(reader, timeout)
        await reader

    async def wait_writable(self, timeout: float | None) -> None:
        """Wait until something can be sent or has come; raises `WriteTimeout`."""
        if self._chunks or self._over or self._has_more:
            return
        self._reader = self._writer = self._loop.create_future()
        self._loop.add_writer(self._socket, _wake, self._writer)
        try:
            await _wait(self._writer, timeout, self.core.WriteTimeout)
        finally:
            self._forget(self._loop.remove_writer)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, waiting up to `timeout` seconds; empty at the end."""
        while (data := self.receive(max_bytes)) is None:
            await self.wait_readable(timeout)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of the buffer, waiting up to `timeout` seconds each time the peer is slow."""
        view = memoryview(buffer)
        while view or not self.flush():
            if view and (taken := self.send(view)):
                view = view[taken:]
                continue
            self._writer = self._loop.create_future()
            self._loop.add_writer(self._socket, _wake, self._writer)
            try:
                await _wait(self._writer, timeout, self.core.WriteTimeout)
            finally:
                self._forget(self._loop.remove_writer)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncioStream:
        """Do the TLS handshake within `timeout` seconds; the stream is closed when it fails."""
        with self.handshaking():
            if self._chunks or self._over:
                raise self.core.ConnectError("the node spoke in plain before the TLS handshake")
            self._silence()
            self.begin_tls(ssl_context, server_hostname)
            try:
                async with asyncio.timeout(timeout):
                    while not self.shake_hands():
                        await _ready(self._loop, self._socket, writing=not self.flush())
            except TimeoutError as error:
                raise self.core.ConnectTimeout("the TLS handshake timed out") from error
        return self

    def close(self) -> None:
        """Close at once; whoever still waits gets an error. On a loop that has ended, too."""
        if not self.closed:
            self._silence()
            self._forget(self._loop.remove_writer)
        super().close()
        self._alarm.stop()
        if self._error is None:
            self._error = self.core.ReadError("the connection was closed on this side")
        self._over = True
        self._chunks.clear()
        if not self._loop.is_closed():
            _wake(self._reader)
            _wake(self._writer)

    async def aclose(self) -> None:
        """Close, as an `AsyncNetworkStream` does."""
        self.close()

    def _arrived(self) -> None:
        try:
            data = super().receive()
        except self.core.ReadError as error:
            self._error, data = error, b""
        except BaseException:
            self._silence()
            raise
        if data is None:
            return
        if data:
            self._chunks.append(data)
            self._size += len(data)
        if not data or (self._tls is not None and self._tls.clean):
            self._over = True
        if self._over or self._size > _BUFFERED:
            self._silence()
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        elif self.on_stir is not None:
            self.on_stir()

    def _silence(self) -> None:
        if self._reading:
            self._reading = False
            self._forget(self._loop.remove_reader)

    def _forget(self, remove: Callable[[Any], object]) -> None:
        # A loop that has ended watches nothing, and says so with an error.
        if not self._loop.is_closed() and self._socket.fileno() >= 0:
            remove(self._socket)


async def connect(destination: Destination, timeout: float | None) -> Dialled:
    """Open a connection within `timeout` seconds, the name's resolution included.

    Raises `OSError`, of which `TimeoutError` is one.
    """
    async with asyncio.timeout(timeout):
        addresses = destination.known()
        if addresses is None:
            addresses = await _resolve(destination)
        race = Race(destination, addresses, time.monotonic())
        try:
            return await _run(race)
        finally:
            race.close()


async def _resolve(destination: Destination) -> list[Address]:
    import socket

    loop = asyncio.get_running_loop()
    kind = socket.SOCK_STREAM
    with looking_up():
        return order(await loop.getaddrinfo(destination.host, destination.port, type=kind))


async def _run(race: Race) -> Dialled:
    loop, clock = asyncio.get_running_loop(), time.monotonic
    while True:
        race.advance(clock())
        left = race.left(clock())
        if race.pending or left is not None:
            await _first_writable(loop, race.pending, left)
        if (winner := race.winner()) is not None:
            return winner


async def _first_writable(
    loop: asyncio.AbstractEventLoop, sockets: list[socket.socket], timeout: float | None
) -> None:
    ready: asyncio.Future[None] = loop.create_future()
    watched = list(sockets)
    timer = None if timeout is None else loop.call_later(timeout, _wake, ready)
    try:
        for sock in watched:
            loop.add_writer(sock, _wake, ready)
        await ready
    finally:
        if timer is not None:
            timer.cancel()
        if not loop.is_closed():
            for sock in watched:
                loop.remove_writer(sock)


async def _ready(loop: asyncio.AbstractEventLoop, sock: socket.socket, *, writing: bool) -> None:
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock, _wake, ready)
    if writing:
        loop.add_writer(sock, _wake, ready)
    try:
        await ready
    finally:
        if not loop.is_closed() and sock.fileno() >= 0:
            loop.remove_reader(sock)
            loop.remove_writer(sock)


async def _wait(
    future: asyncio.Future[None], timeout: float | None, error: type[Exception]
) -> None:
    if timeout is None:
        await future
        return
    if timeout <= 0:
        raise error("no time left")
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
