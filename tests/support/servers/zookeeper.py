"""ZooKeeper, one stand-alone server from Debian's packages; needs a Java runtime."""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING

from tests.support.servers.base import Server, cache, debian_package, free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PACKAGES = (
    "libzookeeper-java",
    "libcommons-cli-java",
    "libcommons-io-java",
    "libdropwizard-metrics-java",
    "libnetty-java",
    "libslf4j-java",
    "libsnappy-java",
)
# Not all that is there: several bindings of slf4j on one class path call each other for ever.
_JARS = (
    *("zookeeper", "zookeeper-jute", "commons-cli", "commons-io", "metrics-core", "snappy-java"),
    *("netty-all", "slf4j-api", "slf4j-nop"),
)
_CONFIG = """\
clientPortAddress=127.0.0.1
clientPort={port}
dataDir={data}
tickTime=500
maxSessionTimeout=20000
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=srvr
"""


class ZooKeeper(Server):
    """Serve on `port`; sessions may be as short as a second."""

    name = "zookeeper"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = free_ports(1)[0]

    @classmethod
    def get(cls) -> None:
        debian_package("zookeeper", _PACKAGES)

    @classmethod
    def available(cls) -> bool:
        return shutil.which("java") is not None and cls._jars()[0].is_file()

    def command(self) -> Sequence[str | Path]:
        config = self.directory / "zoo.cfg"
        config.write_text(_CONFIG.format(port=self.port, data=self.data))
        path = ":".join(map(str, self._jars()))
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        return ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", path, main, config]

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as sock:
            sock.sendall(b"srvr")
            return b"Mode: standalone" in sock.recv(4096)

    def signal(self, number: int) -> None:
        """Send a signal to the server, as to stop it in its tracks."""
        for process in self._processes:
            process.send_signal(number)

    @staticmethod
    def _jars() -> list[Path]:
        folder = cache("zookeeper/usr/share/java")
        jars = [folder / f"{name}.jar" for name in _JARS]
        return [*jars, *sorted(folder.glob("netty-*.jar"))]


servers = (ZooKeeper,)
