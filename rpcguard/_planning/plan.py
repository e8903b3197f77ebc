"""How many nodes may go at once: a row for each size of a batch, and the largest that is in bounds.

Each figure says how it was found: rehearsed in the simulation, or by formula. The simulation plays
the callers' own rules, and a batch of half the nodes meets several of them; they are named.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rpcguard._planning.batches import cut, duration, left, lost_by_formula, takes_a_zone
from rpcguard._planning.rehearsal import MOST_NODES, Rehearsed, rehearse

if TYPE_CHECKING:
    from rpcguard._planning.batches import Batch
    from rpcguard._planning.inputs import Bounds, Fleet, Rollout

How = Literal["simulated", "by formula"]
Progress = Callable[[int], None]

_SMALL = (1, 2, 3, 4, 5, 7, 10)
"""Sizes that are always tried: in small fleets each of them is another plan."""
_SHARES = (0.05, 0.1, 0.2, 0.25, 1 / 3, 0.5, 1.0)
"""Shares of the fleet that are tried, as people think of them."""
_ROUNDING = 1e-9  # so that 80 % left is within a ceiling of 80 %, whatever floats make of it
_HALF = 0.5
"""The share at which the callers' own rules begin to doubt what they see."""


@dataclass(frozen=True, slots=True)
class PlanRow:
    """What a size of batch comes to."""

    size: int
    batches: tuple[Batch, ...] = field(repr=False)
    left: float
    """Utilisation of the nodes that stay, at the worst moment; by formula."""
    p99: float | None
    """p99 during the release ÷ in calm; None without a simulation."""
    lost: float
    """Calls of a million that fail."""
    seconds: float
    """The length of the release; by formula."""
    how: How
    """How `p99` and `lost` were found."""
    objections: tuple[str, ...]
    """Why this size is out of bounds; empty for a plan that can be used."""
    remarks: tuple[str, ...]
    """The callers' own rules that this size meets."""


@dataclass(frozen=True, slots=True)
class ReleasePlan:
    """The rows, the largest size in bounds, and how much room it leaves."""

    fleet: Fleet
    rollout: Rollout
    bounds: Bounds
    rows: tuple[PlanRow, ...]
    advised: PlanRow | None
    load_room: float
    """How high the load may rise before the advice changes; by formula."""
    spare: int
    """How many more nodes of average weight may fail while a batch is away; by formula."""
    missing: int
    """How many nodes would have to be added for any plan; 0 where there is one."""


def plan_release(
    fleet: Fleet,
    rollout: Rollout,
    bounds: Bounds,
    *,
    seed: int = 1,
    fast: bool = False,
    progress: Progress = lambda size: None,
) -> ReleasePlan:
    """Try sizes of batches and advise the largest within bounds.

    `fast` leaves the simulation out, and with it p99. `progress` hears of each size before it is
    tried. The same seed gives the same plan.
    """
    rows: dict[int, PlanRow] = {}

    def tried(size: int) -> PlanRow:
        # Batches are cut evenly, so that several sizes may come to the same plan.
        batches = tuple(cut(fleet, rollout, size=size, zones=bounds.zones))
        size = max(len(batch.nodes) for batch in batches)
        if size not in rows:
            progress(size)
            rows[size] = _row(fleet, rollout, bounds, batches, seed=seed, fast=fast)
        return rows[size]

    sizes = sorted({tried(size).size for size in _sizes(len(fleet.nodes), bounds.largest)})
    advised = _largest(sizes, tried)
    ordered = tuple(rows[size] for size in sorted(rows))
    return ReleasePlan(
        fleet,
        rollout,
        bounds,
        ordered,
        advised,
        load_room=_load_room(fleet, bounds, advised),
        spare=_spare(fleet, bounds, advised),
        missing=0 if advised else _missing(fleet, bounds),
    )


def _sizes(count: int, largest: int) -> list[int]:
    shares = {max(math.floor(count * share), 1) for share in _SHARES}
    most = min(count, largest or count)
    return sorted(size for size in shares | set(_SMALL) if size <= most)


def _largest(sizes: list[int], tried: Callable[[int], PlanRow]) -> PlanRow | None:
    """Find the largest size in bounds before the first that is not; halve the gap between them."""
    good, bad = 0, None
    for size in sizes:
        if tried(size).objections:
            bad = size
            break
        good = size
    while good and bad is not None and bad - good > 1:
        middle = (good + bad) // 2
        row = tried(middle)
        good, bad = (good, middle) if row.objections or row.size <= good else (row.size, bad)
    return tried(good) if good else None


def _row(
    fleet: Fleet,
    rollout: Rollout,
    bounds: Bounds,
    batches: tuple[Batch, ...],
    *,
    seed: int,
    fast: bool,
) -> PlanRow:
    size = max(len(batch.nodes) for batch in batches)
    used = left(fleet, rollout, batches)
    figures, how = _figures(fleet, rollout, batches, size=size, seed=seed, fast=fast)
    return PlanRow(
        size,
        batches,
        used,
        figures.p99 if how == "simulated" else None,
        figures.lost,
        duration(rollout, batches),
        how,
        tuple(_objections(fleet, bounds, batches, used, figures, how)),
        tuple(_remarks(fleet, size)),
    )


def _figures(
    fleet: Fleet,
    rollout: Rollout,
    batches: tuple[Batch, ...],
    *,
    size: int,
    seed: int,
    fast: bool,
) -> tuple[Rehearsed, How]:
    # At the scale of 40 nodes less than one of them would go.
    too_small = size * MOST_NODES < len(fleet.nodes)
    if fast or too_small or len(fleet.nodes) == 1:
        return Rehearsed(0.0, 1.0, lost_by_formula(fleet, rollout, batches)), "by formula"
    return rehearse(fleet, rollout, batches, seed=seed), "simulated"


def _objections(
    fleet: Fleet,
    bounds: Bounds,
    batches: tuple[Batch, ...],
    used: float,
    figures: Rehearsed,
    how: How,
) -> list[str]:
    found = []
    if used > bounds.ceiling + _ROUNDING:
        found.append(f"left {_percent(used)} > ceiling {_percent(bounds.ceiling)}")
    if how == "simulated" and figures.p99 > bounds.p99:
        found.append(f"p99 {figures.p99:.1f} x calm > {bounds.p99:g}")
    if round(figures.lost) > bounds.lose:
        found.append(f"{figures.lost:.0f} calls of a million fail > {bounds.lose:g}")
    zone = takes_a_zone(fleet, batches) if bounds.zones == "mixed" else None
    if zone is not None:
        found.append(f"takes all of zone {zone}")
    return found


def _remarks(fleet: Fleet, size: int) -> list[str]:
    share = size / len(fleet.nodes)
    found = []
    if share > _HALF:
        found.append("more than half of the list at once: rpcguard doubts it for 60 s")
        found.append("offline marks cover at most half of the nodes")
    if share >= _HALF:
        found.append("slow start is suspended while half of the weight is warming")
    return found


def _percent(share: float) -> str:
    return "all" if share == math.inf else f"{share:.0%}"


def _load_room(fleet: Fleet, bounds: Bounds, advised: PlanRow | None) -> float:
    if advised is None:
        return 0.0
    return fleet.load * bounds.ceiling / advised.left if advised.left else bounds.ceiling


def _spare(fleet: Fleet, bounds: Bounds, advised: PlanRow | None) -> int:
    if advised is None or not advised.left:
        return 0 if advised is None else len(fleet.nodes) - advised.size
    staying = fleet.expected * fleet.weight / advised.left
    needed = fleet.expected * fleet.weight / bounds.ceiling
    return max(math.floor((staying - needed) / (fleet.weight / len(fleet.nodes)) + 1e-9), 0)


def _missing(fleet: Fleet, bounds: Bounds) -> int:
    """Count the nodes of average weight that a plan of one at a time lacks."""
    count = len(fleet.nodes)
    needed = math.ceil(fleet.expected * count / bounds.ceiling - 1e-9) + 1
    return max(needed - count, 1)
