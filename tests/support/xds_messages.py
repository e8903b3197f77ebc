"""Resources of xDS as messages, for tests of what reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rpcguard.registries.xds.messages import (
    AGGREGATE,
    ASSIGNMENT,
    CLUSTER,
    CLUSTER_TYPE,
    CONNECTION_MANAGER,
    EDS,
    ENDPOINT_TYPE,
    LISTENER,
    LISTENER_TYPE,
    LOGICAL_DNS,
    RESPONSE,
    ROUTE_CONFIGURATION,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

MANAGER_TYPE = (
    "type.googleapis.com/envoy.extensions.filters.network"
    ".http_connection_manager.v3.HttpConnectionManager"
)


def response(type_url: str, version: str, *resources: bytes, **more: Any) -> bytes:
    """Give an answer with resources of its type."""
    return RESPONSE.encode(
        {
            "version_info": version,
            "type_url": type_url,
            "nonce": f"n{version}",
            "resources": [{"type_url": type_url, "value": value} for value in resources],
            **more,
        }
    )


def listener(name: str, table: str = "", hosts: list[dict[str, Any]] | None = None) -> bytes:
    """Give a listener that names a table of routes, or has virtual hosts itself."""
    manager: dict[str, Any] = {"rds": {"route_config_name": table}}
    if hosts is not None:
        manager = {"route_config": {"virtual_hosts": hosts}}
    packed = {"type_url": MANAGER_TYPE, "value": CONNECTION_MANAGER.encode(manager)}
    return LISTENER.encode({"name": name, "api_listener": {"api_listener": packed}})


def table(name: str, domain: str, *routes: dict[str, Any]) -> bytes:
    """Give a route configuration of one virtual host."""
    return ROUTE_CONFIGURATION.encode({"name": name, "virtual_hosts": [host(domain, *routes)]})


def host(domain: str, *routes: dict[str, Any]) -> dict[str, Any]:
    """Give a virtual host."""
    return {"name": domain, "domains": [domain], "routes": list(routes)}


def route(cluster: str | dict[str, int], **match: Any) -> dict[str, Any]:
    """Give a route to a cluster, or to several by their weights."""
    action: dict[str, Any] = {"cluster": cluster}
    if not isinstance(cluster, str):
        weighted = [{"name": name, "weight": weight} for name, weight in cluster.items()]
        action = {"weighted_clusters": {"clusters": weighted}}
    return {"match": match or {"prefix": "/"}, "route": action}


def cluster(name: str, assignment: str = "") -> bytes:
    """Give a cluster with endpoints of its own name, or of another."""
    config = {"service_name": assignment}
    return CLUSTER.encode({"name": name, "type": EDS, "eds_cluster_config": config})


def dns_cluster(name: str, target: str, port: int) -> bytes:
    """Give a cluster that is one name."""
    found = {"endpoints": [places((target, port))]}
    return CLUSTER.encode({"name": name, "type": LOGICAL_DNS, "load_assignment": found})


def aggregate(name: str, *children: str) -> bytes:
    """Give a cluster that is made of others."""
    config = {"value": AGGREGATE.encode({"clusters": list(children)})}
    kind = {"name": "envoy.clusters.aggregate", "typed_config": config}
    return CLUSTER.encode({"name": name, "cluster_type": kind})


def places(*addresses: tuple[str, int], **more: Any) -> dict[str, Any]:
    """Give a locality with endpoints at some addresses."""
    entries = [
        {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}
        for host, port in addresses
    ]
    return {"lb_endpoints": entries, **more}


def endpoints(name: str, *localities: dict[str, Any]) -> bytes:
    """Give an assignment."""
    return ASSIGNMENT.encode({"cluster_name": name, "endpoints": list(localities)})


def chain(name: str, ports: Iterable[int]) -> dict[str, bytes]:
    """Give an answer of each type for a service that is one cluster, by type."""
    spread = places(*(("10.0.0.1", port) for port in ports))
    return {
        LISTENER_TYPE: listener(name, hosts=[host("*", route(name))]),
        CLUSTER_TYPE: cluster(name),
        ENDPOINT_TYPE: endpoints(name, spread),
    }
