"""The routes of one service, made ready to be matched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from rpcguard._context.lane import BASE
from rpcguard._core.policies.routing import ROUNDING, WHOLE
from rpcguard._core.routing.cells import CellKey, Target, lane_of, values_of
from rpcguard._core.routing.shares import Places
from rpcguard._text import host_name

if TYPE_CHECKING:
    from rpcguard._core.nodes.node import Node
    from rpcguard._core.policies.conditions import Wanted
    from rpcguard._core.policies.routing import Route
    from rpcguard._core.routing.facts import Facts

Test = Callable[[str | None], bool]

T = TypeVar("T")


class Pace(Protocol):
    """What gives things one by one, with pauses for other threads where there are many."""

    def __call__(self, some: Iterable[T], /) -> Iterable[T]:
        """Give them."""
        ...


def at_once(some: Iterable[T], /) -> Iterable[T]:
    """Give things without a pause."""
    return some


_MOST_REMEMBERED: Final = 50_000
"""Cells that are remembered by the values of a node, twice the longest list; ids come and go."""


class Entry:
    """A route in its place: what its calls must have, where it leads, whom it goes with.

    `bundle` are the shares with the same conditions, in order: they are of the same calls, and sum
    to 1 at most. `places` is None where it is not sticky.
    """

    __slots__ = (
        "bundle",
        "is_share",
        "place",
        "places",
        "rest",
        "route",
        "target",
    )

    def __init__(
        self,
        place: int,
        route: Route,
        target: Target,
        *,
        bundle: list[Entry],
        places: Places | None,
    ) -> None:
        self.place: int = place
        self.route: Route = route
        self.target: Target = target
        self.bundle: list[Entry] = bundle
        self.places: Places | None = places
        self.is_share: bool = route.is_share
        if self.is_share:
            bundle.append(self)
        self.rest: tuple[tuple[str, Test], ...] = ()


class Index:
    """The routes whose first condition is on one fact, by what the fact must be.

    A call looks up its own value, so that a hundred routes cost it no more than one; prefixes are
    looked up by each length that there is.
    """

    __slots__ = ("_exact", "_prefixes", "_present")

    def __init__(self) -> None:
        self._exact: dict[str, list[int]] = {}
        self._present: list[int] = []
        self._prefixes: dict[int, dict[str, list[int]]] = {}

    def file(self, place: int, key: str, wanted: Wanted) -> bool:
        """Take in the place of a route by a condition; False where that is no way to find it."""
        if wanted is None:
            return False
        values = (wanted,) if isinstance(wanted, str) else wanted
        if wanted == "*":
            self._present.append(place)
            return True
        for value in values:
            if key == "path" and value.endswith("*"):
                prefix = value[:-1]
                self._prefixes.setdefault(len(prefix), {}).setdefault(prefix, []).append(place)
            else:
                self._exact.setdefault(value, []).append(place)
        return True

    def find(self, value: str, found: list[int]) -> None:
        """Add the places of routes whose condition a value meets, some of them twice."""
        found += self._present
        if self._exact:
            found += self._exact.get(value, ())
        for length, by_prefix in self._prefixes.items():
            prefixed = by_prefix.get(value[:length])
            if prefixed is not None:
                found += prefixed


class Targets:
    """Destinations by what a node must have, so that a node looks at few of a thousand.

    `keys` are those of a node that they look at.
    """

    __slots__ = ("_all", "_by_value", "_loose", "keys")

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self._all: dict[Target, Target] = {}
        self._loose: list[Target] = []
        self._by_value: dict[str, dict[str, list[Target]]] = {}

    def file(self, target: Target) -> Target:
        """Take a destination in; give the one that is equal to it, where there is one."""
        known = self._all.setdefault(target, target)
        if known is target:
            self.keys.update(target.keys)
            key, values = target.exact or ("", ())
            if not values:
                self._loose.append(target)
            for value in values:
                self._by_value.setdefault(key, {}).setdefault(value, []).append(target)
        return known

    def admitting(self, named: Mapping[str, str | None]) -> frozenset[Target]:
        """Give those that admit a node with these values, by key."""
        found = [*self._loose]
        for key, by_value in self._by_value.items():
            found += by_value.get(named[key] or "", ())
        return frozenset([target for target in found if target.admits(named)])


class Table:
    """The routes of one service; immutable, so that calls may match against it without a lock."""

    def __init__(
        self,
        service: str,
        routes: Sequence[Route],
        lane_keys: Sequence[str],
        *,
        paced: Pace = at_once,
    ) -> None:
        self.entries: list[Entry] = []
        self._lane_keys = tuple(lane_keys)
        self._targets = Targets()
        self._first: dict[Target, int] = {}
        self._loose: list[int] = []
        self._by_header: dict[str, Index] = {}
        self._by_fact: dict[str, Index] = {}
        # Rules without conditions, such as a share of all calls, match whatever a call brings.
        self._all_loose = True
        self.sticky: bool = False
        bundles: dict[object, list[Entry]] = {}
        name = host_name(service)
        names = "*", name, name.rpartition(":")[0]
        crowded = _crowded(names, paced(routes))
        for route in paced(routes):
            if route.service in names:
                apart = route.when in crowded
                about: object = (route.service, route.when) if apart else route.when
                self._file(self._enter(route, bundles.setdefault(about, []), service))
        kept = (bundle for bundle in paced(bundles.values()) if not _is_split(bundle))
        self.claimed: frozenset[Target] = frozenset(one.target for bundle in kept for one in bundle)
        self._always = tuple(self.entries)
        self._header_names = frozenset(name.encode() for name in self._by_header)
        self._keys = tuple(sorted(self._targets.keys))
        self._cells: dict[tuple[str | None, ...], CellKey] = {}

    def _enter(self, route: Route, bundle: list[Entry], service: str) -> Entry:
        target, place = self._targets.file(Target(route.to)), len(self.entries)
        self._first.setdefault(target, place)
        places = None if route.sticky is None else Places(service, route.name)
        entry = Entry(place, route, target, bundle=bundle, places=places)
        self.entries.append(entry)
        self.sticky = self.sticky or places is not None
        self._all_loose = self._all_loose and not route.when
        return entry

    @property
    def routes(self) -> list[Route]:
        """Give the routes, in order."""
        return [entry.route for entry in self.entries]

    def _file(self, entry: Entry) -> None:
        conditions = dict(entry.route.when)
        for key in sorted(conditions, key=lambda key: conditions[key] == "*"):
            if self._index_for(key).file(entry.place, key, conditions[key]):
                del conditions[key]
                break
        else:
            self._loose.append(entry.place)
        entry.rest = tuple((key, _test(key, wanted)) for key, wanted in conditions.items())

    def _index_for(self, key: str) -> Index:
        name = key.removeprefix("header.")
        if name == key:
            return self._by_fact.setdefault(key, Index())
        return self._by_header.setdefault(name.lower(), Index())

    def matching(self, facts: Facts) -> tuple[Entry, ...]:
        """Give the routes whose conditions a call meets, in order; no state is looked at."""
        if self._all_loose:
            return self._always
        found, get = [*self._loose], facts.get
        if self._header_names:
            for name, said in facts.headers(self._header_names).items():
                self._by_header[name].find(said, found)
        for key, index in self._by_fact.items():
            value = get(key)
            if value is not None:
                index.find(value, found)
        if not found:
            return ()
        entries = map(self.entries.__getitem__, sorted({*found}))
        return tuple([one for one in entries if not one.rest or _fits(one, get)])

    def places(self, entries: Sequence[Entry], facts: Facts) -> dict[Entry, float]:
        """Give a call's place, between 0 and 1, in each sticky share for which it has a value."""
        places = {}
        for entry in entries:
            if entry.places is not None:
                value = facts.get(entry.route.sticky or "")
                if value is not None:
                    places[entry] = entry.places.of(value)
        return places

    def cell_of(self, node: Node) -> CellKey:
        """Tell into which cell a node falls."""
        values = values_of(node, self._keys, self._lane_keys)
        lane = lane_of(node, self._lane_keys)
        cell = self._cells.get((lane, *values))
        if cell is None:
            named = dict(zip(self._keys, values, strict=True))
            admitting = self._targets.admitting(named)
            if len(self._cells) >= _MOST_REMEMBERED:
                self._cells.clear()
            cell = self._cells[(lane, *values)] = CellKey(lane, admitting)
        return cell

    def group_of(self, node: Node) -> str:
        """Name the nodes that a node belongs to: its lane, else the first route to it, or base."""
        lane, targets = self.cell_of(node)
        if lane is not None:
            return lane
        if not targets:
            return BASE
        return self.entries[min(self._first[target] for target in targets)].route.name


def _crowded(names: Collection[str], routes: Iterable[Route]) -> Collection[object]:
    """Give the conditions of which shares of all services and of one are more than all calls.

    There those of one are of what those of the other leave: a split is taken apart by no rule of
    all services.
    """
    sums: defaultdict[object, float] = defaultdict(float)
    for route in routes:
        if route.is_share and route.service in names:
            sums[route.when] += route.share
    return {when for when, whole in sums.items() if whole > 1.0 + ROUNDING}


def _is_split(bundle: Sequence[Entry]) -> bool:
    """Tell whether shares leave none of their calls to anybody, and so need not keep others off."""
    divided = all(entry.route.empty == "divided" for entry in bundle)
    return divided and sum(entry.route.share for entry in bundle) >= WHOLE


def _fits(entry: Entry, get: Callable[[str], str | None]) -> bool:
    return all(test(get(key)) for key, test in entry.rest)


def _test(key: str, wanted: Wanted) -> Test:
    if wanted is None:
        return lambda value: value is None
    if wanted == "*":
        return lambda value: value is not None
    values = (wanted,) if isinstance(wanted, str) else wanted
    if key == "path":
        exact = frozenset(value for value in values if not value.endswith("*"))
        prefixes = tuple(value[:-1] for value in values if value.endswith("*"))
        return lambda value: value is not None and (value in exact or value.startswith(prefixes))
    wanted_set = frozenset(values)
    return lambda value: value in wanted_set
