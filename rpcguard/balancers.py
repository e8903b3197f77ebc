"""How a node is picked among those that are eligible."""

from __future__ import annotations

import heapq
import math
import random
from bisect import bisect
from itertools import count
from statistics import median
from typing import TYPE_CHECKING, Protocol

from rpcguard.live import LEAST_LATENCY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rpcguard.live import LiveNode

_TRIES = 32
_SAMPLE = 9
_NEARLY = 1.5
_CREDIT = 16.0
_REFRESH = 128


class Balancer(Protocol):
    """Pick one of the eligible nodes of a service.

    Called only under the lock of its service, so it needs none of its own. The weight of a node
    stays as it is between `add` and `remove`; its ramp moves. `considered` holds the nodes that
    the last pick compared, with their loads, the picked one first. A retry excludes the nodes that
    its call has tried; it may pick several others and use one, so a balancer that counts turns had
    better count only picks without exclusions.
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

    def pick(self, now: float, excluded: Collection[LiveNode] = ()) -> LiveNode | None:
        """Pick a node that is not excluded; None when there is none."""
        ...


class _Pool:
    """Keep the eligible nodes so that one is drawn by weight in O(1), whatever the weights are.

    Nodes whose weights lie within a power of two share a bin; `_mixed` names the bins where they
    are not the same. `_even` holds all nodes while all weigh the same. `_drawn` draws one, and is
    None after a change.
    """

    def __init__(self, *, rng: random.Random | None = None) -> None:
        self.considered: tuple[tuple[LiveNode, float], ...] = ()
        self._random = (rng or random.Random()).random
        self._bins: dict[int, list[LiveNode]] = {}
        self._mixed: set[int] = set()
        self._places: dict[LiveNode, int] = {}
        self._even: list[LiveNode] | None = None
        self._drawn: Callable[[], LiveNode] | None = None

    def __len__(self) -> int:
        return len(self._places)

    def add(self, live: LiveNode) -> None:
        """Let a node be drawn from now on."""
        key = _bin(live.weight)
        nodes = self._bins.setdefault(key, [])
        if nodes and nodes[0].weight != live.weight:
            self._mixed.add(key)
        self._places[live] = len(nodes)
        nodes.append(live)
        self._change()

    def remove(self, live: LiveNode) -> None:
        """Let a node be drawn no more."""
        key = _bin(live.weight)
        nodes = self._bins[key]
        place = self._places.pop(live)
        last = nodes.pop()
        if last is not live:
            nodes[place] = last
            self._places[last] = place
        if not nodes:
            del self._bins[key]
            self._mixed.discard(key)
        self._change()

    def _change(self) -> None:
        bins = self._bins
        self._even = next(iter(bins.values())) if len(bins) == 1 and not self._mixed else None
        self._drawn = None

    def _draws(self) -> Callable[[], LiveNode]:
        if self._drawn is None:
            self._drawn = _by_weight(self._bins, self._mixed, self._random)
        return self._drawn

    def _draw_but(self, excluded: Collection[LiveNode]) -> LiveNode | None:
        draw = self._drawn or self._draws()
        for _ in range(8):
            live = draw()
            if live not in excluded:
                return live
        left = [live for live in self._places if live not in excluded]
        return left[int(self._random() * len(left))] if left else None


def _bin(weight: float) -> int:
    mantissa, exponent = math.frexp(weight)
    return exponent - (mantissa == 0.5)


def _by_weight(
    bins: dict[int, list[LiveNode]], mixed: set[int], rand: Callable[[], float]
) -> Callable[[], LiveNode]:
    """Make a function that draws a node by weight, as long as the bins stay as they are.

    A bin is drawn by what it weighs at most, then a node of it, and of mixed ones a light one is
    refused in proportion (so at most half of them).
    """
    spread, heights, height = [], [], 0.0
    for key, nodes in bins.items():
        top = math.ldexp(1.0, key) if key in mixed else nodes[0].weight
        spread.append((nodes, len(nodes), top, key in mixed))
        height += top * len(nodes)
        heights.append(height)
    del heights[-1:]

    def draw() -> LiveNode:
        while True:
            nodes, size, top, refusing = spread[bisect(heights, rand() * height)]
            live = nodes[int(rand() * size)]
            if not refusing or rand() * top <= live.weight:
                return live

    return draw


class Random(_Pool):
    """Pick at random, by effective weight; a warming node is thinned."""

    considered: tuple[tuple[LiveNode, float], ...]

    def pick(self, now: float, excluded: Collection[LiveNode] = ()) -> LiveNode | None:
        """Pick a node in O(1)."""
        del now
        live = self._draw_but(excluded) if self._places else None
        for _ in range(_TRIES):
            if live is None or live.ramp == 1.0 or self._random() < live.ramp:
                break
            live = self._draw_but(excluded)
        self.considered = ((live, 0.0),) if live is not None else ()
        return live


class LeastLoaded(_Pool):
    """Pick the less loaded of two nodes drawn by weight; the default.

    The power of two choices (Mitzenmacher) over peak EWMA latency (Finagle), O(1) at any size.
    Loads within half of each other count as equal: then the node with fewer turns, that is fewer
    picks for its effective weight, is taken, which spreads idle traffic as evenly as round robin.
    The load of a node that is left alone fades, so that it is tried again, until it counts as
    equal. A warming node that is ahead of its turns gives way to any node that is not overloaded by
    the measure of its ramp, so it gets what its ramp allows, no more, and a share of its own even
    when hardly anything is called.
    """

    considered: tuple[tuple[LiveNode, float], ...]

    def __init__(self, *, rng: random.Random | None = None) -> None:
        super().__init__(rng=rng)
        self._fresh = _REFRESH
        self._latency = LEAST_LATENCY
        self._turns = 0.0

    def add(self, live: LiveNode) -> None:
        """Take in a node; it starts level with the turns of the others."""
        if self._fresh != _REFRESH and self._places:
            self._learn()
        live.turns = self._turns
        super().add(live)

    def pick(self, now: float, excluded: Collection[LiveNode] = ()) -> LiveNode | None:
        """Pick a node in O(1)."""
        if not self._places:
            return None
        self._fresh -= 1
        if not self._fresh:
            self._learn()
        first, second = self._two() if not excluded else self._two_but(excluded)
        if first is None or second is None:
            self.considered = (
                ((first, first.load(self._latency, now)),) if first is not None else ()
            )
            return first
        return self._better(first, second, now)

    def _two(self) -> tuple[LiveNode, LiveNode | None]:
        nodes = self._even
        if nodes is not None:
            size = len(nodes)
            if size == 1:
                return nodes[0], None
            rand = self._random
            at, other = int(rand() * size), int(rand() * (size - 1))
            return nodes[at], nodes[other + (other >= at)]
        if len(self._places) == 2:
            first, second = self._places
            return first, second
        draw = self._drawn or self._draws()
        first, second = draw(), draw()
        return first, second if second is not first else self._draw_but((first,))

    def _two_but(self, excluded: Collection[LiveNode]) -> tuple[LiveNode | None, LiveNode | None]:
        first = self._draw_but(excluded)
        return first, self._draw_but((*excluded, first)) if first is not None else None

    def _better(self, first: LiveNode, second: LiveNode, now: float) -> LiveNode:
        one, two = first.load(self._latency, now), second.load(self._latency, now)
        if one > two:
            first, second, one, two = second, first, two, one
        if first.turns > second.turns and (
            two <= one * _NEARLY
            or (first.ramp < 1.0 and two * first.ramp <= one)
            or (not second.in_flight and second.faded(two, now) <= one)
        ):
            first, second, one, two = second, first, two, one
        self.considered = ((first, one), (second, two))
        lag = second.turns - first.turns
        if lag * first.weight * first.ramp > _CREDIT:
            credit = _CREDIT / min(first.weight * first.ramp, second.weight * second.ramp)
            # Turns missed while a node was slow or ejected are not made up for in one burst.
            first.turns += max(lag - credit, 0.0)
        return first

    def _learn(self) -> None:
        few = len(self._places) <= _SAMPLE
        sample = list(self._places) if few else [self._draws()() for _ in range(_SAMPLE)]
        known = [live.latency for live in sample if live.latency]
        self._latency = median(known) if known else self._latency
        self._turns = median(live.turns for live in sample)
        self._fresh = _REFRESH


class RoundRobin:
    """Take turns, each node as often as its effective weight says.

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
        """Let go of a node; its place in the queue is skipped later."""
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
