"""How a connection on asyncio keeps the time of what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


class Alarm:
    """The timeout of one wait after another, by one timer of the loop for many of them.

    Nearly every wait ends before its time: a timer of its own for each was made, cancelled and left
    in the loop's heap, a twentieth of what a call takes beyond httpx's own client.
    """

    __slots__ = ("_due", "_error", "_loop", "_timer", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop, error: type[Exception]) -> None:
        self._loop = loop
        self._error = error
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None

    def set(self, waiter: asyncio.Future[None], seconds: float) -> None:
        """Have the future fail with the error if it is not done in so many seconds."""
        self._waiter, self._due = waiter, self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._due:
            self.stop()
            self._timer = self._loop.call_at(self._due, self._ring)

    def stop(self) -> None:
        """Take the timer from the loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        waiter, self._timer = self._waiter, None
        if waiter is None or waiter.done():
            return
        if self._loop.time() < self._due:  # the timer was of a wait before
            self._timer = self._loop.call_at(self._due, self._ring)
        else:
            waiter.set_exception(self._error("timed out"))
