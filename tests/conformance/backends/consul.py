"""Consul: the agent's own API registers nodes; a check each, maintenance mode to drain."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

import httpx

from tests.conformance.backends.base import Backend
from tests.support.servers.base import Server, free_ports
from tests.support.servers.consul import Consul, ConsulAgent, NewerConsul

if TYPE_CHECKING:
    from pathlib import Path

    from rpcguard._core.nodes.node import Node

WRONG_TOKEN = "deadbeef-0000-4000-8000-0000000bad00"
TTL = "600s"


class ConsulBackend(Backend):
    """Each service has a check of its own, which its node must renew or an operator sets."""

    name = "consul"
    server_class: ClassVar[type[ConsulAgent]] = Consul
    push = True
    capabilities = frozenset(
        {
            *("change", "update", "weight", "zone", "version", "metadata", "status", "drain"),
            *("crash", "generation", "empty", "outage", "wipe", "auth", "cluster", "bulk"),
        }
    )

    def __init__(self, directory: Path, server: Server | None) -> None:
        super().__init__(directory, server)
        self._consul = cast("ConsulAgent", server)
        self._dead_port = free_ports(1)[0]
        self._agent = httpx.Client(
            base_url=f"http://127.0.0.1:{self._consul.port}/v1/agent",
            headers={"X-Consul-Token": self._consul.token},
            timeout=10.0,
            limits=httpx.Limits(max_keepalive_connections=0),  # the server comes and goes
        )

    def node_id(self, host: str, port: int) -> str:
        return f"test/{host}:{port}"

    def url(self, *, dead_member: bool = False, wrong_credentials: bool = False) -> str:
        token = WRONG_TOKEN if wrong_credentials else self._consul.token
        dead = f"127.0.0.1:{self._dead_port}," if dead_member else ""
        return f"consul://:{token}@{dead}127.0.0.1:{self._consul.port}"

    def secrets(self) -> tuple[str, ...]:
        return self._consul.token, WRONG_TOKEN

    def register(self, service: str, node: Node) -> None:
        weight = int(node.weight)
        registration = {
            "ID": _service_id(node.id),
            "Name": service,
            "Address": node.host,
            "Port": node.port,
            "Weights": {"Passing": weight, "Warning": weight},
            "Meta": {**node.metadata, "zone": node.zone or "", "version": node.version or ""},
            "Check": {"CheckID": _check(node.id), "TTL": TTL, "Status": "passing"},
        }
        self._put("/service/register", json=registration)
        self._put(f"/check/pass/{_check(node.id)}")  # as a node does; survives a restart

    def deregister(self, service: str, node_id: str) -> None:
        self._put(f"/service/deregister/{_service_id(node_id)}")

    def crash(self, service: str, node_id: str) -> None:
        check = {"Name": "alive", "ID": _check(node_id), "ServiceID": _service_id(node_id)}
        self._put("/check/register", json={**check, "TTL": "1s", "Status": "passing"})

    def set_status(self, service: str, node_id: str, status: str) -> None:
        self._put(f"/check/{'pass' if status == 'up' else 'fail'}/{_check(node_id)}")

    def drain(self, service: str, node_id: str) -> None:
        self._put(f"/service/maintenance/{_service_id(node_id)}", params={"enable": "true"})

    def undrain(self, service: str, node_id: str) -> None:
        self._put(f"/service/maintenance/{_service_id(node_id)}", params={"enable": "false"})

    def close(self) -> None:
        self._agent.close()

    def _put(self, path: str, **options: object) -> None:
        self._agent.put(path, **options).raise_for_status()  # type: ignore[arg-type]


def _service_id(node_id: str) -> str:
    return node_id.removeprefix("test/")


def _check(node_id: str) -> str:
    return f"alive:{_service_id(node_id)}"


class NewerConsulBackend(ConsulBackend):
    """The same, where the agent streams changes from its servers."""

    name = "consul-newer"
    server_class = NewerConsul


backends = (ConsulBackend, NewerConsulBackend)
