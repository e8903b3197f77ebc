"""ZooKeeper: ephemeral znodes as Curator, Dubbo 3 and Dubbo 2 write them."""

from __future__ import annotations

import json
import logging
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.security import make_digest_acl

from tests.conformance.backends.base import Backend
from tests.support.servers.base import Server, free_ports
from tests.support.servers.zookeeper import ZooKeeper

if TYPE_CHECKING:
    from pathlib import Path

    from rpcguard._core.nodes.node import Node

USER, PASSWORD, WRONG = "rpcguard", "r1ght-passw0rd", "wr0ng-passw0rd"
ALONE = 20  # up to so many nodes have a session each

_silent = logging.getLogger("tests.zookeeper")
_silent.setLevel(logging.CRITICAL)


class ZooKeeperBackend(Backend):
    """Curator's layout, below a chroot, readable with a password only."""

    name = "zookeeper"
    server_class = ZooKeeper
    push = True
    layout = "curator"
    root = "/rpcguard/services"
    capabilities = frozenset(
        {
            *("change", "update", "weight", "zone", "version", "metadata", "status", "drain"),
            *("crash", "generation", "unknown", "empty", "outage", "wipe", "auth", "cluster"),
            "bulk",
        }
    )

    def __init__(self, directory: Path, server: Server | None) -> None:
        super().__init__(directory, server)
        self._dead_port = free_ports(1)[0]
        self._operator = self._client()
        self._sessions: dict[tuple[str, str], KazooClient] = {}
        self._nodes: dict[tuple[str, str], Node] = {}

    @property
    def server(self) -> ZooKeeper:
        assert isinstance(self._server, ZooKeeper)
        return self._server

    def url(self, *, dead_member: bool = False, wrong_credentials: bool = False) -> str:
        dead = f"127.0.0.1:{self._dead_port}," if dead_member else ""
        password = WRONG if wrong_credentials else PASSWORD
        return (
            f"zookeeper://{USER}:{password}@{dead}127.0.0.1:{self.server.port}{self.root}"
            f"?layout={self.layout}"
        )

    def secrets(self) -> tuple[str, ...]:
        return PASSWORD, WRONG

    def register(self, service: str, node: Node) -> None:
        key = service, node.id
        if key not in self._sessions:
            self._sessions[key] = self._client()
        self._write(self._sessions[key], service, node)

    def register_all(self, service: str, nodes: list[Node]) -> None:
        if len(nodes) <= ALONE:
            super().register_all(service, nodes)
            return
        for node in nodes:
            self._sessions[service, node.id] = self._operator
        self.empty(service)
        made = [
            self._operator.create_async(
                self._path(service, node), self._data(service, node), ephemeral=True
            )
            for node in nodes
        ]
        for result in made:
            result.get(timeout=20)
        self._nodes.update(((service, node.id), node) for node in nodes)

    def deregister(self, service: str, node_id: str) -> None:
        client = self._sessions.pop((service, node_id))
        if client is self._operator:
            client.delete(self._path(service, self._nodes[service, node_id]))
        else:
            _close(client)  # the session's own end

    def crash(self, service: str, node_id: str) -> None:
        client = self._sessions.pop((service, node_id))
        client._stopped.set()  # so that it does not come back, and never says goodbye
        client._connection._socket.shutdown(socket.SHUT_RDWR)
        client._connection.connection_stopped.wait(10.0)
        client.handler.stop()
        client.close()

    def set_status(self, service: str, node_id: str, status: str) -> None:
        self._say(service, node_id, {"instance_status": status.upper()})

    def drain(self, service: str, node_id: str) -> None:
        self._say(service, node_id, {"instance_status": "OUT_OF_SERVICE"})

    def undrain(self, service: str, node_id: str) -> None:
        self._say(service, node_id, {"instance_status": "UP"})

    def empty(self, service: str) -> None:
        self._operator.ensure_path(f"{self.root}/{service}")

    def wipe_server(self) -> None:
        super().wipe_server()
        for client in self._sessions.values():
            if client is not self._operator:
                _close(client)
        self._sessions.clear()
        _close(self._operator)

    def start_server(self) -> None:
        super().start_server()
        if not self._operator.connected and not self._operator.handler.running:
            self._operator = self._client()
        self._operator.retry(self._operator.exists, "/")

    def close(self) -> None:
        for client in {self._operator, *self._sessions.values()}:
            _close(client)

    def _client(self) -> KazooClient:
        client = KazooClient(
            f"127.0.0.1:{self.server.port}",
            timeout=5.0,
            default_acl=[make_digest_acl(USER, PASSWORD, all=True)],
            auth_data=[("digest", f"{USER}:{PASSWORD}")],
            connection_retry={"max_tries": -1, "delay": 0.05, "max_delay": 0.3},
            command_retry={"max_tries": -1, "delay": 0.05, "max_delay": 0.3, "deadline": 10.0},
            logger=_silent,
        )
        client.start(timeout=10.0)
        return client

    def _write(self, client: KazooClient, service: str, node: Node) -> None:
        path, data = self._path(service, node), self._data(service, node)
        try:
            client.retry(client.set, path, data)
        except NoNodeError:
            client.retry(client.create, path, data, ephemeral=True, makepath=True)
        self._nodes[service, node.id] = node

    def _say(self, service: str, node_id: str, metadata: dict[str, str]) -> None:
        node = self._nodes[service, node_id]
        data = self._data(service, node, metadata)
        self._operator.set(self._path(service, node), data)

    def _path(self, service: str, node: Node) -> str:
        return f"{self.root}/{service}/{node.id}"

    def _data(self, service: str, node: Node, more: dict[str, str] | None = None) -> bytes:
        metadata = {
            "weight": f"{node.weight:g}",
            "zone": node.zone,
            "version": node.version,
            "instance_status": "UP",
            **node.metadata,
            **(more or {}),
        }
        document: dict[str, Any] = {
            "name": service,
            "id": node.id,
            "address": node.host,
            "port": node.port,
            "sslPort": None,
            "payload": {"id": node.id, "name": service, "metadata": metadata},
            "registrationTimeUTC": 1795288399961,
            "serviceType": "DYNAMIC",
            "enabled": True,
        }
        return json.dumps(document).encode()


class DubboApplicationBackend(ZooKeeperBackend):
    """Dubbo 3: the port is in the metadata, beside one that does not speak HTTP."""

    name = "zookeeper-dubbo-app"
    layout = "dubbo-app"

    def _data(self, service: str, node: Node, more: dict[str, str] | None = None) -> bytes:
        endpoints = [
            {"port": 9, "protocol": "dubbo"},
            {"port": node.port, "protocol": "tri"},
        ]
        metadata = {"dubbo.endpoints": json.dumps(endpoints), "timestamp": "1795288399961"}
        data = json.loads(super()._data(service, node, {**metadata, **(more or {})}))
        return json.dumps({**data, "port": 9}).encode()


class DubboInterfaceBackend(ZooKeeperBackend):
    """Dubbo 2: a provider is a URL in the name of a znode; operators write configurators."""

    name = "zookeeper-dubbo"
    layout = "dubbo"
    root = "/rpcguard/dubbo"
    capabilities = ZooKeeperBackend.capabilities - {"status"}

    def __init__(self, directory: Path, server: Server | None) -> None:
        super().__init__(directory, server)
        self._registered: dict[tuple[str, str], int] = {}

    def deregister(self, service: str, node_id: str) -> None:
        super().deregister(service, node_id)
        del self._registered[service, node_id]

    def empty(self, service: str) -> None:
        self._operator.ensure_path(f"{self.root}/{service}/providers")

    def drain(self, service: str, node_id: str) -> None:
        self._operator.ensure_path(f"{self.root}/{service}/configurators")
        self._operator.create(self._override(service, node_id))

    def undrain(self, service: str, node_id: str) -> None:
        self._operator.delete(self._override(service, node_id))

    def _override(self, service: str, node_id: str) -> str:
        url = f"override://{node_id}/{service}?category=configurators&disabled=true&enabled=true"
        return f"{self.root}/{service}/configurators/{quote(url, safe='')}"

    def _write(self, client: KazooClient, service: str, node: Node) -> None:
        key = service, node.id
        old = self._nodes.get(key)
        path = self._path(service, node)
        if old is not None and key in self._registered and client.exists(self._path(service, old)):
            both = client.transaction()
            both.delete(self._path(service, old))
            both.create(path, ephemeral=True)
            assert not [result for result in both.commit() if isinstance(result, Exception)]
        else:
            client.retry(client.create, path, ephemeral=True, makepath=True)
        self._nodes[key] = node

    def _path(self, service: str, node: Node) -> str:
        timestamp = self._registered.setdefault((service, node.id), time.time_ns() // 1_000_000)
        params = {
            "side": "provider",
            "timestamp": timestamp,
            "weight": f"{node.weight * 100:.0f}",
            "zone": node.zone,
            "version": node.version,
            **node.metadata,
        }
        url = f"tri://{node.address}/{service}?{urlencode(params)}"
        return f"{self.root}/{service}/providers/{quote(url, safe='')}"

    def _data(self, service: str, node: Node, more: dict[str, str] | None = None) -> bytes:
        return b""


def _close(client: KazooClient) -> None:
    client.stop()
    client.close()


backends = (ZooKeeperBackend, DubboApplicationBackend, DubboInterfaceBackend)
