"""Kubernetes: EndpointSlices as the controller writes them, several for a service.

Kubernetes refuses loopback addresses. So the nodes here have the machine's own address and a port
each, and a slice each, since a slice has one number for a port.
"""

from __future__ import annotations

import itertools
import socket
from typing import TYPE_CHECKING, Any

from tests.conformance.backends.base import Backend
from tests.support.servers.base import Server, free_ports
from tests.support.servers.kubernetes import Kubernetes

if TYPE_CHECKING:
    from pathlib import Path

    from rpcguard._core.nodes.node import Node

WRONG = "wr0ng-t0ken"
FIRST_PORT = 20_000  # below what the system gives to outgoing connections


class KubernetesBackend(Backend):
    """A namespace of a real API server; the backend is kubelet and controller in one."""

    name = "kubernetes"
    server_class = Kubernetes
    push = True
    capabilities = frozenset(
        {
            *("change", "update", "zone", "status", "drain", "crash", "generation", "unknown"),
            *("empty", "outage", "wipe", "auth", "cluster", "bulk"),
        }
    )

    def __init__(self, directory: Path, server: Server | None) -> None:
        super().__init__(directory, server)
        self._dead_port = free_ports(1)[0]
        self._wrong = directory / "wrong"
        self._wrong.write_text(WRONG)
        self._slices: dict[str, dict[str, Any]] = {}
        self._uids = itertools.count(1)
        self._ports = itertools.count(FIRST_PORT)
        self._host = own_address()
        self._client = self.server.client()

    @property
    def server(self) -> Kubernetes:
        assert isinstance(self._server, Kubernetes)
        return self._server

    def address(self) -> tuple[str, int]:
        while True:
            with socket.socket() as sock:
                port = next(self._ports)
                try:
                    sock.bind((self._host, port))
                except OSError:
                    continue  # taken
                return self._host, port

    def node_id(self, host: str, port: int) -> str:
        return f"pod-{port}"

    def url(self, *, dead_member: bool = False, wrong_credentials: bool = False) -> str:
        dead = f"https://127.0.0.1:{self._dead_port}," if dead_member else ""
        token = self._wrong if wrong_credentials else self.server.token_file
        return (
            f"kubernetes://{self.server.namespace}?server={dead}{self.server.url}"
            f"&token={token}&ca={self.server.ca_file}"
        )

    def secrets(self) -> tuple[str, ...]:
        return self.server.token, WRONG

    def register(self, service: str, node: Node) -> None:
        known = self._slices.get(f"{service}-{node.id}")
        uid = known["endpoints"][0]["targetRef"]["uid"] if known else f"uid-{next(self._uids)}"
        endpoint = {
            "addresses": [node.host],
            "zone": node.zone,
            "targetRef": {"kind": "Pod", "name": node.id, "uid": uid},
        }
        self._write(service, node.id, endpoint, node.port)

    def deregister(self, service: str, node_id: str) -> None:
        name = f"{service}-{node_id}"
        del self._slices[name]
        self._client.delete(f"{self._folder}/{name}").raise_for_status()

    def crash(self, service: str, node_id: str) -> None:
        self.set_status(service, node_id, "down")

    def set_status(self, service: str, node_id: str, status: str) -> None:
        up = status == "up"
        self._conditions(service, node_id, ready=up, serving=up, terminating=False)

    def drain(self, service: str, node_id: str) -> None:
        self._conditions(service, node_id, ready=False, serving=True, terminating=True)

    def undrain(self, service: str, node_id: str) -> None:
        self._conditions(service, node_id, ready=True, serving=True, terminating=False)

    def empty(self, service: str) -> None:
        self._write(service, "none", None, 80)

    def wipe_server(self) -> None:
        super().wipe_server()
        self._slices.clear()

    def stop_server(self) -> None:
        super().stop_server()
        self._client.close()
        self._client = self.server.client()

    def close(self) -> None:
        self._client.close()

    @property
    def _folder(self) -> str:
        return f"/apis/discovery.k8s.io/v1/namespaces/{self.server.namespace}/endpointslices"

    def _conditions(self, service: str, node_id: str, **conditions: bool) -> None:
        known = self._slices[f"{service}-{node_id}"]
        endpoint = {**known["endpoints"][0], "conditions": conditions}
        self._write(service, node_id, endpoint, known["ports"][1]["port"])

    def _write(self, service: str, key: str, endpoint: dict[str, Any] | None, port: int) -> None:
        name = f"{service}-{key}"
        document = {
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "ports": [{"name": "metrics", "port": 9}, {"name": "http", "port": port}],
            "endpoints": [endpoint] if endpoint else [],
        }
        if name in self._slices:
            response = self._client.put(f"{self._folder}/{name}", json=document)
        else:
            response = self._client.post(self._folder, json=document)
        assert response.status_code in (200, 201), response.text
        self._slices[name] = document


def own_address() -> str:
    """Give the address of this machine that others would use; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("192.0.2.1", 9))
        address: str = sock.getsockname()[0]
        return address


backends = (KubernetesBackend,)
