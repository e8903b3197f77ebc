"""What conditions of others have in common, in the words of routes."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from rpcguard._checks import require
from rpcguard._core.policies.parts import is_name
from rpcguard._core.policies.routing import MOST_ROUTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Wanted = str | tuple[str, ...] | None
Plain = dict[str, frozenset[str | None]]
"""Conditions on plain values, some of which are to be there; None is absent."""

_NAMED: Final = {"HEADER": "header", "QUERY": "query", "COOKIE": "cookie", "CUSTOM": "option"}
_PLAIN: Final = {"METHOD": "method", "PATH": "path"}
_HEAD, _TAIL = 80, 30  # of a name that is too long: with the hash between them it is not
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


class KnownConditions:
    """Conditions of rules, so that those are found that may be about the same call as another one.

    Kept by their values: of a thousand rules about a user each, no two are compared.
    """

    def __init__(self) -> None:
        self._all: list[tuple[str, Plain]] = []
        self._having: Counter[str] = Counter()
        self._by_value: dict[tuple[str, str | None], list[tuple[str, Plain]]] = {}

    def add(self, name: str, about: Plain) -> None:
        """Take in the condition of a rule of this name."""
        entry = name, about
        self._all.append(entry)
        self._having.update(about.keys())
        for key, values in about.items():
            for value in values:
                self._by_value.setdefault((key, value), []).append(entry)

    def meeting(self, about: Plain) -> str | None:
        """Name a rule that may be about a call that meets this condition; None where there is none.

        As far as plain values show.
        """
        all_have = [key for key in about if self._having[key] == len(self._all)]
        near = min((self._sharing(key, about) for key in all_have), key=len, default=self._all)
        return next((name for name, other in near if not _are_apart(other, about)), None)

    def _sharing(self, key: str, about: Plain) -> Sequence[tuple[str, Plain]]:
        return [entry for value in about[key] for entry in self._by_value.get((key, value), ())]


def route_name(text: str) -> str:
    """Give the name of a route from that of a rule, which may be longer, or have other characters.

    Then it is its beginning and its end, with a hash of all between them.
    """
    if is_name(text):
        return text
    whole = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    shown = "".join(one if one.isprintable() else "?" for one in text)
    return f"{shown[:_HEAD]}~{whole}~{shown[-_TAIL:]}"


def _are_apart(one: Plain, other: Plain) -> bool:
    return any(key in other and one[key].isdisjoint(other[key]) for key in one)
