"""Where the calls of one service go: the rules, and the turns of their shares."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from rpcguard._core.nodes.routed import Routed
from rpcguard._core.nodes.view import RouteView
from rpcguard._core.routing.cells import lane_of
from rpcguard._core.routing.table import Table
from rpcguard._core.service.asks import PLAIN, Ask
from rpcguard._core.service.choices import aim_at
from rpcguard._core.service.paths import Paths
from rpcguard._core.service.reconcile import with_pauses
from rpcguard._core.service.takers import Takers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.policies.bundle import Policies
    from rpcguard._core.policies.routing import Route, Routing
    from rpcguard._core.routing.facts import Facts
    from rpcguard._core.routing.table import Entry
    from rpcguard._core.service.asks import Aim
    from rpcguard._core.service.choices import RouteState
    from rpcguard._core.service.effects import Kind
    from rpcguard._core.service.pools import Alone, Pools
    from rpcguard._core.service.roster import Roster
    from rpcguard._core.service.stages import Leg, Stage
    from rpcguard._core.service.standing import Standing


_MOST_AIMS: Final = 1000
"""Aims that are remembered: marks may be anything, and come from anywhere."""

_PAUSE_EVERY: Final = 32
"""Nodes or routes after which other threads get a turn: a third of a millisecond."""


class Foreseen(NamedTuple):
    """Where a call would go."""

    route: str | None
    """The route that would take it; None is no route."""

    lane: str | None
    """The mark that it would have."""

    share: float
    """The part of the calls of this kind that the route takes, of those that are left."""

    group: str
    """The nodes: the name of a route or lane, `base`, `any`; `none` where no node can serve."""

    fallback: str | None
    """`base` or `any` where these are not the nodes that it is meant for."""

    nodes: tuple[str, ...]
    """The ids of those that can serve."""

    timeout: float | None = None
    """Seconds that the route gives it at most, as for the next two."""

    attempt_timeout: float | None = None
    """Seconds that each attempt has at most."""

    attempts: int | None = None
    """How many there are at most."""


class Router:
    """What decides which nodes of a service a call may go to.

    Not thread-safe: it lives under the lock of its service, apart from `table`, which never changes
    and is replaced. `tell` hears of what a user should know: a kind, words, and whether it was
    done.
    """

    def __init__(
        self,
        service: str,
        routing: Routing,
        pools: Pools,
        *,
        rng: Random,
        window: float,
        now: float,
        tell: Callable[[Kind, str, bool], None],
    ) -> None:
        self.table: Table
        self._service = service
        self._routing = routing
        self._pools = pools
        self._aims: dict[tuple[Entry | None, str | None], Aim] = {}
        self._paths = paths = Paths(pools, routing.otherwise, tell)
        self._takers = Takers(pools, paths, random=rng.random, window=window, tell=tell)
        table = self.prepare(routing.rules)
        self._take(table, self._takers.prepare(table.entries, now))

    # Rules

    def prepare(self, routes: Sequence[Route]) -> Table:
        """Make a table of the routes that are about this service; needs no lock."""
        paced = partial(with_pauses, every=_PAUSE_EVERY)
        return Table(self._service, routes, self._routing.lane_keys, paced=paced)

    def adopt(
        self,
        routes: Sequence[Route],
        roster: Roster,
        alone: Alone,
        clock: Callable[[], float],
    ) -> None:
        """Go by other rules; what is done `alone` has the service's lock, for a moment at a time.

        Picks go on meanwhile, by the old rules until every node can be told by the new ones as
        well: else calls would find none where they are meant to go.
        """
        table = self.prepare(routes)
        listed: list[LiveNode] = alone(lambda: list(roster.nodes.values()))
        for live in with_pauses(listed, _PAUSE_EVERY):
            table.cell_of(live.node)  # found here, it is only looked up under the lock
        states = self._takers.prepare(with_pauses(table.entries, _PAUSE_EVERY), clock())
        alone(partial(self._pools.tell_by, table))
        roster.move(listed, alone, clock)
        alone(lambda: self._take(table, states))
        roster.move(listed, alone, clock)

    def _take(self, table: Table, states: dict[str, RouteState]) -> None:
        self._takers.go_by(states)
        self._aims.clear()
        self.table = table
        self._pools.go_by(table)

    # Calls

    def ask(self, facts: Facts, *, anywhere: bool = False) -> Ask:
        """Match a call against the rules; needs no lock."""
        return Ask(self.table, facts, anywhere=anywhere)

    def legs(self, ask: Ask, now: float, *, again: bool = False) -> tuple[Leg, ...]:
        """Give where a call may go; `again` is for an attempt after the first."""
        aim = ask.aim
        if aim is None:  # by turns, where it matches a share
            if ask.table is not self.table:
                ask.renew(self.table)
            if ask.mark is not None:
                aim = self._aim_of_marked(ask)
            else:
                aim = self._takers.take(ask.matched, ask.places, now) if ask.matched else PLAIN
            ask.aim = aim
        if ask.anywhere:
            return (self._pools.whole or self._pools.prepare_whole(),)
        return self._paths.legs(aim, again=again)

    def _aim_of_marked(self, ask: Ask) -> Aim:
        taken = next((entry for entry in ask.matched if not entry.is_share), None)
        return self._aim_at(taken, (taken and taken.route.mark) or ask.mark)

    def _aim_at(self, entry: Entry | None, mark: str | None) -> Aim:
        aim = self._aims.get((entry, mark))
        if aim is None:
            if len(self._aims) >= _MOST_AIMS:
                self._aims.clear()
            aim = self._aims[entry, mark] = aim_at(entry, mark, self._takers.states)
        return aim

    def routed(self, ask: Ask, stage: Stage | None, *, first: bool) -> Routed:
        """Note where an attempt goes, and tell it."""
        aim = ask.aim or PLAIN
        if not first or stage is None:
            return _noted(aim, stage, first=first)
        if aim is not PLAIN:
            aim.count(served=stage.fallback is None)
        routed = stage.noted.get(aim)
        if routed is None:
            if len(stage.noted) >= _MOST_AIMS:
                stage.noted.clear()
            routed = stage.noted[aim] = _noted(aim, stage, first=True)
        return routed

    def judge(self, routed: Routed, now: float, *, failed: bool) -> None:
        """Tell the guards what an attempt came to."""
        self._takers.judge(routed, now, failed=failed)

    def lane_of(self, live: LiveNode) -> str | None:
        """Give the lane of a node; needs no lock."""
        return lane_of(live.node, self._routing.lane_keys)

    def names(self, lane: str) -> bool:
        """Tell whether the service lists a node of a lane; needs no lock."""
        return self._paths.names(lane)

    def foresee(self, ask: Ask, now: float) -> list[Foreseen]:
        """Tell where a call would go, and in which part of the cases; no turn is taken."""
        if ask.table is not self.table:
            ask.renew(self.table)
        told = []
        for entry in ask.matched:
            route = entry.route
            if route.is_share and ask.mark is not None:
                continue
            lane = route.mark or ask.mark
            told.append(self._foreseen(entry, lane, self._takers.effective(entry, now)))
            if not route.is_share:
                return told
        return [*told, self._foreseen(None, ask.mark, 1.0)]

    def _foreseen(self, entry: Entry | None, lane: str | None, share: float) -> Foreseen:
        name = None if entry is None else entry.route.name
        stage = next(
            (
                stage
                for leg in self._paths.legs(self._aim_at(entry, lane), again=False)
                for stage in leg.stages
                if stage.eligible and stage.fit
            ),
            None,
        )
        if stage is None:
            return Foreseen(name, lane, share, "none", None, (), *_limits(entry))
        nodes = tuple(sorted(self._pools.nodes_of(stage)))
        return Foreseen(name, lane, share, stage.group, stage.fallback, nodes, *_limits(entry))

    # What is shown

    def views(self, now: float) -> list[RouteView]:
        """Show the routes of the service, in order."""
        return [self._view(entry, now) for entry in self.table.entries]

    def _view(self, entry: Entry, now: float) -> RouteView:
        route, state = entry.route, self._takers.states[entry.route.name]
        stage = self._paths.group(entry, route.mark)
        watch = state.watch
        return RouteView(
            name=route.name,
            service=self._service,
            share=route.share,
            effective_share=self._takers.effective(entry, now),
            measured=state.share.measured,
            ramp=stage.warmth,
            strain=self._paths.strain(entry, stage),
            nodes=stage.listed,
            eligible=stage.eligible,
            guard=watch.until - now if watch is not None and watch.holds(now) else None,
        )


def _noted(aim: Aim, stage: Stage | None, *, first: bool) -> Routed:
    group, fallback = (stage.group, stage.fallback) if stage is not None else ("any", None)
    route = None if aim.entry is None else aim.entry.route.name
    return Routed(route, aim.lane, group, fallback, aim.declined, first)


def _limits(entry: Entry | None) -> tuple[float | None, float | None, int | None]:
    if entry is None:
        return None, None, None
    route = entry.route
    return route.timeout, route.attempt_timeout, route.attempts


def router_of(
    service: str, policies: Policies, pools: Pools, rng: Random, standing: Standing, now: float
) -> Router | None:
    """Give the router of a service; None where lanes are not looked at."""
    if policies.routing is None:
        return None
    window, tell = policies.ejection.window, standing.say
    return Router(service, policies.routing, pools, rng=rng, window=window, now=now, tell=tell)
