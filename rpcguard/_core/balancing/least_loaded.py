"""The less loaded of two."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from rpcguard._core.balancing.draw import WeightedDraw
from rpcguard._core.nodes.live import LEAST_LATENCY, LiveNode

if TYPE_CHECKING:
    import random
    from collections.abc import Collection

_SAMPLE = 9
_NEARLY_EQUAL = 1.5
_CREDIT = 16.0
_REFRESH = 128


class LeastLoaded(WeightedDraw):
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
        first, second = self._two() if not excluded else self._two_excluding(excluded)
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
        return first, second if second is not first else self._draw_excluding((first,))

    def _two_excluding(
        self, excluded: Collection[LiveNode]
    ) -> tuple[LiveNode | None, LiveNode | None]:
        first = self._draw_excluding(excluded)
        return first, self._draw_excluding((*excluded, first)) if first is not None else None

    def _better(self, first: LiveNode, second: LiveNode, now: float) -> LiveNode:
        one, two = first.load(self._latency, now), second.load(self._latency, now)
        if one > two:
            first, second, one, two = second, first, two, one
        if first.turns > second.turns and (
            two <= one * _NEARLY_EQUAL
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
