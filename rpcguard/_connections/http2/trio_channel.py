"""The bytes of one HTTP/2 connection on trio, where one of the waiting calls reads for all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from rpcguard._connections.http2.channels import Channel

if TYPE_CHECKING:
    import socket

    from rpcguard._wire.h2_streams import Http2Stream

_AT_ONCE = 64 * 1024
"""Bytes of one read: what a socket holds by default, about."""


class TrioChannel(Channel):
    """A channel on a socket that does not block.

    Whoever waits for news of its stream reads, if nobody does, until it has them, its time is up or
    it is cancelled; then the next one in line goes on. Trio would not say how much of a write that
    is cancelled has left, so what the system does not take at once is sent by a system task.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        sock.setblocking(False)
        self._socket = sock
        self._unsent = bytearray()
        self._left = trio.Event()
        self._reading = False
        self._waiting: dict[trio.Event, None] = {}

    @property
    def full(self) -> bool:
        """Tell whether some of what was pushed has not left yet."""
        return bool(self._unsent)

    async def wait(self, stream: Http2Stream, timeout: float | None) -> None:
        """Wait until the stream has news, or the seconds have passed."""
        stream.news = False
        try:
            with trio.move_on_after(math.inf if timeout is None else timeout):
                while not stream.news and not self.closed:
                    if self._reading:
                        await self._wait_for_turn(stream)
                    else:
                        await self._read_for_all(stream)
        finally:
            stream.wake = None
            if not self._reading:
                self._pass_on()  # else a turn that was given to this call would be lost

    async def drained(self, timeout: float | None) -> bool:
        """Wait until what was pushed has left; False where the seconds have passed before."""
        with trio.move_on_after(math.inf if timeout is None else timeout):
            while self._unsent:
                await self._left.wait()
        return not self._unsent

    async def settle(self) -> None:
        """Take in what lies in the socket, where nobody reads."""
        while not self.closed and not self._reading and self._read():
            pass

    def abort(self) -> None:
        """Close at once."""
        self.closed = True
        self._unsent.clear()
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
        self._pass_on()

    def get_extra_info(self, info: str) -> Any:
        """Tell what the streams of httpcore tell."""
        if info == "ssl_object":
            return None if self.tls is None else self.tls.object
        if info == "socket":
            return self._socket
        if info == "client_addr":
            return self._socket.getsockname()
        return self._socket.getpeername() if info == "server_addr" else None

    async def _wait_for_turn(self, stream: Http2Stream) -> None:
        event = trio.Event()
        stream.wake = event.set
        self._waiting[event] = None
        try:
            await event.wait()
        finally:
            self._waiting.pop(event, None)

    async def _read_for_all(self, stream: Http2Stream) -> None:
        self._reading = True
        try:
            while not stream.news and not self.closed:
                await trio.lowlevel.wait_readable(self._socket)
                self._read()
        except trio.ClosedResourceError:
            pass  # whoever closed it has told the session
        finally:
            self._reading = False

    def _pass_on(self) -> None:
        if self._waiting:
            event = next(iter(self._waiting))
            del self._waiting[event]
            event.set()

    def _read(self) -> bool:
        try:
            data = self._socket.recv(_AT_ONCE)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self.lost(f"the connection broke: {error}")
            self.abort()
            return False
        self.arrived(data)
        return bool(data)

    async def _more(self) -> None:
        await trio.lowlevel.wait_readable(self._socket)
        data = self._socket.recv(_AT_ONCE)
        if not data:
            raise ConnectionResetError("the node closed the connection in the TLS handshake")
        self.arrived(data)

    def _send(self, data: bytes) -> None:
        if not self._unsent:
            data = data[self._try(data) :]
            if not data or self.closed:
                return
            self._left = trio.Event()
            self._unsent += data
            trio.lowlevel.spawn_system_task(self._write_out)
        else:
            self._unsent += data

    def _try(self, data: bytes | bytearray) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self.lost(f"the connection broke: {error}")
            self.abort()
            return 0

    async def _write_out(self) -> None:
        try:
            while self._unsent and not self.closed:
                await trio.lowlevel.wait_writable(self._socket)
                del self._unsent[: self._try(self._unsent)]
        except trio.ClosedResourceError:
            pass
        finally:
            self._left.set()
