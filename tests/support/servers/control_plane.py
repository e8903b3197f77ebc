"""A control plane of go-control-plane: ADS by gRPC, its resources set over HTTP."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.servers.base import free_ports
from tests.support.servers.built import BuiltServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_TYPES = "type.googleapis.com/envoy"
LISTENER = f"{_TYPES}.config.listener.v3.Listener"
ROUTES = f"{_TYPES}.config.route.v3.RouteConfiguration"
CLUSTER = f"{_TYPES}.config.cluster.v3.Cluster"
ENDPOINTS = f"{_TYPES}.config.endpoint.v3.ClusterLoadAssignment"
_MANAGER = f"{_TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_AGGREGATE = f"{_TYPES}.extensions.clusters.aggregate.v3.ClusterConfig"

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Spares each client the reading of authorities, which takes longer than what it is asked for."""


class GoControlPlane(BuiltServer):
    """Serve the resources given to `put`, to callers with the `token`.

    `options` are further flags of the program: a certificate, the age of a connection.
    """

    name = "control-plane"
    source = "controlplane-app"
    build = ("go", "build", "-mod=mod", "-p=1", "-trimpath", "-ldflags=-s -w", "-o=plane", ".")
    product = "plane"
    token = "r1ght-bearer"
    """What a caller must show."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port, self._web = free_ports(2)
        self.options: dict[str, object] = {}

    def command(self) -> list[str | Path]:
        flags = {
            "grpc": f"127.0.0.1:{self.port}",
            "http": f"127.0.0.1:{self._web}",
            "token": self.token,
            **self.options,
        }
        return [self.file(), *(f"-{name}={value}" for name, value in flags.items())]

    def answers(self) -> bool:
        return httpx.get(f"http://127.0.0.1:{self._web}/requests").status_code == 200

    def put(
        self,
        *resources: Mapping[str, Any],
        drop: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        """Set resources, as JSON with their `@type`; `drop` takes others away, by type."""
        away = {kind: list(names) for kind, names in (drop or {}).items()}
        url = f"http://127.0.0.1:{self._web}/resources"
        answer = httpx.post(
            url, json={"Set": resources, "Drop": away}, timeout=30.0, verify=_NO_TLS
        )
        assert answer.status_code == 200, answer.text

    def requests(self) -> list[dict[str, Any]]:
        """Give the requests that came, oldest first."""
        found: list[dict[str, Any]] | None = httpx.get(
            f"http://127.0.0.1:{self._web}/requests"
        ).json()
        return found or []


def listener(name: str, routes: str) -> dict[str, Any]:
    """Give the listener of a service whose routes are a resource of that name."""
    router = {
        "@type": f"{_TYPES}.extensions.filters.http.router.v3.Router",
    }
    manager = {
        "@type": _MANAGER,
        "rds": {"routeConfigName": routes, "configSource": {"ads": {}}},
        "httpFilters": [{"name": "envoy.filters.http.router", "typedConfig": router}],
    }
    return {"@type": LISTENER, "name": name, "apiListener": {"apiListener": manager}}


def routes(name: str, domain: str, *entries: Mapping[str, Any]) -> dict[str, Any]:
    """Give a route configuration of one virtual host."""
    host = {"name": name, "domains": [domain], "routes": list(entries)}
    return {"@type": ROUTES, "name": name, "virtualHosts": [host]}


def route(cluster: str | Mapping[str, int], **match: Any) -> dict[str, Any]:
    """Give a route to a cluster, or to several by their weights."""
    if isinstance(cluster, str):
        action: dict[str, Any] = {"cluster": cluster}
    else:
        weighted = [{"name": name, "weight": weight} for name, weight in cluster.items()]
        action = {"weightedClusters": {"clusters": weighted}}
    return {"match": match or {"prefix": "/"}, "route": action}


def cluster(name: str) -> dict[str, Any]:
    """Give a cluster whose endpoints have its name."""
    config = {"edsConfig": {"ads": {}, "resourceApiVersion": "V3"}}
    return {"@type": CLUSTER, "name": name, "type": "EDS", "edsClusterConfig": config}


def aggregate(name: str, *children: str) -> dict[str, Any]:
    """Give a cluster that is made of others."""
    config = {"@type": _AGGREGATE, "clusters": list(children)}
    kind = {"name": "envoy.clusters.aggregate", "typedConfig": config}
    return {"@type": CLUSTER, "name": name, "clusterType": kind, "lbPolicy": "CLUSTER_PROVIDED"}


def endpoints(name: str, *localities: Mapping[str, Any]) -> dict[str, Any]:
    """Give an assignment."""
    return {"@type": ENDPOINTS, "clusterName": name, "endpoints": list(localities)}


servers = (GoControlPlane,)
