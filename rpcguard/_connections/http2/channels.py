"""The bytes of one HTTP/2 connection, between its books and a socket."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rpcguard._connections.asyncio_stream import AsyncioStream

if TYPE_CHECKING:
    from rpcguard._connections.socket_stream import SocketStream
    from rpcguard._wire.h2_session import Http2Session
    from rpcguard._wire.h2_streams import Http2Stream

StreamT = TypeVar("StreamT", bound="SocketStream")

_PLAIN, _DECRYPTED = 64 * 1024, 2**30
"""Bytes of one read: what a socket holds by default, about; of TLS all that is decrypted, for no
look at the socket tells of what would stay behind."""

_ROUNDS = 8
"""Reads before others have their turn: half a MiB, a few milliseconds of the event loop."""


class Channel(Generic[StreamT]):
    """What threads and tasks share of a connection's bytes; a subclass knows how to wait.

    `push` hands bytes over and never waits: what was pushed belongs to the connection, so a call
    that is cancelled or times out leaves no half of a frame behind. `take_in` reads what has come,
    for whichever stream it is.
    """

    def __init__(self, stream: Any, session: Http2Session) -> None:
        self.stream: StreamT = stream
        self.session = session
        self.closed: bool = False
        self._unsent = bytearray()
        self._writing = False
        self._limit = _PLAIN if stream.get_extra_info("ssl_object") is None else _DECRYPTED
        self._lost = (stream.core.ReadError, stream.core.WriteError)

    @property
    def full(self) -> bool:
        """Tell whether some of what was pushed has not left yet."""
        return bool(self._unsent) or not (self.closed or self._flushed())

    def start(self) -> None:
        """Begin HTTP/2, and take in what came with the end of the TLS handshake."""
        self.session.start()
        self.flush()
        self.take_in()

    def flush(self) -> None:
        """Push what the books have to send."""
        self.push(self.session.output())

    def push(self, data: bytes) -> None:
        """Send bytes now, or as soon as there is room; nothing where the connection has ended."""
        if self.closed or not data:
            return
        if self._unsent:
            self._unsent += data
            return
        taken = self._send(data)
        self._unsent += data[taken:]
        if self.full:
            self._keep_writing()

    def take_in(self) -> None:
        """Read what has come, without waiting."""
        stream, session = self.stream, self.session
        if self.closed:
            return
        try:
            for _ in range(_ROUNDS):
                data = stream.receive(self._limit)
                if data is None:
                    break
                if not data:
                    session.end("the node closed the connection")
                    break
                session.receive(data)
        except self._lost as error:
            session.end(f"the connection broke: {error}")
        self.flush()
        if session.ended is not None:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        self.closed = True
        self._unsent.clear()
        self.stream.close()

    def _keep_writing(self) -> None:
        if not self._writing:
            self._writing = True
            self._write_later()

    def _write_later(self) -> None:
        """See to it that the rest is written when there is room."""

    def _write(self) -> bool:
        """Write what there is room for; True when nothing is left."""
        unsent = self._unsent
        if unsent and not self.closed:
            del unsent[: self._send(bytes(unsent))]
        return not self.full

    def _send(self, data: bytes) -> int:
        view, taken = memoryview(data), 0
        try:
            while taken < len(data) and (step := self.stream.send(view[taken:])):
                taken += step
        except self._lost as error:
            self._break(error)
            return len(data)
        return taken

    def _flushed(self) -> bool:
        try:
            return self.stream.flush()
        except self._lost as error:
            self._break(error)
            return True

    def _break(self, error: Exception) -> None:
        # What the node said before it closed may still lie in the socket: a GOAWAY, an answer.
        self._unsent.clear()
        self.closed, reading = True, self.session
        with contextlib.suppress(*self._lost):
            while data := self.stream.receive(self._limit):
                reading.receive(data)
        reading.end(f"the connection broke: {error}")
        self.abort()


class AsyncioChannel(Channel[AsyncioStream]):
    """A channel on an event loop of asyncio, which reads whether anybody waits or not."""

    def __init__(self, stream: Any, session: Http2Session) -> None:
        super().__init__(stream, session)
        self._loop = asyncio.get_running_loop()
        self._writers: list[asyncio.Future[None]] = []
        stream.on_stir = self.take_in

    def start(self) -> None:
        """Begin HTTP/2, and to listen."""
        super().start()
        self.stream.listen()

    async def wait(self, stream: Http2Stream, timeout: float | None) -> None:
        """Wait until the stream has news, or the seconds have passed."""
        future = self._loop.create_future()
        stream.wake = lambda: _wake(future)
        timer = None if timeout is None else self._loop.call_later(timeout, _wake, future)
        try:
            await future
        finally:
            stream.wake = None
            if timer is not None:
                timer.cancel()

    async def drained(self, timeout: float | None) -> bool:
        """Wait until what was pushed has left; False where the seconds have passed before."""
        future = self._loop.create_future()
        self._writers.append(future)
        self._keep_writing()
        timer = None if timeout is None else self._loop.call_later(timeout, _wake, future)
        try:
            await future
        finally:
            with contextlib.suppress(ValueError):  # it was woken with all the others
                self._writers.remove(future)
            if timer is not None:
                timer.cancel()
        return not self.full

    def abort(self) -> None:
        """Close at once, and let nobody wait any longer."""
        super().abort()
        self._wake_writers()

    def _write_later(self) -> None:
        self._loop.add_writer(self.stream.get_extra_info("socket"), self._writable)

    def _writable(self) -> None:
        if self._write() and not self.closed:
            self._writing = False
            self._loop.remove_writer(self.stream.get_extra_info("socket"))
            self._wake_writers()

    def _wake_writers(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            _wake(writer)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done() and not future.get_loop().is_closed():
        future.set_result(None)
