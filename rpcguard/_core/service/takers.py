"""Which route takes a call: the first that matches, and of shares the one whose turn it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rpcguard._core.policies.routing import WHOLE
from rpcguard._core.routing.guards import Watch
from rpcguard._core.routing.rotas import Rota
from rpcguard._core.routing.shares import Share
from rpcguard._core.service.choices import Choice, Plan, RouteState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rpcguard._core.nodes.routed import Routed
    from rpcguard._core.policies.routing import Route
    from rpcguard._core.routing.rotas import Turn
    from rpcguard._core.routing.table import Entry
    from rpcguard._core.service.asks import Aim
    from rpcguard._core.service.effects import Kind
    from rpcguard._core.service.paths import Paths
    from rpcguard._core.service.pools import Pools


_MOST_CHOICES: Final = 256
"""Sets of routes of which is kept what calls that match them come to: there may be any number."""


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
        self._choices: dict[tuple[Entry, ...], Choice | Aim] = {}
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

    def go_by(self, states: dict[str, RouteState]) -> None:
        """Go by the states that were prepared for other rules."""
        self.states = states
        self._choices.clear()

    # Calls

    def take(self, matched: tuple[Entry, ...], places: Mapping[Entry, float], now: float) -> Aim:
        """Decide what an unmarked call comes to that matches these routes."""
        step = self._choices.get(matched) or self._prepare(matched)
        pools = self._pools
        while isinstance(step, Choice):
            if step.divided and step.seen != pools.changed:
                step.parts = step.weigh([self._part(entry) for entry in step.entries])
                step.seen = pools.changed  # only now: an interrupt before would leave old parts
            if places or step.guarded or pools.tempered:
                taker = self._taker(step, places, now)
            else:
                taker = step.rota.turn(step.parts, step.absent)
            if taker is not None:
                return step.aims.get(taker) or step.aim_of(taker)
            step = step.rest or step.go_on()
        return step

    def _prepare(self, matched: tuple[Entry, ...]) -> Choice | Aim:
        if len(self._choices) >= _MOST_CHOICES:
            self._choices.clear()
        return self._choices.setdefault(matched, Plan(matched).step(0, self.states))

    def _taker(self, choice: Choice, places: Mapping[Entry, float], now: float) -> Share | None:
        """Give the share that takes a call: a sticky one that its place is in, else by turns."""
        turns: Sequence[Turn] = choice.parts
        if choice.guarded or self._pools.tempered:
            turns = choice.weigh([self.effective(entry, now) for entry in choice.entries])
        if not places:
            return choice.rota.turn(turns, choice.absent)
        if len(turns) == 1 and choice.entries[0] in places:
            share, part = turns[0]
            return share if places[choice.entries[0]] < part else None
        taker, turns = _sticky(choice.entries, turns, places)
        if not turns:
            return taker
        if taker is None:
            return choice.rota.turn(turns, choice.absent)
        choice.rota.owe(turns)
        return taker

    def effective(self, entry: Entry, now: float) -> float:
        """Give the part of the calls that a share takes now: thinned while its nodes warm up."""
        route = entry.route
        if route.guard is not None:
            watch = self.states[route.name].watch
            if watch is not None and watch.holds(now):
                return 0.0
        part = self._part(entry)
        if not self._pools.tempered:
            return part
        return part * self._paths.group(entry, route.mark).warmth

    def _part(self, entry: Entry) -> float:
        """Give the part of the calls that a share has by the nodes that are listed."""
        route = entry.route
        return route.share if route.empty == "kept" else self._paths.part(entry)

    # What came of them

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


def _sticky(
    entries: Sequence[Entry], turns: Sequence[Turn], places: Mapping[Entry, float]
) -> tuple[Share | None, Sequence[Turn]]:
    """Give the sticky share that has the user of a call, and the shares that go by turns.

    Where all of them divide all calls, those that no sticky one takes are for the others.
    """
    left, taker = 1.0, None  # of the users, those whom no share before has taken
    others = []
    for entry, (share, part) in zip(entries, turns, strict=True):
        place = places.get(entry)
        if place is None:
            others.append((share, part))
        elif taker is None and place * left < part:
            taker = share
        else:
            left -= part
    if sum(part for _, part in turns) < WHOLE:
        return taker, others
    if taker is not None:
        return taker, ()
    whole = sum(part for _, part in others) or 1.0
    return None, [(share, part / whole) for share, part in others]
