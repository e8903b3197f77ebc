"""How many probes run at once and how soon one after the other, for all services of a process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import RunVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rpcguard._core.nodes.live import LiveNode

MOST: Final = 32
"""Probes at once: a node that swallows connections holds a descriptor for the whole timeout."""

RATE: Final = 50.0
"""Probes a second: 5,000 dead nodes each have their turn within three minutes, at no cost to speak
of in time of the processor."""

RANKS: Final = 3
"""Kinds of probes by how soon they are wanted: a node that said that it leaves, one that was just
ejected, all others."""

_SHARE: Final = 8
"""One turn in so many goes to the last rank first: a release that marks many nodes, each probed
once a second, would keep the dead ones from being found."""


class ProbeTurns:
    """The queue of probes: the lower rank first, then the one that waits longest.

    Belongs to one event loop. `probed` has the nodes that have a prober.
    """

    def __init__(self, *, most: int = MOST, rate: float = RATE) -> None:
        self.probed: set[LiveNode] = set()
        self._free = most
        self._gap = 1.0 / rate
        self._next_at = 0.0
        self._granted = 0
        self._waiting: tuple[dict[anyio.Event, None], ...] = tuple({} for _ in range(RANKS))

    @asynccontextmanager
    async def turn(self, rank: int) -> AsyncIterator[None]:
        """Wait for a turn, and hold it."""
        granted = anyio.Event()
        self._waiting[rank][granted] = None
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
                del self._waiting[rank][granted]

    def _grant(self) -> None:
        while self._free and any(self._waiting):
            self._granted += 1
            ranks = self._waiting if self._granted % _SHARE else self._waiting[::-1]
            rank = next(one for one in ranks if one)
            granted = next(iter(rank))
            del rank[granted]
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
