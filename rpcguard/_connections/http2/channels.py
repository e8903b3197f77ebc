"""The bytes of one HTTP/2 connection, between its books and a socket, for tasks."""

from __future__ import annotations

import asyncio
import contextlib
import select
import ssl
from typing import TYPE_CHECKING, Any

from rpcguard._wire.tls import TlsSession

if TYPE_CHECKING:
    import socket

    from rpcguard._wire.h2_session import Http2Session
    from rpcguard._wire.h2_streams import Http2Stream

_LINGER_TURNS = 3
"""Turns of an event loop after which what lay in the socket has reached the protocol: the loop
polls in one, reads in the next, and TLS of uvloop needs one more."""


class Channel:
    """What tasks share of a connection's bytes; a subclass knows the event loop.

    `push` hands bytes over and never waits: what was pushed belongs to the connection, so a call
    that is cancelled or times out leaves no half of a frame behind. `wait` lasts until a stream has
    news, `drained` until what was pushed has left. With TLS, all that arrives passes through it.
    """

    def __init__(self) -> None:
        self.session: Http2Session | None = None
        self.tls: TlsSession | None = None
        self.closed: bool = False
        self._secured = False
        self._early = b""

    # What a subclass gives

    def _send(self, data: bytes) -> None:
        raise NotImplementedError

    async def _more(self) -> None:
        """Wait until something arrived."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close at once."""
        raise NotImplementedError

    def get_extra_info(self, info: str) -> Any:
        """Tell what the streams of httpcore tell."""
        raise NotImplementedError

    # What all share

    def push(self, data: bytes) -> None:
        """Send bytes soon; nothing where the connection has ended."""
        if self.closed or not data:
            return
        if self.tls is None:
            self._send(data)
            return
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view) :]
        self._flush()

    async def secure(self, context: ssl.SSLContext, name: str) -> str | None:
        """Do the TLS handshake; give the protocol that was agreed on (ALPN).

        Raises `ssl.SSLError`, `OSError` where the node ends the connection.
        """
        tls = self.tls = TlsSession(context, name)
        if self._early:
            tls.received(self._early)
        try:
            while not tls.handshake():
                self._flush()
                await self._more()
        finally:
            self._flush()  # a certificate that is refused is told so
        self._secured = True
        return tls.object.selected_alpn_protocol()

    def attach(self, session: Http2Session) -> None:
        """Let the session have what arrives, from now on and until now."""
        self.session = session
        if self.tls is not None:
            self._decrypt(self.tls)
        elif self._early:
            self._deliver(self._early)

    def arrived(self, data: bytes) -> None:
        """Take in bytes from the socket, nothing for its end."""
        tls = self.tls
        if tls is not None:
            tls.received(data)
            if self._secured and self.session is not None:
                self._decrypt(tls)
        elif self.session is not None:
            self._deliver(data)
        else:
            self._early += data

    def lost(self, reason: str) -> None:
        """Take in that the connection has ended."""
        self.closed = True
        if self.session is not None:
            self.session.end(reason)

    def flush(self) -> None:
        """Push what the books have to send."""
        if self.session is not None:
            self.push(self.session.output())

    def _decrypt(self, tls: TlsSession) -> None:
        try:
            while data := tls.read():
                self._deliver(data)
        except ssl.SSLError as error:
            self.lost(f"TLS failed: {error}")
            self.abort()
            return
        self._flush()
        if data is not None:
            self._deliver(b"")

    def _deliver(self, data: bytes) -> None:
        session = self.session
        assert session is not None
        if data:
            session.receive(data)
        else:
            session.end("the node closed the connection")
        self.push(session.output())
        if session.ended is not None:
            self.abort()

    def _flush(self) -> None:
        if self.tls is not None and self.tls.sending:
            data, self.tls.sending = self.tls.sending, b""
            self._send(data)


class AsyncioChannel(Channel, asyncio.Protocol):
    """A channel on a transport of asyncio or uvloop, which reads whether anybody waits or not."""

    def __init__(self) -> None:
        super().__init__()
        self._transport: Any = None
        self._full = False
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None
        self._writers: list[asyncio.Future[None]] = []

    # What the event loop says

    def connection_made(self, transport: Any) -> None:
        """Use the transport; a writer waits until the system has taken all of it."""
        self._transport = transport
        transport.set_write_buffer_limits(1, 0)  # with 0 the one of TLS pauses for nothing

    def data_received(self, data: bytes) -> None:
        """Take in bytes."""
        self.arrived(data)
        _wake(self._waiter)

    def eof_received(self) -> bool:
        """Take in that the node sends nothing more, which ends an HTTP/2 connection."""
        self._ended = True
        self.arrived(b"")
        _wake(self._waiter)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Let nobody wait any longer."""
        self._ended, self._full = True, False
        self.lost("the connection ended" if exc is None else f"the connection broke: {exc}")
        _wake(self._waiter)
        self._wake_writers()

    def pause_writing(self) -> None:
        """Let writers wait."""
        self._full = True

    def resume_writing(self) -> None:
        """Let the writers go on."""
        self._full = False
        self._wake_writers()

    # What calls do

    @property
    def full(self) -> bool:
        """Tell whether some of what was pushed has not left yet."""
        return self._full

    async def wait(self, stream: Http2Stream, timeout: float | None) -> None:
        """Wait until the stream has news, or the seconds have passed."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        stream.wake = lambda: _wake(future)
        timer = None if timeout is None else loop.call_later(timeout, _wake, future)
        try:
            await future
        finally:
            stream.wake = None
            if timer is not None:
                timer.cancel()

    async def drained(self, timeout: float | None) -> bool:
        """Wait until what was pushed has left; False where the seconds have passed before."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._writers.append(future)
        timer = None if timeout is None else loop.call_later(timeout, _wake, future)
        try:
            await future
        finally:
            with contextlib.suppress(ValueError):  # it was woken with all the others
                self._writers.remove(future)
            if timer is not None:
                timer.cancel()
        return not self._full

    async def settle(self) -> None:
        """Take in what lies in the socket, which the loop may not have looked at."""
        for _ in range(_LINGER_TURNS):
            if self.closed or not _is_readable(self._transport.get_extra_info("socket")):
                return
            await asyncio.sleep(0)

    def abort(self) -> None:
        """Close, as soon as what was pushed has left, or at once where it cannot."""
        self.closed = True
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    def get_extra_info(self, info: str) -> Any:
        """Tell what the streams of httpcore tell."""
        if info == "ssl_object":
            return None if self.tls is None else self.tls.object
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._transport.get_extra_info(names.get(info, info))

    def _send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    async def _more(self) -> None:
        if self._ended:
            raise ConnectionResetError("the node closed the connection in the TLS handshake")
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _wake_writers(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            _wake(writer)


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _is_readable(sock: socket.socket) -> bool:
    if sock.fileno() < 0:
        return False
    if not hasattr(select, "poll"):
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))
