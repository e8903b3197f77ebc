"""A fake xDS control plane: EDS over REST, made from the messages' definitions.

It is a fake. That it speaks the protocol is proven by a real Envoy, which takes it as its control
plane (`tests/registries/xds/test_xds.py`).
"""

from __future__ import annotations

import json
import threading
import uuid
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.support.servers.base import Server, free_ports

if TYPE_CHECKING:
    from pathlib import Path

TYPE = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


class ControlPlane(Server):
    """Serve the assignments given to `assign`; 304 while the caller has the version of now.

    `password` is wanted of a caller when set; `requests` are those that came, the last one last.
    """

    name = "xds"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = free_ports(1)[0]
        self.password: str | None = None
        self.requests: list[dict[str, Any]] = []
        self._assignments: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._web: ThreadingHTTPServer | None = None

    @classmethod
    def get(cls) -> None:
        """Do nothing: it is part of the tests."""

    @classmethod
    def available(cls) -> bool:
        return True

    def assign(self, cluster: str, localities: list[dict[str, Any]]) -> None:
        """Set the endpoints of a cluster, as `LocalityLbEndpoints`."""
        with self._lock:
            self._assignments[cluster] = {
                "@type": TYPE,
                "cluster_name": cluster,
                "endpoints": localities,
            }
            self._version += 1

    def start(self) -> None:
        # A restarted control plane counts anew, and must not meet its former versions.
        self._boot, self._version = uuid.uuid4().hex[:8], 1
        control = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                status, body = control.answer(
                    self.path,
                    self.headers.get("Authorization"),
                    self.rfile.read(int(self.headers.get("Content-Length", "0"))),
                )
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Web(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # the caller has gone

        self._web = Web(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._web.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._web is not None:
            self._web.shutdown()
            self._web.server_close()
            self._web = None

    def kill(self) -> None:
        self.stop()

    def wipe(self) -> None:
        self._assignments.clear()

    def answer(self, path: str, authorization: str | None, body: bytes) -> tuple[int, bytes]:
        """Answer one DiscoveryRequest with a status and a DiscoveryResponse."""
        if self._web is None:
            return 503, b""  # a connection that outlived the stop
        if self.password is not None:
            pair = b64encode(f"user:{self.password}".encode()).decode()
            if authorization != f"Basic {pair}":
                return 401, b""
        if path != "/v3/discovery:endpoints":
            return 404, b""
        request = json.loads(body)
        self.requests.append(request)
        if request.get("type_url") != TYPE or not request.get("node", {}).get("id"):
            return 400, b""
        with self._lock:
            version = f"{self._boot}-{self._version}"
            if request.get("version_info") == version:
                return 304, b""
            named = request.get("resource_names", [])
            found = [self._assignments[name] for name in named if name in self._assignments]
        answer = {"version_info": version, "type_url": TYPE, "resources": found}
        return 200, json.dumps(answer).encode()


def lb_endpoint(host: str, port: int, **more: object) -> dict[str, Any]:
    """Give an `LbEndpoint`."""
    place = {"socket_address": {"address": host, "port_value": port}}
    return {"endpoint": {"address": place}, **more}


servers = (ControlPlane,)
