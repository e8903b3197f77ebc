"""Real servers that speak HTTP/2 in front of a provider: each is one node of a service."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.servers.base import Server, accepts, free_ports
from tests.support.servers.envoy import Envoy

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOT = Path(__file__).parents[3]


class EnvoyNode(Server):
    """Forward HTTP/2 without TLS to the provider on a port.

    `drain_timeout` is the time between both GOAWAYs of a connection, `drain_time` that from the
    word to leave to the end of the listener, both in seconds; `streams` the limit per connection.
    """

    name = "envoy"

    def __init__(
        self,
        directory: Path,
        provider: int,
        *,
        streams: int = 100,
        drain_timeout: float = 0.5,
        drain_time: int = 2,
    ) -> None:
        super().__init__(directory)
        self.port, self._admin = free_ports(2)
        self._provider, self._streams = provider, streams
        self.drain_timeout, self.drain_time = drain_timeout, drain_time

    @classmethod
    def available(cls) -> bool:
        return Envoy.available()

    def command(self) -> Sequence[str | Path]:
        config = self.directory / "envoy.json"
        config.write_text(json.dumps(self._bootstrap()))
        options = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
        drain = ["--drain-time-s", str(self.drain_time), "--drain-strategy", "immediate"]
        return [Envoy._binary(), "-c", config, *options, *drain]

    def answers(self) -> bool:
        return self._ask("GET", "/ready").status_code == 200 and accepts(self.port)

    def drain(self) -> None:
        """Let it leave gracefully, as before a release."""
        self._ask("POST", "/drain_listeners?graceful").raise_for_status()

    def wait_drained(self) -> None:
        """Wait until it takes no connection, and the last one has ended."""
        self.wait(lambda: not accepts(self.port) and self._connected() == 0)

    def _connected(self) -> int:
        stat = self._ask("GET", "/stats?filter=^http.node.downstream_cx_active$").text
        return int(stat.partition(": ")[2])

    def _ask(self, method: str, path: str) -> httpx.Response:
        return httpx.request(method, f"http://127.0.0.1:{self._admin}{path}")

    def _bootstrap(self) -> dict[str, Any]:
        return {
            "admin": {"address": _address(self._admin)},
            "static_resources": {
                "listeners": [
                    {
                        "name": "node",
                        "address": _address(self.port),
                        "filter_chains": [{"filters": [self._connections()]}],
                    }
                ],
                "clusters": [
                    {
                        "name": "provider",
                        "type": "STATIC",
                        "connect_timeout": "1s",
                        "load_assignment": {
                            "cluster_name": "provider",
                            "endpoints": [
                                {
                                    "lb_endpoints": [
                                        {"endpoint": {"address": _address(self._provider)}}
                                    ]
                                }
                            ],
                        },
                    }
                ],
            },
        }

    def _connections(self) -> dict[str, Any]:
        extensions = "type.googleapis.com/envoy.extensions.filters"
        route = {"match": {"prefix": "/"}, "route": {"cluster": "provider", "timeout": "10s"}}
        return {
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": f"{extensions}.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "node",
                "codec_type": "HTTP2",
                "drain_timeout": f"{self.drain_timeout}s",
                "http2_protocol_options": {"max_concurrent_streams": self._streams},
                "route_config": {
                    "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]
                },
                "http_filters": [
                    {
                        "name": "envoy.filters.http.router",
                        "typed_config": {"@type": f"{extensions}.http.router.v3.Router"},
                    }
                ],
            },
        }


class HypercornNode(Server):
    """Run an ASGI app that forwards to the provider on a port; `stop` lets it leave gracefully."""

    name = "hypercorn"

    def __init__(
        self, directory: Path, provider: int, *, streams: int = 100, requests: int = 1_000_000
    ) -> None:
        super().__init__(directory)
        self.port = free_ports(1)[0]
        self._provider, self._streams, self._requests = provider, streams, requests

    @classmethod
    def available(cls) -> bool:
        return True  # the tests depend on it

    def start(self) -> None:
        self.launch(self.command(), env={"PYTHONPATH": str(_ROOT), "PROVIDER": str(self._provider)})
        self.wait(self.answers)

    def command(self) -> Sequence[str | Path]:
        config = self.directory / "hypercorn.toml"
        # After its last request on a connection hypercorn answers nothing more that is in flight.
        config.write_text(
            f'bind = "127.0.0.1:{self.port}"\n'
            f"h2_max_concurrent_streams = {self._streams}\n"
            f"keep_alive_max_requests = {self._requests}\n"
        )
        return [sys.executable, "-m", "hypercorn", "-c", config, "tests.behaviour.http2.app:app"]

    def answers(self) -> bool:
        return accepts(self.port)


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
