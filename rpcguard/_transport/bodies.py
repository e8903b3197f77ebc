"""The bodies that pass through a transport: what is sent, and what is answered."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from rpcguard._core.call.timeouts import Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from rpcguard._core.call.call import Call
    from rpcguard._core.nodes.live import Lease
    from rpcguard._core.service.service import Service

BODY_TOO_LONG = "the body is longer than the head of its answer says"


class OneShotBody:
    """A request's body that cannot be sent twice, and that knows what became of it."""

    def __init__(self, stream: Any, consumed: type[Exception]) -> None:
        self._stream = stream
        self._consumed = consumed
        self._error: Exception | None = None
        self.touched: bool = False
        """Whether it was begun."""

    def _note(self, error: Exception) -> None:
        self._error = error

    def has_raised(self, error: Exception) -> bool:
        """Tell whether an error is the caller's own, as that of the call that the body comes from.

        Its class does not tell: that may be any of the library's, of connecting too.
        """
        own = self._error
        return own is not None and (own is error or own is error.__cause__)


class SyncOneShotBody(OneShotBody):
    """A request's body that cannot be sent twice, for threads."""

    def __iter__(self) -> Iterator[bytes]:
        if self.touched:
            raise self._consumed
        self.touched = True
        try:
            yield from self._stream
        except Exception as error:
            self._note(error)
            raise

    def close(self) -> None:
        """Close the caller's stream."""
        self._stream.close()


class GuardedBody:
    """What an answer's body that is handed out holds until its end."""

    def __init__(
        self,
        stream: Any,
        service: Service,
        call: Call,
        lease: Lease,
    ) -> None:
        self._stream = stream
        self._service = service
        self._lease = lease
        self._call = call
        self._open = True

    def _note(self, error: BaseException) -> None:
        if isinstance(error, Exception):
            self._call.break_off(self._lease, error)

    def _give_back(self) -> None:
        self._service.release(self._lease)
        self._call.end()


class SyncGuardedBody(GuardedBody):
    """An answer's body: its end gives the node back, its failure counts against it."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except BaseException as error:
            self._note(error)
            self.close()
            raise

    def close(self) -> None:
        """Close the child's stream and give the node back; once, however often it is called."""
        if not self._open:
            return
        self._open = False
        try:
            self._stream.close()
        finally:
            self._give_back()


class TimedBody:
    """The body of an answer of a user's own child, which keeps no deadline between two parts."""

    def __init__(self, stream: Any, timeouts: Timeouts, too_late: type[Exception]) -> None:
        self._stream = stream
        self._timeouts = timeouts
        self._too_late = too_late

    def _check(self) -> None:
        if self._timeouts.left <= 0.0:
            raise self._too_late("the deadline passed while the answer's body came")


def keep_in_time(
    kind: type[TimedBody], reply: Any, timeouts: Any, too_late: type[Exception]
) -> None:
    """Have the answer of a user's own child end with the time of its attempt, if that has one."""
    if isinstance(timeouts, Timeouts) and not reply.is_closed:
        reply.stream = kind(reply.stream, timeouts, too_late)


class SyncTimedBody(TimedBody):
    """Such a body, for threads."""

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            self._check()
            yield part

    def close(self) -> None:
        """Close the child's stream."""
        self._stream.close()


class AsyncParts:
    """The parts of somebody's stream, which are passed on; `aclose` is for whoever stops early.

    Not a generator: the collector may end one that is left early together with the stream's own,
    and neither may then wait for the other.
    """

    def __init__(self, stream: Any) -> None:
        self._parts: AsyncIterator[bytes] = aiter(stream)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._parts)

    async def aclose(self) -> None:
        """End the stream's generator, where it is one: it would wait for the collector."""
        if isinstance(self._parts, AsyncGenerator):
            await self._parts.aclose()


class AsyncTimedParts(AsyncParts):
    """The parts of an answer, until its time is over."""

    def __init__(self, stream: Any, check: Callable[[], None]) -> None:
        super().__init__(stream)
        self._check = check

    async def __anext__(self) -> bytes:
        part = await super().__anext__()
        try:
            self._check()
        except BaseException:
            await self.aclose()
            raise
        return part


class AsyncTimedBody(TimedBody):
    """Such a body, for tasks."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return AsyncTimedParts(self._stream, self._check)

    async def aclose(self) -> None:
        """Close the child's stream."""
        await self._stream.aclose()


class SyncResumedBody:
    """The body of an answer of which some parts were read ahead: these, and then the rest."""

    def __init__(self, parts: list[bytes], rest: Iterator[bytes], stream: Any) -> None:
        self._parts = parts
        self._rest = rest
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts
        yield from self._rest

    def close(self) -> None:
        """Close the child's stream."""
        self._stream.close()


class AsyncOneShotParts(AsyncParts):
    """The parts of a request's body, and what their maker raises."""

    def __init__(self, stream: Any, note: Callable[[Exception], None]) -> None:
        super().__init__(stream)
        self._note = note

    async def __anext__(self) -> bytes:
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            raise
        except Exception as error:
            self._note(error)
            raise


class AsyncOneShotBody(OneShotBody):
    """A request's body that cannot be sent twice, for tasks."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self.touched:
            raise self._consumed
        self.touched = True
        try:
            return AsyncOneShotParts(self._stream, self._note)
        except Exception as error:
            self._note(error)
            raise

    async def aclose(self) -> None:
        """Close the caller's stream."""
        await self._stream.aclose()


class AsyncGuardedBody(GuardedBody):
    """An answer's body: its end gives the node back, its failure counts against it."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except BaseException as error:
            self._note(error)
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Give the node back and close the child's stream; once, however often it is called."""
        if not self._open:
            return
        self._open = False
        # Before anything is awaited, so that a cancelled scope cannot skip it.
        self._give_back()
        await self._stream.aclose()


class AsyncResumedBody:
    """The body of an answer of which some parts were read ahead: these, and then the rest."""

    def __init__(self, parts: list[bytes], rest: AsyncIterator[bytes], stream: Any) -> None:
        self._parts = parts
        self._rest = rest
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part
        async for part in self._rest:
            yield part

    async def aclose(self) -> None:
        """Close the child's stream."""
        await self._stream.aclose()
