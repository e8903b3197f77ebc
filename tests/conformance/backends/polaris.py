"""Polaris: nodes register by the client API, an operator isolates by the console's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import httpx

from tests.conformance.backends.base import Backend
from tests.support.servers.base import Server, free_ports
from tests.support.servers.polaris import Polaris

if TYPE_CHECKING:
    from pathlib import Path

    from rpcguard._core.nodes.node import Node

WRONG_TOKEN = "wr0ng-p0laris-t0ken"
BATCH = 100


class PolarisBackend(Backend):
    """Nodes are healthy as registered; a short heartbeat makes one that has crashed unhealthy."""

    name = "polaris"
    server_class = Polaris
    capabilities = frozenset(
        {
            *("change", "update", "weight", "zone", "version", "metadata", "status", "drain"),
            *("crash", "generation", "unknown", "empty", "outage", "wipe", "auth", "cluster"),
            "bulk",
        }
    )

    # Of 1,000 nodes, and on a busy machine, Polaris itself goes on listing one that has left.
    bulk_nodes = 499

    def __init__(self, directory: Path, server: Server | None) -> None:
        super().__init__(directory, server)
        self._polaris = cast("Polaris", server)
        self._dead_port = free_ports(1)[0]
        self._api = httpx.Client(
            base_url=f"http://127.0.0.1:{self._polaris.port}",
            headers={"X-Polaris-Token": self._polaris.token},
            timeout=10.0,
        )
        self._known: dict[str, dict[str, Any]] = {}

    def node_id(self, host: str, port: int) -> str:
        return f"{host}:{port}"

    def url(self, *, dead_member: bool = False, wrong_credentials: bool = False) -> str:
        token = WRONG_TOKEN if wrong_credentials else quote(self._polaris.token, safe="")
        dead = f"127.0.0.1:{self._dead_port}," if dead_member else ""
        return f"polaris://:{token}@{dead}127.0.0.1:{self._polaris.port}?interval=0.2"

    def secrets(self) -> tuple[str, ...]:
        token = self._polaris.token
        return token, quote(token, safe=""), WRONG_TOKEN

    def register(self, service: str, node: Node) -> None:
        self.register_all(service, [node])

    def register_all(self, service: str, nodes: list[Node]) -> None:
        fresh = []
        for node in nodes:
            known = self._known.get(node.id)
            self._known[node.id] = self.instance(service, node)
            if known is not None:
                self._change(node.id)
            else:
                fresh.append(self._known[node.id])
        for first in range(0, len(fresh), BATCH):
            self._ask("POST", "/naming/v1/instances", fresh[first : first + BATCH])
        # What clients are shown is up to a second old.
        while not self.listed(service).issuperset(instance["id"] for instance in fresh):
            time.sleep(0.05)

    def deregister(self, service: str, node_id: str) -> None:
        del self._known[node_id]
        self._ask("POST", "/v1/DeregisterInstance", {"id": node_id})
        # The time of a registration is kept in full seconds: the next one is to be a later one.
        time.sleep(1.0)

    def crash(self, service: str, node_id: str) -> None:
        heartbeat = {"type": "HEARTBEAT", "heartbeat": {"ttl": 1}}
        self._change(node_id, enable_health_check=True, health_check=heartbeat)

    def set_status(self, service: str, node_id: str, status: str) -> None:
        self._change(node_id, healthy=status == "up")

    def drain(self, service: str, node_id: str) -> None:
        self._change(node_id, isolate=True)

    def undrain(self, service: str, node_id: str) -> None:
        self._change(node_id, isolate=False)

    def empty(self, service: str) -> None:
        self._ask("POST", "/naming/v1/services", [{"name": service, "namespace": "default"}])

    def wipe_server(self) -> None:
        super().wipe_server()
        self._known.clear()

    def close(self) -> None:
        self._api.close()

    def instance(self, service: str, node: Node) -> dict[str, Any]:
        """Give what the console's API takes for a node."""
        return {
            "id": node.id,
            "service": service,
            "namespace": "default",
            "host": node.host,
            "port": node.port,
            "weight": round(node.weight * 100),
            "version": node.version,
            "location": {"zone": node.zone},
            "metadata": dict(node.metadata),
            "healthy": True,
            "isolate": False,
        }

    def _change(self, node_id: str, **fields: object) -> None:
        # What is not repeated is emptied.
        self._known[node_id].update(fields)
        self._ask("PUT", "/naming/v1/instances", [self._known[node_id]])

    def listed(self, service: str) -> set[str]:
        """Give the ids of the nodes that clients are shown now."""
        about = {"namespace": "default", "name": service}
        answer = self._api.post("/v1/Discover", json={"type": "INSTANCE", "service": about})
        return {instance["id"] for instance in answer.json()["instances"]}

    def _ask(self, method: str, path: str, content: object) -> None:
        answer = self._api.request(method, path, json=content).raise_for_status()
        code = answer.json()["code"]
        assert code in (200000, 200001), answer.text


class NacosV1Backend(PolarisBackend):
    """Read the same lists as Nacos clients do: Polaris speaks v1 of that, and no v3."""

    name = "nacos-v1"
    capabilities = PolarisBackend.capabilities - {"generation", "unknown", "auth"}

    def node_id(self, host: str, port: int) -> str:
        return f"{host}#{port}#DEFAULT"

    def url(self, *, dead_member: bool = False, wrong_credentials: bool = False) -> str:
        dead = f"127.0.0.1:{self._dead_port}," if dead_member else ""
        return f"nacos://{dead}127.0.0.1:{self._polaris.nacos_port}?interval=0.2"

    def instance(self, service: str, node: Node) -> dict[str, Any]:
        return {**super().instance(service, node), "weight": round(node.weight)}

    def listed(self, service: str) -> set[str]:
        url = f"http://127.0.0.1:{self._polaris.nacos_port}/nacos/v1/ns/instance/list"
        hosts = httpx.get(url, params={"serviceName": service}).json().get("hosts") or []
        return {self.node_id(host["ip"], host["port"]) for host in hosts}

    def drain(self, service: str, node_id: str) -> None:
        self._change(node_id, weight=0)

    def undrain(self, service: str, node_id: str) -> None:
        self._change(node_id, weight=2)


backends = (PolarisBackend, NacosV1Backend)
