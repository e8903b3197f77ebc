"""Consul: 1.8, the last that Debian has (in bullseye), and a newer one built from its module."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx

from tests.support.servers.base import Server, cache, debian_package, free_ports
from tests.support.servers.built import BuiltServer

if TYPE_CHECKING:
    from pathlib import Path

AGENT_TOKEN = "c0ffee00-0000-4000-8000-00000000a9e7"


class ConsulAgent(Server):
    """Run one agent that is its own server, with access control: `token` may do everything."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port, self._server, self._serf, self._wan = free_ports(4)
        self.token = AGENT_TOKEN

    def binary(self) -> Path:
        """Give the program."""
        raise NotImplementedError

    def command(self) -> list[str | Path]:
        config = self.directory / "consul.json"
        config.write_text(json.dumps(self.settings()))
        return [self.binary(), "agent", "-config-file", config]

    def settings(self) -> dict[str, object]:
        """Give the configuration."""
        ports = {"http": self.port, "server": self._server}
        ports |= {"serf_lan": self._serf, "serf_wan": self._wan, "dns": -1, "grpc": -1}
        tokens = {"master": self.token, "agent": self.token}
        return {
            "server": True,
            "bootstrap_expect": 1,
            "node_name": "test",
            "datacenter": "dc1",
            "data_dir": str(self.data),
            "bind_addr": "127.0.0.1",
            "client_addr": "127.0.0.1",
            "ports": ports,
            "performance": {"raft_multiplier": 1},
            "disable_update_check": True,
            "check_update_interval": "0s",
            "log_level": "WARN",
            "acl": {"enabled": True, "default_policy": "deny", "tokens": tokens},
        }

    def answers(self) -> bool:
        url = f"http://127.0.0.1:{self.port}/v1/health/service/consul"
        answer = httpx.get(url, headers={"X-Consul-Token": self.token})
        return answer.status_code == 200 and bool(answer.json())


class Consul(ConsulAgent):
    """Run 1.8."""

    name = "consul"

    @classmethod
    def get(cls) -> None:
        debian_package(cls.name, ["consul"], suite="bullseye")

    @classmethod
    def available(cls) -> bool:
        return cls._unpacked().is_file()

    @classmethod
    def _unpacked(cls) -> Path:
        return cache(cls.name, "usr/bin/consul")

    def binary(self) -> Path:
        return self._unpacked()


class NewerConsul(BuiltServer, ConsulAgent):
    """Run 1.13, which streams changes and tells when access control hid something."""

    name = "consul-newer"
    source = "consul-app"
    build = (
        *("go", "build", "-mod=mod", "-p=1", "-trimpath", "-ldflags=-s -w"),
        *("-o=consul", "github.com/hashicorp/consul"),
    )
    product = "consul"

    def binary(self) -> Path:
        return self.file()


servers = (Consul, NewerConsul)
