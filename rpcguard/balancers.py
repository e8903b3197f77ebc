"""How a node is picked among those that are eligible."""

from __future__ import annotations

import heapq
import random
from bisect import bisect
from collections.abc import Collection
from itertools import accumulate, count
from operator import attrgetter
from statistics import median
from typing import Protocol

from rpcguard.live import LiveNode

_SAMPLE = 9
_NEARLY = 1.25
_CREDIT = 8.0
_REFRESH = 128
_UNKNOWN_LATENCY = 0.001

_weight_of = attrgetter("weight")


class Balancer(Protocol):
    """Pick one of the eligible nodes of a service.

    Called only under the lock of its service, so it needs none of its own. `considered` holds the
    nodes that the last pick compared, with their loads, the picked one first.
    """

    considered: tuple[tuple[LiveNode, float], ...]

    def __len__(self) -> int:
        """Count the eligible nodes."""
        ...

    def add(self, live: LiveNode) -> None:
        """Take in a node that has become eligible."""
        ...

    def remove(self, live: LiveNode) -> None:
        """Let go of a node that is no longer eligible."""
        ...

    def reweighed(self) -> None:
        """Learn that the registry's weight of a node has changed."""
        ...

    def pick(self, now: float, excluded: Collection[LiveNode] = ()) -> LiveNode | None:
        """Pick a node that is not excluded; None when there is none."""
        ...


class _Pool:
    """Keep the eligible nodes in a list, with O(1) add and remove."""

    def __init__(self, *, rng: random.Random | None = None) -> None:
        self.considered: tuple[tuple[LiveNode, float], ...] = ()
        self._rng = rng or random.Random()
        self._nodes: list[LiveNode] = []
        self._places: dict[LiveNode, int] = {}
        self._cumulative: list[float] | None = None
        self._uniform = True
        self._settled = True

    def __len__(self) -> int:
        return len(self._nodes)

    def add(self, live: LiveNode) -> None:
        self._places[live] = len(self._nodes)
        self._nodes.append(live)
        self._settled = False

    def remove(self, live: LiveNode) -> None:
        place = self._places.pop(live)
        last = self._nodes.pop()
        if last is not live:
            self._nodes[place] = last
            self._places[last] = place
        self._settled = False

    def reweighed(self) -> None:
        self._settled = False

    def _settle(self) -> None:
        weights = list(map(_weight_of, self._nodes))
        self._uniform = not weights or min(weights) == max(weights)
        self._cumulative = None if self._uniform else list(accumulate(weights))
        self._settled = True

    def _draw(self) -> LiveNode:
        if not self._settled:
            self._settle()
        nodes = self._nodes
        if self._cumulative is None:
            return nodes[int(self._rng.random() * len(nodes))]
        at = bisect(self._cumulative, self._rng.random() * self._cumulative[-1])
        return nodes[min(at, len(nodes) - 1)]

    def _draw_but(self, excluded: Collection[LiveNode]) -> LiveNode | None:
        for _ in range(8):
            live = self._draw()
            if live not in excluded:
                return live
        left = [live for live in self._nodes if live not in excluded]
        return self._rng.choices(left, list(map(_weight_of, left)))[0] if left else None


class Random(_Pool):
    """Pick at random, by effective weight; a warming node is thinned."""

    def pick(self, now: float, excluded: Collection[LiveNode] = ()) -> LiveNode | None:
        """Pick a node; O(log N), O(1) with equal weights."""
        del now
        if not self._nodes:
            return None
        live = self._draw_but(excluded)
        for _ in range(8):
            if live is None or live.ramp == 1.0 or self._rng.random() < live.ramp:
                break
            live = self._draw_but(excluded)
        self.considered = ((live, 0.0),) if live is not None else ()
        return live


class LeastLoaded(_Pool):
    """Pick the less loaded of two nodes drawn by weight; the default.

    The power of two choices (Mitzenmacher) over peak EWMA latency (Finagle), O(1) at any size.
    Loads within a quarter of each other count as equal: then the node with fewer turns, that is
    fewer picks for its effective weight, is taken, which spreads idle traffic as evenly as round
    robin. A warming node that is ahead of its turns gives way whatever its load, so it gets what
    its ramp allows, no more, and a share of its own even when hardly anything is called.
    """

    def __init__(self, *, rng: random.Random | None = None) -> None:
        super().__init__(rng=rng)
        self._typical = _UNKNOWN_LATENCY
        self._picks = 0

    def add(self, live: LiveNode) -> None:
        """Take in a node; it starts level with the turns of the others."""
        if self._nodes:
            live.turns = median(other.turns for other in self._sample())
        super().add(live)

    def pick(self, now: float, excluded: Collection[LiveNode] = ()) -> LiveNode | None:
        """Pick a node; O(1) with equal weights, else O(log N)."""
        nodes = self._nodes
        if not nodes:
            return None
        self._picks += 1
        if self._picks % _REFRESH == 1:
            self._typical = self._typical_latency()
        first, second = self._two() if not excluded else self._two_but(excluded)
        if first is None:
            return None
        if second is None:
            self.considered = ((first, 0.0),)
            return first
        return self._better(first, second, now)

    def _two(self) -> tuple[LiveNode, LiveNode | None]:
        nodes = self._nodes
        size = len(nodes)
        if size == 1:
            return nodes[0], None
        if not self._settled:
            self._settle()
        if self._uniform:
            rand = self._rng.random
            at = int(rand() * size)
            other = int(rand() * (size - 1))
            return nodes[at], nodes[other + (other >= at)]
        first = self._draw()
        return first, self._draw_but((first,))

    def _two_but(self, excluded: Collection[LiveNode]) -> tuple[LiveNode | None, LiveNode | None]:
        first = self._draw_but(excluded)
        return first, self._draw_but((*excluded, first)) if first is not None else None

    def _better(self, first: LiveNode, second: LiveNode, now: float) -> LiveNode:
        one, two = first.load(now, self._typical), second.load(now, self._typical)
        nearly = one <= two * _NEARLY and two <= one * _NEARLY
        swap = first.turns > second.turns if nearly else one > two
        if swap:
            first, second, one, two = second, first, two, one
        if first.ramp < 1.0 and first.turns > second.turns:
            first, second, one, two = second, first, two, one
        lag = second.turns - first.turns - _CREDIT / (first.weight or 1.0)
        if lag > 0.0:
            # Turns missed while the node was slow or ejected are not made up for in one burst.
            first.turns += lag
        self.considered = ((first, one), (second, two))
        return first

    def _sample(self) -> list[LiveNode]:
        nodes = self._nodes
        return nodes if len(nodes) <= _SAMPLE else self._rng.sample(nodes, _SAMPLE)

    def _typical_latency(self) -> float:
        known = [live.latency for live in self._sample() if live.latency]
        return median(known) if known else self._typical


class RoundRobin:
    """Take turns, each node as often as its effective weight says.

    Earliest deadline first (as in Envoy's scheduler): smooth like nginx's weighted round robin and
    O(log N) per pick.
    """

    def __init__(self) -> None:
        self.considered: tuple[tuple[LiveNode, float], ...] = ()
        self._order = count()
        self._queue: list[tuple[float, int, LiveNode]] = []
        self._member: dict[LiveNode, int] = {}
        self._time = 0.0

    def __len__(self) -> int:
        return len(self._member)

    def add(self, live: LiveNode) -> None:
        """Take in a node; its first turn comes after its own period."""
        self._push(live, self._time)

    def remove(self, live: LiveNode) -> None:
        """Let go of a node; its place in the queue is skipped later."""
        del self._member[live]
        if len(self._queue) > 2 * len(self._member) + 16:
            self._queue = [entry for entry in self._queue if self._current(entry)]
            heapq.heapify(self._queue)

    def reweighed(self) -> None:
        """Do nothing: a weight is read at each turn."""

    def pick(self, now: float, excluded: Collection[LiveNode] = ()) -> LiveNode | None:
        """Pick the node whose turn it is; an excluded one keeps its turn."""
        del now
        passed = []
        picked = None
        while self._queue and picked is None:
            entry = heapq.heappop(self._queue)
            if not self._current(entry):
                continue
            if entry[2] in excluded:
                passed.append(entry)
                continue
            picked = entry[2]
            self._time = max(self._time, entry[0])
            self._push(picked, entry[0])
        for entry in passed:
            heapq.heappush(self._queue, entry)
        self.considered = ((picked, 0.0),) if picked is not None else ()
        return picked

    def _push(self, live: LiveNode, since: float) -> None:
        order = next(self._order)
        self._member[live] = order
        heapq.heappush(self._queue, (since + 1.0 / (live.effective_weight or 1.0), order, live))

    def _current(self, entry: tuple[float, int, LiveNode]) -> bool:
        return self._member.get(entry[2]) == entry[1]
