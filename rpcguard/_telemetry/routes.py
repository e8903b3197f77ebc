"""What is told of lanes and routes: counters, and attributes of spans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpcguard._telemetry.hooks import told

if TYPE_CHECKING:
    from rpcguard._core.nodes.routed import Routed
    from rpcguard._telemetry.metrics import Instruments


class RouteCounts:
    """The counters of lanes and routes; thread-safe."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments

    @told
    def marked(self, source: str, result: str) -> None:
        """Count a mark: where it stood, and whether it was used, unknown or malformed."""
        attributes = {"rpcguard.mark.source": source, "rpcguard.mark.result": result}
        self._instruments.marks.add(1, attributes)

    def sent(self, service: str, routed: Routed) -> None:
        """Count a call of a route or a lane by the nodes that its first attempt goes to."""
        if routed.first and (routed.route is not None or routed.lane is not None):
            self._count(service, routed.route or "", routed.fallback or "group")

    def failed(self, service: str, route: str) -> None:
        """Count a call of a route that found no node."""
        self._count(service, route, "failed")

    @told
    def _count(self, service: str, route: str, result: str) -> None:
        told = self._instruments
        name, route = told.name(service), told.route(route)
        attributes = {"server.address": name, "rpcguard.route": route, "rpcguard.result": result}
        told.routed.add(1, attributes)

    @told
    def zoned(self, service: str, *, own: bool) -> None:
        """Count an attempt by whether it stays in the caller's zone."""
        told = self._instruments
        attributes = {
            "server.address": told.name(service),
            "rpcguard.zone": "own" if own else "other",
        }
        told.zone_picks.add(1, attributes)

    @told
    def pinned(self, service: str, place: str) -> None:
        """Count an attempt by whether its key got the node that it belongs to."""
        told = self._instruments
        attributes = {"server.address": told.name(service), "rpcguard.affinity.result": place}
        told.affinity.add(1, attributes)

    @told
    def refreshed(self, outcome: str) -> None:
        """Count what came of asking for a document of rules: changed, same, rejected, failed."""
        self._instruments.rules.add(1, {"rpcguard.rules.outcome": outcome})


def attributes_of(routed: Routed | None) -> dict[str, str]:
    """Give what a span tells of the lane and the route of its attempt."""
    if routed is None:
        return {}
    told = {
        "rpcguard.route": routed.route,
        "rpcguard.lane": routed.lane,
        "rpcguard.lane.fallback": routed.fallback,
    }
    return {key: value for key, value in told.items() if value is not None}
