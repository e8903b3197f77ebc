"""Whether the next batch of a release may go, as far as a caller's list tells."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rpcguard._commands.nodes.rows import Row
    from rpcguard._commands.nodes.sources import Look

LEAST_SERVING = 0.5
"""The share of the weight that has to serve when the batch is gone: below it rpcguard's own rules
for half of a service set in."""
SLOWEST = 2.0
"""How many times the p99 of calm is too slow, as `plan-release` has it by default."""
RECENT = 60.0
"""Seconds for which a signal or an ejection that was not enforced speaks against going on."""


def objections(look: Look, batch: int, *, whole: int = 0, calm: float | None = None) -> list[str]:
    """Say what speaks against taking `batch` more nodes away now; nothing when they may go.

    `whole` is how many nodes there are when none is away: one that has left the list is not seen to
    be out. `calm` is the p99 in seconds before the release, None where nothing was measured.
    """
    rows = look.rows
    serving = sorted((row for row in rows if row.state == "available"), key=lambda row: row.weight)
    found = [f"{row.id} is {row.state}" for row in rows if row.state != "available"]
    if len(rows) < whole:
        found.append(f"only {len(rows)} of {whole} nodes are listed")
    if look.trouble:
        found.append(f"the list may be old: {look.trouble}")
    left = sum(row.weight for row in serving[: max(len(serving) - batch, 0)])
    weight = sum(row.weight for row in rows)
    if left < LEAST_SERVING * weight or not left:
        share = left / weight if weight else 0.0
        found.append(f"only {share:.0%} of the weight would serve")
    held_back = [row.id for row in rows if _is_held_back(row)]
    found += [f"a signal or ejection of {name} was not enforced" for name in held_back]
    now = slowness(serving)
    if calm and now is not None and now > SLOWEST * calm:
        found.append(f"p99 is {now / calm:.1f} times that of calm")
    return found


def slowness(rows: Sequence[Row]) -> float | None:
    """Give the middle p99 of the nodes that were called, None without calls."""
    known = [row.p99 for row in rows if row.p99 is not None]
    return median(known) if known else None


def _is_held_back(row: Row) -> bool:
    return "(not enforced)" in row.event and (row.event_age or 0.0) < RECENT
