"""Which legs a call may go: the nodes that it is meant for, and where it goes while they cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rpcguard._core.service.stages import Leg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rpcguard._core.policies.routing import Otherwise, Route
    from rpcguard._core.routing.table import Entry
    from rpcguard._core.service.asks import Aim
    from rpcguard._core.service.effects import Kind
    from rpcguard._core.service.pools import Pools
    from rpcguard._core.service.stages import Cell, Stage

_STRAINED: Final = 2.0
"""How many times its part of the weight a group may be asked for without a word: Argo documents
90 % of the calls on 10 % of the pods as a trap."""

_MOST_KEPT: Final = 1000
"""Aims whose legs are kept: marks may be anything, and come from anywhere."""

_NOWHERE: Final = ""
"""Stands for every lane that the service has no node of: such marks may come from anywhere."""


class Paths:
    """The legs of the calls of one service, kept until its pools change.

    Not thread-safe: it lives under the lock of its service. `lanes` are those that listed nodes are
    in. `tell` hears of what a user should know: a kind, words, and whether it was done.
    """

    def __init__(
        self, pools: Pools, otherwise: Otherwise, tell: Callable[[Kind, str, bool], None]
    ) -> None:
        self._pools = pools
        self._otherwise: Otherwise = otherwise
        self._tell = tell
        self._legs: dict[object, tuple[Leg, ...]] = {}
        self._first: dict[Aim, tuple[Leg, ...]] = {}
        self._again: dict[Aim, tuple[Leg, ...]] = {}
        self._groups: dict[object, Stage] = {}
        self._parts: dict[Entry, float] = {}
        self._seen = -1
        self.lanes: frozenset[str] = frozenset()
        self._baseless = False
        self._strained: set[str] = set()

    def names(self, lane: str) -> bool:
        """Tell whether a listed node is in a lane; needs no lock."""
        if self._seen == self._pools.changed:
            return lane in self.lanes
        cells = [*self._pools.cells.values()]
        return any(cell.key.lane == lane for cell in cells if cell.listed)

    def legs(self, aim: Aim, *, again: bool) -> tuple[Leg, ...]:
        """Give where calls may go; `again` is for an attempt after the first."""
        if self._seen != self._pools.changed:
            self._refresh()
        kept = self._again if again else self._first
        legs = kept.get(aim)
        if legs is None:
            if len(kept) >= _MOST_KEPT:
                kept.clear()
            legs = kept[aim] = self._legs_of(aim.entry, self._listed(aim.lane), again=again)
        return legs

    def _legs_of(self, entry: Entry | None, lane: str | None, *, again: bool) -> tuple[Leg, ...]:
        key = entry, lane, again and entry is not None
        legs = self._legs.get(key)
        if legs is None:
            legs = self._legs[key] = tuple(self._make(entry, lane, again=again))
        return legs

    def _listed(self, lane: str | None) -> str | None:
        return _NOWHERE if lane is not None and lane not in self.lanes else lane

    def _refresh(self) -> None:
        pools = self._pools
        for kept in (self._legs, self._first, self._again, self._groups, self._parts):
            kept.clear()
        listed = [cell for cell in pools.cells.values() if cell.listed]
        lanes = (cell.key.lane for cell in listed)
        self.lanes = frozenset(lane for lane in lanes if lane is not None)
        self._seen = pools.changed  # only now: an interrupt before would leave what was kept

    def _make(self, entry: Entry | None, lane: str | None, *, again: bool) -> Iterator[Leg]:
        base = self._base()
        if entry is None and lane is None:
            yield self._ordinary(base)
            return
        route = entry.route if entry is not None else None
        group = self.group(entry, lane) if entry is not None else self._lane(lane)
        otherwise = (route and route.otherwise) or self._otherwise
        others = self._others(entry, lane) if entry is not None else ()
        if otherwise == "fail":
            yield _leg((group, *others), ())
            return
        if otherwise == "base" and not base.listed:
            if group.listed:
                yield _leg((group, *others, self._few_of(group)), (group,))
            yield self._ordinary(base, fallback="any")
            return
        outside = again and _is_outside(route)
        yield self._group_leg(group, base, otherwise, others, outside=outside)

    def _group_leg(
        self,
        group: Stage,
        base: Stage,
        otherwise: Otherwise,
        others: Sequence[Stage],
        *,
        outside: bool,
    ) -> Leg:
        pools = self._pools
        rest = pools.stage_of(self._unclaimed(base), group="base", fallback="base")
        wide = base
        if otherwise == "any":
            wide = pools.stage_of(pools.cells.values(), fallback="any")
        elsewhere = (*others, rest)
        first = (*elsewhere, group) if outside else (group, *elsewhere)
        return _leg((*first, base, wide, self._few_of(group)), (group, wide))

    def _others(self, entry: Entry, lane: str | None) -> tuple[Stage, ...]:
        """Give the nodes of the shares that this one's calls are divided among, if any."""
        if entry.route.empty != "divided":
            return ()
        others = [one for one in entry.bundle if one.route.empty == "divided" and one is not entry]
        cells = {cell for one in others for cell in self.group(one, lane).cells}
        return (self._pools.stage_of(cells, group="base", fallback="base"),) if cells else ()

    def part(self, entry: Entry) -> float:
        """Give a route's share, with what it has of shares without nodes."""
        if self._seen != self._pools.changed:
            self._refresh()
        part = self._parts.get(entry)
        if part is None:
            part = self._parts[entry] = self._part_of(entry)
        return part

    def _part_of(self, entry: Entry) -> float:
        divided = [one for one in entry.bundle if one.route.empty == "divided"]
        able = [one for one in divided if self.group(one, one.route.mark).listed]
        if entry not in divided or not able:
            return entry.route.share
        whole = sum(one.route.share for one in divided)
        some = sum(one.route.share for one in able)
        return entry.route.share * whole / some if entry in able and some else 0.0

    def _few_of(self, group: Stage) -> Stage:
        # Too few of a group are still better than nodes that are out.
        return self._pools.stage_of(group.cells, group=group.group) if group.least else group

    def _ordinary(self, base: Stage, *, fallback: str | None = None) -> Leg:
        pools = self._pools
        if base.listed:
            rest = pools.stage_of(self._unclaimed(base), group="base")
            whole = pools.stage_of(base.cells, group="base")
            return _leg((rest, whole), (whole,))
        if self.lanes and not self._baseless:
            self._baseless = True
            self._tell("baseless", "all nodes are in lanes, which keep no call out then", True)
        stage = pools.stage_of(pools.cells.values(), fallback=fallback or "any")
        return _leg((stage,), (stage,))

    def _base(self) -> Stage:
        cells = [cell for cell in self._pools.cells.values() if cell.key.lane is None]
        return self._pools.stage_of(cells, group="base", fallback="base")

    def _unclaimed(self, base: Stage) -> list[Cell]:
        """Give the cells that no share leads to: what a share does not take stays off its nodes."""
        table = self._pools.table
        claimed = table.claimed if table is not None else frozenset()
        return [cell for cell in base.cells if not cell.key.targets & claimed]

    def _lane(self, lane: str | None) -> Stage:
        cells = (cell for cell in self._pools.cells.values() if cell.key.lane == lane)
        return self._pools.stage_of(cells, group=lane or "")

    def group(self, entry: Entry, lane: str | None) -> Stage:
        """Give the nodes that a route leads to: those of other lanes only where it names one."""
        if self._seen != self._pools.changed:
            self._refresh()
        lane = self._listed(lane)
        found = self._groups.get((entry, lane))
        if found is not None:
            return found
        route, target, pools = entry.route, entry.target, self._pools
        open_ = target.names_lane or not self._base().listed
        cells = [
            cell
            for cell in pools.cells.values()
            if target in cell.key.targets and (open_ or cell.key.lane in (None, lane))
        ]
        stage = pools.stage_of(cells, group=route.name, least=route.least)
        self._groups[entry, lane] = stage
        strain = self.strain(entry, stage)
        if strain > _STRAINED and route.name not in self._strained:
            self._strained.add(route.name)
            words = f"route {route.name!r}: its nodes get {strain:.1f} times their part"
            self._tell("strained", words, True)
        return stage

    def strain(self, entry: Entry, stage: Stage) -> float:
        """Give a route's share divided by the part of the weight that its nodes have."""
        whole = sum(cell.listed_weight for cell in self._pools.cells.values())
        part = stage.listed_weight / whole if whole else 0.0
        return entry.route.share / part if part and entry.route.is_share else 0.0


def _leg(stages: Sequence[Stage], last: Sequence[Stage]) -> Leg:
    """Make a leg of the stages that list nodes, each once; there may be none."""
    kept: dict[tuple[frozenset[Cell], float], Stage] = {}
    for stage in stages:
        if stage.listed:
            kept.setdefault((stage.cells, stage.least), stage)
    return Leg(tuple(kept.values()) or tuple(stages[:1]), tuple(last))


def _is_outside(route: Route | None) -> bool:
    if route is None:
        return False
    return route.retry == "outside" or (route.retry is None and route.is_share)
