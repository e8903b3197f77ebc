"""The registries without a server product: `static://`, `file://`, `http://`."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from rpcguard._core.nodes.node import Node
from tests.conformance.backends.base import Backend
from tests.support.servers.base import Server, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class StaticBackend(Backend):
    """A list in the URL: what it holds when the caller starts is all there ever is."""

    name = "static"
    capabilities = frozenset({"unknown", "bulk", "weight", "zone"})

    def __init__(self, directory: Path, server: Server | None) -> None:
        super().__init__(directory, server)
        self._services: dict[str, list[Node]] = {}

    def url(self, *, dead_member: bool = False, wrong_credentials: bool = False) -> str:
        services = self._services or {"other": [Node("127.0.0.1", 9)]}
        lists = (f"{name}={_listed(n.address for n in nodes)}" for name, nodes in services.items())
        nodes = [node for nodes in services.values() for node in nodes]
        weights, zones = (
            _listed(f"{n.weight:g}" for n in nodes),
            _listed(n.zone or "" for n in nodes),
        )
        return f"static:///{';'.join(lists)}?weight={weights}&zone={zones}"

    def register(self, service: str, node: Node) -> None:
        self._services.setdefault(service, []).append(node)


class DocumentBackend(Backend):
    """Registries that serve one JSON document."""

    capabilities = frozenset(
        [
            "change",
            "update",
            "weight",
            "zone",
            "version",
            "metadata",
            "status",
            "drain",
            "generation",
            "unknown",
            "empty",
            "outage",
            "wipe",
            "bulk",
        ]
    )

    def __init__(self, directory: Path, server: Server | None) -> None:
        super().__init__(directory, server)
        self.services: dict[str, dict[str, dict[str, Any]]] = {}
        self._generation = 0

    def publish(self) -> None:
        """Bring the document to where the adapter reads it."""

    def document(self) -> bytes:
        lists = {name: list(nodes.values()) for name, nodes in self.services.items()}
        return json.dumps({"services": lists}).encode()

    def register(self, service: str, node: Node) -> None:
        self.register_all(service, [node])

    def register_all(self, service: str, nodes: list[Node]) -> None:
        listed = self.services.setdefault(service, {})
        for node in nodes:
            self._generation += 1
            known = listed.get(node.id, {})
            fields = {name: getattr(node, name) for name in Node.__slots__ if name != "metadata"}
            fields["generation"] = known.get("generation", self._generation)
            listed[node.id] = {**fields, "metadata": dict(node.metadata)}
        self.publish()

    def deregister(self, service: str, node_id: str) -> None:
        del self.services[service][node_id]
        self.publish()

    def set_status(self, service: str, node_id: str, status: str) -> None:
        self.services[service][node_id]["status"] = status
        self.publish()

    def drain(self, service: str, node_id: str) -> None:
        self.set_status(service, node_id, "draining")

    def undrain(self, service: str, node_id: str) -> None:
        self.set_status(service, node_id, "up")

    def empty(self, service: str) -> None:
        self.services[service] = {}
        self.publish()

    def wipe_server(self) -> None:
        self.services.clear()


class FileBackend(DocumentBackend):
    """A file, replaced by a rename; an outage is a file that is not there."""

    name = "file"

    def __init__(self, directory: Path, server: Server | None) -> None:
        super().__init__(directory, server)
        self._path = directory / "services.json"
        self.publish()

    def publish(self) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(self.document())
        fresh.rename(self._path)

    def url(self, *, dead_member: bool = False, wrong_credentials: bool = False) -> str:
        return f"file://{self._path}?interval=0.05"

    def stop_server(self) -> None:
        self._path.unlink()

    def start_server(self) -> None:
        self.publish()


class HttpBackend(DocumentBackend):
    """A web server that asks for a password."""

    name = "http"
    capabilities = DocumentBackend.capabilities | {"auth", "cluster"}

    def __init__(self, directory: Path, server: Server | None) -> None:
        super().__init__(directory, server)
        self._web_port, self._dead_port = free_ports(2)
        self.start_server()

    def url(self, *, dead_member: bool = False, wrong_credentials: bool = False) -> str:
        password = "wr0ng-passw0rd" if wrong_credentials else "r1ght-passw0rd"
        dead = f"127.0.0.1:{self._dead_port}," if dead_member else ""
        return f"http://user:{password}@{dead}127.0.0.1:{self._web_port}/services.json"

    def secrets(self) -> tuple[str, ...]:
        return "r1ght-passw0rd", "wr0ng-passw0rd"

    def start_server(self) -> None:
        backend = self
        wanted = f"Basic {b64encode(b'user:r1ght-passw0rd').decode()}"

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                allowed = self.headers["Authorization"] == wanted
                body = backend.document() if allowed else b""
                self.send_response(200 if allowed else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._web = ThreadingHTTPServer(("127.0.0.1", self._web_port), Handler)
        threading.Thread(target=self._web.serve_forever, args=(0.01,), daemon=True).start()

    def stop_server(self) -> None:
        self._web.shutdown()
        self._web.server_close()

    def close(self) -> None:
        self.stop_server()


def _listed(texts: Iterable[str]) -> str:
    return ",".join(texts)


backends = (StaticBackend, FileBackend, HttpBackend)
