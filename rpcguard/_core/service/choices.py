"""What calls that match the same routes may come to: prepared once, walked by each of them."""

from __future__ import annotations

from itertools import chain, takewhile
from operator import attrgetter
from typing import TYPE_CHECKING

from rpcguard._core.service.asks import PLAIN, Aim

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rpcguard._core.policies.routing import Route
    from rpcguard._core.routing.guards import Watch
    from rpcguard._core.routing.rotas import Rota, Turn
    from rpcguard._core.routing.shares import Share
    from rpcguard._core.routing.table import Entry


class RouteState:
    """What a service remembers of one route: what it is owed, and what its guard has seen."""

    __slots__ = ("rota", "route", "share", "watch")

    def __init__(self, route: Route, share: Share, rota: Rota, watch: Watch | None) -> None:
        self.route: Route = route
        self.share: Share = share
        self.rota: Rota = rota
        self.watch: Watch | None = watch


class Plan:
    """The order in which the routes are tried that a call matches.

    `bundles` are the shares with the same conditions, where the first of them stands; `whole` is
    the route after them that takes all calls which are left, if any. Linear in the routes, for a
    document may have a thousand that one call matches.
    """

    __slots__ = ("bundles", "whole")

    def __init__(self, matched: Sequence[Entry]) -> None:
        shares = [*takewhile(_is_share, matched)]
        self.whole: Entry | None = matched[len(shares)] if len(shares) < len(matched) else None
        bundles: dict[int, list[Entry]] = {}
        for entry in shares:
            bundles.setdefault(id(entry.bundle), []).append(entry)
        self.bundles: Sequence[Sequence[Entry]] = [*bundles.values()]

    def before(self, place: int) -> Iterable[Entry]:
        """Give the shares that are tried before those at a place."""
        return chain.from_iterable(self.bundles[:place])

    def step(self, place: int, states: Mapping[str, RouteState]) -> Choice | Aim:
        """Give what a call comes to that none before a place has taken."""
        if place < len(self.bundles):
            return Choice(self, place, states)
        mark = None if self.whole is None else self.whole.route.mark
        return aim_at(self.whole, mark, states, declined=[*self.before(place)])


class Choice:
    """Shares of the same calls, tried together, and what a call comes to by their turn.

    `parts` has each with its part; where shares without nodes are divided, as the nodes want it
    that were `seen`. `absent` are the others of their bundle, which stand behind a route that takes
    the call. `guarded` tells that guards have a word on these. `aims` has what a call comes to that
    one of them takes, and `rest` what it does else, both once that was asked for. Lives under the
    lock of its service.
    """

    __slots__ = (
        "_place",
        "_plan",
        "_states",
        "absent",
        "aims",
        "divided",
        "entries",
        "guarded",
        "parts",
        "rest",
        "rota",
        "seen",
    )

    def __init__(self, plan: Plan, place: int, states: Mapping[str, RouteState]) -> None:
        entries = plan.bundles[place]
        self.entries: Sequence[Entry] = entries
        self.rota: Rota = states[entries[0].route.name].rota
        self.parts: tuple[Turn, ...] = tuple(
            [(states[one.route.name].share, one.route.share) for one in entries]
        )
        here = set(entries)
        absent = [one for one in entries[0].bundle if one not in here]
        self.absent: Sequence[Share] = tuple([states[one.route.name].share for one in absent])
        self.seen: int = -1
        self.divided: bool = any(one.route.empty == "divided" for one in entries)
        self.guarded: bool = any(one.route.guard is not None for one in entries)
        self.aims: dict[Share, Aim] = {}
        self.rest: Choice | Aim | None = None
        self._plan = plan
        self._place = place
        self._states = states

    def weigh(self, parts: Iterable[float]) -> tuple[Turn, ...]:
        """Give the shares with other parts."""
        return tuple(zip([share for share, _ in self.parts], parts, strict=True))

    def aim_of(self, taker: Share) -> Aim:
        """Give what a call comes to that one of the shares takes."""
        places = zip(self.entries, self.parts, strict=True)
        entry = next(entry for entry, (share, _) in places if share is taker)
        others = [one for one in self.entries if one is not entry]
        declined = [*self._plan.before(self._place), *others]
        aim = aim_at(entry, entry.route.mark, self._states, declined=declined)
        self.aims[taker] = aim
        return aim

    def go_on(self) -> Choice | Aim:
        """Give what a call comes to that none of the shares takes."""
        self.rest = self._plan.step(self._place + 1, self._states)
        return self.rest


def aim_at(
    entry: Entry | None,
    mark: str | None,
    states: Mapping[str, RouteState],
    *,
    declined: Sequence[Entry] = (),
) -> Aim:
    """Make the aim of calls that a route takes, or none, with what is counted of them."""
    if entry is None and mark is None and not declined:
        return PLAIN
    share = None if entry is None else states[entry.route.name].share
    passed = tuple([states[one.route.name].share for one in declined])
    names = tuple([one.route.name for one in declined])
    return Aim(entry, mark, declined=names, share=share, passed=passed)


_is_share = attrgetter("is_share")
