"""What is kept of each kind of resource: what a caller needs, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rpcguard.registries.xds.assignments import nodes_of
from rpcguard.registries.xds.messages import (
    AGGREGATE,
    CLUSTER,
    CLUSTER_TYPE,
    CONNECTION_MANAGER,
    EDS,
    ENDPOINT_TYPE,
    LISTENER,
    LISTENER_TYPE,
    LOGICAL_DNS,
    NAMED,
    PACKED_ASSIGNMENT,
    ROUTE_CONFIGURATION,
    ROUTE_TYPE,
    STATIC,
    STRICT_DNS,
    WRAPPER,
    WRAPPER_TYPE,
)
from rpcguard.registries.xds.packed import nodes_of_packed

if TYPE_CHECKING:
    from rpcguard._core.nodes.node import Node
    from rpcguard.registries._shared.faults import FaultLog
    from rpcguard.registries.xds.packed import Kept

TYPES: Final = (LISTENER_TYPE, ROUTE_TYPE, CLUSTER_TYPE, ENDPOINT_TYPE)
"""The kinds that are asked for, in the order in which one leads to the next."""

_AGGREGATE: Final = "envoy.clusters.aggregate"
_DIRECT: Final = (STATIC, STRICT_DNS, LOGICAL_DNS)

VirtualHosts = list[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Listener:
    """Where the routes of a service are: in a resource of their own, or right here."""

    route_name: str = ""
    hosts: VirtualHosts | None = None


@dataclass(frozen=True, slots=True)
class RouteTable:
    """The virtual hosts of a route configuration."""

    hosts: VirtualHosts


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the nodes of a cluster are: one of these three."""

    assignment: str = ""
    """The name of an assignment."""
    children: tuple[str, ...] = ()
    """Other clusters, the next one for when those before have nobody left."""
    nodes: tuple[Node, ...] = ()
    """What the cluster itself lists, names for DNS among it."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The nodes of a cluster."""

    nodes: tuple[Node, ...]
    known: Kept = field(default_factory=dict, repr=False)
    """What their endpoints were read as, for the next list."""


Resource = Listener | RouteTable | Cluster | Assignment


@dataclass(frozen=True, slots=True)
class Packed:
    """A resource as it came: its kind and its bytes, or its name alone."""

    type_url: str
    value: bytes
    name: str = ""
    """The name in a wrapper without a resource, which only says that it is still there."""


def unpacked(resource: Mapping[str, Any]) -> Packed:
    """Take an `Any` of a response out of the wrapper that it may have; raise `ValueError`."""
    name = ""
    if resource.get("type_url") == WRAPPER_TYPE:
        wrapper = WRAPPER.decode(resource.get("value", b""))
        if "resource" not in wrapper:
            name = wrapper.get("name", "")
        resource = wrapper.get("resource", {})
    return Packed(resource.get("type_url", ""), resource.get("value", b""), name)


def name_of(packed: Packed, type_url: str) -> str:
    """Give the name of a resource that may be of no use otherwise; raise `ValueError`.

    So it does for one that is not of the type that its answer is of.
    """
    if packed.name:
        return packed.name
    if packed.type_url != type_url:
        raise ValueError(f"it is of the type {packed.type_url!r}")
    # The first field of each of the four messages; nothing else is looked at.
    name: str = NAMED.decode(packed.value).get("name", "")
    return name


def read_resource(
    type_url: str, value: bytes, faults: FaultLog, last: Resource | None = None
) -> Resource:
    """Read a resource of one of the four kinds; raise `ValueError` saying why it is of no use.

    `last` is the version before, whose parts are not read again.
    """
    return _READERS[type_url](value, faults, last)


def _listener(value: bytes, *_: object) -> Listener:
    packed = LISTENER.decode(value).get("api_listener", {}).get("api_listener")
    if packed is None:
        raise ValueError("it has no api_listener: it is made for a proxy")
    manager = CONNECTION_MANAGER.decode(packed.get("value", b""))
    if name := manager.get("rds", {}).get("route_config_name"):
        return Listener(route_name=name)
    if "route_config" not in manager:
        raise ValueError("it names no routes")
    return Listener(hosts=manager["route_config"].get("virtual_hosts", []))


def _route_table(value: bytes, *_: object) -> RouteTable:
    return RouteTable(ROUTE_CONFIGURATION.decode(value).get("virtual_hosts", []))


def _cluster(value: bytes, faults: FaultLog, *_: object) -> Cluster:
    found = CLUSTER.decode(value)
    name, kind = found.get("name", ""), found.get("type", STATIC)
    if own := found.get("cluster_type"):
        if own.get("name") != _AGGREGATE:
            raise ValueError(f"its type {own.get('name')!r} is not known here")
        children = AGGREGATE.decode(own.get("typed_config", {}).get("value", b""))
        return Cluster(children=tuple(children.get("clusters", ())))
    if kind == EDS:
        return Cluster(found.get("eds_cluster_config", {}).get("service_name") or name)
    if kind not in _DIRECT:
        raise ValueError(f"its type {kind} has no list of nodes")
    listed = found.get("load_assignment", {})
    return Cluster(nodes=tuple(nodes_of(listed, where=f"cluster {name!r}", faults=faults)))


def _assignment(value: bytes, faults: FaultLog, last: Resource | None) -> Assignment:
    found = PACKED_ASSIGNMENT.decode(value)
    where = f"endpoints {found.get('cluster_name', '')!r}"
    known = last.known if isinstance(last, Assignment) else {}
    nodes, known = nodes_of_packed(found, known, where=where, faults=faults)
    return Assignment(tuple(nodes), known)


_READERS: Final[Mapping[str, Callable[[bytes, FaultLog, Resource | None], Resource]]] = {
    LISTENER_TYPE: _listener,
    ROUTE_TYPE: _route_table,
    CLUSTER_TYPE: _cluster,
    ENDPOINT_TYPE: _assignment,
}
