"""How many probes run at once and how soon one after the other, for all services of a process."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import RunVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MOST: Final = 32
"""Probes at once: a node that swallows connections holds a descriptor for the whole timeout."""

RATE: Final = 50.0
"""Probes a second: 5,000 dead nodes each have their turn within two minutes, at no cost to speak
of in time of the processor."""


class ProbeTurns:
    """The queue of probes: the lower rank first, then the one that waits longest.

    Belongs to one event loop.
    """

    def __init__(self, *, most: int = MOST, rate: float = RATE) -> None:
        self._free = most
        self._gap = 1.0 / rate
        self._next_at = 0.0
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, anyio.Event]] = []
        self._left: set[anyio.Event] = set()

    @asynccontextmanager
    async def turn(self, rank: int) -> AsyncIterator[None]:
        """Wait for a turn, and hold it."""
        granted = anyio.Event()
        heappush(self._waiting, (rank, next(self._order), granted))
        self._grant()
        try:
            await granted.wait()
            now = anyio.current_time()
            start = max(now, self._next_at)
            self._next_at = start + self._gap
            if start > now:
                await anyio.sleep(start - now)
            yield
        finally:
            if granted.is_set():
                self._free += 1
                self._grant()
            else:
                self._left.add(granted)

    def _grant(self) -> None:
        while self._waiting and self._free:
            *_, granted = heappop(self._waiting)
            if granted in self._left:
                self._left.discard(granted)
                continue
            self._free -= 1
            granted.set()


_of_loop: RunVar[ProbeTurns] = RunVar("rpcguard probes")


def probe_turns() -> ProbeTurns:
    """Give the queue of the running event loop."""
    try:
        return _of_loop.get()
    except LookupError:
        turns = ProbeTurns()
        _of_loop.set(turns)
        return turns
