"""What conditions of others have in common, in the words of routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rpcguard._checks import require
from rpcguard._core.policies.routing import MOST_ROUTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Wanted = str | tuple[str, ...] | None
Plain = dict[str, frozenset[str | None]]
"""Conditions on plain values, some of which are to be there; None is absent."""

_NAMED: Final = {"HEADER": "header", "QUERY": "query", "COOKIE": "cookie", "CUSTOM": "option"}
_PLAIN: Final = {"METHOD": "method", "PATH": "path"}
_ONE_OF: Final = ("EXACT", "IN")
"""Kinds of Polaris' matches that routes have too."""


def condition_of(
    kind: str, key: str, match: Mapping[str, object], where: str
) -> tuple[str, Wanted]:
    """Read an argument of Polaris: the fact of a call that it is about, and what that must be."""
    good = kind in _PLAIN or (kind in _NAMED and key)
    require(f"{where}: key", f"{kind} {key}".strip(), "one that a call tells", good)
    wanted = wanted_of(match, f"{where}: {key or kind}")
    words = (wanted,) if isinstance(wanted, str) else wanted or ()
    prefix = kind == "PATH" and any(word.endswith("*") and word != "*" for word in words)
    require(f"{where}: path", wanted, "whole, without *", not prefix)  # a prefix, for routes
    return _PLAIN.get(kind) or f"{_NAMED[kind]}.{key}", wanted


def wanted_of(match: Mapping[str, object], where: str) -> Wanted:
    """Read a match of Polaris; raise `ValueError` for a kind that routes do not have."""
    kind, value = match.get("type") or "EXACT", match.get("value")
    told = match.get("value_type") or "TEXT"
    require(f"{where}: value_type", told, "TEXT", told == "TEXT")
    require(f"{where}: type", kind, f"one of {', '.join(_ONE_OF)}", kind in _ONE_OF)
    require(f"{where}: value", value, "a text", isinstance(value, str) and value)
    words = str(value).split(",") if kind == "IN" else [str(value)]
    return words[0] if len(words) == 1 else tuple(words)


def bounded(routes: Sequence[object]) -> None:
    """Raise `ValueError` for more routes than there may be, before each is compared with each."""
    count = len(routes)
    require("rules", f"{count} routes", f"at most {MOST_ROUTES}", count <= MOST_ROUTES)


def plain(when: Mapping[str, str | Sequence[str] | None]) -> Plain:
    """Give the plain values that a call must have one of, by key, but its mark."""
    return {
        key: frozenset((wanted,) if wanted is None or isinstance(wanted, str) else wanted)
        for key, wanted in when.items()
        if key != "mark" and wanted != "*"
    }


def are_apart(one: Plain, other: Plain) -> bool:
    """Tell whether no call can meet both conditions, as far as plain values show."""
    return any(key in other and one[key].isdisjoint(other[key]) for key in one)
