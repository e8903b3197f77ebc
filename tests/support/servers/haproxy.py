"""HAProxy from Debian, set up as in its first example, in front of a provider."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.support.servers.base import Server, accepts, cache, debian_package, free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_CONFIG = """\
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend all
    bind 127.0.0.1:{port}
    default_backend provider
backend provider
    server one {provider}
"""
_PACKAGES = ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")


class HAProxy(Server):
    """Forward to a provider at `HOST:PORT` or `unix@PATH`."""

    name = "haproxy"

    def __init__(self, directory: Path, provider: str = "127.0.0.1:9") -> None:
        super().__init__(directory)
        self.port = free_ports(1)[0]
        self._provider = provider

    @classmethod
    def get(cls) -> None:
        debian_package("haproxy", _PACKAGES)

    @classmethod
    def available(cls) -> bool:
        return os.access(cls._binary(), os.X_OK)

    def start(self) -> None:
        libraries = ":".join(str(folder) for folder in cache("haproxy/usr/lib").glob("*-linux-*"))
        self.launch(self.command(), env={"LD_LIBRARY_PATH": libraries})
        self.wait(self.answers)

    def command(self) -> Sequence[str | Path]:
        config = self.directory / "haproxy.cfg"
        config.write_text(_CONFIG.format(port=self.port, provider=self._provider))
        return [self._binary(), "-db", "-q", "-f", config]

    def answers(self) -> bool:
        return accepts(self.port)

    @staticmethod
    def _binary() -> Path:
        return cache("haproxy/usr/sbin/haproxy")


servers = (HAProxy,)
