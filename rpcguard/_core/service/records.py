"""How one pick came about, kept for `explain`, and what its attempt came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.nodes.node import State
    from rpcguard._core.nodes.routed import Routed

Compared = tuple[tuple["LiveNode", float], ...]
Exclusions = tuple[tuple[str, str], ...]
Taken = tuple["LiveNode", float, str, Compared, tuple["LiveNode", ...], Exclusions]
"""What is kept of a pick: the node, when, why it was picked, what was compared, what had been
tried, and who was out."""

LEAST_BAD: Final = "nothing is eligible, and it is the least bad"
"""Why a node was picked in panic, for `explain`."""


@dataclass(frozen=True, slots=True)
class PickRecord:
    """How one pick came about.

    `route`, `lane`, `group` and `fallback` are None where lanes are not looked at.
    """

    at: float
    """Seconds by the monotonic clock."""
    picked: str
    """The id of the node."""
    candidates: tuple[tuple[str, float], ...]
    """The ids of the nodes that were compared, each with its load, the picked one first."""
    tried: tuple[str, ...]
    """The nodes that the call had used before."""
    excluded: tuple[tuple[str, str], ...]
    """The nodes that were not to be picked, each with the reason; the first 50."""
    panic: bool
    """Whether nothing was eligible."""
    route: str | None = None
    """The route that took the call."""
    lane: str | None = None
    """The mark of the call."""
    group: str | None = None
    """The nodes among which was picked."""
    fallback: str | None = None
    """Why these are others than the call was meant for, where they are."""
    why: str = ""
    """A short reason; empty where a balancer tells none."""


def explained(taken: Iterable[Taken], routed: Iterable[Routed | None]) -> list[PickRecord]:
    """Tell of picks in plain values, each with what lanes and routes made of it."""
    return [
        PickRecord(
            at=at,
            picked=picked.node.id,
            candidates=tuple((live.node.id, load) for live, load in compared),
            tried=tuple(live.node.id for live in tried),
            excluded=excluded,
            panic=why is LEAST_BAD,
            why=why,
            **_told(way),
        )
        for (picked, at, why, compared, tried, excluded), way in zip(taken, routed, strict=False)
    ]


def _told(routed: Routed | None) -> dict[str, str | None]:
    if routed is None:
        return {}
    route, lane, group, fallback, *_ = routed
    return {"route": route, "lane": lane, "group": group, "fallback": fallback}


class Settled(NamedTuple):
    """What the end of an attempt, or of its body, came to for its node."""

    seconds: float
    """How long the attempt took."""
    change: State | None
    """Where the node stands since, when this attempt has moved it; else None."""
    reason: str | None
    """Why it stands there."""


def settled_by(live: LiveNode, before: State, seconds: float) -> Settled:
    """Tell what an attempt came to for a node that stood in this state before it ended."""
    if live.state == before:
        return Settled(seconds, None, None)
    return Settled(seconds, live.state, live.reason)
