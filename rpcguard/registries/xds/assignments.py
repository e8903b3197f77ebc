"""Endpoints of xDS as nodes, however they came: the fields of JSON or of a message."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

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
EntryT = TypeVar("EntryT")


def nodes_of(assignment: Object, *, where: str, faults: FaultLog) -> list[Node]:
    """Read the nodes of a `ClusterLoadAssignment`.

    Raises `ValueError` where not one is good, and for a priority that xDS does not have.
    """
    localities = objects_of(assignment, "endpoints")
    found = placed(localities, lambda some: objects_of(some, "lb_endpoints"), weight_of)
    entries = [PlacedEndpoint(entry, place) for entry, place in found]
    return nodes_from_json(entries, where=where, faults=faults, read=read_endpoint)


@dataclass(frozen=True, slots=True)
class Locality:
    """What a locality says of its endpoints."""

    names: Object
    """Its region, zone and sub-zone."""
    priority: int
    """0 is the first."""
    share: float
    """What the weight of an endpoint is multiplied by."""


@dataclass(frozen=True, slots=True)
class PlacedEndpoint:
    """One endpoint of a list."""

    entry: Object
    """What it says of itself."""
    locality: Locality
    """What its locality says."""


def placed(
    localities: list[Object],
    entries_of: Callable[[Object], Sequence[EntryT]],
    weigh: Callable[[EntryT], float],
) -> Iterator[tuple[EntryT, Locality]]:
    """Give the endpoints of all localities, whatever they are read as, each with its place."""
    filled = [some for some in localities if field_of(some, "lb_endpoints")]
    weights: dict[int, list[float | None]] = {}
    for some in filled:
        own = number(field_of(some, "load_balancing_weight"))
        weights.setdefault(_priority(some), []).append(own)
    weighed = {level for level, peers in weights.items() if len(peers) > 1 and all(peers)}
    for some in filled:
        priority, entries = _priority(some), entries_of(some)
        share = 1.0
        if priority in weighed:
            own = number(field_of(some, "load_balancing_weight")) or 0.0
            share = own / (sum(map(weigh, entries)) or 1.0)
        place = Locality(part(some, "locality"), priority, share)
        for entry in entries:
            yield entry, place


def _priority(locality: Object) -> int:
    priority = number(field_of(locality, "priority"))
    if priority is None or not priority.is_integer():
        return 0
    if priority >= _PRIORITIES:
        raise ValueError(f"priority {priority:.0f} is more than {_PRIORITIES - 1}")
    return int(priority)


def read_endpoint(endpoint: object) -> Fields:
    """Give the fields of a node; raise `ValueError` for what is none that can be called."""
    assert isinstance(endpoint, PlacedEndpoint)
    entry, locality, at = endpoint.entry, endpoint.locality.names, endpoint.locality
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
        "weight": weight_of(entry) * at.share,
        "priority": at.priority + (_PRIORITIES if health == "DEGRADED" else 0),
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


def weight_of(entry: Object) -> float:
    """Give the weight of an endpoint within its locality; 1 where it has none."""
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
