"""Endpoints of xDS as nodes, however they came: the fields of JSON or of a message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rpcguard.registries._shared.fields import Fields, number, part, started_at
from rpcguard.registries._shared.nodes import nodes_from_json

if TYPE_CHECKING:
    from rpcguard._core.nodes.node import Node, Status
    from rpcguard.registries._shared.faults import FaultLog

_STATUSES: Final[Mapping[str, Status]] = {  # in the order of their numbers
    "UNKNOWN": "up",
    "HEALTHY": "up",
    "UNHEALTHY": "down",
    "DRAINING": "draining",
    "TIMEOUT": "down",
    "DEGRADED": "up",
}
_PRIORITIES: Final = 129  # 0 to 128 are allowed; degraded nodes come after all of them

Object = Mapping[str, object]


def nodes_of(assignment: Object, *, where: str, faults: FaultLog) -> list[Node]:
    """Read the nodes of a `ClusterLoadAssignment`.

    Raises `ValueError` where not one is good, and for a priority that xDS does not have.
    """
    entries = list(_endpoints(objects_of(assignment, "endpoints")))
    return nodes_from_json(entries, where=where, faults=faults, read=_node)


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """One endpoint with what its locality says of it."""

    entry: Object
    locality: Object = field(default_factory=dict)
    priority: int = 0
    share: float = 1.0  # its part of the weight of its locality


def _endpoints(localities: list[Object]) -> Iterator[_Endpoint]:
    filled = [some for some in localities if field_of(some, "lb_endpoints")]
    weights: dict[int, list[float | None]] = {}
    for some in filled:
        own = number(field_of(some, "load_balancing_weight"))
        weights.setdefault(_priority(some), []).append(own)
    weighed = {level for level, peers in weights.items() if len(peers) > 1 and all(peers)}
    for some in filled:
        priority, entries = _priority(some), objects_of(some, "lb_endpoints")
        share = 1.0
        if priority in weighed:
            own = number(field_of(some, "load_balancing_weight")) or 0.0
            share = own / (sum(map(_weight, entries)) or 1.0)
        for entry in entries:
            yield _Endpoint(entry, part(some, "locality"), priority, share)


def _priority(locality: Object) -> int:
    priority = number(field_of(locality, "priority"))
    if priority is None or not priority.is_integer():
        return 0
    if priority >= _PRIORITIES:
        raise ValueError(f"priority {priority:.0f} is more than {_PRIORITIES - 1}")
    return int(priority)


def _node(endpoint: object) -> Fields:
    assert isinstance(endpoint, _Endpoint)
    entry, locality = endpoint.entry, endpoint.locality
    described = part(entry, "endpoint")
    place = _part(part(described, "address"), "socket_address")
    if place.get("protocol") not in (None, 0, "TCP"):
        raise ValueError("an endpoint has another protocol than TCP")
    health = _health(field_of(entry, "health_status"))
    told = part(_part(part(entry, "metadata"), "filter_metadata"), "envoy.lb")
    labels = {key: _label(value) for key, value in told.items()}
    more = {
        "region": locality.get("region"),
        "sub_zone": field_of(locality, "sub_zone"),
        "hostname": described.get("hostname"),
    }
    return {
        "host": place.get("address"),
        "port": field_of(place, "port_value"),
        "weight": _weight(entry) * endpoint.share,
        "priority": endpoint.priority + (_PRIORITIES if health == "DEGRADED" else 0),
        "status": _STATUSES[health],
        "zone": locality.get("zone") or locality.get("region") or None,
        "version": labels.get("version"),
        "started_at": started_at(labels),
        "metadata": {**{key: value for key, value in more.items() if value}, **labels},
    }


def _label(value: object) -> object:
    """Give a value of a `Struct` as JSON writes it; in a message each number is a double."""
    if isinstance(value, bool):
        return str(value).lower()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _weight(entry: Object) -> float:
    weight = number(field_of(entry, "load_balancing_weight"))
    return 1.0 if weight is None else weight


def _health(status: object) -> str:
    """Give the name of a status; one that is not known yet is the healthy UNKNOWN, as in xDS."""
    names = list(_STATUSES)
    if isinstance(status, int) and 0 <= status < len(names):
        return names[status]
    return status if isinstance(status, str) and status in names else names[0]


def field_of(entry: Object, name: str) -> object:
    """Give a field, spelled as in the protocol or as in JSON: `port_value` or `portValue`."""
    first, *others = name.split("_")
    return entry.get(name, entry.get(first + "".join(map(str.capitalize, others))))


def _part(entry: Object, name: str) -> Object:
    return part({name: field_of(entry, name)}, name)


def objects_of(entry: Object, name: str) -> list[Object]:
    """Give the objects of a list; raise `ValueError` where it is something else."""
    values = field_of(entry, name)
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, Mapping) for value in values):
        raise ValueError(f"{name} must be a list of objects")
    return values
