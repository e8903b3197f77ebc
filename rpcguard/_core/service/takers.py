"""Which route takes a call: the first that matches, and of shares the one whose turn it is."""

from __future__ import annotations

from itertools import takewhile
from operator import attrgetter
from typing import TYPE_CHECKING

from rpcguard._core.routing.guards import Watch
from rpcguard._core.routing.rotas import Rota, owe
from rpcguard._core.routing.shares import Share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rpcguard._core.nodes.routed import Routed
    from rpcguard._core.policies.routing import Route
    from rpcguard._core.routing.table import Entry
    from rpcguard._core.service.asks import Aim
    from rpcguard._core.service.effects import Kind
    from rpcguard._core.service.paths import Paths
    from rpcguard._core.service.pools import Pools


class RouteState:
    """What a service remembers of one route: what it is owed, and what its guard has seen."""

    __slots__ = ("rota", "route", "share", "watch")

    def __init__(self, route: Route, share: Share, rota: Rota, watch: Watch | None) -> None:
        self.route: Route = route
        self.share: Share = share
        self.rota: Rota = rota
        self.watch: Watch | None = watch


class Takers:
    """What decides which route of one service takes a call, by turns where that is a share.

    Not thread-safe: it lives under the lock of its service. `states` has what is remembered of each
    route, by name. `tell` hears of what a user should know: a kind, words, and whether it was done.
    """

    def __init__(
        self,
        pools: Pools,
        paths: Paths,
        *,
        random: Callable[[], float],
        window: float,
        tell: Callable[[Kind, str, bool], None],
    ) -> None:
        self.states: dict[str, RouteState] = {}
        self._pools = pools
        self._paths = paths
        self._random = random
        self._window = window
        self._tell = tell

    # Rules

    def prepare(self, entries: Iterable[Entry], now: float) -> dict[str, RouteState]:
        """Give the states of other routes; those of routes that stay go on."""
        rotas = {state.route.when: state.rota for state in self.states.values()}
        states = {}
        for entry in entries:
            route = entry.route
            rota = rotas.get(route.when)
            if rota is None:
                rota = rotas[route.when] = Rota(self._random)
            states[route.name] = self._state_of(route, rota, now)
        return states

    def _state_of(self, route: Route, rota: Rota, now: float) -> RouteState:
        old, guard = self.states.get(route.name), route.guard
        share = Share() if old is None else old.share
        if old is not None and old.route.guard == guard:
            return RouteState(route, share, rota, old.watch)
        watch = None if guard is None else Watch(guard, self._window, now)
        return RouteState(route, share, rota, watch)

    # Calls

    def take(
        self, matched: Sequence[Entry], places: Mapping[Entry, float], now: float
    ) -> tuple[Entry | None, tuple[Entry, ...]]:
        """Give the route that takes an unmarked call, and the shares that had it not.

        Shares with the same conditions are tried together, where the first of them stands.
        """
        declined: tuple[Entry, ...] = ()
        for entry in matched:
            if not entry.is_share:
                return entry, declined
            if len(entry.bundle) == 1:
                if self._takes(entry, places, now):
                    return entry, declined
                declined = (*declined, entry)
            elif entry not in declined:
                tried = _reached(entry.bundle, matched)
                taken = self._of_several(tried, places, now)
                declined = (*declined, *[one for one in tried if one is not taken])
                if taken is not None:
                    return taken, declined
        return None, declined

    def _takes(self, entry: Entry, places: Mapping[Entry, float], now: float) -> bool:
        part = self.effective(entry, now)
        if places and entry in places:
            return places[entry] < part
        state = self.states[entry.route.name]
        return state.rota.takes(state.share, part)

    def _of_several(
        self, entries: Sequence[Entry], places: Mapping[Entry, float], now: float
    ) -> Entry | None:
        """Give the share that takes a call: a sticky one that its place is in, else by turns."""
        taken = self._sticky(entries, places, now) if places else None
        turns = [one for one in entries if one not in places] if places else entries
        states = self.states
        shares = [(states[one.route.name].share, self.effective(one, now)) for one in turns]
        if taken is not None:
            owe(shares)
        elif turns:
            share = states[turns[0].route.name].rota.turn(shares)
            takers = (one for one in turns if states[one.route.name].share is share)
            taken = None if share is None else next(takers)
        return taken

    def _sticky(
        self, entries: Sequence[Entry], places: Mapping[Entry, float], now: float
    ) -> Entry | None:
        left = 1.0  # of the users, those whom no share before has taken
        for entry in entries:
            if entry in places:
                part = self.effective(entry, now)
                if places[entry] * left < part:
                    return entry
                left -= part
        return None

    def effective(self, entry: Entry, now: float) -> float:
        """Give the part of the calls that a share takes now: thinned while its nodes warm up."""
        route = entry.route
        if entry.is_steady and not self._pools.tempered:
            return route.share
        if route.guard is not None:
            watch = self.states[route.name].watch
            if watch is not None and watch.holds(now):
                return 0.0
        part = route.share if route.empty == "kept" else self._paths.part(entry)
        if not self._pools.tempered:
            return part
        return part * self._paths.group(entry, route.mark).warmth

    # What came of them

    def count(self, aim: Aim, *, served: bool) -> None:
        """Note whether the nodes of the route that took a call served it."""
        states = self.states
        for name in aim.declined:
            state = states.get(name)
            if state is not None:
                state.share.count(served=False)
        if aim.entry is not None:
            taken = states.get(aim.entry.route.name)
            if taken is not None:
                taken.share.count(served=served)

    def judge(self, routed: Routed, now: float, *, failed: bool) -> None:
        """Tell the guards what an attempt came to; a first one, whose nodes no failure chose."""
        if not routed.first:
            return
        if routed.route is not None and routed.fallback is None:
            self._watch(routed.route, now, group=True, failed=failed)
        for name in routed.declined:
            self._watch(name, now, group=False, failed=failed)

    def _watch(self, name: str, now: float, *, group: bool, failed: bool) -> None:
        state = self.states.get(name)
        if state is None or state.watch is None or state.route.guard is None:
            return
        why = state.watch.count(now, group=group, failed=failed)
        if why is not None:
            self._tell("guarded", f"route {name!r}: {why}", state.route.guard.enforce)


def _reached(bundle: Sequence[Entry], matched: Sequence[Entry]) -> Sequence[Entry]:
    """Give the shares that stand before a route that takes all of these calls."""
    if bundle[0].wholes == bundle[-1].wholes:
        return bundle
    before = set(takewhile(_is_share, matched))
    return [entry for entry in bundle if entry in before]


_is_share = attrgetter("is_share")
