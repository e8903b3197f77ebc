"""How a node is drawn from the pools of a leg."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from rpcguard._core.service.levels import Spread

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from random import Random

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.service.pools import Pools
    from rpcguard._core.service.records import Compared
    from rpcguard._core.service.stages import Leg, Level, Pool, Rank, Stage
    from rpcguard._core.service.zones import Zones

_ZONE_TRIES: Final = 16
"""Draws in which a retry looks for another zone: a fleet of which one node of 16 is elsewhere."""

_PAIR: Final = 2
"""Candidates of a retry: one may have gone down together with the node that has just failed."""

NEAR: Final = "of the own zone"
SPILLED: Final = "of another zone, since the own one is busier"
RETRY: Final = "of those that were not tried, the last one that answered well"
"""Why a node was drawn, for `explain`, where it was not the balancer that decided."""


class Draws:
    """The draws from the pools of one service.

    Not thread-safe: it lives under the lock of its service. `compared` is what the last draw
    compared, `why` what decided it, where the balancer says so, and `stage` where it found its
    node.
    """

    def __init__(self, pools: Pools, rng: Random, *, overprovision: float = 0.0) -> None:
        self.compared: Compared = ()
        self.why: str = ""
        self.stage: Stage | None = None
        self._pools = pools
        self._zones = pools.zones
        self._random = rng.random
        self._spread = Spread(overprovision, rng.random) if overprovision else None

    def pick(
        self, leg: Leg, now: float, tried: Collection[LiveNode], *, again: bool = False
    ) -> LiveNode | None:
        """Pick an eligible node: of the first stage, and the lowest priority, that has one.

        `again` is for a retry, which wants another zone rather than the caller's own.
        """
        for stage in leg.stages:
            if stage.alike:
                live = self._draw(stage.alike, now, tried)
            else:
                live = self._pick_of(stage, now, tried, again=again) if stage.fit else None
            if live is not None:
                self.stage = stage
                return live
        return None

    def _pick_of(
        self, stage: Stage, now: float, tried: Collection[LiveNode], *, again: bool
    ) -> LiveNode | None:
        levels: Sequence[Level] = stage.levels
        if self._spread is not None and len(levels) > 1 and not again:
            levels = self._spread.order(levels, self._pools.pools_of(stage))
        for own, others, _ in levels:
            if own and others and self._zones is not None and not again:
                live = self._pick_near(self._zones, own, others, now, tried)
            else:
                live = self._draw(others, now, tried) or self._draw(own, now, tried)
            if live is not None:
                return live
        return None

    def _pick_near(
        self,
        zones: Zones,
        own: Sequence[Pool],
        others: Sequence[Pool],
        now: float,
        tried: Collection[LiveNode],
    ) -> LiveNode | None:
        near, near_compared = self._draw(own, now, tried), self.compared
        far, far_compared = self._draw(others, now, tried), self.compared
        if near is None or far is None:
            live, self.compared = (far, far_compared) if near is None else (near, near_compared)
            return live
        here, there = zones.load(near_compared, now), zones.load(far_compared, now)
        if zones.spills(here, there):
            self.compared, self.why = (*far_compared, *near_compared), SPILLED
            return far
        self.compared, self.why = (*near_compared, *far_compared), NEAR
        return near

    def _draw(
        self, pools: Sequence[Pool], now: float, tried: Collection[LiveNode]
    ) -> LiveNode | None:
        if not pools:
            return None
        pool = pools[0] if len(pools) == 1 else self._by_weight(pools)
        balancer = pool.balancer
        live = balancer.pick(now, tried)
        if live is None:  # what was drawn may have nothing but nodes that were tried
            balancers = (other.balancer for other in pools if other is not pool)
            for balancer in balancers:
                live = balancer.pick(now, tried)
                if live is not None:
                    break
        self.compared = balancer.considered
        self.why = getattr(balancer, "why", "")
        return live

    def _by_weight(self, pools: Sequence[Pool]) -> Pool:
        whole = 0.0
        for pool in pools:
            whole += pool.weight - pool.lacking
        left = self._random() * whole
        pool = pools[0]
        for pool in pools:
            left -= pool.weight - pool.lacking
            if left < 0.0:
                break
        return pool

    def pick_again(self, leg: Leg, now: float, tried: tuple[LiveNode, ...]) -> LiveNode | None:
        """Pick an untried node, as far from those that were tried as a few draws give one.

        One at the same address is the same process, listed anew under another id before the lease
        of the first has run out: it comes last. One of another zone than the last one comes first.
        Of two that are as far it is one that has not failed since its last good answer, and then
        the one that was heard of last, by an answer or as a new node: the node that has just
        failed may not be the only one that is gone.
        """
        zone, places = tried[-1].node.zone, {live.node.address for live in tried}
        drawn: list[list[_Drawn]] = [[], [], [], []]
        for one in islice(self._draw_all(leg, now, tried), _ZONE_TRIES):
            node = one.live.node
            afar = 2 * (node.address not in places) + (zone is None or node.zone != zone)
            drawn[afar].append(one)
            if len(drawn[-1]) == _PAIR:
                break
        farthest = next(filter(None, reversed(drawn)), None)
        if farthest is None:
            return None
        best = max(farthest[:_PAIR], key=_promise)
        self.compared, self.stage, self.why = best.compared, best.stage, RETRY
        return best.live

    def _draw_all(self, leg: Leg, now: float, tried: tuple[LiveNode, ...]) -> Iterator[_Drawn]:
        # One after the other, each once, with what was compared; of one stage and one priority.
        passed: list[LiveNode] = [*tried]
        first: tuple[Rank, Stage | None] | None = None
        while (live := self.pick(leg, now, passed, again=True)) is not None:
            found = self._pools.rank_of(live), self.stage
            first = first or found
            if found != first:
                return
            yield _Drawn(live, self.compared, self.stage)
            passed.append(live)


class _Drawn(NamedTuple):
    """A candidate of a retry, with what it was compared with and where it was found."""

    live: LiveNode
    compared: Compared
    stage: Stage | None


def _promise(drawn: _Drawn) -> tuple[bool, float]:
    return not drawn.live.streak, drawn.live.heard_at
