"""Nacos 3.1, without its console.

Nacos' own project publishes clients only; its server's code is on Maven Central as packages of
the pig-mesh project.
"""

from __future__ import annotations

import atexit
import shutil
from base64 import b64encode
from pathlib import Path
from tempfile import mkdtemp

import httpx

from tests.support.servers.built import SpringServer, quiet_port

PASSWORD = "r1ght-nacos-passw0rd"
_GRPC, _CLUSTER, _RAFT = 1000, 1001, -1000


class Nacos(SpringServer):
    """Run one server with access control for clients; it forgets its nodes on a restart."""

    name = "nacos"
    source = "nacos-app"
    product = "target/nacos.jar"
    heap = "384m"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        # Half a gigabyte, which is not to stay where pytest keeps the last runs.
        home = mkdtemp(prefix="nacos-")
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        self.data.rmdir()
        self.data = Path(home) / "home"
        self.port = quiet_port(_GRPC, _CLUSTER, _RAFT)
        self.password = PASSWORD
        self.token = ""

    @property
    def web(self) -> httpx.Client:
        """A client of its HTTP API."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}/nacos/v3", timeout=10.0)

    def settings(self) -> dict[str, object]:
        """Give its properties."""
        return {
            "nacos.server.main.port": self.port,
            "nacos.server.contextPath": "/nacos",
            "nacos.inetutils.ip-address": "127.0.0.1",
            "server.address": "127.0.0.1",
            "server.tomcat.accesslog.enabled": "false",
            "nacos.core.auth.system.type": "nacos",
            "nacos.core.auth.enabled": "true",
            "nacos.core.auth.admin.enabled": "true",
            "nacos.core.auth.caching.enabled": "false",
            "nacos.core.auth.server.identity.key": "identity",
            "nacos.core.auth.server.identity.value": "tests",
            "nacos.core.auth.plugin.nacos.token.secret.key": b64encode(b"no secret " * 4).decode(),
            "nacos.core.auth.plugin.nacos.token.expire.seconds": 18000,
        }

    def command(self) -> list[str | Path]:
        conf = self.data / "conf"
        conf.mkdir(parents=True, exist_ok=True)
        file = conf / "application.properties"
        file.write_text("".join(f"{key}={value}\n" for key, value in self.settings().items()))
        options = ["-Dnacos.standalone=true", f"-Dnacos.home={self.data}"]
        # Its database has ten seconds to come up, which a busy disk takes for syncs alone.
        options.append("-Dderby.system.durability=test")
        extra = f"--spring.config.additional-location=file:{conf}/"
        return self.java(*options, "-jar", self.file(), extra)

    def answers(self) -> bool:
        """Tell whether the first user can log in; make it in an empty store."""
        with self.web as web:
            web.post("/auth/user/admin", data={"password": self.password})
            form = {"username": "nacos", "password": self.password}
            answer = web.post("/auth/user/login", data=form)
        self.token = answer.json().get("accessToken", "")
        return bool(self.token)


servers = (Nacos,)
