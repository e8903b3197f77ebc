"""Which columns of the table of nodes a terminal has room for, and in which order its rows are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from rpcguard._commands.nodes.rows import STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rpcguard._commands.nodes.rows import Row

Column = Literal[
    "node",
    "state",
    "why",
    "left",
    "weight",
    "fly",
    "load",
    "per s",
    "good",
    "p50",
    "p99",
    "last event",
    "zone",
    "version",
]
Order = Literal["listed", "state", "in flight", "p99"]

ORDERS: Final[tuple[Order, ...]] = ("listed", "state", "in flight", "p99")

WIDE: Final = 100
"""Characters from which on there is room for a long ramp bar."""
_FROM: Final[dict[Column, int]] = {
    "node": 0,
    "state": 0,
    "why": 80,
    "left": 52,
    "weight": 68,
    "fly": 56,
    "load": WIDE,
    "per s": WIDE,
    "good": 38,
    "p50": 75,
    "p99": 46,
    "last event": 132,
    "zone": 168,
    "version": 168,
}
"""In the order on the screen: the characters from which on a column is there. Added up by how much
each tells of a node in trouble, so that what is there is whole."""
_LONGEST_NAME: Final = 20
"""Characters of a name for which there is room from the share of good calls on."""
_STATE: Final = 10
"""Characters of the longest state and of the gap before it."""


def columns(width: int, rows: Sequence[Row]) -> tuple[Column, ...]:
    """Give the columns for which so many characters are enough; zone and version if there are."""
    empty = {name for name in ("zone", "version") if not any(getattr(row, name) for row in rows)}
    return tuple(name for name, least in _FROM.items() if width >= least and name not in empty)


def longest_name(width: int) -> int:
    """Give the characters of a name that are shown."""
    return max(_LONGEST_NAME, width // 5) if width >= _FROM["good"] else max(width - _STATE, 1)


def in_order(rows: Sequence[Row], order: Order) -> list[Row]:
    """Sort rows: as listed, or with what wants attention first; equal ones stay as listed."""
    if order == "state":
        return sorted(rows, key=_urgency)
    if order == "in flight":
        return sorted(rows, key=lambda row: -row.in_flight)
    if order == "p99":
        return sorted(rows, key=lambda row: -(row.p99 or 0.0))
    return list(rows)


def worst(rows: Sequence[Row], room: int, order: Order) -> list[Row]:
    """Give so many rows that want attention most, in that order."""
    if order != "listed":
        return in_order(rows, order)[:room]
    kept = {row.id for row in in_order(rows, "state")[:room]}
    return [row for row in rows if row.id in kept]


def _urgency(row: Row) -> int:
    return STATES.index(row.state) if row.state in STATES else 0
