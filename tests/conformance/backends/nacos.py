"""Nacos 3 by its v3 API, and Polaris as a Nacos that has v1 only."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, cast

import httpx

from tests.conformance.backends.base import Backend
from tests.support.servers.base import Server, free_ports
from tests.support.servers.nacos import Nacos

if TYPE_CHECKING:
    from pathlib import Path

    from rpcguard._core.nodes.node import Node

WRONG_PASSWORD = "wr0ng-nacos-passw0rd"
NEVER, SOON = 3_600_000, 500
CLUSTER = "blue"  # any but DEFAULT, which v3 shows without being asked


class NacosBackend(Backend):
    """Nodes tell Nacos by metadata how long it may miss their heartbeats: an hour or no time."""

    name = "nacos"
    server_class = Nacos
    push = True
    capabilities = frozenset(
        {
            *("change", "update", "weight", "zone", "version", "metadata", "status", "drain"),
            *("crash", "generation", "empty", "outage", "wipe", "auth", "cluster", "bulk"),
            "hide",
        }
    )

    def __init__(self, directory: Path, server: Server | None) -> None:
        super().__init__(directory, server)
        self._nacos = cast("Nacos", server)
        self._dead_port = free_ports(1)[0]
        self._known: dict[str, dict[str, Any]] = {}
        self._api = httpx.Client(
            base_url=f"http://127.0.0.1:{self._nacos.port}/nacos/v3", timeout=10.0
        )

    def node_id(self, host: str, port: int) -> str:
        return f"{host}#{port}#{CLUSTER}"

    def url(self, *, dead_member: bool = False, wrong_credentials: bool = False) -> str:
        password = WRONG_PASSWORD if wrong_credentials else self._nacos.password
        dead = f"127.0.0.1:{self._dead_port}," if dead_member else ""
        return f"nacos://nacos:{password}@{dead}127.0.0.1:{self._nacos.port}?interval=60"

    def secrets(self) -> tuple[str, ...]:
        return self._nacos.password, WRONG_PASSWORD, self._nacos.token

    def register(self, service: str, node: Node) -> None:
        self.register_all(service, [node])

    def register_all(self, service: str, nodes: list[Node]) -> None:
        for node in nodes:
            known = self._known.get(node.id)
            started = known["metadata"]["started_at"] if known else f"{time.time():.3f}"
            self._known[node.id] = _instance(service, node, started)
            self._renew(node.id)
        while not self._listed(service).issuperset(node.address for node in nodes):
            time.sleep(0.05)

    def deregister(self, service: str, node_id: str) -> None:
        instance = self._known.pop(node_id)
        self._ask("DELETE", "/client/ns/instance", instance)

    def crash(self, service: str, node_id: str) -> None:
        self._beat_within(node_id, SOON, "preserved.ip.delete.timeout")
        self._beat_within(node_id, SOON)
        del self._known[node_id]

    def set_status(self, service: str, node_id: str, status: str) -> None:
        self._beat_within(node_id, NEVER if status == "up" else SOON)

    def drain(self, service: str, node_id: str) -> None:
        self._operate(node_id, weight=0)

    def undrain(self, service: str, node_id: str) -> None:
        self._operate(node_id, weight=self._known[node_id]["weight"])

    def hide(self, service: str, node_id: str) -> None:
        self._operate(node_id, enabled="false")

    def show(self, service: str, node_id: str) -> None:
        self._operate(node_id)

    def empty(self, service: str) -> None:
        super().empty(service)
        while self._listed(service):
            time.sleep(0.05)

    def start_server(self) -> None:
        """Start the server, which has forgotten all nodes, and let them register as they do."""
        super().start_server()
        for node_id in self._known:
            self._renew(node_id)

    def wipe_server(self) -> None:
        super().wipe_server()
        self._known.clear()

    def close(self) -> None:
        self._api.close()

    def _beat_within(
        self, node_id: str, milliseconds: int, key: str = "preserved.heart.beat.timeout"
    ) -> None:
        self._known[node_id]["metadata"][key] = milliseconds
        self._renew(node_id)

    def _renew(self, node_id: str) -> None:
        self._ask("POST", "/client/ns/instance", self._known[node_id])

    def _operate(self, node_id: str, **fields: object) -> None:
        instance = {**self._known[node_id], "enabled": "true", **fields}
        self._ask("PUT", "/admin/ns/instance", instance)

    def _listed(self, service: str) -> set[str]:
        answer = self._ask(
            "GET", "/client/ns/instance/list", {"serviceName": service, "clusterName": CLUSTER}
        )
        return {f"{node['ip']}:{node['port']}" for node in answer["data"]}

    def _ask(self, method: str, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        metadata = fields.get("metadata")
        query = {**fields, "metadata": json.dumps(metadata)} if metadata else fields
        headers = {"Authorization": f"Bearer {self._nacos.token}"}
        answer = self._api.request(method, path, params=query, headers=headers)
        document: dict[str, Any] = answer.raise_for_status().json()
        assert document["code"] == 0, answer.text
        return document


def _instance(service: str, node: Node, started: str) -> dict[str, Any]:
    patience = {
        "preserved.heart.beat.interval": SOON - 1,
        "preserved.heart.beat.timeout": NEVER,
        "preserved.ip.delete.timeout": NEVER,
    }
    described = {"zone": node.zone, "version": node.version, "started_at": started}
    return {
        "serviceName": service,
        "ip": node.host,
        "port": node.port,
        "clusterName": CLUSTER,
        "weight": node.weight,
        "ephemeral": "true",
        "metadata": {**described, **patience, **node.metadata},
    }


backends = (NacosBackend,)
