"""Run a local Envoy, HAProxy or nginx in front of nodes, as a sidecar would.

nginx also serves as a set of cheap nodes. HAProxy and nginx come from Debian packages, Envoy from
its wheel on PyPI; nothing of the system changes.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, ClassVar

from tests.support.servers import envoy as servers
from tests.support.servers.base import Server, accepts, cache, debian_package, free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Proxy(Server):
    """Forward what comes to `port` to the nodes, one worker, keep-alive on both sides."""

    packages: ClassVar[Sequence[str]] = ()

    def __init__(self, directory: Path, nodes: Sequence[int]) -> None:
        super().__init__(directory)
        self.nodes = nodes
        [self.port] = free_ports(1)

    @classmethod
    def get(cls) -> None:
        if cls.packages:
            debian_package(cls.name, cls.packages)

    @property
    def pid(self) -> int:
        """Give the process whose CPU time counts."""
        return self._processes[0].pid

    def answers(self) -> bool:
        return accepts(self.port)


class Envoy(Proxy):
    name: ClassVar[str] = "Envoy"

    @classmethod
    def get(cls) -> None:
        servers.Envoy.get()

    def command(self) -> list[str | Path]:
        config = self.directory / "envoy.json"
        config.write_text(json.dumps(self.settings()))
        return [servers.Envoy._binary(), "-c", config, "--concurrency", "1", "--log-level", "error"]

    def settings(self) -> dict[str, object]:
        """Give the bootstrap configuration: one listener, one cluster, nothing else."""
        extensions = "type.googleapis.com/envoy.extensions.filters"
        route = {"match": {"prefix": "/"}, "route": {"cluster": "orders"}}
        manager = {
            "@type": f"{extensions}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "in",
            "route_config": {"virtual_hosts": [{"name": "a", "domains": ["*"], "routes": [route]}]},
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": f"{extensions}.http.router.v3.Router"},
                }
            ],
        }
        chain = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        ends = [{"endpoint": {"address": _address(port)}} for port in self.nodes]
        cluster = {
            "name": "orders",
            "type": "STATIC",
            "lb_policy": "LEAST_REQUEST",
            "load_assignment": {"cluster_name": "orders", "endpoints": [{"lb_endpoints": ends}]},
        }
        listener = {"address": _address(self.port), "filter_chains": [{"filters": [chain]}]}
        return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


class HAProxy(Proxy):
    name: ClassVar[str] = "HAProxy"
    packages: ClassVar[Sequence[str]] = (
        "haproxy",
        "liblua5.3-0",
        "libopentracing-c-wrapper0",
        "libopentracing1",
    )

    def command(self) -> list[str | Path]:
        lines = [
            *("global", "  nbthread 1", "  maxconn 4000"),
            *("defaults", "  mode http", "  timeout connect 5s"),
            *("  timeout client 60s", "  timeout server 60s", "  http-reuse always"),
            *("frontend in", f"  bind 127.0.0.1:{self.port}", "  default_backend orders"),
            *("backend orders", "  balance leastconn"),
            *(f"  server n{port} 127.0.0.1:{port}" for port in self.nodes),
        ]
        config = self.directory / "haproxy.cfg"
        config.write_text("\n".join(lines) + "\n")
        root = cache(self.name)
        libraries = ":".join(str(path) for path in root.glob("usr/lib/*-linux-gnu"))
        wrapped = ["env", f"LD_LIBRARY_PATH={libraries}"]
        return [*wrapped, root / "usr/sbin/haproxy", "-db", "-f", config]


class Nginx(Proxy):
    """Forward to the nodes; with none given it answers by itself, on `ports` as well."""

    name: ClassVar[str] = "nginx"
    packages: ClassVar[Sequence[str]] = ("nginx",)

    def __init__(self, directory: Path, nodes: Sequence[int] = (), *, count: int = 0) -> None:
        super().__init__(directory, nodes)
        self.ports = free_ports(count)

    def command(self) -> list[str | Path]:
        config = self.directory / "nginx.conf"
        config.write_text(self.settings())
        binary = shutil.which("nginx") or cache(self.name, "usr/sbin/nginx")
        return [binary, "-p", self.directory, "-e", self.directory / "error.log", "-c", config]

    def settings(self) -> str:
        """Give the configuration."""
        nodes = "".join(f"server 127.0.0.1:{port};" for port in self.nodes)
        listen = "".join(f"listen 127.0.0.1:{port};" for port in (self.port, *self.ports))
        upstream = f"upstream orders {{ {nodes} least_conn; keepalive 300; }}" if nodes else ""
        forward = (
            'proxy_pass http://orders; proxy_http_version 1.1; proxy_set_header Connection "";'
        )
        temporary = "".join(
            f"{kind}_temp_path {self.data}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return f"""
            daemon off; master_process off; pid {self.data}/pid; worker_rlimit_nofile 20000;
            events {{ worker_connections 10000; }}
            http {{
                access_log off; keepalive_requests 1000000000; {temporary} default_type text/plain;
                {upstream}
                server {{
                    {listen}
                    location / {{ {forward if nodes else 'return 200 "hello world";'} }}
                }}
            }}
        """


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
