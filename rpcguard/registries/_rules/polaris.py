"""Polaris' routing rules, as `Discover` gives them to the callers of a service."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from rpcguard._checks import require
from rpcguard._core.policies.routing import Route
from rpcguard.registries._rules.matches import Wanted, bounded, condition_of, route_name, wanted_of
from rpcguard.registries._shared.fields import listed, mapping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_ANY: Final = "*"
_EVERY: Final = {"id": _ANY}
"""Leads to each node: a destination without labels."""


def routes_of_polaris(
    routing: Mapping[str, object], *, service: str, namespace: str, caller: str | None = None
) -> list[Route]:
    """Read the rules for calls to a service, `inbounds`; the caller's own, `outbounds`, are not.

    The caller is of the same `namespace`: a rule for callers of another one is none here. Calls
    with a mark go by lanes, not by these. Raises `ValueError` naming the rule, the field and the
    value.
    """
    routes: list[Route] = []
    met: set[frozenset[tuple[str, Wanted]]] = set()
    numbers: Counter[str] = Counter()  # by name, so that a rule keeps its names when it is moved
    for number, entry in enumerate(listed(routing, "inbounds"), 1):
        rule = mapping(entry)
        ends = [mapping(end) for end in listed(rule, "destinations")]
        ends = [end for end in ends if end.get("service") in (service, _ANY)]
        name = next((str(end["name"]) for end in ends if end.get("name")), f"inbound {number}")
        weighted = _weighted(ends, f"rule {name!r}")
        for source in listed(rule, "sources") or [{}]:
            when = _when(mapping(source), f"rule {name!r}", caller, namespace)
            if when is None or not weighted or frozenset(when.items()) in met:
                continue  # what an earlier rule is about is never a later one's
            met.add(frozenset(when.items()))
            numbers[name] += 1
            routes += _routes(f"{name} {numbers[name]}", when, weighted)
            bounded(routes)
    return routes


def _matches(entry: Mapping[str, object], name: str) -> Mapping[str, object]:
    said = entry.get(name)
    return {} if said is None else mapping(said)


def _routes(
    name: str,
    when: Mapping[str, Wanted],
    weighted: Sequence[tuple[Mapping[str, Wanted], float]],
) -> Iterator[Route]:
    whole = sum(weight for _, weight in weighted)
    for number, (to, weight) in enumerate(weighted, 1):
        about: Any = {"when": when, "to": to, "otherwise": "base"}
        yield Route(route_name(f"{name}.{number}"), **about, share=weight / whole, empty="divided")


def _weighted(
    ends: Sequence[Mapping[str, object]], where: str
) -> list[tuple[Mapping[str, Wanted], float]]:
    used = [end for end in ends if not end.get("isolate")]
    for end in used:
        require(f"{where}: transfer", end.get("transfer"), "empty", not end.get("transfer"))
    levels = {str(end.get("priority") or 0) for end in used}
    require(f"{where}: priority", sorted(levels), "one for all", len(levels) <= 1)
    weights = [_weight(end, where) for end in used]
    if not any(weights):
        weights = [1.0] * len(used)  # where none says anything, all are alike
    return [(_to(end, where), weight) for end, weight in zip(used, weights, strict=True) if weight]


def _weight(end: Mapping[str, object], where: str) -> float:
    said = end.get("weight") or 0
    good = isinstance(said, int | float) and said >= 0
    require(f"{where}: weight", said, "a number, 0 or more", good)
    assert isinstance(said, int | float)
    return float(said)


def _when(
    source: Mapping[str, object], where: str, caller: str | None, namespace: str
) -> Mapping[str, Wanted] | None:
    """Give what a call must have; None where the rule is of another caller."""
    if (source.get("namespace") or _ANY) not in (_ANY, namespace):
        return None
    name = source.get("service") or _ANY
    if name != _ANY:
        if caller is None:
            told = "say who calls by caller=NAME in the registry's URL"
            raise ValueError(f"{where}: source {name!r}: {told}")
        if name != caller:
            return None
    when: dict[str, Wanted] = {"mark": None}
    for key, match in _matches(source, "metadata").items():
        fact, wanted = condition_of(*_argument(key), mapping(match), where)
        if wanted != _ANY:
            when[fact] = wanted
    return when


def _argument(key: str) -> tuple[str, str]:
    """Give kind and name of an argument, which the callers' form of a rule has in one word."""
    kind, _, name = key.removeprefix("$").partition(".")
    if not key.startswith("$"):
        return "CUSTOM", key
    return kind.upper(), name


def _to(end: Mapping[str, object], where: str) -> Mapping[str, Wanted]:
    to: dict[str, Wanted] = {}
    for key, match in _matches(end, "metadata").items():
        wanted = wanted_of(mapping(match), f"{where}: label {key!r}")
        if wanted != _ANY:
            to["version" if key == "version" else f"metadata.{key}"] = wanted
    return to or _EVERY
