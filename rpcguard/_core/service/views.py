"""What a service shows of a node."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from rpcguard._core.balancing.subset import OUTSIDE
from rpcguard._core.nodes.view import NodeView
from rpcguard._core.service.records import PickRecord as PickRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.nodes.node import State
    from rpcguard._core.nodes.view import ConnectionCounts
    from rpcguard._core.service.hedger import Hedger
    from rpcguard._core.service.limit import Limiter
    from rpcguard._core.service.roster import Roster


def state_of(live: LiveNode, roster: Roster) -> State:
    """Give the state that is shown.

    A node that a probe has found listening is shown as warming: it is back, and gets one call at a
    time until the first has been answered. Until then it is in no pool.
    """
    if live.state == "ejected":
        ejection = roster.blacklist.get(live)
        return "warming" if ejection is not None and ejection.listens else "ejected"
    return "warming" if live in roster.warming and live.in_pool else live.state


def view(
    live: LiveNode, roster: Roster, now: float, connections: ConnectionCounts | None
) -> NodeView:
    """Show a node of the roster."""
    ejection, mark = roster.blacklist.get(live), roster.marks.get(live)
    state, reason, until = state_of(live, roster), live.reason, math.inf
    if ejection is not None and live.state == "ejected":
        until = math.inf if ejection.unconnected else ejection.until - now
        reason = f"{reason}, trial pending" if ejection.half_open else reason
    elif state == "offline" and mark is not None:
        until = mark.until - now if mark.until > now else math.inf
        reason = f"{reason}, probe pending" if mark.overdue else reason
    elif state == "warming" and live.warm_since is not None:
        reason = "slow start" if live.ramp < 1.0 else "slow start, suspended"
        until = live.warm_since + roster.slow_start.window - now
    elif live.doubted_at is not None:
        reason = "left out of the last snapshot, which is doubted"
        until = roster.held_until(live) - now
    return NodeView(
        node=live.node,
        state=state,
        reason=_with_subset(reason, live),
        until=max(until, 0.0) if math.isfinite(until) else None,
        weight=live.weight,
        effective_weight=live.effective_weight if live.in_pool else 0.0,
        in_flight=live.in_flight,
        load=live.load(0.0, now),
        successes=live.successes,
        failures=live.failures,
        connections=connections,
        event=live.event and live.event[0],
        event_age=live.event and now - live.event[1],
        latencies=live.latencies,
    )


def _with_subset(reason: str | None, live: LiveNode) -> str | None:
    if not live.outside:
        return reason
    return f"{reason}, {OUTSIDE}" if reason else OUTSIDE


class Pressure(NamedTuple):
    """What a service holds back, and what it sends twice; the fields of `ServiceView`."""

    limit: int | None
    throttled: float
    hedge_delay: float | None
    hedges: Mapping[str, int] | None


def pressure(limiter: Limiter | None, hedger: Hedger | None, now: float) -> Pressure:
    """Show the guards of a service, as far as it has any."""
    return Pressure(
        None if limiter is None else limiter.limit,
        0.0 if limiter is None else limiter.probability(now),
        None if hedger is None else hedger.delay,
        None if hedger is None else dict(hedger.results),
    )
