"""A draw by weight in O(1)."""

from __future__ import annotations

import math
import random
from bisect import bisect
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rpcguard._core.nodes.live import LiveNode


class WeightedDraw:
    """The eligible nodes, kept so that one is drawn by weight in O(1), whatever the weights are.

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

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle a balancer, which is of this process: pass its class")

    def __len__(self) -> int:
        return len(self._places)

    def add(self, live: LiveNode) -> None:
        """Take a node in, to be drawn from now on."""
        key = _bin(live.weight)
        nodes = self._bins.setdefault(key, [])
        if nodes and nodes[0].weight != live.weight:
            self._mixed.add(key)
        self._places[live] = len(nodes)
        nodes.append(live)
        self._change()

    def remove(self, live: LiveNode) -> None:
        """Remove a node."""
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

    def _draw_excluding(self, excluded: Collection[LiveNode]) -> LiveNode | None:
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
