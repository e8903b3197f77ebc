"""A draw by weight in O(1)."""

from __future__ import annotations

import math
import random
from bisect import bisect
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rpcguard._core.nodes.live import LiveNode

    _Bin = tuple[list[LiveNode], float, float, bool]
    """Nodes of much the same weight: where they end, the most that one weighs, if they differ."""


class WeightedDraw:
    """The eligible nodes, kept so that one is drawn by weight in O(1), whatever the weights are.

    Nodes whose weights lie within a power of two share a bin; `_mixed` names the bins where they
    are not the same. `_draw_one` draws a node and `_draw_two` two different ones, as the list is
    now; both are None after a change, and the latter where there are no two.
    """

    def __init__(self, *, rng: random.Random | None = None) -> None:
        self.considered: tuple[tuple[LiveNode, float], ...] = ()
        self._random = (rng or random.Random()).random
        self._bins: dict[int, list[LiveNode]] = {}
        self._mixed: set[int] = set()
        self._places: dict[LiveNode, int] = {}
        self._draw_one: Callable[[], LiveNode] | None = None
        self._draw_two: Callable[[], tuple[LiveNode, LiveNode]] | None = None

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
        self._draw_one = self._draw_two = None

    def _prepare_one(self) -> Callable[[], LiveNode]:
        even = self._even
        one = _any_of(even, self._random) if even else self._by_weight()
        self._draw_one = one
        return one

    def _prepare_two(self) -> Callable[[], tuple[LiveNode, LiveNode]] | None:
        size, even = len(self._places), self._even
        if size > 1:
            if even:
                self._draw_two = _two_of(even, self._random)
            elif size == 2:
                first, second = self._places
                self._draw_two = lambda: (first, second)
            else:
                self._draw_two = self._two_by_weight()
        return self._draw_two

    @property
    def _even(self) -> list[LiveNode] | None:
        """The nodes, where all weigh the same."""
        if len(self._bins) == 1 and not self._mixed:
            return next(iter(self._bins.values()))
        return None

    def _spread(self) -> tuple[list[_Bin], list[float], float]:
        """Give the bins side by side, to be drawn from: where the ends are but the last, the last.

        A bin is drawn by what it weighs at most, then a node of it, and of mixed ones a light one
        is refused in proportion (so at most half of them). One random number does for all three:
        where it lies in the bins, among the nodes of its bin, and within what the node may weigh.
        """
        spread, ends, end = [], [], 0.0
        for key, nodes in self._bins.items():
            mixed = key in self._mixed
            top = math.ldexp(1.0, key) if mixed else nodes[0].weight
            end += top * len(nodes)
            spread.append((nodes, end, top, mixed))
            ends.append(end)
        return spread, ends[:-1], end

    def _by_weight(self) -> Callable[[], LiveNode]:
        """Make a function that draws a node by weight, as long as the bins stay as they are."""
        (spread, ends, height), rand = self._spread(), self._random

        def draw() -> LiveNode:
            while True:
                at = rand() * height
                nodes, end, top, mixed = spread[bisect(ends, at)]
                place = (end - at) / top
                # Counted from the end: rounded up to all of them it is a node as well.
                live = nodes[-int(place)]
                if not mixed or place % 1.0 * top <= live.weight:
                    return live

        return draw

    def _two_by_weight(self) -> Callable[[], tuple[LiveNode, LiveNode]]:
        (spread, ends, height), rand, other = self._spread(), self._random, self._draw_excluding

        def draw() -> tuple[LiveNode, LiveNode]:
            first = None
            while True:  # as one is drawn by weight; with two calls it would take a tenth longer
                at = rand() * height
                nodes, end, top, mixed = spread[bisect(ends, at)]
                place = (end - at) / top
                second = nodes[-int(place)]
                if mixed and place % 1.0 * top > second.weight:
                    continue
                if first is None:
                    first = second
                    continue
                return first, (other((first,)) or first) if second is first else second

        return draw

    def _draw_excluding(self, excluded: Collection[LiveNode]) -> LiveNode | None:
        draw = self._draw_one or self._prepare_one()
        for _ in range(8):
            live = draw()
            if live not in excluded:
                return live
        left = [live for live in self._places if live not in excluded]
        return left[int(self._random() * len(left))] if left else None


def _bin(weight: float) -> int:
    mantissa, exponent = math.frexp(weight)
    return exponent - (mantissa == 0.5)


def _any_of(nodes: list[LiveNode], rand: Callable[[], float]) -> Callable[[], LiveNode]:
    size = len(nodes)
    return lambda: nodes[int(rand() * size)]


def _two_of(
    nodes: list[LiveNode], rand: Callable[[], float]
) -> Callable[[], tuple[LiveNode, LiveNode]]:
    size, others = len(nodes), len(nodes) - 1

    def draw() -> tuple[LiveNode, LiveNode]:
        at = int(rand() * size)
        # Counted back from the first, around the end: any of the others.
        return nodes[at], nodes[at - 1 - int(rand() * others)]

    return draw
