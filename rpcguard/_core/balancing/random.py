"""A draw at random, by weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpcguard._core.balancing.draw import WeightedDraw

if TYPE_CHECKING:
    from collections.abc import Collection

    from rpcguard._core.nodes.live import LiveNode

_TRIES = 32
"""Draws at the most. With every node at a ramp of 0.1, one call in 30 takes the last as it is."""


class Random(WeightedDraw):
    """The balancer that picks at random, by effective weight; a warming node is thinned."""

    considered: tuple[tuple[LiveNode, float], ...]

    def pick(self, now: float, excluded: Collection[LiveNode] = ()) -> LiveNode | None:
        """Pick a node in O(1)."""
        del now
        live = self._draw_excluding(excluded) if self._places else None
        for _ in range(_TRIES):
            if live is None or live.ramp == 1.0 or self._random() < live.ramp:
                break
            live = self._draw_excluding(excluded)
        self.considered = ((live, 0.0),) if live is not None else ()
        return live
