"""A claim on a node, and how one pick came about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rpcguard.live import LiveNode

Compared = tuple[tuple["LiveNode", float], ...]
Exclusions = tuple[tuple[str, str], ...]


class Lease:
    """Hold one attempt's claim on a node, from the pick to the close of its response.

    `proof` is true for the trial of a half-open node and for a pick in panic: there a success
    restores the node. `paid_at` is when the budget paid for a retry.
    """

    __slots__ = ("live", "paid_at", "proof", "started")

    def __init__(self, live: LiveNode, started: float) -> None:
        self.live: LiveNode = live
        self.started: float = started
        self.proof: bool = False
        self.paid_at: float | None = None


Taken = tuple[Lease, Compared, tuple["LiveNode", ...], Exclusions]
"""What is kept of a pick: the lease, what was compared, what had been tried, who was out."""


@dataclass(frozen=True, slots=True)
class PickRecord:
    """Tell how one pick came about.

    `at` is by the monotonic clock, in seconds. `candidates` are the node ids that were compared,
    each with its load, the picked one first; `tried` the nodes that the call had used before;
    `excluded` the nodes that could not be picked, each with the reason (the first 50). `panic` is
    true where nothing was eligible.
    """

    at: float
    picked: str
    candidates: tuple[tuple[str, float], ...]
    tried: tuple[str, ...]
    excluded: tuple[tuple[str, str], ...]
    panic: bool


def explained(taken: Iterable[Taken]) -> list[PickRecord]:
    """Tell of picks in plain values."""
    return [
        PickRecord(
            at=lease.started,
            picked=lease.live.node.id,
            candidates=tuple((live.node.id, load) for live, load in compared),
            tried=tuple(live.node.id for live in tried),
            excluded=excluded,
            panic=lease.proof and not compared,
        )
        for lease, compared, tried, excluded in taken
    ]
