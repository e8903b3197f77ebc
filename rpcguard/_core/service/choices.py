"""What calls that match the same routes may come to: prepared once, walked by each of them."""

from __future__ import annotations

from itertools import takewhile
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


class Choice:
    """Shares of the same calls, tried together, and what a call comes to by their turn.

    `parts` has each with its part, as the nodes want it that were `seen`; `guarded` tells that
    guards have a word on these. `aims` has what a call comes to that one of them takes, and `rest`
    what it does else, both once that was asked for. Lives under the lock of its service.
    """

    __slots__ = (
        "_before",
        "_behind",
        "_states",
        "aims",
        "entries",
        "guarded",
        "parts",
        "rest",
        "rota",
        "seen",
    )

    def __init__(
        self,
        entries: Sequence[Entry],
        states: Mapping[str, RouteState],
        *,
        before: tuple[Entry, ...],
        behind: Sequence[Entry],
    ) -> None:
        self.entries: Sequence[Entry] = entries
        self.rota: Rota = states[entries[0].route.name].rota
        self.parts: tuple[Turn, ...] = tuple(
            [(states[one.route.name].share, one.route.share) for one in entries]
        )
        self.seen: int = -1
        self.guarded: bool = any(one.route.guard is not None for one in entries)
        self.aims: dict[Share, Aim] = {}
        self.rest: Choice | Aim | None = None
        self._states = states
        self._before = before
        self._behind = behind

    def weigh(self, parts: Iterable[float]) -> tuple[Turn, ...]:
        """Give the shares with other parts."""
        return tuple(zip([share for share, _ in self.parts], parts, strict=True))

    def aim_of(self, taker: Share) -> Aim:
        """Give what a call comes to that one of the shares takes."""
        places = zip(self.entries, self.parts, strict=True)
        entry = next(entry for entry, (share, _) in places if share is taker)
        others = [one for one in self.entries if one is not entry]
        aim = aim_at(entry, entry.route.mark, self._states, declined=(*self._before, *others))
        self.aims[taker] = aim
        return aim

    def go_on(self) -> Choice | Aim:
        """Give what a call comes to that none of the shares takes."""
        before = (*self._before, *self.entries)
        self.rest = choice_of(self._behind, self._states, declined=before)
        return self.rest


def choice_of(
    matched: Sequence[Entry],
    states: Mapping[str, RouteState],
    *,
    declined: tuple[Entry, ...] = (),
) -> Choice | Aim:
    """Give what an unmarked call comes to that matches these routes, those `declined` before them.

    Shares with the same conditions are tried together, where the first of them stands.
    """
    if not matched:
        return aim_at(None, None, states, declined=declined)
    first = matched[0]
    if not first.is_share:
        return aim_at(first, first.route.mark, states, declined=declined)
    tried = _reached(first.bundle, matched)
    among = set(tried)
    behind = [one for one in matched if one not in among]
    return Choice(tried, states, before=declined, behind=behind)


def aim_at(
    entry: Entry | None,
    mark: str | None,
    states: Mapping[str, RouteState],
    *,
    declined: tuple[Entry, ...] = (),
) -> Aim:
    """Make the aim of calls that a route takes, or none, with what is counted of them."""
    if entry is None and mark is None and not declined:
        return PLAIN
    share = None if entry is None else states[entry.route.name].share
    passed = tuple([states[one.route.name].share for one in declined])
    names = tuple([one.route.name for one in declined])
    return Aim(entry, mark, declined=names, share=share, passed=passed)


def _reached(bundle: Sequence[Entry], matched: Sequence[Entry]) -> Sequence[Entry]:
    """Give the shares that stand before a route that takes all of these calls."""
    if bundle[0].wholes == bundle[-1].wholes:
        return bundle
    before = set(takewhile(_is_share, matched))
    return [entry for entry in bundle if entry in before]


_is_share = attrgetter("is_share")
