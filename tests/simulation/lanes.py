"""What must hold of lanes and shares: which nodes a call may meet, by the words of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tests.simulation.standing import RANK_DRAINED, demand

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rpcguard._core.nodes.live import Lease, LiveNode
    from tests.simulation.driver import Flight
    from tests.simulation.standing import Standing
    from tests.simulation.world import World

CANARY = "2"
"""The version to which a share of the calls of such a world goes."""

Nodes = list["LiveNode"]


class Way(NamedTuple):
    """Where a call may go: groups in order, and those whose least bad node is used after them."""

    groups: list[Nodes]
    last: list[Nodes]


def lane_of(live: LiveNode) -> str | None:
    return live.node.metadata.get("lane")


class Ways:
    """Know where each call of a world may go, and judge where it went."""

    def __init__(self, world: World, standing: Standing) -> None:
        self.routing = world.policies.routing
        self.standing = standing
        self.share = self.routing.rules[0].share if self.routing and self.routing.rules else None
        self.exact = self.share is not None and not world.policies.slow_start.window
        self.unmarked = self.taken = 0

    def of(self, flight: Flight, *, again: bool) -> list[Way]:
        """Give the ways of an attempt, in order."""
        nodes = [*self.standing.listed()]
        if self.routing is None:
            return [Way([nodes], [nodes])]
        mark = flight.begin.mark
        base = [live for live in nodes if lane_of(live) is None]
        ordinary = base
        if self.share is not None:
            ordinary = [live for live in base if live.node.version != CANARY]
        if mark is not None:
            group = [live for live in nodes if lane_of(live) == mark]
        elif flight.plan.ask.aim.entry is not None:
            lanes = (None,) if _offered(base) else {lane_of(live) for live in nodes}
            group = [one for one in nodes if one.node.version == CANARY and lane_of(one) in lanes]
        else:
            group = []
        return self._ways(nodes, base, ordinary, group, leaves=again and mark is None)

    @staticmethod
    def _ways(
        nodes: Nodes, base: Nodes, ordinary: Nodes, group: Nodes, *, leaves: bool
    ) -> list[Way]:
        if not _offered(base):
            ways = [Way([group], [group])] if _offered(group) else []
            return [*ways, Way([nodes], [nodes])]
        groups = [ordinary, group, base] if leaves else [group, ordinary, base]
        last = [group, base] if _offered(group) else [base]
        return [Way([one for one in groups if _offered(one)], last)]

    def scope(self, flight: Flight, lease: Lease, tried: Any) -> Nodes:
        """Give the nodes of which a pick must have taken the best."""
        ways = self.of(flight, again=bool(tried))
        rank = self.standing.rank
        if lease.on_trial:
            firsts = [way.groups[0] for way in ways if lease.live in way.groups[0]]
            demand(firsts, "a trial is made by a call that is not for that node")
            return _but(firsts[0], tried)
        for way in ways:
            for group in way.groups:
                if any(rank(live) < 0 for live in _weighty(_but(group, tried))):
                    return _but(group, tried)
            hopeful = any(self.standing.is_hope(live) for one in way.last for live in one)
            for dead in (False, True):
                for one in way.last:
                    able = _weighty(_but(one, tried))
                    able = [live for live in able if (rank(live) >= RANK_DRAINED) is dead]
                    if able and not (dead and hopeful):
                        return able
        return []

    def group(self, flight: Flight, live: LiveNode, *, again: bool) -> Nodes:
        """Give the first group that a node is in: the one of which an eligible node was picked."""
        ways = self.of(flight, again=again)
        return next((one for way in ways for one in way.groups if live in one), [])

    def usable(self, flight: Flight, tried: Iterable[LiveNode]) -> Nodes:
        """Give the nodes that a call may still be sent to: those not known dead, unless all are."""
        found: Nodes = []
        for way in self.of(flight, again=bool(flight.leases)):
            inside = [live for one in (*way.groups, *way.last) for live in one]
            able = _weighty(inside)
            if any(self.standing.is_hope(live) for live in inside):
                able = [live for live in able if self.standing.rank(live) < RANK_DRAINED]
            found += [live for live in able if live not in tried and live not in found]
        return found

    def picked(self, flight: Flight, lease: Lease, *, first: bool) -> None:
        """Look at where a call went."""
        if self.routing is None:
            return
        live, mark = lease.live, flight.begin.mark
        base = any(lane_of(one) is None for one in _able(self.standing.listed()))
        if base:
            demand(mark or lane_of(live) is None, "an unmarked call is in lane %s", lane_of(live))
            demand(lane_of(live) in (None, mark), "%s is served by %s", mark, lane_of(live))
        if first:
            self.counted(flight)

    def counted(self, flight: Flight) -> None:
        """Count a call, whether it found a node or not."""
        if flight.begin.mark is None and self.exact:
            self.unmarked += 1
            self.taken += flight.plan.ask.aim.entry is not None
            owed = self.unmarked * self.share
            demand(abs(self.taken - owed) <= 1.0, "%s calls taken, owed %s", self.taken, owed)


def cells(nodes: Iterable[LiveNode], *, shares: bool) -> list[Nodes]:
    """Part nodes by what the rules of a world can tell apart."""
    parts: dict[Any, Nodes] = {}
    for live in nodes:
        key = lane_of(live), shares and live.node.version == CANARY
        parts.setdefault(key, []).append(live)
    return [*parts.values()]


def _but(nodes: Nodes, tried: Any) -> Nodes:
    return [live for live in nodes if live not in tried]


def _able(nodes: Iterable[LiveNode]) -> Nodes:
    return [live for live in nodes if live.node.weight and live.node.status != "draining"]


def _weighty(nodes: Iterable[LiveNode]) -> Nodes:
    return [live for live in nodes if live.node.weight]


def _offered(nodes: Nodes) -> bool:
    return bool(_able(nodes))
