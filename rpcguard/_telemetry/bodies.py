"""The body of an answer whose attempt is observed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Observed(Protocol):
    """What wants to know of the end of a body."""

    def note_end(self, error: BaseException | None = None) -> None:
        """Note that it is over; `error` says by what."""
        ...

    def closed(self) -> None:
        """Note that it is closed."""
        ...


class ObservedBody:
    """An answer's body of either kind, passed on, whose end is told to its attempt."""

    __slots__ = ("_attempt", "_parts", "_stream")

    def __init__(self, stream: Any, attempt: Observed) -> None:
        self._stream = stream
        self._attempt = attempt

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except Exception as error:
            self._attempt.note_end(error)
            raise

    def close(self) -> None:
        """Close the stream."""
        try:
            self._attempt.closed()
        finally:
            self._stream.close()

    # Not a generator: one more of them would have to be closed when it is left early.
    def __aiter__(self) -> AsyncIterator[bytes]:
        self._parts = self._stream.__aiter__()
        return self

    async def __anext__(self) -> bytes:
        try:
            part: bytes = await self._parts.__anext__()
        except StopAsyncIteration:
            raise
        except Exception as error:
            self._attempt.note_end(error)
            raise
        return part

    async def aclose(self) -> None:
        """Close the stream."""
        try:
            self._attempt.closed()
        finally:
            await self._stream.aclose()
