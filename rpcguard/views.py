"""What a service shows of itself: its nodes now, and its last picks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rpcguard.nodes import NodeView

if TYPE_CHECKING:
    from rpcguard.live import LiveNode
    from rpcguard.roster import Roster


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


def view(live: LiveNode, roster: Roster, now: float) -> NodeView:
    """Show a node of the roster."""
    ejection, mark = roster.blacklist.get(live), roster.marks.get(live)
    state, reason, until = live.state, live.reason, math.inf
    if state == "ejected" and ejection is not None:
        until = ejection.until - now
        reason = f"{reason}, trial pending" if ejection.half_open else reason
    elif state == "offline" and mark is not None:
        until = mark.until - now
    elif state == "available" and live in roster.warming:
        state, reason = "warming", "slow start"
        until = live.warm_since + roster.slow_start.window - now if live.warm_since else math.inf
    elif live.doubted_at is not None:
        reason = "left out of the last snapshot, which is doubted"
        until = live.doubted_at + roster.membership.shrink_hold - now
    return NodeView(
        node=live.node,
        state=state,
        reason=reason,
        until=max(until, 0.0) if math.isfinite(until) else None,
        weight=live.weight,
        effective_weight=live.effective_weight if live.in_pool else 0.0,
        in_flight=live.in_flight,
        load=live.load(now, live.latency),
        successes=live.successes,
        failures=live.failures,
    )
