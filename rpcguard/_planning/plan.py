"""How many nodes may go at once: a row for each size of a batch, and the largest that is in bounds.

Each figure says how it was found: rehearsed in the simulation, or by formula. The simulation plays
the callers' own rules, and a batch of half the nodes meets several of them; they are named.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from rpcguard._planning.batches import (
    cut,
    duration,
    left,
    lost_by_formula,
    missing,
    most_warming,
    takes_a_zone,
)
from rpcguard._planning.inputs import Fleet, PlannedNode
from rpcguard._planning.rehearsal import MOST_NODES, Rehearsed, rehearse

if TYPE_CHECKING:
    from rpcguard._planning.batches import Batch
    from rpcguard._planning.inputs import Bounds, Rollout

How = Literal["simulated", "by formula"]
Progress = Callable[[int], None]

_SMALL = (1, 2, 3, 4, 5, 7, 10)
"""Sizes that are always tried: in small fleets each of them is another plan."""
_SHARES = (0.05, 0.1, 0.2, 0.25, 1 / 3, 0.5, 1.0)
"""Shares of the fleet that are tried, as people think of them."""
_ROUNDING = 1e-9  # so that 80 % left is within a ceiling of 80 %, whatever floats make of it
_MOST_NODES = 100_000
"""Nodes that a fleet may lack: more is a slip of the pen, and takes minutes to try."""

_MOST_MORE = 100
"""Nodes that are tried to be added beyond those that the load alone asks for: those that are cold
at a time ask for some more, and if a hundred do not help, more patience between batches would."""
_MOST_PLAYED = 5  # of these that are played: each takes as long as a row
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
    """p99 during the release ÷ in calm; None without a simulation, or with too few calls in it."""
    lost: float
    """Calls of a million that fail."""
    lost_how: How
    """How `lost` was found: beyond all that is left the formula knows more than a short play."""
    seconds: float
    """The length of the release; by formula."""
    how: How
    """How the row was found: whether it was played."""
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
    missing: int | None
    """How many nodes of average weight to add for one at a time, found as the rows are; 0 with a
    plan, None where more nodes would not do."""


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
        load_room=_load_room(fleet, rollout, bounds, advised),
        spare=_spare(fleet, rollout, bounds, advised),
        missing=0 if advised else _missing(fleet, rollout, bounds, seed=seed, fast=fast),
    )


def _sizes(count: int, largest: int) -> list[int]:
    shares = {max(math.floor(count * share), 1) for share in _SHARES}
    most = min(count, largest or count)
    return sorted(size for size in shares | set(_SMALL) if size <= most)


def _largest(sizes: list[int], tried: Callable[[int], PlanRow]) -> PlanRow | None:
    """Find the largest size from the first in bounds to the next that is not; halve the gap there.

    Smaller ones may be out of bounds: more batches, in haste, leave more nodes cold at a time.
    """
    good, bad = 0, None
    for size in sizes:
        if not tried(size).objections:
            good = size
        elif good:
            bad = size
            break
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
    computed = lost_by_formula(fleet, rollout, batches)
    played = how == "simulated" and figures.lost >= computed
    lost = figures.lost if played else computed
    return PlanRow(
        size,
        batches,
        used,
        None if math.isnan(figures.p99) else figures.p99,
        lost,
        "simulated" if played else "by formula",
        duration(rollout, batches),
        how,
        tuple(_objections(fleet, bounds, batches, used, figures.p99, lost)),
        tuple(_remarks(fleet, rollout, batches)),
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
        return Rehearsed(math.nan, math.nan, 0.0), "by formula"
    return rehearse(fleet, rollout, batches, seed=seed), "simulated"


def _objections(
    fleet: Fleet,
    bounds: Bounds,
    batches: tuple[Batch, ...],
    used: float,
    p99: float,
    lost: float,
) -> list[str]:
    found = []
    if used > bounds.ceiling + _ROUNDING:
        found.append(_over("left", used, bounds.ceiling))
    if p99 > bounds.p99:
        found.append(f"p99 {p99:.1f} x calm > {bounds.p99:g}")
    if round(lost) > bounds.lose:
        found.append(f"{lost:.0f} calls of a million fail > {bounds.lose:g}")
    zone = takes_a_zone(fleet, batches) if bounds.zones == "mixed" else None
    if zone is not None:
        found.append(f"takes all of zone {zone}")
    return found


def _remarks(fleet: Fleet, rollout: Rollout, batches: tuple[Batch, ...]) -> list[str]:
    size = max(len(batch.nodes) for batch in batches)
    gone = max(size - rollout.surge, 0) / len(fleet.nodes)
    found = []
    if gone > _HALF:
        found.append("more than half of the list at once: rpcguard doubts it for 60 s")
        found.append("offline marks cover at most half of the nodes")
    if most_warming(rollout, batches) >= _HALF * fleet.weight:
        found.append("slow start is suspended while half of the weight is warming")
    return found


def _over(name: str, share: float, bound: float) -> str:
    if share == math.inf:
        return "nobody is left"
    digits = 0 if f"{share:.0%}" != f"{bound:.0%}" else 2
    return f"{name} {share:.{digits}%} > ceiling {bound:.{digits}%}"


def _load_room(fleet: Fleet, rollout: Rollout, bounds: Bounds, advised: PlanRow | None) -> float:
    if advised is None:
        return 0.0
    staying = _staying(fleet, rollout, advised.batches)
    return bounds.ceiling * staying / (fleet.weight * fleet.peak)


def _spare(fleet: Fleet, rollout: Rollout, bounds: Bounds, advised: PlanRow | None) -> int:
    if advised is None:
        return 0
    staying = _staying(fleet, rollout, advised.batches)
    needed = fleet.expected * fleet.weight / bounds.ceiling
    average = fleet.weight / len(fleet.nodes)
    return max(math.floor((staying - needed) / average + _ROUNDING), 0)


def _staying(fleet: Fleet, rollout: Rollout, batches: tuple[Batch, ...]) -> float:
    """Compute the weight that serves at the worst moment of a release."""
    lacking = max(missing(rollout, batches, at) for at in range(len(batches)))
    return max(fleet.weight - lacking, 0.0)


def _missing(
    fleet: Fleet, rollout: Rollout, bounds: Bounds, *, seed: int, fast: bool
) -> int | None:
    """Count the nodes with which one at a time is in bounds: by formula first, which is quick."""
    count = len(fleet.nodes)
    wanted = fleet.expected * count / bounds.ceiling
    if wanted - count > _MOST_NODES:
        return None
    fewest = max(math.ceil(wanted - _ROUNDING) - count, 1)

    def enough(more: int, *, fast: bool) -> bool:
        grown = _grown(fleet, more)
        batches = tuple(cut(grown, rollout, size=1, zones=bounds.zones))
        return not _row(grown, rollout, bounds, batches, seed=seed, fast=fast).objections

    tried = range(fewest, fewest + _MOST_MORE)
    found = next((more for more in tried if enough(more, fast=True)), None)
    if fast or found is None:
        return found
    step = max(count // 10, 1)
    tried = range(found, found + _MOST_PLAYED * step, step)
    return next((more for more in tried if enough(more, fast=False)), None)


def _grown(fleet: Fleet, more: int) -> Fleet:
    """Add nodes of average weight, under the same calls."""
    average = fleet.weight / len(fleet.nodes)
    added = [
        PlannedNode(id=f"added-{at}", weight=average, zone=fleet.nodes[at % len(fleet.nodes)].zone)
        for at in range(more)
    ]
    nodes = (*fleet.nodes, *added)
    return replace(fleet, nodes=nodes, load=fleet.load * len(fleet.nodes) / len(nodes))
