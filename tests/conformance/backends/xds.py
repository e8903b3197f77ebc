"""xDS: EDS over REST of a fake control plane, which a real Envoy takes for one, and ADS by gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.conformance.backends.base import Backend
from tests.support.servers.base import Server, free_ports
from tests.support.servers.control_plane import (
    GoControlPlane,
    cluster,
    endpoints,
    listener,
    route,
    routes,
)
from tests.support.servers.xds import ControlPlane, lb_endpoint

if TYPE_CHECKING:
    from pathlib import Path

    from rpcguard._core.nodes.node import Node

PASSWORD, WRONG = "r1ght-passw0rd", "wr0ng-passw0rd"


class _Assigning(Backend):
    """One locality for each zone; the status is what the control plane's health checks say."""

    capabilities = frozenset(
        {
            *("change", "update", "weight", "zone", "version", "metadata", "status", "drain"),
            *("crash", "unknown", "empty", "outage", "wipe", "auth", "cluster", "bulk"),
        }
    )

    def __init__(self, directory: Path, server: Server | None) -> None:
        super().__init__(directory, server)
        self._dead_port = free_ports(1)[0]
        self._services: dict[str, dict[str, tuple[Node, str]]] = {}

    def secrets(self) -> tuple[str, ...]:
        return PASSWORD, WRONG

    def register(self, service: str, node: Node) -> None:
        self.register_all(service, [node])

    def register_all(self, service: str, nodes: list[Node]) -> None:
        listed = self._services.setdefault(service, {})
        listed.update((node.id, (node, "HEALTHY")) for node in nodes)
        self._assign(service)

    def deregister(self, service: str, node_id: str) -> None:
        del self._services[service][node_id]
        self._assign(service)

    def crash(self, service: str, node_id: str) -> None:
        self._say(service, node_id, "UNHEALTHY")

    def set_status(self, service: str, node_id: str, status: str) -> None:
        self._say(service, node_id, "HEALTHY" if status == "up" else "UNHEALTHY")

    def drain(self, service: str, node_id: str) -> None:
        self._say(service, node_id, "DRAINING")

    def undrain(self, service: str, node_id: str) -> None:
        self._say(service, node_id, "HEALTHY")

    def empty(self, service: str) -> None:
        self._services[service] = {}
        self._assign(service)

    def wipe_server(self) -> None:
        super().wipe_server()
        self._services.clear()

    def _say(self, service: str, node_id: str, health: str) -> None:
        node, _ = self._services[service][node_id]
        self._services[service][node_id] = node, health
        self._assign(service)

    def _assign(self, service: str) -> None:
        localities: dict[str | None, dict[str, Any]] = {}
        for node, health in self._services[service].values():
            labels = {**node.metadata, "version": node.version}
            locality = localities.setdefault(
                node.zone, {"locality": {"zone": node.zone}, "lb_endpoints": []}
            )
            locality["lb_endpoints"].append(
                lb_endpoint(
                    node.host,
                    node.port,
                    load_balancing_weight=int(node.weight),
                    health_status=health,
                    metadata={"filter_metadata": {"envoy.lb": labels}},
                )
            )
        self.assign(service, list(localities.values()))

    def assign(self, service: str, localities: list[dict[str, Any]]) -> None:
        """Tell the control plane the endpoints of a service."""
        raise NotImplementedError


class XdsBackend(_Assigning):
    """EDS over REST."""

    name = "xds+http"
    server_class = ControlPlane

    def __init__(self, directory: Path, server: Server | None) -> None:
        super().__init__(directory, server)
        self.server.password = PASSWORD

    @property
    def server(self) -> ControlPlane:
        assert isinstance(self._server, ControlPlane)
        return self._server

    def url(self, *, dead_member: bool = False, wrong_credentials: bool = False) -> str:
        password = WRONG if wrong_credentials else PASSWORD
        dead = f"127.0.0.1:{self._dead_port}," if dead_member else ""
        return f"xds+http://user:{password}@{dead}127.0.0.1:{self.server.port}?refresh=0.1"

    def assign(self, service: str, localities: list[dict[str, Any]]) -> None:
        self.server.assign(service, localities)


class AdsBackend(_Assigning):
    """The whole chain from a listener to endpoints, by gRPC from go-control-plane."""

    name = "xds"
    server_class = GoControlPlane
    push = True

    @property
    def server(self) -> GoControlPlane:
        assert isinstance(self._server, GoControlPlane)
        return self._server

    def url(self, *, dead_member: bool = False, wrong_credentials: bool = False) -> str:
        token = WRONG if wrong_credentials else GoControlPlane.token
        dead = f"127.0.0.1:{self._dead_port}," if dead_member else ""
        return f"xds://:{token}@{dead}127.0.0.1:{self.server.port}?timeout=15"

    def secrets(self) -> tuple[str, ...]:
        return GoControlPlane.token, WRONG

    def assign(self, service: str, localities: list[dict[str, Any]]) -> None:
        table = f"{service}-routes"
        self.server.put(
            endpoints(service, *localities),
            cluster(service),
            routes(table, service, route(service)),
            listener(service, table),
        )


backends = (XdsBackend, AdsBackend)
