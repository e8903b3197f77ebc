"""How levels of priority share the calls while a part of one is out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpcguard._core.routing.rotas import Rota
from rpcguard._core.routing.shares import Share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rpcguard._core.service.stages import Level, Pool, Rank


class Spread:
    """The turns of the levels of one service, by Envoy's formula.

    A level takes `factor` times the part of its weight that is usable, at most all; the next one
    takes of what is left. Where all of them together could not bear the calls, each takes its part
    of what they can. Turns, not chances, so that a caller with few calls sends each level its part.
    Lives under the lock of its service.
    """

    def __init__(self, factor: float, random: Callable[[], float]) -> None:
        self._factor = factor
        self._rota = Rota(random)
        self._shares: dict[Rank, Share] = {}

    def order(self, levels: Sequence[Level], pools: Iterable[Pool]) -> Sequence[Level]:
        """Give the levels with the one first whose turn it is; `pools` are all, empty or not."""
        listed: dict[Rank, float] = {}
        for pool in pools:
            listed[pool.priority] = listed.get(pool.priority, 0.0) + pool.listed_weight
        health = [self._health(level, listed) for level in levels]
        whole, left = min(1.0, sum(health)) or 1.0, 1.0
        shares = []
        for level, able in zip(levels[:-1], health, strict=False):
            part = min(left, able / whole)
            left -= part
            shares.append((self._shares.setdefault(level.priority, Share()), part))
        taker = self._rota.turn(shares)
        place = next((at for at, (one, _) in enumerate(shares) if one is taker), len(shares))
        return (levels[place], *levels[:place], *levels[place + 1 :])

    def _health(self, level: Level, listed: dict[Rank, float]) -> float:
        usable = sum(pool.weight for pool in (*level.own, *level.others))
        weight = listed.get(level.priority, 0.0)
        return min(1.0, self._factor * usable / weight) if weight > 0.0 else 1.0
