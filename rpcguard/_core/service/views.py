"""What a service shows of a node."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rpcguard._core.nodes.view import NodeView
from rpcguard._core.service.records import PickRecord as PickRecord

if TYPE_CHECKING:
    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.nodes.view import ConnectionCounts
    from rpcguard._core.service.roster import Roster
    from rpcguard._core.service.service import Service

_SHOWN = 10  # nodes in an error, with their reasons: more are not read


def view(
    live: LiveNode, roster: Roster, now: float, connections: ConnectionCounts | None
) -> NodeView:
    """Show a node of the roster."""
    ejection, mark = roster.blacklist.get(live), roster.marks.get(live)
    state, reason, until = live.state, live.reason, math.inf
    if state == "ejected" and ejection is not None:
        until = math.inf if ejection.connect else ejection.until - now
        reason = f"{reason}, trial pending" if ejection.half_open else reason
    elif state == "offline" and mark is not None:
        until = mark.until - now if mark.until > now else math.inf
        reason = f"{reason}, probe pending" if mark.overdue else reason
    elif state == "available" and live in roster.warming and live.warm_since is not None:
        state, reason = "warming", "slow start" if live.ramp < 1.0 else "slow start, suspended"
        until = live.warm_since + roster.slow_start.window - now
    elif live.doubted_at is not None:
        reason = "left out of the last snapshot, which is doubted"
        until = roster.held_until(live) - now
    return NodeView(
        node=live.node,
        state=state,
        reason=reason,
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


def why_no_node(service: Service, registry: str, no_list: str) -> str:
    """Say why a service has no node to pick; `no_list` is the reason where there is no list."""
    views = service.nodes()
    if not service.ready:
        return f"{no_list} in time; is the registry up?"
    if not service.known:
        return f"{registry} does not know this service; is its name right?"
    if not views and service.left_out:
        refused = f", {service.refused} by allowed_networks" if service.refused else ""
        return f"of {registry} nothing is left: {service.left_out}{refused}"
    if not views and service.refused:
        return f"all {service.refused} nodes of {registry} are outside of allowed_networks"
    if not views:
        return f"{registry} lists no node of it; is one registered?"
    shown = [f"{view.node.id} {view.state}: {view.reason}" for view in views[:_SHOWN]]
    more = f"; and {len(views) - _SHOWN} more" if len(views) > _SHOWN else ""
    return f"of {registry}: {'; '.join(shown)}{more}"
