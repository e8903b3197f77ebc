"""Polaris, stand-alone; one process also speaks as Nacos (v1) and as Eureka."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.servers.built import BuiltServer, quiet_port

if TYPE_CHECKING:
    from pathlib import Path


class Polaris(BuiltServer):
    """Run one server with its store in a file; clients need a token."""

    name = "polaris"
    source = "polaris-app"
    build = ("go", "build", "-mod=mod", "-p=1", "-trimpath", "-ldflags=-s -w", "-o=polaris", ".")
    product = "polaris"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port, self._grpc, self.eureka_port = (quiet_port() for _ in range(3))
        self.nacos_port = quiet_port(1000)
        self._token = ""

    @property
    def token(self) -> str:
        """Give the access token of the first user, which is in every fresh store."""
        if not self._token:
            user = {"owner": "polaris", "name": "polaris", "password": "polaris"}
            answer = httpx.post(f"http://127.0.0.1:{self.port}/core/v1/user/login", json=user)
            self._token = answer.raise_for_status().json()["loginResponse"]["token"]
        return self._token

    def command(self) -> list[str | Path]:
        config = self.directory / "polaris.json"
        config.write_text(json.dumps(self._config()))  # JSON is YAML
        return [self.file(), "start", "-c", config]

    def answers(self) -> bool:
        url = f"http://127.0.0.1:{self.port}/v1/Discover"
        question = {"type": "INSTANCE", "service": {"namespace": "default", "name": "none"}}
        answer = httpx.post(url, json=question, headers={"X-Polaris-Token": self.token})
        return bool(answer.json()["code"] == 400202)

    def _config(self) -> dict[str, Any]:
        def api(name: str, port: int, kinds: dict[str, Any], **options: object) -> dict[str, Any]:
            option = {"listenIP": "127.0.0.1", "listenPort": port, **options}
            return {"name": name, "option": option, "api": kinds}

        client = {"enable": True, "include": ["discover", "register", "healthcheck"]}
        console = {"enable": True, "include": ["default", "service"]}
        web = {"admin": {"enable": True}, "console": console, "client": client}
        batch = {"open": True, "queueSize": 10240, "waitTime": "4ms", "maxBatchCount": 128}
        batch["concurrency"] = 16
        return {
            "bootstrap": {
                "logger": {"default": {"rotateOutputPath": "polaris.log", "outputLevel": "warn"}},
                "startInOrder": {"open": False, "key": "sz"},
                "polaris_service": {
                    "enable_register": True,
                    "self_address": "127.0.0.1",
                    "services": [{"name": "polaris.checker", "protocols": ["service-grpc"]}],
                },
            },
            "apiservers": [
                api("api-http", self.port, web),
                api("service-grpc", self._grpc, {"client": client}),
                api("service-nacos", self.nacos_port, {}, defaultNamespace="default"),
                api("service-eureka", self.eureka_port, {}, namespace="default", refreshInterval=1),
            ],
            "auth": {
                "user": {"name": "defaultUser", "option": {"salt": "polarismesh@2021"}},
                "strategy": {
                    "name": "defaultStrategy",
                    "option": {"clientOpen": True, "clientStrict": True},
                },
            },
            "namespace": {"autoCreate": True},
            "naming": {"autoCreate": True, "batch": {"register": batch, "deregister": batch}},
            "healthcheck": {
                "open": True,
                "service": "polaris.checker",
                "slotNum": 30,
                "minCheckInterval": "1s",
                "maxCheckInterval": "30s",
                "clientReportInterval": "120s",
                "batch": {"heartbeat": batch},
                "checkers": [{"name": "heartbeatMemory"}],
            },
            "config": {"open": True, "contentMaxLength": 20000},
            "cache": {"diffTime": "5s"},
            "store": {"name": "boltdbStore", "option": {"path": str(self.data / "store")}},
            "plugin": {
                "crypto": {"entries": [{"name": "AES"}]},
                "cmdb": {"name": "memory", "option": {"url": "", "interval": "60s"}},
                "history": {"entries": [{"name": "HistoryLogger"}]},
                "discoverEvent": {"entries": [{"name": "discoverEventLocal"}]},
                "statis": {"entries": [{"name": "local", "option": {"interval": 60}}]},
                "ratelimit": {"name": "token-bucket", "option": {"enable": False}},
            },
        }


servers = (Polaris,)
