"""Polaris' lane groups, as `Discover` gives them to the callers and the entries of a service."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from rpcguard._checks import require
from rpcguard._context.lane import is_mark
from rpcguard._core.policies.routing import Route
from rpcguard.registries._rules.matches import (
    KnownConditions,
    Wanted,
    bounded,
    condition_of,
    plain,
    route_name,
)
from rpcguard.registries._shared.fields import listed, mapping, part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rpcguard._core.policies.routing import Otherwise

_ENTRIES: Final = ("polarismesh.cn/service", "polarismesh.cn/gateway/spring-cloud-gateway")
"""Kinds of entries that are services; a gateway of Tencent's own is none of our callers."""

_ANY: Final = "*"
_LABEL: Final = "lane"
"""The label of nodes where a rule names none, which is ours."""

_HEADER: Final = "header.service-lane"
"""Where Polaris' own callers say the lane of a call, as `GROUP/RULE`."""

_MOST: Final = 10**9
"""What a number of a rule may be: whole seconds of thirty years, and no arithmetic overflows."""

_TIME: Final = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSide:
    """The call for which lanes are read: the service that is called, and who calls.

    `caller` is None where that is not known: then it is no entry of any lane. `now` is epoch
    seconds, for lanes that warm up.
    """

    service: str
    namespace: str
    caller: str | None
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRule:
    """A rule of a lane group, for one service and one caller."""

    name: str
    """`GROUP/RULE`, where no other slash stands."""

    sent: str
    """`GROUP/RULE` as it stands in the header of Polaris' own callers, of any names."""

    order: tuple[int, str, str]
    """Lower is tried first: the priority, the time of its making, the name."""

    mark: str
    """The mark of its calls: the first value of its label."""

    key: str
    """The label of its nodes."""

    to: Mapping[str, Wanted]
    """Its nodes; those without a lane where the service is not in the group."""

    inside: bool
    """Whether the service is in the group."""

    strict: bool
    """Whether its calls fail where none of its nodes can serve."""

    share: float
    """The part of the calls at an entry that it takes."""

    whens: Sequence[Mapping[str, Wanted]]
    """What such a call must have, any of them; empty where the caller is no entry."""


def routes_of_lanes(groups: Iterable[object], side: LaneSide) -> list[Route]:
    """Read the lanes that a service is in, or that its caller is an entry of.

    A lane is its label's value, which is the mark of its calls. Only an entry marks calls; a call
    that brings a mark, or Polaris' own header, goes to the nodes of that lane. Raises `ValueError`
    naming the rule, the field and the value.
    """
    found = [rule for group in groups for rule in _rules(mapping(group), side)]
    rules = sorted((rule for rule, enabled in found if enabled), key=lambda rule: rule.order)
    inside = [rule for rule in rules if rule.inside]
    # Several rules may lead into one lane: the first says where a call with its mark goes.
    first = {rule.mark: rule for rule in reversed(inside)}
    # `a` + `b/c` and `a/b` + `c` are the same in the header: it is taken for the first, too.
    sent = {rule.sent: rule for rule in reversed(inside)}
    routes = [_sent_on(rule) for rule in inside if sent[rule.sent] is rule]
    routes += [_marked(rule) for rule in inside if first[rule.mark] is rule]
    routes += _entering(rules)
    keys = sorted({rule.key for rule, _ in found if rule.inside} - {_LABEL})
    # A node that has the label of a lane is in some lane, or in one that is switched off.
    names = {key: route_name(f"{key}, kept") for key in keys}
    kept = [Route(name, to={f"metadata.{key}": _ANY}, share=0.0) for key, name in names.items()]
    return [*routes, *kept]


def _sent_on(rule: LaneRule) -> Route:
    name, when = route_name(f"{rule.name}, sent on"), {"mark": None, _HEADER: rule.sent}
    return Route(name, when=when, to=rule.to, mark=rule.mark, otherwise=_otherwise(rule))


def _marked(rule: LaneRule) -> Route:
    name, when = route_name(f"{rule.name}, marked"), {"mark": rule.mark}
    return Route(name, when=when, to=rule.to, otherwise=_otherwise(rule))


def _otherwise(rule: LaneRule) -> Otherwise:
    return "fail" if rule.strict and rule.inside else "base"


def _entering(rules: Sequence[LaneRule]) -> list[Route]:
    routes: list[Route] = []
    met: set[frozenset[tuple[str, Wanted]]] = set()
    parts = KnownConditions()  # of lanes that take a part of their calls
    for rule in rules:
        about: Any = {"to": rule.to, "mark": rule.mark, "otherwise": _otherwise(rule)}
        for number, when in enumerate(rule.whens, 1):
            if frozenset(when.items()) in met:
                continue  # what an earlier rule is about is never a later one's
            met.add(frozenset(when.items()))
            name = route_name(f"{rule.name} {number}")
            # A call that a part of a lane does not take is of no lane there; here the next has it.
            part = parts.meeting(plain(when))
            if part is not None:
                raise ValueError(f"rule {part!r}: share must be all, before {name!r}")
            route = Route(name, when=when, share=rule.share, **about)
            if route.is_share:
                parts.add(name, plain(when))
            routes.append(route)
        bounded(routes)
    return routes


def _rules(group: Mapping[str, object], side: LaneSide) -> Iterator[tuple[LaneRule, bool]]:
    name = str(group.get("name") or "")
    ends = (mapping(end) for end in listed(group, "destinations"))
    inside = any(_is(end, side.service, side.namespace) for end in ends)
    entered = side.caller is not None and any(
        _enters(mapping(entry), side, f"lane group {name!r}") for entry in listed(group, "entries")
    )
    if inside or entered:
        for entry in listed(group, "rules"):
            rule = mapping(entry)
            yield _rule(rule, name, side, inside=inside, entered=entered), bool(rule.get("enable"))


def _is(place: Mapping[str, object], service: str | None, namespace: str) -> bool:
    named = place.get("service") in (_ANY, service)
    return named and place.get("namespace") in (_ANY, namespace)


def _enters(entry: Mapping[str, object], side: LaneSide, where: str) -> bool:
    selector = part(entry, "selector")
    if entry.get("type") not in _ENTRIES or not _is(selector, side.caller, side.namespace):
        return False
    labels = part(selector, "labels")
    require(f"{where}: labels of an entry", dict(labels), "empty", not labels)
    return True


def _rule(
    rule: Mapping[str, object], group: str, side: LaneSide, *, inside: bool, entered: bool
) -> LaneRule:
    names = group, str(rule.get("name"))
    name = "/".join(map(_slashless, names))
    where = f"lane {name!r}"
    values = str(rule.get("default_label_value") or "").split(",")
    good = all(is_mark(value) for value in values)
    wanted = "texts of 1 to 64 characters of A-Za-z0-9._-"
    require(f"{where}: default_label_value", ",".join(values), wanted, good)
    key = str(rule.get("label_key") or _LABEL)
    to = {key if key == _LABEL else f"metadata.{key}": tuple(values)}
    enters = entered and bool(rule.get("enable"))
    return LaneRule(
        name=name,
        sent="/".join(names),
        order=(_whole(rule, "priority", where), str(rule.get("ctime") or ""), name),
        mark=values[0],
        key=key,
        to=to if inside else {_LABEL: None},
        inside=inside,
        strict=(rule.get("match_mode") or "STRICT") == "STRICT",
        share=_share(rule, where, side.now) if enters else 1.0,
        whens=_whens(part(rule, "traffic_match_rule"), where) if enters else (),
    )


def _slashless(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2F")


def _share(rule: Mapping[str, object], where: str, now: float) -> float:
    gray = part(rule, "traffic_gray")
    if gray.get("mode") == "WARMUP":
        return _warmed(rule, part(gray, "warmup"), where, now)
    if not isinstance(gray.get("percentage"), dict):
        return 1.0
    percent = _whole(part(gray, "percentage"), "percent", where)
    require(f"{where}: percent", percent, "at most 100", percent <= 100)
    return percent / 100.0


def _warmed(
    rule: Mapping[str, object], warmup: Mapping[str, object], where: str, now: float
) -> float:
    """Give the share of a lane that warms up, in hundredths: less is no news every few seconds."""
    try:
        # Without a zone, and read as of the caller's by Polaris' own.
        began = datetime.strptime(str(rule.get("etime")), _TIME).astimezone().timestamp()
    except ValueError:
        raise ValueError(f"{where}: etime must be a time, not {rule.get('etime')!r}") from None
    interval, elapsed = _whole(warmup, "interval_second", where), now - began
    curvature = _whole(warmup, "curvature", where)
    if not 0.0 < elapsed < interval:
        return float(elapsed >= interval)
    return round((elapsed / interval) ** curvature, 2)


def _whole(entry: Mapping[str, object], key: str, where: str) -> int:
    said = entry.get(key) or 0
    good = isinstance(said, int) and 0 <= said <= _MOST
    require(f"{where}: {key}", said, "a whole number from 0 to a billion", good)
    assert isinstance(said, int)
    return said


def _whens(match: Mapping[str, object], where: str) -> list[Mapping[str, Wanted]]:
    facts: list[tuple[str, Wanted]] = []
    for entry in listed(match, "arguments"):
        argument = mapping(entry)
        kind, key = str(argument.get("type") or "CUSTOM"), str(argument.get("key") or "")
        facts.append(condition_of(kind, key, part(argument, "value"), where))
    if (match.get("match_mode") or "AND") == "OR":
        return [{"mark": None, name: wanted} for name, wanted in facts] or [{"mark": None}]
    names = [name for name, _ in facts]
    require(f"{where}: arguments", names, "each named once", len(set(names)) == len(names))
    return [{"mark": None, **dict(facts)}]
