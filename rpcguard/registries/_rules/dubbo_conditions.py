"""Dubbo's condition rules: `WHEN => THEN`, and the weighted destinations of v3.1."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rpcguard._checks import require
from rpcguard._core.policies.routing import Route
from rpcguard.registries._rules.dubbo import flag_of, is_plain, known, listed, mapped, of_addresses
from rpcguard.registries._rules.matches import KnownConditions, bounded, plain, route_name
from rpcguard.registries._rules.yaml import mapping_from_yaml

Wanted = str | Sequence[str] | None
Pairs = dict[str, tuple[str, tuple[str, ...]]]
"""Keys of a condition, each with `=` or `!=` and the values."""

_TOKEN: Final = re.compile(r"[&!=,]+|[^&!=,\s]+")
"""Separators, or what stands between them: a line is taken apart in one go, whatever it is."""

_SEPARATORS: Final = "&!=,"

_ATTACHMENT: Final = re.compile(r"attachments\[(.+)\]")
_WEIGHT: Final = 100.0
"""What a destination weighs that says nothing, or 0 or less."""

_NOBODY: Final = {"id": ""}
"""Leads to no node: no node has an empty id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionRule:
    """The text of a condition rule, with the interface and the caller to read it for.

    `interface` is the one that is called, None where an application is; `caller` is the application
    that calls, None where that is not known.
    """

    name: str
    text: str
    interface: str | None = None
    caller: str | None = None


def routes_of_conditions(rules: Sequence[ConditionRule]) -> list[Route]:
    """Read the rules of one service, that of its interface first, of any version.

    Calls with a mark go by lanes, not by these. Dubbo filters by one condition after the other
    where the first route that matches wins here, so conditions that may be about the same call are
    refused. Raises `ValueError` naming the rule, the field and the value.
    """
    found = [parts for rule in rules for parts in _read(rule)]
    bounded(found)
    abouts = KnownConditions()
    for name, about in [(parts[0].name, plain(parts[0].when)) for parts in found]:
        other = abouts.meeting(about)
        if other is not None:
            names = f"{other!r} and {name!r}"
            raise ValueError(f"{names} may be about the same call: both would have to hold")
        abouts.add(name, about)
    return [route for parts in found for route in parts]


def _read(rule: ConditionRule) -> list[list[Route]]:
    document = mapping_from_yaml(rule.text, name=rule.name)
    known(document, ("conditions",), name=rule.name)
    version = str(document.get("configVersion") or "v3.0").lower()
    require(f"{rule.name}: configVersion", version, "v3.1 or below", version[:4] <= "v3.1")
    if not flag_of(document, "enabled", default=True, name=rule.name):
        return []
    force = flag_of(document, "force", default=False, name=rule.name)
    otherwise = "fail" if force else "base"
    found = []
    for number, entry in enumerate(listed(document, "conditions", name=rule.name), 1):
        where = f"{rule.name} {number}"
        if version.startswith("v3.1"):
            parts = _weighted(mapped(entry, name=where), where, rule, otherwise)
        else:
            parts = _of_line(str(entry), where, rule, otherwise)
        if parts:
            found.append(parts)
    return found


def _of_line(line: str, where: str, rule: ConditionRule, otherwise: Any) -> list[Route]:
    before, arrow, after = line.partition("=>")
    when_words, then_words = (before, after) if arrow else ("", before)
    when = _when(_pairs(when_words, where, blank="true"), where, rule)
    if when is None:
        return []
    about: Any = {"when": when}
    then = _pairs(then_words, where, blank="false")
    if not then:
        return [Route(route_name(where), **about, to=_NOBODY, otherwise="fail")]
    if any(sign == "!=" for sign, _ in then.values()):
        return [_left_out(then, where, about)]
    return [Route(route_name(where), **about, to=_to(then, where), otherwise=otherwise)]


def _left_out(then: Pairs, where: str, about: Mapping[str, Any]) -> Route:
    # A share of nothing keeps all ordinary calls off its nodes, so it may have no condition.
    ((key, (_, values)), *more) = then.items()
    good = not more and about["when"] == _UNMARKED
    require(f"{where}: {key}!=", ",".join(values), "alone, and for all calls", good)
    return Route(route_name(where), **about, to=_to({key: ("=", values)}, where), share=0.0)


def _weighted(
    entry: Mapping[str, object], where: str, rule: ConditionRule, otherwise: Any
) -> list[Route]:
    known(entry, ("from", "to"), name=where, common=False)
    source = mapped(entry.get("from"), name=f"{where}: from")
    known(source, ("match",), name=f"{where}: from", common=False)
    when = _when(_pairs(str(source.get("match") or ""), where, blank="true"), where, rule)
    if when is None:
        return []
    about: Any = {"when": when}
    ends = [mapped(one, name=f"{where}: to") for one in listed(entry, "to", name=where)]
    if not ends:
        return [Route(route_name(where), **about, to=_NOBODY, otherwise="fail")]
    weights = [_weight(end, where) for end in ends]
    about["otherwise"] = otherwise
    return [
        Route(
            route_name(f"{where}.{number}"),
            **about,
            to=_to(_pairs(str(end.get("match") or ""), where, blank="false"), where),
            share=weight / sum(weights),
            empty="divided",
        )
        for number, (end, weight) in enumerate(zip(ends, weights, strict=True), 1)
    ]


def _weight(end: Mapping[str, object], where: str) -> float:
    known(end, ("match", "weight"), name=f"{where}: to", common=False)
    said = end.get("weight")
    try:
        weight = _WEIGHT if said is None else float(int(str(said)))
    except ValueError:
        raise ValueError(f"{where}: weight must be a whole number, not {said!r}") from None
    return weight if weight > 0 else _WEIGHT


def _pairs(words: str, where: str, *, blank: str) -> Pairs:
    words = words.replace("consumer.", "").replace("provider.", "").strip()
    if words in ("", blank):
        return {}
    pairs: dict[str, tuple[str, list[str]]] = {}
    key = ""
    for separator, content in _tokens(words):
        if separator in ("", "&"):
            good = content not in pairs and bool(separator) == bool(pairs)
            require(f"{where}: {content}", words, "a key that is named once", good)
            key = content
            pairs[key] = ("", [])
        elif separator in ("=", "!=") and key and not pairs[key][1]:
            pairs[key] = (separator, [content])
        elif separator == "," and key and pairs[key][1]:
            pairs[key][1].append(content)
        else:
            raise ValueError(f"{where}: {separator!r} before {content!r} is not understood")
    for key, (sign, values) in pairs.items():
        require(f"{where}: {key}", words, "a value for each key", sign and values)
    return {key: (sign, tuple(values)) for key, (sign, values) in pairs.items()}


def _tokens(words: str) -> Iterator[tuple[str, str]]:
    """Give each word with the separator before it, as Dubbo takes a line apart."""
    separator = ""
    for token in _TOKEN.findall(words):
        if token[0] in _SEPARATORS:
            separator = token
        else:
            yield separator, token
            separator = ""


_UNMARKED: Final[Mapping[str, Wanted]] = {"mark": None}


def _when(pairs: Pairs, where: str, rule: ConditionRule) -> dict[str, Wanted] | None:
    """Give what a call must have; None where the condition is of other callers."""
    when: dict[str, Wanted] = dict(_UNMARKED)
    for key, (sign, values) in pairs.items():
        known_here = {"application": rule.caller, "interface": rule.interface}.get(key)
        if known_here is not None:
            if (known_here in _plain(values, where, key)) != (sign == "="):
                return None
            continue
        require(f"{where}: {key}", f"{key}{sign}{','.join(values)}", "=", sign == "=")
        name, found = _fact(key, values, where, rule)
        when[name] = found
    return when


def _fact(key: str, values: Sequence[str], where: str, rule: ConditionRule) -> tuple[str, Wanted]:
    attachment = _ATTACHMENT.fullmatch(key)
    if attachment:
        name = attachment[1].lower()
        fact = "mark" if name == "dubbo.tag" else f"header.{name}"
        return fact, "*" if tuple(values) == ("*",) else _plain(values, where, key)
    if key in ("method", "methods") and rule.interface is not None:
        methods = _plain(values, where, key)
        return "path", tuple(f"/{rule.interface}/{method}" for method in methods)
    if key == "application":
        raise ValueError(f"{where}: {key}: say who calls by caller=NAME in the registry's URL")
    raise ValueError(f"{where}: {key}={','.join(values)}: no call tells this")


def _to(then: Pairs, where: str) -> dict[str, Wanted]:
    to: dict[str, Wanted] = {}
    for key, (sign, values) in then.items():
        require(f"{where}: {key}", f"{key}{sign}{','.join(values)}", "=", sign == "=")
        if key in ("address", "host"):
            to |= of_addresses(values, name=f"{where}: {key}")
        else:
            to[f"metadata.{key}"] = "*" if values == ("*",) else _plain(values, where, key)
    require(f"{where}: to", to, "conditions for nodes, at least one", to)
    return to


def _plain(values: Sequence[str], where: str, key: str) -> tuple[str, ...]:
    for value in values:
        require(f"{where}: {key}", value, "a plain text, no pattern", is_plain(value))
    return tuple(values)
