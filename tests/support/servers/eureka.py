"""Eureka: Spring Cloud's server, in an application of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import httpx

from tests.support.servers.built import SpringServer, quiet_port

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "r1ght-eureka-passw0rd"

_QUICK = {  # the defaults are minutes
    "eureka.server.eviction-interval-timer-in-ms": 200,
    "eureka.server.enable-self-preservation": "false",
    # A list that is made while a node registers may be kept without it, for three minutes else.
    "eureka.server.response-cache-auto-expiration-in-seconds": 2,
}


class Eureka(SpringServer):
    """Run one server that has no peer; it keeps nothing over a restart."""

    name = "eureka"
    source = "eureka-app"
    product = "target/eureka.jar"
    heap = "256m"
    cache: ClassVar[int] = 100
    """Milliseconds for which a list is given again before it is made anew; 30,000 by default."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = quiet_port()
        self.password = PASSWORD

    def command(self) -> list[str | Path]:
        settings = {
            "server.address": "127.0.0.1",
            "server.port": self.port,
            "spring.application.name": "eureka",
            "spring.security.user.name": "user",
            "spring.security.user.password": self.password,
            "eureka.client.register-with-eureka": "false",
            "eureka.client.fetch-registry": "false",
            "eureka.server.response-cache-update-interval-ms": self.cache,
            **_QUICK,
        }
        file = self.directory / "application.properties"
        file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        return self.java("-jar", self.file())

    def answers(self) -> bool:
        url = f"http://127.0.0.1:{self.port}/eureka/apps"
        answer = httpx.get(
            url, auth=("user", self.password), headers={"Accept": "application/json"}
        )
        return answer.status_code == 200


servers = (Eureka,)
