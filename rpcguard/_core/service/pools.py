"""The eligible nodes of a service, each in one pool of a balancer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from rpcguard._core.balancing.subset import Subsetting
from rpcguard._core.nodes.live import weight_of
from rpcguard._core.routing.cells import ONE_CELL
from rpcguard._core.service.stages import Cell, Leg, Pool, PoolKey, Stage, units_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from random import Random

    from rpcguard._core.balancing.base import Balancer
    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.nodes.node import Node
    from rpcguard._core.policies.bundle import Policies
    from rpcguard._core.routing.cells import CellKey
    from rpcguard._core.routing.table import Table
    from rpcguard._core.service.stages import Rank
    from rpcguard._core.service.zones import Zones

Alone = Callable[[Callable[[], Any]], Any]

_AT_ONCE: Final = 32
"""Nodes moved while the lock is held: a tenth of a millisecond, four of them to a new cell each."""


class Pools:
    """All pools of one service.

    Not thread-safe: it lives under the lock of its service. Every listed node has its place in one
    pool, and is in the pool's balancer while it is eligible. `moves` counts places given and taken
    away, `changed` what makes legs stale; `whole` is the leg of a call that may go to any node,
    None after such a change. `tempered` tells whether any node that can be picked is warming.
    `new_subset` makes the balancers of nodes that no rule tells apart.
    """

    def __init__(
        self,
        new_balancer: Callable[[], Balancer],
        *,
        new_subset: Callable[[], Balancer] | None = None,
        zones: Zones | None = None,
    ) -> None:
        self.table: Table | None = None
        self._coming: Table | None = None
        self.cells: dict[CellKey, Cell] = {}
        self.changed: int = 0
        self.moves: int = 0
        self._new_balancer = new_balancer
        self._new_subset = new_subset
        self.zones: Zones | None = zones
        self._pools: dict[PoolKey, Pool] = {}
        self._places: dict[LiveNode, Pool] = {}
        self._tempered: set[Pool] = set()
        self.tempered: bool = False
        self._fenced = False
        self.whole: Leg | None = None

    def __len__(self) -> int:
        """Count the nodes that can be picked."""
        return sum(len(pool.balancer) for pool in self._pools.values())

    @property
    def empty(self) -> int:
        """Count the pools without a node that can be picked."""
        return sum(not len(pool.balancer) for pool in self._pools.values())

    # Places

    def _key_of(self, node: Node, *, doubted: bool) -> PoolKey:
        cell = ONE_CELL if self.table is None else self.table.cell_of(node)
        if self._coming is not None:
            cell = cell.and_by(self._coming.cell_of(node))
        own = self.zones is not None and self.zones.owns(node)
        return PoolKey(cell, (doubted, node.priority), own)

    def enter(self, live: LiveNode) -> None:
        """Give a listed node its place; it is not eligible yet."""
        key = self._key_of(live.node, doubted=live.doubted_at is not None)
        pool = self._pools.get(key)
        if pool is None:
            cell = self.cells.get(key.cell)
            if cell is None:
                cell = self.cells[key.cell] = Cell(key.cell)
                self._stale()  # even of nodes that are drained: one may be the last resort
            pool = self._pools[key] = Pool(key, cell, self._balancer_for(key))
            cell.pools += 1
        self._places[live] = pool
        self.moves += 1
        pool.members += 1
        if self.zones is not None:
            self.zones.see(live.node, 1)
        if _is_offered(live):
            self._count(pool, 1, units_of(live.weight))

    def _balancer_for(self, key: PoolKey) -> Balancer:
        # Lanes and groups are few nodes as it is, and a share is reckoned by all of them.
        if self._new_subset is None or key.cell != ONE_CELL:
            return self._new_balancer()
        return self._new_subset()

    def outside(self) -> Iterator[LiveNode]:
        """Give the nodes that can be picked and are outside of the subset."""
        if self._new_subset is not None:
            for pool in self._pools.values():
                if isinstance(pool.balancer, Subsetting):
                    yield from pool.balancer.outside

    def leave(self, live: LiveNode) -> None:
        """Take a node's place away."""
        self.take_out(live)
        pool = self._places.pop(live)
        self.moves += 1
        pool.members -= 1
        if self.zones is not None:
            self.zones.see(live.node, -1)
        if _is_offered(live):
            self._count(pool, -1, -units_of(live.weight))
        if not pool.members:
            del self._pools[pool.key]
            pool.cell.pools -= 1
            if not pool.cell.pools:
                del self.cells[pool.key.cell]
                self._stale()

    def _count(self, pool: Pool, nodes: int, units: int) -> None:
        pool.count(nodes, units)
        pool.cell.count(nodes, units)
        if pool.listed in (0, nodes):
            self._stale()

    def suits(self, live: LiveNode, node: Node) -> bool:
        """Tell whether a node keeps its place and weight when the registry says this of it."""
        drained = node.status == "draining", live.node.status == "draining"
        same = weight_of(node) == live.weight and drained[0] == drained[1]
        if self.zones is not None and not self.zones.same(node, live.node):
            return False
        doubted = live.doubted_at is not None
        return same and self._places[live].key == self._key_of(node, doubted=doubted)

    def move(self, nodes: Sequence[LiveNode], alone: Alone) -> None:
        """Move nodes to where they belong now, a few at a time; `alone` gives the lock for that."""
        for start in range(0, len(nodes), _AT_ONCE):
            alone(partial(self._place_again, nodes[start : start + _AT_ONCE]))

    def _place_again(self, nodes: Iterable[LiveNode]) -> None:
        for live in nodes:
            self.place_again(live)

    def place_again(self, live: LiveNode) -> None:
        """Move a node to where the rules of now want it; what is known of it stays."""
        key = self._key_of(live.node, doubted=live.doubted_at is not None)
        if live.gone or self._places[live].key == key:
            return
        eligible = live.in_pool
        self.leave(live)
        self.enter(live)
        if eligible:
            self.put(live)

    def settle_zones(self) -> list[LiveNode]:
        """Go by hints or by zones, as the whole list now wants it; give the nodes that move."""
        if self.zones is None or not self.zones.turn(len(self._places)):
            return []
        return list(self._places)

    def put(self, live: LiveNode) -> None:
        """Put a node into its pool, unless it is there."""
        if live.in_pool:
            return
        pool = self._places[live]
        pool.balancer.add(live)
        live.in_pool = True
        units, cell = units_of(live.weight), pool.cell
        pool.weigh(units)
        cell.weigh(units)
        cell.eligible += 1
        if len(pool.balancer) == 1:
            self._stale()

    def take_out(self, live: LiveNode) -> None:
        """Take a node out of its pool, if it is in one."""
        if not live.in_pool:
            return
        pool = self._places[live]
        pool.balancer.remove(live)
        live.in_pool = False
        units, cell = -units_of(live.weight), pool.cell
        pool.weigh(units)
        cell.weigh(units)
        cell.eligible -= 1
        if not len(pool.balancer):
            self._stale()

    def peers(self, live: LiveNode) -> Iterator[LiveNode]:
        """Give the other nodes that calls of the same kind go to."""
        key = self._places[live].key
        places = self._places.items()
        return (one for one, pool in places if one is not live and pool.key == key)

    def is_first(self, leg: Leg, live: LiveNode) -> bool:
        """Tell whether a listed node is one of those that a call wants first."""
        pool = self._places[live]
        return leg.whole or (pool.cell in leg.stages[0].cells and not self._beyond(pool))

    def place_in(self, leg: Leg, live: LiveNode) -> int | None:
        """Tell which of the last stages of a leg a listed node is in; None for neither."""
        if leg.whole:
            return 0
        pool = self._places[live]
        if self._beyond(pool):
            return None
        return next((place for place, one in enumerate(leg.last) if pool.cell in one.cells), None)

    def _beyond(self, pool: Pool) -> bool:
        """Tell whether a pool is outside of a zone that must not be left."""
        return self._fenced and not pool.own

    def _stale(self) -> None:
        self.changed += 1
        self.whole = None
        zones = self.zones
        self._fenced = (
            zones is not None
            and zones.strict
            and any(pool.own and pool.listed for pool in self._pools.values())
        )

    # Rules

    def tell_by(self, table: Table) -> None:
        """Tell nodes apart by the rules that come as well as by those of now; they move by that."""
        self._coming = table

    def go_by(self, table: Table) -> None:
        """Go by other rules, and forget what was prepared by those before."""
        self.table, self._coming = table, None
        self._stale()

    # Slow start

    def temper(self, warming: Collection[LiveNode]) -> list[LiveNode]:
        """Take in the ramps of warming nodes; give those whose cell is half new or more.

        In a release that replaces many nodes the old ones would have to bear the load of the rest.
        Decided per cell: the few nodes of a canary are all new, and its share is thinned instead.
        """
        for pool in self._tempered:
            pool.lacking = pool.cell.lacking = 0.0
            pool.cell.warming = 0
        self._tempered.clear()
        self.tempered = False
        for live in warming:
            if live.in_pool:
                pool = self._places[live]
                lacking = live.weight * (1.0 - live.ramp)
                pool.lacking += lacking
                pool.cell.lacking += lacking
                pool.cell.warming += units_of(live.weight)
                self._tempered.add(pool)
                self.tempered = True
        picked = (live for live in warming if live.in_pool)  # of none that is out all are new
        return [live for live in picked if self._is_half_new(self._places[live].cell)]

    @staticmethod
    def _is_half_new(cell: Cell) -> bool:
        return cell.warming * 2 >= cell.units

    def pools_of(self, stage: Stage) -> Iterator[Pool]:
        """Give the pools of a stage, those that run empty with them."""
        return (pool for pool in self._pools.values() if pool.cell in stage.cells)

    def rank_of(self, live: LiveNode) -> Rank:
        """Give the priority of a listed node."""
        return self._places[live].priority

    def members(self, stage: Stage) -> Iterator[tuple[LiveNode, Rank]]:
        """Give the listed nodes of a stage, those that are out included, with their priorities."""
        for live, pool in self._places.items():
            if pool.cell in stage.cells and not self._beyond(pool):
                yield live, pool.priority

    def nodes_of(self, stage: Stage) -> list[str]:
        """Give the ids of the nodes of a stage that can be picked."""
        return [
            live.node.id
            for live, pool in self._places.items()
            if live.in_pool and pool.cell in stage.cells and not self._beyond(pool)
        ]

    # What a call may use

    def prepare_whole(self) -> Leg:
        """Make the leg of a call that may go to any node."""
        stage = self.stage_of(self.cells.values())
        self.whole = Leg((stage,), (stage,), whole=not self._fenced)
        return self.whole

    def stage_of(
        self,
        cells: Iterable[Cell],
        *,
        group: str = "any",
        fallback: str | None = None,
        least: float = 0.0,
    ) -> Stage:
        """Prepare a stage of some cells."""
        chosen = frozenset(cells)
        pools = [
            pool
            for pool in self._pools.values()
            if len(pool.balancer) and pool.cell in chosen and not self._beyond(pool)
        ]
        return Stage(chosen, pools, group=group, fallback=fallback, least=least)


def _is_offered(live: LiveNode) -> bool:
    # By the registry's word of now; whether the node is well is another question.
    return live.node.status != "draining" and live.weight > 0.0


def subsets_of(policies: Policies, rng: Random) -> Callable[[], Balancer] | None:
    """Give what makes the balancers of a caller that uses a part of the nodes."""
    subset = policies.subset
    if subset is None:
        return None
    instance, seed = subset.instance, 0  # one order for all callers, on which each has its place
    if instance is None:
        instance, seed = (0, 1), rng.getrandbits(64)
    new = policies.balancer
    return partial(Subsetting, new, size=subset.size, seed=seed, instance=instance)
