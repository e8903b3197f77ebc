"""Rules as documents: JSON or TOML, taken whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from rpcguard._checks import require
from rpcguard._core.policies.routing import MOST_ROUTES, Guard, Route, checked_routes

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_BYTES: Final = 1 << 20
"""How long a document of rules may be: 1,000 routes of a kilobyte."""

_ROUTE_KEYS: Final = frozenset(one.name for one in fields(Route))
_GUARD_KEYS: Final = frozenset(one.name for one in fields(Guard))


def routes_of(document: object, *, may_fail: bool) -> tuple[Route, ...]:
    """Read `{"routes": [ROUTE, ...]}`; an empty list is a document too.

    A part that is not understood rejects the whole: a condition that is left out makes a rule wider
    than it was meant. Raises `ValueError` naming the route, the field and the value; also for
    `otherwise="fail"` and for limits, which can fail calls as well, unless it `may_fail`.
    """
    entries = document.get("routes") if isinstance(document, Mapping) else None
    if not isinstance(entries, list):
        raise ValueError('an object with "routes", a list, is wanted')
    count = len(entries)
    require("rules", f"{count} routes", f"at most {MOST_ROUTES}", count <= MOST_ROUTES)
    routes = [_route(number, entry) for number, entry in enumerate(entries, 1)]
    for route in routes:
        good = may_fail or not route.is_limit
        wanted = "without timeout, attempt_timeout and attempts: they need Routing(may_fail=True)"
        require(f"route {route.name!r}", "limited", wanted, good)
    return checked_routes(without_failing(routes, may_fail=may_fail))


def without_failing(routes: Sequence[Route], *, may_fail: bool) -> tuple[Route, ...]:
    """Give routes that come from outside; raise `ValueError` for one that may empty a service."""
    for route in routes:
        wanted = 'base or any: "fail" in a document needs Routing(may_fail=True)'
        good = may_fail or route.otherwise != "fail"
        require(f"route {route.name!r}: otherwise", route.otherwise, wanted, good)
    return tuple(routes)


def _route(number: int, entry: object) -> Route:
    if not isinstance(entry, Mapping):
        raise ValueError(f"route {number} must be an object, not {type(entry).__name__}")
    name = entry.get("name")
    where = f"route {name!r}" if isinstance(name, str) and name else f"route {number}"
    values = _known(where, entry, _ROUTE_KEYS)
    require(f"{where}: name", name, "a text", isinstance(name, str))
    if isinstance(values.get("guard"), Mapping):
        values["guard"] = _guard(where, values["guard"])
    return Route(**values)


def _guard(where: str, entry: Mapping[str, Any]) -> Guard:
    try:
        return Guard(**_known(f"{where}: guard", entry, _GUARD_KEYS))
    except ValueError as error:
        raise ValueError(f"{where}: guard: {error}") from None


def _known(where: str, entry: Mapping[str, Any], allowed: frozenset[str]) -> dict[str, Any]:
    for key in entry:
        require(f"{where}: key", key, f"one of {', '.join(sorted(allowed))}", key in allowed)
    return dict(entry)
