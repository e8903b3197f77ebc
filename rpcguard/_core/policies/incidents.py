"""What is switched for the time of an incident, by whoever is on call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rpcguard._checks import is_amount, is_several, require
from rpcguard._text import host_name

if TYPE_CHECKING:
    from collections.abc import Iterable

_LASTS: Final = 3600.0
"""Seconds after which a switch that names no end is over: one that is forgotten must not stay."""

_LATEST: Final = 253_402_300_799.0
"""The last second of the year 9999, in epoch seconds: no date is later, and the log tells one."""

_WHEN_WANTED: Final = "a moment with its offset, such as 2026-11-26T15:00:00Z"
_OUT_WANTED: Final = 'a list of ids or addresses of nodes, such as ["10.0.0.7:8080"]'


class Switches(NamedTuple):
    """How the switches of one service stand; all are on unless somebody turned them."""

    retry: bool = True
    """Whether calls are sent again, whatever policies and the calls themselves say."""
    hedge: bool = True
    """Whether calls may be hedged."""
    ejection: bool = True
    """Whether failing nodes are ejected; else it is decided and only told."""
    routes: bool = True
    """Whether routes take calls; else all of them are as if there were none."""
    out: frozenset[str] = frozenset()
    """Ids or addresses of nodes that get no calls as long as others can take them."""


ALL_ON: Final = Switches()


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Switches that are turned together, for a time; raises `ValueError` naming what is wrong."""

    retry: bool = True
    """False: each call is sent once."""
    hedge: bool = True
    """False: no call is hedged."""
    ejection: str | bool = True
    """`"shadow"`: ejections are decided and told, and no node is out for them."""
    routes: bool = True
    """False: no route takes a call."""
    out: tuple[str, ...] = ()
    """Nodes that get no calls as long as others can take them, by id or address."""
    service: str = ""
    """The service; empty for all of them."""
    until: float = math.inf
    """When it is over, in epoch seconds."""
    why: str = ""
    """What is told of it in the log."""

    def __post_init__(self) -> None:
        for name in ("retry", "hedge", "routes"):
            value = getattr(self, name)
            require(name, value, "false, to switch it off", isinstance(value, bool))
        ejection = self.ejection
        require("ejection", ejection, 'the text "shadow"', ejection in ("shadow", True))
        require("out", self.out, _OUT_WANTED, is_several(self.out, str))
        object.__setattr__(self, "out", tuple(self.out))
        for name in ("service", "why"):
            require(name, getattr(self, name), "a text", isinstance(getattr(self, name), str))
        object.__setattr__(self, "service", host_name(self.service))
        require("an incident", self.turned, "one that switches something", self.turned)

    @property
    def turned(self) -> str:
        """Say what is switched."""
        words = [f"{name} off" for name in ("retry", "hedge", "routes") if not getattr(self, name)]
        if self.ejection == "shadow":
            words.append("ejection in shadow")
        return ", ".join([*words, *(f"node {node} out" for node in self.out)])


_KEYS: Final = frozenset({*(one.name for one in fields(Incident)), "for"})


def incidents_of(given: object, written_at: float) -> tuple[Incident, ...]:
    """Read one table or several of switches; `written_at` is when, in epoch seconds.

    The time of a switch counts from then: it is the same for all workers, and after a restart.
    """
    tables = [given] if isinstance(given, Mapping) else given
    wanted = "a table, or a list of tables"
    require("incident", given, wanted, isinstance(tables, list) and is_several(tables, Mapping))
    return tuple(_incident(dict(table), written_at) for table in tables)  # type: ignore[attr-defined]


def _incident(table: dict[str, Any], written_at: float) -> Incident:
    for key in table:
        require("incident: key", key, f"one of {', '.join(sorted(_KEYS))}", key in _KEYS)
    good = not {"for", "until"} <= table.keys()
    require("incident: for", table.get("for"), "left out beside until", good)
    length = table.pop("for", _LASTS)
    require("incident: for", length, "seconds above 0", is_amount(length) and length > 0)
    until = _moment(table.pop("until")) if "until" in table else written_at + length
    require("incident: its end", until, "a moment before the year 10000", until <= _LATEST)
    try:
        return Incident(until=until, **table)
    except ValueError as error:
        raise ValueError(f"incident: {error}") from None


def _moment(given: object) -> float:
    when = given
    if isinstance(given, str):  # JSON has no times of its own
        try:
            when = datetime.fromisoformat(given)
        except ValueError:
            when = None
    good = isinstance(when, datetime) and when.tzinfo is not None
    require("incident: until", given, _WHEN_WANTED, good)
    assert isinstance(when, datetime)
    return when.timestamp()


def in_force(incidents: Iterable[Incident], wall: float) -> tuple[Incident, ...]:
    """Give those that are not over; `wall` is the time in epoch seconds."""
    return tuple(one for one in incidents if one.until > wall)


def switches_of(incidents: Iterable[Incident], service: str, wall: float) -> Switches:
    """Say how the switches of a service stand; of several incidents each turns its own.

    Those of `orders` also count for `orders:8080`, as what it has otherwise does.
    """
    name = host_name(service)
    names = ("", name, name.rpartition(":")[0])
    mine = [one for one in in_force(incidents, wall) if one.service in names]
    return Switches(
        retry=all(one.retry for one in mine),
        hedge=all(one.hedge for one in mine),
        ejection=all(one.ejection != "shadow" for one in mine),
        routes=all(one.routes for one in mine),
        out=frozenset(node for one in mine for node in one.out),
    )
