"""How bodies are read: whole and capped, or line by line for as long as they go on."""

from __future__ import annotations

import socket
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import anyio
import httpx

from rpcguard.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

_LONGEST_REASON: Final = 200  # characters: an error may carry the page of a proxy


class SilenceError(RegistryError):
    """The error of a stream that said nothing for too long; it may be broken or just quiet."""


@contextmanager
def as_registry_error(shown: str, late: str) -> Iterator[None]:
    """Turn what goes wrong with an exchange into a `RegistryError` that shows no secret."""
    try:
        yield
    except TimeoutError:
        raise RegistryError(f"{shown}: {late}") from None
    except httpx.LocalProtocolError:
        # Its text, and so the chain, repeats the header that is at fault: maybe a password.
        raise RegistryError(f"{shown}: a request header cannot be sent") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        raise RegistryError(f"{shown}: {reason(error)}") from error


async def read_body(response: httpx.Response, limit: int, shown: str) -> bytes:
    """Read a body to its end, unpacked; raise `RegistryError` when it is over the limit or cut."""
    encoding = _encoding(response, shown)
    body = _Body(limit, packed=encoding == "gzip")
    fault: ValueError | None = None
    # Cancelled, not just left: trio warns of every generator below that does not come to an end.
    with anyio.CancelScope() as scope:
        async for chunk in response.aiter_raw():
            try:
                if fault is None:
                    body.feed(chunk)
            except ValueError as error:
                fault = error
                scope.cancel()
    if fault is not None:
        raise RegistryError(f"{shown}: {fault}") from fault
    if body.is_cut:
        raise RegistryError(f"{shown}: the answer is cut short")
    return bytes(body.data)


class Lines:
    """An answer that goes on and on, line by line, without the line ends.

    An async iterator, to be closed by `aclose` however it ended; no generator, so it can be left at
    any line. Ends with the body. Raises `SilenceError` when nothing comes for the idle time, and
    `RegistryError` when the stream breaks, is cut within a line, or a line is over `limit` bytes.
    """

    status: Final = 200  # any other answer is read as a whole, for what it says of the error

    def __init__(
        self,
        response: httpx.Response,
        *,
        limit: int,
        shown: str,
        on_close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._response = response
        self._on_close = on_close
        self._chunks: AsyncIterator[bytes] = response.aiter_raw()
        self._limit = limit
        self._shown = shown
        self._data = bytearray()
        self._searched = 0

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> bytes:
        while (end := self._data.find(b"\n", self._searched)) < 0:
            self._searched = len(self._data)
            if self._searched > self._limit:
                raise self._error(f"a line has more than {self._limit} bytes")
            chunk = await self._receive()
            if chunk is None and self._data:
                raise self._error("the stream is cut within a line")
            if chunk is None:
                raise StopAsyncIteration
            self._data += chunk
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        self._searched = 0
        return line

    async def aclose(self) -> None:
        """Close the connection; again is no error."""
        # In a cancelled scope, so that each generator below comes to an end: trio warns otherwise.
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                async for _ in self._chunks:
                    pass
            except httpx.HTTPError:
                pass  # it is thrown away: how it broke is of no interest
        try:
            await self._response.aclose()
        finally:
            told, self._on_close = self._on_close, None
            if told is not None:
                await told()

    async def _receive(self) -> bytes | None:
        with as_registry_error(self._shown, "nothing came"):
            try:
                return await anext(self._chunks, None)
            except httpx.ReadTimeout:
                raise SilenceError(f"{self._shown}: the stream has gone silent") from None

    def _error(self, what: str) -> RegistryError:
        return RegistryError(f"{self._shown}: {what}")


class _Body:
    """A body, unpacked, up to a limit: httpx unpacks a chunk before its size is known."""

    def __init__(self, limit: int, *, packed: bool) -> None:
        self.data = bytearray()
        self._limit = limit
        self._gzip = zlib.decompressobj(zlib.MAX_WBITS | 16) if packed else None

    @property
    def is_cut(self) -> bool:
        return self._gzip is not None and bool(self.data) and not self._gzip.eof

    def feed(self, chunk: bytes) -> None:
        """Take a chunk; raise `ValueError` when the body is too large or wrongly packed."""
        if self._gzip is not None:
            try:
                chunk = self._gzip.decompress(chunk, self._limit + 1 - len(self.data))
            except zlib.error as error:
                raise ValueError(f"the answer is no gzip: {error}") from error
            if self._gzip.unused_data:
                raise ValueError("the answer has more than one gzip stream")
        self.data += chunk
        if len(self.data) > self._limit:
            raise ValueError(f"the answer has more than {self._limit} bytes")


def _encoding(response: httpx.Response, shown: str) -> str:
    encoding: str = response.headers.get("content-encoding", "").lower() or "identity"
    if encoding not in ("gzip", "identity"):
        raise RegistryError(f"{shown}: content encoding {encoding[:40]!r} was not asked for")
    return encoding


def reason(error: BaseException) -> str:
    """Say what an exception is, briefly: a connection refused, reset or late, or a name unknown."""
    name = type(error).__name__
    for one in _chain(error):
        for kind, words in _TROUBLES:
            if isinstance(one, kind):
                return f"{name}: {words}"
    told: BaseException | None = error
    while isinstance(told, Exception) and not str(told):  # on trio the cause alone tells
        told = told.__cause__ or told.__context__
    # What comes first of all in a timeout is the cancellation, with nothing to say to people.
    return f"{name}: {told}"[:_LONGEST_REASON] if isinstance(told, Exception) else name


_TROUBLES: Final = (
    (ConnectionRefusedError, "the connection is refused; is the registry up, and its port right?"),
    ((ConnectionResetError, BrokenPipeError), "the connection was reset"),
    (socket.gaierror, "the name cannot be resolved"),
    (httpx.ConnectTimeout, "no connection in time; is the address right, and no firewall between?"),
)
"""What a transport calls by one name or none, told apart by what lies below it."""


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException | None] = [error]
    for one in seen:
        if one is None:
            continue
        yield one
        if isinstance(one, BaseExceptionGroup):
            seen += one.exceptions
        seen += [cause for cause in (one.__cause__, one.__context__) if cause not in seen]
