"""Routes of xDS as routes of ours: what they match, and which clusters they lead to.

A route that cannot be said in our words is not left out, since the routes after it would take its
calls, and none of its conditions is, since that would make it wider: the whole table is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from rpcguard._core.policies.routing import MOST_ROUTES, Route, checked_routes
from rpcguard._wire.protobuf import UNKNOWN
from rpcguard.registries.xds.limits import Limits, limits_of

if TYPE_CHECKING:
    from rpcguard._core.policies.conditions import Wanted

_MOST_CLUSTERS: Final = 1000
"""Clusters of one service: the nodes of all are in its list."""

_LONGEST_MARK: Final = 100
"""Letters of a cluster's name in a key of metadata; keys of routes have 128 at most."""

_LONGEST_NAME: Final = 110
"""Letters of a route's name, with room for what tells it from others; routes allow 128."""

_LETTER: Final = r"(?:[\w/ @,:=~-]|\\[.\-/|*+?$()\[\]{}^])"
_LITERALS: Final = re.compile(rf"{_LETTER}+(?:\|{_LETTER}+)*")
_ANYTHING: Final = (".*", ".+", ".{1,}")
_DENOMINATORS: Final = (100, 10_000, 1_000_000)
"""What a fraction is of, `FractionalPercent.DenominatorType`."""

_REWRITES: Final = (
    *("prefix_rewrite", "regex_rewrite", "path_rewrite_policy", "path_rewrite", "metadata_match"),
)
_SHOWN: Final = 5
"""Numbers of unknown fields that are shown."""

_ODD_MATCHES: Final = (
    *("connect_matcher", "path_match_policy", "grpc", "tls_context", "dynamic_metadata"),
    *("filter_state", "cookies"),
)

Object = Mapping[str, Any]


def cluster_key(cluster: str) -> str:
    """Give the key of metadata that the nodes of a cluster have."""
    if len(cluster) > _LONGEST_MARK or not cluster.isprintable():
        cluster = blake2b(cluster.encode(), digest_size=16).hexdigest()
    return f"xds:{cluster}"


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """Where the calls of a service go."""

    clusters: tuple[str, ...]
    """All clusters that a route leads to."""

    default: tuple[str, ...]
    """Those that a call without anything special may go to, where nobody looks at routes."""

    routes: tuple[Route, ...] = ()
    """None where there is one cluster alone, and no limit."""


def host_for(hosts: Sequence[Object], authorities: Sequence[str]) -> Object | None:
    """Find the virtual host of a service that goes by several names, the best match of them all.

    Exact domains come first, then `*.suffix`, then `prefix.*`, then `*`; the longer one wins.
    """
    best: tuple[int, int] = (0, 0)
    found: Object | None = None
    for host in hosts:
        for domain in host.get("domains", ()):
            rank = max(_rank(domain.lower(), name.lower()) for name in authorities)
            if rank > best:
                best, found = rank, host
    return found


def _rank(domain: str, name: str) -> tuple[int, int]:
    if domain == name:
        return 4, len(domain)
    if domain == "*":
        return 1, 0
    if domain.startswith("*") and name.endswith(domain[1:]):
        return 3, len(domain)
    if domain.endswith("*") and name.startswith(domain[:-1]):
        return 2, len(domain)
    return 0, 0


def default_of(host: Object) -> tuple[str, ...]:
    """Give the clusters of the last route that leads to some: the one without conditions."""
    for route in reversed(host.get("routes", ())):
        clusters = tuple(name for name, _ in _clusters(route.get("route", {})))
        if clusters:
            return clusters[:_MOST_CLUSTERS]
    return ()


def plan_of(service: str, host: Object, *, limited: bool = False) -> RoutePlan:
    """Read the routes of a virtual host; raise `ValueError` for what cannot be done here.

    `limited` takes their timeouts and numbers of retries over too.
    """
    if "matcher" in host:
        raise ValueError("its routes are in a matcher tree, which is not understood")
    entries = host.get("routes", [])
    # Counted before one is made: a small document may have a hundred thousand.
    count = sum(len(_clusters(entry.get("route", {}))) or 1 for entry in entries)
    if count > MOST_ROUTES:
        raise ValueError(f"{count} routes are more than {MOST_ROUTES}")
    routes: list[Route] = []
    clusters: dict[str, None] = {}
    left: dict[object, float] = {}
    names: Counter[str] = Counter()
    for entry in entries:
        name = _name(entry)
        try:
            limits = limits_of(entry.get("route", {}), host) if limited else Limits()
            for route, cluster in _routes(entry, name, service, left):
                names[route.name] += 1
                number = names[route.name]
                called = route.name if number == 1 else f"{route.name} #{number}"
                routes.append(replace(route, name=called, **limits._asdict()))
                clusters[cluster] = None
        except ValueError as error:
            raise ValueError(f"route {name!r}: {error}") from None
    default = default_of(host)
    if len(clusters) < 2 and not any(route.is_limit for route in routes):
        return RoutePlan(tuple(clusters), default)
    return RoutePlan(tuple(clusters), default, checked_routes(routes))


def _routes(
    entry: Object, name: str, service: str, left: dict[object, float]
) -> Iterator[tuple[Route, str]]:
    """Give a route of ours for each cluster, with its part of the calls that are `left` for it.

    Our shares are of all calls that match, and those of the same conditions sum to 1.
    """
    action = entry.get("route")
    if action is None:
        raise ValueError("it leads to no cluster, and answers itself")
    ends = action.get("weighted_clusters", {}).get("clusters", ())
    odd = [key for key in _REWRITES if any(key in one for one in (action, *ends))]
    if odd:
        raise ValueError(f"{odd[0]} is not done here")
    match = entry.get("match", {})
    when = conditions_of(match)
    taken = _fraction(match)
    bundle = tuple(sorted(when.items(), key=lambda item: item[0]))
    remaining = left.get(bundle, 1.0)
    weighted = _clusters(action)
    total = sum(weight for _, weight in weighted)
    if not weighted or not total:
        raise ValueError("it leads to no cluster that is named")
    left[bundle] = remaining * (1.0 - taken)
    if not remaining * taken:
        return  # one before it takes every call that it matches
    for cluster, weight in weighted:
        share = remaining * taken * weight / total
        told = name if len(weighted) == 1 else f"{name}: {cluster}"[-_LONGEST_NAME:]
        to = {f"metadata.{cluster_key(cluster)}": "*"}
        yield Route(told, service=service, when=when, to=to, share=min(share, 1.0)), cluster


def _name(entry: Object) -> str:
    text = entry.get("name") or ""
    if not text:
        match = entry.get("match", {})
        kinds = ("path", "prefix", "path_separated_prefix")
        text = next((str(match[kind]) for kind in kinds if kind in match), "") or "route"
    return "".join(letter for letter in text if letter.isprintable())[:_LONGEST_NAME] or "route"


def _clusters(action: Object) -> list[tuple[str, int]]:
    """Give the clusters of an action that get calls at all, with their weights."""
    if "weighted_clusters" not in action:
        return [(action["cluster"], 1)] if action.get("cluster") else []
    weighted: Counter[str] = Counter()
    for each in action["weighted_clusters"].get("clusters", ()):
        if each.get("cluster_header"):
            return []
        weighted[each.get("name", "")] += each.get("weight", 0)
    return [(name, weight) for name, weight in weighted.items() if name and weight]


def _fraction(match: Object) -> float:
    found = match.get("runtime_fraction", {}).get("default_value")
    if found is None:
        return 1.0
    kind = found.get("denominator", 0)
    if not 0 <= kind < len(_DENOMINATORS):
        raise ValueError(f"a fraction of kind {kind} is not understood")
    return float(min(1.0, found.get("numerator", 0) / _DENOMINATORS[kind]))


# Conditions


def conditions_of(match: Object) -> dict[str, Wanted]:
    """Give what a call must have, as `Route.when`; raise `ValueError` for what cannot be said."""
    odd = [key for key in _ODD_MATCHES if key in match]
    if odd:
        raise ValueError(f"the condition {odd[0]} is not understood")
    _require_known(match, "match")
    when: dict[str, Wanted] = {}
    for key, wanted in _all_conditions(match):
        if when.setdefault(key, wanted) != wanted:
            raise ValueError(f"two conditions on {key} cannot be had")
    return when


def _require_known(entry: Object, what: str) -> None:
    if UNKNOWN in entry:
        numbers = ", ".join(map(str, entry[UNKNOWN][:_SHOWN]))
        raise ValueError(f"a {what} has fields that are not known here: {numbers}")


def _all_conditions(match: Object) -> Iterator[tuple[str, Wanted]]:
    path = _path(match)
    if path is not None:
        if match.get("case_sensitive", True) is False:
            raise ValueError("a path in any case of its letters cannot be had")
        yield "path", path
    for header in match.get("headers", ()):
        yield _header(header)
    for query in match.get("query_parameters", ()):
        _require_known(query, "condition on the query")
        name = query.get("name", "")
        present = query.get("present_match")
        if "string_match" in query:
            yield f"query.{name}", _text(query["string_match"])
        else:
            yield f"query.{name}", None if present is False else "*"


def _path(match: Object) -> Wanted:
    """Give the condition on the path; None where there is none."""
    if "path" in match:
        return _plain_path(match["path"])
    if "safe_regex" in match:
        found = _literals(match["safe_regex"].get("regex", ""))
        return None if found == "*" else _plain_paths(found)
    if base := match.get("path_separated_prefix", "").rstrip("/"):
        return (_plain_path(base), f"{_plain_path(base)}/*")
    prefix = match.get("prefix", "")
    return f"{_plain_path(prefix)}*" if prefix not in ("", "/") else None


def _plain_path(text: str) -> str:
    if text.endswith("*"):
        raise ValueError(f"the path {text!r} cannot be told from a prefix")
    return text


def _plain_paths(found: Wanted) -> Wanted:
    if found is None or found == "*":
        return found
    return _plain_path(found) if isinstance(found, str) else tuple(map(_plain_path, found))


def _header(header: Object) -> tuple[str, Wanted]:
    name = header.get("name", "").lower()
    _require_known(header, "condition on a header")
    if header.get("treat_missing_header_as_empty"):
        raise ValueError("a header that is missing is not an empty one here")
    keys = {":method": "method", ":authority": "header.host"}  # `:path` has the query in it
    if name.startswith(":") and name not in keys:
        raise ValueError(f"a condition on {name} is not understood")
    key = keys.get(name, f"header.{name}")
    wanted = _header_value(header)
    if not header.get("invert_match"):
        return key, wanted
    if wanted in ("*", None):
        return key, None if wanted == "*" else "*"
    raise ValueError(f"a condition on {name} that is turned around cannot be had")


def _header_value(header: Object) -> Wanted:
    if "exact_match" in header:
        return _exact(header["exact_match"])
    if "safe_regex_match" in header:
        return _literals(header["safe_regex_match"].get("regex", ""))
    if "string_match" in header:
        return _text(header["string_match"])
    for name in ("range_match", "prefix_match", "suffix_match", "contains_match"):
        if name in header:
            raise ValueError(f"a condition by {name} cannot be had")
    return None if header.get("present_match") is False else "*"


def _text(match: Object) -> Wanted:
    _require_known(match, "text")
    if match.get("ignore_case"):
        raise ValueError("a text in any case of its letters cannot be had")
    if "exact" in match:
        return _exact(match["exact"])
    if "safe_regex" in match:
        return _literals(match["safe_regex"].get("regex", ""))
    raise ValueError(f"a condition by {next(iter(match), 'nothing')} cannot be had")


def _exact(text: str) -> str:
    if text == "*":
        raise ValueError("a value '*' cannot be told from any value")
    return text


def _literals(pattern: str) -> Wanted:
    """Read a regular expression that only lists texts, or takes any; no other one is run here.

    A rule from a control plane must not be able to hang a caller.
    """
    if pattern in _ANYTHING:
        return "*"
    if not _LITERALS.fullmatch(pattern):
        raise ValueError(f"the regular expression {pattern[:60]!r} is not run here")
    return tuple(re.sub(r"\\(.)", r"\1", text) for text in re.split(r"(?<!\\)\|", pattern))
