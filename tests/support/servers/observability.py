"""Where telemetry goes: Jaeger, built from its own module, Prometheus and Chromium of Debian."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, ClassVar

import httpx

from tests.support.servers.base import Server, cache, debian_package, free_ports, go_program, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_JAEGER = "v1.76.0"


class Jaeger(Server):
    """Take spans over OTLP and give them back; it keeps them in memory."""

    name: ClassVar[str] = "jaeger"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        names = ("query", "otlp", "otlp_grpc", "query_grpc", "collector", "collector_grpc", "admin")
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))

    @classmethod
    def _binary(cls) -> Path:
        return cache(f"jaeger-{_JAEGER}", "jaeger-all-in-one")

    @classmethod
    def get(cls) -> None:
        go_program(f"github.com/jaegertracing/jaeger@{_JAEGER}", "./cmd/all-in-one", cls._binary())

    @classmethod
    def available(cls) -> bool:
        return cls._binary().is_file()

    @property
    def endpoint(self) -> str:
        """Give the URL that spans are posted to."""
        return f"http://127.0.0.1:{self._ports['otlp']}/v1/traces"

    @property
    def url(self) -> str:
        """Give the URL of the user interface and its API."""
        return f"http://127.0.0.1:{self._ports['query']}"

    def command(self) -> Sequence[str | Path]:
        flags = {
            "query.http-server.host-port": "query",
            "query.grpc-server.host-port": "query_grpc",
            "collector.otlp.http.host-port": "otlp",
            "collector.otlp.grpc.host-port": "otlp_grpc",
            "collector.http-server.host-port": "collector",
            "collector.grpc-server.host-port": "collector_grpc",
            "admin.http.host-port": "admin",
        }
        addresses = (f"--{flag}=127.0.0.1:{self._ports[name]}" for flag, name in flags.items())
        return [self._binary(), "--collector.otlp.enabled=true", *addresses]

    def answers(self) -> bool:
        posted = httpx.post(self.endpoint, json={})
        return posted.status_code == 200 and httpx.get(f"{self.url}/api/services").is_success

    def traces(self, service: str) -> list[dict[str, Any]]:
        """Give the traces in which a service takes part."""
        answer = httpx.get(f"{self.url}/api/traces", params={"service": service})
        found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]
        return found


class Prometheus(Server):
    """Scrape `target`, `host:port`, every second, follow `rules` and answer queries."""

    name: ClassVar[str] = "prometheus"

    def __init__(
        self, directory: Path, target: str = "127.0.0.1:9464", rules: Path | None = None
    ) -> None:
        super().__init__(directory)
        self._target = target
        self._rules = [] if rules is None else [str(rules)]
        self.port = free_ports(1)[0]

    @classmethod
    def _binary(cls) -> Path:
        return cache("prometheus", "usr/bin/prometheus")

    @classmethod
    def get(cls) -> None:
        debian_package("prometheus", ["prometheus"], suite="bookworm")

    @classmethod
    def available(cls) -> bool:
        return cls._binary().is_file()

    @property
    def url(self) -> str:
        """Give the URL of the user interface and its API."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str | Path]:
        config = self.directory / "prometheus.yml"
        scrape = {"job_name": "callers", "static_configs": [{"targets": [self._target]}]}
        # JSON is YAML.
        often = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config.write_text(
            json.dumps({"global": often, "rule_files": self._rules, "scrape_configs": [scrape]})
        )
        return [
            self._binary(),
            f"--config.file={config}",
            f"--storage.tsdb.path={self.data}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def answers(self) -> bool:
        return httpx.get(f"{self.url}/-/ready").status_code == 200

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Give the result of an instant query; raise for one that is wrong."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def rules(self) -> list[dict[str, Any]]:
        """Give the groups of rules, each with what its last evaluation said."""
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/api/v1/rules").json()["data"]["groups"]
        return found


class Chromium(Server):
    """Be the browser that looks at pages; it is run by hand, not started."""

    name: ClassVar[str] = "chromium"

    @classmethod
    def get(cls) -> None:
        if not cls.available():
            run(["apt-get", "-q", "update"], cwd=cache().parent)
            run(["apt-get", "-qy", "install", "chromium"], cwd=cache().parent)

    @classmethod
    def available(cls) -> bool:
        return shutil.which("chromium") is not None


servers = (Jaeger, Prometheus, Chromium)
