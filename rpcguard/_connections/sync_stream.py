"""How threads wait for a socket, connect one and resolve its name."""

from __future__ import annotations

import concurrent.futures
import contextlib
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from rpcguard._connections.dial import Race, looking_up, order
from rpcguard._connections.socket_stream import READ_SIZE, SocketStream

if TYPE_CHECKING:
    import ssl

    from rpcguard._connections.dial import Address, Destination, Dialled

_MILLISECONDS = 1000
"""In a second: `poll` counts them."""
_READING, _WRITING = 1, 4
"""POLLIN and POLLOUT, which not every system has names for."""


class SyncStream(SocketStream):
    """A socket for threads; also a `NetworkStream` of httpcore, as `network_stream`."""

    def wait_readable(self, timeout: float | None) -> None:
        """Wait until something has come; raises `ReadTimeout`."""
        if self._appetite > READ_SIZE or self._unread or (self._tls and self._has_more):
            return  # a read that came back full is best followed by another
        if timeout is not None:
            if timeout <= 0:
                raise self.core.ReadTimeout("no time left")
            timeout *= _MILLISECONDS
        if self._poll is None:
            ready = _wait([self._socket], _READING, timeout and timeout / _MILLISECONDS)
        else:
            ready = self._poll.poll(timeout)
        if not ready:
            raise self.core.ReadTimeout("timed out")

    def wait_writable(self, timeout: float | None) -> None:
        """Wait until something can be sent or has come; raises `WriteTimeout`."""
        if self._has_more:
            return
        if not _wait([self._socket], _READING | _WRITING, timeout):
            raise self.core.WriteTimeout("timed out")

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, waiting up to `timeout` seconds; empty at the end."""
        while (data := self.receive(max_bytes)) is None:
            self.wait_readable(timeout)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of the buffer, waiting up to `timeout` seconds each time the peer is slow."""
        view = memoryview(buffer)
        while view or not self.flush():
            if view and (taken := self.send(view)):
                view = view[taken:]
            elif not _wait([self._socket], _WRITING, timeout):
                raise self.core.WriteTimeout("timed out")

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> SyncStream:
        """Do the TLS handshake within `timeout` seconds; the stream is closed when it fails."""
        end = None if timeout is None else time.monotonic() + timeout
        with self.handshaking():
            self.begin_tls(ssl_context, server_hostname)
            while not self.shake_hands():
                left = None if end is None else end - time.monotonic()
                wanted = _READING if self.flush() else _READING | _WRITING
                if not _wait([self._socket], wanted, left):
                    raise self.core.ConnectTimeout("the TLS handshake timed out")
        return self

    def cut(self) -> None:
        """End the connection under a thread that reads or writes, which wakes up."""
        self.closed = True  # before they wake up: it is not the peer that has ended it
        with contextlib.suppress(OSError):  # it ended by itself
            self._socket.shutdown(socket.SHUT_RDWR)


class Lookup:
    """The resolution of one node's name, in a thread: the system's call cannot be broken off.

    Callers who come meanwhile wait for the same answer, so a resolver that hangs holds one thread
    for each node.
    """

    def __init__(self) -> None:
        self._running: concurrent.futures.Future[list[Address]] | None = None

    def resolve(self, host: str, port: int, timeout: float | None) -> list[Address]:
        """Give the addresses; raises `OSError`, of which `TimeoutError` is one."""
        running = self._running
        if running is None or running.done():
            running = concurrent.futures.Future()
            work = threading.Thread(
                target=_resolve, args=(running, host, port), name="rpcguard-name", daemon=True
            )
            with looking_up():
                work.start()
            self._running = running  # only now, or one that could not start would be waited for
        try:
            return running.result(timeout)
        except concurrent.futures.TimeoutError:
            raise TimeoutError(f"the name {host!r} was not resolved in time") from None


def connect(destination: Destination, lookup: Lookup, timeout: float | None) -> Dialled:
    """Open a connection within `timeout` seconds, the name's resolution included.

    Raises `OSError`, of which `TimeoutError` is one.
    """
    clock = time.monotonic
    end = None if timeout is None else clock() + timeout
    addresses = destination.known()
    if addresses is None:
        addresses = lookup.resolve(destination.host, destination.port, timeout)
    race = Race(destination, addresses, clock())
    try:
        while True:
            now = clock()
            race.advance(now)
            due = race.left(now)
            waits = [left for left in (due, end and end - now) if left is not None]
            # What failed at once, a socket that nobody serves say, leaves nothing to wait for.
            waiting = race.pending or due is not None
            ready = waiting and _wait(race.pending, _WRITING, min(waits, default=None))
            if (winner := race.winner()) is not None:
                return winner
            if not ready and end is not None and clock() >= end:
                raise TimeoutError("timed out")
    finally:
        race.close()


def _resolve(found: concurrent.futures.Future[list[Address]], host: str, port: int) -> None:
    try:
        found.set_result(order(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
    except BaseException as error:  # it is the caller's, whatever it is
        found.set_exception(error)


def _wait(sockets: list[socket.socket], events: int, timeout: float | None) -> Any:
    """Wait for one of the sockets; give what is falsy when the time is up."""
    if timeout is not None and timeout <= 0:
        return None
    if not hasattr(select, "poll"):
        reading = sockets if events & _READING else []
        writing = sockets if events & _WRITING else []
        return any(select.select(reading, writing, [], timeout))
    poll = select.poll()
    for sock in sockets:
        poll.register(sock, events)
    return poll.poll(None if timeout is None else timeout * _MILLISECONDS)
