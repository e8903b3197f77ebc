"""Dubbo's tag rules: the nodes of a tag are kept for the calls that carry it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rpcguard._checks import require
from rpcguard._context.lane import is_mark
from rpcguard._core.policies.routing import Route
from rpcguard.registries._rules.dubbo import flag_of, known, listed, mapped, of_addresses
from rpcguard.registries._rules.matches import route_name
from rpcguard.registries._rules.yaml import mapping_from_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TAG_KEYS: Final = ("name", "match", "addresses")
_MATCH_KEYS: Final = ("key", "value")


def routes_of_tags(text: str, *, name: str) -> list[Route]:
    """Read the rule of `{application}.tag-router`, of any version.

    Each tag becomes two routes: one leads the calls that carry it to its nodes, and to base while
    these cannot serve, unless the rule says `force`; the other has a share of nothing, which keeps
    ordinary calls off those nodes. Raises `ValueError` naming the rule, the field and the value.
    """
    rule = mapping_from_yaml(text, name=name)
    known(rule, ("tags",), name=name)
    if not flag_of(rule, "enabled", default=True, name=name):
        return []
    force = flag_of(rule, "force", default=False, name=name)
    routes: list[Route] = []
    for number, entry in enumerate(listed(rule, "tags", name=name), 1):
        routes += _routes_of_tag(mapped(entry, name=f"{name}: tag {number}"), name, force=force)
    return routes


def _routes_of_tag(tag: Mapping[str, object], name: str, *, force: bool) -> Iterator[Route]:
    mark = tag.get("name")
    where = f"{name}: tag {mark!r}"
    known(tag, _TAG_KEYS, name=where, common=False)
    require(f"{where}: name", mark, "1 to 64 characters of A-Za-z0-9._-", is_mark(mark))
    to = _nodes_of(tag, where)
    about: Any = {"when": {"mark": mark}, "to": to}
    yield Route(route_name(f"{name} {mark}"), **about, otherwise="fail" if force else "base")
    yield Route(route_name(f"{name} {mark}, kept"), **about, share=0.0)


def _nodes_of(tag: Mapping[str, object], where: str) -> Mapping[str, str | Sequence[str] | None]:
    addresses = listed(tag, "addresses", name=where)
    if addresses:
        return of_addresses([str(one) for one in addresses], name=f"{where}: addresses")
    to: dict[str, str | Sequence[str] | None] = {}
    for entry in listed(tag, "match", name=where):
        match = mapped(entry, name=f"{where}: match")
        known(match, _MATCH_KEYS, name=f"{where}: match", common=False)
        key = f"metadata.{match.get('key')}"
        require(f"{where}: match key", match.get("key"), "one that is not there yet", key not in to)
        value = mapped(match.get("value"), name=f"{where}: match {match.get('key')!r}")
        to[key] = _wanted(value, f"{where}: match {match.get('key')!r}")
    require(f"{where}: match", to, "conditions or addresses, at least one", to)
    return to


def _wanted(value: Mapping[str, object], where: str) -> str | None:
    kinds = {kind: said for kind, said in value.items() if said is not None}
    kind, said = next(iter(kinds.items()), ("", None))
    require(f"{where}: value", dict(kinds), "one kind of match", len(kinds) == 1)
    if kind == "exact" and isinstance(said, str) and said not in ("", "*"):
        return said
    if kind == "wildcard" and said != "":
        # Dubbo's wildcard is one of all or of nothing, and wants the parameter to be there.
        return "*" if said == "*" else str(said)
    if kind == "noempty":
        return "*"
    if kind == "empty":
        return None
    return _refuse(f"{where}: {kind}", said)


def _refuse(where: str, said: object) -> str:
    raise ValueError(f"{where} must be exact, wildcard, empty or noempty, not {said!r}")
