"""Turns, by weight."""

from __future__ import annotations

import heapq
import random
from itertools import count
from typing import TYPE_CHECKING

from rpcguard._core.balancing.random import Random

if TYPE_CHECKING:
    from collections.abc import Collection

    from rpcguard._core.nodes.live import LiveNode


class RoundRobin:
    """The balancer that takes turns, each node as often as its effective weight says.

    Earliest deadline first (as in Envoy's scheduler): smooth like nginx's weighted round robin and
    O(log N) per pick. The order is random, so that many callers do not march in step. A retry takes
    no turn, it draws at random by effective weight: a failing node, which costs the others retries,
    would else come first more and more often.
    """

    def __init__(self, *, rng: random.Random | None = None) -> None:
        self.considered: tuple[tuple[LiveNode, float], ...] = ()
        self._order = count()
        self._queue: list[tuple[float, int, LiveNode]] = []
        self._member: dict[LiveNode, int] = {}
        self._time = 0.0
        rng = rng or random.Random()
        self._random = rng.random
        self._retries = Random(rng=rng)

    def __len__(self) -> int:
        return len(self._member)

    def add(self, live: LiveNode) -> None:
        """Take in a node; its first turn comes within its own period."""
        self._push(live, self._time, self._random())
        self._retries.add(live)

    def remove(self, live: LiveNode) -> None:
        """Remove a node; its place in the queue is skipped later."""
        del self._member[live]
        self._retries.remove(live)
        if len(self._queue) > 2 * len(self._member) + 16:
            self._queue = [entry for entry in self._queue if self._current(entry)]
            heapq.heapify(self._queue)

    def pick(self, now: float, excluded: Collection[LiveNode] = ()) -> LiveNode | None:
        """Pick the node whose turn it is, or for a retry any that is not excluded."""
        if excluded:
            live = self._retries.pick(now, excluded)
            self.considered = self._retries.considered
            return live
        while self._queue:
            entry = heapq.heappop(self._queue)
            if self._current(entry):
                live = entry[2]
                self._time = max(self._time, entry[0])
                self._push(live, entry[0], 1.0)
                self.considered = ((live, 0.0),)
                return live
        self.considered = ()
        return None

    def _push(self, live: LiveNode, since: float, periods: float) -> None:
        order = next(self._order)
        self._member[live] = order
        heapq.heappush(self._queue, (since + periods / live.effective_weight, order, live))

    def _current(self, entry: tuple[float, int, LiveNode]) -> bool:
        return self._member.get(entry[2]) == entry[1]
