"""Eureka: nodes register by its REST API with a lease, an operator overrides their status."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import httpx

from tests.conformance.backends.base import Backend
from tests.support.servers.base import Server, free_ports
from tests.support.servers.eureka import Eureka

if TYPE_CHECKING:
    from pathlib import Path

    from rpcguard._core.nodes.node import Node

WRONG_PASSWORD = "wr0ng-eureka-passw0rd"
LEASE, SHORT_LEASE = 600, 1


class EurekaBackend(Backend):
    """Each node has a lease that outlives the scenarios, and none renews it."""

    name = "eureka"
    server_class = Eureka
    capabilities = frozenset(
        {
            *("change", "update", "weight", "zone", "version", "metadata", "status", "drain"),
            *("crash", "generation", "empty", "outage", "wipe", "auth", "cluster", "bulk"),
        }
    )

    def __init__(self, directory: Path, server: Server | None) -> None:
        super().__init__(directory, server)
        self._eureka = cast("Eureka", server)
        self._dead_port = free_ports(1)[0]
        self._known: dict[str, dict[str, Any]] = {}
        self._api = httpx.Client(
            base_url=f"http://127.0.0.1:{self._eureka.port}/eureka",
            auth=("user", self._eureka.password),
            headers={"Accept": "application/json"},
            timeout=10.0,
        )

    def url(self, *, dead_member: bool = False, wrong_credentials: bool = False) -> str:
        password = WRONG_PASSWORD if wrong_credentials else self._eureka.password
        dead = f"127.0.0.1:{self._dead_port}," if dead_member else ""
        return f"eureka+http://user:{password}@{dead}127.0.0.1:{self._eureka.port}?interval=0.2"

    def secrets(self) -> tuple[str, ...]:
        return self._eureka.password, WRONG_PASSWORD

    def register(self, service: str, node: Node) -> None:
        self.register_all(service, [node])

    def register_all(self, service: str, nodes: list[Node]) -> None:
        for node in nodes:
            known = self._known.get(node.id, {})
            dirty = known.get("lastDirtyTimestamp") or str(time.time_ns() // 1_000_000)
            self._known[node.id] = _instance(service, node, dirty)
            self._renew(node.id)
        # What clients are shown is as old as the server's cache.
        wanted = {node.id for node in nodes}
        while not wanted <= {one["instanceId"] for one in self.listed(service)}:
            time.sleep(0.05)

    def deregister(self, service: str, node_id: str) -> None:
        del self._known[node_id]
        self._api.delete(f"/apps/{service.upper()}/{node_id}").raise_for_status()

    def crash(self, service: str, node_id: str) -> None:
        self._known[node_id]["leaseInfo"]["durationInSecs"] = SHORT_LEASE
        self._renew(node_id)
        del self._known[node_id]

    def set_status(self, service: str, node_id: str, status: str) -> None:
        self._override(service, node_id, "UP" if status == "up" else "DOWN")

    def drain(self, service: str, node_id: str) -> None:
        self._override(service, node_id, "OUT_OF_SERVICE")

    def undrain(self, service: str, node_id: str) -> None:
        path = f"/apps/{service.upper()}/{node_id}/status"
        self._api.delete(path, params={"value": "UP"}).raise_for_status()

    def empty(self, service: str) -> None:
        super().empty(service)
        while self.listed(service):
            time.sleep(0.05)

    def start_server(self) -> None:
        """Start the server, which has forgotten all nodes, and let them register as they do."""
        super().start_server()
        for node_id in self._known:
            self._renew(node_id)

    def wipe_server(self) -> None:
        self._known.clear()

    def close(self) -> None:
        self._api.close()

    def listed(self, service: str) -> list[dict[str, Any]]:
        """Give the instances of a service as Eureka shows them."""
        answer = self._api.get(f"/apps/{service.upper()}")
        if answer.status_code == 404:
            return []
        return cast("list[dict[str, Any]]", answer.json()["application"]["instance"])

    def _override(self, service: str, node_id: str, status: str) -> None:
        path = f"/apps/{service.upper()}/{node_id}/status"
        self._api.put(path, params={"value": status}).raise_for_status()

    def _renew(self, node_id: str) -> None:
        instance = self._known[node_id]
        self._api.post(f"/apps/{instance['app']}", json={"instance": instance}).raise_for_status()


def _instance(service: str, node: Node, dirty: str) -> dict[str, Any]:
    metadata = {"weight": f"{node.weight:g}", "zone": node.zone, "version": node.version}
    center = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"
    return {
        "instanceId": node.id,
        "hostName": node.host,
        "app": service.upper(),
        "ipAddr": node.host,
        "status": "UP",
        "port": {"$": node.port, "@enabled": "true"},
        "securePort": {"$": 443, "@enabled": "false"},
        "vipAddress": service,
        "dataCenterInfo": {"@class": center, "name": "MyOwn"},
        "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": LEASE},
        "metadata": {**metadata, **node.metadata},
        "lastDirtyTimestamp": dirty,
    }


backends = (EurekaBackend,)
