"""gRPC as registries need it: calls in both directions over one HTTP/2 connection of our own."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import anyio
import anyio.lowlevel

from rpcguard._text import host_and_port
from rpcguard._version import __version__
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.bodies import reason
from rpcguard.registries._shared.documents import MAX_BYTES
from rpcguard.registries._shared.grpc_dial import dialled

try:
    from rpcguard._wire.h2_faults import OwnFault
    from rpcguard._wire.h2_headers import request_fields
    from rpcguard._wire.h2_session import Http2Session
except ModuleNotFoundError as _missing:
    raise ImportError("gRPC needs the package h2: pip install 'rpcguard[xds]'") from _missing

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Sequence

    from anyio.abc import ByteStream

    from rpcguard._wire.h2_headers import Head
    from rpcguard._wire.h2_streams import Http2Stream

_READ: Final = 64 * 1024  # bytes of one read: what a socket holds by default, about

_PREFIX: Final = 5
"""Bytes before a message: whether it is packed, and its length."""

_UNAVAILABLE, _UNAUTHENTICATED, _DENIED, _UNKNOWN = 14, 16, 7, 2
"""Codes of gRPC."""

_OF_STATUS: Final = {401: _UNAUTHENTICATED, 403: _DENIED, 429: 14, 502: 14, 503: 14, 504: 14}
"""What an HTTP status is where a proxy answers in place of gRPC, by its own table."""


class GrpcError(RegistryError):
    """The end of a call that is no success; `code` is gRPC's."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code: int = code


class GrpcChannel:
    """One connection to a server of gRPC, for any number of calls.

    Made by `connected`, and closed with its block. Works on asyncio and trio; belongs to one event
    loop, and is not for several threads.
    """

    def __init__(
        self, stream: ByteStream, *, authority: str, secure: bool, shown: str, patience: float
    ) -> None:
        self.shown: str = shown
        self.patience: float = patience
        self._stream = stream
        self._session = Http2Session()
        self._authority = authority.encode()
        self._scheme = b"https" if secure else b"http"
        self._work = anyio.Event()
        self._session.start()

    @property
    def answers(self) -> bool:
        """Tell whether the server has begun to speak HTTP/2."""
        return self._session.ready

    @property
    def usable(self) -> bool:
        """Tell whether another call may begin."""
        return self._session.usable

    def open(self, path: str, metadata: Sequence[tuple[str, str]] = ()) -> GrpcStream:
        """Begin a call; `metadata` are headers. Nothing waits for an answer to them.

        A server may send its headers with its first message, so whoever waited for them before he
        sends his own would wait for ever.
        """
        raw = [
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"user-agent", f"rpcguard/{__version__}".encode()),
            *((name.encode(), value.encode()) for name, value in metadata),
        ]
        try:
            pairs = request_fields(raw).pairs
        except OwnFault:
            # Its text, and so the chain, repeats the header that is at fault: maybe a token.
            raise RegistryError(f"{self.shown}: a request header cannot be sent") from None
        headers = [
            (b":method", b"POST"),
            (b":scheme", self._scheme),
            (b":authority", self._authority),
            (b":path", path.encode()),
            *pairs,
        ]
        if not self._session.usable:
            raise GrpcError(f"{self.shown}: the connection has ended", code=_UNAVAILABLE)
        if len(self._session.streams) >= self._session.capacity:
            raise GrpcError(f"{self.shown}: no room for another call", code=_UNAVAILABLE)
        stream = self._session.open(headers, end=False, bodiless=False)
        self.flush()
        return GrpcStream(self, self._session, stream)

    async def unary(
        self, path: str, message: bytes, metadata: Sequence[tuple[str, str]] = ()
    ) -> bytes:
        """Ask one question; raise `GrpcError` where the answer is none."""
        stream = self.open(path, metadata)
        try:
            await stream.send(message, end=True)
            answer = await stream.receive()
            if answer is None:
                raise GrpcError(f"{self.shown}: an answer without a message", code=_UNKNOWN)
            # The status comes after it, and may say that it is none.
            if await stream.receive() is not None:
                raise GrpcError(f"{self.shown}: more than one answer", code=_UNKNOWN)
            return answer
        finally:
            stream.close()

    def flush(self) -> None:
        """Have sent what the books have to send."""
        self._work.set()

    async def read(self) -> None:
        """Take in what comes, until the connection ends."""
        try:
            while self._session.ended is None:
                self._session.receive(await self._stream.receive(_READ))
                self.flush()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            self._session.end("the server closed the connection")
        except (anyio.BrokenResourceError, OSError) as error:
            self._session.end(f"the connection broke: {reason(error)}")
        self.flush()

    async def write(self) -> None:
        """Send what there is to be sent, until the connection ends."""
        while self._session.ended is None:
            self._work = anyio.Event()
            data = self._session.output()
            if not data:
                await self._work.wait()
                continue
            try:
                await self._stream.send(data)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
                self._session.end(f"the connection broke: {reason(error)}")


class GrpcStream:
    """One call: messages both ways, in any order."""

    def __init__(self, channel: GrpcChannel, session: Http2Session, stream: Http2Stream) -> None:
        self._channel = channel
        self._session = session
        self._stream = stream
        self._data = bytearray()
        self._news = anyio.Event()
        stream.wake = self._stir

    async def send(self, message: bytes, *, end: bool = False) -> None:
        """Send a message, the last one if `end`.

        Raises `GrpcError` where the call has ended, and where the server does not take it in time:
        its window opens as it reads, and what it says meanwhile would not be heard.
        """
        patience = self._channel.patience
        try:
            with anyio.fail_after(patience):
                await self._send(message, end=end)
        except TimeoutError:
            told = f"a message was not taken in {patience:g} s"
            raise self._error(told, code=_UNAVAILABLE) from None

    async def _send(self, message: bytes, *, end: bool) -> None:
        left = memoryview(b"\0" + len(message).to_bytes(4, "big") + message)
        stream = self._stream
        while True:
            news = self._news
            if stream.failure is not None or stream.ended:
                raise self._end()
            left = left[self._session.send(stream, left, end=end) :]
            self._channel.flush()
            if not left:
                return
            await news.wait()

    async def receive(self) -> bytes | None:
        """Give the next message, None at the end; raise `GrpcError` where that is no success."""
        # Before anything is taken, so that who is cancelled here loses nothing: a flood of small
        # messages that have all come would keep every other task from its turn.
        await anyio.lowlevel.checkpoint()
        while True:
            news = self._news
            self._data += self._session.take(self._stream)
            self._channel.flush()
            message = self._message()
            if message is not None:
                return message
            if self._stream.failure is not None or self._stream.ended:
                if (error := self._end()).code:
                    raise error
                return None
            await news.wait()

    def close(self) -> None:
        """Give the call up; one that is over is no error."""
        self._session.leave(self._stream)
        self._channel.flush()

    def _stir(self) -> None:
        # One task may wait to send while another waits to receive.
        news, self._news = self._news, anyio.Event()
        news.set()

    def _message(self) -> bytes | None:
        data = self._data
        if len(data) < _PREFIX:
            return None
        size = int.from_bytes(data[1:_PREFIX], "big")
        head = self._stream.head
        if head is not None and not _is_grpc(head):
            raise self._not_grpc(head)
        if data[0]:
            raise self._error("a message is packed, which was not asked for")
        if size > MAX_BYTES:
            raise self._error(f"a message has {size} bytes, more than {MAX_BYTES}")
        end = _PREFIX + size
        if len(data) < end:
            return None
        message = bytes(data[_PREFIX:end])
        del data[:end]
        return message

    def _end(self) -> GrpcError:
        """Make of the end of the call an error, of code 0 where it is none."""
        stream = self._stream
        if stream.failure is not None:
            return self._error(str(stream.failure), code=_UNAVAILABLE)
        head = stream.head
        assert head is not None
        told = dict([*head.pairs, *stream.trailers])
        status = told.get(b"grpc-status", b"")
        if not status.isdigit() or len(status) > 2:
            return self._not_grpc(head)
        text = unquote(told.get(b"grpc-message", b"").decode("ascii", "replace"))
        return self._error(f"gRPC status {int(status)}: {text[:200]}", code=int(status))

    def _not_grpc(self, head: Head) -> GrpcError:
        code = _OF_STATUS.get(head.status, _UNKNOWN)
        return self._error(f"HTTP status {head.status}, and none of gRPC", code=code)

    def _error(self, text: str, *, code: int = _UNKNOWN) -> GrpcError:
        if code in (_UNAUTHENTICATED, _DENIED):
            text = f"{text}; are the credentials right?"
        return GrpcError(f"{self._channel.shown}: {text}", code=code)


def _is_grpc(head: Head) -> bool:
    kind = dict(head.pairs).get(b"content-type", b"")
    return head.status == 200 and kind.startswith(b"application/grpc")


@asynccontextmanager
async def connected(
    host: str,
    port: int,
    *,
    patience: float,
    tls: ssl.SSLContext | None = None,
    name: str | None = None,
    path: str | None = None,
) -> AsyncIterator[GrpcChannel]:
    """Open a connection to a server; raise `RegistryError` where there is none.

    `patience` is for how many seconds a message may wait to be taken. `tls` is the context of a
    connection with TLS, whose certificate must be for `name`, else for the host; `path` is a Unix
    socket, in place of host and port.
    """
    shown = path or host_and_port(host, port)
    stream = await dialled(host, port, tls=tls, name=name, path=path, shown=shown)
    try:
        channel = GrpcChannel(
            stream,
            authority=name or host_and_port(host, port),
            secure=tls is not None,
            shown=shown,
            patience=patience,
        )
        failure: RegistryError | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(channel.read)
            group.start_soon(channel.write)
            try:
                yield channel
            except RegistryError as error:
                failure = error  # raised below: a task group would wrap it
            finally:
                group.cancel_scope.cancel()
        if failure is not None:
            raise failure
    finally:
        with anyio.CancelScope(shield=True), suppress(OSError, anyio.BrokenResourceError):
            await anyio.aclose_forcefully(stream)
