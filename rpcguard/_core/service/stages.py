"""What a call may use of a service: pools of nodes, stages of pools, and legs of stages.

A pool holds the nodes of one cell (what rules can tell apart), one priority and one side of the
caller's zone. A leg is where a call may go, prepared, so that a pick is one look-up; legs are made
anew when a pool comes, goes, runs empty or fills.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rpcguard._core.policies.routing import WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rpcguard._core.balancing.base import Balancer
    from rpcguard._core.nodes.routed import Routed
    from rpcguard._core.routing.cells import CellKey


Rank = tuple[bool, int]
"""Whether a node is doubted, then its priority, lower first: what the registry has dropped may be
gone, so it is the last resort, whatever its priority was."""


_UNIT: Final = 2.0**82
"""Units in a weight of 1. The least weight of a node is whole in them, and so is every other."""


def units_of(weight: float) -> int:
    """Give a node's weight in units."""
    return int(weight * _UNIT)


class Weighed:
    """Nodes that are counted and weighed; those that are drained count for nothing.

    `listed_weight` is that of all, `weight` that of those that can be picked, as `units` are. Added
    up are whole numbers: floats would not come back to what they were when a node is out and in
    again, and nothing would be left of light ones when a heavy one goes.
    """

    __slots__ = ("_listed_units", "listed", "listed_weight", "units", "weight")

    def __init__(self) -> None:
        self.listed: int = 0
        self.listed_weight: float = 0.0
        self.weight: float = 0.0
        self.units: int = 0
        self._listed_units = 0

    def count(self, nodes: int, units: int) -> None:
        """Take in a node that is listed, or one that is no more, by negative numbers."""
        self.listed += nodes
        self._listed_units += units
        self.listed_weight = self._listed_units / _UNIT

    def weigh(self, units: int) -> None:
        """Take in a node that can be picked, or one that cannot any more, by a negative number."""
        self.units += units
        self.weight = self.units / _UNIT


class Cell(Weighed):
    """The listed nodes of one cell, in so many `pools`.

    `warming` are the units of those that warm up.
    """

    __slots__ = ("eligible", "key", "lacking", "pools", "warming")

    def __init__(self, key: CellKey) -> None:
        super().__init__()
        self.key: CellKey = key
        self.pools: int = 0
        self.eligible: int = 0
        self.warming: int = 0
        self.lacking: float = 0.0


class Pool(Weighed):
    """The nodes of one cell, one priority and one side of the zone.

    `members` counts all, `listed` those that are not drained.
    """

    __slots__ = ("balancer", "cell", "key", "lacking", "members", "own", "priority")

    def __init__(self, key: PoolKey, cell: Cell, balancer: Balancer) -> None:
        super().__init__()
        self.key: PoolKey = key
        self.cell: Cell = cell
        self.priority: Rank = key.priority
        self.own: bool = key.own
        self.balancer: Balancer = balancer
        self.members: int = 0
        self.lacking: float = 0.0


class PoolKey(NamedTuple):
    """What tells a pool from the others."""

    cell: CellKey
    priority: Rank
    own: bool


class Level(NamedTuple):
    """The pools of one priority that are not empty, those of the caller's zone apart."""

    own: tuple[Pool, ...]
    others: tuple[Pool, ...]
    priority: Rank = (False, 0)


class Stage:
    """Cells among which a call is served alike.

    `group` is how it is called in records and metrics, `fallback` why a call comes here that wanted
    another one, `least` the part of the listed weight that must be eligible; `noted` is what is
    told of first attempts that come here, by what they aimed at. `alike` are its pools where they
    differ in nothing but what rules tell apart.
    """

    __slots__ = ("alike", "cells", "fallback", "group", "least", "levels", "noted")

    def __init__(
        self,
        cells: frozenset[Cell],
        pools: Iterable[Pool],
        *,
        group: str = "any",
        fallback: str | None = None,
        least: float = 0.0,
    ) -> None:
        self.cells: frozenset[Cell] = cells
        self.group: str = group
        self.fallback: str | None = fallback
        self.least: float = least
        self.noted: dict[object, Routed] = {}
        self.levels: tuple[Level, ...] = tuple(_levels(pools))
        single = self.levels[0] if len(self.levels) == 1 else Level((), ())
        pools = () if least or (single.own and single.others) else (*single.own, *single.others)
        self.alike: tuple[Pool, ...] = pools

    @property
    def listed(self) -> int:
        """Count the listed nodes."""
        return sum(cell.listed for cell in self.cells)

    @property
    def listed_weight(self) -> float:
        """Give the weight of the listed nodes."""
        return sum(cell.listed_weight for cell in self.cells)

    @property
    def eligible(self) -> int:
        """Count the nodes that can be picked."""
        return sum(cell.eligible for cell in self.cells)

    @property
    def weight(self) -> float:
        """Give the weight of the nodes that can be picked."""
        return sum(cell.weight for cell in self.cells)

    @property
    def warmth(self) -> float:
        """Give the mean ramp of the nodes that can be picked."""
        lacking = sum(cell.lacking for cell in self.cells)
        if not lacking:
            return 1.0
        # Amid a list that is taken over, what nodes lacked is still counted which are out by now.
        weight = self.weight
        return 1.0 - lacking / weight if weight > lacking else 0.0

    @property
    def fit(self) -> bool:
        """Tell whether enough of it is eligible."""
        # 0.55 of a hundred is a little more than 55, as it is written in binary.
        return not self.least or self.weight >= self.least * self.listed_weight * WHOLE


class Leg:
    """Where a call may go: the stages in order, and those whose least bad node is used then.

    `whole` says that it may go anywhere. `only` is the balancer of all nodes of its first stage,
    where there is one.
    """

    __slots__ = ("last", "only", "stages", "whole")

    def __init__(
        self, stages: tuple[Stage, ...], last: tuple[Stage, ...], *, whole: bool = False
    ) -> None:
        self.stages: tuple[Stage, ...] = stages
        self.last: tuple[Stage, ...] = last
        self.whole: bool = whole
        pools = stages[0].alike if stages else ()
        self.only: Balancer | None = pools[0].balancer if len(pools) == 1 else None


def _levels(pools: Iterable[Pool]) -> Iterator[Level]:
    pools = list(pools)
    for priority in sorted({pool.priority for pool in pools}):
        level = [pool for pool in pools if pool.priority == priority]
        own = tuple(pool for pool in level if pool.own)
        yield Level(own, tuple(pool for pool in level if not pool.own), priority)
