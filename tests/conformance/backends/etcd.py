"""etcd: keys of each layout, written through the JSON gateway; access control is on."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

import httpx

from tests.conformance.backends.base import Backend
from tests.support.servers.base import Server, free_ports
from tests.support.servers.etcd import Etcd, NewerEtcd

if TYPE_CHECKING:
    from pathlib import Path

    from rpcguard._core.nodes.node import Node

ROOT_PASSWORD, PASSWORD, WRONG_PASSWORD = "r00t-passw0rd", "re4der-passw0rd", "wr0ng-passw0rd"
CHUNK = 100
ALL_KEYS = "AA=="
LAYOUT = frozenset({"change", "update", "crash", "generation", "empty"})
SERVER = frozenset({"outage", "wipe", "auth", "cluster", "bulk"})
DESCRIBED = frozenset({"weight", "zone", "version", "metadata"})


class EtcdBackend(Backend):
    """Reads as a user who may only read; a crash is a lease that nobody keeps alive."""

    server_class: ClassVar[type[Etcd]] = Etcd
    push = True
    layout: ClassVar[str]
    prefix: ClassVar[str]

    def __init__(self, directory: Path, server: Server | None) -> None:
        super().__init__(directory, server)
        self._etcd = cast("Etcd", server)
        self._dead_port = free_ports(1)[0]
        self._client = httpx.Client(
            base_url=f"http://{self._etcd.address}/v3/",
            timeout=10.0,
            limits=httpx.Limits(max_keepalive_connections=0),  # the server comes and goes
        )
        self._nodes: dict[tuple[str, str], Node] = {}
        self._set_up_access()

    def url(self, *, dead_member: bool = False, wrong_credentials: bool = False) -> str:
        password = WRONG_PASSWORD if wrong_credentials else PASSWORD
        dead = f"127.0.0.1:{self._dead_port}," if dead_member else ""
        members = f"{dead}{self._etcd.address}"
        return f"etcd://reader:{password}@{members}{self.prefix}?layout={self.layout}"

    def secrets(self) -> tuple[str, ...]:
        return PASSWORD, WRONG_PASSWORD

    def value(self, service: str, node: Node) -> str:
        raise NotImplementedError

    def register(self, service: str, node: Node) -> None:
        self.register_all(service, [node])

    def register_all(self, service: str, nodes: list[Node]) -> None:
        for start in range(0, len(nodes), CHUNK):
            chunk = nodes[start : start + CHUNK]
            puts = [{"request_put": self._put(service, node)} for node in chunk]
            self._call("kv/txn", {"success": puts})

    def deregister(self, service: str, node_id: str) -> None:
        self._call("kv/deleterange", {"key": self._key(service, node_id)})

    def crash(self, service: str, node_id: str) -> None:
        put = self._put(service, self._nodes[service, node_id])
        for seconds in (1, 10, 100):  # a short lease may be over before it is used
            lease = self._call("lease/grant", {"TTL": str(seconds)})["ID"]
            answer = self._post("kv/put", {**put, "lease": lease})
            if "lease not found" not in answer.text:
                break
        assert answer.status_code == 200, answer.text

    def set_status(self, service: str, node_id: str, status: str) -> None:
        node = self._nodes[service, node_id]
        self.register(service, replace(node, status=status))  # type: ignore[arg-type]

    def drain(self, service: str, node_id: str) -> None:
        self.set_status(service, node_id, "draining")

    def undrain(self, service: str, node_id: str) -> None:
        self.set_status(service, node_id, "up")

    def start_server(self) -> None:
        super().start_server()
        self._set_up_access()

    def close(self) -> None:
        self._client.close()

    def _key(self, service: str, node_id: str) -> str:
        begin = f"{self.prefix}/{service}" if self.prefix else service
        return _base64(f"{begin}/{node_id}")

    def _put(self, service: str, node: Node) -> dict[str, str]:
        self._nodes[service, node.id] = node
        return {
            "key": self._key(service, node.id),
            "value": _base64(self.value(service, node)),
        }

    def _set_up_access(self) -> None:
        self._token = ""
        credentials = {"name": "root", "password": ROOT_PASSWORD}
        answer = self._post("auth/authenticate", credentials)
        if answer.status_code != 200:
            permission = {"permType": "READ", "key": ALL_KEYS, "range_end": ALL_KEYS}
            self._call("auth/user/add", credentials)
            self._call("auth/role/add", {"name": "root"})
            self._call("auth/user/grant", {"user": "root", "role": "root"})
            self._call("auth/user/add", {"name": "reader", "password": PASSWORD})
            self._call("auth/role/add", {"name": "reader"})
            self._call("auth/role/grant", {"name": "reader", "perm": permission})
            self._call("auth/user/grant", {"user": "reader", "role": "reader"})
            self._call("auth/enable", {})
            answer = self._post("auth/authenticate", credentials)
        self._token = answer.raise_for_status().json()["token"]

    def _call(self, path: str, request: object) -> dict[str, str]:
        answer = self._post(path, request)
        assert answer.status_code == 200, answer.text
        return cast("dict[str, str]", answer.json())

    def _post(self, path: str, request: object) -> httpx.Response:
        headers = {"Authorization": self._token} if self._token else {}
        return self._client.post(path, json=request, headers=headers)


class RawBackend(EtcdBackend):
    """Values are our own JSON; on the newer etcd."""

    name = "etcd-raw"
    server_class = NewerEtcd
    capabilities = LAYOUT | SERVER | DESCRIBED | {"status", "drain"}
    layout, prefix = "raw", "/services"

    def value(self, service: str, node: Node) -> str:
        fields = ("host", "port", "weight", "zone", "version", "status")
        return json.dumps(
            {**{name: getattr(node, name) for name in fields}, "metadata": dict(node.metadata)}
        )


class KratosBackend(EtcdBackend):
    """Values as Kratos writes them; on etcd 3.4."""

    name = "etcd-kratos"
    capabilities = LAYOUT | SERVER | DESCRIBED
    layout, prefix = "kratos", "/microservices"

    def value(self, service: str, node: Node) -> str:
        described = {"weight": str(int(node.weight * 100)), "zone": node.zone or ""}
        return json.dumps(
            {
                "id": node.id,
                "name": service,
                "version": node.version,
                "metadata": {**node.metadata, **described},
                "endpoints": ["grpc://127.0.0.1:9", f"http://{node.address}?isSecure=false"],
            }
        )


class GoZeroBackend(EtcdBackend):
    """Values are addresses."""

    name = "etcd-gozero"
    capabilities = LAYOUT - {"update"}
    layout, prefix = "gozero", ""

    def value(self, service: str, node: Node) -> str:
        return node.address


class GrpcBackend(EtcdBackend):
    """Values as gRPC's endpoint manager writes them."""

    name = "etcd-grpc"
    capabilities = LAYOUT | DESCRIBED
    layout, prefix = "grpc", "/targets"

    def value(self, service: str, node: Node) -> str:
        described = {"weight": node.weight, "zone": node.zone, "version": node.version}
        metadata = {**node.metadata, **described}
        return json.dumps({"Op": 0, "Addr": node.address, "Metadata": metadata})


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


backends = (RawBackend, KratosBackend, GoZeroBackend, GrpcBackend)
