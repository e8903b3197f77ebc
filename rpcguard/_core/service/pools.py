"""The eligible nodes of one service, in pools that are asked one after the other."""

from __future__ import annotations

from bisect import bisect, bisect_left
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from rpcguard._core.balancing.base import Balancer
    from rpcguard._core.nodes.live import LiveNode

_ZONE_TRIES = 16
"""Nodes that are drawn for one of another zone: with half of them elsewhere, 1 in 65,536 misses."""

_PAIR = 2
"""Candidates of a retry: one may have gone down together with the node that has just failed."""

_KEPT_POOLS = 8
"""How many pools may be empty: each pick looks at them, and a registry may list any priority."""

PoolKey = tuple[int, ...]
"""What a pool's nodes share; the pool of the least key is asked first."""

Compared = tuple[tuple["LiveNode", float], ...]


def key_of(live: LiveNode) -> PoolKey:
    """Give the key of the pool that a node belongs to while it is eligible."""
    return (live.node.priority,)


class Pools:
    """The eligible nodes, with one pool and one balancer for each key.

    Not thread-safe: it lives under the lock of its service. `compared` is what the last pick
    compared, `weight` the sum of the weights.
    """

    def __init__(self, new_balancer: Callable[[], Balancer]) -> None:
        self.compared: Compared = ()
        self.weight: float = 0.0
        self._new_balancer = new_balancer
        self._pools: dict[PoolKey, Balancer] = {}
        self._keys: list[PoolKey] = []
        self._in_order: list[Balancer] = []
        self._members: dict[LiveNode, PoolKey] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Balancer]:
        return iter(self._in_order)

    def put(self, live: LiveNode) -> None:
        """Put a node into its pool, out of another one where it is in that."""
        key = key_of(live)
        if live.in_pool and self._members[live] == key:
            return
        self.take_out(live)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = self._new_balancer()
            place = bisect(self._keys, key)
            self._keys.insert(place, key)
            self._in_order.insert(place, pool)
        pool.add(live)
        self._members[live] = key
        live.in_pool = True
        self.weight += live.weight

    def take_out(self, live: LiveNode) -> None:
        """Take a node out of its pool, if it is in one."""
        if not live.in_pool:
            return
        key = self._members.pop(live)
        pool = self._pools[key]
        pool.remove(live)
        if not len(pool) and len(self._pools) > _KEPT_POOLS:
            del self._pools[key]
            place = bisect_left(self._keys, key)
            del self._keys[place], self._in_order[place]
        live.in_pool = False
        self.weight = self.weight - live.weight if self._members else 0.0

    def pick(self, now: float, tried: Collection[LiveNode]) -> LiveNode | None:
        """Pick a node of the first pool that has one which was not tried."""
        for pool in self._in_order:
            live = pool.pick(now, tried)
            if live is not None:
                self.compared = pool.considered
                return live
        return None

    def pick_again(self, now: float, tried: tuple[LiveNode, ...]) -> LiveNode | None:
        """Pick an untried node, of another zone than the last one if a few draws give one.

        Of two it is the one that was heard of last, by an answer or as a new node: the node that
        has just failed may not be the only one that is gone.
        """
        zone, drawn, elsewhere = tried[-1].node.zone, [], []
        for one in islice(self._draw(now, tried), _ZONE_TRIES):
            drawn.append(one)
            if zone is None or one[0].node.zone != zone:
                elsewhere.append(one)
            if len(elsewhere) == _PAIR:
                break
        if not drawn:
            return None
        live, self.compared = max(elsewhere or drawn[:_PAIR], key=lambda one: one[0].heard_at)
        return live

    def _draw(self, now: float, tried: tuple[LiveNode, ...]) -> Iterator[tuple[LiveNode, Compared]]:
        # One after the other, each once, with what was compared, and of one pool.
        passed, key = [*tried], None
        while (live := self.pick(now, passed)) is not None:
            key = key or self._members[live]
            if self._members[live] != key:
                return
            yield live, self.compared
            passed.append(live)
