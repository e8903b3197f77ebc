"""etcd: 3.4 as Debian has it, and 3.5 of Debian's unstable suite."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import httpx

from tests.support.servers.base import Server, cache, debian_package, free_ports

if TYPE_CHECKING:
    from pathlib import Path


class Etcd(Server):
    """Run one member."""

    name: ClassVar[str] = "etcd"
    suite: ClassVar[str] = "bookworm"
    progress: ClassVar[str] = "--experimental-watch-progress-notify-interval=1s"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port, self._peer = free_ports(2)

    @classmethod
    def _binary(cls) -> Path:
        return cache(cls.name, "usr/bin/etcd")

    @classmethod
    def get(cls) -> None:
        debian_package(cls.name, ["etcd-server"], suite=cls.suite)

    @classmethod
    def available(cls) -> bool:
        return cls._binary().is_file()

    @property
    def url(self) -> str:
        """Give the address that clients use."""
        return f"http://{self.address}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str | Path]:
        client, peer = self.url, f"http://127.0.0.1:{self._peer}"
        return [
            self._binary(),
            *("--name", "test", "--data-dir", self.data),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"test={peer}"),
            self.progress,
            *("--bcrypt-cost", "4"),
        ]

    def answers(self) -> bool:
        url = f"{self.url}/v3/kv/range"
        # Unprivileged, with or without access control: an answer is enough, if there is a leader.
        return httpx.post(url, json={"key": "AA=="}).status_code in (200, 400, 403)


class NewerEtcd(Etcd):
    """Run one member of a newer release."""

    name: ClassVar[str] = "etcd-newer"
    suite: ClassVar[str] = "sid"


servers = (Etcd, NewerEtcd)
